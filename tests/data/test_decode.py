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
from labelwise.data.decode import (
    FORMATS,
    LOOK,
    DepthUnknownError,
    UnreadableImageError,
    decode,
    inspect,
    seen,
)
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


LEVELS = (np.arange(600).reshape(20, 30) * 7).astype(np.uint16)  # up to 4,193
DEEP = {
    "PNG": lambda values: encoded(Image.fromarray(values), "PNG"),
    "TIFF": lambda values: encoded(Image.fromarray(values), "TIFF"),
    "TIFF of 32 bits": lambda values: encoded(Image.fromarray(values.astype(np.int32)), "TIFF"),
    "PGM": lambda values: b"P5 30 20 65535\n" + values.astype(">u2").tobytes(),
}


@pytest.mark.parametrize("kind", sorted(DEEP))
def test_16_bit_grey_is_scaled_by_the_depth_that_is_given(kind: str) -> None:
    blob = DEEP[kind](LEVELS)
    for bits in (14, 16):
        expected = np.round(LEVELS / (2**bits - 1) * 255).astype(np.uint8)
        np.testing.assert_array_equal(np.asarray(decode(blob, CAP, bits))[..., 0], expected)
    with pytest.raises(
        UnreadableImageError, match=r"pixels up to 4,193, above the 12 bits \(0 to 4,095\) of the images b"
    ):
        decode(blob, CAP, 12)
    with pytest.raises(
        DepthUnknownError, match="16-bit pixels up to 4,193, and no images before it say which value is wh"
    ):
        decode(blob, CAP)
    assert inspect(blob, CAP, keep=0).peak == 4193


def test_black_is_black_at_any_depth() -> None:
    assert not as_array(encoded(Image.fromarray(np.zeros_like(LEVELS)), "PNG")).any()


def test_files_that_say_what_is_white() -> None:
    values = np.minimum(LEVELS, 1000)
    pgm = b"P5 30 20 1000\n" + values.astype(">u2").tobytes()
    np.testing.assert_allclose(as_array(pgm)[..., 0], values * 0.255, atol=0.51)
    assert inspect(pgm, CAP, keep=0).peak == 0
    numbers = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    np.testing.assert_array_equal(
        as_array(encoded(Image.fromarray(numbers), "TIFF"))[..., 0], np.round(numbers * 255).astype(np.uint8)
    )


def white_is_zero() -> bytes:
    blob = bytearray(encoded(Image.fromarray(LEVELS), "TIFF"))
    entry = struct.pack("<HHI", 262, 3, 1)  # how grey is meant: 1, black is zero
    at = blob.index(entry) + len(entry)
    assert blob[at] == 1
    blob[at] = 0
    return bytes(blob)


