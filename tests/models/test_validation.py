"""What a fit holds out for validation, and what is said of it afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.models.training import Trained
from labelwise.models.validation import described, validation_split


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=2, max_size=90), st.floats(0.01, 1), st.integers(0, 3))
def test_the_validation_split_is_stratified_and_takes_no_classs_only_label(
    values: list[int], share: float, seed: int
) -> None:
    labels = np.array(values)
    held = validation_split(labels, share, np.random.default_rng(seed))
    assert (held == validation_split(labels, share, np.random.default_rng(seed))).all()
    assert (np.diff(held) > 0).all()
    assert held.min() >= 0
    assert held.max() < len(labels)
    wanted = min(max(1, round(share * len(labels))), len(labels) - 1)
    assert 1 <= len(held) <= wanted
    counts, taken = np.bincount(labels, minlength=7), np.bincount(labels[held], minlength=7)
    if (counts > 1).any():
        left_out = counts[(counts > 0) & (counts == taken)]
        assert not len(left_out) or len(held) == 1 == left_out.sum()
    if wanted >= (counts > 0).sum() and (counts[counts > 0] * (1 - share) >= 1).all():
        assert (np.abs(taken - share * counts) <= 1 + share).all()
        assert len(held) == wanted


@pytest.mark.parametrize(("labels", "held"), [([0, 1], 1), ([3, 3], 1), ([5] * 20, 3), ([0, 1, 2, 3, 4], 1), ([4], 0)])
def test_tiny_sets_are_split(labels: list[int], held: int) -> None:
    assert len(validation_split(np.array(labels), 0.15, np.random.default_rng(0))) == held


def test_what_is_said_of_a_fit_that_is_not_finite() -> None:
    labels, one = np.array([0, 1, 2]), np.ones(3, np.float32)
    details = described(Trained({}, losses=[(3, float("nan"))], stopped="diverged"), labels, labels, one)
    assert details["problem"].startswith("diverged")
    assert details["validation_loss"] is None


def test_stuck_is_measured_by_the_same_weights_as_the_loss() -> None:
    """Most of this set is one class: what is poor by its shares is good where classes weigh the same."""
    labels = np.repeat([0, 1, 2], [96, 2, 2])
    balance = (100 / (3 * np.bincount(labels))).astype(np.float32)
    for loss, weights, stuck in ((0.5, np.ones(3, np.float32), True), (0.5, balance, False), (1.2, balance, True)):
        details = described(Trained({}, losses=[(1, loss)], best_loss=loss), labels, labels, weights)
        assert ("problem" in details) == stuck
