"""A labelling project: a folder of its own with the store and the caches, opened by one process at a time."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

import sqlalchemy as sa

from labelwise.config import LITE0
from labelwise.data.scan import Scan
from labelwise.database import locked, now
from labelwise.errors import InputError, printable
from labelwise.labelling.board import Board, check_name
from labelwise.labelling.events import ANSWERS, CLASS_CHANGES, Event
from labelwise.labelling.folder import check_folder, gone_and_back, new_images, not_used, scan
from labelwise.labelling.snapshot import Snapshot
from labelwise.labelling.store import ProjectStore
from labelwise.zero_shot.file import check_paths

SUFFIX = ".labelwise"
"""Of a project's own folder, which lies beside the images' by default: see home_of."""
TOO_FEW = "at least two classes are needed: --classes cat,dog,other"
SETUP = "setup"
"""The annotator of the events that the command line makes."""
SLICE, MOST_OF_BUDGET, MOST_OF_IMAGES = 100, 0.5, 0.2
"""The random test slice: 100 images, a tenth of budgets above 1,000, but at most half of the budget and a fifth of all
images."""


OURS = frozenset({"cache", "exports", *(f"project.db{end}" for end in ("", "-wal", "-shm", "-journal"))})
"""What a project's own folder holds, beside hidden files."""


@dataclass(frozen=True)
class Settings:
    """What a project was asked to do. budget: labels, the test slice's included; slice: images in it, for good;

    given: the budget that the command line gave last, 0 for none; overlap: people an image; suggest: a zero-shot model
    (clip or file:PATH) for the first suggestions, or ""; resize: how images become squares for the model (crop, pad,
    stretch); bits: by which pixels of more than 8 bits are scaled, fixed when the first of them were read, 0 for none;
    id: tells projects apart in a browser's storage; port: where the page was served last.
    """

    budget: int = 200
    given: int = 0
    slice: int = 0
    strategy: str = "margin"
    overlap: int = 1
    seed: int = 0
    backbone: str = LITE0
    weights: str = "wheel"
    device: str = "auto"
    suggest: str = ""
    resize: str = "crop"
    bits: int = 0
    id: str = ""
    port: int = 0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Project:
    """An open project. images: the folder of the images; home: the project's own folder;

    not_used: what the last scan found beside the images, in words.
    """

    images: Path
    home: Path
    store: ProjectStore
    settings: Settings
    not_used: list[str] = field(default_factory=list)

    @property
    def cache(self) -> Path:
        """The folder of what can be made again: views, embeddings, the last predictions."""
        return self.home / "cache"

    def set(self, **changes: Any) -> None:
        """Record settings that change, and change them. Errors: InputError when nothing could be written."""
        settings = replace(self.settings, **changes)
        self.store.set_settings(asdict(settings))
        self.settings = settings

    def take_in(self, seen: Scan) -> tuple[int, int]:
        """Take in images that were added to the folder and note those that are gone; return how many of each."""
        known = self.store.images()
        added = new_images(seen.images, [image.path for image in known], self.settings.seed)
        changes = gone_and_back(known, seen.images)
        self.not_used = not_used(seen)
        self.store.add_images(added)
        self.store.update_images(changes)
        return len(added), sum(change["status"] == "missing" for change in changes)

    def snapshot(self) -> Snapshot:
        """Return the project as its store has it, without a model's predictions."""
        images = self.store.images()
        board = Board(len(images), self.store.events())
        return Snapshot(
            self.images,
            images,
            board,
            random_slice(board, [i.status for i in images], self.settings.slice),
            bits=self.settings.bits,
        )


def home_of(images: Path) -> Path:
    """Return where the project of a folder of images is kept by default: beside it."""
    beside = Path(os.path.abspath(images))  # "." has no parent of its own
    return beside.parent / f"{beside.name}{SUFFIX}"


