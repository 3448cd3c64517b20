"""Fine-tuning: the poster's learner, any timm backbone from its pretrained weights to the labels at hand."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from labelwise.arrays import Floats, Indices, Labels, Predictions, softmax
from labelwise.config import Learner, Study, canonical, digest
from labelwise.data.dataset import Dataset
from labelwise.data.images import ImageSet, Progress, unseen
from labelwise.errors import InputError
from labelwise.models.augment import Scale
from labelwise.models.backbone import Backbone, load_backbone, torch_threads
from labelwise.models.embeddings import embed_dataset
from labelwise.models.learner import Calibration, Dropout, FitCost, Preparation, dropped, inverse_frequency
from labelwise.models.pixels import on_device, training_pixels
from labelwise.models.rewrites import fold_batch_norm, rewritten
from labelwise.models.training import (
    STATISTICS_IMAGES,
    Part,
    autocasts,
    own_randomness,
    precision,
    train,
)
from labelwise.models.validation import described, validation_split
from labelwise.seeds import generator, integer

PROTOCOL = "1"
"""Part of the learner's key: changes with anything in how a fit is made."""
TYPICAL_EPOCHS = 30
"""Epochs that a fit usually takes on 500 to 5,000 labels (19 to 37 seen); only for the plan's estimate."""
FLOAT16 = 65_504.0
"""The largest float16: no embedding is infinite."""
SCORING_BATCH = {"cpu": 128, "cuda": 2048, "mps": 512}
"""Images that are scored at once, of up to 64x64 pixels on a GPU; fewer of larger ones."""


class Classifier(nn.Module):
    """A backbone and a linear layer on its embeddings, in float32 whatever the backbone's precision."""

    def __init__(self, backbone: nn.Module, features: int, classes: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # these initial weights are never used
            self.backbone, self.head = backbone, nn.Linear(features, classes)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Return the backbone's embeddings (n, D) float32."""
        with precision(x.device):
            features: torch.Tensor = self.backbone(x)
        return features.float()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.embed(x))
        return logits


@dataclass(frozen=True)
class FineTune:
    """The learner. pixels: (N, H, W, 3) uint8, mapped; model: takes each fit's weights in turn, rewritten for speed.

    kept: the pixels in a GPU's memory, where they fit.
    """

    images: ImageSet
    pixels: NDArray[np.uint8]
    classes: int
    backbone: Backbone
    recipe: Learner
    model: Classifier
    key: str
    used: dict[str, str]
    kept: torch.Tensor | None = None
    preparation: Preparation = field(default_factory=Preparation)
    frozen_embeddings: bool = False
    side_by_side: int = 1

    def pretrained(self, progress: Progress) -> tuple[Floats, Preparation]:
        """Return the embeddings that a probe with this backbone stands on, of images upsampled to 128 pixels."""
        found = embed_dataset(self.images, self.backbone, progress)
        return found.values, Preparation(found.seconds, 0.0, len(self.images))

    def tune(self, indices: Indices, labels: Labels, seed: int) -> dict[str, Any]:
        """Choose nothing: the recipe is the same in every arm, row and seed (study, section on the learner)."""
        return {}

    def fit(self, indices: Indices, labels: Labels, weighting: str, seed: int, tuned: dict[str, Any]) -> FittedFineTune:
        """Train from the initial weights; 15 % of the labelled set, stratified, are held out for validation."""
        started = time.perf_counter()
        held = validation_split(labels, self.recipe.validation, generator(seed, "validation"))
        fitting = np.setdiff1d(np.arange(len(labels)), held)
        checked = held if len(held) else fitting  # a single label is all there is
        balance = self._balance(labels[fitting], weighting)
        self._reset(seed)
        with own_randomness(self.backbone.device, seed):
            done = train(
                self.model, Scale.of(self.backbone), self._part(indices, labels, fitting),
                self._part(indices, labels, checked), balance, self.recipe, generator(seed, "fit"),
            )  # fmt: skip
        cost = FitCost(time.perf_counter() - started, done.epochs, done.images_forward, done.images_backward)
        details = described(done, labels[fitting], labels[checked], balance.cpu().numpy())
        state = {name: value.cpu().numpy() for name, value in done.state.items()}
        return FittedFineTune(self, state, cost, len(fitting), len(held), details)

    def stop(self) -> None:
        """Do nothing: no fit goes on in another thread."""

    def _part(self, indices: Indices, labels: Labels, rows: NDArray[np.int64]) -> Part:
        return Part(self._take(indices[rows]), torch.from_numpy(labels[rows]).to(self.backbone.device))

    def _take(self, indices: Indices) -> torch.Tensor:
        """Return images as they are: (n, H, W, 3) uint8 on the backbone's device."""
        if self.kept is not None:
            return self.kept[torch.from_numpy(indices).to(self.kept.device)]
        return torch.from_numpy(np.ascontiguousarray(self.pixels[indices])).to(self.backbone.device)

    def _balance(self, labels: Labels, weighting: str) -> torch.Tensor:
        """Return each class's weight (K,): 1, or inverse to its frequency with a mean of 1 over the labels."""
        weights = inverse_frequency(labels, self.classes) if weighting == "inverse" else np.ones(self.classes)
        return torch.from_numpy(weights.astype(np.float32)).to(self.backbone.device)

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
            module = rewritten(fold_batch_norm(module, probe), probe)
        scoring = Classifier(module, self.model.head.in_features, self.classes)
        scoring.head.load_state_dict({"weight": state["head.weight"], "bias": state["head.bias"]})
        return scoring.to(self.backbone.device).eval()

    def inputs(self, indices: Indices) -> torch.Tensor:
        """Return images in the backbone's scale: (n, 3, H, W), on its device."""
        return Scale.of(self.backbone)(self._take(indices))


