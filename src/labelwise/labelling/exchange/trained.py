"""A probe on a frozen backbone, apart from the images it was trained on: what is exported, and what predicts."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from labelwise.arrays import Floats, Indices, Labels, softmax
from labelwise.config import Learner, digest
from labelwise.data.decode import AwayError, decode
from labelwise.data.images import ImageSet, Progress
from labelwise.data.inspection import Inspection, from_blobs
from labelwise.errors import InputError
from labelwise.labelling.decoding import MAX_PIXELS
from labelwise.labelling.folder import not_used, read_inside, scan
from labelwise.labelling.snapshot import Snapshot
from labelwise.labelling.training import PENALTY
from labelwise.models.backbone import Backbone
from labelwise.models.embeddings import embed, embed_dataset, input_size, scoring_module
from labelwise.models.frozen import CHUNK
from labelwise.models.learner import Preparation
from labelwise.models.probe import FittedProbe, Probe, pool_statistics
from labelwise.threads import one_thread

OPEN_THE_PAGE = "open the page (labelwise label), which reads and embeds them, until that is done"


@dataclass(frozen=True)
class Trained:
    """classes: K names; weights: (D, K), bias: (K,) float32, on raw embeddings; small: images are brought to 128 pixels

    without a crop, as a project of small images is; labels: how many it was trained on; name: what to call it; bits: by
    which pixels of more than 8 are scaled, resize: how images become squares, both as in its training images.
    """

    backbone: Backbone
    learner: Learner
    classes: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    small: bool
    labels: int
    name: str
    bits: int = 0
    resize: str = "crop"

    @property
    def input(self) -> tuple[int, float]:
        """Return the side of the backbone's input in pixels, and the share of the shorter side that the crop keeps."""
        return input_size(ImageSet([], "", self.small, None, None, 0), self.backbone)

    def probs(self, features: NDArray[np.float16]) -> NDArray[np.float32]:
        """Return (n, K) probabilities for (n, D) embeddings, as the fitted probe does."""
        with one_thread():
            parts = [
                softmax(features[start : start + CHUNK].astype(np.float32) @ self.weights + self.bias)
                for start in range(0, max(1, len(features)), CHUNK)
            ]
        return np.concatenate(parts)

    def predict(self, images: ImageSet, progress: Progress) -> NDArray[np.float32]:
        """Return (N, K) probabilities of all images, embedded once and kept in the cache."""
        return self.probs(embed_dataset(self.as_trained(images), self.backbone, progress).values)

    def as_trained(self, images: ImageSet) -> ImageSet:
        """Return the images to be resized by Pillow, whatever their sizes, in the way of the training images.

        The same picture has the same embedding in every folder.
        """
        return replace(images, small=self.small, pixels=None, bits=self.bits, resize=self.resize)


class Single:
    """Predicts pictures one by one, as they come. Not for several threads at once."""

    def __init__(self, trained: Trained) -> None:
        self.trained = trained
        self.module: nn.Module | None = None

    def predict(self, blob: bytes) -> NDArray[np.float32]:
        """Return (K,) probabilities. Errors: UnreadableImageError."""
        # an image set's own errors tell of files that were readable before
        decode(blob, MAX_PIXELS, self.trained.bits)
        images = self.trained.as_trained(ImageSet(["it"], "", False, None, lambda _: blob, MAX_PIXELS))
        if self.module is None:
            self.module = scoring_module(self.trained.backbone, self.trained.input[0])
        features = embed(images, np.zeros(1, np.int64), self.trained.backbone, self.module, batch=1)
        row: NDArray[np.float32] = self.trained.probs(features)[0]
        return row


