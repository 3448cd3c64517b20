from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labelwise.cache import ABANDONED, cache_folder, cached
from labelwise.errors import InputError


def build(target: Path) -> None:
    (target / "value").write_text("17")


def load(entry: Path) -> int:
    return int((entry / "value").read_text())


def test_the_folder_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LABELWISE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("LABELWISE_CACHE")
    assert "labelwise" in str(cache_folder())


def test_an_entry_is_built_once(tmp_path: Path) -> None:
    built: list[Path] = []

    def count(target: Path) -> None:
        built.append(target)
        build(target)

    assert [cached(tmp_path / "a" / "entry", count, load) for _ in range(3)] == [17, 17, 17]
    assert len(built) == 1
    assert os.listdir(tmp_path / "a") == ["entry"]


@pytest.mark.parametrize("damage", ["", "1x", None])
def test_a_damaged_entry_is_built_again(tmp_path: Path, damage: str | None) -> None:
    entry = tmp_path / "entry"
    cached(entry, build, load)
    if damage is None:
        (entry / "value").unlink()
    else:
        (entry / "value").write_text(damage)
    assert cached(entry, build, load) == 17


def test_an_error_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    def interrupted(target: Path) -> None:
        build(target)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path / "entry", interrupted, load)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "ead-only")])
def test_a_full_disk_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    monkeypatch.setenv("LABELWISE_CACHE", str(tmp_path))

    def full(_target: Path) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(
        InputError, match=f"cannot write the cache .*{words}.*; make room there .*, or set LABELWISE_CACHE"
    ):
        cached(tmp_path / "entry", full, load)
    assert os.listdir(tmp_path) == []


def test_a_cache_that_is_a_file_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("")
    monkeypatch.setenv("LABELWISE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match="cannot write the cache"):
        cached(cache_folder() / "images" / "entry", build, load)


def test_a_closed_output_is_not_blamed_on_the_cache(tmp_path: Path) -> None:
    def closed(_target: Path) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        cached(tmp_path / "entry", closed, load)


SLOW_BUILD = """
import os, sys, time
from pathlib import Path
from labelwise.cache import cached

def build(target):
    (target / "value").write_text("1")
    if sys.argv[2] == "die":
        os._exit(9)
    time.sleep(0.5)
    (target / "value").write_text("17")

print(cached(Path(sys.argv[1]), build, lambda entry: int((entry / "value").read_text())))
"""


def start(entry: Path, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SLOW_BUILD, str(entry), how], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_killed_process_leaves_nothing_wrong_and_is_swept_up_later(tmp_path: Path) -> None:
    entry = tmp_path / "entry"
    process = start(entry, "die")
    process.communicate()
    assert process.returncode == 9
    assert not entry.exists()
    (left,) = tmp_path.iterdir()
    assert cached(entry, build, load) == 17
    assert left.exists(), "it may still be at work"
    long_ago = time.time() - ABANDONED - 60
    for path in (left / "value", left):
        os.utime(path, (long_ago, long_ago))
    cached(tmp_path / "another", build, load)
    assert sorted(os.listdir(tmp_path)) == ["another", "entry"]


@pytest.mark.slow
def test_two_processes_at_once(tmp_path: Path) -> None:
    processes = [start(tmp_path / "entry", "live") for _ in range(2)]
    assert [process.communicate()[0] for process in processes] == ["17\n", "17\n"]
    assert [process.returncode for process in processes] == [0, 0]
    assert os.listdir(tmp_path) == ["entry"]
