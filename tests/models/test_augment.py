"""Augmentation: each image against an obvious reference, and the way into the backbone's own scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labelwise.config import Learner
from labelwise.models.augment import PADDING, Scale, crop_and_flip, pad
from labelwise.models.backbone import load_backbone


def images(n: int = 6, height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(n).integers(1, 256, (n, height, width, 3)).astype(np.uint8))


def obvious(pixels: torch.Tensor, chosen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Crop and flip one image after the other, from the same draws."""
    count, height, width = len(chosen), *pixels.shape[1:3]
    top, left = rng.integers(0, 2 * PADDING + 1, (2, count, 1))
    flips = rng.random(count) < 0.5
    result = []
    for i, row in enumerate(chosen):
        framed = np.zeros((height + 2 * PADDING, width + 2 * PADDING, 3), np.uint8)
        framed[PADDING:-PADDING, PADDING:-PADDING] = pixels[row].numpy()
        crop = framed[top[i, 0] : top[i, 0] + height, left[i, 0] : left[i, 0] + width]
        result.append(crop[:, ::-1] if flips[i] else crop)
    return np.stack(result)


@pytest.mark.parametrize("shape", [(32, 32), (40, 24), (33, 33), (1, 2)])
def test_crops_and_flips_are_the_obvious_ones(shape: tuple[int, int]) -> None:
    pixels = images(6, *shape)
    chosen = np.array([3, 0, 0, 5, 2, 3, 1])
    for seed in range(5):
        result = crop_and_flip(pad(pixels), chosen, np.random.default_rng(seed))
        assert result.shape == (7, *shape, 3)
        assert result.dtype == torch.uint8
        assert (result.numpy() == obvious(pixels, chosen, np.random.default_rng(seed))).all()


def test_the_frame_is_black_and_the_images_are_left_alone() -> None:
    pixels = images(2, 5, 6)
    before, framed = pixels.clone(), pad(pixels)
    crop_and_flip(framed, np.array([0, 1]), np.random.default_rng(0))
    assert framed.shape == (2, 13, 14, 3)
    assert torch.equal(framed[:, PADDING:-PADDING, PADDING:-PADDING], pixels)
    assert int(framed.sum()) == int(pixels.sum())
    assert torch.equal(pixels, before)


def test_half_are_flipped_and_every_crop_comes_up() -> None:
    places = torch.arange(1, 145, dtype=torch.uint8).view(12, 12, 1).expand(12, 12, 3)[None]  # each pixel says its own
    drawn = crop_and_flip(pad(places), np.zeros(4_000, np.int64), np.random.default_rng(0))[..., 0].numpy()
    middle = drawn[:, 4:8, 4:8].astype(int)  # never in the frame
    assert np.mean(middle[:, 0, 1] < middle[:, 0, 0]) == pytest.approx(0.5, abs=0.03)
    found, counts = np.unique(drawn.reshape(len(drawn), -1), axis=0, return_counts=True)
    assert len(found) == 2 * 81
    assert counts.max() < 3 * counts.mean()


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "tf_efficientnet_lite0"])
def test_scale_is_the_backbones_own(name: str) -> None:
    backbone = load_backbone(Learner(backbone=name, weights="scratch", device="cpu"))
    pixels = images(3, 9, 7)
    result = Scale.of(backbone)(pixels)
    expected = (pixels.numpy() / 255 - np.array(backbone.mean)) / np.array(backbone.std)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert result.permute(0, 2, 3, 1).numpy() == pytest.approx(expected, abs=1e-5)
