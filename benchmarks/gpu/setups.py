"""What is measured: sizes, random models and images, fits, packs and engines as the product makes them."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.gpu.bench import Bench
from labelwise.config import Learner
from labelwise.models import scoring
from labelwise.models.augment import Scale
from labelwise.models.classifier import Classifier
from labelwise.models.course import Course
from labelwise.models.depthwise import Way, way_for
from labelwise.models.engine import Engine, Fit
from labelwise.models.layout import parameters_of, statistics_of
from labelwise.models.packed import Pack
from labelwise.models.places import DeviceImages, Trainer
from labelwise.models.sharing import Models, lane, packed, unpacked
from labelwise.models.training import precision
from labelwise.seeds import generator

CLASSES, LR = 10, 1e-3
FOREVER = 10_000  # validations without a lower loss: every fit makes all its epochs
MEAN, STD = 0.45, 0.25


@dataclass(frozen=True)
class Sizes:
    """How large everything is. count: models in a pack by default; packs: all that are timed; lanes: at once.

    others: the convolutional network that is packed, and the transformer that is not, with its options; whole: labels
    of the fits that an engine is given, and their epochs; large: side, images and packs of the larger images; steps:
    those that are asked for at once, as an engine does; scored: images at once; patience: a part is broken off after
    so many times the seconds that it is expected to take.
    """

    device: str
    backbone: str
    checked: tuple[str, ...]
    others: tuple[str, str]
    options: dict[str, int]
    side: int = 32
    batch: int = 32
    pool: int = 50_000
    count: int = 32
    packs: tuple[int, ...] = (32, 16, 48, 8)
    lanes: int = 2
    singles: int = 16
    whole: tuple[int, int, int] = (500, 1500, 6)
    fit: tuple[int, int, int] = (100, 30, 9)
    large: tuple[int, int, tuple[int, ...]] = (224, 2000, (32, 16, 8, 4))
    passes: int = 10
    steps: int = 12
    scored: int = scoring.BATCH
    patience: float = 3.0
    study: tuple[int, int, int, int, int] = (10_000, 2_000, 500, 24, 12)  # pool, test, labels, seeds, epochs
    seconds: float = 1.0


FULL = Sizes(
    "cuda",
    "efficientnet_b0",
    ("tf_efficientnet_lite0", "efficientnet_b0", "mobilenetv3_small_100", "resnet18", "convnext_atto"),
    ("resnet18", "vit_tiny_patch16_224"),
    {"img_size": 32, "patch_size": 4},
)
TINY = Sizes(
    "cpu",
    "test_efficientnet",
    ("test_efficientnet", "test_resnet"),
    ("test_resnet", "test_vit"),
    {"img_size": 16, "patch_size": 4},
    side=16,
    batch=8,
    pool=300,
    count=3,
    packs=(3, 2),
    singles=2,
    whole=(20, 40, 1),
    fit=(20, 10, 8),
    large=(24, 20, (2,)),
    passes=2,
    steps=2,
    scored=64,
    patience=100.0,
    study=(150, 50, 40, 2, 2),
    seconds=0.02,
)


@lru_cache(maxsize=2)
def random_images(count: int, side: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images (N, side, side, 3) of CLASSES patterns with noise over them, and their classes (N,)."""
    rng = np.random.default_rng(seed)
    patterns = rng.integers(0, 128, (CLASSES, side, side, 3), dtype=np.uint8)
    labels = rng.integers(0, CLASSES, count)
    images = rng.integers(0, 128, (count, side, side, 3), dtype=np.uint8)
    images += patterns[labels]
    return images, labels


def random_model(name: str, side: int, **options: int) -> tuple[nn.Module, int]:
    """Return a timm model without its last layer, and the width of its embeddings. Random weights: no download."""
    torch.manual_seed(0)
    model: Any = timm.create_model(name, num_classes=0, **options)
    with torch.inference_mode():
        return model, int(model.eval()(torch.zeros(1, 3, side, side)).shape[1])


