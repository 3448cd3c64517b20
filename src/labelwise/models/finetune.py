"""Fine-tuning: the poster's learner, any timm backbone from its pretrained weights to the labels at hand."""

from __future__ import annotations

import copy
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from labelwise.arrays import Floats, Indices, Labels
from labelwise.config import Learner, Study, canonical, digest
from labelwise.data.dataset import Dataset
from labelwise.data.images import ImageSet, Progress, unseen
from labelwise.errors import InputError
from labelwise.models.augment import Scale
from labelwise.models.backbone import Backbone, load_backbone, pick_device
from labelwise.models.classifier import Classifier, backbone_state, initial_state
from labelwise.models.course import Course
from labelwise.models.embeddings import embed_dataset
from labelwise.models.engine import Fit
from labelwise.models.finetuned import FittedFineTune
from labelwise.models.graphs import device_errors
from labelwise.models.layout import parameters_of, statistics_of
from labelwise.models.learner import Calibration, FitCost, Preparation, inverse_frequency
from labelwise.models.lengths import length, spread, work
from labelwise.models.pixels import on_device, training_pixels
from labelwise.models.places import DeviceImages
from labelwise.models.rewrites import fold_batch_norm, rewritten
from labelwise.models.scoring import Scorer
from labelwise.models.sharing import ALONE, Sharing, share
from labelwise.models.training import Part, Trained, autocasts, own_randomness, precision, train
from labelwise.models.validation import described, validation_split
from labelwise.seeds import generator

PROTOCOL = "2"
"""Part of the learner's key: changes with anything in how a fit is made."""
CALIBRATION_EPOCHS = {"cuda": 8}
"""Epochs of a fit that is timed; elsewhere 1. On a GPU, one would hardly be longer than what is done before it."""


@dataclass(frozen=True)
class FineTune:
    """The learner. pixels: (N, H, W, 3) uint8, mapped; kept: the same in a GPU's memory, where they fit.

    model: takes the weights of fits that train alone, in turn, rewritten for speed. sharing: how fits share a GPU;
    scorer: what scores there for all fits; own: (N, D) people's own embeddings, in the place of the backbone's.
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
    sharing: Sharing = ALONE
    scorer: Scorer | None = None
    own: Floats | None = None

    @property
    def side_by_side(self) -> int:
        """Runs that go on at once in one process, by default."""
        return self.sharing.side_by_side

    def pretrained(self, progress: Progress) -> tuple[Floats, Preparation]:
        """Return the embeddings that a probe with this backbone stands on, of images upsampled to 128 pixels."""
        if self.own is not None:
            return self.own, Preparation()
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
        course = Course(len(fitting), self.recipe, generator(seed, "fit"))
        parts = [(indices[rows], labels[rows]) for rows in (fitting, checked)]
        if self.sharing.engine is None:
            done = self._alone(course, parts, balance, seed)
            seconds = time.perf_counter() - started
        else:
            done, seconds = self._together(course, parts, balance, seed)
        cost = FitCost(seconds, done.epochs, done.images_forward, done.images_backward)
        details = described(done, labels[fitting], labels[checked], balance)
        state = {name: value.cpu().numpy() for name, value in done.state.items()}
        return FittedFineTune(self, state, cost, len(fitting), len(held), details)

    def _alone(self, course: Course, parts: list[Any], balance: NDArray[np.float32], seed: int) -> Trained:
        device = self.backbone.device
        with own_randomness(device, seed):
            self._reset(seed)
            fitting, held = (Part(self._take(rows), torch.from_numpy(labels).to(device)) for rows, labels in parts)
            weights = torch.from_numpy(balance).to(device)
            return train(self.model, Scale.of(self.backbone), fitting, held, weights, course)

    def _together(
        self, course: Course, parts: list[Any], balance: NDArray[np.float32], seed: int
    ) -> tuple[Trained, float]:
        """Have the engine do a fit; return what it did, and its share of the time."""
        assert self.sharing.engine is not None
        initial = self._initial(seed)
        layouts = parameters_of(self.model), statistics_of(self.model)
        rows = [layout.row(initial) for layout in layouts]
        done = self.sharing.engine.fit(Fit(course, parts[0], parts[1], balance, rows[0], rows[1]))
        best = zip(layouts, (done.weights, done.statistics), strict=True)
        state = {name: value for layout, row in best for name, value in layout.tensors(row).items()}
        return Trained.of(course, {**initial, **state}, done.images_checked), done.seconds

    def stop(self) -> None:
        """Give up the fits that go on in other threads."""
        if self.sharing.engine is not None:
            self.sharing.engine.stop()

    def _take(self, indices: Indices) -> torch.Tensor:
        """Return images as they are: (n, H, W, 3) uint8 on the backbone's device."""
        if self.kept is not None:
            return self.kept[torch.from_numpy(indices).to(self.kept.device)]
        return torch.from_numpy(np.ascontiguousarray(self.pixels[indices])).to(self.backbone.device)

    def _balance(self, labels: Labels, weighting: str) -> NDArray[np.float32]:
        """Return each class's weight (K,): 1, or inverse to its frequency with a mean of 1 over the labels."""
        weights = inverse_frequency(labels, self.classes) if weighting == "inverse" else np.ones(self.classes)
        return weights.astype(np.float32)

    def _reset(self, seed: int) -> None:
        """Put the initial weights into the model that trains alone."""
        self.model.load_state_dict(self._initial(seed))

    def _initial(self, seed: int) -> dict[str, torch.Tensor]:
        """Return the weights that a fit begins with, on the CPU."""
        return initial_state(self._pretrained, self.backbone.features, self.classes, self.recipe, seed)

    @cached_property
    def _pretrained(self) -> dict[str, torch.Tensor]:
        return backbone_state(self.backbone)

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


