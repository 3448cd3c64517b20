"""Fine-tuning: the poster's learner, any timm backbone from its pretrained weights to the labels at hand."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from labelwise.arrays import Indices, Labels, Predictions, floored
from labelwise.config import Learner, Study, canonical, digest
from labelwise.data.dataset import Dataset
from labelwise.data.images import Progress
from labelwise.data.subsets import stratified
from labelwise.models.augment import Scale
from labelwise.models.backbone import Backbone, load_backbone, torch_threads
from labelwise.models.learner import Calibration, FitCost, Preparation
from labelwise.models.pixels import training_pixels
from labelwise.models.rewrites import fold_batch_norm, rewrite_convolutions, same_outputs
from labelwise.models.training import STATISTICS_IMAGES, Part, Trained, train
from labelwise.seeds import generator, integer

PROTOCOL = "1"
"""Part of the learner's key: changes with anything in how a fit is made."""
TYPICAL_EPOCHS = 30
"""Epochs that a fit usually takes on 500 to 5,000 labels (19 to 37 seen); only for the plan's estimate."""
SCORING_BATCH = {"cpu": 128, "cuda": 2048, "mps": 512}


class Classifier(nn.Module):
    """A backbone and a linear layer on its embeddings."""

    def __init__(self, backbone: nn.Module, features: int, classes: int) -> None:
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(features, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.backbone(x))
        return logits


@dataclass(frozen=True)
class FineTune:
    """The learner. pixels: (N, H, W, 3) uint8, mapped; model: takes each fit's weights in turn, rewritten for speed."""

    pixels: NDArray[np.uint8]
    classes: int
    backbone: Backbone
    recipe: Learner
    model: Classifier
    key: str
    used: dict[str, str]
    preparation: Preparation = field(default_factory=Preparation)
    frozen_embeddings: bool = False

    def tune(self, indices: Indices, labels: Labels, seed: int) -> dict[str, Any]:
        """Choose nothing: the recipe is the same in every arm, row and seed (study, section on the learner)."""
        return {}

    def fit(self, indices: Indices, labels: Labels, weighting: str, seed: int, tuned: dict[str, Any]) -> FittedFineTune:
        """Train from the initial weights; 15 % of the labelled set, stratified, are held out for validation."""
        started = time.perf_counter()
        held = validation_split(labels, self.recipe.validation, generator(seed, "validation"))
        fitting = np.setdiff1d(np.arange(len(labels)), held)
        self._reset(seed)
        with torch_threads(1):
            done = train(
                self.model, Scale.of(self.backbone), self._part(indices, labels, fitting),
                self._part(indices, labels, held), self._balance(labels[fitting], weighting), self.recipe,
                generator(seed, "fit"),
            )  # fmt: skip
        cost = FitCost(time.perf_counter() - started, done.epochs, done.images_forward, done.images_backward)
        details = _details(done, labels[fitting], labels[held], self.classes)
        state = {name: value.cpu().numpy() for name, value in done.state.items()}
        return FittedFineTune(self, state, cost, len(fitting), len(held), details)

    def _part(self, indices: Indices, labels: Labels, rows: NDArray[np.int64]) -> Part:
        device = self.backbone.device
        pixels = torch.from_numpy(np.ascontiguousarray(self.pixels[indices[rows]])).to(device)
        return Part(pixels, torch.from_numpy(labels[rows]).to(device))

    def _balance(self, labels: Labels, weighting: str) -> torch.Tensor:
        """Return each class's weight (K,): 1, or inverse to its frequency with a mean of 1 over the labels."""
        weights = np.ones(self.classes, np.float32)
        if weighting == "inverse":
            counts = np.bincount(labels, minlength=self.classes)
            weights = (len(labels) / ((counts > 0).sum() * np.maximum(counts, 1))).astype(np.float32)
        return torch.from_numpy(weights).to(self.backbone.device)

    def _reset(self, seed: int) -> None:
        """Put the initial weights into the model: the backbone's own, and a new head by the seed."""
        initial = self.backbone
        if self.recipe.weights == "scratch":
            initial = load_backbone(self.recipe, integer(seed, "scratch"))
        self.model.backbone.load_state_dict(initial.module.state_dict())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(integer(seed, "head"))
            head = nn.Linear(self.model.head.in_features, self.classes)
        self.model.head.load_state_dict(head.state_dict())

    def scoring_module(self, weights: dict[str, NDArray[Any]]) -> Classifier:
        """Return a copy of the model with these weights, for scoring alone: batch-norms folded, convolutions fast."""
        state = {name: torch.from_numpy(value) for name, value in weights.items()}
        own = {name.removeprefix("backbone."): value for name, value in state.items() if name.startswith("backbone.")}
        module = copy.deepcopy(self.backbone.module)
        module.load_state_dict(own)
        module.eval()
        if self.backbone.device.type == "cpu":
            probe = self.inputs(np.arange(2))
            module = rewrite_convolutions(fold_batch_norm(module, probe), probe)
        scoring = Classifier(module, self.model.head.in_features, self.classes)
        scoring.head.load_state_dict({"weight": state["head.weight"], "bias": state["head.bias"]})
        return scoring.to(self.backbone.device).eval()

    def inputs(self, indices: Indices) -> torch.Tensor:
        """Return images in the backbone's scale: (n, 3, H, W), on its device."""
        pixels = torch.from_numpy(np.ascontiguousarray(self.pixels[indices]))
        return Scale.of(self.backbone)(pixels.to(self.backbone.device))


