"""Starts, wrong initial labels and confidence, from invented records."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from labelwise.analysis import zero_shot as analysis

STARTS = {"usual": "stratified", "model": "zero-shot", "images": "zero-shot-true"}


def runs(**accuracies: list[float]) -> pd.DataFrame:
    return pd.DataFrame([
        {"row": "3%", "arm": arm, "strategy": "margin", "start": STARTS[arm], "pool": "full", "weighting": "none",
         "labeler": "truth", "seed": seed, **dict.fromkeys(analysis.COMPARED, value)}
        for arm, values in accuracies.items() for seed, value in enumerate(values)
    ])  # fmt: skip


def test_three_starts_are_three_paired_comparisons() -> None:
    found = analysis.starts(runs(usual=[0.5, 0.6, 0.7], model=[0.4, 0.52, 0.6], images=[0.52, 0.6, 0.71]))
    accuracy = found[found["column"] == "accuracy"].set_index("effect")
    assert accuracy["difference"].round(3).to_dict() == {"both": -0.093, "images": 0.01, "errors": -0.103}
    assert (accuracy["n_pairs"] == 3).all()
    assert (accuracy["p_holm"] >= accuracy["p"]).all()
    assert len(analysis.said(found, "3%")) == 3
    assert analysis.said(found, "10%") == []


def test_starts_that_were_not_run_are_not_compared() -> None:
    found = analysis.starts(runs(model=[0.4, 0.5], images=[0.5, 0.5]))
    assert set(found["effect"]) == {"errors"}
    assert analysis.starts(runs(usual=[0.5])).empty


def details(bins: list[list[Any]], arms: int = 2, seeds: int = 2) -> pd.DataFrame:
    return pd.DataFrame([
        {"row": "3%", "seed": seed, "arm": arm, "details": {"zero_shot": {"bins": bins}}}
        for seed in range(seeds) for arm in range(arms)
    ] + [{"row": "3%", "seed": 0, "arm": 9, "details": {}}])  # fmt: skip


def test_each_row_and_seed_is_counted_once() -> None:
    found = analysis.reliability(details([[0, 9, 10, 9.5, 8], [1, 4, 5, 2.25, 4]]), ["cat", "dog"])
    assert found["images"].tolist() == [20, 10]
    assert found["confidence"].tolist() == pytest.approx([0.95, 0.45])
    assert found["accuracy"].tolist() == pytest.approx([0.8, 0.8])
    classes = analysis.by_class(found).set_index("class")
    assert classes.loc["all", "images"] == 30
    assert classes.loc["all", "accuracy"] == pytest.approx(0.8)
    assert classes.loc["all", "confidence"] == pytest.approx((19 + 4.5) / 30)


def test_nothing_recorded_is_nothing() -> None:
    assert analysis.reliability(details([], arms=0, seeds=0), ["cat"]).empty
    assert analysis.reliability_on_test({"missing": "x"}, ["cat"]).empty


def test_initial_labels_are_counted_once_a_seed() -> None:
    wrong = pd.DataFrame([
        {"row": "3%", "seed": seed, "arm": arm, "start": "zero-shot", "round": r, "labels_pseudo": 40, "wrong": n,
         "share": n / 40}
        for seed, n in ((0, 4), (1, 8)) for arm in "ab" for r in (0, 1)
    ])  # fmt: skip
    found = analysis.initial_labels(wrong).iloc[0]
    assert (found["n"], found["wrong"], found["labels_pseudo"]) == (2, 6, 40)
    assert found["share"] == pytest.approx(0.15)


def test_curves_over_labels_bought() -> None:
    rounds = pd.DataFrame([
        {"row": "3%", "arm": "model", "seed": seed, "round": r, "status": "done", "labels_bought": 20 * r,
         "accuracy": 0.5 + 0.1 * r}
        for seed in (0, 1) for r in ((0, 1, 2) if seed else (0, 1))
    ])  # fmt: skip
    found = analysis.along_bought(rounds)
    assert found["labels"].tolist() == [0, 20]  # round 2 is not reached by every seed
    assert np.allclose(found["mean"], [0.5, 0.6])
