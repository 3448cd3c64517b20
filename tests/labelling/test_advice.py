from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from labelwise.arrays import Indices
from labelwise.labelling.advice import UNKNOWN, next_batch, picking_helps
from labelwise.labelling.messages import Advice

TESTS = 400


def learner(slope: float, noise: float = 0.0, seed: int = 0):  # type: ignore[no-untyped-def]
    """A model that gets a share 0.3 + slope * log2(n) of the test images right: always the same first ones."""
    rng = np.random.default_rng(seed)

    def correct(positions: Indices) -> NDArray[np.bool_]:
        share = 0.3 + slope * np.log2(len(positions)) + noise * rng.standard_normal()
        return np.arange(TESTS) < share * TESTS

    return correct


def interval(found: Advice) -> tuple[float, float]:
    low, high = found.why.split("interval ")[1].split(")")[0].split(" to ")
    return float(low), float(high)


def test_a_known_slope_is_found_and_extrapolated() -> None:
    found = next_batch(learner(0.05), 100, 100, 6.0, 0)
    assert found.say == "go on"
    assert "+5.0 points" in found.why, "one doubling"
    assert "about 10 minutes" in found.why


def test_a_flat_curve_says_stop() -> None:
    found = next_batch(learner(0.0), 200, 20, None, 0)
    assert found.say == "stop"
    assert "+0.0 to +0.0" not in found.why, "400 test images that agree are no proof"
    assert "+0.0 points" in found.why
    assert "minutes" not in found.why


def test_no_more_than_everything_right_is_expected() -> None:
    steep = learner(0.1)
    found = next_batch(steep, 100, 100, None, 0)  # 0.3 + 0.1 * log2(100) = 0.96
    assert "+3.5 points" in found.why
    assert interval(found)[1] <= 4
    found = next_batch(steep, 100, 100, None, 0, accuracy=0.99)  # what the page shows beside it
    assert "+1.0 points" in found.why


def test_what_is_only_noise_is_rarely_called_a_gain_or_a_loss() -> None:
    """Models whose accuracy is 10 points up or down by luck: an interval that excludes 0 must be rare."""
    sure = 0
    for seed in range(20):
        found = next_batch(learner(0.0, 0.1, seed), 100, 40, None, seed)
        low, high = interval(found)
        sure += low > 0 or high < 0
    assert sure <= 4


@pytest.mark.parametrize("labels", [0, 1, 15])
def test_too_few_labels_say_so(labels: int) -> None:
    assert next_batch(learner(0.05), labels, 20, None, 0).say == UNKNOWN
    assert picking_helps(learner(0.05), np.arange(labels), np.arange(labels), 0).say == UNKNOWN


def test_nothing_left_to_label_is_said_without_a_guess() -> None:
    found = next_batch(learner(0.05), 200, 0, 1.0, 0)
    assert (found.say, "expected" in found.why) == ("done", False)


def test_thirty_images_that_are_all_right_cannot_say_stop_for_sure() -> None:
    def correct(positions: Indices) -> NDArray[np.bool_]:
        return np.ones(30, bool)

    low, high = (
        float(word)
        for word in next_batch(correct, 60, 20, None, 0).why.split("interval ")[1].split(")")[0].split(" to ")
    )
    assert low < 0 < high


def test_a_small_test_slice_says_so() -> None:
    def correct(positions: Indices) -> NDArray[np.bool_]:
        return np.ones(10, bool)

    assert "too few" in next_batch(correct, 50, 20, None, 0).why
    assert "too few" in picking_helps(correct, np.arange(50), np.arange(50, 100), 0).why


@pytest.mark.parametrize(("gain", "say"), [(0.1, "yes"), (-0.1, "no"), (0.0, UNKNOWN)])
def test_picking_is_compared_with_random_at_equal_counts(gain: float, say: str) -> None:
    sizes = []

    def correct(positions: Indices) -> NDArray[np.bool_]:
        sizes.append(len(positions))
        return np.arange(TESTS) < (0.5 + (gain if positions[0] < 100 else 0)) * TESTS

    found = picking_helps(correct, np.arange(60), np.arange(100, 120), 0)
    assert found.say == say
    assert set(sizes) == {16}, "four fifths of the smaller side"
    assert f"{100 * gain:+.1f} points" in found.why


def test_nothing_is_shown_by_a_few_test_images() -> None:
    """Between two equally good models, an interval that excludes 0 must be rare: 20 tries, at most 3."""
    wrong = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        picked, random = (rng.random(60) < 0.6 for _ in range(2))

        def correct(positions: Indices, one=picked, other=random) -> NDArray[np.bool_]:  # type: ignore[no-untyped-def]
            return one if positions[0] < 100 else other

        wrong += picking_helps(correct, np.arange(40), np.arange(100, 140), seed).say != UNKNOWN
    assert wrong <= 3
