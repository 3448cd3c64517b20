"""`labelwise pick`: from a folder and a CSV of labels to the images to label next."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from labelwise.cli import app
from labelwise.errors import InputError
from pictures import encoded, picture, write

LABELS = (
    "path,label,status,source\nc0.png,cat,label,picked\nd0.png,dog,label,picked\nd1.png,dog,label,test\ne.png,,skip,\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, name in enumerate(["c0", "c1", "c2", "d0", "d1", "d2", "e"]):
        write(tmp_path / "photos" / f"{name}.png", encoded(picture(i, size=(32, 32))))
    write(tmp_path / "photos" / "again" / "d2.png", encoded(picture(5, size=(32, 32))))  # the same as d2
    write(tmp_path / "photos" / "again" / "c0.png", encoded(picture(0, size=(32, 32))))  # the same as one with a label
    (tmp_path / "labels.csv").write_text(LABELS)
    return tmp_path / "photos"


def pick(folder: Path, *more: str) -> Result:
    labels = str(folder.parent / "labels.csv")
    return CliRunner().invoke(app, ["pick", str(folder), "--labels", labels, "--n", "9", *more])


def paths(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [row["path"] for row in csv.DictReader(io.StringIO(result.stdout))]


def test_it_ranks_what_nobody_answered(folder: Path) -> None:
    result = pick(folder, "--format", "csv")
    assert sorted(paths(result)) == ["again/d2.png", "c1.png", "c2.png"]  # near-duplicates once, test and skipped never
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    probabilities = [float(row["probability"]) for row in rows]
    assert probabilities == sorted(probabilities)  # two classes: the smallest margin first
    assert rows[0]["why"].startswith(rows[0]["label"])
    assert rows[0]["why"].endswith("%)?")
    assert paths(pick(folder, "--format", "csv")) == paths(result)
    first = json.loads(pick(folder, "--format", "json", "--n", "1").stdout)
    assert [row["path"] for row in first] == [rows[0]["path"]]


@pytest.mark.parametrize("strategy", ["random", "typiclust", "badge", "bald", "dropquery"])
def test_every_kind_of_strategy_can_pick(folder: Path, strategy: str) -> None:
    assert len(paths(pick(folder, "--strategy", strategy, "--format", "csv"))) == 3


def test_a_first_batch_needs_no_model(folder: Path) -> None:
    (folder.parent / "labels.csv").write_text("path,label\n")
    result = pick(folder, "--strategy", "typiclust", "--format", "csv")
    assert len(paths(result)) == 7
    assert "the most typical image" in result.stdout
    with pytest.raises(InputError, match="margin needs labels of two classes; pick the first images with"):
        raise pick(folder).exception or AssertionError
    with pytest.raises(InputError, match="did you mean 'margin'"):
        raise pick(folder, "--strategy", "margn").exception or AssertionError
