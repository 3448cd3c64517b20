"""Photos for tests and documents: crops of the two photographs that come with scikit-learn."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_image

CLASSES = ("flower", "lake", "temple", "trees")
# (photograph, left, top, right, bottom): crops that lie in such a box show the class
BOXES = {
    "flower": ("flower.jpg", 150, 50, 470, 400),
    "lake": ("china.jpg", 345, 140, 560, 280),
    "temple": ("china.jpg", 60, 20, 370, 420),
    "trees": ("china.jpg", 325, 265, 640, 427),
}


@cache
def original(name: str) -> Image.Image:
    return Image.fromarray(load_sample_image(name))


def photo(kind: str, seed: int, width: int = 640) -> Image.Image:
    """A crop that shows `kind`: somewhere in its box, some size, mirrored or not, lighter or darker."""
    rng = np.random.default_rng([seed, CLASSES.index(kind)])
    name, left, top, right, bottom = BOXES[kind]
    wide = int(rng.uniform(0.6, 0.98) * min(right - left, (bottom - top) * 4 / 3))
    high = wide * 3 // 4
    x, y = int(rng.integers(left, right - wide + 1)), int(rng.integers(top, bottom - high + 1))
    crop = original(name).crop((x, y, x + wide, y + high)).resize((width, width * 3 // 4), Image.Resampling.LANCZOS)
    if rng.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return ImageEnhance.Brightness(ImageEnhance.Color(crop).enhance(rng.uniform(0.6, 1.4))).enhance(
        rng.uniform(0.7, 1.2)
    )


def write_photos(folder: Path, count: int, width: int = 640) -> dict[str, str]:
    """`count` photos img_000.jpg ... in the folder, the classes in turn by chance; what each shows."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = np.random.default_rng(7).integers(0, len(CLASSES), count)
    truth = {}
    for i, kind in enumerate(kinds):
        truth[f"img_{i:03d}.jpg"] = CLASSES[kind]
        photo(CLASSES[kind], i, width).save(folder / f"img_{i:03d}.jpg", quality=85)
    return truth
