"""From a file's content to events: which image is meant, which classes are new, and what is there already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from labelwise.data import meant
from labelwise.data.labels import same
from labelwise.errors import InputError, printable
from labelwise.labelling.board import Board
from labelwise.labelling.events import Event
from labelwise.labelling.exchange.contents import Answer, Contents
from labelwise.labelling.exchange.reading import moment
from labelwise.labelling.store import Image

IMPORTER = "import"
"""The annotator of the events that add classes."""
OURS = uuid5(NAMESPACE_URL, "labelwise:import")


@dataclass(frozen=True)
class Imported:
    """events: to be appended in this order, none of them known yet; test: ids of the images of the file's test side;

    notes: what was not taken, and why, in words.
    """

    events: list[Event]
    test: list[int]
    notes: list[str]

    @property
    def answers(self) -> int:
        """How many people's answers are new."""
        return sum(event.image is not None for event in self.events)


def incoming(file: Path, found: Contents, folder: Path, images: Sequence[Image], board: Board) -> Imported:
    """Turn a file's content into events of a project. Their ids come from the content: importing twice adds nothing.

    An answer that is not newer than what the same person says in the project is passed over. Errors: InputError when no
    row is of an image of the project, for names of files that several may have, and for classes' that cannot be used.
    """
    finder = Finder(folder, images)
    trial = Board(board.images, board.log)
    events: list[Event] = []

    def take(event: Event, where: str) -> None:
        if event.uuid not in trial.uuids:
            try:
                trial.check(event)
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
            trial.apply(event.at(trial.seq + 1, ""))
            events.append(event)

    for name in found.classes:
        if _class_id(trial, name) is None:
            klass = max(trial.names, default=-1) + 1
            take(
                Event(_class_uuid(name), "class-added", IMPORTER, klass=klass, name=name),
                f"{file}, class '{printable(name)[:100]}'",
            )
    ours = set(trial.names.values())
    respelt = [name for name in found.classes if name not in ours and same(name) in map(same, ours)]
    nowhere: dict[str, None] = {}
    older = 0
    named = [*found.test, *((answer.path, answer.sha256) for answer in found.answers)]
    means = finder.find_all(named, str(file))
    test = [image.id for one in found.test if (image := means[one]) is not None]
    fresh = {i for i in test if i not in board.stacks}  # what was labelled for another reason never joins the slice
    placed = [(answer, means[answer.path, answer.sha256]) for answer in found.answers]
    _check_one_answer(file, placed)
    drawn = {image.id for answer, image in placed if image is not None and answer.purpose != "review"}
    for answer, image in placed:
        if image is None:
            nowhere[answer.path or answer.sha256] = None
            continue
        purpose = "test" if image.id in fresh else "import"
        if answer.purpose == "review" and (purpose == "import" or image.id in drawn):
            purpose = "review"  # but where all are reviews, the first one says that it is of the test slice
        drawn.add(image.id)
        if (event := _event(trial, answer, image, purpose)).uuid in board.uuids:
            continue
        if (stale := _holds(board, event)) is not None:
            older += stale
        else:
            take(event, answer.where or str(file))
    if found.answers and len(nowhere) == len({a.path or a.sha256 for a in found.answers}):
        first = next(iter(nowhere))
        told = f"{printable(first)[:200]}, ...{finder.elsewhere(first)}"
        raise InputError(f"{file}: no row is of an image of the project ({told}); is it the right file?")
    return Imported(events, sorted(set(test)), _notes(found, list(nowhere), older, respelt, finder))


def _check_one_answer(file: Path, placed: Sequence[tuple[Answer, Image | None]]) -> None:
    """Refuse different labels of one person for one image where no time says which is the last. Errors: InputError."""
    said: dict[tuple[str, int], dict[str, str]] = defaultdict(dict)
    for answer, image in placed:
        if image is not None and not answer.time and answer.kind == "label" and answer.purpose != "review":
            said[answer.annotator, image.id][answer.label] = answer.path or answer.sha256
    double = [labels for labels in said.values() if len(labels) > 1]
    if double:
        path = printable(next(iter(double[0].values())))[:200]
        named = " and ".join(printable(label)[:100] for label in double[0])
        raise InputError(
            f"{file}: {len(double):,} images have different labels of one person: {path} ({named}); keep one"
        )


