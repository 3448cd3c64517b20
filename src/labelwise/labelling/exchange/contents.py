"""What is exchanged, whatever the format: people's answers, the order of the classes, and the test side."""

from __future__ import annotations

from dataclasses import dataclass, field

from labelwise.labelling.events import Event
from labelwise.labelling.snapshot import Snapshot
from labelwise.labelling.store import Image


@dataclass(frozen=True)
class Answer:
    """What one annotator says of one image.

    path, sha256: of the image, as the file has them, or ""; kind: label, unsure or skip; label: a class's name, or "";
    seconds, round: None where the file does not say; purpose: why it was shown, as in an event; where: the place in
    the file, for messages.
    """

    path: str
    sha256: str
    kind: str
    label: str
    annotator: str
    time: str = ""
    seconds: float | None = None
    round: int | None = None
    purpose: str = "import"
    where: str = ""


@dataclass(frozen=True)
class Contents:
    """A file's content. classes: names in their order; test: (path, sha256) of the images of the test side;

    notes: what was passed over, in words.
    """

    classes: list[str]
    answers: list[Answer]
    test: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def by_path(snapshot: Snapshot) -> list[Image]:
    """Return all images, in the order of their paths."""
    return sorted(snapshot.images, key=lambda image: image.path)


def answers_for(snapshot: Snapshot, image: Image) -> list[Answer]:
    """Return each annotator's answer that stands for an image, in their order; a blind repeat is none of them."""
    held = sorted(snapshot.board.standing(image.id).values(), key=lambda event: event.seq)
    return [_answer(snapshot, image, event) for event in held]


def _answer(snapshot: Snapshot, image: Image, event: Event) -> Answer:
    label = "" if event.klass is None else snapshot.name_of(event.klass)
    return Answer(
        image.path, image.sha256, event.kind, label, event.annotator, event.time, event.seconds, event.round,
        event.purpose,
    )  # fmt: skip


def contents(snapshot: Snapshot) -> Contents:
    """Return all that a round trip keeps."""
    images = by_path(snapshot)
    test = set(snapshot.test)
    return Contents(
        snapshot.classes,
        [answer for image in images for answer in answers_for(snapshot, image)],
        [(image.path, image.sha256) for image in images if image.id in test],
    )


def predicted(snapshot: Snapshot, image: Image) -> tuple[str, float] | None:
    """Return the model's class for an image without a label, and its probability; None where it said nothing."""
    if snapshot.probs is None or image.id in snapshot.board.labels or image.id > len(snapshot.probs):
        return None
    row = snapshot.probs[image.id - 1]
    best = int(row.argmax())  # a NaN is the largest
    if not row[best] >= 0:
        return None
    return snapshot.name_of(snapshot.columns[best]), round(float(row[best]), 6)
