"""How long fits will be, before they are made: what a plan goes by. A fit ends by its own validation loss (course.py).

Counted in validations, fits of all sizes are alike: some until the loss is lowest, then the recipe's patience. Measured
with EfficientNet-Lite0 and the default recipe, 15 % of the labels held out (`studies/protocol/fits.csv`, CIFAR-10):

| labels | training images | fits | validations | mean |
|---|---|---|---|---|
| 150 | 128 | 10 | 11 to 18 | 14.7 |
| 500 | 425 | 10 | 13 to 25 | 18.9 |
| 1,500 | 1,275 | 6 | 22 to 34 | 26.2 |
| 5,000 | 4,250 | 3 | 29 to 31 | 29.7 |

Easier images take longer, for their loss goes on falling: scikit-learn's digits took 1.5 times as many validations on
average (4 fits of 150 labels, 4 of 500), photographs of hands 1.6 times (4 of 150, 2 of 500). Above 5,000 labels
nothing was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from labelwise.config import Learner
from labelwise.models.course import STATISTICS_BATCH, STATISTICS_IMAGES, rhythm

BEST = {128: 5.0, 425: 9.0, 1_275: 16.0, 4_250: 19.7}
"""Training images -> validations until the loss is lowest: the mean less the patience of 10. Between them in the
logarithm of the size, beyond them constant."""
ONE = (0.8, 1.25)
"""A fit's steps relative to what is expected: the 10 % and 90 % quantiles of those 29 fits are 0.82 and 1.21."""
COMMON = (0.75, 2.0)
"""The mean of many fits relative to that, on other images: a judgement from three data sets and one backbone."""
FORWARD = 1 / 3
"""Time of an image that only passes forward, relative to one of a step: a backward pass costs two forward ones."""


@dataclass(frozen=True)
class Length:
    """One fit as it is expected. steps; least, most: what the recipe allows; images: forward and backward passes."""

    steps: int
    least: int
    most: int
    images_forward: int
    images_backward: int


def length(labels: int, recipe: Learner, statistics: bool = True) -> Length:
    """Return how long a fit of so many labels is expected to be.

    statistics: whether the backbone has batch norms, whose statistics are recomputed before each validation.
    """
    held = min(max(1, round(recipe.validation * labels)), labels - 1)
    count = labels - held
    epoch, between = rhythm(count, recipe.batch)
    most = recipe.epochs * epoch
    best = float(np.interp(math.log(count), [math.log(size) for size in BEST], list(BEST.values())))
    steps = min(round(best + recipe.patience) * between, most)
    sample = math.ceil(min(count, STATISTICS_IMAGES) / STATISTICS_BATCH) * STATISTICS_BATCH if statistics else 0
    checked = math.ceil(steps / between) * (sample + (held or count))
    trained = steps * recipe.batch
    return Length(steps, min((1 + recipe.patience) * between, most), most, trained + checked, trained)


def spread(sizes: Sequence[int], recipe: Learner) -> tuple[float, float]:
    """Return low and high, as factors of the steps expected, of fits of so many labels each in all.

    By chance each fit deviates on its own (ONE), which evens out over many; what the images and the backbone do is
    common to all (COMMON). Both are added as independent errors, and kept to what the recipe allows.
    """
    fits = [length(labels, recipe) for labels in sizes]
    whole = sum(fit.steps for fit in fits)
    own = math.sqrt(sum(fit.steps**2 for fit in fits)) / whole
    low, high = (
        1 + math.copysign(math.hypot((one - 1) * own, all_ - 1), one - 1) for one, all_ in zip(ONE, COMMON, strict=True)
    )
    return max(low, sum(fit.least for fit in fits) / whole), min(high, sum(fit.most for fit in fits) / whole)


def work(images_forward: int, images_backward: int) -> float:
    """Return what a fit's time is proportional to: images of steps, and FORWARD of one for each that is checked."""
    return images_backward + FORWARD * (images_forward - images_backward)
