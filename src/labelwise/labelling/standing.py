"""Which answers for an image stand when a class has changed its meaning, and who is asked for the image again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labelwise.labelling.events import Event


@dataclass(frozen=True)
class Change:
    """A change of classes that asks again. classes: ids that its answers name; None: unsure and skipped ones."""

    seq: int
    classes: frozenset[int | None]


def standing(answers: Sequence[Event], changes: Sequence[Change]) -> tuple[dict[str, Event], set[str]]:
    """Return each person's answer that stands, and the people who are asked again.

    answers: of one image, in their order, without repeats and what was undone; changes: in their order. A label from
    before a change that touched it stands until somebody has given one since: those who are asked, or whoever had not
    answered for the image, who then stands in for one of them. A review's decision asks nobody any more.
    """
    holds: dict[str, Event] = {}
    asked: set[str] = set()
    void: set[str] = set()
    left = list(changes)
    for event in answers:
        while left and left[0].seq < event.seq:
            asked |= _touched(holds, left.pop(0))
        _take(event, holds, asked, void)
    for change in left:
        asked |= _touched(holds, change)
    return {name: event for name, event in holds.items() if name not in void}, asked


def _touched(holds: dict[str, Event], change: Change) -> set[str]:
    return {name for name, event in holds.items() if event.klass in change.classes}


def _take(event: Event, holds: dict[str, Event], asked: set[str], void: set[str]) -> None:
    """Take the next answer in: all three are changed."""
    name = event.annotator
    new = name not in holds
    anew = name in asked
    asked.discard(name)
    void.discard(name)
    holds[name] = event
    if event.kind != "label":
        return
    if event.purpose == "review":
        void |= asked
        asked.clear()
    elif anew or (new and asked):
        if new:
            instead = min(asked, key=lambda other: holds[other].seq)
            asked.discard(instead)
            void.discard(instead)
            del holds[instead]
        void |= asked
