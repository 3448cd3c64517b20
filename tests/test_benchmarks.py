"""Counts of work, not seconds: a small study does what its protocol says and nothing twice; plain.py does the same."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import fake
from labelwise.analysis.results import rounds
from labelwise.config import Study
from labelwise.data.sources import open_dataset
from labelwise.models import finetune, training
from labelwise.models.backbone import torch_threads
from labelwise.records import reading
from labelwise.study.executor import run_study

ROOT = Path(__file__).parents[1]
EPOCHS, BATCH, SEVERAL = 5, 16, 2
"""SEVERAL: fewer images than a batch of any fit or scoring here; so many only look at a model's shape or rewriting."""


def config(**changes: Any) -> Study:
    learner = {"backbone": "test_efficientnet", "weights": "scratch", "device": "cpu", "epochs": EPOCHS, "batch": BATCH,
               "patience": 100}  # fmt: skip
    values = {"data": "digits", "sizes": [60], "seeds": [0], "initial": {"minimum": 30}, "acquisition": 0.25,
              "arms": ["stratified", "random", "entropy_typicality", "margin"], "learner": learner}  # fmt: skip
    return Study.model_validate({**values, **changes})


def passes(labels: int) -> tuple[int, int, int]:
    """Return what a fit that is never stopped early passes forward and backward, and its validations."""
    held = round(0.15 * labels)
    fitting = labels - held
    epochs_of_a_check = math.ceil(training.CHECK_STEPS / math.ceil(fitting / BATCH))
    checks = math.ceil(EPOCHS / epochs_of_a_check)  # the last epoch is always checked
    statistics = min(fitting, training.STATISTICS_IMAGES)
    return EPOCHS * fitting + checks * (statistics + held), EPOCHS * fitting, checks


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with torch_threads(1):
        yield


@contextmanager
def counted(seen: Counter[str]) -> Iterator[None]:
    """Count the images that really pass through a backbone, with and without gradients."""

    def look(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if type(module).__name__ == "EfficientNet" and len(inputs[0]) > SEVERAL:
            seen["backward" if torch.is_grad_enabled() else "only forward"] += len(inputs[0])

    handle = nn.modules.module.register_module_forward_pre_hook(look)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        handle.remove()


def test_a_study_does_what_its_protocol_says_and_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[int] = []
    scored: list[int] = []
    fit, predict = finetune.FineTune.fit, finetune.FittedFineTune.predict

    def seen_fit(self: Any, indices: Any, *arguments: Any) -> Any:
        fits.append(len(indices))
        return fit(self, indices, *arguments)

    def seen_predict(self: Any, indices: Any, *arguments: Any) -> Any:
        scored.append(len(indices))
        return predict(self, indices, *arguments)

    monkeypatch.setattr(finetune.FineTune, "fit", seen_fit)
    monkeypatch.setattr(finetune.FittedFineTune, "predict", seen_predict)
    through: Counter[str] = Counter()
    with counted(through):
        run_study(config(), tmp_path, fake.Silent(), 1)

    data = open_dataset(config())
    pool, test = len(data.pool), len(data.test)
    assert sorted(fits) == [30, 45, 45, 45, 60, 60, 60, 60]  # three arms share the first fit
    # each fit is tested once; entropy_typicality embeds the whole pool, margin scores what it may pick
    assert sorted(scored) == sorted([test] * len(fits) + [pool, pool] + [pool - 30, pool - 45])
    assert through["backward"] == sum(passes(labels)[1] for labels in fits)
    without = sum(passes(labels)[0] - passes(labels)[1] for labels in fits)
    assert through["only forward"] == without + sum(scored)

    frame = rounds(reading(tmp_path))
    assert len(frame) == 1 + 3 * 3
    assert (frame["epochs"] == EPOCHS).all()
    margin: dict[int, int] = {30: pool - 30, 45: pool - 45}
    typicality = {30: pool, 45: pool}
    picking = {"random": {}, "margin": margin, "entropy_typicality": typicality, "stratified": {}}
    for row in frame.to_dict("records"):  # every arm is charged all that it needs, shared or not
        forward, backward, _ = passes(row["labels"])
        assert row["images_backward"] == backward
        assert row["images_forward"] == forward + test + picking[row["arm"]].get(row["labels"], 0)


@pytest.fixture(scope="module")
def plain() -> ModuleType:
    spec = importlib.util.spec_from_file_location("plain", ROOT / "benchmarks" / "plain.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["plain"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def plain_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return our classifier's weights under the names of timm's whole model."""
    return {
        name.removeprefix("backbone.")
        if name.startswith("backbone.")
        else name.replace("head", "classifier"): value.clone()
        for name, value in state.items()
    }


def test_the_plain_script_takes_the_same_steps(plain: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    study = config()
    data = open_dataset(study)
    learner = finetune.build(data, study, lambda *_: None)
    inputs: list[torch.Tensor] = []
    labels: list[torch.Tensor] = []
    losses: list[float] = []
    start: dict[str, torch.Tensor] = {}

    def look(model: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        if torch.is_grad_enabled():
            start.update(start or plain_state(model.state_dict()))
            inputs.append(arguments[0].clone())

    def cross_entropy(logits: torch.Tensor, truth: torch.Tensor, *rest: Any, **options: Any) -> torch.Tensor:
        loss = functional.cross_entropy(logits, truth, *rest, **options)
        if torch.is_grad_enabled():
            labels.append(truth)
            losses.append(float(loss.detach()))
        return loss

    monkeypatch.setattr(training, "functional", SimpleNamespace(cross_entropy=cross_entropy))
    chosen = data.pool[:60]
    hook = learner.model.register_forward_pre_hook(look)
    learner.fit(chosen, data.labels[chosen], "none", 0, {})
    hook.remove()

    model = plain.timm.create_model("test_efficientnet", num_classes=10)
    model.load_state_dict(start)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), study.learner.lr)
    theirs = [float(plain.train_step(model, optimizer, *batch)) for batch in zip(inputs, labels, strict=True)]
    assert len(losses) == EPOCHS * math.ceil(51 / BATCH)
    assert theirs[:8] == pytest.approx(losses[:8], rel=1e-3)  # later, what rounding differs by has grown
    assert study.learner.lr == plain.LR
    assert Study().learner.batch == plain.BATCH
    assert (plain.STATISTICS_IMAGES, plain.CHECK_STEPS) == (training.STATISTICS_IMAGES, training.CHECK_STEPS)


def test_the_plain_script_passes_as_many_images(plain: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "BATCH", BATCH)
    data = open_dataset(config())
    assert data.images.pixels is not None
    model = plain.timm.create_model("test_efficientnet", num_classes=10)
    augmented, still = plain.transforms(model, 8)
    held, fitting = np.split(data.pool[:60], [9])
    parts = [
        plain.Images(data.images.pixels[rows], data.labels[rows], how)
        for rows, how in ((fitting, augmented), (held, still))
    ]
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    through: Counter[str] = Counter()
    with counted(through):
        counts = plain.fit(model, initial, *parts, EPOCHS, 100)
    assert (counts.forward, counts.backward) == passes(60)[:2]
    assert through == {"backward": counts.backward, "only forward": counts.forward - counts.backward}


def test_what_the_benchmark_times_is_there() -> None:
    sys.path.insert(0, str(ROOT))
    try:
        from benchmarks.shares import PARTS
    finally:
        sys.path.remove(str(ROOT))
    assert all(callable(getattr(owner, name)) for _, owner, name in PARTS)
