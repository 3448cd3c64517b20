"""The acquisition benchmark on little arrays: what is measured, equal picks on both sides, and what the page says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks import acquisition, peers
from benchmarks.acquisition_page import LATER, MEMORY, SECONDS, Bound
from benchmarks.measure import measure

from labelwise.strategies import STRATEGIES


def test_both_sides_pick_the_same_where_definitions_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acquisition, "D", 16)
    arrays = acquisition.make_arrays(tmp_path, 300)
    for name in (name for name, peer in peers.PEERS.items() if peer.same):
        mine = next(acquisition.ours(name, arrays, labelled=40, n=20)())
        assert mine == next(peers.job(name, arrays, labelled=40, n=20)())


def test_time_and_memory_of_every_call(tmp_path: Path) -> None:
    def job() -> Iterator[list[int]]:
        block = b"x" * 300_000_000
        time.sleep(0.2)  # memory is looked at every 10 ms
        yield [len(block) % 7]
        yield [2]

    found = measure(job)
    assert found.picks == [300_000_000 % 7]
    assert len(found.seconds) == 2
    assert 200 < found.peak_mb < 400  # 286 MiB, less what the process gave back of what it began with


def test_a_job_that_fails_is_an_error() -> None:
    def job() -> Iterator[list[int]]:
        raise ValueError("no arrays")
        yield []

    with pytest.raises(RuntimeError, match="ValueError: no arrays"):
        measure(job)


def test_every_strategy_has_a_bound_and_a_row_says_whether_it_is_kept() -> None:
    assert SECONDS.keys() == STRATEGIES.keys() >= LATER.keys()
    assert Bound("coreset", [14.0], MEMORY).text().endswith("| kept |")
    assert Bound("coreset", [16.0], 1.0).text().endswith("| not kept |")
    assert Bound("coreset", [1.0], MEMORY + 1).text().endswith("| not kept |")
    assert Bound("probcover", [39.0, 6.0], 1.0).text().endswith("| not kept |")
