from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from labelwise.config import Study
from labelwise.data import inspection as module
from labelwise.data.decode import LOOK
from labelwise.data.inspection import from_array, from_blobs
from labelwise.data.sources import open_dataset
from labelwise.errors import InputError
from pictures import class_folders, encoded, picture, write

pytestmark = pytest.mark.usefixtures("cache")


def silent(_what: str, _done: int, _total: int) -> None: ...


def blobs_of(sizes: list[tuple[int, int]], kind: str = "PNG") -> list[bytes]:
    return [encoded(picture(i, size=size), kind) for i, size in enumerate(sizes)]


def names_of(blobs: list[bytes]) -> list[str]:
    return [f"image {i}" for i in range(len(blobs))]


def test_small_images_of_one_size_are_one_array_and_read_once() -> None:
    blobs = blobs_of([(20, 30)] * 300)
    seen: list[int] = []

    def blob(index: int) -> bytes:
        seen.append(index)
        return blobs[index]

    told: list[tuple[int, int]] = []
    images, found = from_blobs(blob, names_of(blobs), "key", 10**6, lambda _, done, total: told.append((done, total)))
    assert told == [(256, 300), (300, 300)]
    assert isinstance(images.pixels, np.memmap)
    assert images.small
    np.testing.assert_array_equal(images.pixels, np.stack([picture(i, size=(20, 30)) for i in range(300)]))
    assert found.looks is not None
    assert found.looks.shape == (300, LOOK * LOOK)
    seen.clear()
    again, _ = from_blobs(blob, names_of(blobs), "key", 10**6, silent)
    assert not seen
    assert again.fingerprint == images.fingerprint
    other, _ = from_blobs(blob, names_of(blobs), "another key", 10**6, silent)
    assert seen
    assert other.fingerprint == images.fingerprint, "it stands for the content, not for where it lies"


def test_memory_and_files_have_the_same_looks() -> None:
    blobs = blobs_of([(20, 20)] * 5)
    files, memory = (
        from_blobs(blobs.__getitem__, names_of(blobs), "key", 10**6, silent)[1].looks,
        from_array(np.stack([picture(i, size=(20, 20)) for i in range(5)]), names_of(blobs))[1].looks,
    )
    np.testing.assert_array_equal(files, memory)


@pytest.mark.parametrize(
    ("sizes", "small"),
    [([(20, 30), (30, 20), (9, 9)], True), ([(20, 30), (129, 20)], False), ([(200, 200)] * 2, False)],
)
def test_other_images_are_decoded_as_they_are_needed(sizes: list[tuple[int, int]], small: bool) -> None:
    blobs = blobs_of(sizes)
    images, _ = from_blobs(blobs.__getitem__, names_of(blobs), "key", 10**6, silent)
    assert images.pixels is None
    assert images.small is small
    squares = images.squares(np.arange(len(blobs)), 16, 1.0)
    assert (squares.shape, squares.dtype) == ((len(blobs), 16, 16, 3), np.uint8)
    np.testing.assert_array_equal(images.squares(np.array([1]), 16, 1.0)[0], squares[1])


@pytest.mark.parametrize("size", [(20, 30), (200, 300)])
def test_unreadable_images_are_left_out_of_the_set(size: tuple[int, int]) -> None:
    blobs = blobs_of([size] * 6)
    sound = [blobs[i] for i in (0, 2, 3, 5)]
    blobs[1], blobs[4] = b"", blobs[4][:60]
    images, found = from_blobs(blobs.__getitem__, names_of(blobs), "key", 10**6, silent)
    assert found.readable.tolist() == [0, 2, 3, 5]
    assert found.unreadable.keys() == {1, 4}
    assert images.names == ["image 0", "image 2", "image 3", "image 5"]
    assert [images.blob(i) for i in range(4)] == sound  # type: ignore[misc]
    if images.pixels is not None:
        np.testing.assert_array_equal(images.pixels[1], picture(2, size=size))
    without, _ = from_blobs(sound.__getitem__, names_of(sound), "sound", 10**6, silent)
    assert without.fingerprint == images.fingerprint


def test_nothing_readable() -> None:
    images, found = from_blobs(lambda _: b"", ["a", "b"], "key", 10**6, silent)
    assert len(images) == 0
    assert len(found.unreadable) == 2


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = blobs_of([(40, 40)] * 300, "JPEG")
    one, _ = from_blobs(blobs.__getitem__, names_of(blobs), "one", 10**6, silent)
    monkeypatch.setattr(module, "THREADS_PAY", 0)
    two, _ = from_blobs(blobs.__getitem__, names_of(blobs), "two", 10**6, silent)
    np.testing.assert_array_equal(one.pixels, two.pixels)
    assert one.fingerprint == two.fingerprint


