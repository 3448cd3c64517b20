"""Every round evaluated on two halves of the test set, from the recorded predictions: what an honest target needs.

A target taken on the same images as the crossing favours lucky rounds. So the test set is cut in two by the seed,
stratified by class: the target comes from one half and the crossing from the other, then the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import ArrayLike, NDArray

from labelwise.analysis.results import KEYS, in_order, rounds
from labelwise.arrays import Labels
from labelwise.predictions import Tested
from labelwise.records import ROUNDS, RUNS, Store
from labelwise.seeds import generator

COLUMNS = ("accuracy_half1", "loss_half1", "accuracy_half2", "loss_half2")
"""A round's accuracy and loss on each half of the test set."""
FLOOR = 1e-6
"""Probabilities are recorded as float16; none is taken as smaller than learners give them."""


def first_half(truth: ArrayLike, seed: int) -> NDArray[np.bool_]:
    """Return which of the (T,) test images are in the first half: equally many of each class, drawn by the seed.

    The halves' sizes differ by at most one image.
    """
    labels = np.asarray(truth)
    order = generator(seed, "test halves").permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    first = np.zeros(len(labels), dtype=np.bool_)
    first[order[::2]] = True
    return first


def halves(store: Store) -> pd.DataFrame:
    """Return row, arm, seed, round and COLUMNS of every recorded round; NaN where a half has no image.

    Reads all predictions, one round at a time: a few seconds for a large study.
    """
    frame = pd.DataFrame(_rounds(store), columns=["row", "arm", "seed", "round", *COLUMNS])
    return in_order(frame, store)


def rounds_with_halves(store: Store) -> pd.DataFrame:
    """Return `results.rounds` with COLUMNS: all that the statistics are computed from."""
    return rounds(store).merge(halves(store), on=[*KEYS, "round"], how="left")


def _rounds(store: Store) -> Iterator[tuple[Any, ...]]:
    masks: dict[int, NDArray[np.bool_]] = {}
    query = (
        sa.select(RUNS.c.row, RUNS.c.arm, RUNS.c.seed, ROUNDS.c.round, ROUNDS.c.predictions)
        .join(ROUNDS, ROUNDS.c.run == RUNS.c.id)
        .execution_options(yield_per=16)  # up to 200 KB each for CIFAR-10's test set
    )
    with store.transaction() as connection:
        for row, arm, seed, number, blob in connection.execute(query):
            if seed not in masks:
                masks[seed] = first_half(store.truth, seed)
            yield row, arm, seed, number, *_by_half(store.tested(blob), store.truth, masks[seed])


def _by_half(found: Tested, truth: Labels, first: NDArray[np.bool_]) -> list[float]:
    """Return the values of COLUMNS for one round's predictions."""
    right = found.predicted == truth
    loss = -np.log(np.maximum(found.true.astype(np.float32), FLOOR))
    return [
        float(values[half].mean()) if half.any() else float("nan")
        for half in (first, ~first) for values in (right, loss)
    ]  # fmt: skip
