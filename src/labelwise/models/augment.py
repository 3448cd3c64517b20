"""Augmentation and batches for fine-tuning, from one uint8 array straight into the backbone's own scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from labelwise.models.backbone import Backbone

PADDING = 4
"""Pixels of black around an image before it is cropped again at random."""


@dataclass(frozen=True)
class Scale:
    """What takes pixels 0..255 into the backbone's scale: (3,) factor and shift, on its device."""

    factor: torch.Tensor
    shift: torch.Tensor

    @classmethod
    def of(cls, backbone: Backbone) -> Scale:
        """Return the scale of a backbone."""
        std = torch.tensor(backbone.std, device=backbone.device)
        return cls(1 / (255 * std), -torch.tensor(backbone.mean, device=backbone.device) / std)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn (n, H, W, 3) uint8 into (n, 3, H, W) float32, channels-last."""
        return torch.addcmul(self.shift, pixels.float(), self.factor).permute(0, 3, 1, 2)


def pad(pixels: torch.Tensor) -> torch.Tensor:
    """Return (n, H + 8, W + 8, 3): the images in a black frame, made once a fit."""
    return torch.nn.functional.pad(pixels, (0, 0, PADDING, PADDING, PADDING, PADDING))


def crop_and_flip(padded: torch.Tensor, chosen: NDArray[np.int64], rng: np.random.Generator) -> torch.Tensor:
    """Draw a crop at random and a horizontal flip for each chosen image: (n, H, W, 3) uint8.

    padded: (L, H + 8, W + 8, 3) as by `pad`; chosen: (n,) rows of it.
    """
    count, (tall, wide) = len(chosen), padded.shape[1:3]
    height, width = tall - 2 * PADDING, wide - 2 * PADDING
    top, left = rng.integers(0, 2 * PADDING + 1, (2, count, 1))
    columns = np.repeat(np.arange(width)[None], count, axis=0)
    flipped = rng.random(count) < 0.5
    columns[flipped] = columns[flipped, ::-1]
    rows = (chosen[:, None] * tall + top + np.arange(height)) * wide
    at = torch.from_numpy((rows[:, :, None] + (left + columns)[:, None, :]).ravel())
    # one index over all pixels takes a third of the time of three that are broadcast
    return padded.view(-1, 3).index_select(0, at.to(padded.device)).view(count, height, width, 3)
