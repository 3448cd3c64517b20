"""Decoding of single images that come from outside: allowed formats, size caps, one kind of error.

Pillow's readers are called here and nowhere else, so studies, the page, exports and predictions see the same pixels.
`inspect` decodes an image completely once, so that truncated files are found before anything is spent. Transparent
pixels are laid on white; pixels of more than 8 bits are scaled by `depth`.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from labelwise.data.depth import problem, scaled

DECODER = f"2 Pillow {PIL.__version__}"
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
UPPER_ONLY = re.compile(r";16[BLN]$")
"""Colour that is stored so is read by Pillow without its lower 8 bits; BGR;16 is none of them."""
ORIENTATION, PHOTOMETRIC = 0x0112, 262  # EXIF's and TIFF's tags

Image.MAX_IMAGE_PIXELS = None  # our own cap is an error; Pillow's is a warning up to twice its size
warnings.filterwarnings("ignore", module=r"PIL\.")  # an oddity of a file is no news; what stops decoding is an error


class UnreadableImageError(Exception):
    """An image cannot be used; the message says why, without its name."""


class DepthUnknownError(UnreadableImageError):
    """An image of more than 8 bits cannot be shown, since no depth is fixed yet."""


class AwayError(UnreadableImageError):
    """Its file cannot be read at present: it is gone, or its disk is. Nothing is known of the image, and it is tried

    again later.
    """


@dataclass(frozen=True)
class ImageInfo:
    """What is known of an image after it was decoded once.

    sha256: of the encoded bytes; look: bytes of the (LOOK, LOOK) grey thumbnail; pixels: bytes of the (H, W, 3) image,
    or None; values: bytes of the (H, W) uint16 image in its place, which `depth.scaled` makes grey, or None; peak: the
    largest value, where there are more than 8 bits, else 0; upper_only: of them, the upper 8 alone can be read;
    transparent: it was laid on white; mode: Pillow's, as it is stored.
    """

    sha256: bytes
    height: int
    width: int
    look: bytes
    pixels: bytes | None
    values: bytes | None = None
    peak: int = 0
    upper_only: bool = False
    transparent: bool = False
    mode: str = ""


@dataclass(frozen=True)
class _Picture:
    """A decoded file. image: RGB, or None where `values` (H, W) uint16 wait for a depth; the rest: as in ImageInfo."""

    image: Image.Image | None
    values: NDArray[np.uint16] | None = None
    peak: int = 0
    upper_only: bool = False
    transparent: bool = False
    mode: str = ""

    def rgb(self, bits: int) -> Image.Image:
        """Return it in RGB. Errors: UnreadableImageError where it cannot be scaled by this depth."""
        if self.peak and (why := problem(self.peak, bits, self.upper_only)):
            raise UnreadableImageError(why) if bits else DepthUnknownError(why)
        return self.image if self.image is not None else _grey(scaled(self._values, bits or 16))

    def own(self) -> Image.Image:
        """Return it in RGB, scaled by its own largest value: to compare shapes."""
        if self.image is not None:
            return self.image
        levels = np.minimum(self._values.astype(np.uint32) * 255 // max(self.peak, 1), 255)
        return _grey(levels.astype(np.uint8))

    @property
    def _values(self) -> NDArray[np.uint16]:
        assert self.values is not None
        return self.values


def _grey(levels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(levels).convert("RGB")


def decode(blob: bytes, max_pixels: int, bits: int = 0) -> Image.Image:
    """Decode an encoded image into RGB, upright and on white; of an animation, the first frame.

    bits: by which pixels of more than 8 bits are scaled; 0: they are refused. Errors: UnreadableImageError.
    """
    return _opened(blob, max_pixels).rgb(bits)


def seen(blob: bytes, max_pixels: int, bits: int) -> tuple[Image.Image, bool]:
    """Return a decoded image, and whether the file's own pixels are the same: opaque, of 8 bits. Errors: as decode."""
    found = _opened(blob, max_pixels)
    return found.rgb(bits), found.values is None and not (found.peak or found.transparent)


