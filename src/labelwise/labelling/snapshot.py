"""A project as it is now, in plain arrays and rows: what is exported, and what training starts from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelwise.labelling.board import Board
from labelwise.labelling.events import Event
from labelwise.labelling.store import Image


@dataclass(frozen=True)
class Snapshot:
    """folder: of the images; images: all, by id; board: classes and answers; test: ids of the test slice;

    probs: (N, K) float32 of the last model by image id - 1, columns in the order of `columns` (class ids), NaN where it
    said nothing, or None; model: what it is called; bits: see Settings.
    """

    folder: Path
    images: list[Image]
    board: Board
    test: list[int]
    probs: NDArray[np.float32] | None = None
    columns: tuple[int, ...] = ()
    model: str = ""
    bits: int = 0

    @property
    def classes(self) -> list[str]:
        """Names of the classes that hold, in their order."""
        return [self.board.names[k] for k in self.board.classes]

    def name_of(self, klass: int) -> str:
        """Return the name of the class that a class id means now."""
        return self.board.names[self.board.resolved(klass)]

    def answers(self) -> list[Event]:
        """Return every annotator's answers that hold, blind repeats included, in their order."""
        return self.board.kept()

    def side(self, image: int) -> str:
        """Return the side of an image: test, train, or "".

        Neither has what has no label, and what is labelled but looks like an image of the test slice.
        """
        if image in self._sides[0]:
            return "test"
        alike = self.images[image - 1].grp in self._sides[1]
        return "train" if image in self.board.labels and not alike else ""

    @cached_property
    def _sides(self) -> tuple[frozenset[int], frozenset[int | None]]:
        """Ids of the test slice, and the groups of near-duplicates that it touches."""
        groups = frozenset(self.images[image - 1].grp for image in self.test)
        return frozenset(self.test), groups - {None}
