"""Which images arms buy: overlaps worked out from the records themselves, and scores by round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labelwise.analysis.picks import patterns
from labelwise.analysis.results import acquisitions
from labelwise.config import Study
from synthetic import make_store


def test_overlap_is_jaccards_of_what_was_bought_after_the_start(tmp_path: Path) -> None:
    made = Study.model_validate({"sizes": ["3%"], "seeds": 2, "arms": ["stratified", "random", "margin", "entropy"]})
    store = make_store(tmp_path, made, finished=lambda row, arm, seed: arm != "entropy" or seed == 0)
    overlaps, _ = patterns(store)
    labels = acquisitions(store)
    own = labels[labels["round"] > 0]
    expected = []
    for seed in (0, 1):
        a, b = (set(own[(own["arm"] == arm) & (own["seed"] == seed)]["index"]) for arm in ("random", "margin"))
        expected.append(len(a & b) / len(a | b))
    found = overlaps.set_index(["arm", "other"])
    assert found.loc[("random", "margin"), "share"] == pytest.approx(np.mean(expected))
    assert found.loc[("random", "margin"), "n"] == 2
    assert found.loc[("margin", "entropy"), "n"] == 1
    assert "stratified" not in set(overlaps["arm"]) | set(overlaps["other"])


def test_scores_are_by_round_and_random_has_none(tmp_path: Path) -> None:
    made = Study.model_validate({"sizes": ["3%"], "seeds": 2, "arms": ["random", "margin"]})
    _, scores = patterns(make_store(tmp_path, made))
    assert set(scores["arm"]) == {"margin"}
    assert scores["round"].tolist() == [1, 2, 3]
    assert scores["mean"].tolist() == pytest.approx([9.5] * 3)  # the store scores a batch 0, 1, .. 19
    assert scores["low"].tolist() == pytest.approx([1.9] * 3)
    assert scores["n"].eq(2).all()


def test_nothing_finished_gives_nothing(tmp_path: Path) -> None:
    made = Study.model_validate({"sizes": ["3%"], "seeds": 1, "arms": ["random", "margin"]})
    overlaps, scores = patterns(make_store(tmp_path, made, finished=lambda row, arm, seed: False))
    assert overlaps.empty
    assert scores.empty
