from __future__ import annotations

from pathlib import Path

import pytest
from tests.labelling.conftest import photos

from labelwise.cli.label import label
from labelwise.errors import InputError


def refused(folder: Path, why: str, classes: str = "cat,dog", **options: object) -> None:
    with pytest.raises(InputError, match=why) as error:
        label(folder, classes=classes, no_browser=True, **options)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    assert not (folder.parent / f"{folder.name}.labelwise" / "project.db").exists(), "nothing was made"


def test_bad_input_is_one_line_and_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = photos(tmp_path / "photos", 3)
    (tmp_path / "p.csv").write_text("path,cat\n000.png,1\n")
    refused(tmp_path / "nothing", "is no folder")
    refused(folder, "at least two classes", classes="cat")
    refused(folder, "cat twice", classes="cat,dog,cat")
    refused(folder, "'margn' is not a strategy; did you mean 'margin'", strategy="margn")
    refused(folder, r"'stratified' is for studies alone: .* give random, uncertainty, margin, ", strategy="stratified")
    refused(folder, "no column for the class 'dog'; it has path, cat", suggest=f"file:{tmp_path / 'p.csv'}")
    for row, why in (("nan,1", "NaN"), ("0.9,0.9", "do not sum to 1"), ("-1,2", "negative"), ("a,b", "no number")):
        (tmp_path / "q.csv").write_text(f"path,cat,dog\n000.png,{row}\n")
        refused(folder, why, suggest=f"file:{tmp_path / 'q.csv'}")
    (tmp_path / "q.csv").write_text("image,cat,dog\n000.png,0.5,0.5\n")
    refused(folder, "no column path", suggest=f"file:{tmp_path / 'q.csv'}")
    refused(folder, "cannot read", suggest=f"file:{tmp_path / 'none.csv'}")
    refused(folder, "is not a zero-shot model", suggest="magic")
    monkeypatch.delenv("LABELWISE_PASSWORD", raising=False)
    refused(folder, "needs a password", allow_remote="192.0.2.7")
    monkeypatch.setenv("LABELWISE_PASSWORD", "long enough")
    refused(folder, "--db: not an address", db="nowhere")
    refused(folder, "--db: sqlite is not supported; give postgresql", db=f"sqlite:///{tmp_path}/nodir/x.db")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.csv", "photos", "q.csv"]


def test_the_project_of_the_folder_one_stands_in_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos(tmp_path / "photos", 3))
    monkeypatch.setattr("labelwise.labelling.server.serve.serve", lambda *_: None)
    label(Path(), classes="cat,dog", no_browser=True)
    assert (tmp_path / "photos.labelwise" / "project.db").exists()
    assert len(list((tmp_path / "photos").iterdir())) == 3
