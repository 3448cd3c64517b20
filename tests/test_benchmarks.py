"""Counts of work, not seconds: a small study does what its protocol says and nothing twice; plain.py does the same."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import fake
from labelwise.analysis.results import rounds
from labelwise.config import Study
from labelwise.data.sources import open_dataset
from labelwise.models import course, finetune, training
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
    epoch = math.ceil(fitting / BATCH)
    trained = EPOCHS * epoch * BATCH  # every step has a whole batch
    checks = math.ceil(EPOCHS * epoch / max(course.CHECK_STEPS, epoch))  # the last step is always followed by one
    batches = math.ceil(min(fitting, course.STATISTICS_IMAGES) / course.STATISTICS_BATCH)
    return trained + checks * (batches * course.STATISTICS_BATCH + held), trained, checks


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


def test_the_plain_script_has_our_constants(plain: ModuleType) -> None:
    ours = Study().learner
    assert (ours.lr, ours.batch, ours.patience) == (plain.LR, plain.BATCH, plain.PATIENCE)
    for name in ("CHECK_STEPS", "STATISTICS_IMAGES", "STATISTICS_BATCH", "FACTOR", "PLATEAU", "PADDING"):
        assert getattr(plain, name) == getattr(course, name), name


def test_the_plain_script_draws_whole_batches_from_one_stream(plain: ModuleType) -> None:
    """Each pass over the images has every image once, as `Course` has it."""
    for images, batch, steps in ((51, 16, 13), (5, 16, 4), (32, 16, 4)):
        found = list(plain.WholeBatches(images, batch, steps))
        assert [len(rows) for rows in found] == [batch] * steps
        stream = np.concatenate(found)
        for start in range(0, len(stream) - images + 1, images):
            assert sorted(stream[start : start + images]) == list(range(images))


@pytest.mark.parametrize("labels", [60, 250])  # an epoch of less than CHECK_STEPS steps, and of more
def test_the_plain_script_passes_as_many_images(
    labels: int, plain: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "BATCH", BATCH)
    data = open_dataset(config())
    assert data.images.pixels is not None
    model = plain.timm.create_model("test_efficientnet", num_classes=10)
    augmented, still = plain.transforms(model, 8)
    held, fitting = np.split(data.pool[:labels], [round(0.15 * labels)])
    parts = [
        plain.Images(data.images.pixels[rows], data.labels[rows], how)
        for rows, how in ((fitting, augmented), (held, still))
    ]
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    through: Counter[str] = Counter()
    with counted(through):
        counts = plain.fit(model, initial, *parts, EPOCHS, 100)
    assert (counts.forward, counts.backward) == passes(labels)[:2]
    assert through == {"backward": counts.backward, "only forward": counts.forward - counts.backward}

    study = config()
    learner = finetune.build(data, study, lambda *_: None)
    cost = learner.fit(data.pool[:labels], data.labels[data.pool[:labels]], "none", 0, {}).cost
    assert (cost.images_forward, cost.images_backward) == (counts.forward, counts.backward)


def test_the_plain_script_stops_as_we_do(plain: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same validation losses end both after the same number of steps."""
    losses = [2.0, 1.0, *[1.5] * 20]
    data = open_dataset(config())
    assert data.images.pixels is not None
    model = plain.timm.create_model("test_efficientnet", num_classes=10)
    parts = [
        plain.Images(data.images.pixels[rows], data.labels[rows], how)
        for rows, how in zip((data.pool[:40], data.pool[40:50]), plain.transforms(model, 8), strict=True)
    ]
    ours = course.Course(40, Study().learner.model_copy(update={"patience": 4}), np.random.default_rng(0))
    for loss in losses:
        ours.segment()
        ours.validated(loss)
        if ours.stopped:
            break
    given = iter(losses)

    def cross_entropy(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(logits, truth) if logits.requires_grad else torch.tensor(next(given))

    monkeypatch.setattr(plain, "functional", SimpleNamespace(cross_entropy=cross_entropy))
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    counts = plain.fit(model, initial, *parts, 100, 4)
    assert ours.stopped == "early"
    assert counts.backward == ours.steps * plain.BATCH


def test_what_the_benchmark_times_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part whose function has gone, or is no longer the one that is called, would count as no time at all."""
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import shares

    called: set[tuple[Any, str]] = set()

    def noted(owner: Any, name: str) -> Any:
        function = getattr(owner, name)

        def call(*args: Any, **options: Any) -> Any:
            called.add((owner, name))
            return function(*args, **options)

        return call

    with ExitStack() as patches:
        for _, owner, name in shares.PARTS:
            patches.enter_context(patch.object(owner, name, noted(owner, name)))
        run_study(config(arms=["margin"]), tmp_path, fake.Silent(), 1)
    assert called == {(owner, name) for _, owner, name in shares.PARTS}
