"""Reading a project's images: the depth of 16-bit ones is that of all which are read first, and stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from labelwise.labelling import preparation
from labelwise.labelling.messages import Work
from labelwise.labelling.preparation import _read_all
from labelwise.labelling.store import Image
from pictures import encoded, picture, write


def grey(top: int) -> bytes:
    return encoded(Picture.fromarray((picture(top)[..., 0] / 255 * top).round().astype(np.uint16)))


def read(root: Path, blobs: dict[str, bytes], bits: int = 0) -> tuple[Work, list[tuple[str, Any]]]:
    images = []
    for number, (name, blob) in enumerate(blobs.items(), 1):
        path = write(root / name, blob)
        images.append(Image(number, name, len(blob), path.stat().st_mtime_ns))
    said: list[tuple[str, Any]] = []
    work = Work(root, root / "cache", images, ([], [], []), "", "", "cpu", "id", bits)
    return _read_all(work, {}, lambda kind, content: said.append((kind, content)))[0], said


def test_the_first_images_wait_for_the_depth_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "CHUNK", 2)
    work, said = read(tmp_path, {"a.png": grey(900), "b.png": encoded(picture(1)), "c.png": grey(4000), "d.png": b""})
    assert work.bits == 12
    told = [
        (kind, [c["id"] for c in content] if kind == "read" else content) for kind, content in said if kind != "work"
    ]
    assert told == [("read", [2]), ("read", [4]), ("depth", 12), ("read", [1, 3])]
    assert [image.status for image in work.images] == ["ok", "ok", "ok", "unreadable"]


def test_a_depth_that_is_fixed_stays(tmp_path: Path) -> None:
    work, said = read(tmp_path, {"a.png": grey(900), "b.png": grey(60_000)}, bits=12)
    assert work.bits == 12
    assert "depth" not in [kind for kind, _ in said]
    assert [image.status for image in work.images] == ["ok", "unreadable"]
    assert "above the 12 bits (0 to 4,095) of the images before it" in work.images[1].reason


def test_what_is_unclear_is_unreadable(tmp_path: Path) -> None:
    work, _ = read(tmp_path, {"mask.png": grey(3)})
    assert (work.bits, work.images[0].status) == (0, "unreadable")
    assert work.images[0].reason.startswith("16-bit pixels up to ")
