"""Decoding of single images that come from outside: allowed formats, size caps, one kind of error.

Pillow is called here and nowhere else. `inspect` decodes an image completely once, so that truncated files are
found before anything is spent; `to_square` is what backbones see.
"""

from __future__ import annotations

import hashlib
import io
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
MAX_BYTES = 256 * 2**20

Image.MAX_IMAGE_PIXELS = None  # our own cap is an error; Pillow's is a warning up to twice its size


class UnreadableImageError(Exception):
    """An image cannot be used; the message says why, without its name."""


@dataclass(frozen=True)
class ImageInfo:
    """What is known of an image after it was decoded once. `look`: 16 bytes, equal for near-identical pictures."""

    sha256: bytes
    height: int
    width: int
    look: bytes


def decode(blob: bytes, max_pixels: int) -> Image.Image:
    """Decode an encoded image into RGB, upright. Errors: UnreadableImageError."""
    if len(blob) > MAX_BYTES:
        raise UnreadableImageError(f"oversized: {len(blob) / 2**20:.0f} MiB, at most {MAX_BYTES >> 20} are read")
    try:
        with Image.open(io.BytesIO(blob), formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise UnreadableImageError(f"oversized: {width}x{height} pixels, at most {max_pixels:,} are read")
            image.load()
            return _rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise UnreadableImageError("not an image of a known format" if blob else "an empty file") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, Image.DecompressionBombError) as error:
        reason = str(error).split("\n")[0]
        kind = "truncated" if "truncated" in reason or not reason else "unreadable"
        raise UnreadableImageError(f"{kind}: {reason or 'ends too early'}") from None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        wide = np.asarray(image).astype(np.float64)  # 16-bit grey; convert() would clip it to white
        return Image.fromarray(np.clip(wide / 257, 0, 255).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def look_of(image: Image.Image) -> bytes:
    """Return a 16-byte difference hash (rows and columns of a 9x9 grey thumbnail); all zeros for a flat image."""
    grey = np.asarray(image.convert("L").resize((9, 9), Image.Resampling.BILINEAR), dtype=np.int16)
    rows, columns = np.diff(grey, axis=1)[:8] > 0, np.diff(grey, axis=0)[:, :8] > 0
    return bytes(np.packbits(rows)) + bytes(np.packbits(columns))


def inspect(blob: bytes, max_pixels: int) -> tuple[ImageInfo, Image.Image]:
    """Decode once and say what the image is. Errors: UnreadableImageError."""
    image = decode(blob, max_pixels)
    return ImageInfo(hashlib.sha256(blob).digest(), image.height, image.width, look_of(image)), image


def to_square(image: Image.Image, size: int, crop: float) -> NDArray[np.uint8]:
    """Resize the shorter side to `size / crop` and cut the centre out: (size, size, 3) uint8."""
    return np.asarray(ImageOps.fit(image, (round(size / crop),) * 2, Image.Resampling.BICUBIC).crop(
        _centre(round(size / crop), size)))  # fmt: skip


def _centre(outer: int, inner: int) -> tuple[int, int, int, int]:
    low = (outer - inner) // 2
    return low, low, low + inner, low + inner


ImageFile.LOAD_TRUNCATED_IMAGES = False
