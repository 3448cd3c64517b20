"""Costs, prices, overheads and the win matrix, on invented records worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from labelwise.analysis.compare import SECONDS, between, differences, per_run
from labelwise.analysis.ledger import fits_with_problems, ledger, overheads, price_curves, priced, seconds_once
from labelwise.analysis.results import rounds
from labelwise.analysis.wins import win_matrix
from labelwise.config import Prices, Study
from synthetic import make_store


def study(**changes: Any) -> Study:
    values: dict[str, Any] = {
        "sizes": ["3%", "10%"], "seeds": 3, "arms": ["stratified", "random", "margin", "uncertainty"],
    }  # fmt: skip
    return Study.model_validate({**values, **changes})


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return rounds(make_store(tmp_path_factory.mktemp("ledger"), study()))


def test_the_ledger_adds_up(frame: pd.DataFrame) -> None:
    found = ledger(frame).set_index("row")
    assert list(found.index) == ["3%", "10%", ""]
    assert found.loc["", "runs"] == 24
    assert found.loc["", "rounds"] == len(frame)
    assert found.loc["3%", "labels"] == 12 * 80  # the last round's labelled set, not the sum over rounds
    assert found.loc["", "seconds"] == pytest.approx(frame[SECONDS].to_numpy().sum())
    assert found.loc["", "seconds_once"] == pytest.approx(6 * (2 * 1.0 + 2 * 1.2))  # random scores nothing
    assert found.loc["", "images_forward"] == frame["images_forward"].sum()
    assert ledger(frame.iloc[:0]).empty


def test_a_price_is_labels_and_hours_so_far(frame: pd.DataFrame) -> None:
    own = frame[(frame["row"] == "3%") & (frame["arm"] == "margin") & (frame["seed"] == 1)]
    found = priced(own, Prices(label=0.5, hour=36.0))
    # training 0.5 + r seconds, scoring 0.2 (and 1 second of preparation first), selection 0.3; evaluation is left out
    seconds = np.cumsum(np.arange(4) + 1.0) + 1.0
    assert found["price"].to_numpy() == pytest.approx(0.5 * np.array([20, 40, 60, 80]) + 0.01 * seconds)
    curves = price_curves(frame, Prices(label=2.0))
    assert curves[curves["arm"] == "random"]["price"].tolist() == [40, 80, 120, 160] * 2
    assert curves["n"].eq(3).all()


def some_runs(seconds: dict[str, list[float]], starts: dict[str, str] | None = None) -> pd.DataFrame:
    starts = starts or {}
    return pd.DataFrame([
        {"row": "3%", "arm": arm, "seed": seed, "strategy": arm.split()[0], "start": starts.get(arm, "stratified"),
         "pool": "full", "weighting": "none", "options": "{}",
         "labeler": "truth", "seconds_train": value / 2, "seconds_score": value / 4,
         "seconds_select": value / 4, "images_forward": 10, "images_backward": 0, "epochs": 1}
        for arm, values in seconds.items() for seed, value in enumerate(values)
    ])  # fmt: skip


def some_rounds(runs: pd.DataFrame, embedding: float) -> pd.DataFrame:
    """Invent two rounds of each run, with the embedding in the first one's scoring."""
    score = runs["seconds_score"] / 2
    first = runs.assign(round=0, seconds_score=score + embedding)
    return pd.concat([first, runs.assign(round=1, seconds_score=score)], ignore_index=True)


def test_clustering_is_held_against_the_strategies_that_do_not() -> None:
    values = {"uncertainty": [10.0, 20.0, 12.0], "margin": [40.0, 20.0, 12.0], "entropy_typicality": [30.0, 30.0, 20.0]}
    runs = some_runs(values)
    charged = runs.assign(seconds_score=runs["seconds_score"] + 1_000.0)
    found = overheads(charged, some_rounds(runs, 1_000.0)).set_index("cost")
    log = np.log(np.array(values["entropy_typicality"]) / np.sqrt(np.multiply(values["uncertainty"], values["margin"])))
    expected = scipy.stats.ttest_1samp(log, 0)
    one = found.loc["seconds"]
    assert (one["arm"], one["what"], one["n"]) == ("entropy_typicality", "clustering", 3)
    assert one["ratio"] == pytest.approx(np.exp(log.mean()))
    assert (one["low"], one["high"]) == pytest.approx(tuple(np.exp(expected.confidence_interval())))
    assert found.loc["images_forward", "ratio"] == 1.0
    assert found.loc["seconds_select", "mean"] == pytest.approx(np.exp(np.log([30, 30, 20]).mean()) / 4)
    assert "images_backward" not in found.index  # a probe has none: no ratio


