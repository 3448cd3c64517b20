"""From pictures of any shape to squares, which backbones take: the centre, all of it on black, or distorted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps


def to_square(image: Image.Image, size: int, crop: float, resize: str = "crop") -> NDArray[np.uint8]:
    """Return a (size, size, 3) uint8 image, resized (bicubic) in one of three ways.

    crop: the shorter side becomes `size / crop`, and the centre is cut out; pad: the longer side becomes `size`, on
    black; stretch: both sides become `size`.
    """
    if resize == "crop":
        outer = round(size / crop)
        low = (outer - size) // 2
        square = ImageOps.fit(image, (outer, outer), Image.Resampling.BICUBIC)
        return np.asarray(square.crop((low, low, low + size, low + size)))
    inner = inside(image.height, image.width, size) if resize == "pad" else (size, size)
    square = Image.new("RGB", (size, size))
    square.paste(image.resize(inner[::-1], Image.Resampling.BICUBIC), corner(inner, size)[::-1])
    return np.asarray(square)


def inside(height: int, width: int, size: int) -> tuple[int, int]:
    """Return (height, width) of an image whose longer side becomes `size`: at least a pixel each."""
    longest = max(height, width)
    return max(1, round(height * size / longest)), max(1, round(width * size / longest))


def corner(inner: tuple[int, int], size: int) -> tuple[int, int]:
    """Return (top, left) of an image (height, width) in the middle of a square."""
    return (size - inner[0]) // 2, (size - inner[1]) // 2