def _opened(blob: bytes, max_pixels: int) -> _Picture:
    if len(blob) > MAX_BYTES:
        raise UnreadableImageError(f"oversized: {len(blob) / 2**20:.0f} MiB, at most {MAX_BYTES >> 20} are read")
    try:
        with Image.open(io.BytesIO(blob), formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise UnreadableImageError(f"oversized: {width}x{height} pixels, at most {max_pixels:,} are read")
            if width * height == 0:
                raise UnreadableImageError(f"no pixels: {width}x{height}")
            codec, stored = _stored(image)  # loading it forgets them
            image.load()
            return replace(_picture(_upright(image), codec, stored), mode=image.mode)
    except (UnreadableImageError, MemoryError):
        raise
    except UnidentifiedImageError:
        reason = f"not a readable {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file" if blob else "an empty file"
        raise UnreadableImageError(reason) from None
    except Exception as error:  # damaged files make Pillow's readers raise nearly anything
        reason = str(error).split("\n")[0]
        kind = "truncated" if "truncated" in reason.lower() or not reason else "unreadable"
        raise UnreadableImageError(f"{kind}: {reason or 'ends too early'}") from None


def _stored(image: Image.Image) -> tuple[str, str]:
    """Return Pillow's names of a file's codec and of how pixels are stored in it, such as RGB;16B."""
    tiles: Any = getattr(image, "tile", None) or [("", None, 0, "")]
    codec, args = str(tiles[0][0]), tiles[0][3]
    return codec, str(args[0] if isinstance(args, tuple) and args else args)


def _picture(image: Image.Image, codec: str, stored: str) -> _Picture:
    if image.mode.startswith("I"):
        return _of_integers(image, codec, stored)
    if image.mode == "F":
        return _Picture(_grey(_of_floats(image)))
    rgb, transparent = _on_white(image)
    if not UPPER_ONLY.search(stored):
        return _Picture(rgb, transparent=transparent)
    if "transparency" in image.info:
        raise UnreadableImageError("16-bit colour with a transparent one; save it with 8 bits a channel")
    upper = max(high for _, high in image.convert("RGB").getextrema())  # type: ignore[misc]
    return _Picture(rgb, peak=256 * int(upper) + 255, upper_only=True, transparent=transparent)


def _of_integers(image: Image.Image, codec: str, stored: str) -> _Picture:
    """Return grey of 16 or 32 bits; where the file itself says what is white, in 8 bits already."""
    _check_black(image)
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise UnreadableImageError(
            f"whole numbers from {low:,} to {high:,}, not 0 to 65,535; save it with 8 or 16 bits"
        )
    clear = values == image.info.get("transparency", -1)
    high = int(values.max(where=~clear, initial=0))
    values = np.where(clear, 65535, values).astype(np.uint16)  # white at any depth
    transparent = bool(clear.any())
    declared = 16 if codec.startswith("ppm") else 12 if stored == "I;12" else 0  # Pillow brings a PGM's white to 65,535
    if declared:
        return _Picture(_grey(scaled(values, declared)), transparent=transparent)
    return _Picture(None, values, high, transparent=transparent)


def _of_floats(image: Image.Image) -> NDArray[np.uint8]:
    """Return (H, W) levels of numbers in 0..1. Errors: UnreadableImageError for others: what is white is not known."""
    _check_black(image)
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # not a number fails, too
        raise UnreadableImageError(
            f"floating-point numbers from {low:g} to {high:g}, not 0 to 1; save it with 8 or 16 bits"
        )
    return np.round(values * 255).astype(np.uint8)


def _check_black(image: Image.Image) -> None:
    """Refuse grey of more than 8 bits in which 0 is white: Pillow turns it around with 8 bits only."""
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(PHOTOMETRIC) == 0:
        raise UnreadableImageError("more than 8 bits in which 0 is white (WhiteIsZero); save it with 8 bits")


def _on_white(image: Image.Image) -> tuple[Image.Image, bool]:
    """Return an image in RGB, transparent pixels on white, and whether there were any."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] < 255:  # type: ignore[operator]
            white = Image.new("RGBA", image.size, "white")
            return Image.alpha_composite(white, image).convert("RGB"), True
    return image if image.mode == "RGB" else image.convert("RGB"), False


def _upright(image: Image.Image) -> Image.Image:
    try:
        turned = image.getexif().get(ORIENTATION, 1) != 1
    except Exception:  # broken EXIF beside sound pixels: the image stays as it is
        return image
    return ImageOps.exif_transpose(image) if turned else image


def look_of(image: Image.Image) -> bytes:
    """Return the bytes of the (LOOK, LOOK) uint8 grey thumbnail of an RGB image, row by row."""
    return image.convert("L").resize((LOOK, LOOK), Image.Resampling.BILINEAR).tobytes()


def look_of_pixels(pixels: NDArray[np.uint8]) -> bytes:
    """Return `look_of` an (H, W, 3) uint8 image."""
    return look_of(Image.fromarray(pixels))


def inspect(blob: bytes, max_pixels: int, keep: int) -> ImageInfo:
    """Decode once and say what the image is; its pixels where no side is above `keep`. Errors: UnreadableImageError."""
    found = _opened(blob, max_pixels)
    image = found.own()
    pixels = values = None
    if max(image.size) <= keep:
        if found.values is not None and found.peak:
            values = found.values.tobytes()
        else:
            pixels = image.tobytes()
    return ImageInfo(
        hashlib.sha256(blob).digest(), image.height, image.width, look_of(image), pixels, values, found.peak,
        found.upper_only, found.transparent, found.mode,
    )  # fmt: skip
