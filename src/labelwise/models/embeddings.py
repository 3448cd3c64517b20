"""Frozen embeddings of a whole data set: computed once, kept by content, resumed when they were interrupted."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from labelwise.arrays import Indices
from labelwise.cache import cache_folder
from labelwise.config import digest
from labelwise.data.images import SMALL, ImageSet, Progress
from labelwise.errors import InputError
from labelwise.models.backbone import Backbone

LAYOUT = "1"
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
    size, crop = input_size(images, backbone)
    key = digest(LAYOUT, images.fingerprint, str(len(images)), backbone.fingerprint, f"{size} {crop}",
                 backbone.device.type)  # fmt: skip
    folder = cache_folder() / "embeddings" / key
    mark, path = folder / "meta.json", folder / "values.npy"
    folder.mkdir(parents=True, exist_ok=True)
    state = json.loads(mark.read_text()) if mark.exists() and path.exists() else {"done": 0, "seconds": 0.0}
    if state["done"] < len(images):
        shape = (len(images), backbone.features)
        values = np.lib.format.open_memmap(
            path, mode="r+" if state["done"] else "w+", dtype=np.float16, shape=None if state["done"] else shape
        )
        folded = fold_batch_norm(backbone.module)
        while state["done"] < len(images):
            chunk = np.arange(state["done"], min(state["done"] + CHUNK, len(images)))
            started = time.perf_counter()
            values[chunk[0] : chunk[-1] + 1] = embed(images, chunk, backbone, folded)
            values.flush()
            state = {"done": int(chunk[-1]) + 1, "seconds": state["seconds"] + time.perf_counter() - started}
            _replace(mark, json.dumps(state))
            progress("embedding images", state["done"], len(images))
    return Embeddings(np.load(path, mmap_mode="r"), state["seconds"])


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def input_size(images: ImageSet, backbone: Backbone) -> tuple[int, float]:
    """Return (side in pixels, crop): small images are upsampled to 128, others go to the backbone's own size."""
    return (SMALL, 1.0) if images.small else (backbone.size, backbone.crop)


def embed(images: ImageSet, indices: Indices, backbone: Backbone, module: nn.Module) -> NDArray[np.float16]:
    """Embed the images at `indices`, in batches that fit the processor's cache: (n, D) float16."""
    size, crop = input_size(images, backbone)
    scale = torch.tensor(backbone.std, device=backbone.device).view(3, 1, 1) * 255
    shift = torch.tensor(backbone.mean, device=backbone.device).view(3, 1, 1) * 255
    batch = 32 if backbone.device.type == "cpu" else 512
    parts = []
    with torch.inference_mode():
        for start in range(0, len(indices), batch):
            pixels = _batch(images, indices[start : start + batch], size, crop, backbone.device)
            parts.append(module(pixels.float().sub_(shift).div_(scale)).half().cpu().numpy())
    values = np.concatenate(parts)
    if not np.isfinite(values).all():
        raise InputError(f"learner.backbone: {backbone.name} gives embeddings beyond float16; choose another backbone")
    return values


def _batch(images: ImageSet, indices: Indices, size: int, crop: float, device: torch.device) -> torch.Tensor:
    """Return (n, 3, size, size) uint8, channels-last."""
    if images.pixels is None:
        return torch.from_numpy(images.squares(indices, size, crop)).to(device).permute(0, 3, 1, 2)
    pixels = torch.from_numpy(images.pixels[indices]).to(device).permute(0, 3, 1, 2)
    height, width = pixels.shape[2:]
    if not images.small:  # as for decoded images: the shorter side to size / crop, then the centre
        size, outer = round(size / crop), size
    else:
        outer = size
    shape = (round(height * size / min(height, width)), round(width * size / min(height, width)))
    if device.type == "cpu":
        pixels = nn.functional.interpolate(pixels, size=shape, mode="bicubic", antialias=True)
    else:  # uint8 interpolation exists on the CPU alone; rounding gives the same values
        smooth = nn.functional.interpolate(pixels.float(), size=shape, mode="bicubic", antialias=True)
        pixels = smooth.round_().clamp_(0, 255)
    top, left = (shape[0] - outer) // 2, (shape[1] - outer) // 2
    return pixels[:, :, top : top + outer, left : left + outer]


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """Return a copy for scoring with each batch-norm folded into the convolution before it (equal to rounding)."""
    from timm.layers import BatchNormAct2d
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    module = copy.deepcopy(module)

    def fold(parent: nn.Module) -> None:
        children = list(parent.named_children())
        for (first, conv), (second, norm) in zip(children, children[1:], strict=False):
            if type(conv) is nn.Conv2d or _is_same_padded(conv):
                if isinstance(norm, BatchNormAct2d):
                    setattr(parent, first, fuse_conv_bn_eval(conv, norm))
                    setattr(parent, second, nn.Sequential(norm.drop, norm.act))
                elif type(norm) is nn.BatchNorm2d:
                    setattr(parent, first, fuse_conv_bn_eval(conv, norm))
                    setattr(parent, second, nn.Identity())
        for child in parent.children():
            fold(child)

    fold(module)
    return module.to(memory_format=torch.channels_last)


def _is_same_padded(module: nn.Module) -> bool:
    from timm.layers import Conv2dSame

    return isinstance(module, Conv2dSame)
