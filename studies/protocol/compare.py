"""Compares two rules for batches and validation, "protocols", of fine-tuning: test accuracy, paired by labelled set.

    python studies/protocol/compare.py fit [DATA] [--sizes 150,500]   # with the protocol of this checkout
    python studies/protocol/compare.py show

Each fit appends one line to fits.csv beside this file; what stands there already is not fitted again. Protocol 1 was
fitted by the same script in a checkout of the last commit that had it. `show` prints the paired difference, pooled
over the sizes, with its 95 % interval (t). The test set decides nothing but this: whether the new rule costs accuracy.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

SEEDS = {150: 10, 500: 10, 1_500: 6, 5_000: 3}
"""Seeds by number of labels."""
OUT = Path(__file__).parent / "fits.csv"


def main() -> None:
    """Fit what is missing, or print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("fit", "show"))
    parser.add_argument("data", nargs="?", default="cifar10")
    parser.add_argument("--sizes", default=",".join(map(str, SEEDS)))
    arguments = parser.parse_args()
    if arguments.what == "show":
        show(pd.read_csv(OUT))
        return
    for labels in map(int, arguments.sizes.split(",")):
        for seed in range(SEEDS[labels]):
            _fit(arguments.data, labels, seed)


def _fit(data: str, labels: int, seed: int) -> None:
    from labelwise.config import Learner, Study
    from labelwise.data.images import unseen
    from labelwise.data.sources import open_dataset
    from labelwise.data.subsets import stratified
    from labelwise.metrics import evaluate
    from labelwise.models.finetune import PROTOCOL, build
    from labelwise.seeds import generator

    if OUT.exists():
        table = pd.read_csv(OUT)
        if ((table.protocol == int(PROTOCOL)) & (table.labels == labels) & (table.seed == seed)).any():
            return
    study = Study(data=data, learner=Learner(backbone="efficientnet_lite0"))
    dataset = open_dataset(study, unseen)
    learner = build(dataset, study, unseen)
    truth = dataset.labels[dataset.pool]
    chosen = dataset.pool[stratified(truth, labels, generator(seed, "protocol", labels))]
    fitted = learner.fit(chosen, dataset.labels[chosen], "none", seed, {})
    metrics = evaluate(fitted.predict(dataset.test).probs, dataset.labels[dataset.test])
    line = {
        "protocol": PROTOCOL,
        "labels": labels,
        "seed": seed,
        "accuracy": round(metrics.accuracy, 4),
        "macro_f1": round(metrics.macro_f1, 4),
        "loss": round(metrics.loss, 4),
        "epochs": fitted.cost.epochs,
        "steps": fitted.details["steps"],
        "stopped": fitted.details["stopped"],
        "images_forward": fitted.cost.images_forward,
        "images_backward": fitted.cost.images_backward,
        "seconds": round(fitted.cost.seconds, 1),
    }
    pd.DataFrame([line]).to_csv(OUT, mode="a", header=not OUT.exists(), index=False)
    print(line, flush=True)


def show(table: pd.DataFrame) -> None:
    """Print accuracy and steps by size and protocol, and the paired difference of accuracy."""
    from scipy import stats

    print(table.groupby(["labels", "protocol"])[["accuracy", "steps", "images_backward"]].mean().round(4).to_string())
    pairs = table.pivot_table(index=["labels", "seed"], columns="protocol", values="accuracy").dropna()
    difference = 100 * (pairs[2] - pairs[1])
    print("\nnew - old, points of accuracy:")
    for name, part in [*difference.groupby(level="labels"), ("all", difference)]:
        half = stats.t.ppf(0.975, len(part) - 1) * part.sem()
        print(f"  {name}: {part.mean():+.2f} [{part.mean() - half:+.2f}, {part.mean() + half:+.2f}], {len(part)} pairs")


if __name__ == "__main__":
    main()
