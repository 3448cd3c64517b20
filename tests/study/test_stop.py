"""`stop: at_baseline`: runs end in the first round that beats the baseline, whoever computes them and however often."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fake
from labelwise.analysis.results import rounds
from labelwise.config import Study
from labelwise.errors import InputError
from labelwise.records import reading
from labelwise.study import workers
from labelwise.study.executor import run_study

ARMS = ["random", "margin", "stratified", {"strategy": "margin", "weighting": "inverse"},
        {"strategy": "stratified", "weighting": "inverse"}]  # fmt: skip


def study(**changes: Any) -> Study:
    values: dict[str, Any] = {
        "data": "digits", "sizes": ["10%", "20%"], "seeds": 2, "initial": {"minimum": 30}, "acquisition": 0.1,
        "learner": {"kind": "fake"}, "arms": ARMS, "stop": "at_baseline",
    }  # fmt: skip
    return Study.model_validate({**values, **changes})


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    fake.install()
    monkeypatch.setattr(workers, "work", fake.work)


@pytest.mark.slow
def test_runs_are_the_beginnings_of_whole_ones_and_end_at_the_first_better_round(tmp_path: Path) -> None:
    run_study(study(), tmp_path / "stop", fake.Silent())
    run_study(study(stop="budget"), tmp_path / "whole", fake.Silent())
    stopped, whole = rounds(reading(tmp_path / "stop")), rounds(reading(tmp_path / "whole"))
    assert (stopped["status"] == "done").all()
    keys = ["row", "arm", "seed"]
    baselines = whole[whole["strategy"] == "stratified"].set_index(["row", "weighting", "seed"])
    ends = []
    for key, run in stopped[stopped["strategy"] != "stratified"].groupby(keys):
        same = whole.set_index(keys).loc[key]
        assert run["accuracy"].tolist() == same["accuracy"].tolist()[: len(run)]
        base = baselines.loc[(key[0], run["weighting"].iloc[0], key[2])]
        better = ((same["accuracy"] > base["accuracy"]) & (same["loss"] < base["loss"])).tolist()
        expected = better.index(True) + 1 if True in better else len(same)
        assert len(run) == expected
        ends.append(run["labels"].iloc[-1] < run["budget"].iloc[-1])
    assert any(ends)  # some stop early
    assert not all(ends)  # and some do not, or nothing would be tested


@pytest.mark.slow
def test_any_number_of_workers_and_any_interruption_give_equal_records(tmp_path: Path) -> None:
    run_study(study(), tmp_path / "alone", fake.Silent(), workers=1)
    expected = reading(tmp_path / "alone").digest()
    run_study(study(), tmp_path / "two", fake.Silent(), workers=2)
    assert reading(tmp_path / "two").digest() == expected
    for stop_after in (3, 9, 5):
        with pytest.raises(KeyboardInterrupt):
            run_study(study(), tmp_path / "again", fake.Silent(stop_after=stop_after), workers=1)
    run_study(study(), tmp_path / "again", fake.Silent())
    assert reading(tmp_path / "again").digest() == expected


def test_an_arm_without_its_baseline_is_refused(tmp_path: Path) -> None:
    made = study(arms=["stratified", {"strategy": "margin", "weighting": "inverse"}])
    with pytest.raises(InputError, match=r"arms\.1: stop: at_baseline needs the baseline with weighting: inverse"):
        run_study(made, tmp_path, fake.Silent())


def test_stopping_makes_other_records_and_prices_do_not(tmp_path: Path) -> None:
    made = study(seeds=1, sizes=["20%"], stop="budget")
    run_study(made, tmp_path, fake.Silent())
    listener = fake.Silent()
    run_study(study(seeds=1, sizes=["20%"], stop="budget", prices={"label": 0.1}), tmp_path, listener)
    assert not listener.rounds
    assert reading(tmp_path).study()["config"]["prices"]["label"] == 0.1
    with pytest.raises(InputError, match=r"stop \(at_baseline, was budget\)"):
        run_study(study(seeds=1, sizes=["20%"]), tmp_path, fake.Silent())