def _notes(found: Contents, nowhere: list[str], older: int, respelt: list[str], finder: Finder) -> list[str]:
    notes = list(found.notes)
    if respelt:
        shown = ", ".join(repr(printable(name)) for name in respelt[:5]) + (", ..." if len(respelt) > 5 else "")
        notes.append(f"{len(respelt):,} class names differ from the project's in spaces or Unicode form alone: {shown}")
    if nowhere:
        shown = ", ".join(printable(path)[:200] for path in nowhere[:5]) + (", ..." if len(nowhere) > 5 else "")
        notes.append(f"{len(nowhere):,} images of the file are not in the project, or have another content: {shown}")
    if older:
        notes.append(f"{older:,} answers are older than what the same person says in the project, and were passed over")
    if finder.by_name_alone:
        shown = ", ".join(sorted(finder.by_name_alone)[:5])
        notes.append(f"{len(finder.by_name_alone):,} images were found by their file name alone: {shown}")
    return notes


def _class_uuid(name: str) -> str:
    return str(uuid5(OURS, f"class\x1f{name}"))


def _class_id(board: Board, name: str) -> int | None:
    """Return the class that a name means: one that holds, that was merged away, or that was imported and renamed.

    A name that differs from a class's in spaces or Unicode form alone means that class.
    """
    named = [klass for klass in board.names if board.names[klass] == name]
    named = named or [klass for klass in board.names if same(board.names[klass]) == same(name)]
    holding = [klass for klass in named if klass not in board.merged]
    if named:
        return board.resolved((holding or named)[0])
    event = board.uuids.get(_class_uuid(name))
    return None if event is None or event.klass is None else board.resolved(event.klass)


def _event(board: Board, answer: Answer, image: Image, purpose: str) -> Event:
    klass = _class_id(board, answer.label) if answer.kind == "label" else None
    numbers = (repr(answer.seconds), str(answer.round))
    said = (image.path, answer.annotator, answer.kind, answer.label, answer.time, *numbers)
    return Event(
        str(uuid5(OURS, "\x1f".join(said))), answer.kind, answer.annotator, image.id, klass, purpose=purpose,
        round=answer.round, seconds=answer.seconds, time=answer.time,
    )  # fmt: skip


def _holds(board: Board, event: Event) -> bool | None:
    """Return None for an event that says something new; else whether the project has something newer and different."""
    assert event.image is not None
    now = board.answers(event.image).get(board.person(event.annotator))
    if now is None:
        return None
    if (now.kind, None if now.klass is None else board.resolved(now.klass)) == (event.kind, event.klass):
        return False
    return True if event.time and now.time and moment(event.time) <= moment(now.time) else None


class Finder:
    """Finds the image that a file means: by its content, else by its name (see `data.meant`)."""

    def __init__(self, folder: Path, images: Sequence[Image]) -> None:
        self.images = images
        self.names = meant.Finder([image.path for image in images], folder)
        self.by_content: dict[str, list[Image]] = defaultdict(list)
        self.by_name_alone: set[str] = set()
        for image in images:
            if image.sha256:
                self.by_content[image.sha256].append(image)

    def find(self, path: str, sha256: str = "") -> Image | None:
        """Return the image, or None. Errors: InputError for a name that several images may have."""
        if sha256 in self.by_content:
            return self._same(path, sha256)
        found = self.names.find(path)
        if found.candidates:
            raise InputError(f"{printable(path)[:200]} may be {self.names.candidates(found)}")
        return self._unless_other(found, sha256)

    def find_all(self, named: Sequence[tuple[str, str]], where: str) -> dict[tuple[str, str], Image | None]:
        """Return the image of each (path, sha256). where: the file. Errors: InputError for unclear names, all at once.

        A known content decides; a name counts only where the contents do not differ.
        """
        found = self.names.find_all([path for path, sha256 in named if sha256 not in self.by_content], where)
        self.by_name_alone |= {path for path, image in found.items() if image.by_name}
        return {
            (path, sha256): self._same(path, sha256) if sha256 in self.by_content
            else self._unless_other(found[path], sha256)
            for path, sha256 in named
        }  # fmt: skip

    def elsewhere(self, path: str) -> str:
        """Say that an image has a name, where only the folders differ."""
        name = path.replace("\\", "/").rpartition("/")[2]
        found = self.names.find(name)
        there = [*found.candidates, found.index][0]
        return f"; {self.images[there].path} lies in another folder" if there >= 0 and name != path else ""

    def _same(self, path: str, sha256: str) -> Image:
        """Return the image of a content; of several copies the one that the name means, else the first."""
        same = self.by_content[sha256]
        found = self.names.find(path) if len(same) > 1 else meant.NONE
        ids = {self.images[i].id for i in (found.index, *found.candidates) if i >= 0}
        return next((image for image in same if image.id in ids), same[0])

    def _unless_other(self, found: meant.Meant, sha256: str) -> Image | None:
        image = None if found.index < 0 else self.images[found.index]
        return None if image is not None and sha256 and image.sha256 else image
