"""Thumbnails of what was picked: the most and the least typical images that each arm bought, where they can be had.

Records hold indices, not images: the data are opened from the record's configuration, and used only if they are still
the same. Typicality needs the frozen embeddings, which are taken from the cache and never computed here.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
import sqlalchemy as sa
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from labelwise.arrays import Floats, Indices
from labelwise.config import Study
from labelwise.data.dataset import Dataset
from labelwise.data.images import unseen
from labelwise.data.sources import open_dataset
from labelwise.errors import InputError
from labelwise.records import ACQUISITIONS, RUNS, Store
from labelwise.report.groups import groups
from labelwise.seeds import generator
from labelwise.strategies import BASELINE
from labelwise.strategies.geometry import rows, squared_distances

SHOWN, SIDE = 10, 48
"""Thumbnails in a sheet, and their side in pixels."""
NEIGHBOURS, REFERENCE, LOOKED_AT = 20, 4_000, 2_000
"""Typicality is the inverse mean distance to so many neighbours (Hacohen et al. 2022), here among a random sample of
the pool; so many picks of a run are looked at."""


@dataclass(frozen=True)
class Sheet:
    """Thumbnails in a row. said: what they are; classes: of each, for those who cannot see them; source: a data URI."""

    said: str
    classes: list[str]
    source: Markup


@dataclass(frozen=True)
class Pictures:
    """note: what is shown, or why nothing is; arms: (arm, what is said of its picks, its sheets)."""

    note: str
    arms: list[tuple[str, str, list[Sheet]]] = field(default_factory=list)


def pictures(store: Store, study: Study, fingerprint: str, finished: list[str]) -> Pictures:
    """Return thumbnails of the picks of one row (the first finished one of the smallest budget) and its first seed."""
    if not finished:
        return Pictures("No run is finished: there is nothing to show.")
    try:
        dataset = open_dataset(study, unseen)
    except (InputError, OSError) as error:
        return Pictures(f"The images cannot be had here, so none are shown: {' '.join(str(error).split())}")
    if dataset.fingerprint != fingerprint:
        return Pictures("The images that are there now are not those of the study, so none are shown.")
    runs = _runs(store)
    row, seed, _ = min(((r["row"], r["seed"], r["budget"]) for r in runs), key=lambda one: (one[2], one[1]))
    own = [run for run in runs if (run["row"], run["seed"]) == (row, seed)]
    names = {arm: f"{label}{f' ({group.said})' if group.said else ''}" for group in groups(study)
             for arm, label in group.labels.items()}  # fmt: skip
    typical = _Typical.of(dataset, study)
    arms = [(names[run["arm"]], *_sheets(dataset, _bought(store, run["id"]), typical)) for run in own]
    how = (
        "No embeddings of these images are in the cache, so how typical they are is not known: the first and last picks"
    )
    if typical:
        how = "Typical: near to its 20 nearest images of a sample of the pool, by frozen embeddings"
    if not dataset.images.there:
        how = f"The data are features without images, so no pictures are shown. {how}"
    return Pictures(f"Row {row}, seed {seed}, what was bought after the start. {how}.", arms)


def _runs(store: Store) -> list[dict[str, Any]]:
    query = (
        sa.select(RUNS.c.id, RUNS.c.row, RUNS.c.arm, RUNS.c.seed, RUNS.c.budget)
        .where(RUNS.c.status == "done", RUNS.c.strategy != BASELINE)
        .order_by(RUNS.c.started, RUNS.c.id)
    )
    with store.transaction() as connection:
        return [dict(run) for run in connection.execute(query).mappings()]


def _bought(store: Store, run: str) -> Indices:
    """Return the images that a run bought after its start, in order."""
    query = (
        sa.select(ACQUISITIONS.c.index)
        .where(ACQUISITIONS.c.run == run, ACQUISITIONS.c.round > 0)
        .order_by(ACQUISITIONS.c.position)
    )
    with store.transaction() as connection:
        return np.array(connection.execute(query).scalars().all(), dtype=np.int64)


@dataclass(frozen=True)
class _Typical:
    """Says how typical images are among a sample of the pool. sorted: the sample's own values, rising."""

    embeddings: Floats
    sample: NDArray[np.float32]
    ordered: NDArray[np.float64]

    @staticmethod
    def of(dataset: Dataset, study: Study) -> _Typical | None:
        """Return it where the embeddings are in the cache."""
        from labelwise.models.backbone import load_backbone  # torch takes seconds to import
        from labelwise.models.embeddings import kept_embeddings

        try:
            embeddings: Floats | None = dataset.features
            if embeddings is None:
                embeddings = kept_embeddings(dataset.images, load_backbone(study.learner))
        except (InputError, OSError):
            return None
        if embeddings is None:
            return None
        rng = generator(0, "typicality sample")
        chosen = rng.choice(dataset.pool, min(REFERENCE, len(dataset.pool)), replace=False)
        sample = rows(embeddings, np.sort(chosen), unit=True)
        return _Typical(embeddings, sample, np.sort(_density(sample[:LOOKED_AT], sample)))

    def values(self, indices: Indices) -> NDArray[np.float64]:
        """Return the share of the pool's sample that is less typical than each image, (n,)."""
        own = _density(rows(self.embeddings, indices, unit=True), self.sample)
        return np.searchsorted(self.ordered, own) / len(self.ordered)


