"""Answers in words: who saves, the strategy or the pool; what so few seeds cannot show."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from labelwise.analysis.answers import between_strategies, certainty, labels_to_match, needs
from labelwise.analysis.compare import between, differences
from labelwise.config import Study

STUDY = Study.model_validate({"sizes": ["3%/1%"], "seeds": 5, "arms": ["stratified", "random", "margin", "entropy"]})


def one(arm: str, **changes: Any) -> dict[str, Any]:
    values = {
        "row": "3%/1%", "arm": arm, "rule": "accuracy", "n": 5, "reached": 5, "half": 0, "within": False,
        "budget": 1300.0, "labels": 650.0, "reduction": 0.5, "low": 0.45, "high": 0.57, "p": 0.001, "p_holm": 0.002,
        "call": "fewer", "control": "" if arm == "random" else "random", "control_n": 5, "control_ratio": 1.0,
        "control_low": 0.9, "control_high": 1.1, "control_p": 0.9, "control_p_holm": 0.9,
        "control_call": "" if arm == "random" else "no difference shown",
    }  # fmt: skip
    return {**values, **changes}


def said(*rows: dict[str, Any]) -> list[str]:
    return labels_to_match(STUDY, pd.DataFrame(rows))


def test_where_random_saves_as_much_the_pool_saves() -> None:
    lines = said(one("random"), one("margin"), one("entropy"))
    assert lines[0] == (
        "Labels to match the baseline's accuracy: fewer than N shown in 2 of 2 comparisons; none of these shown to "
        "need fewer than random in the same pool too. A seed matches where it does on both halves of the test set."
    )
    assert lines[1] == (
        "Row 3%/1%, 1,300 labels: margin needs 650 (50 % fewer, 95 % interval 45 to 57); entropy needs 650 (50 % "
        "fewer, 95 % interval 45 to 57); random in the same pool needs 650 (50 % fewer, 95 % interval 45 to 57). "
        "Margin and entropy: random saves too, and no difference to it is shown: the pool saves, the strategy is not "
        "shown to."
    )


def test_where_a_strategy_needs_fewer_than_random_the_saving_is_its_own() -> None:
    fewer, more = {"control_call": "fewer", "control_ratio": 0.9}, {"control_call": "more", "control_ratio": 1.2}
    line = said(one("random"), one("margin", **fewer), one("entropy", **more))[1]
    assert line.endswith(
        "Margin (0.90 times) needs fewer than random: part of the saving is the strategy's own, the rest the pool's; "
        "entropy (1.20 times) needs more than random."
    )
    alone = said(one("random", call="no difference shown"), one("margin", **fewer))[1]
    assert alone.endswith(
        "Margin (0.90 times) needs fewer than random: at least part of the saving is the strategy's own."
    )
    unsure = said(one("random"), one("margin", **fewer, call="no difference shown"))[1]
    assert unsure.endswith("Margin (0.90 times) needs fewer than random.")
    bounds = said(one("random"), one("margin", control_call="fewer", control_ratio=math.nan))[1]
    assert "Margin needs fewer than random: " in bounds


def test_a_comparison_without_a_verdict_stays_in_the_denominator() -> None:
    lines = said(one("random"), one("margin"), one("entropy", call="no verdict"))
    assert "fewer than N shown in 1 of 2 comparisons (1 without a verdict)" in lines[0]


def test_the_median_of_oracle_stopping_keeps_arms_that_never_match() -> None:
    oracle = {"rule": "oracle stopping"}
    rows = [one("random"), one("margin"), one("entropy", reached=0, labels=math.nan, reduction=math.nan)]
    line = said(*rows, one("margin", **oracle), one("entropy", **oracle))[1]
    assert line.endswith(
        "has a median of 50 % fewer labels over 2 rows and arms; the honest estimate, of accuracy alone, of N or more "
        "labels (1 match in no seed and count as more than N)."
    )


def test_a_study_that_stops_at_the_baseline_has_the_oracles_estimate_only() -> None:
    study = STUDY.model_copy(update={"stop": "at_baseline"})
    lines = labels_to_match(study, pd.DataFrame([one("margin", rule="oracle stopping")]))
    assert "an honest estimate is not possible" in lines[0]
    assert len(lines) == 2


def test_inside_the_subset_no_pool_saves() -> None:
    inside = {"within": True, "control_call": "fewer", "control_ratio": 0.9}
    line = said(one("random", within=True), one("margin", **inside))[1]
    assert "at least part of the saving is the strategy's own" in line
    assert line.endswith("Every run here ends with the baseline's own labels, so that it needs N at most.")
    same = said(one("random", within=True), one("margin", within=True))[1]
    assert "random saves too, and no difference to it is shown." in same


def test_too_few_seeds_for_a_sign_test_are_said() -> None:
    line = said(one("random", reached=0, call="no difference shown"), one("margin"))[1]
    assert line.endswith(
        "Margin: no difference to random shown, which matches in none of 5 seeds: too few for a sign test to show one."
    )


def test_without_a_saving_of_random_nothing_is_said_of_the_pool() -> None:
    line = said(one("random", call="no difference shown"), one("margin"))[1]
    assert line.endswith("Margin: no difference to random shown.")
    assert said(one("margin", control=""))[1].endswith(
        "No random arm in this pool: whether the pool saves or the strategy is not known."
    )


def test_arms_are_held_against_random_of_the_same_annotators() -> None:
    wrong = {"labeler": {"kind": "error", "rate": "30%"}}
    arms = ["random", "margin", {"strategy": "random", **wrong}, {"strategy": "margin", **wrong}]
    study = Study.model_validate({"sizes": ["3%"], "seeds": 5, "arms": ["stratified", *arms]})
    names = [study.arm_name(arm) for arm in study.arms[1:]]
    lines = labels_to_match(study, pd.DataFrame([one(name) for name in names]))[1:]
    assert [line.split(", 1,300 labels: ")[0] for line in lines] == [
        "Row 3%/1%, labeler: truth", "Row 3%/1%, labeler: error 30%"
    ]  # fmt: skip
    assert all(line.count("margin needs") == line.count("random in the same pool") == 1 for line in lines)


@pytest.mark.parametrize(("changes", "text"), [
    ({"reached": 0, "labels": math.nan}, "matches in none of 5 seeds"),
    ({"reached": 0, "half": 2, "labels": math.nan},
     "matches in none of 5 seeds, in 2 more on one half of the test set"),
    ({"n": 10, "reached": 0, "labels": math.nan, "call": "more"},
     "matches in none of 10 seeds: more than N is shown"),
    ({"reached": 2, "labels": 1500.0}, "needs more than N on average (matches in 2 of 5 seeds)"),
    ({"reached": 4, "low": -math.inf},
     "needs 650 (50 % fewer, 95 % interval open to 57; matches in 4 of 5 seeds, else counted as more)"),
    ({"reached": 4, "half": 1, "within": True}, "needs 650 (50 % fewer, 95 % interval 45 to 57; matches in 4 of 5 "
     "seeds, in 1 more on one half of the test set, else counted as more)"),
    ({"reached": 1, "within": True, "labels": 1300.0, "reduction": 0.0, "low": 0.0, "high": 0.364, "call": "none"},
     "shows no saving, N at most (95 % interval 0 to 36 % fewer; earlier it matches in 1 of 5 seeds)"),
    ({"reached": 2, "labels": 1500.0, "call": "more"},
     "needs more than N on average (matches in 2 of 5 seeds): more than N is shown"),
    ({"reached": 0, "half": 3, "rule": "oracle stopping", "labels": math.nan}, "matches in none of 5 seeds"),
    ({"low": math.nan, "high": math.nan}, "needs 650 (50 % fewer)"),
    ({"labels": 1400.0, "reduction": -0.08, "low": -0.2, "high": 0.1},
     "needs 1,400 (8 % more, 95 % interval -20 to 10)"),
    ({"n": 1, "reached": 0, "labels": math.nan}, "matches in none of 1 seed"),
])  # fmt: skip
def test_what_an_arm_needs(changes: dict[str, Any], text: str) -> None:
    assert needs(one("margin", **changes)) == text


def runs(values: dict[str, list[float]]) -> pd.DataFrame:
    return pd.DataFrame([
        {"row": "3%", "arm": arm, "seed": seed, "strategy": arm, "start": "s", "pool": "p", "weighting": "w",
         "labeler": "l",
         "accuracy": value}
        for arm, column in values.items() for seed, value in enumerate(column)
    ])  # fmt: skip


def test_differences_between_strategies_are_named() -> None:
    found = runs({"a": [0.7, 0.71, 0.72], "b": [0.6, 0.61, 0.625], "c": [0.7005, 0.7095, 0.7205]})
    (line,) = between_strategies(between(found, "accuracy"))
    assert line == (
        "Between the strategies, 3 pairs at equal labels: a difference shown in 2 (a above b; c above b); shown to be "
        "within one point in 1."
    )
    assert between_strategies(between(runs({"a": [0.7], "b": [0.6]}), "accuracy")) == []


def test_few_seeds_are_said_to_show_little() -> None:
    values = {"stratified": [0.7, 0.71, 0.69], "margin": [0.72, 0.74, 0.7]}
    lines = certainty(differences(runs(values), "accuracy"))
    assert lines[0].startswith("With 3 paired seeds and the spread seen here, a true difference of 3.")
    assert lines[1].startswith("With 3 seeds a two-sided sign or Wilcoxon test cannot go below p = 0.25")
    assert certainty(differences(runs({"margin": [0.7], "random": [0.6]}), "accuracy")) == []
