"""Images of more than 8 bits take their places among the others when their depth is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from labelwise.config import Study
from labelwise.data import deep as module
from labelwise.data.dataset import Dataset
from labelwise.data.deep import only
from labelwise.data.images import unseen
from labelwise.data.inspection import from_blobs
from labelwise.data.sources import open_dataset
from labelwise.errors import InputError
from pictures import encoded, picture, write

pytestmark = pytest.mark.usefixtures("cache")


def grey(seed: int, top: int, side: int) -> np.ndarray:
    values = picture(seed, size=(side, side))[..., 0].astype(np.float64)
    return np.round(values / values.max() * top).astype(np.uint16)


def png(values: np.ndarray) -> bytes:
    return encoded(Image.fromarray(values), "PNG")


def names(blobs: list[bytes]) -> list[str]:
    return [str(i) for i in range(len(blobs))]


@pytest.mark.parametrize("side", [20, 200])
def test_12_bits_in_files_of_16_are_not_black(side: int) -> None:
    values = [grey(i, top, side) for i, top in enumerate([4095, 3000, 700])]
    plain = picture(9, size=(side, side))
    blobs = [png(values[0]), encoded(plain), png(values[1]), png(values[2]), png(np.zeros_like(values[0]))]
    calls: list[int] = []

    def blob(index: int) -> bytes:
        calls.append(index)
        return blobs[index]

    images, found = from_blobs(blob, names(blobs), "key", 10**6, unseen)
    assert images.bits == 12
    assert calls.count(3) == 1, "every image is decoded once"
    assert found.notes == (
        "3 images have 16-bit pixels: 0 to 4,095 (12 bits) is black to white in all; 1 of them use fewer bits and come "
        "out dark",
    )
    pixels = images.squares(np.arange(5), side, 1.0) if images.pixels is None else images.pixels
    assert (images.pixels is None) is (side == 200)
    for place, deep in ((0, values[0]), (2, values[1]), (3, values[2])):
        expected = np.round(deep / 4095 * 255).astype(np.uint8)
        np.testing.assert_array_equal(pixels[place], np.repeat(expected[..., None], 3, axis=2))
    np.testing.assert_array_equal(pixels[1], plain)
    assert not pixels[4].any()
    again, _ = from_blobs(blob, names(blobs), "key", 10**6, unseen)
    assert (again.bits, again.fingerprint) == (12, images.fingerprint)


@pytest.mark.parametrize("side", [20, 200])
def test_a_depth_that_was_fixed_is_not_changed_by_new_images(side: int) -> None:
    blobs = [png(grey(1, 4095, side)), png(grey(2, 900, side)), png(grey(3, 60_000, side))]
    images, found = from_blobs(blobs.__getitem__, names(blobs), "key", 10**6, unseen, bits=12)
    assert images.bits == 12
    assert found.unreadable == {
        2: "16-bit pixels up to 60,000, above the 12 bits (0 to 4,095) of the images before it; save it with 8 bits"
    }
    alone, _ = from_blobs(blobs.__getitem__, names(blobs[:2]), "key", 10**6, unseen)
    for set_ in (images, alone):
        pixels = set_.squares(np.arange(2), side, 1.0) if set_.pixels is None else set_.pixels
        assert (len(set_), int(pixels[0].max()), int(pixels[1].max())) == (2, 255, round(900 / 4095 * 255))
    assert alone.fingerprint == images.fingerprint


def test_the_training_images_decide() -> None:
    blobs = [png(grey(i, top, 20)) for i, top in enumerate([1000, 4095, 2000])]
    train = np.array([True, False, True])
    images, found = from_blobs(blobs.__getitem__, names(blobs), "key", 10**6, unseen, train)
    assert images.bits == 12
    images, found = from_blobs(blobs.__getitem__, names(blobs), "key", 10**6, unseen, np.array([True, False, False]))
    assert images.bits == 10
    assert found.unreadable.keys() == {1, 2}
    assert images.pixels is not None
    assert images.pixels[0].max() == 249


def test_masks_are_not_pictures() -> None:
    blobs = [png(np.eye(20, dtype=np.uint16) * 3)] * 2
    found = from_blobs(blobs.__getitem__, names(blobs), "key", 10**6, unseen)[1]
    assert found.unreadable[0].startswith("16-bit pixels up to 3, and no images before it say which value is white")


def folder(root: Path, make: Callable[[int, int], bytes]) -> Path:
    for k, name in enumerate(("cat", "dog")):
        for i in range(5):
            write(root / name / f"{i}.png", make(k, i))
    return root


def opened(root: Path, **changes: object) -> Dataset:
    return open_dataset(Study.model_validate({"data": str(root), **changes}))


def test_a_study_says_so_and_its_fingerprint_changes(tmp_path: Path) -> None:
    found = opened(folder(tmp_path / "deep", lambda k, i: png(grey(10 * k + i, 4095, 40))))
    assert found.images.bits == 12
    assert "10 images have 16-bit pixels: 0 to 4,095 (12 bits) is black to white in all" in found.notes
    root = folder(tmp_path / "clear", lambda k, i: encoded(Image.new("RGBA", (40, 40), (0, 0, 10 * k + i, 9 * i))))
    found = opened(root)
    assert "10 transparent images are laid on white" in found.notes
    fingerprints = {opened(root, resize=way).fingerprint for way in ("crop", "pad", "stretch")}
    assert len(fingerprints) == 3
    write(root / "cat" / "3.png", encoded(Image.fromarray(np.diag(np.full(40, 70_000, np.int32))), "TIFF"))
    with pytest.raises(InputError, match=r"1 of 10 images cannot be read: cat.3.png \(whole numbers from 0 to 70,000"):
        opened(root)


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 9))
@settings(deadline=None)
def test_rows_are_taken_out_in_place(tmp_path_factory: pytest.TempPathFactory, kept: list[bool], width: int) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows"
    rows = np.random.default_rng(len(kept)).integers(0, 256, (len(kept), width)).astype(np.uint8)
    path.write_bytes(rows.tobytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROWS", 7)
        only(path, width, kept)
    assert path.read_bytes() == rows[np.array(kept)].tobytes()
