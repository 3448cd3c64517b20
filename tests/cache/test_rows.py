"""The store of embeddings by content: any order, several processes, kills, and damage of every kind."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.cache import rows as module
from labelwise.cache.rows import RECORD, Rows

D = 6


def hashes(*numbers: int) -> np.ndarray:
    found = b"".join(hashlib.sha256(str(number).encode()).digest() for number in numbers)
    return np.frombuffer(found, np.uint8).reshape(-1, 32)


def vectors(*numbers: int, width: int = D) -> np.ndarray:
    """What stands for the embeddings of images with these numbers: no two have one value in common."""
    start = np.array(numbers, np.float32).reshape(-1, 1)
    return (start + np.arange(width) / (width + 1)).astype("<f2")


def fill(folder: Path, *numbers: int, width: int = D) -> None:
    with Rows(folder, width) as store:
        store.put(hashes(*numbers), vectors(*numbers, width=width), 0.5, np.full(len(numbers), -1))


def look(folder: Path, *numbers: int, width: int = D) -> tuple[list[bool], np.ndarray]:
    with Rows(folder, width, write=False) as store:
        found, sound = store.find(hashes(*numbers))
        return sound.tolist(), np.array(store.gather(np.where(sound, found, -1)))


@pytest.mark.parametrize("width", [1, 5, 6])
def test_what_was_put_is_found_in_any_order(tmp_path: Path, width: int) -> None:
    fill(tmp_path / "store", 3, 1, 4, width=width)
    fill(tmp_path / "store", 15, 9, width=width)
    sound, values = look(tmp_path / "store", 9, 2, 3, 3, 4, width=width)
    assert sound == [True, False, True, True, True]
    np.testing.assert_array_equal(values[[0, 2, 3, 4]], vectors(9, 3, 3, 4, width=width))
    assert np.isnan(values[1]).all()


def test_nothing_is_there_where_nothing_was_made(tmp_path: Path) -> None:
    assert look(tmp_path / "store", 1, 2)[0] == [False, False]
    assert not (tmp_path / "store").exists()
    assert look(tmp_path / "store")[1].shape == (0, D)


def test_rows_that_follow_each_other_are_mapped_and_others_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = list(range(10))
    fill(tmp_path / "store", *numbers)
    with Rows(tmp_path / "store", D) as store:
        middle = store.gather(np.arange(3, 8))
        assert isinstance(middle, np.memmap)
        np.testing.assert_array_equal(middle, vectors(*range(3, 8)))
        assert not isinstance(store.gather(np.array([3, 2])), np.memmap)
        monkeypatch.setattr(module, "IN_MEMORY", 0)
        monkeypatch.setattr(module, "BLOCK", 2)
        large = store.gather(np.array([7, -1, 3, 3, 0]))
        assert isinstance(large, np.memmap)
        np.testing.assert_array_equal(large[[0, 2, 3, 4]], vectors(7, 3, 3, 0))
        assert np.isnan(large[1]).all()
    assert sorted(os.listdir(tmp_path)) == [".locks", "store"], "a large copy has no name"


def test_the_seconds_of_equal_images_count_once(tmp_path: Path) -> None:
    fill(tmp_path / "store", 1, 2, 3)
    with Rows(tmp_path / "store", D) as store:
        assert store.seconds(np.array([0, 1, 1, 0])) == 1.0


def shuffle(folder: Path) -> None:
    path = folder / "values.f16"
    path.write_bytes(np.fromfile(path, "<f2").reshape(-1, D)[::-1].tobytes())


def zero_half(folder: Path) -> None:
    path = folder / "values.f16"
    values = np.fromfile(path, "<f2").reshape(-1, D)
    values[: len(values) // 2] = 0
    path.write_bytes(values.tobytes())


def flip(file: str, at: int) -> object:
    def change(folder: Path) -> None:
        path = folder / file
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(content)

    return change


def cut(file: str, keep: float) -> object:
    return lambda folder: os.truncate(folder / file, int((folder / file).stat().st_size * keep))


def swap(folder: Path) -> None:
    fill(folder.with_name("another"), *range(8))  # the same images, embedded by another model
    shutil.copy(folder.with_name("another") / "values.f16", folder / "values.f16")
    shutil.copy(folder.with_name("another") / "index.bin", folder / "index.bin")


def reshape(folder: Path) -> None:
    fill(folder.with_name("wider"), *range(8), width=2 * D)
    shutil.copy(folder.with_name("wider") / "values.f16", folder / "values.f16")


def swap_records(folder: Path) -> None:
    records = np.fromfile(folder / "index.bin", RECORD)
    records["image"] = np.roll(records["image"], 1)
    (folder / "index.bin").write_bytes(records.tobytes())


DAMAGE = {
    "shuffled rows": (shuffle, 8), "half of the rows zeroed": (zero_half, 4),
    "a bit of a value": (flip("values.f16", 13), 1),
    "a bit of a checksum": (flip("index.bin", 2 * RECORD.itemsize + 33), 1),
    "a bit of an image's hash": (flip("index.bin", 3), 1), "a bit of the seconds": (flip("index.bin", 47), 1),
    "values cut": (cut("values.f16", 0.45), 5), "index cut": (cut("index.bin", 0.45), 5),
    "values empty": (cut("values.f16", 0), 8), "index empty": (cut("index.bin", 0), 8),
    "another store's files": (swap, 8), "another shape": (reshape, 8), "records of other images": (swap_records, 8),
    "values gone": (lambda folder: (folder / "values.f16").unlink(), 8),
    "index gone": (lambda folder: (folder / "index.bin").unlink(), 8),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_damaged_is_known_said_and_made_again(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    numbers, (change, bad) = range(8), DAMAGE[name]
    fill(tmp_path / "store", *numbers)
    change(tmp_path / "store")  # type: ignore[operator]
    with caplog.at_level(logging.WARNING, "labelwise"), Rows(tmp_path / "store", D) as store:
        found, sound = store.find(hashes(*numbers))
        assert (~sound).sum() == bad
        np.testing.assert_array_equal(store.gather(found[sound]), vectors(*np.flatnonzero(sound)))
        left = np.flatnonzero(~sound)
        store.put(hashes(*left), vectors(*left), 0.5, found[left])
    silent = name in ("a bit of an image's hash", "values gone", "index gone")
    lines = [record.message for record in caplog.records]
    assert len(lines) <= 2
    assert all("thrown away and made again" in line for line in lines)
    assert lines or silent
    with caplog.at_level(logging.WARNING, "labelwise"):
        caplog.clear()
        sound_now, values = look(tmp_path / "store", *numbers)
    assert all(sound_now)
    assert not caplog.records
    np.testing.assert_array_equal(values, vectors(*numbers))


@given(st.data())
def test_a_change_anywhere_never_gives_a_wrong_row(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("rows") / "store"
    fill(folder, *range(5))
    path = folder / data.draw(st.sampled_from(["values.f16", "index.bin"]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "warn", lambda _: None)
        sound, values = look(folder, *range(5))
    kept = np.flatnonzero(sound)
    np.testing.assert_array_equal(values[kept], vectors(*kept))


@given(st.lists(st.lists(st.integers(0, 30), max_size=8), max_size=5), st.lists(st.integers(0, 35)), st.integers(1, 5))
def test_any_way_of_filling_gives_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]], asked: list[int], block: int
) -> None:
    folder = tmp_path_factory.mktemp("rows") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        for part in parts:
            fill(folder, *part)
        sound, values = look(folder, *asked)
    known = {number for part in parts for number in part}
    assert sound == [number in known for number in asked]
    there = np.flatnonzero(sound)
    np.testing.assert_array_equal(values[there], vectors(*[asked[i] for i in there]))


WRITER = """
import sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[3])
from test_rows import fill
for start in range(int(sys.argv[2]), int(sys.argv[2]) + 400, 4):
    fill(Path(sys.argv[1]), *range(start, start + 4))
    print(start + 4, flush=True)
