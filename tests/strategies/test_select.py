"""`labelwise.select`: picks computed by hand, and errors that name what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import entropy, rankdata
from sklearn.cluster import KMeans

import labelwise

PROBS = np.array([[0.5, 0.4, 0.1], [0.34, 0.33, 0.33], [0.9, 0.05, 0.05], [0.45, 0.1, 0.45], [0.6, 0.2, 0.2]])


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [("uncertainty", [1, 3, 0, 4, 2]), ("margin", [3, 1, 0, 4, 2]), ("entropy", [1, 4, 3, 0, 2])],
)
def test_order_by_hand(strategy: str, expected: list[int]) -> None:
    if strategy == "entropy":
        expected = np.argsort(-entropy(PROBS, axis=1)).tolist()
    assert labelwise.select(strategy, candidates=range(5), n=5, probs=PROBS).tolist() == expected


def test_row_numbers_are_of_the_whole_data_set() -> None:
    assert labelwise.select("margin", candidates=[4, 2, 0], n=2, probs=PROBS).tolist() == [0, 4]


def test_random_is_uniform() -> None:
    counts = np.zeros(20)
    for seed in range(600):
        counts[labelwise.select("random", candidates=range(20), n=5, seed=seed)] += 1
    assert abs(counts - 150).max() < 50  # 150 expected, standard deviation 10.6


def test_entropy_typicality_against_its_definition(rng: np.random.Generator) -> None:
    centres = np.eye(3, 6) * 5
    embeddings = np.repeat(centres, 30, axis=0) + rng.standard_normal((90, 6))
    probs = rng.dirichlet(np.ones(3), 90)
    picks = labelwise.select("entropy_typicality", candidates=range(90), n=90, probs=probs, embeddings=embeddings)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    model = KMeans(3, n_init=20, random_state=1).fit(unit)  # well separated: any good clustering is the same
    distance = np.linalg.norm(unit - model.cluster_centers_[model.labels_], axis=1)
    score = rankdata(entropy(probs, axis=1)) + rankdata(distance)
    assert (np.diff(score[picks]) <= 1e-9).all()


def test_entropy_typicality_options(rng: np.random.Generator) -> None:
    probs, embeddings = rng.dirichlet(np.ones(3), 40), rng.standard_normal((40, 5))
    common: dict[str, Any] = {"candidates": range(40), "n": 10, "probs": probs}
    only_entropy = labelwise.select("entropy_typicality", embeddings=embeddings, weight=1.0, **common)
    assert only_entropy.tolist() == labelwise.select("entropy", **common).tolist()
    few, many = (labelwise.select("entropy_typicality", embeddings=embeddings, clusters=c, **common) for c in (1, 20))
    assert few.tolist() != many.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategy": "margn"}, "did you mean 'margin'"),
        ({"strategy": "stratified"}, "'stratified' is a study's baseline and picks no images: .* pick by random, "),
        ({"strategy": "stratifed"}, "'stratifed' is not a strategy; did you mean 'stratified_margin'"),
        ({"candidates": [0, 0]}, "twice"),
        ({"candidates": [-1]}, "start at 0"),
        ({"candidates": [0.5]}, "integers"),
        ({"candidates": [7]}, "probs has 5 rows, but row 7"),
        ({"labelled": [3]}, "labelled already"),
        ({"n": -1}, "ask for 0 or more"),
        ({"probs": None}, "margin needs probs"),
        ({"probs": PROBS * 2}, "not probabilities"),
        ({"probs": np.full((5, 3), np.nan)}, "NaN"),
        ({"probs": PROBS[:, :1]}, "at least 2"),
        ({"probs": PROBS[0]}, r"shape \(N, K\)"),
        ({"strategy": "entropy_typicality", "clusters": 0}, "option clusters cannot be 0"),
        ({"strategy": "entropy_typicality", "weight": "x"}, "option weight cannot be 'x'"),
        ({"temperature": 2}, "has no option 'temperature'"),
    ],
)
def test_errors_name_what_is_wrong(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"strategy": "margin", "candidates": range(5), "n": 2, "probs": PROBS, **change}
    with pytest.raises(ValueError, match=message):
        labelwise.select(arguments.pop("strategy"), **arguments)


def test_empty_candidates_and_nothing_asked() -> None:
    assert labelwise.select("margin", candidates=[], n=3, probs=PROBS).tolist() == []
    assert labelwise.select("margin", candidates=[1], n=0, probs=PROBS).tolist() == []