def test_an_image_that_changes_under_way_is_said(tmp_path: Path) -> None:
    class_folders(tmp_path / "data")
    for i in range(6):
        write(tmp_path / "data" / "cat" / f"{i}.png", encoded(picture(9, i, size=(200, 200))))
    dataset = open_dataset(Study(data=str(tmp_path / "data")))
    index = list(dataset.images.names).index(os.path.join("cat", "3.png"))
    path = tmp_path / "data" / "cat" / "3.png"
    write(path, b"something else")
    with pytest.raises(InputError, match=r"cat.3\.png was changed or removed since it was read first"):
        dataset.images.squares(np.array([0, index]), 32, 1.0)
    write(path, encoded(picture(8, 3, size=(200, 200))))
    with pytest.raises(InputError, match=r"was changed or removed since it was read first: its content is another one"):
        dataset.images.squares(np.array([index]), 32, 1.0)
    path.unlink()
    with pytest.raises(InputError, match=r"cat.3\.png was changed or removed"):
        dataset.images.squares(np.array([index]), 32, 1.0)


@pytest.mark.parametrize("file", ["pixels.bin", "looks.npy", "readable.npy", "hashes.npy", "meta.json"])
@pytest.mark.parametrize("left", [0.0, 0.5, 1.0, None])
def test_a_damaged_cache_is_made_again(
    cache: Path, file: str, left: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    blobs = blobs_of([(20, 30)] * 10)
    images, _ = from_blobs(blobs.__getitem__, names_of(blobs), "key", 10**6, silent)
    before = np.array(images.pixels)
    ((path,),) = [list((cache / "images").glob(f"*/{file}"))]
    if left is None:
        path.unlink()
    elif left == 1:
        content = bytearray(path.read_bytes())
        content[-3] ^= 1  # of the same length, and nothing else would notice
        path.write_bytes(content)
    else:
        os.truncate(path, int(path.stat().st_size * left))
    again, _ = from_blobs(blobs.__getitem__, names_of(blobs), "key", 10**6, silent)
    np.testing.assert_array_equal(again.pixels, before)
    assert again.fingerprint == images.fingerprint
    assert [record.message.count("is damaged and is made again") for record in caplog.records] == [1]


def test_what_could_not_be_read_is_tried_again_but_a_broken_image_is_not() -> None:
    blobs, away, asked = blobs_of([(20, 30)] * 6), {1, 4}, list[int]()
    blobs[2] = b"broken"

    def blob(index: int) -> bytes:
        asked.append(index)
        if index in away:
            raise OSError(errno.EIO, "Input/output error")
        return blobs[index]

    _, found = from_blobs(blob, names_of(blobs), "key", 10**6, silent)
    assert found.readable.tolist() == [0, 3, 5]
    assert found.unreadable[1] == "unreadable: Input/output error"
    asked.clear()
    _, again = from_blobs(blob, names_of(blobs), "key", 10**6, silent)
    assert asked == [1, 4], "the others are known"
    assert again.unreadable == found.unreadable
    away.clear()
    images, whole = from_blobs(blob, names_of(blobs), "key", 10**6, silent)
    assert whole.unreadable.keys() == {2}
    np.testing.assert_array_equal(
        images.pixels[[1, 3]], np.stack([picture(1, size=(20, 30)), picture(4, size=(20, 30))])
    )
    asked.clear()
    from_blobs(blob, names_of(blobs), "key", 10**6, silent)
    assert not asked


def test_hashes_stand_for_the_content_of_each_image() -> None:
    blobs = blobs_of([(20, 30)] * 4)
    blobs[1] = b"broken"
    images, _ = from_blobs(blobs.__getitem__, names_of(blobs), "key", 10**6, silent)
    assert [row.tobytes() for row in images.hashes] == [hashlib.sha256(blobs[i]).digest() for i in (0, 2, 3)]
    np.testing.assert_array_equal(images.part(np.array([2, 0])).hashes, images.hashes[[2, 0]])
    pixels = np.stack([picture(i, size=(4, 6)) for i in (1, 2, 1)])
    memory = from_array(pixels, ["a", "b", "c"])[0]
    assert (memory.hashes[0] == memory.hashes[2]).all()
    assert len(np.unique(memory.hashes, axis=0)) == 2
    turned = from_array(pixels.reshape(3, 6, 4, 3), ["a", "b", "c"])[0]
    assert len(np.unique(np.concatenate([memory.hashes, turned.hashes]), axis=0)) == 4, "the shape counts"
    assert memory.way != images.way


def test_a_disk_that_is_full_in_the_middle(cache: Path) -> None:
    blobs = blobs_of([(20, 30)] * 10)

    def progress(_what: str, _done: int, _total: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InputError, match=r"cannot write the cache .*: the disk is full; make room there"):
        from_blobs(blobs.__getitem__, names_of(blobs), "key", 10**6, progress)
    assert list((cache / "images").iterdir()) == []
