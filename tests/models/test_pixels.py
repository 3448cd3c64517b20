"""The pixels that are trained on: taken as they are, or resized once and kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from labelwise.config import Learner, Study
from labelwise.data.images import ImageSet, from_array
from labelwise.data.sources import open_dataset
from labelwise.models.backbone import Backbone, load_backbone
from labelwise.models.pixels import on_device, squares, training_pixels, training_size
from pictures import encoded, picture, write

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone(Learner(backbone="test_resnet", weights="scratch", device="cpu"))


def array_of(height: int, width: int, n: int = 5) -> ImageSet:
    pixels = np.stack([picture(i, size=(height, width)) for i in range(n)])
    return from_array(pixels, [str(i) for i in range(n)])[0]


def photos(root: Path, *sizes: tuple[int, int]) -> ImageSet:
    for k, name in enumerate(("cat", "dog")):
        for i in range(4):
            write(root / name / f"{i}.png", encoded(picture(k, i, size=sizes[i % len(sizes)])))
    return open_dataset(Study(data=str(root))).images


def silent(_what: str, _done: int, _total: int) -> None: ...


@pytest.mark.parametrize("shape", [(32, 32), (40, 24), (8, 8), (128, 128)])
def test_small_images_are_taken_as_they_are(shape: tuple[int, int], backbone: Backbone, cache: Path) -> None:
    images = array_of(*shape)
    assert training_pixels(images, backbone, None, silent) is images.pixels
    assert not (cache / "pixels").exists()


def test_sizes(backbone: Backbone, tmp_path: Path) -> None:
    fixed = load_backbone(Learner(backbone="test_vit", weights="scratch", device="cpu"))
    small = array_of(32, 32)
    assert training_size(small, backbone, None) is None
    assert training_size(small, backbone, 32) is None
    assert training_size(small, backbone, 64) == 64
    assert training_size(array_of(40, 24), backbone, 40) == 40
    assert training_size(small, fixed, None) == fixed.size == 160
    assert training_size(array_of(130, 130), backbone, None) == backbone.size
    assert training_size(photos(tmp_path / "mixed", (32, 32), (20, 30)), backbone, None) == backbone.size


def test_photos_are_resized_once(backbone: Backbone, tmp_path: Path, cache: Path) -> None:
    images = photos(tmp_path / "photos", (200, 150), (140, 300))
    seen: list[int] = []
    pixels = training_pixels(images, backbone, None, lambda _what, done, _total: seen.append(done))
    assert pixels.shape == (8, backbone.size, backbone.size, 3)
    assert seen == [8]
    again = training_pixels(images, backbone, None, lambda _what, done, _total: seen.append(done))
    assert seen == [8]
    assert (again == pixels).all()
    assert (pixels[3:5] == images.squares(np.array([3, 4]), backbone.size, backbone.crop)).all()
    smaller = training_pixels(images, backbone, 48, silent)
    assert smaller.shape == (8, 48, 48, 3)
    assert len(list((cache / "pixels").iterdir())) >= 2


def test_small_images_can_be_enlarged(backbone: Backbone) -> None:
    images = array_of(32, 24)
    pixels = training_pixels(images, backbone, 64, silent)
    assert pixels.shape == (5, 64, 64, 3)
    assert images.pixels is not None
    middle = images.pixels[:, 4:28].astype(float)  # the shorter side decides; the centre of the longer is kept
    assert np.abs(pixels.mean(axis=(1, 2)) - middle.mean(axis=(1, 2))).max() < 3


def test_a_constant_image_stays_what_it_is() -> None:
    images = from_array(np.full((2, 50, 30, 3), 77, np.uint8), ["a", "b"])[0]
    for size, crop in ((20, 1.0), (64, 0.875)):
        result = squares(images, np.arange(2), size, crop)
        assert result.shape == (2, 3, size, size)
        assert (result == 77).all()


def test_only_a_gpu_keeps_all_pixels() -> None:
    assert on_device(np.zeros((3, 4, 4, 3), np.uint8), torch.device("cpu")) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_keeps_all_pixels_where_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (600, 8, 8, 3)).astype(np.uint8)
    kept = on_device(pixels, torch.device("cuda"))
    assert kept is not None
    assert (kept.cpu().numpy() == pixels).all()
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (4 * pixels.nbytes - 4, 0))
    assert on_device(pixels, torch.device("cuda")) is None
