"""Images of more than 8 bits on their way into the cache: they are scaled when the depth of all of them is known.

Every file is decoded once. Small ones wait in a file of their own, and take their places among the others' pixels at
the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from labelwise.data.decode import ImageInfo
from labelwise.data.depth import depth_of, problem, scaled

ROWS = 256
"""Images that are moved at a time."""


@dataclass
class Deep:
    """Images of more than 8 bits. found: by position; rows: of those whose values wait, in order."""

    values: BinaryIO
    found: dict[int, ImageInfo] = field(default_factory=dict)
    rows: list[int] = field(default_factory=list)

    def write(self, found: ImageInfo, row: int, pixels: BinaryIO) -> None:
        """Write a small image's pixels, or zeros in their place until `fill`."""
        if found.values is None:
            pixels.write(found.pixels or b"")
        else:
            pixels.write(bytes(3 * len(found.values) // 2))
            self.values.write(found.values)
            self.rows.append(row)

    def note(self, position: int, found: ImageInfo) -> None:
        """Keep what is needed of an image, if it has more than 8 bits."""
        if found.peak:
            self.found[position] = replace(found, look=b"", pixels=None, values=None)

    def depth(self, training: NDArray[np.bool_] | None) -> int:
        """Return the depth of all: that of the training images, or of all where nothing says which these are."""
        peaks = [found.peak for at, found in self.found.items() if training is None or training[at]]
        return depth_of(max(peaks, default=0))

    def refused(self, bits: int) -> dict[int, str]:
        """Return which images cannot be scaled by a depth, and why."""
        whys = {at: problem(found.peak, bits, found.upper_only) for at, found in self.found.items()}
        return {at: why for at, why in whys.items() if why}

    def depths(self, refused: dict[int, str]) -> dict[int, int]:
        """Return how many of the others would have which depth of their own."""
        return dict(Counter(depth_of(f.peak) or 8 for at, f in self.found.items() if at not in refused))

    def fill(self, pixels: BinaryIO, values_each: int, bits: int) -> None:
        """Write waiting images into their rows of `pixels`, each of values_each x 3 bytes."""
        self.values.seek(0)
        for row in self.rows:
            grey = scaled(np.frombuffer(self.values.read(2 * values_each), np.uint16), bits or 16)
            pixels.seek(3 * values_each * row)
            pixels.write(np.repeat(grey, 3).tobytes())


def only(path: Path, row_bytes: int, kept: Sequence[bool]) -> None:
    """Take the other rows out of a file, in place."""
    with path.open("r+b") as file:
        done = 0
        for start in range(0, len(kept), ROWS):
            part = np.array(kept[start : start + ROWS])
            file.seek(start * row_bytes)
            rows = np.frombuffer(file.read(len(part) * row_bytes), np.uint8).reshape(len(part), -1)[part]
            file.seek(done * row_bytes)
            file.write(rows.tobytes())
            done += len(rows)
        file.truncate(done * row_bytes)
