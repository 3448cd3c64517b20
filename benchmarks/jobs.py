"""What the measuring processes do: each function is one job. Processes of others never load labelwise's models."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import plain

if TYPE_CHECKING:
    from labelwise.config import Study
    from labelwise.data.dataset import Dataset
    from labelwise.models.finetune import FineTune, FittedFineTune

VALIDATION = 0.15
FOREVER = 1000  # patience: every fit makes all its epochs
MATRIX = 1024
fitted: dict[Setup, FittedFineTune] = {}


class Done(NamedTuple):
    """What a job took and did: seconds, and images through the network."""

    seconds: float
    forward: int
    backward: int = 0


@dataclass(frozen=True)
class Setup:
    """What both sides get. images: .npz with pixels, labels, test; weights: a timm model's state in a .pth file."""

    images: Path
    backbone: str
    weights: Path


@dataclass(frozen=True)
class Sizes:
    """A small study: labels of the first round, labels bought a round, rounds, and epochs of each fit."""

    initial: int
    batch: int
    rounds: int
    epochs: int


def read(setup: Setup) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
    """Return pixels (N, H, W, 3), labels (N,) and which images are the test set (N,)."""
    with np.load(setup.images) as file:
        return file["pixels"], file["labels"], file["test"]


def study(setup: Setup, sizes: Sizes, seed: int = 0, scoring: str = "float32") -> Study:
    """Return a study of one run of our own."""
    from labelwise.config import Study

    budget = sizes.initial + sizes.batch * (sizes.rounds - 1)
    return Study.model_validate({
        "sizes": [budget], "arms": ["margin"], "seeds": [seed], "acquisition": sizes.batch / budget,
        "initial": {"minimum": sizes.initial, "share": sizes.initial / budget},
        "learner": {
            "backbone": setup.backbone, "weights": str(setup.weights), "device": "cpu", "epochs": sizes.epochs,
            "patience": FOREVER, "validation": VALIDATION, "scoring": scoring,
        },
    })  # fmt: skip


@cache
def dataset(setup: Setup) -> Dataset:
    """Return our data set."""
    from labelwise.data.building import build
    from labelwise.data.dataset import Listing

    pixels, labels, test = read(setup)
    classes, names = [str(k) for k in range(labels.max() + 1)], [str(i) for i in range(len(labels))]
    listing = Listing("benchmark", tuple(classes), labels, names, test, pixels=pixels)
    return build(listing, study(setup, Sizes(1, 1, 2, 1)), lambda *_: None)


@cache
def learner(setup: Setup, epochs: int, scoring: str = "float32") -> FineTune:
    """Return our learner with so many epochs a fit."""
    from labelwise.models.finetune import build

    return build(dataset(setup), study(setup, Sizes(1, 1, 2, epochs), scoring=scoring), lambda *_: None)


def our_fit(setup: Setup, labels: int, epochs: int) -> Done:
    """Fine-tune once on the first labels of the pool."""
    data, ours = dataset(setup), learner(setup, epochs)
    chosen = data.pool[:labels]
    started = time.perf_counter()
    fitted[setup] = ours.fit(chosen, data.labels[chosen], "none", 0, {})
    cost = fitted[setup].cost
    return Done(time.perf_counter() - started, cost.images_forward, cost.images_backward)


def our_score(setup: Setup, images: int, scoring: str = "float32") -> Done:
    """Score images of the pool with the last fit, from its weights on."""
    from dataclasses import replace

    last = fitted[setup]
    if scoring != "float32":
        last = replace(last, learner=learner(setup, 1, scoring))
    started = time.perf_counter()
    last.predict(dataset(setup).pool[:images])
    return Done(time.perf_counter() - started, images)


