"""The store's two forms: older ones, which hold all probabilities, are read, and nothing is written to them."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import fake
from labelwise import predictions, records
from labelwise.analysis.halves import COLUMNS, rounds_with_halves
from labelwise.cli import app
from labelwise.config import Study
from labelwise.errors import InputError
from labelwise.loop import Round
from labelwise.records import reading
from labelwise.study.executor import run_study

STUDY = Study.model_validate(
    {"data": "digits", "sizes": [90], "seeds": 2, "initial": {"minimum": 30}, "acquisition": "30%",
     "learner": {"kind": "fake"}, "arms": ["stratified", "random", "margin"]}
)  # fmt: skip


@pytest.fixture(autouse=True)
def _fake() -> None:
    fake.install()


def record(folder: Path, monkeypatch: pytest.MonkeyPatch, old: bool) -> Path:
    """Run the study into the folder, in the older form if so."""
    with monkeypatch.context() as patched:
        if old:
            patched.setattr(records, "SCHEMA", predictions.FULL)
            patched.setattr(records, "compact", lambda probs, _: probs)
            patched.setattr(records, "pack", lambda probs, _: probs.astype("<f2").tobytes())
        run_study(STUDY, folder, fake.Silent())
    return folder


def test_either_form_gives_equal_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = (record(tmp_path / name, monkeypatch, name == "old") for name in ("old", "new"))
    assert reading(old).study()["schema"] == predictions.FULL
    assert (new / "study.db").stat().st_size < (old / "study.db").stat().st_size
    frames = [rounds_with_halves(reading(folder)) for folder in (old, new)]
    kept = [name for name in frames[0] if not name.startswith(("seconds", "peak"))]
    pd.testing.assert_frame_equal(frames[0][kept], frames[1][kept])
    assert frames[1][[*COLUMNS]].notna().all(axis=None)


def test_an_older_store_is_read_by_every_command_and_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = record(tmp_path / "old", monkeypatch, True)
    before = reading(old).digest()
    for command in (["status"], ["results", "--format", "csv"], ["report", "--no-images"]):
        done = CliRunner().invoke(app, [command[0], str(old), *command[1:]], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    with pytest.raises(InputError, match=r"made by an older labelwise.*choose another --out"):
        run_study(STUDY, old, fake.Silent())
    assert reading(old).digest() == before


def test_predictions_are_those_of_the_round(tmp_path: Path) -> None:
    class Remembering(fake.Silent):
        def recorded(self, run: object, done: Round) -> None:
            last.append(done)

    last: list[Round] = []
    run_study(STUDY, tmp_path, Remembering())
    store = reading(tmp_path)
    with store.transaction() as connection:
        blobs = connection.execute(records.ROUNDS.select()).all()
    assert len(blobs) == len(last)
    by_key = {(row.fit_key, row.round): store.tested(row.predictions) for row in blobs}
    for done in last:
        found, probs = by_key[done.fit_key, done.round], done.test.probs
        assert (found.predicted == probs.argmax(axis=1)).all()
        assert (found.top == probs.max(axis=1)).all()
        assert (found.true == probs[np.arange(len(probs)), store.truth]).all()


def test_the_digest_does_not_depend_on_how_well_a_library_compresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = {reading(record(tmp_path / "best", monkeypatch, False)).digest()}
    monkeypatch.setattr(predictions, "_smaller", lambda plane: zlib.compress(plane, 1))
    digests.add(reading(record(tmp_path / "fast", monkeypatch, False)).digest())
    assert len(digests) == 1