@dataclass(frozen=True)
class FittedFineTune:
    """A fine-tuned model. state: its weights by name, with which it can be sent to another process."""

    learner: FineTune
    state: dict[str, NDArray[Any]]
    cost: FitCost
    labels_train: int
    labels_val: int
    details: dict[str, Any]

    @cached_property
    def module(self) -> Classifier:
        """The model to score with, made once."""
        module = self.learner.scoring_module(self.state)
        if self.learner.recipe.scoring == "bfloat16":
            module.backbone.to(torch.bfloat16)
        return module

    def predict(self, indices: Indices, embeddings: bool = False, dropout: Dropout | None = None) -> Predictions:
        """Return (n, K) probabilities and, if asked for, the model's own embeddings (N, D) float16, filled there."""
        started = time.perf_counter()
        learner = self.learner
        module, device, narrow = self.module, learner.backbone.device, learner.recipe.scoring == "bfloat16"
        logits = np.empty((len(indices), learner.classes), np.float32)
        rows = np.zeros((len(learner.pixels), learner.backbone.features), np.float16) if embeddings else None
        size, passes = _scoring_batch(learner.pixels, device), []
        with torch.inference_mode(), torch_threads(1):
            for start in range(0, len(indices), size):
                part = indices[start : start + size]
                inputs = learner.inputs(part)
                features = module.embed(inputs.to(torch.bfloat16) if narrow else inputs)
                logits[start : start + size] = module.head(features).cpu().numpy()
                if rows is not None:
                    rows[part] = features.clamp(-FLOAT16, FLOAT16).half().cpu().numpy()
                if dropout is not None:
                    passes.append(dropped(features.cpu().numpy(), dropout, start, self._head))
        stochastic = np.concatenate(passes, axis=1) if passes else None
        seconds = time.perf_counter() - started
        return Predictions(indices, softmax(logits), rows, stochastic, seconds, len(indices))

    def _head(self, features: Floats) -> Floats:
        """Return the class probabilities of embeddings (n, D): (n, K)."""
        return softmax(features @ self.state["head.weight"].T + self.state["head.bias"])


def _scoring_batch(pixels: NDArray[np.uint8], device: torch.device) -> int:
    size = SCORING_BATCH[device.type]
    return size if device.type == "cpu" else max(16, min(size, size * 64 * 64 // (pixels.shape[1] * pixels.shape[2])))


def build(dataset: Dataset, study: Study, progress: Progress) -> FineTune:
    """Load the backbone and the pixels, and return the learner.

    Errors: InputError as load_backbone, and for a backbone that does not take images of this size.
    """
    recipe = study.learner
    backbone = load_backbone(recipe)
    pixels = training_pixels(dataset.images, backbone, recipe.size, progress)
    classes, device = len(dataset.classes), backbone.device
    narrow = "bfloat16 autocast" if autocasts(device) else ""
    settings = canonical(recipe.model_dump(mode="json", exclude={"penalty"}))  # which is a probe's
    learner = FineTune(
        dataset.images, pixels, classes, backbone, recipe, Classifier(backbone.module, backbone.features, classes),
        key=digest(
            "finetune", PROTOCOL, dataset.fingerprint, backbone.fingerprint, str(device), settings,
            str(pixels.shape), *(version(package) for package in ("torch", "timm")), *([narrow] if narrow else []),
        ),
        used={"learner": "fine-tuning", "backbone": backbone.name, "weights": backbone.weights,
              "device": str(device), "input": f"{pixels.shape[2]}x{pixels.shape[1]}", "threads": "1",
              "scoring": narrow or recipe.scoring, **({"precision": narrow} if narrow else {})},
        kept=on_device(pixels, device),
    )  # fmt: skip
    probe = learner.inputs(np.arange(2))
    _check_size(backbone, probe)
    module = rewritten(backbone.module, probe) if device.type == "cpu" else backbone.module
    own = copy.deepcopy(module) if module is backbone.module else module  # the backbone keeps its initial weights
    model = Classifier(own, backbone.features, classes)
    model.to(device).to(memory_format=torch.channels_last)
    return replace(learner, model=model)


def _check_size(backbone: Backbone, inputs: torch.Tensor) -> None:
    """Raise InputError for a backbone that cannot take these images: models differ in how they say so."""
    size = f"{inputs.shape[3]}x{inputs.shape[2]}"
    try:
        with torch.inference_mode(), precision(inputs.device):
            backbone.module(inputs)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"learner.backbone: {backbone.name} takes no images of {size} ({reason}); set learner.size, or choose "
            "another backbone"
        ) from None


def calibrate(dataset: Dataset, study: Study) -> Calibration:
    """Time two short fits and the scoring of a few images: some seconds."""
    recipe = study.learner.model_copy(update={"epochs": 1})
    learner = build(dataset, study.model_copy(update={"learner": recipe}), unseen)
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