"""


def writer(folder: Path, start: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), str(start), str(Path(__file__).parent)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes_add_at_once(tmp_path: Path) -> None:
    processes = [writer(tmp_path / "store", start) for start in (0, 1000)]
    assert [process.communicate()[0].splitlines()[-1] for process in processes] == ["400", "1400"]
    numbers = [*range(400), *range(1000, 1400)]
    sound, values = look(tmp_path / "store", *numbers)
    assert all(sound)
    np.testing.assert_array_equal(values, vectors(*numbers))


@pytest.mark.slow
def test_what_was_put_before_a_kill_is_whole_after_it(tmp_path: Path) -> None:
    done = 0
    for attempt in range(6):
        process = writer(tmp_path / "store", done)
        assert process.stdout is not None
        process.stdout.readline()  # it is at work
        time.sleep(0.003 * attempt)
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().splitlines()
        process.wait()
        process.stdout.close()
        done = int(rest[-1]) if rest else done + 4
        sound, values = look(tmp_path / "store", *range(done))
        assert all(sound)
        np.testing.assert_array_equal(values, vectors(*range(done)))


@pytest.mark.slow
def test_a_million_images_are_found_in_little_memory(tmp_path: Path) -> None:
    count, width = 1_000_000, 8
    images = np.random.default_rng(0).integers(0, 256, (count, 32), dtype=np.uint8)
    values = (np.arange(count * width) % 1009).reshape(count, width).astype("<f2")
    with Rows(tmp_path / "store", width) as store:
        for start in range(0, count, 250_000):
            part = slice(start, start + 250_000)
            store.put(images[part], values[part], 0.0, np.full(250_000, -1))
        started = time.perf_counter()
        found, sound = store.find(images)
        assert time.perf_counter() - started < 60
        assert sound.all()
        np.testing.assert_array_equal(found, np.arange(count))
