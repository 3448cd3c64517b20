"""A study end to end with a learner without a backbone: records, resume, equal fits once, refusals."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fake
from labelwise.analysis.results import acquisitions, rounds
from labelwise.config import Study
from labelwise.errors import InputError
from labelwise.records import reading, writing
from labelwise.study.executor import run_study
from pictures import class_folders, encoded, picture, write


def study(**changes: Any) -> Study:
    values: dict[str, Any] = {
        "data": "digits", "sizes": ["20%"], "seeds": 2, "initial": {"minimum": 30}, "learner": {"kind": "fake"},
        "arms": ["stratified", "random", "margin", "entropy_typicality"],
    }  # fmt: skip
    return Study.model_validate({**values, **changes})


@pytest.fixture(autouse=True)
def _fake() -> None:
    fake.install()
    for seen in (fake.FITS, fake.CALLS, fake.TUNED):
        seen.clear()


def test_a_study_with_a_class_that_has_no_test_images(tmp_path: Path, cache: Path) -> None:
    class_folders(tmp_path / "data", count=60)
    for i in range(40):
        write(tmp_path / "data" / "emu" / f"{i}.png", encoded(picture(7)))
    small = study(data=str(tmp_path / "data"), sizes=[40], seeds=1, arms=["random", "margin"])
    run_study(small, tmp_path / "out", fake.Silent())
    store = reading(tmp_path / "out")
    assert (rounds(store)["status"] == "done").all()
    with sqlite3.connect(tmp_path / "out" / "study.db") as database:
        recall = [json.loads(row)["recall"] for (row,) in database.execute("SELECT per_class FROM rounds")]
    assert all(values[2] is None and None not in values[:2] for values in recall)


def test_records_of_a_whole_study(tmp_path: Path) -> None:
    run_study(study(), tmp_path, fake.Silent())
    store = reading(tmp_path)
    frame, labels = rounds(store), acquisitions(store)
    assert (frame["status"] == "done").all()
    assert (frame["labels_train"] + frame["labels_val"] == frame["labels"]).all()
    assert (frame["labels_bought"] == frame["labels"]).all()
    one = frame[(frame["arm"] == "margin") & (frame["seed"] == 0)]
    assert one["labels"].iloc[0] == 30
    assert one["labels"].iloc[-1] == one["budget"].iloc[0]
    assert (np.diff(one["labels"])[:-1] == round(0.05 * one["budget"].iloc[0])).all()
    for (arm, seed), picked in labels.groupby(["arm", "seed"]):
        run = frame[(frame["arm"] == arm) & (frame["seed"] == seed)]
        assert picked["index"].is_unique
        assert picked.groupby("round").size().cumsum().tolist() == run["labels"].tolist()
    start = labels[labels["round"] == 0]
    sets = {arm: set(part["index"]) for arm, part in start[start["seed"] == 0].groupby("arm")}
    assert sets["random"] == sets["margin"] == sets["entropy_typicality"]
    assert sets["random"] < sets["stratified"]


def test_what_was_read_is_said_and_recorded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "labelwise"):
        run_study(study(arms=["random"], seeds=1), tmp_path, fake.Silent())
    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith("Data: digits (scikit-learn): pool 1,")
    assert said[1].startswith("10 classes (0, 1, 2,")
    found = reading(tmp_path).study()["data"]
    assert (found["seen"]["pool"], found["seen"]["test"]) == (found["pool"], found["test"])
    assert found["seen"]["sizes"]["commonest"] == [8, 8]


def test_the_truth_is_what_is_recorded(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    run_study(study(arms=["margin"], seeds=1), tmp_path, fake.Silent())
    labels = acquisitions(reading(tmp_path))
    assert (load_digits().target[labels["index"]].astype(str) == labels["label"]).all()


def test_predictions_give_the_recorded_metrics(tmp_path: Path) -> None:
    run_study(study(arms=["margin"], seeds=1), tmp_path, fake.Silent())
    store = reading(tmp_path)
    with sqlite3.connect(store.path) as db:
        found = db.execute("SELECT predictions, accuracy, loss FROM rounds").fetchall()
    for blob, accuracy, loss in found:
        tested = store.tested(blob)
        assert (tested.predicted == store.truth).mean() == pytest.approx(accuracy, abs=0.01)  # float16 makes ties
        assert -np.log(tested.true.astype(np.float64)).mean() == pytest.approx(loss, rel=0.01)


def test_equal_fits_are_computed_once_and_charged_to_each_arm(tmp_path: Path) -> None:
    run_study(study(seeds=1), tmp_path, fake.Silent())
    assert len(fake.FITS) == len(set(fake.FITS))
    frame = rounds(reading(tmp_path))
    assert len(fake.FITS) == len(frame) - 2  # three arms share the fit of round 0
    assert (frame["epochs"] == 3).all()
    tested, pool, initial = 359, 1438, 30  # 7 in the fit, 100 in the preparation
    expected = [107 + tested + scored for scored in (0, 0, pool - initial, pool)]
    assert frame[frame["round"] == 0]["images_forward"].tolist() == expected


def test_an_arms_parts_reach_the_learner_and_the_strategy(tmp_path: Path) -> None:
    arms = [
        "margin",
        {"strategy": "margin", "weighting": "inverse"},
        {"strategy": "margin", "pool": "subset"},
        {"strategy": "margin", "start": "random"},
        "entropy_typicality",
        {"strategy": "entropy_typicality", "options": {"weight": 1.0}},
        "entropy",
    ]
    run_study(study(arms=arms, seeds=1), tmp_path, fake.Silent())
    picked = {
        arm: [part["index"].tolist() for _, part in run.groupby("round")]
        for arm, run in acquisitions(reading(tmp_path)).groupby("arm")
    }
    assert {weighting for weighting, _, _ in fake.CALLS} == {"none", "inverse"}
    assert len(fake.TUNED) == 2  # the stratified start, which all arms but one share, and the random one
    assert all(len(tuned) == 30 for tuned in fake.TUNED)
    assert set(fake.TUNED) == {tuple(sorted(rounds_[0])) for rounds_ in picked.values()}
    assert all(tuned == {"tuned_on": 30} for _, tuned, _ in fake.CALLS)
    assert picked["entropy_typicality weight=1.0"][1:] != picked["entropy_typicality"][1:]
    assert set(picked["entropy_typicality weight=1.0"][1]) == set(picked["entropy"][1])
    inside = study(arms=["stratified"], seeds=1)
    run_study(inside, tmp_path / "baseline", fake.Silent())
    subset = set(acquisitions(reading(tmp_path / "baseline"))["index"])
    assert set(chain(*picked["margin pool=subset"])) == subset
    assert not set(chain(*picked["margin"])) <= subset
    assert picked["margin start=random"][0] != picked["margin"][0]


def test_a_changed_learner_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = study(seeds=1, arms=["margin"])
    run_study(config, tmp_path, fake.Silent())
    build = fake.build
    monkeypatch.setattr(fake, "build", lambda *a: replace(build(*a), key="other weights"))
    with pytest.raises(
        InputError, match="other weights, another device, other library versions or another fine-tuning protocol"
    ):
        run_study(config, tmp_path, fake.Silent())


def test_same_configuration_same_records(tmp_path: Path) -> None:
    for out in ("a", "b"):
        run_study(study(), tmp_path / out, fake.Silent())
    assert reading(tmp_path / "a").digest() == reading(tmp_path / "b").digest()


SLOW = [pytest.param(rounds, marks=pytest.mark.slow) for rounds in (1, 5, 17, 30)]


@pytest.mark.parametrize("stop_after", [2, *SLOW])
def test_stopped_and_resumed_equals_undisturbed(tmp_path: Path, stop_after: int) -> None:
    run_study(study(), tmp_path / "a", fake.Silent())
    with pytest.raises(KeyboardInterrupt):
        run_study(study(), tmp_path / "b", fake.Silent(stop_after))
    run_study(study(), tmp_path / "b", fake.Silent())
    assert reading(tmp_path / "a").digest() == reading(tmp_path / "b").digest()


def test_a_finished_study_runs_nothing_again(tmp_path: Path) -> None:
    run_study(study(), tmp_path, fake.Silent())
    fake.FITS.clear()
    run_study(study(), tmp_path, fake.Silent())
    assert fake.FITS == []


def test_a_study_can_grow_but_not_change(tmp_path: Path) -> None:
    run_study(study(seeds=1, arms=["margin"]), tmp_path / "a", fake.Silent())
    run_study(study(), tmp_path / "a", fake.Silent())
    run_study(study(), tmp_path / "b", fake.Silent())
    assert reading(tmp_path / "a").digest() == reading(tmp_path / "b").digest()
    change: dict[str, Any]
    for change, said in (
        ({"seeds": 1}, "seeds (without 1)"),
        ({"acquisition": 0.1}, "acquisition (0.1, was 0.05)"),
        ({"learner": {"kind": "probe"}}, "learner.kind (probe, was fake)"),
        ({"sizes": ["30%"]}, "sizes (without 20%)"),
        ({"arms": ["margin", "random"]}, "arms (without stratified, entropy_typicality)"),
        ({"weighting": "inverse"}, "weighting (inverse, was none)"),
    ):
        before = reading(tmp_path / "a").digest()
        with pytest.raises(InputError) as found:
            run_study(study(**change), tmp_path / "a", fake.Silent())
        assert f"holds another configuration, which differs in {said}; choose another --out" in str(found.value)
        assert reading(tmp_path / "a").digest() == before


def test_a_study_that_differs_in_much_is_told_in_one_short_line(tmp_path: Path) -> None:
    run_study(study(seeds=1, arms=["margin"]), tmp_path, fake.Silent())
    arms = [{"strategy": "random", "options": {}, "weighting": "inverse", "start": "random"}, "entropy"]
    more = {"stop": "at_baseline", "initial": {"share": 0.2, "minimum": 9}, "test_share": 0.3, "max_pixels": 5_000_000}
    changed = study(arms=[*arms, "stratified", {"strategy": "stratified", "weighting": "inverse"}], seeds=[7], **more)
    with pytest.raises(InputError) as found:
        run_study(changed, tmp_path, fake.Silent())
    told = str(found.value).removeprefix(str(tmp_path))
    assert len(told) < 400
    assert "arms (without margin), initial.minimum (9, was 30), initial.share (0.2, was 0.1), max_pixels (" in told
    assert "{" not in told
    assert " and 1 more; choose another --out" in told


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": [20]}, "leaves nothing to buy"),
        ({"sizes": [20_000]}, "larger than the pool"),
        ({"sizes": ["10%/5%"], "minority": ["11"]}, "there is no class '11'"),
        ({"sizes": ["10%/5%"], "minority": 10}, "do not fit row"),
        ({"arms": ["margn"]}, "did you mean 'margin'"),
        ({"arms": [{"strategy": "margin", "options": {"k": 1}}]}, "has no option 'k'"),
        ({"arms": [{"strategy": "stratified", "pool": "subset"}]}, "no options, start or pool of its own"),
        ({"arms": [{"strategy": "entropy_typicality", "options": {"clusters": True}}]}, "cannot be True"),
        ({"data": "digitz"}, "did you mean 'digits'"),
        ({"data": "no/such/folder"}, "there is no file or folder"),
        ({"sizes": ["10%/5%"], "minority": [11]}, "there is no class '11'"),
        ({"learner": {"kind": "prob"}}, "did you mean 'probe'"),
    ],
)
def test_bad_input_writes_nothing(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run_study(study(**change), tmp_path / "out", fake.Silent())
    assert not (tmp_path / "out").exists()


def test_records_do_not_go_among_the_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lies inside the data folder"):
        run_study(study(data=str(tmp_path)), tmp_path / "out" / "x", fake.Silent())
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_a_file_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(InputError, match="is a file; choose another --out"):
            run_study(study(), out, fake.Silent())
    assert fake.FITS == []


def test_two_processes_on_one_folder(tmp_path: Path) -> None:
    with writing(tmp_path), pytest.raises(InputError, match="in use by another labelwise process"):
        run_study(study(), tmp_path, fake.Silent())


def test_another_schema_is_refused(tmp_path: Path) -> None:
    run_study(study(seeds=1, arms=["margin"]), tmp_path, fake.Silent())
    with sqlite3.connect(tmp_path / "study.db") as db:
        db.execute("UPDATE study SET schema = 99, version = '9.9'")
    with pytest.raises(InputError, match=r"another version \(9.9\)"):
        run_study(study(seeds=1, arms=["margin"]), tmp_path, fake.Silent())


def test_another_version_of_the_code_is_refused(tmp_path: Path) -> None:
    run_study(study(seeds=1, arms=["margin"]), tmp_path, fake.Silent())
    with sqlite3.connect(tmp_path / "study.db") as db:
        db.execute("UPDATE study SET version = '0.0.1'")
    with pytest.raises(InputError, match=r"made by labelwise 0\.0\.1"):
        run_study(study(seeds=1, arms=["margin"]), tmp_path, fake.Silent())
    assert len(rounds(reading(tmp_path)))


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("not a database, but long enough to look like a page of one" * 100)
    with pytest.raises(InputError, match="not one of labelwise's stores"):
        run_study(study(), tmp_path, fake.Silent())


SCRIPT = """
import sys; sys.path.insert(0, sys.argv[1])
import fake; fake.install()
from pathlib import Path
from labelwise.config import Study
from labelwise.study.executor import run_study
from pictures import class_folders, encoded, picture, write
print("ready", flush=True)
run_study(Study.model_validate_json(sys.argv[3]), Path(sys.argv[2]), fake.Silent())
"""


@pytest.mark.slow
def test_killed_many_times_and_resumed_equals_undisturbed(tmp_path: Path) -> None:
    config = study(seeds=3)
    started = time.monotonic()
    run_study(config, tmp_path / "a", fake.Silent())
    undisturbed = time.monotonic() - started
    chance = random.Random(0)
    tests, out = str(Path(__file__).parents[1]), str(tmp_path / "b")
    command = [sys.executable, "-c", SCRIPT, tests, out, config.model_dump_json()]
    kills = 0
    for _ in range(8):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(timeout=chance.uniform(0, undisturbed / 3))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.stdout.close()
        process.wait()
    assert kills >= 4
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert reading(tmp_path / "a").digest() == reading(tmp_path / "b").digest()
