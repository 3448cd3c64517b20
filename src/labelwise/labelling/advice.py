"""What labels bring here, measured on the random test slice: the next batch's gain, and whether picking helps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Indices
from labelwise.labelling.messages import Advice
from labelwise.seeds import generator

LEAST_LABELS, LEAST_TEST = 16, 20
PARTS = (0.4, 0.57, 0.8)
"""Of the labels, on which models are trained to see how accuracy grows."""
DRAWS, RESAMPLES = 6, 1_000
WORTH = 0.005
"""A batch that gains less accuracy than this, half a point, is said not to be worth it."""
Correct = Callable[[Indices], NDArray[np.bool_]]
"""Trains on some positions of the training labels; returns (T,) which test images that gets right."""
UNKNOWN = "cannot tell yet"


def next_batch(
    correct: Correct, labels: int, batch: int, seconds: float | None, seed: int, accuracy: float = 0.0
) -> Advice:
    """Say whether the next batch is worth its time, from models trained on parts of the labels that there are.

    Accuracy on the test slice is taken to grow with the logarithm of the number of labels; the slope is that of models
    trained on random parts. The interval resamples test images, and at each size the draws: what a single model on all
    labels happens to give is not looked at, since nothing says how much of it is luck; only that it (`accuracy`) and
    the gain make no more than 100 % together.
    """
    if batch <= 0:
        return Advice("done", "There is no next batch: the budget is spent, or every image that differs was looked at.")
    if labels < LEAST_LABELS:
        return Advice(UNKNOWN, f"{labels} training labels are too few to see what more of them bring.")
    rng = generator(seed, "next batch", labels)
    sizes = [round(labels * part) for part in PARTS]
    right = np.stack([_draws(correct, labels, size, rng) for size in sizes]).astype(np.float64)  # (sizes, DRAWS, T)
    if right.shape[2] < LEAST_TEST:
        return Advice(UNKNOWN, f"The test slice has {right.shape[2]} labels: too few.")
    steps = np.log2(sizes)
    lean = (steps - steps.mean()) / ((steps - steps.mean()) ** 2).sum()  # least squares' slope is a weighted sum
    ahead = np.log2((labels + batch) / labels)
    expected, low, high = _interval(right, ahead * lean, rng)
    line = right.mean() + (lean * right.mean(axis=(1, 2))).sum() * (np.log2(labels) - steps.mean())
    now, tests = min(1.0, max(accuracy, float(line))), right.shape[2]
    room = 1 - now
    expected, low = min(expected, room), min(low, room)
    high = min(high, 1 - (now * tests + 1) / (tests + 2))  # with two made-up images: all right is no proof
    high = max(high, expected)
    time = f", {_time(batch * seconds)}," if seconds else ""
    why = (
        f"The next {batch} labels{time} are expected to change the accuracy by {_points(expected)} points "
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
    expected, low, high = _interval(np.stack(sides).astype(np.float64), np.array((1.0, -1.0)), rng)
    why = (
        f"At {size} labels each, picked ones gave {_points(expected)} points of accuracy against random ones "
        f"(95 % interval {_points(low)} to {_points(high)})."
    )
    return Advice("yes" if low > 0 else "no" if high < 0 else UNKNOWN, why)


def _draws(correct: Correct, labels: int, size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    return np.stack([correct(np.sort(rng.choice(labels, size, replace=False))) for _ in range(DRAWS)])


def _interval(
    right: NDArray[np.float64], weights: NDArray[np.float64], rng: np.random.Generator
) -> tuple[float, float, float]:
    """Return the weighted sum over sides of the share that is right, and its 95 % interval.

    right: (sides, draws, T), 0 or 1; weights: (sides,). Draws are resampled on each side by itself; test images for all
    sides together, and with them two made-up ones, which speak for and against a difference: where all real ones agree,
    they keep the interval from being a point (after Agresti & Caffo 2000).
    """
    expected = float((weights * right.mean(axis=(1, 2))).sum())
    sides, draws, _ = right.shape
    for sign in (1, -1):
        made_up = np.broadcast_to((sign * weights > 0)[:, None, None], (sides, draws, 1))
        right = np.concatenate([right, made_up], axis=2)
    tests = right.shape[2]
    sums = np.zeros(RESAMPLES)
    columns = rng.multinomial(tests, np.full(tests, 1 / tests), size=RESAMPLES) / tests  # (RESAMPLES, T) weights
    for side in range(sides):
        rows = rng.multinomial(draws, np.full(draws, 1 / draws), size=RESAMPLES) / draws
        sums += weights[side] * np.einsum("rd,dt,rt->r", rows, right[side], columns, optimize=True)
    low, high = np.quantile(sums, (0.025, 0.975))
    return expected, float(low), float(high)


def _time(seconds: float) -> str:
    return f"about {seconds:.0f} seconds" if seconds < 90 else f"about {seconds / 60:.0f} minutes"


def _points(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # never -0.0
