"""The embeddings that learners without a backbone of their own stand on: people's own, or a frozen backbone's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Floats, Indices, Predictions
from labelwise.config import Study
from labelwise.data.dataset import Dataset
from labelwise.data.images import Progress
from labelwise.models.backbone import load_backbone
from labelwise.models.embeddings import LAYOUT, embed_dataset, seconds_to_embed
from labelwise.models.learner import Calibration, Preparation
from labelwise.threads import one_thread

CHUNK = 8_192
"""Rows converted to float32 at a time: bounds the memory of scoring a large pool."""


@dataclass(frozen=True)
class Frozen:
    """values: (N, D) of the whole data set; key: stands for what they depend on; used: what they are, in words."""

    values: Floats
    key: tuple[str, ...]
    used: dict[str, str]
    preparation: Preparation


def frozen(dataset: Dataset, study: Study, progress: Progress) -> Frozen:
    """Return a data set's own features, or embed its images (or take that from the cache). Errors: InputError."""
    versions = [version(package) for package in ("torch", "timm", "scikit-learn", "scipy")]
    if dataset.features is not None:
        said = f"none: {dataset.features.shape[1]:,} features of one's own, {dataset.features.dtype}"
        used = {"backbone": said, "device": "cpu"}
        return Frozen(dataset.features, (dataset.fingerprint, "own", *versions), used, Preparation())
    backbone = load_backbone(study.learner)
    embedded = embed_dataset(dataset.images, backbone, progress)
    count = len(dataset.images)
    share = len(dataset.test) / count
    return Frozen(
        embedded.values,
        (LAYOUT, dataset.images.way, dataset.fingerprint, backbone.fingerprint, str(backbone.device), *versions),
        {"backbone": backbone.name, "weights": backbone.weights, "device": str(backbone.device)},
        Preparation(embedded.seconds * (1 - share), embedded.seconds * share, count),
    )


def converted(features: Floats, indices: Indices, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Return `features[indices]` as float32 (n, D), in `out` if given: fresh memory costs more than the values.

    By PyTorch: the same bits as NumPy's conversion, from float16 several times as fast.
    """
    import torch

    taken = np.asarray(features[indices])
    result = np.empty(taken.shape, np.float32) if out is None else out[: len(taken)]
    torch.from_numpy(result).copy_(torch.from_numpy(taken))
    return result


def predicted(
    indices: Indices,
    probabilities: Callable[[Indices], Floats],
    dropped: Callable[[Indices, int], Floats] | None,
    embeddings: Floats | None,
) -> Predictions:
    """Predict in chunks of bounded memory, in one thread.

    probabilities: (n,) indices -> (n, K); dropped: indices and the place of the first -> (T, n, K), or None.
    """
    started, passes = time.perf_counter(), list[Floats]()
    chunks = [indices[start : start + CHUNK] for start in range(0, max(1, len(indices)), CHUNK)]
    with one_thread():
        probs = [probabilities(part) for part in chunks]
        if dropped is not None:
            passes = [dropped(part, i * CHUNK) for i, part in enumerate(chunks)]
    stochastic = np.concatenate(passes, axis=1) if passes else None
    return Predictions(indices, np.concatenate(probs), embeddings, stochastic, time.perf_counter() - started)


def random_rows(dataset: Dataset, study: Study, size: int) -> tuple[NDArray[np.float16], NDArray[np.int64], float]:
    """Return random features (size, D) with labels (size,), for timing, and the seconds that embedding will take."""
    if dataset.features is None:
        backbone = load_backbone(study.learner)
        width, once = backbone.features, seconds_to_embed(dataset.images, backbone)
    else:
        width, once = dataset.features.shape[1], 0.0
    rng = np.random.default_rng(0)
    labels = np.arange(size) % len(dataset.classes)
    centres = rng.standard_normal((len(dataset.classes), width))
    return (0.1 * centres[labels] + rng.standard_normal((size, width))).astype(np.float16), labels, once


def calibration(
    dataset: Dataset, features: int, once: float, fit: Callable[[int], float], score: Callable[[int], float]
) -> Calibration:
    """Return how fast a learner on frozen embeddings is. fit, score: seconds by labels and by images."""
    return Calibration(
        once=once, forward_once=len(dataset.images) if dataset.features is None else 0, fit=fit, score=score,
        forward=lambda _: 0, backward=lambda _: 0, forward_scored=0, features=features, frozen_embeddings=True,
    )  # fmt: skip


def timed(work: Callable[[], object], times: int = 1) -> float:
    """Return the least seconds of some calls."""
    found: Sequence[float] = [_seconds(work) for _ in range(times)]
    return min(found)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
