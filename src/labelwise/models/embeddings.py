"""Frozen embeddings: computed once an image and backbone, kept by the image's content, whatever data sets it is in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import nn

from labelwise.arrays import Indices
from labelwise.cache import Rows, cache_folder, cannot_write, keep_to_limit, passed_on
from labelwise.config import digest
from labelwise.data.images import SMALL, ImageSet, Progress
from labelwise.errors import InputError
from labelwise.models.backbone import Backbone
from labelwise.models.pixels import squares
from labelwise.models.rewrites import fold_batch_norm

LAYOUT = "4"
"""Part of the cache's key: changes when the way from an image to its embedding does."""
CHUNK = 1024
"""Images that are written at once: at most so many are embedded again after a kill."""


@dataclass(frozen=True)
class Embeddings:
    """values: (N, D) float16, mapped from disk; seconds: what computing all of them took, when it was done."""

    values: NDArray[np.float16]
    seconds: float


def embed_dataset(images: ImageSet, backbone: Backbone, progress: Progress) -> Embeddings:
    """Return the embeddings of every image, from the cache where image content, weights and preprocessing agree.

    Errors: InputError for an image that cannot be read any more, and a cache that cannot be written.
    """
    folder = embeddings_folder(cache_folder(), images, backbone)
    return passed_on(folder / _name(images), lambda: _kept(folder, images, backbone, progress))


def embeddings_folder(cache: Path, images: ImageSet, backbone: Backbone) -> Path:
    """Return the store of what such a backbone makes of such images, in the shared cache or a project's."""
    device = backbone.device
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    made_by = (backbone.fingerprint, str(input_size(images, backbone)), device.type, kind)
    return cache / "embeddings" / digest(LAYOUT, images.way, *made_by, version("torch"), version("timm"))


def _name(images: ImageSet) -> str:
    return digest(images.hashes.tobytes().hex())


def _kept(folder: Path, images: ImageSet, backbone: Backbone, progress: Progress) -> Embeddings:
    try:
        with Rows(folder, backbone.features) as store:
            with FileLock(store.lock("-" + _name(images))):  # a second process waits and finds everything done
                everything = np.arange(len(images))
                for done, total in embed_missing(store, images, everything, backbone):
                    progress("embedding images", done, total)
            rows, sound = store.find(images.hashes)
            if not sound.all():  # the disk does not keep what is written
                raise OSError("what was written to it is not what is read")
            kept = Embeddings(store.gather(rows), store.seconds(rows))
        keep_to_limit()
    except BrokenPipeError:  # from drawing the progress, not from the cache
        raise
    except OSError as error:
        raise InputError(cannot_write(error)) from None
    return kept


def embed_missing(store: Rows, images: ImageSet, indices: Indices, backbone: Backbone) -> Iterator[tuple[int, int]]:
    """Embed each image at `indices` that the store does not have; yield (done, of so many) after each chunk."""
    missing = missing_rows(store, images, indices)
    starts = range(0, len(missing.indices), CHUNK)
    chunks = [missing.indices[start : start + CHUNK] for start in starts]
    before = missing.different - len(missing.indices)
    computed = _compute.get()(images, backbone, chunks) if chunks else ()
    for start, chunk, (values, took) in zip(starts, chunks, computed, strict=True):
        store.put(images.hashes[chunk], values, took / len(chunk), missing.slots[start : start + CHUNK])
        yield before + start + len(chunk), missing.different


@dataclass(frozen=True)
class Missing:
    """What a store lacks of n images. sound: (n,) which it has; indices: (m,) of the others, the first of equal ones;

    slots: (m,) their damaged rows, or -1; different: how many of the n differ.
    """

    sound: NDArray[np.bool_]
    indices: Indices
    slots: Indices
    different: int


def missing_rows(store: Rows, images: ImageSet, indices: Indices) -> Missing:
    """Return what a store lacks of the images at `indices`."""
    hashes = images.hashes[indices]
    rows, sound = store.find(hashes)
    _, first = np.unique(hashes.view("V32").ravel(), return_index=True)
    first.sort()
    left = first[~sound[first]]
    return Missing(sound, indices[left], rows[left], len(first))


def _embed_here(
    images: ImageSet, backbone: Backbone, chunks: list[Indices]
) -> Iterator[tuple[NDArray[np.float16], float]]:
    module = scoring_module(backbone, input_size(images, backbone)[0])
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


def kept_embeddings(images: ImageSet, backbone: Backbone) -> NDArray[np.float16] | None:
    """Return the (N, D) embeddings of every image if all are in the cache, mapped from disk; compute nothing."""
    with Rows(embeddings_folder(cache_folder(), images, backbone), backbone.features, write=False) as store:
        rows, sound = store.find(images.hashes)
        return store.gather(rows) if sound.all() else None


