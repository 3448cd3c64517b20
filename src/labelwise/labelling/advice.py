"""What labels bring here, measured on the random test slice: the next batch's gain, and whether picking helps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Indices
from labelwise.labelling.messages import Advice
from labelwise.seeds import generator

LEAST_LABELS, LEAST_TEST = 16, 20
DRAWS, RESAMPLES = 6, 1_000
WORTH = 0.005
"""A batch that gains less accuracy than this, half a point, is said not to be worth it."""
Correct = Callable[[Indices], NDArray[np.bool_]]
"""Trains on some positions of the training labels; returns (T,) which test images that gets right."""
UNKNOWN = "cannot tell yet"


def next_batch(correct: Correct, labels: int, batch: int, seconds: float | None, seed: int) -> Advice:
    """Say whether the next batch is worth its time, from models trained on parts of the labels that there are.

    Accuracy on the test slice is taken to grow with the logarithm of the number of labels, whose slope is measured on
    random halves, on random parts of 1 / sqrt(2), and on all. The interval resamples test images and draws.
    """
    if labels < LEAST_LABELS:
        return Advice(UNKNOWN, f"{labels} training labels are too few to see what more of them bring.")
    rng = generator(seed, "next batch", labels)
    sizes = (labels // 2, int(labels / 2**0.5))
    gains = np.stack([_draws(correct, labels, size, rng) for size in sizes]).astype(np.float64)  # (2, DRAWS, T)
    whole = correct(np.arange(labels)).astype(np.float64)
    if len(whole) < LEAST_TEST:
        return Advice(UNKNOWN, f"The test slice has {len(whole)} labels: too few.")
    steps = np.log2([*sizes, labels])
    lean = (steps - steps.mean()) / ((steps - steps.mean()) ** 2).sum()  # least squares' slope is a weighted sum
    ahead = np.log2((labels + batch) / labels)
    per_draw = ahead * (lean[0] * gains[0] + lean[1] * gains[1] + lean[2] * whole)  # (DRAWS, T) gain by test image
    expected, low, high = _interval(per_draw, rng)
    time = f", about {batch * seconds / 60:.1f} minutes" if seconds else ""
    why = (
        f"The next {batch} labels{time}, are expected to change the accuracy by {_points(expected)} points "
        f"(95 % interval {_points(low)} to {_points(high)})"
    )
    if high < WORTH:
        return Advice("stop", f"{why}: less than half a point.")
    if low > 0 or expected >= WORTH:
        return Advice("go on", f"{why}." if low > 0 else f"{why}, which is not certain.")
    return Advice(UNKNOWN, f"{why}.")


def picking_helps(correct: Correct, picked: Indices, random: Indices, seed: int) -> Advice:
    """Say whether picked labels teach more than random ones, at equal counts.

    picked, random: positions of the training labels. Both sides train on equally many, several times on random parts of
    four fifths of them; the interval resamples test images and draws.
    """
    count = min(len(picked), len(random))
    if count < LEAST_LABELS:
        return Advice(
            UNKNOWN, f"{len(random)} random and {len(picked)} picked labels: {LEAST_LABELS} of each are needed."
        )
    rng = generator(seed, "picking helps", len(picked), len(random))
    size = int(np.ceil(0.8 * count))
    sides = [
        np.stack([correct(np.sort(rng.choice(side[:count], size, replace=False))) for _ in range(DRAWS)])
        for side in (picked, random)
    ]
    if sides[0].shape[1] < LEAST_TEST:
        return Advice(UNKNOWN, f"The test slice has {sides[0].shape[1]} labels: too few.")
    expected, low, high = _interval(sides[0].astype(np.float64) - sides[1], rng)
    why = (
        f"At {size} labels each, picked ones gave {_points(expected)} points of accuracy against random ones "
        f"(95 % interval {_points(low)} to {_points(high)})."
    )
    return Advice("yes" if low > 0 else "no" if high < 0 else UNKNOWN, why)


def _draws(correct: Correct, labels: int, size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    return np.stack([correct(np.sort(rng.choice(labels, size, replace=False))) for _ in range(DRAWS)])


def _interval(values: NDArray[np.float64], rng: np.random.Generator) -> tuple[float, float, float]:
    """Return mean and 95 % interval of (draws, T) values; draws and test images are resampled."""
    draws, tests = values.shape
    rows = rng.integers(draws, size=(RESAMPLES, draws))
    columns = rng.integers(tests, size=(RESAMPLES, tests))
    means = [float(values[row][:, column].mean()) for row, column in zip(rows, columns, strict=True)]
    low, high = np.quantile(means, (0.025, 0.975))
    return float(values.mean()), float(low), float(high)


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
