"""`labelwise embed`, and the way back: `run` and `pick` on what it wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from typer.testing import CliRunner

from labelwise.cli import app
from labelwise.config import Study
from labelwise.data.sources import open_dataset
from labelwise.errors import InputError
from pictures import encoded, picture, write

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes in scenes, and a class order that is not the alphabet's by number."""
    for k, name in enumerate(["10", "9", "zebra"]):
        for i in range(12):
            blob = encoded(picture(k * 100 + i, size=(32, 32)))
            write(tmp_path / "photos" / name / f"scene {i // 2}" / f"{i}.png", blob)
    return tmp_path / "photos"


def embed(data: Path | str, out: Path, *more: str) -> Result:
    tiny = ["--backbone", "test_resnet", "--weights", "scratch", "--set", "learner.device=cpu"]
    return CliRunner().invoke(app, ["embed", str(data), "--out", str(out), *tiny, *more])


def opened(data: Path | str, **keys: Any) -> Any:
    return open_dataset(Study.model_validate({"data": str(data), **keys}))


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_what_it_writes_is_read_back(photos: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"x{suffix}"
    done = embed(photos, out)
    assert done.exit_code == 0, done.output
    assert "36 embeddings of 96 numbers by test_resnet" in " ".join(done.stdout.split())
    plain, again = opened(photos), opened(out)
    assert again.classes == plain.classes
    np.testing.assert_array_equal(again.labels, plain.labels)
    np.testing.assert_array_equal(again.test, plain.test)
    assert list(again.images.names) == list(plain.images.names)
    assert list(again.groups) == list(plain.groups)
    assert len(set(again.groups)) == 18
    beside = opened(photos, features=str(out))
    np.testing.assert_array_equal(beside.features, again.features)
    assert not done.stderr or "note: " in done.stderr


def test_another_program_reads_it(photos: Path, tmp_path: Path) -> None:
    embed(photos, tmp_path / "x.parquet")
    frame = pd.read_parquet(tmp_path / "x.parquet")
    assert list(frame.columns) == ["path", "label", "split", "group", "embedding"]
    assert frame["embedding"][0].dtype == np.float32
    assert set(frame["split"]) == {"train", "test"}
    about = json.loads(pq.read_schema(tmp_path / "x.parquet").metadata[b"labelwise"])
    assert about["classes"] == list(opened(photos).classes)
    assert about["backbone"] == "test_resnet"


@pytest.mark.parametrize(
    ("data", "out", "message"),
    [
        ("digits", "x.csv", "give a name that ends in .parquet or .npz"),
        ("digits", "there.npz", "is there already, and nothing is overwritten"),
        ("digits", "nowhere/x.npz", "there is no folder"),
        ("there.npz", "x.npz", "there is nothing to embed"),
        ("digit", "x.npz", "did you mean 'digits'?"),
    ],
)
def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str, out: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).random((20, 2))
    np.savez("there.npz", embeddings=values, labels=np.arange(20) % 2)
    with pytest.raises(InputError) as raised:
        raise embed(data, tmp_path / out).exception or AssertionError
    assert message in str(raised.value)


def test_embeddings_that_are_given_are_not_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave this key out"):
        raise embed("digits", tmp_path / "x.npz", "--set", "features=x.npz").exception or AssertionError


def test_pick_reads_it_back(photos: Path, tmp_path: Path) -> None:
    embed(photos, tmp_path / "x.parquet")
    frame = pd.read_parquet(tmp_path / "x.parquet")
    first = frame.groupby("label").head(4).index
    frame.loc[~frame.index.isin(first), "label"] = ""
    frame.to_parquet(tmp_path / "some.parquet")

    def pick(*arguments: str) -> list[dict[str, Any]]:
        done = CliRunner().invoke(app, ["pick", *arguments, "--n", "50", "--format", "json"])
        assert done.exit_code == 0, done.output
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    found = pick(str(tmp_path / "some.parquet"))
    closed = set(frame.loc[first, "group"]) | set(frame.loc[frame["split"] == "test", "group"])
    free = frame[~frame["group"].isin(closed)]
    assert len(found) == free["group"].nunique() > 0  # of a group one, and none of those with an answer
    assert {row["path"] for row in found} <= set(free["path"])
    assert {row["label"] for row in found} <= {"10", "9", "zebra"}
    frame.loc[first, ["path", "label"]].to_csv(tmp_path / "labels.csv", index=False)
    assert pick(str(tmp_path / "x.parquet"), "--labels", str(tmp_path / "labels.csv")) == found
    whole = CliRunner().invoke(app, ["pick", str(tmp_path / "x.parquet")])
    assert "nothing is left to pick" in whole.stderr
    with pytest.raises(InputError, match="--labels: give a CSV"):
        raise CliRunner().invoke(app, ["pick", str(photos)]).exception or AssertionError
