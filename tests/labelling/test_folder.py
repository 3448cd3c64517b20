from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from labelwise.data.decode import UnreadableImageError
from labelwise.errors import InputError
from labelwise.labelling.folder import new_images, not_used, read_inside, scan
from pictures import write


def test_a_folder_is_listed_with_what_is_in_it(tmp_path: Path) -> None:
    for name in ("b/x.JPG", "a.png", "note.txt", ".hidden/y.png", ".z.png", "home/views/1.jpg", "drawing.svg"):
        write(tmp_path / name, b"x")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing.png")
    (tmp_path / "loop").symlink_to(tmp_path)
    found = scan(tmp_path, tmp_path / "home").images
    assert [f.path for f in found] == ["a.png", "b/x.JPG", "drawing.svg", "gone.png"]
    assert "No such file" in found[-1].problem
    assert not_used(scan(tmp_path, tmp_path / "home")) == [
        "beside the images, not used: 1 files of other kinds (.txt), 1 hidden files, 1 hidden folders, "
        "1 links to folders that are listed already"
    ]


def test_a_file_that_links_list_again_is_one_image(tmp_path: Path) -> None:
    write(tmp_path / "photos" / "a" / "1.png", b"1")
    write(tmp_path / "elsewhere" / "2.png", b"2")
    (tmp_path / "photos" / "b").symlink_to(tmp_path / "photos" / "a")
    (tmp_path / "photos" / "0.png").symlink_to(tmp_path / "photos" / "a" / "1.png")
    (tmp_path / "photos" / "out").symlink_to(tmp_path / "elsewhere")
    seen = scan(tmp_path / "photos")
    assert [f.path for f in seen.images] == ["a/1.png"]
    assert not_used(seen) == [
        "beside the images, not used: 1 links to folders elsewhere, 2 links to images that are listed already",
        "links to folders elsewhere are not followed: out",
    ]


def test_names_that_cannot_be_shown_are_listed_as_unreadable(tmp_path: Path) -> None:
    write(tmp_path / "a\nb.png", b"x")
    (tmp_path / "ok.png").write_bytes(b"x")
    with open(bytes(tmp_path) + b"/\xff.png", "wb") as file:
        file.write(b"x")
    problems = {f.path: f.problem for f in scan(tmp_path, tmp_path / "home").images}
    assert problems["ok.png"] == ""
    assert sum("rename it" in why for why in problems.values()) == 2
    images = new_images(scan(tmp_path, tmp_path / "home").images, [], 0)
    assert sorted(image.status for image in images) == ["new", "unreadable", "unreadable"]


def test_ids_are_a_random_order_that_depends_on_the_seed_alone(tmp_path: Path) -> None:
    for i in range(40):
        write(tmp_path / f"{i}.png", b"x")
    found = scan(tmp_path, tmp_path / "home").images
    one, two = new_images(found, [], 1), new_images(found, [], 2)
    assert [image.id for image in one] == list(range(1, 41))
    assert [i.path for i in one] == [i.path for i in new_images(found, [], 1)] != [i.path for i in two]


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    write(tmp_path / "secret.png", b"secret")
    inside = tmp_path / "photos"
    write(inside / "a.png", b"a")
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    (inside / "good.png").symlink_to(inside / "a.png")
    assert read_inside(inside, "good.png") == b"a"
    for path in ("../secret.png", "link.png", str(tmp_path / "secret.png")):
        with pytest.raises(UnreadableImageError, match="leads out"):
            read_inside(inside, path)
    with pytest.raises(UnreadableImageError, match="no such file"):
        read_inside(inside, "nothing.png")


def test_what_is_no_file_is_listed_and_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.png", b"a")
    write(tmp_path / "__MACOSX" / "._a.png", b"a")
    write(tmp_path / "__MACOSX" / "b.png", b"a")
    os.mkfifo(tmp_path / "pipe.jpg")
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket.jpg")
        (tmp_path / "out.png").symlink_to(__file__)
        (tmp_path / "zero.png").symlink_to("/dev/zero")
        (tmp_path / "folder.png").symlink_to(tmp_path / "__MACOSX")
        (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
        found = {f.path: f.problem for f in scan(tmp_path).images}
    assert found.pop("a.png") == ""
    assert "No such file" in found.pop("gone.png")
    assert found.pop("out.png") == "a link that leads out of the folder"
    assert set(found) == {"pipe.jpg", "socket.jpg", "zero.png", "folder.png"}
    assert set(found.values()) == {"no file, but a pipe, a device or a link to a folder"}
    for name in ("pipe.jpg", "folder.png", "gone.png"):
        with pytest.raises(UnreadableImageError):
            read_inside(tmp_path, name)  # also one that became a pipe since


def test_a_folder_inside_that_cannot_be_read_is_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.png", b"a")
    write(tmp_path / "closed" / "b.png", b"b")
    whole = os.scandir

    def closed(path: str) -> Any:
        if path.endswith("closed"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return whole(path)

    monkeypatch.setattr("labelwise.data.scan.os.scandir", closed)
    found = scan(tmp_path).images
    assert [(f.path, f.problem) for f in found] == [
        ("a.png", ""),
        ("closed", "a folder that cannot be read: Permission denied"),
    ]
    assert {image.path: image.status for image in new_images(found, [], 0)}["closed"] == "unreadable"


def test_a_folder_that_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the folder"):
        scan(tmp_path / "nothing", tmp_path)
