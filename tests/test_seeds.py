"""Generators by name: equal names equal streams, different names different ones, stable for ever."""

from __future__ import annotations

from labelwise.seeds import generator, integer


def test_streams() -> None:
    assert generator(1, "a", 2).random(3).tolist() == generator(1, "a", 2).random(3).tolist()
    streams = [(0, "a"), (1, "a"), (0, "b"), (0, "a", 1), (0, "a1"), (0, "a", "")]
    assert len({generator(seed, *names).random() for seed, *names in streams}) == len(streams)


def test_records_of_today_can_be_made_again_tomorrow() -> None:
    assert integer(0, "subset", "3%") == 902627989
