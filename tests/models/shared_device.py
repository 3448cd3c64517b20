"""A device on which fits share packs, on the CPU: a tiny data set, a model, and engines of a few places."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import timm
import torch

from labelwise.config import Learner
from labelwise.models.augment import Scale
from labelwise.models.classifier import Classifier
from labelwise.models.course import Course
from labelwise.models.engine import Engine, Fit
from labelwise.models.layout import parameters_of, statistics_of
from labelwise.models.places import DeviceImages
from labelwise.models.sharing import lane, packed, unpacked
from labelwise.models.training import Part, Trained, precision, train
from labelwise.seeds import generator

IMAGES, CLASSES = 300, 4
CPU = torch.device("cpu")
SCALE = Scale(torch.full((3,), 1 / 64), torch.full((3,), -2.0))


def classifier(name: str, seed: int = 0, size: int = 32) -> Classifier:
    """Make a classifier with random weights, channels-last."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = timm.create_model(name, num_classes=0)
        head = torch.nn.Linear(backbone.eval()(torch.zeros(1, 3, size, size)).shape[1], CLASSES)
    model = Classifier(backbone, head.in_features, CLASSES)
    model.head.load_state_dict(head.state_dict())
    return model.to(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Shared:
    """Images whose colour says their class, a model, and a recipe."""

    model: Classifier
    source: DeviceImages
    truth: np.ndarray
    recipe: Learner

    @classmethod
    def of(cls, name: str, kept: bool = True, **changes: Any) -> Shared:
        rng = np.random.default_rng(0)
        truth = rng.integers(0, CLASSES, IMAGES)
        pixels = (rng.integers(0, 90, (IMAGES, 16, 16, 3)) + 40 * truth[:, None, None, None]).astype(np.uint8)
        recipe = {"backbone": name, "weights": "scratch", "device": "cpu", "batch": 8, "lr": 1e-3, "epochs": 6}
        source = DeviceImages(pixels, torch.from_numpy(pixels) if kept else None, SCALE, precision, CLASSES, CPU)
        return cls(classifier(name), source, truth, Learner(**{**recipe, **changes}))

    @property
    def example(self) -> torch.Tensor:
        """A few inputs, to check a pack on."""
        return SCALE(torch.from_numpy(self.source.pixels[:6]))

    def engine(self, places: int = 3, checked: int = 2, lanes: int = 1, alone: bool = False) -> Engine:
        """Make an engine: of packs, or of single models."""
        make = (
            unpacked(self.model, self.recipe)
            if alone
            else packed(self.model, places, checked, self.recipe, self.example)
        )
        return Engine([lane(make, self.source, self.recipe) for _ in range(lanes)])

    def fit(self, seed: int, count: int) -> Fit:
        """Return a fit of so many images, and 15 for validation."""
        rows = generator(seed, "rows").permutation(IMAGES)[: count + 15]
        parts = [(part, self.truth[part]) for part in (rows[:count], rows[count:])]
        state = dict(self.model.state_dict())
        return Fit(
            Course(count, self.recipe, generator(seed, "fit")),
            parts[0],
            parts[1],
            np.array([1.0, 2.0, 1.0, 0.5], np.float32),
            parameters_of(self.model).row(state),
            statistics_of(self.model).row(state),
        )

    def together(self, *specs: tuple[int, int], **how: Any) -> dict[tuple[int, int], Fit]:
        """Do fits (seed, count) at once, each asked for by a thread of its own."""
        engine = self.engine(**how)
        with ThreadPoolExecutor(len(specs)) as pool:
            done = list(pool.map(lambda spec: engine.fit(self.fit(*spec)), specs))
        engine.stop()
        return dict(zip(specs, done, strict=True))

    def single(self, seed: int, count: int) -> Trained:
        """Do the same fit by the path of a model alone."""
        fit, kept = self.fit(seed, count), {name: value.clone() for name, value in self.model.state_dict().items()}
        parts = [
            Part(torch.from_numpy(self.source.pixels[rows]), torch.from_numpy(labels))
            for rows, labels in (fit.fitting, fit.held)
        ]
        try:
            return train(self.model, SCALE, *parts, torch.from_numpy(fit.balance), fit.course)
        finally:
            self.model.load_state_dict(kept)
