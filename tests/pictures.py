"""Small pictures, and files and folders of them, for tests."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def picture(*seed: int, size: tuple[int, int] = (16, 16)) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: blurred noise, unlike that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))


def encoded(array: NDArray[Any] | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def class_folders(root: Path, classes: Sequence[str] = ("cat", "dog"), count: int = 6, seed: int = 0) -> Path:
    """Write root/class/0.png ...: `count` images a class."""
    for k, name in enumerate(classes):
        for i in range(count):
            write(root / name / f"{i}.png", encoded(picture(seed, k, i)))
    return root
