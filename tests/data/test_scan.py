from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.data.decode import FORMATS
from labelwise.data.scan import is_picture, scan
from pictures import encoded, picture, write


def paths(root: Path) -> list[str]:
    return [found.path for found in scan(root).images]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_without_an_extension_is_known_by_its_content(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "cat" / "5f3a", encoded(picture(1), kind))
    write(tmp_path / "cat" / "1.2.840", encoded(picture(1), kind))
    write(tmp_path / "cat" / "README", b"Pictures of cats")
    write(tmp_path / "cat" / "empty", b"")
    assert paths(tmp_path) == ["cat/1.2.840", "cat/5f3a"]
    assert scan(tmp_path).unused == {"files of other kinds (no extension)": 2}


@given(st.text(min_size=0, max_size=40))
def test_text_is_no_picture(text: str) -> None:
    assert not is_picture(b"# " + text.encode()[:30])
    assert not is_picture(b"BMW " + text.encode()[:28].ljust(28, b"a"))


def test_what_systems_and_programs_make_is_left_out_and_counted(tmp_path: Path) -> None:
    for folder in ("__MACOSX", "cat/@eaDir", "cat/.ipynb_checkpoints", "dog/.thumbnails", "dog/thumbnails", ".git"):
        write(tmp_path / folder / "1.png", b"")
    for name in ("cat/1.png", "cat/Thumbs.db", "cat/._1.png", "cat/.DS_Store", "notes.txt", "labels.csv"):
        write(tmp_path / name, b"")
    assert paths(tmp_path) == ["cat/1.png"]
    assert scan(tmp_path).unused == {
        "files of other kinds (.csv)": 1, "files of other kinds (.db)": 1, "files of other kinds (.txt)": 1,
        "folders named .ipynb_checkpoints": 1, "folders named .thumbnails": 1, "folders named @eaDir": 1,
        "folders named __MACOSX": 1, "folders named thumbnails": 1, "hidden files": 2, "hidden folders": 1,
    }  # fmt: skip


def test_rare_kinds_are_counted_together(tmp_path: Path) -> None:
    for i in range(40):
        write(tmp_path / f"a.x{i}", b"")
    assert sum(scan(tmp_path).unused.values()) == 40
    assert scan(tmp_path).unused["files of other kinds (others)"] == 28


def test_links_are_followed_inside_and_end(tmp_path: Path) -> None:
    write(tmp_path / ".store" / "x" / "1.png", b"")
    write(tmp_path / "a" / "2.png", b"")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "to a").symlink_to("../a")
    (tmp_path / "a" / "to b").symlink_to("../b")
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "c").symlink_to(".store")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "c.png").symlink_to(".store/x/1.png")
    seen = scan(tmp_path)
    assert [(f.path, f.real) for f in seen.images] == [
        ("a/2.png", ""),
        ("b/to a/2.png", "a/2.png"),
        ("c.png", ".store/x/1.png"),
        ("c/x/1.png", ".store/x/1.png"),
    ]
    assert [f.path for f in seen.distinct().images] == ["a/2.png", "c.png"]
    assert seen.distinct().unused["links to images that are listed already"] == 2
    assert "a/to b" in seen.folders


def test_many_links_to_each_other_end_soon(tmp_path: Path) -> None:
    for i in range(12):
        write(tmp_path / str(i) / "1.png", b"")
        for k in range(12):
            (tmp_path / str(i) / f"to {k}").symlink_to(f"../{k}")
    began = time.monotonic()
    assert len(scan(tmp_path).distinct().images) == 12
    assert time.monotonic() - began < 5


def test_links_that_lead_out_are_listed(tmp_path: Path) -> None:
    write(tmp_path / "out" / "1.png", b"")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").symlink_to(tmp_path / "out" / "1.png")
    (tmp_path / "in" / "b").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "c").symlink_to(tmp_path / "out" / "1.png")
    (tmp_path / "inside out").mkdir()
    (tmp_path / "in" / "d").symlink_to(tmp_path / "inside out")  # its path begins as the folder's does
    seen = scan(tmp_path / "in")
    outside = str((tmp_path / "out" / "1.png").resolve())
    assert [(f.path, f.real, f.outside) for f in seen.images] == [("a.png", outside, True)]
    assert seen.outside == ["b", "d"]
    assert seen.unused == {"files of other kinds (no extension)": 1, "links to folders elsewhere": 2}
