"""Chooses the learning rate of fine-tuning, once for every arm: by validation loss alone, on stratified subsets.

    python studies/tuning/tune.py [DATA] [--only I/N]

Fits every learning rate on 150, 500, 1,500 and 5,000 stratified training images and appends one line a fit to
tuning.csv beside this file; what stands there already is not fitted again, so it can be stopped and run again.
The test set is never looked at. The default, 1e-3, had the lowest mean of log(validation loss) up to 1,500 labels;
with the fits at 5,000 three rates are equal within 0.2 % (LOG.md), and it stayed. All of this was with protocol 1 of
fine-tuning. Protocol 2 (docs/fine-tuning.md) kept the rate; nothing was tuned again.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from labelwise.config import Learner, Study
from labelwise.data.images import unseen
from labelwise.data.sources import open_dataset
from labelwise.data.subsets import stratified
from labelwise.models.finetune import PROTOCOL, build
from labelwise.seeds import generator

RATES = (3e-4, 5e-4, 1e-3, 2e-3)
CELLS = ((150, 0), (150, 1), (500, 0), (500, 1), (1_500, 0), (1_500, 1), (5_000, 0))
"""(labels, seed)"""
OUT = Path(__file__).parent / "tuning.csv"


def main() -> None:
    """Fit what is missing, then print the table and the choice."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", default="cifar10")
    parser.add_argument("--only", default="1/1", help="share the work: I/N takes every N-th fit")
    arguments = parser.parse_args()
    turn, turns = map(int, arguments.only.split("/"))
    for position, ((labels, seed), lr) in enumerate(itertools.product(CELLS, RATES)):
        if position % turns == turn - 1 and not _done(labels, seed, lr):
            _fit(arguments.data, labels, seed, lr)
    table = pd.read_csv(OUT)
    losses = table.pivot_table(index=["protocol", "labels", "seed"], columns="lr", values="validation_loss")
    print(losses.round(3).to_string())
    print("geometric mean by protocol and learning rate:")
    print(np.exp(np.log(losses.dropna()).groupby("protocol").mean()).round(4).to_string())


def _done(labels: int, seed: int, lr: float) -> bool:
    if not OUT.exists():
        return False
    table = pd.read_csv(OUT)
    same = (table.labels == labels) & (table.seed == seed) & (table.lr == lr)
    return bool((same & (table.protocol.astype(str) == PROTOCOL)).any())


def _fit(data: str, labels: int, seed: int, lr: float) -> None:
    study = Study(data=data, learner=Learner(backbone="efficientnet_lite0", lr=lr))
    dataset = open_dataset(study, unseen)
    learner = build(dataset, study, unseen)
    truth = dataset.labels[dataset.pool]
    chosen = dataset.pool[stratified(truth, labels, generator(seed, "tuning", labels))]
    fitted = learner.fit(chosen, dataset.labels[chosen], "none", seed, {})
    line = {
        "protocol": PROTOCOL, "labels": labels, "seed": seed, "lr": lr, **fitted.details,
        "epochs": fitted.cost.epochs, "seconds": round(fitted.cost.seconds, 1),
    }  # fmt: skip
    line.pop("problem", None)
    pd.DataFrame([line]).to_csv(OUT, mode="a", header=not OUT.exists(), index=False)
    print(line, flush=True)


if __name__ == "__main__":
    main()
