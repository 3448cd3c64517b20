"""Decoding of single images that come from outside: allowed formats, size caps, one kind of error.

Pillow is called here and nowhere else. `inspect` decodes an image completely once, so that truncated files are
found before anything is spent; `to_square` is what backbones see.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

DECODER = f"1 Pillow {PIL.__version__}"
"""Part of every cache's key: its number changes with the pixels that come out of an encoded image."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
EXTENSIONS = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
    ".pnm",
})  # fmt: skip
REFUSED = frozenset({
    ".svg", ".eps", ".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".psd", ".tga", ".ico", ".exr", ".pfm", ".dcm",
    ".dng", ".cr2", ".nef", ".arw",
})  # fmt: skip
"""Extensions of pictures that are not read: such files are named as unreadable instead of being passed over."""
MAX_BYTES = 256 * 2**20
LOOK = 12
"""Side of the grey thumbnail by which near-duplicates are found."""
ORIENTATION = 0x0112  # EXIF tag

Image.MAX_IMAGE_PIXELS = None  # our own cap is an error; Pillow's is a warning up to twice its size
warnings.filterwarnings("ignore", module=r"PIL\.")  # an oddity of a file is no news; what stops decoding is an error


class UnreadableImageError(Exception):
    """An image cannot be used; the message says why, without its name."""


class AwayError(UnreadableImageError):
    """Its file cannot be read at present: it is gone, or its disk is. Nothing is known of the image, and it is tried

    again later.
    """


@dataclass(frozen=True)
class ImageInfo:
    """What is known of an image after it was decoded once.

    sha256: of the encoded bytes; look: bytes of the (LOOK, LOOK) grey thumbnail; pixels: bytes of the (H, W, 3) image,
    or None.
    """

    sha256: bytes
    height: int
    width: int
    look: bytes
    pixels: bytes | None


def decode(blob: bytes, max_pixels: int) -> Image.Image:
    """Decode an encoded image into RGB, upright; of an animation, the first frame. Errors: UnreadableImageError."""
    if len(blob) > MAX_BYTES:
        raise UnreadableImageError(f"oversized: {len(blob) / 2**20:.0f} MiB, at most {MAX_BYTES >> 20} are read")
    try:
        with Image.open(io.BytesIO(blob), formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise UnreadableImageError(f"oversized: {width}x{height} pixels, at most {max_pixels:,} are read")
            if width * height == 0:
                raise UnreadableImageError(f"no pixels: {width}x{height}")
            image.load()
            return _rgb(_upright(image))
    except (UnreadableImageError, MemoryError):
        raise
    except UnidentifiedImageError:
        reason = f"not a readable {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file" if blob else "an empty file"
        raise UnreadableImageError(reason) from None
    except Exception as error:  # damaged files make Pillow's readers raise nearly anything
        reason = str(error).split("\n")[0]
        kind = "truncated" if "truncated" in reason.lower() or not reason else "unreadable"
        raise UnreadableImageError(f"{kind}: {reason or 'ends too early'}") from None


def _upright(image: Image.Image) -> Image.Image:
    try:
        turned = image.getexif().get(ORIENTATION, 1) != 1
    except Exception:  # broken EXIF beside sound pixels: the image stays as it is
        return image
    return ImageOps.exif_transpose(image) if turned else image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.float64)  # 16-bit grey; convert() would clip it to white
        return Image.fromarray(np.clip(wide / 257, 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise UnreadableImageError("pixels are floating-point numbers without a known range; save it with 8 or 16 bits")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def look_of(image: Image.Image) -> bytes:
    """Return the bytes of the (LOOK, LOOK) uint8 grey thumbnail of an RGB image, row by row."""
    return image.convert("L").resize((LOOK, LOOK), Image.Resampling.BILINEAR).tobytes()


def look_of_pixels(pixels: NDArray[np.uint8]) -> bytes:
    """Return `look_of` an (H, W, 3) uint8 image."""
    return look_of(Image.fromarray(pixels))


def inspect(blob: bytes, max_pixels: int, keep: int) -> ImageInfo:
    """Decode once and say what the image is; its pixels where no side is above `keep`. Errors: UnreadableImageError."""
    image = decode(blob, max_pixels)
    pixels = image.tobytes() if max(image.size) <= keep else None
    return ImageInfo(hashlib.sha256(blob).digest(), image.height, image.width, look_of(image), pixels)


def to_square(image: Image.Image, size: int, crop: float) -> NDArray[np.uint8]:
    """Resize the shorter side to `size / crop` and cut the centre out: (size, size, 3) uint8."""
    return np.asarray(ImageOps.fit(image, (round(size / crop),) * 2, Image.Resampling.BICUBIC).crop(
        _centre(round(size / crop), size)))  # fmt: skip


def _centre(outer: int, inner: int) -> tuple[int, int, int, int]:
    low = (outer - inner) // 2
    return low, low, low + inner, low + inner
