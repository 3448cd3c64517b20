from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.cache import ABANDONED, cache_folder, cached, checked
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


def damage(entry: Path, how: str, other: Path) -> None:
    """Do to an entry of `value` and `more` what disks, people and other programs do."""
    value, seal = entry / "value", entry / "checksums.json"
    if how == "a bit flipped":
        blob = bytearray(value.read_bytes())
        blob[1] ^= 1  # 17 -> 16: a sound number
        value.write_bytes(blob)
    elif how == "files swapped":
        one, two = value.read_bytes(), (entry / "more").read_bytes()
        value.write_bytes(two)
        (entry / "more").write_bytes(one)
    elif how == "another entry's":
        shutil.rmtree(entry)
        shutil.copytree(other, entry)
    elif how == "checksums edited":
        value.write_text("18")
        seal.write_text(seal.read_text().replace('"version": 1', '"version": 2'))
    elif how == "no checksums":
        seal.unlink()
    elif how == "empty":
        value.write_bytes(b"")
    elif how == "longer":
        value.write_bytes(value.read_bytes() + b"0")
    else:
        (entry / "more").unlink()


HOW = ("a bit flipped", "files swapped", "another entry's", "checksums edited", "no checksums", "empty", "longer",
       "a file is missing")  # fmt: skip


@pytest.mark.parametrize("how", HOW)
def test_what_is_not_what_was_written_is_thrown_away_with_one_line(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    def two(number: int) -> Callable[[Path], None]:
        def make(target: Path) -> None:
            (target / "value").write_text(str(number))
            (target / "more").write_text("18")

        return make

    entry, other = tmp_path / "numbers" / "one", tmp_path / "numbers" / "other"
    assert cached(entry, two(17), load) == 17
    assert cached(other, two(19), load) == 19
    damage(entry, how, other)
    with caplog.at_level(logging.WARNING, "labelwise"):
        assert cached(entry, two(17), load) == 17
    assert [f"{entry} is damaged and is made again" in record.message for record in caplog.records] == [True]
    assert cached(entry, two(20), load) == 17


def test_a_sound_entry_that_could_be_better_is_made_again_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cached(tmp_path / "entry", build, load)
    other = cached(
        tmp_path / "entry", lambda target: (target / "value").write_text("18") and None, load, lambda _: False
    )
    assert other == 18
    assert not caplog.records


@given(st.integers(1, 5), st.integers(0, 40), st.data())
def test_any_byte_counts(block: int, size: int, data: st.DataObject) -> None:
    """The checksum is of blocks: every byte of every block and their number."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(checked, "BLOCK", block)
        path = Path(folder) / "file"
        content = bytearray(data.draw(st.binary(min_size=size, max_size=size)))
        path.write_bytes(content)
        before = checked._checksum(path)
        assert before == checked._checksum(path)
        if size:
            content[data.draw(st.integers(0, size - 1))] ^= 1 << data.draw(st.integers(0, 7))
        else:
            content += b"\0"
        path.write_bytes(content)
        assert checked._checksum(path) != before


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