def test_the_embedding_is_told_from_scoring() -> None:
    runs = some_runs({"margin": [8.0, 8.0], "random": [8.0, 8.0]})
    rounds_ = some_rounds(runs, 100.0)
    rounds_.loc[rounds_["arm"] == "random", "seconds_score"] = [100.0, 100.0, 0.0, 0.0]
    assert seconds_once(rounds_).tolist() == [100.0] * 4 + [0.0] * 4
    assert (seconds_once(some_rounds(runs, 0.5)).iloc[:2] == 0).all(), "noise"
    alone = rounds_[rounds_["round"] == 0]
    assert seconds_once(alone).tolist() == [0.0, 0.0, 100.0, 100.0], "of margin it cannot be told yet"


def test_a_zero_shot_start_is_held_against_the_same_strategy() -> None:
    values = {"margin": [10.0, 10.0], "margin start=zero-shot": [14.0, 15.0], "random start=zero-shot": [1.0, 1.0]}
    starts = {name: "zero-shot" for name in values if "zero-shot" in name}
    runs = some_runs(values, starts)
    found = overheads(runs, some_rounds(runs, 0.0))
    assert set(found["what"]) == {"zero-shot start"}
    assert found.set_index("cost").loc["seconds", "ratio"] == pytest.approx(math.sqrt(1.4 * 1.5))


def test_problems_are_named_with_their_place(frame: pd.DataFrame) -> None:
    assert fits_with_problems(frame) == []
    bad = frame.copy()
    bad.loc[[0, 1, 2], "problem"] = "stuck at the loss of one class"
    (line,) = fits_with_problems(bad)
    assert line.startswith(f"stuck at the loss of one class: 3 of {len(bad)} fits (rows and arms: 3% stratified")


def test_the_win_matrix_counts_rounds_that_a_test_shows() -> None:
    curves = {"a": [[0.1, 0.5, 0.9], [0.1, 0.51, 0.88], [0.1, 0.5, 0.91]],
              "b": [[0.1, 0.5, 0.5], [0.1, 0.49, 0.5], [0.1, 0.52, 0.5]]}  # fmt: skip
    rows = [
        {"row": "3%", "arm": arm, "strategy": arm, "seed": seed, "round": i, "labels": 10 * (i + 1), "accuracy": value,
         "status": "done"}
        for arm, runs in curves.items() for seed, run in enumerate(runs) for i, value in enumerate(run)
    ]  # fmt: skip
    found = win_matrix(pd.DataFrame(rows)).set_index(["arm", "loser"])
    assert found["tests"].tolist() == [2, 2]  # the first round is left out
    assert found.loc[("a", "b"), "share"] == 0.5
    assert found.loc[("b", "a"), "share"] == 0.0
    assert win_matrix(pd.DataFrame(rows).query("seed == 0")).empty


def test_strategies_are_compared_with_each_other_where_their_parts_agree(frame: pd.DataFrame) -> None:
    runs = per_run(frame)
    found = between(runs, "accuracy")
    assert found[["row", "arm", "reference"]].to_numpy().tolist() == [
        ["3%", "margin", "uncertainty"], ["10%", "margin", "uncertainty"],
    ]  # fmt: skip
    other = runs.copy()
    other.loc[other["arm"] == "margin", "pool"] = "subset"
    assert between(other, "accuracy").empty


def test_similar_needs_its_own_test() -> None:
    rows = [
        {"row": "3%", "arm": arm, "seed": seed, "strategy": arm, "start": "s", "pool": "p", "weighting": "w",
         "labeler": "l",
         "accuracy": value}
        for arm, values in {
            "random": [0.700, 0.710, 0.720, 0.690], "near": [0.701, 0.7095, 0.7205, 0.6905],
            "noisy": [0.74, 0.66, 0.75, 0.68],
        }.items() for seed, value in enumerate(values)
    ]  # fmt: skip
    found = differences(pd.DataFrame(rows), "accuracy").set_index("arm")
    assert found.loc["near", "call"] == "similar"
    assert found.loc["near", "within_point"]
    assert found.loc["noisy", "call"] == "no difference shown"
    assert found.loc["noisy", "detectable"] > found.loc["near", "detectable"]


def test_runs_that_stop_early_are_not_compared_at_the_budget(frame: pd.DataFrame) -> None:
    runs = per_run(frame, whole=False)
    active = runs["strategy"] != "stratified"
    assert runs.loc[active, ["accuracy", "area"]].isna().all(axis=None)
    assert runs.loc[~active, "accuracy"].notna().all()
    assert runs["seconds"].notna().all()
