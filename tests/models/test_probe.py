"""The probe on synthetic embeddings: against scikit-learn, all K classes, weighting, tuning, speed."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from labelwise.models.learner import Preparation
from labelwise.models.probe import PENALTIES, Probe, pool_statistics

K, D = 5, 32


def make(n: int = 600, classes: int = K, features: int = D, noise: float = 1.0) -> tuple[Probe, Any]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n)
    rows = rng.standard_normal((classes, features))[labels] + noise * rng.standard_normal((n, features)) + 3
    values = rows.astype(np.float16)
    mean, scale = pool_statistics(values, np.arange(n))
    return Probe(values, mean, scale, classes, "key", {}, Preparation()), labels


def test_against_scikit_learn() -> None:
    probe, labels = make()
    train, test = np.arange(300), np.arange(300, 600)
    fitted = probe.fit(train, labels[train], "none", 0, {"penalty": 0.1})
    rows = (probe.features.astype(np.float64) - probe.mean) / probe.scale
    other = LogisticRegression(C=1 / (0.1 * 300), tol=1e-8, max_iter=5000).fit(rows[train], labels[train])
    assert fitted.predict(test).probs == pytest.approx(other.predict_proba(rows[test]), abs=5e-3)


def test_probabilities_over_all_classes_also_unseen_ones() -> None:
    probe, labels = make()
    for seen in ([0], [0, 3], [1, 2, 4]):
        train = np.flatnonzero(np.isin(labels, seen))[:60]
        probs = probe.fit(train, labels[train], "none", 0, {"penalty": 0.1}).predict(np.arange(600)).probs
        assert probs.shape == (600, K)
        assert probs.sum(axis=1) == pytest.approx(1, abs=1e-5)
        unseen = np.setdiff1d(np.arange(K), seen)
        assert probs[:, unseen] == pytest.approx(1e-6, rel=0.01)
        assert np.isin(probs.argmax(axis=1), seen).all()


def test_two_classes() -> None:
    probe, labels = make(classes=2)
    fitted = probe.fit(np.arange(300), labels[:300], "none", 0, {"penalty": 0.1})
    rows = (probe.features.astype(np.float64) - probe.mean) / probe.scale
    other = LogisticRegression(C=2 / (0.1 * 300), tol=1e-8, max_iter=5000).fit(rows[:300], labels[:300])
    assert fitted.predict(np.arange(300, 600)).probs == pytest.approx(other.predict_proba(rows[300:]), abs=5e-3)


def test_inverse_weighting_is_scikit_learns_balanced() -> None:
    probe, labels = make(noise=2.0)
    train = np.concatenate([np.flatnonzero(labels == 0)[:80], np.flatnonzero(labels > 0)[:60]])
    fitted = probe.fit(train, labels[train], "inverse", 0, {"penalty": 0.1})
    rows = (probe.features.astype(np.float64) - probe.mean) / probe.scale
    other = LogisticRegression(C=1 / (0.1 * len(train)), tol=1e-8, max_iter=5000, class_weight="balanced")
    other.fit(rows[train], labels[train])
    assert fitted.predict(np.arange(600)).probs == pytest.approx(other.predict_proba(rows), abs=1e-2)


def test_every_label_is_trained_on_and_none_validates() -> None:
    probe, labels = make()
    fitted = probe.fit(np.arange(50), labels[:50], "none", 0, {"penalty": 0.1})
    assert (fitted.labels_train, fitted.labels_val) == (50, 0)
    assert (fitted.cost.images_forward, fitted.cost.images_backward) == (0, 0)


def test_tuning_is_reproducible_and_sensible() -> None:
    probe, labels = make(noise=4.0)
    chosen = [probe.tune(np.arange(200), labels[:200], 7) for _ in range(2)]
    assert chosen[0] == chosen[1]
    assert chosen[0]["penalty"] in PENALTIES
    assert replace(probe, penalty=0.2).tune(np.arange(200), labels[:200], 7)["penalty"] == 0.2
    assert chosen[0]["penalty"] > make(noise=0.1)[0].tune(np.arange(200), labels[:200], 7)["penalty"]


def test_tuning_survives_tiny_classes() -> None:
    probe, labels = make()
    singles = np.array([np.flatnonzero(labels == k)[0] for k in range(K)])
    assert "default" in probe.tune(singles, labels[singles], 0)["penalty_chosen_by"]
    lopsided = np.concatenate([np.flatnonzero(labels == 0)[:20], singles[1:]])
    assert probe.tune(lopsided, labels[lopsided], 0)["penalty"] in PENALTIES


def test_pool_statistics_never_see_the_test_images(rng: np.random.Generator) -> None:
    values = rng.normal(5, 2, (20_000, 7)).astype(np.float16)
    values[15_000:] = 1000
    values[:, 3] = 2
    mean, scale = pool_statistics(values, np.arange(15_000))
    assert mean == pytest.approx(values[:15_000].astype(np.float64).mean(axis=0), rel=1e-5)
    expected = values[:15_000].astype(np.float64).std(axis=0)
    expected[3] = 1
    assert scale == pytest.approx(expected, rel=1e-5)


def test_probabilities_do_not_depend_on_how_many_are_asked_for() -> None:
    probe, labels = make(n=9_000)
    fitted = probe.fit(np.arange(100), labels[:100], "none", 0, {"penalty": 0.1})
    whole = fitted.predict(np.arange(9_000)).probs
    assert fitted.predict(np.array([8_999, 3])).probs == pytest.approx(whole[[8_999, 3]], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("labels_", "seconds"), [(1_500, 0.3), (27_500, 5.0)])
def test_speed(labels_: int, seconds: float) -> None:
    probe, labels = make(n=labels_, classes=10, features=1_280, noise=6.0)
    probe.fit(np.arange(100), labels[:100], "none", 0, {"penalty": 0.03})
    best = np.inf
    for _ in range(3):  # the machine is shared: the best of three says what the code can do
        started = time.perf_counter()
        probe.fit(np.arange(labels_), labels, "none", 0, {"penalty": 0.03})
        best = min(best, time.perf_counter() - started)
    assert best < 2 * seconds  # the figure itself is in LOG.md; this bound only catches a wrong turn
