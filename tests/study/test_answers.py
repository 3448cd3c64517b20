"""Studies with a zero-shot start and with annotators that err, end to end: records, costs, resume, identity, report."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fake
from clip_model import save_tiny_clip
from labelwise.analysis import results
from labelwise.analysis.compare import per_run
from labelwise.analysis.labels import against_truth, wrong
from labelwise.analysis.zero_shot import initial_labels, reliability, starts
from labelwise.config import Arm, Row, Study
from labelwise.data.sources import open_dataset
from labelwise.data.subsets import draw_subset
from labelwise.errors import InputError
from labelwise.records import reading
from labelwise.report import write_report
from labelwise.study import workers
from labelwise.study.executor import run_study
from labelwise.study.plan import Run, run_id

pytestmark = pytest.mark.slow

STARTS = ["stratified", "margin", {"strategy": "margin", "start": "zero-shot"},
          {"strategy": "margin", "start": "zero-shot-true"}, {"strategy": "random", "start": "zero-shot"}]  # fmt: skip
ERROR = {"kind": "error", "rate": "30%"}
NOISY = ["margin", {"strategy": "margin", "labeler": ERROR}, {"strategy": "random", "labeler": ERROR},
         {"strategy": "stratified", "labeler": ERROR},
         {"strategy": "margin", "labeler": {**ERROR, "overlap": 3}}]  # fmt: skip


@pytest.fixture(autouse=True)
def _fake() -> None:
    fake.install()


@pytest.fixture(scope="module")
def guesses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of probabilities for the digits, right on about 75 %."""
    data = open_dataset(Study(data="digits"))
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((1797, 10)) + 2.7 * np.eye(10)[data.labels]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    probs[::8] = np.roll(probs[::8], 1, axis=1)  # sure of itself and wrong
    path = tmp_path_factory.mktemp("guesses") / "guesses.parquet"
    pd.DataFrame(probs, columns=list(data.classes)).to_parquet(path)
    return path


def study(arms: list[Any], guesses: Path | None = None, **changes: Any) -> Study:
    values: dict[str, Any] = {
        "data": "digits", "sizes": ["20%"], "seeds": 2, "initial": {"minimum": 40}, "acquisition": 0.2, "arms": arms,
        "learner": {"kind": "fake"}, "zero_shot": {"model": f"file:{guesses}"} if guesses else {},
    }  # fmt: skip
    return Study.model_validate({**values, **changes})


