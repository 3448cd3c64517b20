"""`labelwise inspect`: what was read, in every format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from labelwise.cli import app
from labelwise.errors import InputError
from pictures import class_folders, encoded, picture, write

pytestmark = pytest.mark.usefixtures("cache")


def inspect(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, ["inspect", *map(str, arguments)])
    assert done.exit_code == 0, done.exception
    return done.stdout


@pytest.fixture
def root(tmp_path: Path) -> Path:
    class_folders(tmp_path / "photos" / "Training", ("cat", "dog"))
    class_folders(tmp_path / "photos" / "Testing", ("cat", "dog"), seed=50)
    write(tmp_path / "photos" / "Training" / "cat" / "notes.txt", b"no picture")
    return tmp_path / "photos"


def test_for_people(root: Path) -> None:
    lines = inspect(root).splitlines()
    assert lines[0].startswith(f"Data: {root} (folder): pool ")
    assert "(the source's own split)" in lines[0]
    assert lines[1].startswith("2 classes (cat, dog), ")
    assert "Not used: files of other kinds (.txt): 1" in lines
    assert "Note: training set: Training; test set: Testing" in lines
    assert lines[-3].split() == ["class", "pool", "test"]


def test_for_programs(root: Path) -> None:
    found = json.loads(inspect(root, "--format", "json"))
    assert found["pool"] == sum(one["pool"] for one in found["classes"])
    assert found["unused"] == {"files of other kinds (.txt)": 1}
    assert found["modes"] == {"RGB": found["pool"] + found["test"]}
    assert inspect(root, "--format", "csv").splitlines()[0] == "class,pool,test"


def test_unreadable_images_are_named(root: Path) -> None:
    write(root / "Training" / "cat" / "broken.png", b"\x89PNG\r\n\x1a\n")
    assert "1 of" in str(CliRunner().invoke(app, ["inspect", str(root)]).exception)
    said = inspect(root, "--set", "skip_unreadable=true")
    assert "unreadable images: 1" in said
    assert "Unreadable: Training/cat/broken.png (" in said


def test_pictures(root: Path, tmp_path: Path) -> None:
    write(root / "Training" / "cat" / "one.png", encoded(picture(99)))
    assert f"Pictures: {tmp_path / 'sheet.html'}" in inspect(root, "--html", tmp_path / "sheet.html")
    assert "<h2>dog</h2>" in (tmp_path / "sheet.html").read_text()


@pytest.mark.parametrize(("name", "why"), [("nowhere/x.html", "its folder is not there"), (".", "it is a folder")])
def test_pages_that_cannot_be_written_are_one_line(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        raise CliRunner().invoke(app, ["inspect", "digits", "--html", str(tmp_path / name)]).exception or AssertionError


def test_features_have_no_pictures(tmp_path: Path) -> None:
    rows = np.arange(80, dtype=np.float32).reshape(20, 4)
    np.savez(tmp_path / "own.npz", embeddings=rows, labels=np.array(["a", "b"] * 10))
    assert inspect(tmp_path / "own.npz").startswith("Data: ")
    done = CliRunner().invoke(app, ["inspect", str(tmp_path / "own.npz"), "--html", str(tmp_path / "sheet.html")])
    assert "holds features without images; leave it out" in str(done.exception)
    assert not (tmp_path / "sheet.html").exists()
