"""Frozen embeddings of a whole data set: computed once, kept by content, resumed when they were interrupted."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import nn

from labelwise.arrays import Indices
from labelwise.cache import cache_folder, cannot_write, passed_on
from labelwise.config import digest
from labelwise.data.images import SMALL, ImageSet, Progress
from labelwise.errors import InputError
from labelwise.models.backbone import Backbone
from labelwise.models.pixels import squares
from labelwise.models.rewrites import fold_batch_norm

LAYOUT = "3"
"""Part of the cache's key: changes when the way from an image to its embedding does."""
CHUNK = 1024
"""Images between two marks of progress on disk: at most so many are embedded again after a kill."""


@dataclass(frozen=True)
class Embeddings:
    """values: (N, D) float16, mapped from disk; seconds: what computing all of them took, when it was done."""

    values: NDArray[np.float16]
    seconds: float


def embed_dataset(images: ImageSet, backbone: Backbone, progress: Progress) -> Embeddings:
    """Return the embeddings of every image, from the cache where image content, weights and preprocessing agree."""
    folder = _folder(images, backbone)
    return passed_on(folder, lambda: _kept(folder, images, backbone, progress))


def _kept(folder: Path, images: ImageSet, backbone: Backbone, progress: Progress) -> Embeddings:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # a second process waits and finds everything done
            return resume(folder, images, backbone, progress)
    except BrokenPipeError:  # from drawing the progress, not from the cache
        raise
    except OSError as error:
        raise InputError(cannot_write(error)) from None


def resume(folder: Path, images: ImageSet, backbone: Backbone, progress: Progress, chunk: int = 0) -> Embeddings:
    """Embed what is not embedded yet; each chunk is on disk before it is marked as done. chunk: images, or 0: CHUNK.

    Values are appended, never mapped for writing: on a full disk a mapped file kills Python.
    """
    chunk = chunk or CHUNK
    mark, path = folder / "meta.json", folder / "values.f16"
    done, seconds = _done(mark, path, 2 * backbone.features)
    if done < len(images):
        chunks = [np.arange(start, min(start + chunk, len(images))) for start in range(done, len(images), chunk)]
        with path.open("r+b" if done else "wb") as file:
            file.truncate(2 * backbone.features * done)  # what was written but not marked
            file.seek(0, os.SEEK_END)
            for part, (values, took) in zip(chunks, _compute.get()(images, backbone, chunks), strict=True):
                file.write(values.astype("<f2").tobytes())
                file.flush()
                os.fsync(file.fileno())
                done, seconds = int(part[-1]) + 1, seconds + took
                _replace(mark, json.dumps({"done": done, "seconds": seconds}))
                progress("embedding images", done, len(images))
    return Embeddings(np.memmap(path, "<f2", "r", shape=(len(images), backbone.features)), seconds)


def _embed_here(
    images: ImageSet, backbone: Backbone, chunks: list[Indices]
) -> Iterator[tuple[NDArray[np.float16], float]]:
    module = scoring_module(images, backbone)
    for chunk in chunks:
        started = time.perf_counter()
        yield embed(images, chunk, backbone, module), time.perf_counter() - started


Compute = Callable[[ImageSet, Backbone, list[Indices]], Iterator[tuple[NDArray[np.float16], float]]]
"""Yields each chunk's embeddings (n, D) and the seconds of computing them, in order."""
_compute: ContextVar[Compute] = ContextVar("_compute", default=_embed_here)


@contextmanager
def embedding_by(compute: Compute) -> Iterator[None]:
    """Have chunks computed elsewhere, as on a cluster; what is on disk, and in which order, stays the same."""
    before = _compute.set(compute)
    try:
        yield
    finally:
        _compute.reset(before)


def _done(mark: Path, path: Path, row_bytes: int) -> tuple[int, float]:
    """Return how many images are embedded and what that took; a damaged entry counts as none."""
    try:
        state = json.loads(mark.read_text())
        whole = path.stat().st_size >= row_bytes * state["done"]
        return (int(state["done"]), float(state["seconds"])) if whole else (0, 0.0)
    except (OSError, ValueError, KeyError, TypeError):
        return 0, 0.0


def _folder(images: ImageSet, backbone: Backbone) -> Path:
    """Return the cache entry: the same images, weights, preprocessing and kind of device have the same one."""
    parts = (images.fingerprint, str(len(images)), backbone.fingerprint, str(input_size(images, backbone)), images.way)
    return cache_folder() / "embeddings" / digest(LAYOUT, *parts, backbone.device.type)


def kept_embeddings(images: ImageSet, backbone: Backbone) -> NDArray[np.float16] | None:
    """Return the (N, D) embeddings of every image if all are in the cache, mapped from disk; compute nothing."""
    folder = _folder(images, backbone)
    if _done(folder / "meta.json", folder / "values.f16", 2 * backbone.features)[0] < len(images):
        return None
    return np.memmap(folder / "values.f16", "<f2", "r", shape=(len(images), backbone.features))


def seconds_to_embed(images: ImageSet, backbone: Backbone) -> float:
    """Estimate the seconds that `embed_dataset` would still take, by embedding a few images."""
    folder = _folder(images, backbone)
    left = len(images) - _done(folder / "meta.json", folder / "values.f16", 2 * backbone.features)[0]
    if not left:
        return 0.0
    few = np.linspace(0, len(images) - 1, min(128, len(images))).astype(np.int64)
    module = scoring_module(images, backbone)
    embed(images, few[:32], backbone, module)  # the first batch is slower
    started = time.perf_counter()
    embed(images, few, backbone, module)
    return (time.perf_counter() - started) / len(few) * left


def scoring_module(images: ImageSet, backbone: Backbone) -> nn.Module:
    """Return the backbone with its batch-norms folded, checked on the first images."""
    sample = squares(images, np.arange(min(4, len(images))), *input_size(images, backbone), backbone.device)
    return fold_batch_norm(backbone.module, _normalised(sample, backbone))


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def input_size(images: ImageSet, backbone: Backbone) -> tuple[int, float]:
    """Return (side in pixels, crop): small images are upsampled to 128 where it fits, others take the backbone's."""
    if images.small:
        return (backbone.size if backbone.fixed_size else SMALL), 1.0
    return backbone.size, backbone.crop


def embed(images: ImageSet, indices: Indices, backbone: Backbone, module: nn.Module) -> NDArray[np.float16]:
    """Embed the images at `indices`, in batches that fit the processor's cache: (n, D) float16."""
    size, crop = input_size(images, backbone)
    batch = 32 if backbone.device.type == "cpu" else 512
    parts = []
    with torch.inference_mode():
        for start in range(0, len(indices), batch):
            pixels = squares(images, indices[start : start + batch], size, crop, backbone.device)
            parts.append(module(_normalised(pixels, backbone)).half().cpu().numpy())
    values = np.concatenate(parts)
    if not np.isfinite(values).all():
        raise InputError(f"learner.backbone: {backbone.name} gives embeddings beyond float16; choose another backbone")
    return values


def _normalised(pixels: torch.Tensor, backbone: Backbone) -> torch.Tensor:
    """Turn (n, 3, H, W) pixels in 0..255 into the backbone's own scale."""
    scale = torch.tensor(backbone.std, device=backbone.device).view(3, 1, 1) * 255
    shift = torch.tensor(backbone.mean, device=backbone.device).view(3, 1, 1) * 255
    return pixels.float().sub_(shift).div_(scale)
