"""What a fit holds out for validation, and what is said of it afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Labels
from labelwise.data.subsets import stratified
from labelwise.models.training import Trained


def validation_split(labels: Labels, share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Hold out a stratified share of the labelled set: sorted positions; never the only label of a class.

    At least one is held out and one left where there are two labels.
    """
    wanted = min(max(1, round(share * len(labels))), len(labels) - 1)
    held = stratified(labels, wanted, rng)
    left = np.bincount(np.delete(labels, held), minlength=int(labels.max()) + 1)
    return held[left[labels[held]] > 0] if (left[labels[held]] > 0).any() else held[:1]


def described(done: Trained, fitting: Labels, held: Labels, balance: NDArray[np.float32]) -> dict[str, Any]:
    """Return what a record says of a fit: where it stopped, its validation losses, and whether it learned anything.

    balance: (K,) the classes' weights in the losses, so that the shares it is measured by are weighted too.
    """
    shares = np.bincount(fitting, minlength=len(balance)) * balance.astype(np.float64) + 1.0
    weights = balance[held].astype(np.float64)
    prior = -float((weights * np.log(shares / shares.sum())[held]).sum() / weights.sum())
    details: dict[str, Any] = {
        "best_epoch": done.best_epoch, "steps": done.steps, "stopped": done.stopped,
        "validation_loss": round(done.best_loss, 4) if done.losses and np.isfinite(done.best_loss) else None,
    }  # fmt: skip
    if done.stopped == "diverged":
        details["problem"] = "diverged: the validation loss is not finite"
    elif done.best_loss >= prior:
        details["problem"] = "stuck: no better on the validation set than the class shares alone"
    return details
