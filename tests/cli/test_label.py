from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.labelling.conftest import photos

from labelwise.cli.label import label
from labelwise.database import server_name
from labelwise.errors import InputError
from labelwise.labelling.project import Project


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
    refused(folder, "--strategy: 'stratified' is a study's baseline and picks no images", strategy="stratified")
    refused(folder, "--classes: .* quote a name that holds a comma", classes='"red, ripe,green')
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


def test_a_quoted_class_name_keeps_its_comma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Project] = []
    monkeypatch.setattr("labelwise.labelling.server.serve.serve", lambda project, *_: made.append(project))
    label(photos(tmp_path / "photos", 3), classes='"red, ripe",green', no_browser=True)
    assert made[0].snapshot().classes == ["red, ripe", "green"]


def test_suggestions_that_say_nothing_cost_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("labelwise.labelling.server.serve.serve", lambda *_: None)
    (tmp_path / "p.csv").write_text("path,cat,dog\n000.png,0.5,0.5\n001.png,0.5,0.5\n")
    label(photos(tmp_path / "photos", 3), classes="cat,dog", suggest=f"file:{tmp_path / 'p.csv'}", no_browser=True)
    assert "p.csv: all classes are equally probable in every row" in capsys.readouterr().err


@pytest.mark.parametrize("address", [
    "postgresql+psycopg://anna:S3CRET@db.example:5433/photos", "postgresql+psycopg://db.example:5433/photos?password=S3CRET&user=anna",
])  # fmt: skip
def test_a_server_is_named_in_words_and_without_its_password(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "the PostgreSQL database photos on db.example:5433 as anna"
    assert server_name(address) == said

    @contextmanager
    def opened(*_: object) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(not_used=())

    monkeypatch.setattr("labelwise.labelling.project.made_or_opened", opened)
    monkeypatch.setattr("labelwise.labelling.server.serve.serve", lambda *given: given[-1]("http://127.0.0.1:1/"))
    label(photos(tmp_path / "photos", 3), classes="cat,dog", db=address, no_browser=True)
    lines = capsys.readouterr().out
    assert lines == f"Label here: http://127.0.0.1:1/\nLabels are kept in {said}. Ctrl-C stops; nothing is lost.\n"
    monkeypatch.undo()
    with pytest.raises(InputError) as error:
        label(
            tmp_path / "photos",
            classes="cat,dog",
            db=address.replace("db.example:5433", "127.0.0.1:9"),
            no_browser=True,
        )
    assert "the PostgreSQL database photos on 127.0.0.1:9 as anna: " in str(error.value)
    assert "S3CRET" not in str(error.value)


def test_the_project_of_the_folder_one_stands_in_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos(tmp_path / "photos", 3))
    monkeypatch.setattr("labelwise.labelling.server.serve.serve", lambda *_: None)
    label(Path(), classes="cat,dog", no_browser=True)
    assert (tmp_path / "photos.labelwise" / "project.db").exists()
    assert len(list((tmp_path / "photos").iterdir())) == 3