def seconds_to_embed(images: ImageSet, backbone: Backbone) -> float:
    """Estimate the seconds that `embed_dataset` would still take, by embedding a few images."""
    with Rows(embeddings_folder(cache_folder(), images, backbone), backbone.features, write=False) as store:
        missing = missing_rows(store, images, np.arange(len(images))).indices
    if not len(missing):
        return 0.0
    batch = batch_size(backbone)
    few = missing[np.linspace(0, len(missing) - 1, min(max(128, batch), len(missing))).astype(np.int64)]
    module = scoring_module(backbone, input_size(images, backbone)[0])
    embed(images, few[:batch], backbone, module)  # the first batch is slower
    started = time.perf_counter()
    embed(images, few, backbone, module)
    filled, left = (-(-count // batch) for count in (len(few), len(missing)))  # batches: each takes the same
    return (time.perf_counter() - started) / filled * left


def scoring_module(backbone: Backbone, size: int) -> nn.Module:
    """Return the backbone with its batch-norms folded. Whether that is exact is checked on images of our own, of `size`

    pixels: it must not depend on what is embedded.
    """
    coarse = np.frombuffer(np.random.PCG64(0).random_raw(96).tobytes(), np.uint8).reshape(4, 3, 8, 8)
    smooth = nn.functional.interpolate(torch.tensor(coarse).float(), size=(size, size), mode="bilinear")
    return fold_batch_norm(backbone.module, _normalised(smooth.to(backbone.device), backbone))


def input_size(images: ImageSet, backbone: Backbone) -> tuple[int, float]:
    """Return (side in pixels, crop): small images are upsampled to 128 where it fits, others take the backbone's."""
    if images.small:
        return (backbone.size if backbone.fixed_size else SMALL), 1.0
    return backbone.size, backbone.crop


def batch_size(backbone: Backbone) -> int:
    """Return how many images are embedded at once: on a CPU, what fits its cache."""
    return 32 if backbone.device.type == "cpu" else 512


def embed(
    images: ImageSet, indices: Indices, backbone: Backbone, module: nn.Module, batch: int = 0
) -> NDArray[np.float16]:
    """Embed the images at `indices`: (n, D) float16. batch: 0 for `batch_size`, on which the last bits depend."""
    size, crop = input_size(images, backbone)
    batch = batch or batch_size(backbone)
    parts = []
    for start in range(0, len(indices), batch):
        pixels = squares(images, indices[start : start + batch], size, crop, backbone.device)
        parts.append(embed_batch(pixels, backbone, module, batch))
    return np.concatenate(parts) if parts else np.empty((0, backbone.features), np.float16)


def embed_readable(
    images: ImageSet, indices: Indices, backbone: Backbone, module: nn.Module
) -> tuple[NDArray[np.bool_], NDArray[np.float16]]:
    """Embed those of the encoded images at `indices` that can be read at present: (n,) bool which, (m, D) float16."""
    size, crop = input_size(images, backbone)
    batch = batch_size(backbone)
    there, parts = [], []
    for start in range(0, len(indices), batch):
        found, pixels = images.readable_squares(indices[start : start + batch], size, crop)
        there.append(found)
        on_device = torch.from_numpy(pixels).to(backbone.device).permute(0, 3, 1, 2)
        parts.append(embed_batch(on_device, backbone, module, batch))
    return np.concatenate(there), np.concatenate(parts)


def embed_batch(pixels: torch.Tensor, backbone: Backbone, module: nn.Module, batch: int) -> NDArray[np.float16]:
    """Embed (n, 3, S, S) pixels in 0..255, n at most `batch`: (n, D) float16.

    The batch is filled up, since libraries choose their way by its size: an image's bits depend on nothing beside it.
    """
    filled = torch.zeros((batch, *pixels.shape[1:]), device=backbone.device).to(memory_format=torch.channels_last)
    filled[: len(pixels)] = pixels
    with torch.inference_mode():
        values: NDArray[np.float16] = module(_normalised(filled, backbone)).half().cpu().numpy()[: len(pixels)]
    if not np.isfinite(values).all():
        raise InputError(f"learner.backbone: {backbone.name} gives embeddings beyond float16; choose another backbone")
    return values


def _normalised(pixels: torch.Tensor, backbone: Backbone) -> torch.Tensor:
    """Turn (n, 3, H, W) pixels in 0..255 into the backbone's own scale."""
    scale = torch.tensor(backbone.std, device=backbone.device).view(3, 1, 1) * 255
    shift = torch.tensor(backbone.mean, device=backbone.device).view(3, 1, 1) * 255
    return pixels.float().sub_(shift).div_(scale)
