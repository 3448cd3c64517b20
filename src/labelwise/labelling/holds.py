"""Who is looking at which image now: it stays with a person for a while after the page asked for it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable

HELD = 120.0
"""Seconds for which an image stays with the person who was shown it last."""


class Holds:
    """Images by person, each until its time is over."""

    def __init__(self) -> None:
        self._until: dict[int, dict[str, float]] = defaultdict(dict)

    def take(self, image: int, person: str) -> None:
        """Give an image to a person, or let it stay with them."""
        self._until[image][person] = time.monotonic() + HELD

    def keep(self, images: Iterable[int], person: str) -> None:
        """Let those of the images stay with a person that are theirs, and take all others from them."""
        kept = set(images)
        for image in [image for image, people in self._until.items() if person in people]:
            if image in kept:
                self.take(image, person)
            else:
                self.free(image, person)

    def pass_on(self, images: Iterable[int], before: str, person: str) -> None:
        """Give a person what they have of their images under another name, and let that name's others go."""
        for image in images:
            if before in self._until.get(image, {}):
                self.take(image, person)
        self.keep((), before)

    def free(self, image: int | None, person: str) -> None:
        """Take an image from a person who has answered."""
        self._until.get(image or 0, {}).pop(person, None)

    def others(self, image: int, person: str) -> int:
        """Return how many others are looking at an image."""
        now = time.monotonic()
        return sum(until >= now for who, until in self._until.get(image, {}).items() if who != person)

    def of_others(self, person: str) -> dict[str, set[int]]:
        """Return the images that each other person is looking at."""
        now = time.monotonic()
        found: dict[str, set[int]] = defaultdict(set)
        for image, people in self._until.items():
            for who, until in people.items():
                if who != person and until >= now:
                    found[who].add(image)
        return dict(found)

    def all(self) -> set[int]:
        """Return the images that somebody is looking at."""
        now = time.monotonic()
        return {image for image, people in self._until.items() if any(until >= now for until in people.values())}
