"""Augmentation: each image against an obvious reference, and the way into the backbone's own scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labelwise.config import Learner
from labelwise.models.augment import Scale, crop_and_flip, pad
from labelwise.models.backbone import load_backbone
from labelwise.models.course import PADDING, Course, Steps
from labelwise.models.places import cut


def images(n: int = 6, height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(n).integers(1, 256, (n, height, width, 3)).astype(np.uint8))


def drawn(chosen: np.ndarray, seed: int) -> Steps:
    """Draw how these images are cut and flipped."""
    rng = np.random.default_rng(seed)
    top, left = rng.integers(0, 2 * PADDING + 1, (2, len(chosen)))
    return Steps(chosen, top, left, rng.random(len(chosen)) < 0.5)


def obvious(pixels: torch.Tensor, step: Steps) -> np.ndarray:
    """Crop and flip one image after the other, from the same draws."""
    height, width = pixels.shape[1:3]
    result = []
    for row, top, left, flipped in zip(step.rows, step.top, step.left, step.flipped, strict=True):
        framed = np.zeros((height + 2 * PADDING, width + 2 * PADDING, 3), np.uint8)
        framed[PADDING:-PADDING, PADDING:-PADDING] = pixels[row].numpy()
        crop = framed[top : top + height, left : left + width]
        result.append(crop[:, ::-1] if flipped else crop)
    return np.stack(result)


@pytest.mark.parametrize("shape", [(32, 32), (40, 24), (33, 33), (1, 2)])
def test_crops_and_flips_are_the_obvious_ones(shape: tuple[int, int]) -> None:
    pixels = images(6, *shape)
    chosen = np.array([3, 0, 0, 5, 2, 3, 1])
    for seed in range(5):
        result = crop_and_flip(pad(pixels), drawn(chosen, seed))
        assert result.shape == (7, *shape, 3)
        assert result.dtype == torch.uint8
        assert (result.numpy() == obvious(pixels, drawn(chosen, seed))).all()
        order = torch.from_numpy(np.stack(list(vars(drawn(chosen, seed)).values())).astype(np.int64))
        packed = cut(pixels, order[:, None].expand(-1, 2, -1))  # for each of two models in a pack
        assert all((packed[:, :, :, k].numpy() == result.numpy()).all() for k in range(2))


def test_the_frame_is_black_and_the_images_are_left_alone() -> None:
    pixels = images(2, 5, 6)
    before, framed = pixels.clone(), pad(pixels)
    crop_and_flip(framed, drawn(np.array([0, 1]), 0))
    assert framed.shape == (2, 13, 14, 3)
    assert torch.equal(framed[:, PADDING:-PADDING, PADDING:-PADDING], pixels)
    assert int(framed.sum()) == int(pixels.sum())
    assert torch.equal(pixels, before)


def test_half_are_flipped_and_every_crop_comes_up() -> None:
    recipe = Learner(backbone="test_resnet", weights="scratch", device="cpu", batch=2_000, epochs=2)
    steps = Course(1, recipe, np.random.default_rng(0)).segment()
    assert len(steps) == 2
    places = np.stack([part.ravel() for part in (steps.top, steps.left, steps.flipped)])
    assert steps.flipped.mean() == pytest.approx(0.5, abs=0.03)
    found, counts = np.unique(places, axis=1, return_counts=True)
    assert found.shape[1] == 2 * 81
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
