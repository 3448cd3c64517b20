"""Wrong labels and what they cost, from invented records."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from labelwise.analysis.labels import against_truth, noise, wrong

PARTS = {"row": "3%", "strategy": "margin", "start": "stratified", "pool": "full", "weighting": "none", "options": "{}"}


def details(arm: str, labeler: str, counts: list[list[int]]) -> list[dict[str, Any]]:
    """Invent the rounds of an arm: counts[seed][round] wrong labels of 10, 20, ..."""
    return [
        {**PARTS, "arm": arm, "labeler": labeler, "seed": seed, "status": "done", "round": r, "labels": 10 * (r + 1),
         "labels_pseudo": 0, "labels_bought": 10 * (r + 1), "details": {"wrong": {"2": n}} if n else {}}
        for seed, own in enumerate(counts) for r, n in enumerate(own)
    ]  # fmt: skip


@pytest.fixture
def frame() -> pd.DataFrame:
    rows = [*details("margin", "truth", [[0, 0], [0, 0]]), *details("noisy", "error 20%", [[2, 4], [4, 4]])]
    return wrong(pd.DataFrame([*rows, {**rows[-1], "seed": 7, "status": "running"}]))


def test_shares_of_wrong_labels(frame: pd.DataFrame) -> None:
    assert len(frame) == 8  # not the run that is not finished
    found = noise(frame).set_index(["arm", "round"])
    assert found.loc[("noisy", 0), "mean"] == pytest.approx(0.3)
    assert found.loc[("noisy", 1), "mean"] == pytest.approx(0.2)
    assert found.loc[("margin", 1), "mean"] == 0
    assert (found["n"] == 2).all()


def test_the_cost_of_noise_is_paired(frame: pd.DataFrame) -> None:
    runs = pd.DataFrame([
        {**PARTS, "arm": arm, "labeler": labeler, "seed": seed, "accuracy": accuracy, "labels_bought": 20}
        for arm, labeler, values in (("margin", "truth", (0.8, 0.6)), ("noisy", "error 20%", (0.7, 0.49)))
        for seed, accuracy in enumerate(values)
    ])  # fmt: skip
    found = against_truth(runs, frame)
    assert found["arm"].tolist() == ["noisy"]
    first = found.iloc[0]
    assert first["difference"] == pytest.approx(-0.105)
    assert first["share"] == pytest.approx(0.2)
    assert first["p_holm"] == first["p"]
    assert against_truth(runs[runs["labeler"] == "truth"], frame).empty
    assert against_truth(runs[runs["labeler"] != "truth"], frame)["n_pairs"].tolist() == [0]
