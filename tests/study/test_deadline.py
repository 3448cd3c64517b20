"""`--stop-after`: a study that stops between two rounds, and goes on to the records of an undisturbed one."""

from __future__ import annotations

import multiprocessing
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import fake
from labelwise.analysis.results import rounds
from labelwise.cli import app
from labelwise.config import Study
from labelwise.errors import InputError
from labelwise.models import embeddings
from labelwise.records import reading
from labelwise.study import workers
from labelwise.study.deadline import NEVER, Deadline, OutOfTime, deadline
from labelwise.study.executor import run_study

SETTINGS: dict[str, Any] = {
    "data": "digits", "sizes": [90], "seeds": 2, "initial": {"minimum": 30}, "acquisition": "30%",
    "learner": {"kind": "fake"}, "arms": ["stratified", "random", "margin"],
}  # fmt: skip
STUDY = Study.model_validate(SETTINGS)
ROUNDS = 2 * (1 + 4 + 4)  # 30, 57, 84 and 90 labels


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    fake.install()
    fake.FITS.clear()
    monkeypatch.setattr(workers, "work", fake.work)


@pytest.fixture
def whole(tmp_path: Path) -> str:
    """The digest of the study, not stopped."""
    run_study(STUDY, tmp_path / "whole", fake.Silent(), workers=1)
    return reading(tmp_path / "whole").digest()


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("8m", 480), ("1.5h", 5400), (".5m", 30), ("2h", 7200)])
def test_times(text: str, seconds: float) -> None:
    assert deadline(text, 1000.0).at == 1000.0 + seconds
    assert deadline(text, time.monotonic() - seconds - 1).over()
    assert not deadline(text, time.monotonic()).over()
    assert not NEVER.over()


@pytest.mark.parametrize("text", ["8", "8 m", "", "m", "0s", "-1m", "1d", "nan s", "1e3s", "8min", "1h30m", "1,5h"])
def test_a_time_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"--stop-after .*: give a time such as 90s, 8m or 1\.5h"):
        deadline(text, 0.0)


@pytest.mark.parametrize(
    ("number", "at_once"), [(1, 5), *(pytest.param(*numbers, marks=pytest.mark.slow) for numbers in ((1, 1), (2, 9)))]
)
def test_stopped_again_and_again_gives_the_records_of_an_undisturbed_study(
    number: int, at_once: int, whole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for start in range(0, ROUNDS, at_once):
        listener = fake.Silent()
        monkeypatch.setattr(Deadline, "over", lambda _, seen=listener.rounds: len(seen) >= at_once)
        last = start + at_once >= ROUNDS
        if not last:
            with pytest.raises(OutOfTime, match=f"^: {start + at_once} of {ROUNDS} rounds are recorded"):
                run_study(STUDY, tmp_path / "out", listener, number)
            assert "labelwise worker" not in {process.name for process in multiprocessing.active_children()}
        else:  # its time is over too, and nothing is left to do
            run_study(STUDY, tmp_path / "out", listener, number)
        assert len(rounds(reading(tmp_path / "out"))) == min(start + at_once, ROUNDS)
    assert reading(tmp_path / "out").digest() == whole


def test_a_study_that_can_end_early_says_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    early, listener = Study.model_validate({**SETTINGS, "stop": "at_baseline"}), fake.Silent()
    monkeypatch.setattr(Deadline, "over", lambda _: len(listener.rounds) >= 3)
    with pytest.raises(OutOfTime, match=f"3 of at most {ROUNDS} rounds"):
        run_study(early, tmp_path, listener, 1)


def test_embedding_is_broken_off_and_goes_on_where_it_was(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Watching(fake.Silent):
        def work(self, what: str, done: int, total: int) -> None:
            if what == "embedding images":
                seen.append(done)

    def nothing(_: Any, backbone: Any, chunks: list[Any]) -> Iterator[Any]:
        yield from ((np.zeros((len(chunk), backbone.features), np.float16), 0.0) for chunk in chunks)

    seen: list[int] = []
    monkeypatch.setattr(embeddings, "CHUNK", 500)
    learner = {"kind": "probe", "backbone": "test_efficientnet", "weights": "scratch", "device": "cpu"}
    probe = Study.model_validate({**SETTINGS, "learner": learner})
    for parts, where in ((2, "embedding images"), (3, "embedding images"), (4, "it is finished now")):
        monkeypatch.setattr(Deadline, "over", lambda _, parts=parts: len(seen) == parts)
        stopped = pytest.raises(OutOfTime, match=rf"^, during the preparation \({where}\), before any new round")
        with stopped, embeddings.embedding_by(nothing):
            run_study(probe, tmp_path / "out", Watching(), 1)
        assert len(seen) == parts
    assert seen == [500, 1000, 1500, 1797]


def test_time_over_after_the_preparation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(fake.Silent):
        def planned(self, runs: list[Any]) -> None:
            self.seen = True

    listener = Counting()
    monkeypatch.setattr(Deadline, "over", lambda _: hasattr(listener, "seen"))
    with pytest.raises(OutOfTime, match=r"\(it is finished now\), before any new round"):
        run_study(STUDY, tmp_path, listener, 1)
    assert fake.FITS == []


def test_the_command_says_how_far_it_is_and_nothing_of_results(
    whole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.FITS.clear()
    (tmp_path / "study.yaml").write_text(STUDY.model_dump_json())
    command = ["run", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out"), "--workers", "1"]
    short = CliRunner().invoke(app, [*command, "--stop-after", ".001s"], catch_exceptions=False)
    line = (
        r"Stopped after \.001s, as asked, during the preparation .*, before any new round; it begins anew .*\. "
        r"Run the same command .*\n"
    )
    assert short.exit_code == 0
    assert re.fullmatch(line, short.stdout)
    monkeypatch.setattr(Deadline, "over", lambda _: len(fake.FITS) >= 3)
    stopped = CliRunner().invoke(app, [*command, "--stop-after", "8m"], catch_exceptions=False)
    assert stopped.exit_code == 0
    recorded = f"3 of {ROUNDS} rounds are recorded"
    assert stopped.stdout == f"Stopped after 8m, as asked: {recorded}. Run the same command again to go on.\n"
    monkeypatch.setattr(Deadline, "over", lambda _: False)
    done = CliRunner().invoke(app, [*command, "--stop-after", "8h"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "Stopped" not in done.stdout
    assert "Records: " in done.stdout
    assert reading(tmp_path / "out").digest() == whole
