"""What the cache holds, and what clearing it leaves alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from labelwise.cache import Rows, cache_folder, cached, mapped, usage
from labelwise.cache.usage import KINDS, Entry, clear, entries, over, size_in_bytes
from labelwise.data.images import unseen
from labelwise.data.vectors import kept
from labelwise.errors import InputError

pytestmark = pytest.mark.usefixtures("cache")
DAY = 86400


def made(kind: str, number: int, size: int = 1000, days: float = 0.0) -> Path:
    folder = cache_folder() / kind / f"{number:016x}"

    def build(target: Path) -> None:
        (target / "value").write_bytes(bytes(size))

    cached(folder, build, lambda entry: len((entry / "value").read_bytes()))
    os.utime(folder, (time.time() - days * DAY,) * 2)
    return folder


def test_entries_are_listed_the_oldest_first() -> None:
    paths = [made("images", 1, days=2), made("pixels", 2, days=5), made("clip", 3)]
    (cache_folder() / "images" / "something else").mkdir()
    (cache_folder() / "mine").mkdir()
    found = entries()
    assert [entry.path for entry in found] == [paths[1], paths[0], paths[2]]
    assert [entry.kind for entry in found] == ["pixels", "images", "clip"]
    assert all(1000 < entry.bytes < 1500 for entry in found), "with its checksums"
    assert 5 * DAY <= time.time() - found[0].used < 5 * DAY + 60


def test_peoples_features_are_listed_and_left_while_they_are_used() -> None:
    vectors = kept("key", lambda _: iter([np.ones((5, 3), np.int8)]), None, "x", unseen)
    assert [entry.kind for entry in entries()] == ["features"]
    assert len(clear(entries())[1]) == 1
    del vectors
    assert len(clear(entries())[0]) == 1


def test_every_folder_that_is_made_is_a_kind() -> None:
    source = Path(usage.__file__).parents[1]
    code = "".join(path.read_text(encoding="utf-8") for path in source.rglob("*.py"))
    assert set(re.findall(r'cache_folder\(\) / "(\w+)"', code)) | {"embeddings"} == set(KINDS)


def test_an_entry_that_is_opened_is_young_again() -> None:
    path = made("images", 1, days=9)
    cached(path, lambda _: pytest.fail("it is there"), lambda entry: len((entry / "value").read_bytes()))
    assert time.time() - entries()[0].used < 60


def test_only_entries_are_removed(tmp_path: Path) -> None:
    path = made("images", 1)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (cache_folder() / "pixels").symlink_to(outside)
    (cache_folder() / "images" / ("a" * 16)).symlink_to(outside)
    (path / "link").symlink_to(outside)
    mine = cache_folder() / "images" / "mine"
    mine.mkdir()
    gone, kept = clear(entries())
    assert ([entry.path for entry in gone], kept) == ([path], [])
    assert not path.exists()
    assert (outside / "precious").exists()
    assert mine.exists()


def test_what_a_broken_off_clearing_left_is_not_in_the_way() -> None:
    path = made("images", 1)
    left = path.with_name(f".{path.name}.unfinished")
    left.mkdir()
    (left / "value").touch()
    assert [entry.path for entry in clear(entries())[0]] == [path]


def test_what_is_used_is_left_until_it_is_not() -> None:
    path = made("pixels", 1)
    array = mapped(path / "value", np.uint8, (100,))
    part = array[3:5]
    del array
    assert [entry.path for entry in clear(entries())[1]] == [path]
    assert (path / "value").exists()
    del part
    assert [entry.path for entry in clear(entries())[0]] == [path]


def test_a_store_that_is_open_or_mapped_is_left() -> None:
    folder = cache_folder() / "embeddings" / f"{7:016x}"
    with Rows(folder, 4) as store:
        store.put(np.zeros((2, 32), np.uint8) + np.uint8([[1], [2]]), np.ones((2, 4), np.float16), 0.0, np.full(2, -1))
        assert clear(entries())[0] == []
        values = store.gather(np.arange(2))
    assert clear(entries())[0] == []
    assert (values == 1).all()
    del values
    assert [entry.path for entry in clear(entries())[0]] == [folder]


OPEN = """
import sys
import numpy as np
from pathlib import Path
from labelwise.cache import mapped
array = mapped(Path(sys.argv[1]), np.uint8, (100,))
print("open", flush=True)
sys.stdin.readline()
"""


@pytest.mark.slow
def test_what_another_process_uses_is_left_and_a_killed_one_uses_nothing() -> None:
    path = made("pixels", 1)
    command = [sys.executable, "-c", OPEN, str(path / "value")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        assert clear(entries())[0] == []
        process.kill()
        process.wait()
    assert [entry.path for entry in clear(entries())[0]] == [path]


def test_the_oldest_go_until_the_rest_fits() -> None:
    found = [Entry("images", Path(str(i)), 10, float(i)) for i in range(5)]
    assert over(found, 50) == []
    assert over(found[::-1], 25) == found[:3]
    assert over(found, 0) == found


def test_a_limit_is_kept_whenever_something_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    old, newer = made("images", 1, days=3), made("pixels", 2, days=2)
    monkeypatch.setenv("LABELWISE_CACHE_LIMIT", "2.9kB")
    made("images", 3)
    assert not old.exists()
    assert newer.exists()
    monkeypatch.setenv("LABELWISE_CACHE_LIMIT", "many")
    with pytest.raises(InputError, match="LABELWISE_CACHE_LIMIT: 'many' is no size; write 20GB"):
        made("images", 4)


def test_what_a_killed_process_left_is_an_entry_after_a_day() -> None:
    left = cache_folder() / "pixels" / ".abc.unfinished"
    left.mkdir(parents=True)
    (left / "pixels.bin").write_bytes(bytes(50))
    assert entries() == []
    for path in (left / "pixels.bin", left):
        os.utime(path, (time.time() - 2 * DAY,) * 2)
    assert [entry.bytes for entry in entries()] == [50]
    clear(entries())
    assert not left.exists()


@pytest.mark.parametrize(
    ("text", "size"),
    [("20GB", 20 * 10**9), ("1.5 TB", 15 * 10**11), ("7", 7), ("3k", 3000), ("2GiB", 2 * 2**30), ("500 mb", 5 * 10**8)],
)
def test_sizes(text: str, size: int) -> None:
    assert size_in_bytes(text, "--limit") == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1,5GB", "20 apples", "1e9"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InputError, match=r"--limit: .* is no size"):
        size_in_bytes(text, "--limit")
