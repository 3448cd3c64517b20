"""`labelwise cache`: shows what is kept, clears it by kind, age and size."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labelwise.cache import cache_folder
from labelwise.cli import app
from labelwise.errors import InputError

pytestmark = pytest.mark.usefixtures("cache")


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["cache", *words])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def made(kind: str, number: int, days: float) -> Path:
    folder = cache_folder() / kind / f"{number:016x}"
    folder.mkdir(parents=True)
    (folder / "pixels.bin").write_bytes(bytes(2_000_000))
    os.utime(folder, (time.time() - days * 86400,) * 2)
    return folder


@pytest.fixture
def three() -> list[Path]:
    return [made("images", 1, 40), made("images", 2, 10), made("pixels", 3, 50)]


def test_what_is_kept_is_shown_by_kind(three: list[Path]) -> None:
    images, pixels = json.loads(run("--format", "json"))
    assert images == {
        "kind": "images", "entries": 2, "bytes": 4_000_000, "size": "4.0 MB",
        "oldest": "40 d ago", "newest": "10 d ago", "path": str(cache_folder() / "images"),
    }  # fmt: skip
    assert (pixels["kind"], pixels["entries"]) == ("pixels", 1)
    assert "6.0 MB in all" in run()


def test_an_empty_cache() -> None:
    assert run() == f"The cache {cache_folder()} is empty.\n"
    assert json.loads(run("--format", "json")) == []
    assert "Removed 0 entries, 0 bytes" in run("clear")


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ([], []),
        (["--kind", "images"], [2]),
        (["--older-than", "30d"], [1]),
        (["--older-than", "30d", "--kind", "images"], [1, 2]),
        (["--older-than", "6w"], [0, 1]),
        (["--limit", "4MB"], [0, 1]),
        (["--limit", "4.5MB", "--kind", "pixels"], [0, 1, 2]),
        (["--limit", "0", "--older-than", "30d"], [1]),
    ],
)
def test_clearing(three: list[Path], words: list[str], left: list[int]) -> None:
    said = run("clear", *words)
    assert [i for i, path in enumerate(three) if path.exists()] == left
    assert f"Removed {3 - len(left)} entries" in said


def test_what_was_removed_for_programs(three: list[Path]) -> None:
    (row,) = json.loads(run("clear", "--kind", "pixels", "--format", "json"))
    assert row == {"kind": "pixels", "bytes": 2_000_000, "path": str(three[2]), "removed": True}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kind", "pixel"], "--kind: there is no 'pixel' in the cache; did you mean 'pixels'"),
        (["--older-than", "30"], "--older-than: '30' is no time; write 30d, 12h or 2w"),
        (["--limit", "all"], "--limit: 'all' is no size"),
    ],
)
def test_what_is_not_clear_removes_nothing(three: list[Path], words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run("clear", *words)
    assert all(path.exists() for path in three)
