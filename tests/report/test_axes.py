"""A report of every combination of the axes: pools, weightings, labelers and starts, one or two of each."""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from labelwise.analysis.changes import changes
from labelwise.analysis.compare import per_run
from labelwise.analysis.results import rounds
from labelwise.config import Study
from labelwise.report import write_report
from labelwise.report.style import arm_styles
from synthetic import make_store

AXES: dict[str, list[Any]] = {
    "pool": ["full", "subset"], "weighting": ["none", "inverse"], "labeler": ["truth", {"kind": "error", "rate": 0.1}],
    "start": ["stratified", "zero-shot"],
}  # fmt: skip
CARD = {"name": "zero-shot", "title": "CLIP", "note": "Its labels.", "missing": "it is not asked", "known": ""}


def study(several: tuple[bool, ...]) -> Study:
    """Return a study with every combination of the axes that have two values."""
    values = [both if two else both[:1] for both, two in zip(AXES.values(), several, strict=True)]
    arms = [
        {"strategy": strategy, **dict(zip(AXES, parts, strict=True))}
        for strategy in ("stratified", "random", "margin") for parts in product(*values)
        if strategy != "stratified" or (parts[0], parts[3]) == ("full", "stratified")
    ]  # fmt: skip
    return Study.model_validate({"sizes": ["3%"], "seeds": 2, "arms": arms, "learner": {"kind": "probe"}})


@pytest.mark.parametrize("several", list(product([False, True], repeat=4)), ids=str)
def test_every_combination_of_the_axes_has_a_report(
    several: tuple[bool, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("draw", "section"):  # figures are made and not written, which takes most of the time
        monkeypatch.setattr(sys.modules[f"labelwise.report.{module}"], "save", lambda figure, *_: figure.clear() or "")
    made = study(several)
    text = write_report(make_store(tmp_path, made, rounds=2, zero_shot=CARD), tmp_path / "report").read_text()
    for arm in made.arms:
        assert made.arm_name(arm) in text
    styles = arm_styles(made)
    whole = [styles[made.arm_name(arm)] for arm in made.arms]
    assert len({(style.color, style.dash, style.marker) for style in whole}) == len(made.arms)


def test_class_weights_are_paired_within_one_labeler(tmp_path: Path) -> None:
    runs = per_run(rounds(make_store(tmp_path, study((False, True, True, False)), rounds=2)))
    found = changes(runs, "accuracy").query("against == 'weighting'")
    noisy = found[found["arm"].str.contains("error")]
    assert len(noisy) == 3
    assert noisy["reference"].str.contains("error").all()
