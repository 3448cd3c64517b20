"""Where files lie whose names a table gives without folder or extension."""

from __future__ import annotations

from pathlib import Path

from labelwise.data.missing import option, place_of_files
from labelwise.parts import Columns
from pictures import write


def test_folder_and_extension_are_found(tmp_path: Path) -> None:
    for name in ("a/x.JPG", "a/y.JPG", "b/y.png", ".hidden/x.png"):
        write(tmp_path / name, b"")
    assert place_of_files(tmp_path, ["x", "y", "z"]) == ({"folder": "a", "extension": ".JPG"}, 2)
    assert place_of_files(tmp_path, ["y.png"]) == ({"folder": "b"}, 1)
    assert place_of_files(tmp_path, ["y"]) == ({}, 0)  # in a and in b
    assert place_of_files(tmp_path, ["z", "", "\0", "../x", "/etc/passwd"]) == ({}, 0)


def test_the_option_keeps_what_the_study_says() -> None:
    keys = Columns(label="breed", separator=";", folder="wrong")
    assert option(keys, {"image": "id: 1", "extension": ".jpg"}) == (
        '--set \'columns={image: "id: 1", label: breed, separator: ";", extension: .jpg}\''
    )