def slice_size(budget: int, images: int) -> int:
    """Return how many images the random test slice has."""
    wanted = max(SLICE, budget // 10)
    return max(1, min(wanted, int(budget * MOST_OF_BUDGET), int(images * MOST_OF_IMAGES)))


def random_slice(board: Board, statuses: Sequence[str], size: int) -> list[int]:
    """Return the ids of the test slice: what was answered in it, then the first readable images in their random order.

    An image that was labelled for another reason never joins it.
    """
    shown = (e.image for e in board.log if e.kind in ANSWERS and e.purpose == "test")
    kept = {image for image in shown if image in board.stacks}  # also where a review is all that was not taken back
    for image, status in enumerate(statuses, 1):
        if len(kept) >= size:
            break
        if status in ("new", "ok") and image not in board.stacks:
            kept.add(image)
    return sorted(kept)


@contextmanager
def opened(home: Path, db: str | None = None) -> Iterator[Project]:
    """Open a project that is there, for this process alone. Errors: InputError when there is none, or it is in use."""
    if db is None and not (home / "project.db").is_file():
        raise InputError(
            f"there is no labelling project in {home}; make one with: labelwise label FOLDER --classes a,b"
        )
    with _locked(home), _store(home, db) as store:
        row = store.project()
        yield Project(Path(row["folder"]), home, store, Settings(**row["settings"]))


@contextmanager
def made_or_opened(
    images: Path, home: Path, db: str | None, classes: Sequence[str], changes: dict[str, Any]
) -> Iterator[Project]:
    """Make a project for a folder of images, or open it and take in new images, classes and changed settings.

    changes: settings that were given. Errors: InputError for a folder without images, too few classes, a project of
    another folder, settings that cannot change, and a project that is in use.
    """
    check_folder(images)
    _check_names(classes)
    if os.path.realpath(home) == os.path.realpath(images):
        raise InputError(f"--project {home} is the folder of the images; give it a folder of its own")
    if home.is_dir() and not (home / "project.db").is_file():
        _check_empty(home)
    seen = scan(images, home)
    if new := db is None and not (home / "project.db").is_file():  # before a folder is made
        _check_new(classes, seen, images, changes.get("suggest", ""))
    with _store(home, db) as store, _locked(home):  # a database that refuses leaves no folder behind
        fresh = not store.exists()
        added = _new_classes([] if fresh else store.events(), classes)
        if fresh:
            if not new:
                _check_new(classes, seen, images, changes.get("suggest", ""))
            settings = Settings(**changes)
            size = slice_size(settings.budget, len(seen.images))
            settings = replace(settings, id=uuid4().hex, given=changes.get("budget", 0), slice=size)
            store.create(os.path.abspath(images), version("labelwise"), asdict(settings))
        row = store.project()
        project = Project(Path(os.path.abspath(images)), home, store, Settings(**row["settings"]))
        if not fresh:
            _reopen(project, row["folder"], changes)
        project.take_in(seen)
        store.append(added)
        yield project


def _check_empty(home: Path) -> None:
    strange = sorted(name for name in os.listdir(home) if name not in OURS and not name.startswith("."))
    if strange:
        raise InputError(f"--project {home} holds other files ({printable(strange[0])}); give it a folder of its own")


def _check_new(classes: Sequence[str], seen: Scan, images: Path, suggest: str) -> None:
    if len(classes) < 2:
        raise InputError(TOO_FEW)
    if not seen.images:
        raise InputError(f"{images} holds no images (JPEG, PNG, WebP, BMP, GIF, TIFF, PPM), nor do its folders")
    if suggest.startswith("file:"):
        check_paths(suggest.removeprefix("file:"), [image.path for image in seen.images], str(images))


def _reopen(project: Project, folder: str, changes: dict[str, Any]) -> None:
    if folder != str(project.images):
        if os.path.isdir(folder):
            where, option = (project.home, "--project") if project.store.is_file else (project.store.name, "--db")
            raise InputError(f"{where} has the project of {folder}; choose another {option} for {project.images}")
        project.store.set_folder(str(project.images))  # the images were moved
    now = asdict(project.settings)
    for name in ("seed", "backbone", "weights", "resize"):
        if name in changes and changes[name] != now[name]:
            raise InputError(f"--{name}: the project was made with {now[name]}, and that cannot change")
    budget = changes.get("budget", now["given"])
    if budget == now["given"]:  # the same command again: what was set on the page since holds
        changes = {name: value for name, value in changes.items() if name != "budget"}
    else:
        if budget < now["budget"]:
            check_budget(budget, len(project.snapshot().board.bought), "--budget")
        changes = {**changes, "given": budget}
    if {**now, **changes} != now:
        project.set(**changes)


def check_budget(budget: int, labelled: int, what: str) -> None:
    """Refuse a budget below the images that are labelled already. Errors: InputError."""
    if budget < labelled:
        raise InputError(f"{what} {budget:,}: {labelled:,} images are labelled already; give that many or more")


def _check_names(classes: Sequence[str]) -> None:
    """Refuse class names that cannot be used, before anything is made. Errors: InputError."""
    folded = Counter(name.casefold() for name in classes)
    if twice := [name for name in dict.fromkeys(classes) if folded[name.casefold()] > 1]:
        raise InputError(f"--classes: {', '.join(twice)} twice")
    for name in classes:
        check_name(name)


def _new_classes(events: Sequence[Event], classes: Sequence[str]) -> list[Event]:
    """Return events that add the classes that are not there yet. Errors: InputError for a name that is taken."""
    board = Board(0)
    for event in events:
        if event.kind in CLASS_CHANGES:
            board.apply(event)
    seq = max((event.seq for event in events), default=0)
    known = {event.name for event in board.log if event.kind == "class-added"} | set(board.names.values())
    added: list[Event] = []
    for name in classes:
        if name in known:
            continue  # also one that was merged away or renamed: it is not brought back by an old command
        klass = len(board.names)
        uuid = str(uuid5(NAMESPACE_URL, f"labelwise:{klass}:{name}"))
        event = Event(uuid, "class-added", SETUP, klass=klass, name=name).at(seq + len(added) + 1, now())
        board.check(event)
        board.apply(event)
        added.append(event)
    return added


def _locked(home: Path) -> AbstractContextManager[None]:
    busy = f"{home} is open in another labelwise process; use its page, or stop it first"
    return locked(home, busy, "--project")


@contextmanager
def _store(home: Path, db: str | None) -> Iterator[ProjectStore]:
    """Open the store; a PostgreSQL database is locked too, since another machine's server may have it."""
    store = ProjectStore(home / "project.db" if db is None else db)
    try:
        if db is None:
            yield store
        else:
            with _advisory_lock(store):
                yield store
    finally:
        store.engine.dispose()


@contextmanager
def _advisory_lock(store: ProjectStore) -> Iterator[None]:
    try:
        connection = store.engine.connect()
    except sa.exc.DBAPIError as error:
        reason = " ".join(str(error.orig).split())
        raise InputError(f"--db {store.name}: {reason}; check that the server runs and the address") from None
    with connection:
        if not connection.scalar(sa.text("SELECT pg_try_advisory_lock(1819042149)")):
            raise InputError(f"--db {store.name} is in use by another labelwise server; use its page, or stop it first")
        connection.commit()
        yield
