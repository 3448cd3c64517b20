"""A page with a few images of each class as a model will see them: `labelwise inspect --html`."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from labelwise.arrays import Indices
from labelwise.data.dataset import Dataset
from labelwise.data.images import SMALL
from labelwise.models.pixels import squares
from labelwise.seeds import generator

SHOWN = 6
"""Images of a class on each side of the split."""
CLASSES = 200
"""Classes that are shown; of more, the page says that it shows the first ones."""
SIDE = 96
QUALITY = 85


@dataclass(frozen=True)
class Shown:
    """A picture: its name, and a data URI."""

    name: str
    source: Markup


def write_sheet(dataset: Dataset, size: int, crop: float) -> str:
    """Return the page. size, crop: of the square that the model gets of images that are not small."""
    if dataset.images.small:
        size, crop = SMALL, 1.0
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string((files("labelwise.report") / "contact_sheet.html").read_text(encoding="utf-8"))
    shown = dataset.classes[:CLASSES]
    rows = [(found, _pictures(dataset, k, size, crop)) for k, found in enumerate(dataset.seen.classes[:CLASSES])]
    return page.render(
        css=Markup((files("labelwise.report") / "page.css").read_text(encoding="utf-8")),
        seen=dataset.seen,
        rows=rows,
        left_out=len(dataset.classes) - len(shown),
        size=size,
        crop=crop,
        side=SIDE,
    )


def _pictures(dataset: Dataset, k: int, size: int, crop: float) -> list[tuple[str, list[Shown]]]:
    """Return a few images of a class of the pool and of the test set, drawn at random but always the same."""
    sides = (("pool", dataset.pool), ("test", dataset.test))
    rng = generator(0, "contact sheet", k)
    found = []
    for side, indices in sides:
        own = indices[dataset.labels[indices] == k]
        drawn = np.sort(rng.choice(own, min(SHOWN, len(own)), replace=False))
        found.append((side, [_shown(dataset, int(i), pixels) for i, pixels in _squares(dataset, drawn, size, crop)]))
    return found


def _squares(dataset: Dataset, indices: Indices, size: int, crop: float) -> list[tuple[int, NDArray[np.uint8]]]:
    if not len(indices):
        return []
    pixels = squares(dataset.images, indices, size, crop).permute(0, 2, 3, 1).numpy()
    return list(zip(indices.tolist(), pixels, strict=True))


def _shown(dataset: Dataset, index: int, pixels: NDArray[np.uint8]) -> Shown:
    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE))
    content = BytesIO()
    picture.save(content, "JPEG", quality=QUALITY)
    source = Markup("data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode())  # made by us
    return Shown(str(dataset.images.names[index]), source)