def build(dataset: Dataset, study: Study, progress: Progress) -> FineTune:
    """Load the backbone and the pixels, and return the learner; on a GPU, prepare how fits share it.

    Errors: InputError as load_backbone, for a backbone that does not take images of this size, and as `share`.
    """
    recipe = study.learner
    backbone = load_backbone(recipe)
    pixels = training_pixels(dataset.images, backbone, recipe.size, progress)
    classes, device = len(dataset.classes), backbone.device
    kept, scale = on_device(pixels, device), Scale.of(backbone)
    probe = scale(torch.from_numpy(np.array(pixels[:2])).to(device))
    _check_size(backbone, probe)
    module = rewritten(backbone.module, probe) if device.type == "cpu" else backbone.module
    own = copy.deepcopy(module) if module is backbone.module else module  # the backbone keeps its initial weights
    model = Classifier(own, backbone.features, classes)
    model.to(device).to(memory_format=torch.channels_last)
    source = DeviceImages(pixels, kept, scale, precision, classes, device)
    example = scale(torch.from_numpy(np.array(pixels[: min(8, len(pixels))])).to(device))
    with device_errors():
        sharing = share(model, source, recipe, example)
        scorer = Scorer(model, source) if device.type == "cuda" else None
    used = _used(backbone, recipe, pixels, sharing)
    settings = canonical(recipe.model_dump(mode="json", exclude={"penalty", "estimator", "options"}))  # of others
    made_with = [f"{name} {version(name)}" for name in ("torch", "timm")]
    made_with += [used[name] for name in ("precision", "card", "fits") if name in used]
    content = dataset.images.way, dataset.fingerprint, str(pixels.shape)
    key = digest("finetune", PROTOCOL, *content, backbone.fingerprint, str(device), settings, *made_with)
    return FineTune(
        dataset.images,
        pixels,
        classes,
        backbone,
        recipe,
        model,
        key,
        used,
        kept,
        sharing=sharing,
        scorer=scorer,
        own=dataset.features,
    )


def _used(backbone: Backbone, recipe: Learner, pixels: NDArray[np.uint8], sharing: Sharing) -> dict[str, str]:
    """Return what a fit uses, in words, for the records."""
    device = backbone.device
    narrow = "bfloat16 autocast" if autocasts(device) else ""
    used = {
        "learner": "fine-tuning",
        "protocol": PROTOCOL,
        "backbone": backbone.name,
        "weights": backbone.weights,
        "device": str(device),
        "input": f"{pixels.shape[2]}x{pixels.shape[1]}",
        "threads": "1",
        "scoring": narrow or ("float32" if device.type == "cuda" else recipe.scoring),
    }
    if narrow:
        used["precision"] = narrow
    if device.type == "cuda":
        used |= {"card": torch.cuda.get_device_name(device), "fits": sharing.way}
    return used


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
    """Time short fits, as many as go on side by side, and the scoring of a few images: some seconds."""
    epochs = CALIBRATION_EPOCHS.get(pick_device(study.learner.device).type, 1)
    short = study.learner.model_copy(update={"epochs": epochs})
    learner = build(dataset, study.model_copy(update={"learner": short}), unseen)
    few = np.sort(dataset.pool[np.linspace(0, len(dataset.pool) - 1, min(320, len(dataset.pool))).astype(np.int64)])
    try:
        learner.fit(few[:64], dataset.labels[few[:64]], "none", 0, {})  # loads what loads late
        started, at_once = time.perf_counter(), learner.side_by_side
        with ThreadPoolExecutor(at_once) as pool:
            fits = list(pool.map(lambda seed: learner.fit(few, dataset.labels[few], "none", seed, {}), range(at_once)))
        fitted, seconds = fits[0], time.perf_counter() - started
        pace = seconds / work(fitted.cost.images_forward, fitted.cost.images_backward)
        fitted.predict(few[:32])
        scored = few if learner.scorer is None else np.resize(few, learner.scorer.batch)  # a GPU takes whole batches
        # fits side by side were timed together: each run's is as long as all; scoring takes turns, so each run waits
        per_score = at_once * fitted.predict(scored).seconds / len(scored)
    finally:
        learner.stop()
    expected = partial(length, recipe=study.learner, statistics=len(statistics_of(learner.model).names) > 0)

    def fit(labels: int) -> float:
        found = expected(labels)
        return pace * work(found.images_forward, found.images_backward)

    return Calibration(
        once=0.0,
        forward_once=0,
        fit=fit,
        score=lambda images: per_score * images,
        forward=lambda labels: expected(labels).images_forward,
        backward=lambda labels: expected(labels).images_backward,
        forward_scored=1,
        features=learner.backbone.features,
        frozen_embeddings=False,
        side_by_side=at_once,
        spread=partial(spread, recipe=study.learner),
    )
