from __future__ import annotations

import hashlib
import io
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.labelling.conftest import photos

from labelwise.data.decode import AwayError, ImageInfo, UnreadableImageError
from labelwise.labelling import decoding
from labelwise.labelling.decoding import Decoder
from labelwise.labelling.server.views import Views
from pictures import encoded, picture, write


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    made = Decoder(1)
    yield made
    made.close()


def content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def bomb(side: int = 60_000) -> bytes:
    """A small PNG that says it has `side` x `side` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 10**6))
        + chunk(b"IEND", b"")
    )


def test_a_view_is_small_upright_and_bare(decoder: Decoder, tmp_path: Path) -> None:
    image = Image.fromarray(picture(1, size=(3000, 2000)))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"  # turned by 90 degrees
    write(tmp_path / "a.jpg", encoded(image, "JPEG", exif=exif, comment=b"where I live"))
    with Image.open(io.BytesIO(decoder.view(tmp_path, "a.jpg", 1280, content(tmp_path / "a.jpg")))) as view:
        assert view.size == (1280, 853)
        assert not view.getexif()
        assert "comment" not in view.info


def test_what_cannot_be_decoded_is_said_and_harms_nobody(decoder: Decoder, tmp_path: Path) -> None:
    write(tmp_path / "bomb.png", bomb())
    write(tmp_path / "cut.png", encoded(picture(1))[:-30])
    write(tmp_path / "page.png", b"<html>")
    write(tmp_path / "good.png", encoded(picture(2)))
    write(tmp_path / "x.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    found = decoder.inspections(tmp_path, ["bomb.png", "cut.png", "page.png", "x.svg", "none.png", "good.png"])
    assert str(found[0]).startswith("oversized: 60000x60000")
    assert [type(why) for why in found[:5]] == 4 * [UnreadableImageError] + [AwayError]
    assert isinstance(found[5], ImageInfo)
    assert (found[5].width, found[5].height) == (16, 16)


def test_the_page_shows_16_bits_by_the_projects_depth_and_transparency_on_white(tmp_path: Path) -> None:
    values = np.full((40, 40), 1000, np.uint16)
    write(tmp_path / "photos" / "deep.png", encoded(Image.fromarray(values)))
    write(tmp_path / "photos" / "clear.png", encoded(Image.new("RGBA", (40, 40), (0, 0, 0, 0))))
    known: list[int] = [0]
    views = Views(tmp_path / "photos", tmp_path / "cache", lambda: known[0])

    def shown(name: str, size: str) -> bytes | None:
        return views.get(name, views.content(name), size)

    try:
        assert shown("deep.png", "view") is None, "the page asks again"
        for bits, level in ((12, 62), (10, 249)):
            known[0] = bits
            view = shown("deep.png", "view")
            assert view is not None
            assert abs(int(np.asarray(Image.open(io.BytesIO(view)))[20, 20, 0]) - level) <= 1
        known[0] = 8
        with pytest.raises(UnreadableImageError, match="16-bit pixels up to 1,000, above the 8 bits"):
            shown("deep.png", "view")
        view = shown("clear.png", "thumb")
        assert view is not None
        assert (np.asarray(Image.open(io.BytesIO(view))) == 255).all()
    finally:
        views.close()


def test_a_decoder_that_hangs_or_dies_is_replaced(tmp_path: Path) -> None:
    decoder = Decoder(1)
    slow = decoder.pool.schedule(time.sleep, args=(60,), timeout=0.5)
    with pytest.raises(UnreadableImageError, match="took longer"):
        decoder._result(slow)
    dead = decoder.pool.schedule(_die, timeout=20)
    with pytest.raises(UnreadableImageError, match="decoding it failed"):
        decoder._result(dead)
    greedy = decoder.pool.schedule(_eat, timeout=20)
    with pytest.raises(UnreadableImageError, match="too much memory"):
        decoder._result(greedy)
    write(tmp_path / "good.png", encoded(picture(2)))
    assert decoder.view(tmp_path, "good.png", 64, content(tmp_path / "good.png"))
    decoder.close()


def _die() -> None:
    import os

    os._exit(3)


def _eat() -> int:
    return int(np.ones(2 * decoding.MEMORY, np.uint8).sum())


def test_views_that_were_stopped_start_nothing_again(tmp_path: Path) -> None:
    views = Views(photos(tmp_path / "photos", 1), tmp_path / "cache")
    name = next((tmp_path / "photos").iterdir()).name
    views.close()
    assert views.start() is None
    assert views.get(name, views.content(name), "view") is None
