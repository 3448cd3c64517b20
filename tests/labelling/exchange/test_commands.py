"""`labelwise import` and `export` on a real project, and what the page's export does."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from tests.labelling.conftest import said
from typer.testing import CliRunner

from labelwise.cli import app, main
from labelwise.data.images import unseen
from labelwise.database import now
from labelwise.errors import InputError
from labelwise.labelling.exchange import FORMATS, export_to, model
from labelwise.labelling.exchange.home import read_only
from labelwise.labelling.exchange.serving import sources
from labelwise.labelling.exchange.trained import folder_images
from labelwise.labelling.messages import Work
from labelwise.labelling.preparation import prepare
from labelwise.labelling.project import made_or_opened, opened
from pictures import encoded, picture, write

ODD = os.fsdecode(b"nb\xe9")
"""A name that is no UTF-8, of the folder that holds the project and its images."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose images are read and embedded: 12 pictures, 8 labels, 2 of them of the test slice."""
    folder = tmp_path_factory.mktemp("project") / ODD
    for i in range(12):
        write(folder / "photos" / f"{i:02}.png", encoded(picture(i, size=(24, 24))))
    with made_or_opened(folder / "photos", folder / "home", None, ["cat", "dog"], {"budget": 8}) as project:

        def hear(kind: str, content: object) -> None:
            if kind == "read":
                project.store.update_images(content)  # type: ignore[arg-type]

        images, settings = project.store.images(), project.settings
        looks: tuple[list[int], list[bytes], list[str]] = ([], [], [])
        prepare(
            Work(
                project.images, project.cache, images, looks, settings.backbone, settings.weights, "cpu", settings.id
            ), hear
        )  # fmt: skip
        events = [said(i, i % 2, purpose="test" if i < 3 else "picked", seconds=1.5) for i in range(1, 9)]
        project.store.append([event.at(10 + i, now()) for i, event in enumerate(events)])
    return folder / "home"


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def message(result: Result) -> str:
    assert isinstance(result.exception, InputError), result.output
    return str(result.exception)


