"""One part changed: pairs that differ in it alone, the usual value first, and what it does beyond random's change."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from labelwise.analysis.changes import changes, said

TRUE = {"random": [0.70, 0.71, 0.69, 0.72], "margin": [0.72, 0.73, 0.72, 0.74]}
WRONG = {"random": [0.66, 0.66, 0.65, 0.69], "margin": [0.70, 0.72, 0.69, 0.71]}


def some(accuracies: dict[str, dict[str, list[float]]], part: str) -> pd.DataFrame:
    """Invent finished runs of one row: value of a part -> strategy -> accuracies by seed."""
    usual: dict[str, Any] = {"start": "stratified", "pool": "full", "weighting": "none", "labeler": "truth"}
    return pd.DataFrame([
        {"row": "3%", "arm": f"{strategy} {value}", "strategy": strategy, "options": "{}", "seed": seed,
         "accuracy": accuracy, "fit_key": f"{strategy} {value} {seed}", **usual, part: value}
        for value, arms in accuracies.items() for strategy, column in arms.items()
        for seed, accuracy in enumerate(column)
    ])  # fmt: skip


def test_arms_that_differ_in_one_part_alone_are_paired() -> None:
    found = changes(some({"error": WRONG, "truth": TRUE}, "labeler"), "accuracy")
    assert set(zip(found["arm"], found["reference"], strict=True)) == {
        ("random error", "random truth"), ("margin error", "margin truth")
    }  # fmt: skip
    one = found.set_index("strategy").loc["margin"]
    expected = scipy.stats.ttest_rel(WRONG["margin"], TRUE["margin"])
    assert (one["against"], one["value"], one["other"], one["n_pairs"]) == ("labeler", "error", "truth", 4)
    assert one["difference"] == pytest.approx(np.mean(WRONG["margin"]) - np.mean(TRUE["margin"]))
    assert one["p"] == pytest.approx(expected.pvalue)
    assert one["comparisons"] == 2


def test_what_it_does_beyond_random_is_a_difference_of_differences() -> None:
    found = changes(some({"truth": TRUE, "error": WRONG}, "labeler"), "accuracy").set_index("strategy")
    own, control = (np.subtract(WRONG[name], TRUE[name]) for name in ("margin", "random"))
    expected = scipy.stats.ttest_rel(own, control)
    assert found.loc["margin", "beyond"] == pytest.approx((own - control).mean())
    assert found.loc["margin", "beyond_p"] == found.loc["margin", "beyond_p_holm"] == pytest.approx(expected.pvalue)
    assert math.isnan(found.loc["random", "beyond"])
    alone = changes(some({"truth": {"margin": TRUE["margin"]}, "error": WRONG}, "labeler"), "accuracy")
    assert alone["beyond"].isna().all()


def test_equal_results_stand_once_and_two_parts_are_no_pair() -> None:
    same = {"stratified": TRUE["random"], "random": TRUE["random"], "margin": TRUE["random"]}
    worse = dict.fromkeys(same, WRONG["random"])
    frame = some({"none": same, "inverse": worse}, "weighting")
    assert len(changes(frame, "accuracy")) == 3  # equal accuracies alone are chance
    equal = frame.assign(fit_key=frame["weighting"] + frame["seed"].astype(str))
    assert len(changes(equal, "accuracy")) == 1
    assert len(changes(equal.iloc[:-1], "accuracy")) == 1  # unfinished
    other = some({"none": TRUE}, "weighting")
    both = pd.concat([other, some({"inverse": WRONG}, "weighting").assign(pool="subset")])
    assert changes(both, "accuracy").empty


def test_the_words_name_the_change_and_its_size() -> None:
    (line,) = said(changes(some({"truth": TRUE, "error": WRONG}, "labeler"), "accuracy"))
    head = "Labeler: error against truth, row 3%, 2 comparisons at equal labels: random -4.0 points ["
    assert line.startswith(head)
    assert "; margin -2.3 points [" in line
    assert "Beyond what it does to random: margin +1.7 points [" in line
    many = {f"s{i}": [0.7 + i / 100 + j / 1000 * (i % 3 - 1) for j in range(4)] for i in range(10)}
    lower = {name: [value - 0.02 - j / 1e4 for j, value in enumerate(column)] for name, column in many.items()}
    (line,) = said(changes(some({"stratified": many, "random": lower}, "start"), "accuracy"))
    assert line == (
        "Start: random against stratified, row 3%, 10 comparisons at equal labels: higher accuracy in none; lower "
        "accuracy in 10; no difference shown in none (median -2.0 points, -2.0 to -2.0)."
    )
    assert said(changes(some({"truth": {"random": [0.7]}, "error": {"random": [0.6]}}, "labeler"), "accuracy")) == []


def test_without_accuracy_at_n_nothing_is_said() -> None:
    frame = some({"truth": TRUE, "error": WRONG}, "labeler").assign(accuracy=math.nan)
    assert said(changes(frame, "accuracy")) == []