def our_run(setup: Setup, sizes: Sizes, seed: int) -> Done:
    """Compute a whole active-learning run; learner and data are there already."""
    from labelwise.study.plan import plan_runs
    from labelwise.study.runner import Kept, Runner

    config, data = study(setup, sizes, seed), dataset(setup)
    runner = Runner(config, data, cast(Any, learner(setup, sizes.epochs)))
    started = time.perf_counter()
    rounds = [step.done for run in plan_runs(config, data) for step in runner.steps(run, None, Kept())]
    seconds = time.perf_counter() - started
    assert len(rounds) == sizes.rounds
    forward = sum(done.fit.images_forward + done.images_scored for done in rounds)
    return Done(seconds, forward, sum(done.fit.images_backward for done in rounds))


@cache
def plain_model(setup: Setup, labels: int) -> tuple[Any, dict[str, Any], plain.Images, plain.Images, plain.Images]:
    """Return model, initial weights, training and validation part of the first labels, and the pool for scoring."""
    pixels, truth, test = read(setup)
    model = plain.make_model(setup.backbone, int(truth.max()) + 1, torch.load(setup.weights, weights_only=True))
    augmented, still = plain.transforms(model, pixels.shape[1])
    pool = np.flatnonzero(~test)
    cut = labels - round(VALIDATION * labels)
    parts = (pool[:cut], augmented), (pool[cut:labels], still), (pool, still)
    initial = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fitting, held, everything = (plain.Images(pixels[rows], truth[rows], transform) for rows, transform in parts)
    return model, initial, fitting, held, everything


def plain_fit(setup: Setup, labels: int, epochs: int, threads: int) -> Done:
    """Fine-tune once, in plain PyTorch."""
    torch.set_num_threads(threads)
    model, initial, fitting, held, _ = plain_model(setup, labels)
    started = time.perf_counter()
    counts = plain.fit(model, initial, fitting, held, epochs, FOREVER)
    return Done(time.perf_counter() - started, counts.forward, counts.backward)


def plain_score(setup: Setup, labels: int, images: int, threads: int) -> Done:
    """Score images of the pool with the last fit, in plain PyTorch."""
    torch.set_num_threads(threads)
    model, _, _, _, pool = plain_model(setup, labels)
    part = plain.Images(np.empty((0, 1, 1, 3), np.uint8), np.empty(0, np.int64), pool.transform)
    part.pixels, part.labels = pool.pixels[:images], pool.labels[:images]
    started = time.perf_counter()
    plain.score(model, part)
    return Done(time.perf_counter() - started, images)


def baal_run(setup: Setup, sizes: Sizes, threads: int) -> Done:
    """Compute the same active-learning run with Baal."""
    from benchmarks import baal_run as baal

    torch.set_num_threads(threads)
    pixels, truth, test = read(setup)
    model = plain.make_model(setup.backbone, int(truth.max()) + 1, torch.load(setup.weights, weights_only=True))
    augmented, still = plain.transforms(model, pixels.shape[1])
    pool, held = (plain.Images(pixels[part], truth[part], how) for part, how in ((~test, augmented), (test, still)))
    return Done(*baal.run(model, pool, held, still, sizes.initial, sizes.batch, sizes.rounds, sizes.epochs))


def gigaflops() -> float:
    """Return this core's float32 matrix product: the median of a few, in 10^9 floating-point operations a second."""
    torch.set_num_threads(1)
    one, other = torch.randn(MATRIX, MATRIX), torch.randn(MATRIX, MATRIX)
    seconds = []
    for _ in range(8):
        started = time.perf_counter()
        torch.mm(one, other)
        seconds.append(time.perf_counter() - started)
    return 2 * MATRIX**3 / statistics.median(seconds[1:]) / 1e9


def operations(setup: Setup) -> float:
    """Return the floating-point operations of one image forward, two for each multiplication of the model as it is."""
    from torch.utils.flop_counter import FlopCounterMode

    size = read(setup)[0].shape[1]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        plain_model(setup, 10)[0].eval()(torch.zeros(1, 3, size, size))
    return float(counter.get_total_flops())