def test_export_with_predictions_while_the_page_is_open(home: Path, tmp_path: Path) -> None:
    with opened(home):  # as the page's server does
        result = run("export", home, "--format", "csv", "--out", tmp_path / "csv")
    assert result.exit_code == 0, result.output
    assert "8 answers of people, 4 predictions for images without a label" in result.stdout
    with (tmp_path / "csv" / "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] == "predicted"]
    assert all(0.5 <= float(row["probability"]) <= 1 for row in rows)
    assert "nothing is ever overwritten" in message(run("export", home, "--format", "csv", "--out", tmp_path / "csv"))
    inside = message(run("export", home, "--format", "csv", "--out", home / "cache" / "x"))
    assert "lies in the project's cache" in inside
    assert "is not a format" in message(run("export", home, "--format", "x", "--out", tmp_path / "x"))
    assert "no labelling project" in message(run("export", tmp_path, "--format", "csv", "--out", tmp_path / "x"))
    (tmp_path / "project.db").touch()
    assert "no labelling project" in message(run("export", tmp_path, "--format", "csv", "--out", tmp_path / "x"))


def test_import_is_refused_while_the_page_is_open_and_doubles_nothing(home: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,label,annotator\n00.png,dog,ben\n01.png,fox,ben\nx.png,fox,ben\n")
    with opened(home):
        assert "open in another labelwise process" in message(run("import", home, tmp_path / "labels.csv"))
    with read_only(home) as project:
        before = project.snapshot()
    result = run("import", home, tmp_path / "labels.csv")
    assert result.stdout == "New answers: 2; new classes: 1.\n"
    assert "note: 1 images of the file are not in the project" in result.stderr
    assert run("import", home, tmp_path / "labels.csv").stdout == "New answers: 0; new classes: 0.\n"
    with opened(home) as project:
        after = project.snapshot()
    assert after.classes == ["cat", "dog", "fox"]
    assert after.test == before.test
    numbers = {image.path: image.id for image in after.images}
    assert after.name_of(after.board.answers(numbers["01.png"])["ben"].klass or 0) == "fox"


def test_a_whole_project_moves_to_another_one(home: Path, tmp_path: Path) -> None:
    photos = home.parent / "photos"
    with opened(home) as project:
        old = project.snapshot()
    for name in ("csv", "labelstudio"):
        assert run("export", home, "--format", name, "--out", tmp_path / name).exit_code == 0
        with made_or_opened(photos, tmp_path / f"new {name}", None, old.classes, {"budget": 8, "seed": 5}):
            pass
        file = tmp_path / name / {"csv": "labels.csv", "labelstudio": ""}[name]
        assert run("import", tmp_path / f"new {name}", file).exit_code == 0
        with opened(tmp_path / f"new {name}") as project:
            new = project.snapshot()
        paths = {image.id: image.path for image in old.images}, {image.id: image.path for image in new.images}
        labels = [
            {path[i]: s.name_of(k) for i, k in s.board.labels.items()}
            for path, s in zip(paths, (old, new), strict=True)
        ]
        assert labels[0] == labels[1]
        answered = [{path[i] for i in s.test if i in s.board.stacks} for path, s in zip(paths, (old, new), strict=True)]
        assert answered[0] == answered[1]  # the test slice that was answered is the test slice


def test_right_after_an_import_one_line_says_what_to_do(tmp_path: Path) -> None:
    for i in range(4):
        write(tmp_path / "photos" / f"{i}.png", encoded(picture(i)))
    with made_or_opened(tmp_path / "photos", tmp_path / "home", None, ["cat", "dog"], {"budget": 8}):
        pass
    (tmp_path / "labels.csv").write_text("path,label\n0.png,cat\n1.png,dog\n2.png,cat\n3.png,dog\n")
    assert run("import", tmp_path / "home", tmp_path / "labels.csv").exit_code == 0
    hint = "4 labelled images are not read yet; open the page (labelwise label)"
    assert hint in message(run("export", tmp_path / "home", "--format", "model", "--out", tmp_path / "model"))
    assert hint in message(run("serve-ml-backend", tmp_path / "home", "--port", 0))
    result = run("export", tmp_path / "home", "--format", "csv", "--out", tmp_path / "csv")
    assert f"note: no predictions: {hint}" in result.stderr
    assert "4 answers of people" in result.stdout


@pytest.mark.parametrize("name", FORMATS)
def test_the_page_exports_every_format(home: Path, name: str) -> None:
    with read_only(home) as project:
        first, note = export_to(project.snapshot(), name, home / "exports", project.settings)
        assert (first.name, bool(note)) == (f"{name}-1", True)
        if name != "model":  # which takes seconds
            second, _ = export_to(project.snapshot(), name, home / "exports", project.settings)
            assert second.name == f"{name}-2"


def test_the_exported_model_says_what_the_project_says(home: Path, tmp_path: Path) -> None:
    assert run("export", home, "--format", "model", "--out", tmp_path / "model").exit_code == 0
    loaded = model.load(tmp_path / "model")
    assert loaded.input == (128, 1.0)  # small images are upsampled
    images, _, _ = folder_images(home.parent / "photos", unseen)
    probs = dict(zip(images.names, loaded.predict(images, unseen), strict=True))
    run("export", home, "--format", "csv", "--out", tmp_path / "csv")
    with (tmp_path / "csv" / "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] == "predicted"]
    assert rows
    for row in rows:
        assert loaded.classes[int(probs[row["path"]].argmax())] == row["label"]
        np.testing.assert_allclose(probs[row["path"]].max(), float(row["probability"]), atol=2e-3)
    source, load = sources(home, None, None)
    assert len(source.images) == 12
    assert load().name == loaded.name


def test_too_few_labels_or_embeddings_are_said(tmp_path: Path) -> None:
    write(tmp_path / "photos" / "a.png", encoded(picture(1)))
    for i in range(4):
        write(tmp_path / "photos" / f"{i}.png", encoded(picture(i)))
    with made_or_opened(tmp_path / "photos", tmp_path / "home", None, ["cat", "dog"], {"budget": 8}) as project:
        project.store.update_images([{"id": i, "status": "ok"} for i in range(1, 6)])
        project.store.append([said(i, i % 2, purpose="picked").at(9 + i, now()) for i in range(1, 3)])
    result = run("export", tmp_path / "home", "--format", "csv", "--out", tmp_path / "csv")
    assert "note: no predictions: 2 labelled images are not embedded yet" in result.stderr
    with opened(tmp_path / "home") as project:
        project.store.append([said(2, 1).at(20, now())])
    assert "of 1 beside the test slice" in message(
        run("export", tmp_path / "home", "--format", "model", "--out", tmp_path / "m")
    )


def whole(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    """Run a command as the shell does."""
    monkeypatch.setattr(sys, "argv", ["labelwise", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)


def test_every_format_goes_into_a_folder_of_any_name(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in FORMATS:
        whole(monkeypatch, "export", home, "--format", name, "--out", tmp_path / ODD / name)
        assert f"nb\\udce9/{name}: " in capsys.readouterr().out
    whole(monkeypatch, "import", home, tmp_path / ODD / "csv" / "labels.csv")
    assert "New answers: 0" in capsys.readouterr().out
    whole(monkeypatch, "predict", tmp_path / ODD / "model", home.parent / "photos", "--format", "csv")
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["path"] for row in rows] == [f"{i:02}.png" for i in range(12)]
    import pyarrow.parquet as pq

    with (tmp_path / ODD / "huggingface" / "data" / "train-00000-of-00001.parquet").open("rb") as file:
        assert len(pq.read_table(file)) == 6