def validation_split(labels: Labels, share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Hold out a stratified share of the labelled set: sorted positions; never the only label of a class.

    At least one is held out and one left where there are two labels.
    """
    wanted = min(max(1, round(share * len(labels))), len(labels) - 1)
    held = stratified(labels, wanted, rng)
    left = np.bincount(np.delete(labels, held), minlength=int(labels.max()) + 1)
    return held[left[labels[held]] > 0] if (left[labels[held]] > 0).any() else held[:1]


def _details(done: Trained, fitting: Labels, held: Labels, classes: int) -> dict[str, Any]:
    """Return what a record says of a fit: where it stopped, its validation losses, and whether it learned anything."""
    counts = np.bincount(fitting, minlength=classes) + 1.0
    prior = -float(np.log(counts / counts.sum())[held].mean())
    details: dict[str, Any] = {
        "best_epoch": done.best_epoch, "steps": done.steps, "stopped": done.stopped,
        "validation_loss": round(done.best_loss, 4) if done.losses and np.isfinite(done.best_loss) else None,
    }  # fmt: skip
    if done.stopped == "diverged":
        details["problem"] = "diverged: the validation loss is not finite"
    elif done.best_loss >= prior:
        details["problem"] = "stuck: no better on the validation set than the class shares alone"
    return details


@dataclass(frozen=True)
class FittedFineTune:
    """A fine-tuned model. state: its weights; scores: what was scored once, so that nothing is scored again."""

    learner: FineTune
    state: dict[str, NDArray[Any]]
    cost: FitCost
    labels_train: int
    labels_val: int
    details: dict[str, Any]

    def predict(self, indices: Indices, embeddings: bool = False) -> Predictions:
        """Return (n, K) probabilities and, if asked for, the model's own embeddings (N, D) float16, filled there."""
        started = time.perf_counter()
        learner = self.learner
        module = learner.scoring_module(self.state)
        device, narrow = learner.backbone.device, learner.recipe.scoring == "bfloat16"
        if narrow:
            module.backbone.to(torch.bfloat16)
        logits = np.empty((len(indices), learner.classes), np.float32)
        rows = np.zeros((len(learner.pixels), learner.backbone.features), np.float16) if embeddings else None
        size = SCORING_BATCH[device.type]
        with torch.inference_mode(), torch_threads(1):
            for start in range(0, len(indices), size):
                part = indices[start : start + size]
                inputs = learner.inputs(part)
                features = module.backbone(inputs.to(torch.bfloat16) if narrow else inputs).float()
                logits[start : start + size] = module.head(features).cpu().numpy()
                if rows is not None:
                    rows[part] = features.half().cpu().numpy()
        logits -= logits.max(axis=1, keepdims=True)
        probs = np.exp(logits)
        probs = floored(probs / probs.sum(axis=1, keepdims=True))
        return Predictions(indices, probs, rows, time.perf_counter() - started, len(indices))


def build(dataset: Dataset, study: Study, progress: Progress) -> FineTune:
    """Load the backbone and the pixels, and return the learner. Errors: InputError as load_backbone."""
    recipe = study.learner
    backbone = load_backbone(recipe)
    pixels = training_pixels(dataset.images, backbone, recipe.size, progress)
    classes = len(dataset.classes)
    model = Classifier(copy.deepcopy(backbone.module), backbone.features, classes)
    model.to(backbone.device).to(memory_format=torch.channels_last)
    learner = FineTune(
        pixels, classes, backbone, recipe, model,
        key=digest(
            "finetune", PROTOCOL, dataset.fingerprint, backbone.fingerprint, str(backbone.device), canonical(recipe),
            str(pixels.shape), *(version(package) for package in ("torch", "timm")),
        ),
        used={"learner": "fine-tuning", "backbone": backbone.name, "weights": backbone.weights,
              "device": str(backbone.device), "input": f"{pixels.shape[2]}x{pixels.shape[1]}", "threads": "1",
              "scoring": recipe.scoring},
    )  # fmt: skip
    if backbone.device.type == "cpu":
        probe = learner.inputs(np.arange(2))
        model.eval()
        rewrite_convolutions(model, probe)
        plain = Classifier(backbone.module, backbone.features, classes)
        plain.head = model.head
        if not same_outputs(plain.eval(), model, probe):  # a model that is called in ways not known here
            model.backbone = copy.deepcopy(backbone.module)
    return learner


def calibrate(dataset: Dataset, study: Study) -> Calibration:
    """Time two short fits and the scoring of a few images: some seconds."""
    recipe = study.learner.model_copy(update={"epochs": 1})
    learner = build(dataset, study.model_copy(update={"learner": recipe}), lambda *_: None)
    few = np.sort(dataset.pool[np.linspace(0, len(dataset.pool) - 1, min(320, len(dataset.pool))).astype(np.int64)])
    learner.fit(few[:64], dataset.labels[few[:64]], "none", 0, {})  # loads what loads late
    fitted = learner.fit(few, dataset.labels[few], "none", 0, {})
    per_image = fitted.cost.seconds / max(1, fitted.cost.images_backward)
    fitted.predict(few[:32])
    per_score = fitted.predict(few).seconds / len(few)
    share, epochs = study.learner.validation, min(TYPICAL_EPOCHS, study.learner.epochs)
    return Calibration(
        once=0.0, forward_once=0,
        fit=lambda n: epochs * n * (1 - share) * per_image, score=lambda n: per_score * n,
        forward=lambda n: epochs * (n + min(n, STATISTICS_IMAGES)), backward=lambda n: round(epochs * n * (1 - share)),
        forward_scored=1, features=learner.backbone.features, frozen_embeddings=False,
    )  # fmt: skip