@pytest.mark.parametrize(("blob", "message"), [
    (encoded(Image.fromarray(PICTURE[..., 0].astype(np.float32)), "TIFF"), "floating-point numbers from .* not 0"),
    (encoded(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF"), "floating-point numbers from nan to nan"),
    (encoded(Image.fromarray(np.full((9, 9), -0.5, np.float32)), "TIFF"), "floating-point numbers from -0.5 to -0.5"),
    (encoded(Image.fromarray(np.full((9, 9), 70_000, np.int32)), "TIFF"), "whole numbers from 70,000 to 70,000"),
    (encoded(Image.fromarray(np.full((9, 9), -3, np.int32)), "TIFF"), "whole numbers from -3 to -3, not 0 to 65,535"),
    (white_is_zero(), "more than 8 bits in which 0 is white"),
])  # fmt: skip
def test_unclear_numbers_are_refused(blob: bytes, message: str) -> None:
    with pytest.raises(UnreadableImageError, match=message):
        decode(blob, CAP, 16)


def png16(values: np.ndarray, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of (H, W, C) uint16; colour: its colour type."""
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def test_16_bit_colour_is_read_only_where_all_its_bits_are_used() -> None:
    values = PICTURE.astype(np.uint16) * 257
    info = inspect(png16(values, 2), CAP, keep=30)
    assert (info.upper_only, info.peak) == (True, int(PICTURE.max()) * 256 + 255)
    np.testing.assert_array_equal(np.asarray(decode(png16(values, 2), CAP, 16)), PICTURE)
    dark = png16(values // 16, 2)
    with pytest.raises(
        UnreadableImageError, match="16-bit colour of which 12 bits are used; save it with 8 bits a channel"
    ):
        decode(dark, CAP, 12)
    with pytest.raises(UnreadableImageError, match="no images before it"):
        decode(dark, CAP)
    with pytest.raises(UnreadableImageError, match="16-bit colour with a transparent one"):
        decode(png16(values, 2, (b"tRNS", b"\0" * 6)), CAP, 16)
    grey = np.dstack([values[..., 0], np.where(values[..., 0] > 30000, 65535, 0)])
    read = np.asarray(decode(png16(grey, 4), CAP, 16))[..., 0]
    np.testing.assert_array_equal(read, np.where(values[..., 0] > 30000, PICTURE[..., 0], 255))


def test_16_bits_of_a_bmp_are_5_or_6_a_colour() -> None:
    pixels = struct.pack("<8H", *[0b11111_000000_00000] * 8)
    header = struct.pack("<IiiHHIIiiIIIII", 40, 4, 2, 1, 16, 3, 16, 0, 0, 0, 0, 0xF800, 0x07E0, 0x001F)
    blob = b"BM" + struct.pack("<IHHI", 14 + len(header) + 16, 0, 0, 14 + len(header)) + header + pixels
    np.testing.assert_array_equal(as_array(blob), np.full((2, 4, 3), [255, 0, 0]))


def halves(mode: str) -> tuple[bytes, np.ndarray]:
    """A file whose left half is transparent over black, and what is seen of it."""
    clear = np.zeros((20, 30), bool)
    clear[:, :15] = True
    dark = np.where(clear[..., None], 0, np.maximum(PICTURE, 40))
    alpha = np.where(clear, 0, 255).astype(np.uint8)
    if mode in ("RGBA", "WEBP"):
        image = Image.fromarray(np.dstack([dark, alpha]).astype(np.uint8))
    elif mode == "LA":
        image = Image.fromarray(np.dstack([dark[..., 0], alpha]).astype(np.uint8))
    elif mode == "RGB":
        image = Image.fromarray(dark.astype(np.uint8))
    else:
        image = Image.fromarray(dark[..., 0].astype(np.uint16 if mode == "I;16" else np.uint8))
        if mode == "P":
            image = image.convert("RGB").quantize(64)
    options: dict[str, object] = {"lossless": True} if mode == "WEBP" else {}
    if mode in ("RGB", "L", "I;16"):
        options["transparency"] = (0, 0, 0) if mode == "RGB" else 0
    if mode in ("P", "GIF"):
        image = image if mode == "P" else image.convert("P")
        options["transparency"] = image.getpixel((0, 0))
    blob = encoded(image, mode if mode in ("WEBP", "GIF") else "PNG", **options)
    shown = np.asarray(image.convert("RGB")) if mode != "I;16" else np.repeat(dark[..., :1], 3, axis=2)
    return blob, np.where(clear[..., None], 255, shown)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGB", "L", "P", "GIF", "WEBP", "I;16"])
def test_what_is_transparent_is_white(mode: str) -> None:
    blob, shown = halves(mode)
    read = np.asarray(decode(blob, CAP, 8))
    np.testing.assert_array_equal(read[:, :15], shown[:, :15])
    np.testing.assert_allclose(read[:, 15:].astype(int), shown[:, 15:], atol=1)
    assert inspect(blob, CAP, keep=0).transparent


@given(st.integers(0, 255), st.integers(0, 255))
@settings(max_examples=30, deadline=None)
def test_half_transparent_is_mixed_with_white(level: int, alpha: int) -> None:
    read = as_array(encoded(Image.new("RGBA", (3, 3), (level, level, level, alpha)), "PNG"))
    assert abs(int(read[0, 0, 0]) - (level * alpha + 255 * (255 - alpha)) / 255) <= 1


def test_opaque_alpha_changes_nothing() -> None:
    blob = encoded(Image.fromarray(PICTURE).convert("RGBA"), "PNG")
    np.testing.assert_array_equal(as_array(blob), PICTURE)
    assert not inspect(blob, CAP, keep=0).transparent
    assert seen(blob, CAP, 16)[1]
    assert not seen(halves("P")[0], CAP, 16)[1]
    assert not seen(DEEP["PNG"](LEVELS), CAP, 16)[1]


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