def folder_images(root: Path, progress: Progress, bits: int | None = None) -> tuple[ImageSet, Inspection, list[str]]:
    """Return a folder's readable images, what was found, and notes on what is left out. Errors: InputError for none.

    bits: by which pixels of more than 8 are scaled, None where these images themselves tell it.
    """
    if not root.is_dir():
        raise InputError(f"{root} is no folder; give the folder that holds the images")
    listed = scan(root)
    found = [f for f in listed.images if not f.problem]

    def blob(index: int) -> bytes:
        try:
            return read_inside(root, found[index].path)
        except AwayError as error:  # tried again the next time
            raise OSError(str(error).removeprefix("unreadable: ")) from None

    if not found:
        raise InputError(f"{root} holds no images (JPEG, PNG, WebP, BMP, GIF, TIFF, PPM), nor do its folders")
    stamps = (f"{f.path}:{f.bytes}:{f.mtime_ns}:{f.ctime_ns}" for f in found)
    key = digest(str(root.resolve()), *stamps)
    images, seen = from_blobs(blob, [f.path for f in found], key, MAX_PIXELS, progress, bits=bits)
    left_out = [f"{f.path} ({f.problem})" for f in listed.images if f.problem]
    left_out += [f"{found[i].path} ({why})" for i, why in sorted(seen.unreadable.items())]
    if not len(images):
        raise InputError(f"{root}: no image can be read: {'; '.join(left_out[:3])}")
    return images, seen, [*([left_out_note(left_out)] if left_out else []), *not_used(listed)]


def fit(features: Floats, usable: Indices, indices: Indices, labels: Labels, classes: int, seed: int) -> FittedProbe:
    """Fit the probe on labelled rows, as the page's training does.

    features: (N, D); usable: rows whose mean and deviation standardise; indices: (L,) sorted; labels: (L,) 0..K-1.
    """
    mean, scale = pool_statistics(features, usable)
    probe = Probe(features, mean, scale, classes, "", {}, Preparation())
    return probe.fit(indices, labels, "none", seed, {"penalty": PENALTY})


def training_labels(snapshot: Snapshot) -> tuple[Indices, Labels]:
    """Return the rows (id - 1) and classes 0..K-1 of the labels on the training side, by row.

    Errors: InputError where these are of fewer than two classes, or of images that nobody has read yet.
    """
    numbers = {klass: k for k, klass in enumerate(snapshot.board.classes)}
    unread = sum(image.status == "new" and image.id in snapshot.board.labels for image in snapshot.images)
    if unread:
        raise InputError(f"{unread:,} labelled images are not read yet; {OPEN_THE_PAGE}")
    usable = {image.id for image in snapshot.images if image.status == "ok" and snapshot.side(image.id) == "train"}
    given = sorted((i, numbers[klass]) for i, klass in snapshot.board.labels.items() if i in usable)
    if len({k for _, k in given}) < 2:
        raise InputError(
            f"a model needs training labels of two classes at least; there are {len(given)} of "
            f"{len({k for _, k in given})} beside the test slice: label more first"
        )
    return np.array([i - 1 for i, _ in given], np.int64), np.array([k for _, k in given], np.int64)


def whole(trained: Trained) -> nn.Module:
    """Return one module from pixels to probabilities: (n, 3, S, S) float32 RGB in 0..255 -> (n, K)."""
    backbone = copy.deepcopy(trained.backbone.module).to("cpu").eval()
    return _Whole(backbone, trained.backbone, trained.weights, trained.bias).eval()


class _Whole(nn.Module):
    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(
        self, module: nn.Module, backbone: Backbone, weights: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> None:
        super().__init__()
        self.module = module
        self.head = nn.Linear(*weights.shape)
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(weights.T.copy()))
            self.head.bias.copy_(torch.from_numpy(bias))
        self.register_buffer("scale", torch.tensor(backbone.std).view(1, 3, 1, 1) * 255)
        self.register_buffer("shift", torch.tensor(backbone.mean).view(1, 3, 1, 1) * 255)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features = self.module((pixels - self.shift) / self.scale)
        return torch.softmax(self.head(features), dim=1)


def left_out_note(left_out: Sequence[str]) -> str:
    """Say which images could not be read, for a line on the terminal."""
    shown = "; ".join(left_out[:5]) + ("; ..." if len(left_out) > 5 else "")
    return f"{len(left_out):,} images cannot be read and are left out: {shown}"
