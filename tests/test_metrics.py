"""Metrics against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss

from labelwise.arrays import floored
from labelwise.metrics import calibration_error, evaluate, plain


def test_against_scikit_learn(rng: np.random.Generator) -> None:
    probs = floored(rng.dirichlet(np.ones(5), 400))
    labels = rng.integers(0, 5, 400)
    found = evaluate(probs, labels)
    assert found.accuracy == pytest.approx(accuracy_score(labels, probs.argmax(1)))
    assert found.macro_f1 == pytest.approx(f1_score(labels, probs.argmax(1), average="macro"))
    normalised = probs / probs.sum(axis=1, keepdims=True, dtype=np.float64)
    assert found.loss == pytest.approx(log_loss(labels, normalised), rel=1e-5)
    assert found.recall.shape == found.precision.shape == found.f1.shape == (5,)


def test_a_class_without_test_images_has_no_numbers(rng: np.random.Generator) -> None:
    probs, labels = floored(rng.dirichlet(np.ones(4), 200)), rng.integers(0, 3, 200)
    found = evaluate(probs, labels)
    assert plain(found.recall)[3] is plain(found.precision)[3] is plain(found.f1)[3] is None
    assert found.macro_f1 == pytest.approx(f1_score(labels, probs.argmax(1), average="macro", labels=[0, 1, 2]))


def test_calibration_error_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.55, 0.55])
    correct = np.array([True, False, True, True])
    assert calibration_error(confidence, correct) == pytest.approx((abs(1 - 1.9) + abs(2 - 1.1)) / 4)
    assert calibration_error(np.ones(3), np.ones(3, bool)) == 0


def test_floor_keeps_rows_and_a_finite_loss() -> None:
    probs = floored(np.array([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5]]))
    assert probs.sum(axis=1) == pytest.approx(1)
    assert probs.min() == pytest.approx(1e-6, rel=1e-3)
    assert evaluate(probs, np.array([2, 2])).loss < 10
