"""Stores with invented results, for tests of what reads records: no learner and no images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from labelwise.config import Study, canonical, digest
from labelwise.labelers import LabelEvents
from labelwise.loop import Round, Test
from labelwise.metrics import evaluate
from labelwise.models.learner import FitCost, Preparation
from labelwise.records import Store, reading, writing
from labelwise.seeds import generator
from labelwise.strategies import BASELINE, Picks

SKILL = {"stratified": 0.02, "random": 0.0, "margin": 0.1, "uncertainty": 0.08}
TEST = 200


def always(row: str, arm: str, seed: int) -> bool:
    return True


def make_store(
    folder: Path,
    study: Study,
    classes: tuple[str, ...] = ("cat", "dog", "ship"),
    finished: Callable[[str, str, int], bool] = always,
    rounds: int = 4,
    batch: int = 20,
    **data: Any,
) -> Store:
    """Make a store in which every run has `rounds` rounds of `batch` labels (the baseline one), and open it.

    finished: which runs are complete; the others stop after their first round, a baseline is not there at all.
    """
    truth = generator(0, "truth").integers(len(classes), size=TEST)
    card = {
        "source": "invented", "fingerprint": "0123456789abcdef", "classes": classes, "pool": 1000, "test": TEST,
        "notes": [], "test_indices": list(range(1000, 1000 + TEST)), "test_labels": truth.tolist(), **data,
    }  # fmt: skip
    with writing(folder) as store:
        sa.event.listen(store.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
        store.create(canonical(study), "0.0", card)
        for row in study.sizes:
            for seed in study.seeds:
                for arm in study.arms:
                    name = study.arm_name(arm)
                    described = {
                        "id": f"{row.name} {name} {seed}", "arm": name, "strategy": arm.strategy, "start": arm.start,
                        "pool": arm.pool, "weighting": arm.weighting, "options": json.dumps(arm.options),
                        "row": row.name, "seed": seed, "budget": rounds * batch, "minority": "[]",
                        "used": json.dumps({"learner": "invented", "weights": "none", "cores": str(2 + seed % 2)}),
                    }  # fmt: skip
                    sizes = [rounds * batch] if arm.strategy == BASELINE else [batch] * rounds
                    _add_run(store, described, sizes, truth, finished(row.name, name, seed))
        store.engine.dispose()  # all of it is in the one file now
    return reading(folder)


def _add_run(store: Store, run: dict[str, Any], sizes: list[int], truth: Any, complete: bool) -> None:
    if not complete and len(sizes) == 1:
        return
    rng = generator(int(run["seed"]), str(run["id"]))
    k = int(truth.max()) + 1
    indices = rng.permutation(1000)[: sum(sizes)]
    answers = [
        LabelEvents(part, rng.integers(k, size=len(part)), "truth") for part in np.split(indices, np.cumsum(sizes)[:-1])
    ]
    for number, labels in enumerate(np.cumsum(sizes)):
        following = answers[number + 1] if number + 1 < len(sizes) else None
        right = rng.random(TEST) < 0.4 + 0.3 * labels / sum(sizes) + SKILL.get(str(run["strategy"]), 0.05)
        guess = np.where(right, truth, rng.integers(k, size=TEST))
        probs = np.full((TEST, k), 0.4 / (k - 1), np.float32)
        probs[np.arange(TEST), guess] = 0.6
        picks = (
            Picks(following.indices, np.arange(len(following.indices)) / 1.0)
            if following
            else Picks(indices[:0], np.empty(0))
        )
        done = Round(
            number, int(labels), int(labels), 0, 0, FitCost(0.5 + number, 3, 100, 50), 0.0,
            Test(evaluate(probs, truth), probs.astype(np.float16), 0.1, 0), 0.2, 0, 0.3,
            Preparation(1.0, 0.5, 1000) if number == 0 else Preparation(), picks, digest(f"{run['id']} {number}"),
            {"chosen": {"penalty": 0.1 if int(run["seed"]) else 0.03}}, 100.0,
        )  # fmt: skip
        store.add_round(run, done, answers[0] if number == 0 else None, following)
        if not complete:
            return