@dataclass(frozen=True)
class Setup:
    """A model and the images that it is trained on. model: a Classifier on the device; labels: (N,)."""

    model: Any
    source: DeviceImages
    recipe: Learner
    labels: NDArray[np.int64]

    @cached_property
    def rows(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The initial weights and statistics that every fit begins with, on the CPU."""
        state = {name: value.cpu() for name, value in self.model.state_dict().items()}
        return parameters_of(self.model).row(state), statistics_of(self.model).row(state)

    @property
    def example(self) -> torch.Tensor:
        """A few images to check a pack on."""
        return self.source.scale(torch.from_numpy(self.source.pixels[:8]).to(self.source.device))

    def course(self, count: int, epochs: int, seed: int) -> Course:
        """Return the course of a fit of so many images."""
        return Course(count, self.recipe.model_copy(update={"epochs": epochs}), generator(seed, "fit"))

    def fit(self, count: int, held: int, epochs: int, seed: int) -> Fit:
        """Return a fit of `count` images of the pool, drawn by the seed, and `held` others to validate on."""
        drawn = np.random.default_rng(seed).choice(len(self.labels), count + held, replace=False)
        parts = [(rows, self.labels[rows]) for rows in (drawn[:count], drawn[count:])]
        weights, statistics = (row.clone() for row in self.rows)
        course = self.course(count, epochs, seed)
        return Fit(course, parts[0], parts[1], np.ones(CLASSES, np.float32), weights, statistics)


def setup(
    bench: Bench,
    name: str = "",
    side: int = 0,
    pool: int = 0,
    resident: bool = True,
    options: dict[str, int] | None = None,
    device: torch.device | None = None,
) -> Setup:
    """Return a model with random weights and a pool of images, in the device's memory where they are `resident`."""
    sizes, device = bench.sizes, device or bench.device
    side = side or sizes.side
    module, features = random_model(name or sizes.backbone, side, **(options or {}))
    model = Classifier(module, features, CLASSES).to(device).to(memory_format=torch.channels_last)
    pixels, labels = random_images(pool or sizes.pool, side)
    kept = torch.from_numpy(pixels).to(device) if resident else None
    scale = Scale(torch.full((3,), 1 / (255 * STD), device=device), torch.full((3,), -MEAN / STD, device=device))
    source = DeviceImages(pixels, kept, scale, precision, CLASSES, device)
    recipe = Learner.model_validate(
        {"backbone": name or sizes.backbone, "weights": "scratch", "lr": LR, "batch": sizes.batch, "patience": FOREVER}
    )
    return Setup(model, source, recipe, labels)


def in_float32(made: Setup) -> Setup:
    """Return the same setup, of a backbone that computes in float32 on a GPU too."""
    return replace(made, source=replace(made.source, precision=lambda _device: nullcontext()))


def packs(made: Setup, count: int, way: Way | None = None) -> Models:
    """Return what makes packs, checked, as the product does."""
    return packed(made.model, count, max(1, count // 4), made.recipe, made.example, way)


def engine(made: Setup, models: Models, lanes: int) -> Engine:
    """Return an engine with so many lanes."""
    return Engine([lane(models, made.source, made.recipe) for _ in range(lanes)])


def singles(made: Setup, lanes: int) -> Engine:
    """Return an engine of single models, a lane each."""
    return engine(made, unpacked(made.model, made.recipe, made.source.device), lanes)


def trained(made: Engine, fits: Iterable[Fit]) -> list[Fit]:
    """Have an engine do fits, all of them asked for at once."""
    asked = list(fits)
    with ThreadPoolExecutor(max(1, len(asked))) as pool:
        return list(pool.map(made.fit, asked))


def trainer(made: Setup, count: int, way: Way | None = None) -> Trainer:
    """Return a pack's trainer; packs are checked elsewhere."""
    pack = Pack(made.model, count, way or way_for(made.source.device), 3)
    for place in range(count):  # zeros would be faster than numbers
        pack.weights.write(
            place,
            torch.stack(
                [made.rows[0].to(made.source.device), *torch.zeros(2, len(made.rows[0]), device=made.source.device)]
            ),
        )
    return Trainer(pack, made.source, made.recipe)


def orders(made: Setup, count: int, steps: int, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return random draws of so many steps and their rates, as `Trainer.steps` takes them."""
    rng, batch = np.random.default_rng(seed), made.recipe.batch
    rows = rng.integers(0, len(made.labels), (steps, count, batch))
    top, left = rng.integers(0, 9, (2, steps, count, batch))
    flipped = rng.integers(0, 2, (steps, count, batch))
    rates = np.broadcast_to(np.array([LR, 1.0], np.float32), (steps, count, 2)).copy()
    return np.stack([rows, top, left, flipped, made.labels[rows]], axis=1), rates


def step_by_step(made: Engine) -> Engine:
    """Let an engine compute its steps one by one, as where they cannot be captured."""
    for one in made.lanes:
        for captured in (one.trainer._step, one.checker._collect, one.checker._score):
            if captured is not None:
                captured._graph = None
    return made
