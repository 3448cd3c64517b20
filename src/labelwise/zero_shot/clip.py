"""CLIP by transformers: class probabilities from images and the classes' names (Radford et al. 2021, section 3.1).

Image features are kept in the cache by the set of images that was asked for, a chunk at a time, so that what a batch
holds (and with it the last bits of a feature) never depends on what was asked before. The model is loaded only for
what is not in the cache.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from labelwise.arrays import Indices
from labelwise.cache import cache_folder, cached
from labelwise.config import digest
from labelwise.data.dataset import Dataset
from labelwise.data.images import ImageSet, Progress
from labelwise.errors import InputError
from labelwise.models.backbone import pick_device
from labelwise.models.pixels import squares
from labelwise.parts import ZeroShot
from labelwise.zero_shot import Guesses
from labelwise.zero_shot.prompts import SAID, TEMPLATES
from labelwise.zero_shot.weights import (
    HINT,
    OPENAI,
    check_activation,
    content_key,
    find_folder,
    quiet,
    read_config,
    short_name,
)

EXPECTED = {"simple": 0.887, "cifar10": 0.898}
"""Accuracy of OpenAI's ViT-B/32 on CIFAR-10's test set by prompts. A wrong activation gives about 0.85."""
BELOW = 0.015
"""How far below it may lie: JPEG copies of the images and rounding cost some tenths of a point."""
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
LAYOUT = "1"
"""Part of the cache's keys: changes when the way to a feature does."""
CHUNK = 1_024


@dataclass(frozen=True)
class Clip:
    """A CLIP model on a data set; see ZeroShotModel.

    folder: its files; names: what prompts call the classes; expected: its accuracy on the test set, where it is known.
    """

    folder: Path
    settings: ZeroShot
    names: tuple[str, ...]
    images: ImageSet
    device: torch.device
    title: str
    key: str
    content: str
    note: str
    missing: str = ""
    expected: float | None = None
    config: dict[str, Any] = field(default_factory=dict)

    def predict(self, indices: Indices, progress: Progress) -> Guesses:
        """Return class probabilities: softmax of scaled cosines between image and prompts. seconds: when computed."""
        text, seconds = self._text()
        parts = []
        for start in range(0, len(indices), CHUNK):
            features, spent = self._images(indices[start : start + CHUNK])
            parts.append(features)
            seconds += spent
            progress("labelling images zero-shot", min(start + CHUNK, len(indices)), len(indices))
        features = np.concatenate(parts)
        scale = np.exp(np.float64(text[-1, 0]))  # the last row holds the log of the scale
        return Guesses(indices, softmax(scale * (features @ text[:-1].T), axis=1), seconds)

    def pace(self, indices: Indices) -> float:
        """Return the seconds that an image takes here, loading the weights not counted."""
        some = indices[: 2 * self.settings.batch]
        _ = self._model
        started = time.perf_counter()
        self._embed_images(some)
        return (time.perf_counter() - started) / max(1, len(some))

    def known(self, accuracy: float) -> str:
        """Say what is known of the accuracy on the test set. Errors: InputError where it is too low for the weights."""
        if self.expected is None:
            return "No published accuracy is known for these weights, names and images, so that none was checked."
        if accuracy < self.expected - BELOW:
            raise InputError(
                f"zero_shot.weights: {self.title} is right on {accuracy:.1%} of CIFAR-10's test set and should be on "
                f"about {self.expected:.1%}: these are other weights, or the wrong activation"
            )
        return f"Right on {accuracy:.1%} of the test set, where about {self.expected:.1%} is known of these weights."

    def _text(self) -> tuple[NDArray[np.float32], float]:
        """Return (K + 1, D): a unit vector a class, and the log of the scale; and the seconds of it."""
        return self._kept(digest("text", self.settings.prompts, *self.names), self._embed_text)

    def _images(self, indices: Indices) -> tuple[NDArray[np.float32], float]:
        """Return unit image features (n, D) and the seconds of them."""
        key = digest("images", self.images.way, self.images.hashes[indices].tobytes().hex())
        return self._kept(key, lambda: self._embed_images(indices))

    def _kept(self, what: str, make: Any) -> tuple[NDArray[np.float32], float]:
        folder = (
            cache_folder() / "clip" / digest(LAYOUT, self.content, what, self.device.type, str(self.settings.batch))
        )

        def build(target: Path) -> None:
            _ = self._model  # loading it is no part of the time
            started = time.perf_counter()
            np.save(target / "features.npy", make())
            (target / "seconds.json").write_text(json.dumps(time.perf_counter() - started))

        def load(entry: Path) -> tuple[NDArray[np.float32], float]:
            return np.load(entry / "features.npy"), float(json.loads((entry / "seconds.json").read_text()))

        return cached(folder, build, load)

    @cached_property
    def _model(self) -> Any:
        from transformers import CLIPModel

        with quiet():
            model, found = CLIPModel.from_pretrained(
                self.folder, local_files_only=True, output_loading_info=True, dtype=torch.float32
            )
        if found["missing_keys"] or found["mismatched_keys"]:
            raise InputError(f"zero_shot.weights: {self.folder} does not hold all weights of a CLIP model; {HINT}")
        return model.eval().to(self.device)

    def _embed_images(self, indices: Indices) -> NDArray[np.float32]:
        config, model, parts = self.config, self._model, []
        scale = torch.tensor(config["std"], device=self.device).view(3, 1, 1) * 255
        shift = torch.tensor(config["mean"], device=self.device).view(3, 1, 1) * 255
        with torch.inference_mode():
            for start in range(0, len(indices), self.settings.batch):
                some = indices[start : start + self.settings.batch]
                pixels = squares(self.images, some, config["size"], 1.0, self.device).float().sub(shift).div(scale)
                pooled = model.vision_model(pixel_values=pixels.contiguous()).pooler_output
                parts.append(_unit(model.visual_projection(pooled)).cpu().numpy())
        return np.concatenate(parts).astype(np.float32)

    def _embed_text(self) -> NDArray[np.float32]:
        from transformers import CLIPTokenizer

        model, rows = self._model, []
        with quiet():
            tokenizer = CLIPTokenizer.from_pretrained(self.folder, local_files_only=True)
        longest = model.config.text_config.max_position_embeddings
        with torch.inference_mode():
            for name in self.names:
                texts = [template.format(name) for template in TEMPLATES[self.settings.prompts]]
                tokens = tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
                pooled = model.text_model(**{k: v.to(self.device) for k, v in tokens.items()}).pooler_output
                rows.append(_unit(_unit(model.text_projection(pooled)).mean(dim=0)).cpu().numpy())
            scale = float(model.logit_scale)
        return np.vstack([*rows, np.full(rows[0].shape, scale)]).astype(np.float32)


