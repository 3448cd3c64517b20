from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from labelwise.data import decode as module
from labelwise.data.decode import FORMATS, LOOK, UnreadableImageError, decode, inspect, look_of, to_square
from pictures import encoded, picture

CAP = 10**6
PICTURE = picture(0, size=(20, 30))


def as_array(blob: bytes) -> np.ndarray:
    image = decode(blob, CAP)
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_read(kind: str) -> None:
    read = as_array(encoded(PICTURE, kind))
    assert read.shape == (20, 30, 3)
    assert np.abs(read.astype(int) - PICTURE).mean() < 20


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_every_kind_of_pixels_becomes_rgb(mode: str) -> None:
    image = Image.fromarray(PICTURE).convert(mode)
    expected = PICTURE if mode == "LAB" else np.asarray(image.convert("RGB"))
    assert np.abs(as_array(encoded(image, "TIFF")).astype(int) - expected).mean() < 3


def test_16_bit_grey_keeps_its_levels() -> None:
    levels = (np.arange(600).reshape(20, 30) * 109).astype(np.uint16)
    read = as_array(encoded(Image.fromarray(levels), "PNG"))
    np.testing.assert_array_equal(read, np.repeat((levels // 257).astype(np.uint8)[..., None], 3, axis=2))


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(UnreadableImageError, match="floating-point"):
        decode(encoded(Image.fromarray(PICTURE[..., 0].astype(np.float32)), "TIFF"), CAP)


def test_palette_with_transparency() -> None:
    palette = Image.fromarray(PICTURE).convert("P")
    read = as_array(encoded(palette, "PNG", transparency=bytes(range(256))))
    np.testing.assert_array_equal(read, np.asarray(palette.convert("RGB")))


def test_exif_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert as_array(encoded(PICTURE, "JPEG", exif=exif)).shape == (30, 20, 3)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_the_first_frame_of_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (5, 5), colour) for colour in ("red", "lime", "blue")]
    read = as_array(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert np.abs(read.astype(int) - [255, 0, 0]).max() < 3


@pytest.mark.parametrize("kind", ["EPS", "ICO", "TGA", "PCX"])
def test_other_formats_are_refused(kind: str) -> None:
    with pytest.raises(UnreadableImageError, match="not a readable JPEG"):
        decode(encoded(PICTURE, kind), CAP)


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", "an empty file"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='5' height='5'/>", "not a readable"),
        (b"P6 0 0 255\n", "not a readable|no pixels"),
        (encoded(PICTURE, "PNG")[:200], "truncated"),
        (encoded(PICTURE, "BMP")[:500], "truncated"),
    ],
)
def test_unreadable(blob: bytes, message: str) -> None:
    with pytest.raises(UnreadableImageError, match=message):
        decode(blob, CAP)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_truncated_file_is_unreadable(kind: str) -> None:
    blob = encoded(PICTURE, kind)
    for share in (0.1, 0.5, 0.8):
        with pytest.raises(UnreadableImageError):
            decode(blob[: int(len(blob) * share)], CAP)


def bomb_of_pixels() -> bytes:
    return encoded(Image.new("1", (9000, 9000)), "PNG")


def bomb_of_text() -> bytes:
    text = b"k\0\0" + zlib.compress(b"a" * 50_000_000)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    png = encoded(PICTURE, "PNG")
    return png[:33] + chunk + png[33:]


@pytest.mark.parametrize("bomb", [bomb_of_pixels, bomb_of_text])
def test_decompression_bombs(bomb: Callable[[], bytes]) -> None:
    with pytest.raises(UnreadableImageError, match=r"oversized: 9000x9000|too large"):
        decode(bomb(), 64_000_000)


def test_a_file_of_too_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    with pytest.raises(UnreadableImageError, match="oversized: 0 MiB"):
        decode(encoded(PICTURE), CAP)


@given(
    st.sampled_from(FORMATS), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8)
)
@settings(max_examples=300, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes_give_an_image_or_the_one_error(kind: str, damage: list[tuple[int, int]]) -> None:
    blob = bytearray(encoded(PICTURE, kind))
    for place, value in damage:
        blob[place % len(blob)] = value
    with contextlib.suppress(UnreadableImageError):
        assert decode(bytes(blob), CAP).mode == "RGB"


def test_inspection() -> None:
    info = inspect(encoded(PICTURE), CAP, keep=30)
    assert (info.height, info.width, len(info.look), len(info.sha256)) == (20, 30, LOOK * LOOK, 32)
    assert info.pixels == PICTURE.tobytes()
    assert inspect(encoded(PICTURE), CAP, keep=29).pixels is None


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (20, 30), (224, 224)])
def test_squares(size: tuple[int, int]) -> None:
    image = decode(encoded(picture(1, size=size)), CAP)
    assert len(look_of(image)) == LOOK * LOOK
    for crop in (0.875, 1.0):
        square = to_square(image, 32, crop)
        assert (square.shape, square.dtype) == ((32, 32, 3), np.uint8)
