"""The pixels that are trained on: taken as they are, or resized once and kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from labelwise.config import Learner, Study
from labelwise.data.images import ImageSet
from labelwise.data.inspection import from_array
from labelwise.data.sources import open_dataset
from labelwise.data.squares import to_square
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


WAYS = ("crop", "pad", "stretch")


def with_ends(kind: int, seed: int, side: int) -> np.ndarray:
    """A 5:1 picture that differs from the other kind at its ends alone: bright squares on the left, or on the right."""
    pixels = np.full((side, 5 * side, 3), 90, np.uint8) + picture(seed, size=(side, 5 * side)) // 8
    low = 0 if kind == 0 else 4 * side
    pixels[:, low : low + side // 2] = 250
    return pixels


@pytest.mark.parametrize("side", [20, 60])  # small ones are one array, larger ones are decoded
@pytest.mark.parametrize("way", WAYS)
def test_ends_of_long_pictures_are_seen_unless_they_are_cropped(
    way: str, side: int, backbone: Backbone, tmp_path: Path
) -> None:
    for kind, name in enumerate(("cat", "dog")):
        for i in range(5):
            write(tmp_path / name / f"{i}.png", encoded(with_ends(kind, 10 * kind + i, side)))
    dataset = open_dataset(Study.model_validate({"data": str(tmp_path), "resize": way}))
    assert (dataset.images.pixels is not None) is (side == 20)
    for pixels in (
        squares(dataset.images, np.arange(10), 64, 0.875).permute(0, 2, 3, 1).numpy(),
        training_pixels(dataset.images, backbone, 64, silent),
    ):
        assert pixels.shape == (10, 64, 64, 3)
        halves = pixels[:, 30:34].astype(float).mean(axis=(1, 3))  # in the middle, all of them see the picture
        left, right = halves[:, :8].mean(axis=1), halves[:, -16:].mean(axis=1)
        seen = (left > right + 40).astype(int) + 2 * (right > left + 10)
        truth = 1 + dataset.labels
        assert (seen == (0 if way == "crop" else truth)).all()
        assert (int(pixels[:, 0].max()) == 0) is (way == "pad")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [(40, 24), (20, 100), (3, 90), (64, 64)])
def test_arrays_and_files_become_the_same_squares(way: str, shape: tuple[int, int]) -> None:
    images = replace(array_of(*shape), resize=way)
    assert images.pixels is not None
    for size in (32, 64):
        array = squares(images, np.arange(5), size, 1.0).permute(0, 2, 3, 1).numpy().astype(int)
        files = np.stack([to_square(Image.fromarray(pixels), size, 1.0, way) for pixels in images.pixels])
        assert array.shape == files.shape == (5, size, size, 3)
        if way != "crop":  # fit cuts before it resizes, so its places differ by parts of a pixel
            np.testing.assert_allclose(array, files, atol=4)


def test_each_way_has_its_own_place_in_the_cache(backbone: Backbone, cache: Path) -> None:
    images = array_of(20, 30)
    for way in WAYS:
        training_pixels(replace(images, resize=way), backbone, 64, silent)
    training_pixels(replace(images, bits=12), backbone, 64, silent)
    assert len(list((cache / "pixels").iterdir())) == 4


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
