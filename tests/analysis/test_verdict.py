"""The verdict's words: what is shown, what is not, and what is said of small or unfinished studies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from labelwise.analysis.verdict import COLUMNS, Verdict, oracle_assisted, verdict
from labelwise.analysis.words import change, interval, listed, number, p_value
from labelwise.config import Study
from synthetic import always, make_store


def judged(folder: Path, finished: Any = always, **changes: Any) -> Verdict:
    values: dict[str, Any] = {"sizes": ["3%"], "seeds": 5, "arms": ["stratified", "random", "margin"]}
    return verdict(make_store(folder, Study.model_validate({**values, **changes}), finished=finished))


def test_a_finished_study(tmp_path: Path) -> None:
    found = judged(tmp_path)
    assert re.match(
        r"Against the stratified sample at equal labels, 2 comparisons: higher accuracy in ", found.lines[0]
    )
    margin = next(line for line in found.lines if "seeds): margin" in line)
    assert re.match(
        r"Row 3% \(80 labels, 5 seeds\): margin \d+\.\d % \[\d+\.\d, \d+\.\d\] "
        r"against \d+\.\d % for the stratified sample: "
        r"[+-]?\d+\.\d points \[-?\d+\.\d, -?\d+\.\d\], (higher|no difference shown)",
        margin,
    )
    assert "% for random:" in margin
    text = " ".join(found.lines)
    assert "Oracle-assisted: stratified (the whole sample is drawn by hidden labels); random and margin (start:" in text
    assert "With 5 seeds a two-sided sign or Wilcoxon test cannot go below p = 0.0625" in text
    assert "similar" not in text
    assert list(found.table.columns) == list(COLUMNS)
    assert found.table["oracle-assisted"].tolist() == ["whole sample", "initial labels", "initial labels"]


def test_calls_carry_their_corrected_p(tmp_path: Path) -> None:
    found = judged(tmp_path, seeds=8)
    assert re.search(r"higher \(p [<=] 0\.\d+ after Holm over 2 comparisons\)", " ".join(found.lines))
    assert "Wilcoxon" not in " ".join(found.lines)  # with 8 pairs it could be significant


def test_one_seed_is_no_verdict(tmp_path: Path) -> None:
    found = judged(tmp_path, seeds=1)
    text = " ".join(found.lines)
    assert found.lines[0].startswith("One seed: no interval, no verdict.")
    assert "one seed: no interval, no verdict." in text
    assert "[" not in text
    assert "shown" not in text
    assert ", higher" not in text


def test_an_unfinished_study_counts_what_is_missing(tmp_path: Path) -> None:
    found = judged(tmp_path, finished=lambda row, arm, seed: arm != "margin" or seed < 3)
    assert found.lines[0] == "13 of 15 runs finished: the other 2 are missing, and what follows rests on these alone."
    margin = next(line for line in found.lines if "seeds): margin" in line)
    assert "over 3 of 5 seeds" in margin
    assert "over 3 pairs" in margin


def test_nothing_finished_yet(tmp_path: Path) -> None:
    found = judged(tmp_path, finished=lambda row, arm, seed: False)
    assert found.lines == ["0 of 15 runs finished: no verdict yet."]
    assert list(found.table.columns) == list(COLUMNS)


def test_missing_references_are_said(tmp_path: Path) -> None:
    text = " ".join(judged(tmp_path / "a", arms=["margin", "random"]).lines)
    assert "Against the stratified sample: no stratified arm in this study, nothing to compare with." in text
    text = " ".join(judged(tmp_path / "b", arms=["random", {"strategy": "margin", "pool": "subset"}]).lines)
    assert "no random arm shares its start, pool, weighting and labeler: not compared" in text
    text = " ".join(judged(tmp_path / "c", finished=lambda row, arm, seed: arm != "random").lines)
    assert "against random: no finished pair yet" in text


def test_a_start_without_hidden_labels_is_not_marked(tmp_path: Path) -> None:
    found = judged(tmp_path, start="random", arms=["random", "margin"])
    assert not any(line.startswith("Oracle-assisted") for line in found.lines)
    assert set(found.table["oracle-assisted"]) == {""}


def test_many_arms_are_counted_not_listed(tmp_path: Path) -> None:
    arms = ["random", "margin", "uncertainty", "entropy", "badge"]
    beside = judged(tmp_path / "beside", arms=["stratified", *arms])
    alone = judged(tmp_path / "alone", arms=arms)
    assert any("; every other arm (start: stratified" in line for line in beside.lines)
    assert any(line.startswith("Oracle-assisted: every arm (start: stratified") for line in alone.lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (number(0.7254, "accuracy"), "72.5"),
        (number(12500, "images_forward"), "12,500"),
        (number(float("nan"), "loss"), "–"),
        (change(0.005, "accuracy"), "+0.5"),
        (change(-0.0004, "accuracy"), "0.0"),
        (change(-0.0123, "loss"), "-0.012"),
        (interval(-0.002, 0.012, "accuracy"), " [-0.2, 1.2]"),
        (interval(float("nan"), float("nan"), "accuracy"), ""),
        (p_value(0.0312), "p = 0.031"),
        (p_value(0.00001), "p < 0.001"),
        (listed(["a", "b", "c"]), "a, b and c"),
        (listed([]), ""),
    ],
)
def test_numbers_for_people(text: str, expected: str) -> None:
    assert text == expected


def test_all_that_is_taken_from_hidden_labels_is_said() -> None:
    margin = {"strategy": "margin"}
    arms = ["stratified", {"strategy": "random", "start": "random"}, {**margin, "start": "random", "pool": "subset"},
            {**margin, "pool": "subset"}, {**margin, "start": "zero-shot"}]  # fmt: skip
    study = Study.model_validate({"sizes": ["3%"], "arms": arms, "zero_shot": {"model": "file:guesses.csv"}})
    assert [oracle_assisted(study, study.arm_name(arm)) for arm in study.arms] == [
        "whole sample", "", "pool", "initial labels and pool", "initial images"
    ]  # fmt: skip
    full = study.model_copy(update={"zero_shot": study.zero_shot.model_copy(update={"pool": "full"})})
    assert oracle_assisted(full, study.arm_name(study.arms[-1])) == ""
