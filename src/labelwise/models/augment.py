"""Augmentation and batches for fine-tuning, from one uint8 array straight into the backbone's own scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from labelwise.models.backbone import Backbone
from labelwise.models.course import PADDING, Steps


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


def crop_and_flip(padded: torch.Tensor, step: Steps) -> torch.Tensor:
    """Cut each image of a step out of its frame and flip it as drawn: (B, H, W, 3) uint8. padded: as by `pad`."""
    count, (tall, wide) = len(step.rows), padded.shape[1:3]
    height, width = tall - 2 * PADDING, wide - 2 * PADDING
    columns = np.repeat(np.arange(width)[None], count, axis=0)
    columns[step.flipped] = columns[step.flipped, ::-1]
    rows = (step.rows[:, None] * tall + step.top[:, None] + np.arange(height)) * wide
    at = torch.from_numpy((rows[:, :, None] + (step.left[:, None] + columns)[:, None, :]).ravel())
    # one index over all pixels takes a third of the time of three that are broadcast
    return padded.view(-1, 3).index_select(0, at.to(padded.device)).view(count, height, width, 3)
