from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.datasets import load_digits

from labelwise.config import Study
from labelwise.data.decode import LOOK, look_of
from labelwise.data.duplicates import near_duplicates
from labelwise.data.sources import open_dataset
from pictures import picture


def looks_of(images: list[Image.Image]) -> np.ndarray:
    return np.stack([np.frombuffer(look_of(image), np.uint8) for image in images])


def groups(looks: np.ndarray) -> np.ndarray:
    one, other = near_duplicates(looks)
    graph = coo_array((np.ones(len(one)), (one, other)), shape=(len(looks),) * 2)
    return connected_components(graph, directed=False)[1]


def jpeg(image: Image.Image, quality: int, scale: float = 1.0) -> Image.Image:
    file = io.BytesIO()
    size = round(image.width * scale), round(image.height * scale)
    image.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def brighter(image: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(image) * 0.8 + 25).astype(np.uint8))


COPIES = {
    "as it is": lambda image: image,
    "quality 95": lambda image: jpeg(image, 95),
    "quality 75": lambda image: jpeg(image, 75),
    "twice as large": lambda image: jpeg(image, 90, 2.0),
    "half as large": lambda image: jpeg(image, 90, 0.5),
    "brighter": brighter,
}


@pytest.mark.parametrize("copy", COPIES)
def test_copies_are_found_and_others_are_not(copy: str) -> None:
    images = [Image.fromarray(picture(i, size=(48, 64))) for i in range(200)]
    found = groups(looks_of([*images, *(COPIES[copy](image) for image in images)]))
    assert (found[:200] == found[200:]).mean() > 0.99
    assert len(np.unique(found)) >= 200


def test_a_large_cluster_is_one_group_and_exact_copies_too() -> None:
    rng = np.random.default_rng(0)
    scene = np.clip(picture(5, size=(LOOK, LOOK))[..., 0].ravel() + rng.normal(0, 1, (3000, LOOK * LOOK)), 0, 255)
    looks = np.concatenate([scene.astype(np.uint8), np.repeat(picture(6, size=(LOOK, LOOK))[None, ..., 0], 50, 0)
                            .reshape(50, -1)])  # fmt: skip
    found = groups(looks)
    assert np.bincount(found[:3000]).max() > 2900
    assert len(np.unique(found[3000:])) == 1


def test_flat_pictures_and_tiny_sets() -> None:
    assert len(near_duplicates(np.zeros((50, LOOK * LOOK), np.uint8))[0]) == 0
    assert len(near_duplicates(np.full((1, LOOK * LOOK), 3, np.uint8))[0]) == 0
    one = np.frombuffer(look_of(Image.fromarray(picture(1))), np.uint8)[None]
    assert len(near_duplicates(one)[0]) == 0
    assert groups(np.concatenate([one, one])).tolist() == [0, 0]


def test_a_small_object_in_a_fixed_scene_is_a_difference() -> None:
    scene = picture(3, size=(64, 64))
    images = []
    for row in range(4, 60, 8):
        for column in range(4, 60, 8):
            image = scene.copy()
            image[row : row + 6, column : column + 6] = 255 - image[row : row + 6, column : column + 6]
            images.append(Image.fromarray(image))
    found = groups(looks_of(images))
    assert len(np.unique(found)) > 0.8 * len(images)


def test_digits_are_not_merged() -> None:
    images = [Image.fromarray((d * 15.9).astype(np.uint8)).convert("RGB") for d in load_digits().images]
    found = groups(looks_of(images))
    assert len(np.unique(found)) >= len(images) - 5


@pytest.mark.slow
def test_cifar10_is_not_merged(cifar10: Path) -> None:
    dataset = open_dataset(Study(data=str(cifar10)))
    pixels = dataset.images.pixels
    assert pixels is not None
    pool = dataset.pool
    found = groups(looks_of([Image.fromarray(image) for image in pixels[pool]]))
    sizes = np.bincount(found)
    assert sizes[sizes > 1].sum() < 0.002 * len(pool)  # 19 real pairs when this was written
    assert sizes.max() <= 4
    labels = dataset.labels[pool]
    assert all(len(np.unique(labels[found == group])) == 1 for group in np.flatnonzero(sizes > 1))