@pytest.fixture(scope="module")
def started(guesses: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    fake.install()
    out = tmp_path_factory.mktemp("started")
    run_study(study(STARTS, guesses), out, fake.Silent())
    return out


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fake.install()
    out = tmp_path_factory.mktemp("noisy")
    run_study(study(NOISY), out, fake.Silent())
    return out


def test_a_start_with_a_models_labels(started: Path, guesses: Path) -> None:
    data, config = open_dataset(Study(data="digits")), study(STARTS, guesses)
    labels = results.acquisitions(reading(started))
    probs = pd.read_parquet(guesses).to_numpy()
    for seed in (0, 1):
        subset = draw_subset(data, config, config.sizes[0], seed).indices
        own = labels[(labels["seed"] == seed) & (labels["round"] == 0)]
        pseudo, true = (own[own["arm"] == f"margin start=guesses.parquet{end}"] for end in ("", " (true labels)"))
        assert pseudo["index"].tolist() == true["index"].tolist()  # the same images
        assert set(pseudo["index"]) <= set(subset.tolist())
        assert set(pseudo["source"]) == {"zero-shot"}
        assert set(true["source"]) == {"truth"}
        assert pseudo["label"].astype(int).tolist() == probs[pseudo["index"]].argmax(axis=1).tolist()
        assert pseudo["label"].value_counts().tolist() == [4] * 10  # equally many a predicted class
        assert true["label"].astype(int).tolist() == data.labels[true["index"]].tolist()
        least = probs[pseudo["index"]].max(axis=1).min()
        assert (probs[subset].max(axis=1) > least).sum() >= 40 - 1
    later = labels[(labels["round"] > 0)]
    assert set(later["source"]) == {"truth"}
    other = labels[(labels["arm"] == "random start=guesses.parquet") & (labels["round"] == 0)]
    first = labels[(labels["arm"] == "margin start=guesses.parquet") & (labels["round"] == 0)]
    assert other["index"].tolist() == first["index"].tolist()


def test_pseudo_labels_count_and_are_not_bought(started: Path) -> None:
    frame = results.rounds(reading(started))
    pseudo = frame[frame["arm"] == "margin start=guesses.parquet"]
    assert (pseudo["labels_pseudo"] == 40).all()
    assert (pseudo["labels_bought"] == pseudo["labels"] - 40).all()
    assert pseudo.groupby("seed")["labels"].max().tolist() == pseudo.groupby("seed")["budget"].max().tolist()
    true = frame[frame["arm"] == "margin start=guesses.parquet (true labels)"]
    assert (true["labels_pseudo"] == 0).all()
    assert (true["labels_bought"] == true["labels"]).all()
    assert (frame["labels_twice"] == 0).all()


def test_the_learner_is_tuned_on_the_labels_that_the_run_has(guesses: Path, tmp_path: Path) -> None:
    fake.TUNED.clear()
    run_study(study(STARTS, guesses, seeds=1), tmp_path, fake.Silent())
    labels = results.acquisitions(reading(tmp_path))
    sets = {arm: tuple(sorted(part[part["round"] == 0]["index"])) for arm, part in labels.groupby("arm")}
    tuned = [
        sets[name] for name in ("margin", "margin start=guesses.parquet", "margin start=guesses.parquet (true labels)")
    ]
    assert sorted(fake.TUNED) == sorted(tuned)  # the same images twice, with other labels


def test_wrong_labels_and_the_models_own_errors_are_in_the_records(started: Path, guesses: Path) -> None:
    store, data = reading(started), open_dataset(Study(data="digits"))
    details = results.details(store)
    counted = wrong(details)
    labels = results.acquisitions(store)
    for (arm, seed), own in counted.groupby(["arm", "seed"]):
        held = labels[(labels["arm"] == arm) & (labels["seed"] == seed)]
        bad = held["label"].astype(int).to_numpy() != data.labels[held["index"]]
        assert own["wrong"].tolist() == [int(bad[held["round"] <= r].sum()) for r in own["round"]]
    initial = initial_labels(counted).iloc[0]
    assert initial["labels_pseudo"] == 40
    assert initial["n"] == 2
    assert initial["wrong"] > 0
    reliable = reliability(details, list(data.classes))
    config = study(STARTS, guesses)
    assert reliable["images"].sum() == 2 * draw_subset(data, config, config.sizes[0], 0).budget
    right = (reliable["images"] * reliable["accuracy"]).sum() / reliable["images"].sum()
    assert 0.6 < right < 0.9
    compared = starts(per_run(results.rounds(store)))
    margin = compared[(compared["strategy"] == "margin") & (compared["column"] == "accuracy")]
    assert margin["effect"].tolist() == ["both", "images", "errors"]
    total = margin.set_index("effect")["difference"]
    assert total["both"] == pytest.approx(total["images"] + total["errors"])


def test_the_study_card_has_the_model_alone(started: Path) -> None:
    card = reading(started).study()["data"]["zero_shot"]
    assert card["title"] == "the file guesses.parquet"
    assert 0.6 < card["accuracy"] < 0.9
    assert card["images"] == 359


@pytest.mark.parametrize("stop_after", [1, 6, 14])
def test_stopped_and_resumed_equals_undisturbed(started: Path, guesses: Path, tmp_path: Path, stop_after: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_study(study(STARTS, guesses), tmp_path, fake.Silent(stop_after))
    run_study(study(STARTS, guesses), tmp_path, fake.Silent())
    assert reading(tmp_path).digest() == reading(started).digest()


def test_noisy_runs_resume_to_the_same_records(noisy: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_study(study(NOISY), tmp_path, fake.Silent(8))
    run_study(study(NOISY), tmp_path, fake.Silent())
    assert reading(tmp_path).digest() == reading(noisy).digest()


def test_an_image_gets_the_same_answer_in_every_arm(noisy: Path) -> None:
    labels = results.acquisitions(reading(noisy))
    own = labels[
        labels["arm"].isin(["margin labeler=error 30%", "random labeler=error 30%", "stratified labeler=error 30%"])
    ]
    assert (own.groupby(["seed", "index"])["label"].nunique() == 1).all()
    assert set(own["source"]) == {"annotator"}


def test_each_of_three_answers_is_bought(noisy: Path) -> None:
    frame = results.rounds(reading(noisy))
    three = frame[frame["arm"] == "margin labeler=error 30% x3"]
    assert (three["labels_bought"] == 3 * three["labels"]).all()
    assert (three["labels_twice"] == 2 * three["labels"]).all()
    assert (three["labeler"] == "error 30% x3").all()
    one = frame[frame["arm"] == "margin labeler=error 30%"]
    assert (one["labels_bought"] == one["labels"]).all()


def test_noise_is_counted_and_held_against_true_labels(noisy: Path) -> None:
    store = reading(noisy)
    counted = wrong(results.details(store))
    share = counted.groupby("arm")["share"].mean()
    assert share["margin"] == 0
    assert share["random labeler=error 30%"] == pytest.approx(0.3, abs=0.07)
    assert share["margin labeler=error 30% x3"] < share["margin labeler=error 30%"] - 0.05
    found = against_truth(per_run(results.rounds(store)), counted).set_index("arm")
    assert found.loc["margin labeler=error 30%", "n_pairs"] == 2
    assert found.loc["margin labeler=error 30%", "difference"] < 0
    assert found.loc["random labeler=error 30%", "n_pairs"] == 0  # no random arm with true labels in this study


def test_a_changed_file_is_refused(guesses: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.parquet"
    table = pd.read_parquet(guesses)
    table.to_parquet(copy)
    config = study([STARTS[2]], copy, seeds=1)
    run_study(config, tmp_path / "out", fake.Silent())
    run_study(config, tmp_path / "out", fake.Silent())
    table.iloc[::-1].to_parquet(copy)
    with pytest.raises(InputError, match=r"other labels \(zero-shot has changed since\)"):
        run_study(config, tmp_path / "out", fake.Silent())


def test_a_study_grows_by_other_starts_and_labelers(guesses: Path, tmp_path: Path, started: Path) -> None:
    run_study(study(["stratified", "margin"], seeds=1), tmp_path, fake.Silent())
    run_study(study(STARTS, guesses), tmp_path, fake.Silent())
    assert reading(tmp_path).digest() == reading(started).digest()
    assert reading(tmp_path).study()["data"]["zero_shot"]["name"] == "guesses.parquet"
    with pytest.raises(InputError, match=r"differs in zero_shot.pool \(full, was subset\)"):
        run_study(
            study(STARTS, guesses, zero_shot={"model": f"file:{guesses}", "pool": "full"}), tmp_path, fake.Silent()
        )


def test_configurations_made_before_there_were_labelers_go_on(tmp_path: Path) -> None:
    config = study(["margin"], seeds=1)
    run_study(config, tmp_path, fake.Silent())
    before = reading(tmp_path).digest()
    with sqlite3.connect(tmp_path / "study.db") as db:
        old = json.loads(db.execute("SELECT config FROM study").fetchone()[0])
        del old["labeler"], old["zero_shot"], old["arms"][0]["labeler"]
        db.execute("UPDATE study SET config = ?", (json.dumps(old),))
    assert len(results.rounds(reading(tmp_path)))
    run_study(config, tmp_path, fake.Silent())
    assert reading(tmp_path).digest() == before


def test_true_labels_change_no_runs_identity() -> None:
    """These were computed before an arm had a labeler: finished runs must not be run again."""
    config = Study.model_validate({"data": "digits", "sizes": ["3%", "10%"], "arms": ["margin"], "seeds": 1})
    run = Run(Row(share=0.03), config.arms[0], "margin", 3, (1, 2))
    assert run_id(run, config, "k") == "a0fae88ae3fbeadc"
    other = Arm.model_validate({**config.arms[0].model_dump(), "labeler": {"kind": "error", "rate": 0.1}})
    assert run_id(Run(run.row, other, "x", 3, (1, 2)), config, "k") != "a0fae88ae3fbeadc"
    assert run_id(run, config, "k", "answers") != "a0fae88ae3fbeadc"


@pytest.mark.parametrize(
    ("arm", "more", "message"),
    [
        (STARTS[2], {"zero_shot": {"model": "clop"}}, "arms.0: zero_shot.model: 'clop'"),
        ({"strategy": "margin", "start": "zero-shot", "pool": "subset"}, {"zero_shot": {"pool": "full"}}, "may not"),
        (STARTS[2], {"zero_shot": {"weights": "no/such/folder"}}, "no folder"),
        ({"strategy": "margin", "labeler": "eror"}, {}, "arms.0: labeler: 'eror' is not a labeler"),
        ({"strategy": "margin", "labeler": {"kind": "file", "path": "no.csv", "columns": "a"}}, {}, "cannot read"),
    ],
)  # fmt: skip
def test_bad_input_writes_nothing(tmp_path: Path, arm: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run_study(study([arm], **more), tmp_path / "out", fake.Silent())
    assert not (tmp_path / "out").exists()


def test_the_report_names_a_file_by_its_name_and_never_calls_it_clip(started: Path, tmp_path: Path) -> None:
    page = write_report(reading(started), tmp_path).read_text()
    assert "Labels from the file guesses.parquet" in page
    assert "They are not CLIP&#39;s" in page
    section = page[page.index('<section id="pseudo">') : page.index('<section id="used">')]
    assert "published study" not in section
    assert "margin start=guesses.parquet" in section
    assert "wrong labels alone" in section
    assert {"confidence-20pct.svg", "bought-20pct.svg"} <= {p.name for p in (tmp_path / "figures").iterdir()}


def test_the_report_on_annotators(noisy: Path, tmp_path: Path) -> None:
    page = write_report(reading(noisy), tmp_path).read_text()
    assert "Annotators that err" in page
    assert "margin labeler=error 30% x3" in page
    assert (tmp_path / "figures" / "wrong-20pct.pdf").is_file()


def test_a_zero_shot_start_of_the_whole_study(guesses: Path, tmp_path: Path) -> None:
    """The baseline asks no model: it has true labels, and is tuned on a stratified draw."""
    config = study(["stratified", "margin"], guesses, start="zero-shot", seeds=1)
    run_study(config, tmp_path, fake.Silent())
    store = reading(tmp_path)
    frame = results.rounds(store).set_index("arm")
    assert frame.loc["stratified", "labels_pseudo"] == 0
    assert (frame.loc["margin", "labels_pseudo"] == 40).all()
    assert initial_labels(wrong(results.details(store)))["labels_pseudo"].tolist() == [40]
    assert "Labels from the file guesses.parquet" in write_report(store, tmp_path / "report").read_text()


def test_several_workers_give_equal_records(guesses: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "work", fake.work)
    config = study([*STARTS[:4], NOISY[1]], guesses, seeds=1)
    for number in (1, 2):
        run_study(config, tmp_path / str(number), fake.Silent(), workers=number)
    assert reading(tmp_path / "1").digest() == reading(tmp_path / "2").digest()


def test_clip_end_to_end(tmp_path: Path, cache: Path) -> None:
    """The whole path with a tiny CLIP: its labels are useless, its time is charged, and the report names it."""
    weights = save_tiny_clip(tmp_path / "tiny-clip")
    config = study([STARTS[1], STARTS[2], STARTS[3]], seeds=1, zero_shot={"weights": str(weights)})
    run_study(config, tmp_path / "out", fake.Silent())
    frame = results.rounds(reading(tmp_path / "out"))
    charged = frame[frame["seconds_zero_shot"] > 0]
    assert set(charged["round"]) == {0}
    assert set(charged["start"]) == {"zero-shot", "zero-shot-true"}
    assert charged["seconds_zero_shot"].nunique() == 1  # both start with the same images of the same model
    assert "margin start=zero-shot" in set(frame["arm"])
    page = write_report(reading(tmp_path / "out"), tmp_path / "report").read_text()
    assert "Labels from CLIP (tiny-clip, the prompt" in page
    assert "activation is quick_gelu" in page