def open_model(settings: ZeroShot, dataset: Dataset, device: str, _skipped: bool) -> Clip:
    """Find CLIP's files, check its activation, and its accuracy where it is known. Errors: InputError."""
    if not dataset.images.there:
        raise InputError(
            f"zero_shot.model: clip looks at images, and {dataset.source} holds features without images; give "
            "file:PATH of class probabilities"
        )
    try:
        import transformers  # noqa: F401
    except ImportError:
        raise InputError(
            "zero_shot.model: clip needs transformers; install it with: pip install 'labelwise[clip]'"
        ) from None
    names = settings.classes or dataset.classes
    if len(names) != len(dataset.classes):
        raise InputError(f"zero_shot.classes: {len(names)} names for the {len(dataset.classes)} classes of the data")
    folder = find_folder(settings.weights)
    content, config = content_key(folder), read_config(folder)
    activation = check_activation(config, settings.weights)
    chosen = pick_device(device)
    return Clip(
        folder, settings, tuple(names), dataset.images, chosen,
        f"CLIP ({short_name(settings.weights)}, {SAID[settings.prompts]})",
        digest(LAYOUT, content, settings.prompts, *names, chosen.type, str(settings.batch)), content,
        f"Its activation is {activation}.", expected=_expected(settings, folder, dataset), config=config,
    )  # fmt: skip


def _expected(settings: ZeroShot, folder: Path, dataset: Dataset) -> float | None:
    """Return the known test accuracy: of OpenAI's ViT-B/32, CIFAR-10's test set and its own class names alone."""
    ours = OPENAI in settings.weights or OPENAI in str(folder)
    names_fit = dataset.classes == CIFAR10 and settings.classes in ((), CIFAR10)
    return EXPECTED[settings.prompts] if ours and names_fit and len(dataset.test) == 10_000 else None


def _unit(values: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(values, dim=-1)
