"""labelwise's own CSV of answers as a table of images: `export` writes a row an answer, and a study needs one an image.

The label of an image is what most people say, or the last review's decision, as in the project that it came from.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Indices
from labelwise.data.labels import MINUS_ONE, NOTHING, plain
from labelwise.errors import InputError, nearest, printable

CLASS, LABEL, REVIEW, TEST = "class", "label", "review", "test"
STATUSES = (LABEL, "unsure", "skip", "predicted", "unlabelled", "unreadable", "missing", CLASS)
"""Of a row: a person's answer; the model's; an image without either; a class, for their order. Nothing is a label."""
COLUMNS = ("status", "source", "sha256", "annotator")
"""Columns of the export that a study reads beside path and label."""
PREDICTED = "probability"
"""The column that stands beside labels which a model gave: in what `predict` and `pick` print."""


@dataclass(frozen=True)
class Answers:
    """The rows of such a file: (n,) texts each; an absent column holds "" in all rows."""

    paths: Sequence[str]
    labels: Sequence[str]
    statuses: Sequence[str]
    sources: Sequence[str]
    people: Sequence[str]

    @property
    def ours(self) -> bool:
        """Whether these are labelwise's statuses, and not those of somebody else's table."""
        found = set(self.statuses) - {""}
        return bool(found) and found <= {*STATUSES}


@dataclass(frozen=True)
class Settled:
    """rows: (N,) each labelled image's row, one that says its label; test: (N,) bool, of the test slice, None

    where no image is; classes: names in their order, or None where no row says it; unused, notes: as in a Listing.
    """

    rows: Indices
    test: NDArray[np.bool_] | None
    classes: tuple[str, ...] | None
    unused: dict[str, int]
    notes: tuple[str, ...]

    def places(self, labels: Sequence[str]) -> list[str | int]:
        """Return labels as places in `classes`, where a row names these; -1 for a -1 that no row calls a class."""
        if self.classes is None:
            return [*labels]
        known = {name: k for k, name in enumerate(self.classes)}
        return [known.get(label, -1) for label in labels]


@dataclass
class _Image:
    first: str
    labels: list[tuple[int, bool]] = field(default_factory=list)  # row, whether it is a review
    people: set[str] = field(default_factory=set)
    test: bool = False


def refuse_strange(where: str, answers: Answers, place: Sequence[int]) -> None:
    """Refuse an export with a status that is none of its own: read as somebody's table, predictions would be labels.

    place: the line of each row. Errors: InputError.
    """
    for row, status in enumerate(answers.statuses):
        if status and status not in STATUSES:
            raise InputError(
                f"{where}: an export of labelwise, and '{printable(status[:40])}' (line {place[row]}) is no status"
                f"{nearest(status, STATUSES)}"
            )


def settle(where: str, answers: Answers, place: Sequence[int]) -> Settled:
    """Return the labelled images. place: the line of each row. Errors: InputError for none, and for unclear rows."""
    images: dict[str, _Image] = {}
    declared: dict[str, None] = {}
    for row, status in enumerate(answers.statuses):
        if status == CLASS:
            declared[answers.labels[row]] = None
        else:
            _take(where, images, answers, row, place[row])
    rows, test, unused = list[int](), list[bool](), Counter[str]()
    for image in images.values():
        decided = _decided(image, answers.labels)
        if decided is not None:
            rows.append(decided)
            test.append(image.test)
        elif image.labels:
            unused["images on which people disagree"] += 1
        else:
            unused[f"images without a label ({image.first})"] += 1
    if not rows:
        raise InputError(f"{where}: an export of labelwise in which no image has a label; label some first")
    note = f"an export of labelwise: {len(rows):,} images have a label, that of most people or of a review"
    split = f"; {sum(test):,} of them are of its test slice (column source), the test set here" if any(test) else ""
    classes = _classes(where, declared, [answers.labels[row] for row in rows]) if declared else None
    sliced = any(image.test for image in images.values())
    return Settled(np.array(rows, np.int64), np.array(test) if sliced else None, classes, dict(unused), (note + split,))


def _take(where: str, images: dict[str, _Image], answers: Answers, row: int, line: int) -> None:
    """Take a row in. Errors: InputError for a person who answers twice."""
    status, words = answers.statuses[row] or LABEL, answers.sources[row].split(" ")
    image = images.setdefault(answers.paths[row], _Image(status))
    image.test |= words[0] == TEST
    if status not in STATUSES[:3]:
        return
    person = answers.people[row].casefold()
    if person in image.people:
        who = f"by {answers.people[row]}" if person else "by nobody who is named"
        raise InputError(f"{where}: two answers {who} for {answers.paths[row]} (line {line}); keep one")
    image.people.add(person)
    if status == LABEL:
        image.labels.append((row, words[-1] == REVIEW))


def _decided(image: _Image, labels: Sequence[str]) -> int | None:
    """Return a row that says the image's label, or None where people disagree, or say none."""
    if decided := [row for row, review in image.labels if review]:
        return decided[-1]
    rows = defaultdict[str, list[int]](list)
    for row, _ in image.labels:
        rows[labels[row]].append(row)
    first, second = (*sorted(rows.values(), key=len, reverse=True), [], [])[:2]
    return first[0] if len(first) > len(second) else None


def _classes(where: str, declared: dict[str, None], used: Sequence[str]) -> tuple[str, ...]:
    """Return the declared classes, and those of other labels after them. Errors: InputError for labels like none."""
    others = [name for name in dict.fromkeys(used) if name not in declared and not MINUS_ONE.fullmatch(name.strip())]
    if empty := [name for name in others if plain(name) in NOTHING]:
        raise InputError(f"{where}: the label '{empty[0]}' reads like none, and no row of the status class names it")
    return (*declared, *others)