def _density(images: NDArray[np.float32], sample: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the inverse mean distance of each image to its nearest of the sample, itself (at distance 0) aside."""
    near = min(NEIGHBOURS, len(sample) - 1)
    found = []
    for start in range(0, len(images), 500):
        distance = np.sqrt(squared_distances(images[start : start + 500], sample))
        distance[distance < 1e-3] = np.inf
        found.append(np.sort(np.partition(distance, near - 1, axis=1)[:, :near], axis=1).mean(axis=1))
    return 1 / np.maximum(np.concatenate(found).astype(np.float64), 1e-9)


def _sheets(dataset: Dataset, bought: Indices, typical: _Typical | None) -> tuple[str, list[Sheet]]:
    """Return what is said of a run's picks, and their sheets."""
    if not len(bought):
        return "bought nothing after its start", []
    if typical is None:
        return "", [_sheet(dataset, "first picks", bought[:SHOWN]), _sheet(dataset, "last picks", bought[-SHOWN:])]
    looked = bought[np.linspace(0, len(bought) - 1, min(LOOKED_AT, len(bought))).astype(np.int64)]
    value = typical.values(looked)
    order = np.argsort(-value, kind="stable")
    said = f"its picks are on average more typical than {value.mean() * 100:.0f} % of the pool"
    if not dataset.images.there:
        return said, []
    most, least = looked[order[:SHOWN]], looked[order[::-1][:SHOWN]]
    return said, [_sheet(dataset, "most typical picks", most), _sheet(dataset, "least typical picks", least)]


def _sheet(dataset: Dataset, said: str, indices: Indices) -> Sheet:
    sheet = Image.new("RGB", (SHOWN * SIDE, SIDE), (128, 128, 128))
    for position, index in enumerate(indices.tolist()):
        picture = Image.fromarray(_pixels(dataset, index)).resize((SIDE - 2, SIDE - 2), Image.Resampling.BICUBIC)
        sheet.paste(picture, (position * SIDE + 1, 1))
    content = BytesIO()
    sheet.crop((0, 0, len(indices) * SIDE, SIDE)).save(content, "PNG", optimize=True)
    source = Markup("data:image/png;base64," + base64.b64encode(content.getvalue()).decode())  # made by us
    return Sheet(said, [dataset.classes[k] for k in dataset.labels[indices]], source)


def _pixels(dataset: Dataset, index: int) -> NDArray[np.uint8]:
    if dataset.images.pixels is not None:
        return np.asarray(dataset.images.pixels[index])
    return np.asarray(dataset.images.squares(np.array([index]), 2 * SIDE, 1.0)[0])
