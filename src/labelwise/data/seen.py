"""What was read of a source, for people to check before anything is spent: `labelwise inspect`, and lines of `run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Labels
from labelwise.data.sides import listed

FEW = 10
"""Images of a class in training below which its results say little."""


@dataclass(frozen=True)
class ClassSeen:
    """One class: its images in the pool and in the test set."""

    name: str
    pool: int
    test: int


@dataclass(frozen=True)
class Sizes:
    """Sizes in pixels, (width, height), of the fewest and the most pixels and the commonest; different: their number.

    lost, most_lost: the share of an image that a square cut from its centre leaves out, on average and at most.
    """

    smallest: tuple[int, int]
    largest: tuple[int, int]
    commonest: tuple[int, int]
    different: int
    lost: float
    most_lost: float


@dataclass(frozen=True)
class Seen:
    """What was read. kind: of source; split: how pool and test set were told apart; groups: declared ones;

    unreadable: name -> reason; unused: what lies there and is not used -> how many; sizes, modes (Pillow's -> images):
    None and empty without images; equal, alike: test images that are the same as one of the pool, or look like it
    (these among them); notes: what else is to be known.
    """

    source: str = ""
    kind: str = ""
    split: str = ""
    classes: tuple[ClassSeen, ...] = ()
    groups: int = 0
    unreadable: Mapping[str, str] = field(default_factory=dict)
    unused: Mapping[str, int] = field(default_factory=dict)
    sizes: Sizes | None = None
    modes: Mapping[str, int] = field(default_factory=dict)
    equal: int = 0
    alike: int = 0
    resize: str = "crop"
    notes: tuple[str, ...] = ()

    @property
    def pool(self) -> int:
        """Images to learn from."""
        return sum(found.pool for found in self.classes)

    @property
    def test(self) -> int:
        """Images of the test set."""
        return sum(found.test for found in self.classes)

    @property
    def things(self) -> str:
        """What the data are of: images, or rows of features."""
        return "images" if self.sizes else "rows"

    @property
    def few(self) -> tuple[str, ...]:
        """Classes with fewer than FEW images in the pool."""
        return tuple(found.name for found in self.classes if found.pool < FEW)

    @property
    def untested(self) -> tuple[str, ...]:
        """Classes without images in the test set."""
        return tuple(found.name for found in self.classes if not found.test)

    def record(self) -> dict[str, Any]:
        """Return it as plain values, for JSON and for the records."""
        found = asdict(self)
        found["classes"] = [asdict(one) for one in self.classes]
        return {**found, "pool": self.pool, "test": self.test, "few": list(self.few), "untested": list(self.untested)}

    def lines(self) -> list[str]:
        """Return three to five lines that say what was read."""
        lines = self._data(), self._classes(), self._images(), self._passed_over(), self._look()
        return [line for line in lines if line]

    def _data(self) -> str:
        sides = f"pool {self.pool:,}, test set {self.test:,} ({self.split})"
        return f"Data: {self.source}{f' ({self.kind})' if self.kind else ''}: {sides}"

    def _classes(self) -> str:
        counts = [found.pool for found in self.classes]
        if min(counts) == max(counts):
            each = f"{counts[0]:,} {self.things} each in the pool"
        else:
            each = f"{min(counts):,} to {max(counts):,} {self.things} in the pool"
        grouped = f"; {self.groups:,} groups, each on one side" if self.groups else ""
        return f"{len(self.classes):,} classes ({listed([found.name for found in self.classes])}), {each}{grouped}"

    def _images(self) -> str:
        if self.sizes is None:
            return ""
        (wide, high), sizes = self.sizes.commonest, self.sizes
        said = f"Images: {wide}x{high}"
        if sizes.different > 1:
            said = f"Images: {sizes.smallest[0]}x{sizes.smallest[1]} to {sizes.largest[0]}x{sizes.largest[1]} pixels"
        modes = ", ".join(f"{mode} {count:,}" for mode, count in self.modes.items())
        lost = ""
        if self.resize == "crop" and sizes.most_lost >= 0.05:
            lost = (
                f"; the centre crop leaves out {sizes.lost:.0%} of an image on average, {sizes.most_lost:.0%} at most "
                "(resize: pad or stretch keep all)"
            )
        return f"{said}, {modes}{lost}"

    def _passed_over(self) -> str:
        parts = [f"{what}: {count:,}" for what, count in self.unused.items() if count]
        if self.unreadable:
            parts.insert(0, f"unreadable images: {len(self.unreadable):,}")
        return f"Not used: {'; '.join(parts)}" if parts else ""

    def _look(self) -> str:
        """Return what to look at, in a line."""
        parts = []
        if self.alike:
            alike = f"{self.alike:,} test {self.things} look like {self.things} of the pool"
            parts.append(f"{alike} ({self.equal:,} are equal to one)")
        if self.few:
            parts.append(f"fewer than {FEW} {self.things} in the pool: {listed(self.few)}")
        if self.untested:
            parts.append(f"no {self.things} in the test set: {listed(self.untested)}")
        return f"Look at: {'; '.join(parts)}" if parts else ""


def sizes_of(shapes: NDArray[np.int32]) -> Sizes:
    """Return what is to be known of images' (N, 2) sizes in pixels, (height, width)."""
    high, wide = shapes.T.astype(np.int64)
    pixels = high * wide
    lost = 1 - np.minimum(high, wide) ** 2 / pixels
    different, counts = np.unique(shapes, axis=0, return_counts=True)

    def pair(shape: NDArray[np.int32]) -> tuple[int, int]:
        return int(shape[1]), int(shape[0])

    return Sizes(
        smallest=pair(shapes[pixels.argmin()]),
        largest=pair(shapes[pixels.argmax()]),
        commonest=pair(different[counts.argmax()]),
        different=len(different),
        lost=float(lost.mean()),
        most_lost=float(lost.max()),
    )


def classes_of(names: Sequence[str], labels: Labels, is_test: NDArray[np.bool_]) -> tuple[ClassSeen, ...]:
    """Count each class's images on both sides. labels: (N,); is_test: (N,)."""
    pool, test = (np.bincount(labels[side], minlength=len(names)).tolist() for side in (~is_test, is_test))
    return tuple(ClassSeen(*found) for found in zip(names, pool, test, strict=True))
