"""Pictures for the page: kept by content, checked, never another image's."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.data.decode import AwayError
from labelwise.labelling.server.views import Views
from pictures import encoded, write


@pytest.fixture
def views(tmp_path: Path) -> Iterator[Views]:
    made = Views(tmp_path / "photos", tmp_path / "cache")
    yield made
    made.close()


def flat(path: Path, grey: int) -> None:
    write(path, encoded(np.full((30, 40, 3), grey, np.uint8), "BMP"))


def shown(views: Views, name: str) -> float:
    jpeg = views.get(name, views.content(name), "thumb")
    assert jpeg is not None
    with Image.open(io.BytesIO(jpeg)) as image:
        return float(np.asarray(image).mean())


def test_another_picture_of_the_same_name_size_and_time_is_shown_as_itself(views: Views, tmp_path: Path) -> None:
    path = tmp_path / "photos" / "a.bmp"
    flat(path, 50)
    time = path.stat().st_mtime_ns
    assert round(shown(views, "a.bmp")) == 50
    size = path.stat().st_size
    flat(path, 200)
    os.utime(path, ns=(time, time))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (size, time)
    assert round(shown(views, "a.bmp")) == 200
    again = Views(tmp_path / "photos", tmp_path / "cache")  # a project made anew beside the old one's cache
    assert round(shown(again, "a.bmp")) == 200
    again.close()


@pytest.mark.parametrize("damage", ["flip", "swap", "cut", "empty"])
def test_a_damaged_view_is_made_again_with_a_line(
    views: Views, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    flat(tmp_path / "photos" / "a.bmp", 50)
    flat(tmp_path / "photos" / "b.bmp", 200)
    assert [round(shown(views, name)) for name in ("a.bmp", "b.bmp")] == [50, 200]
    one, other = ((tmp_path / "cache" / "views").glob(f"{views.content(name)}-*") for name in ("a.bmp", "b.bmp"))
    path, others = next(one), next(other)
    whole = path.read_bytes()
    path.write_bytes({
        "flip": whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:], "swap": others.read_bytes(), "cut": whole[:-1],
        "empty": b"",
    }[damage])  # fmt: skip
    with caplog.at_level(logging.WARNING, "labelwise"):
        assert round(shown(views, "a.bmp")) == 50
    assert len(caplog.records) == 1
    assert "is damaged and is made again" in caplog.text
    assert path.read_bytes() == whole


def test_what_changes_under_way_or_is_away_is_no_picture(views: Views, tmp_path: Path) -> None:
    flat(tmp_path / "photos" / "a.bmp", 50)
    before = views.content("a.bmp")
    flat(tmp_path / "photos" / "a.bmp", 51)
    with pytest.raises(AwayError, match="the file was changed"):
        views.get("a.bmp", before, "thumb")
    (tmp_path / "photos" / "a.bmp").unlink()
    with pytest.raises(AwayError, match="No such file"):
        views.content("a.bmp")
