"""A labelling project's store: images, events (append-only) and rounds, in SQLite or PostgreSQL, with one writer."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import sqlalchemy as sa

from labelwise.database import now, server_name, sqlite, transaction
from labelwise.errors import InputError
from labelwise.labelling.events import Event

SCHEMA = 1
KEPT = "acknowledged labels are kept, and what waits is sent when this works again"
META = sa.MetaData()
PROJECT = sa.Table(
    "project", META,
    sa.Column("schema", sa.Integer, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("folder", sa.Text, nullable=False),  # of the images
    sa.Column("settings", sa.Text, nullable=False),  # JSON
    sa.Column("created", sa.Text, nullable=False),
)  # fmt: skip
IMAGES = sa.Table(
    "images", META,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),  # in random order: 1, 2, ... is a random sample
    sa.Column("path", sa.Text, nullable=False, unique=True),  # below the folder
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("mtime_ns", sa.BigInteger, nullable=False),
    sa.Column("status", sa.Text, nullable=False),  # new, ok, unreadable, missing
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Column("sha256", sa.Text, nullable=False, default=""),  # of the file's content
    sa.Column("width", sa.Integer, nullable=False, default=0),
    sa.Column("height", sa.Integer, nullable=False, default=0),
    sa.Column("look", sa.LargeBinary),  # the grey thumbnail by which near-duplicates are found
    sa.Column("grp", sa.Integer),  # near-duplicates have the same; None: there are none, or not known yet
)  # fmt: skip
EVENTS = sa.Table(
    "events", META,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("uuid", sa.Text, nullable=False, unique=True),
    sa.Column("time", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("annotator", sa.Text, nullable=False),
    sa.Column("image", sa.ForeignKey("images.id")),
    sa.Column("klass", sa.Integer),
    sa.Column("into", sa.Integer),
    sa.Column("name", sa.Text),
    sa.Column("undoes", sa.Text),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("round", sa.Integer),
    sa.Column("seconds", sa.Float),
    sa.Column("suggested", sa.Integer),
    sa.Column("shown", sa.Boolean, nullable=False),
    sa.Column("again", sa.Boolean, nullable=False),
)  # fmt: skip
ROUNDS = sa.Table(
    "rounds", META,
    sa.Column("round", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time", sa.Text, nullable=False),
    sa.Column("result", sa.Text, nullable=False),  # JSON: see training.Trained
)  # fmt: skip

FILE = "file://"
"""Begins a folder's address where its path is no text."""


@dataclass(frozen=True)
class Image:
    """One image of a project: see the table."""

    id: int
    path: str
    bytes: int
    mtime_ns: int
    status: str = "new"
    reason: str = ""
    sha256: str = ""
    width: int = 0
    height: int = 0
    grp: int | None = None


class ProjectStore:
    """An open store. Reading is safe from any thread and process; only one process writes (see project.opened)."""

    def __init__(self, where: Path | str, read_only: bool = False) -> None:
        self.engine = sqlite(where, read_only) if isinstance(where, Path) else _server(where)
        self.is_file = isinstance(where, Path)
        self.name = str(where) if isinstance(where, Path) else server_name(self.engine.url)

    def transaction(self) -> Any:
        """Return a context manager with a connection: committed whole, or rolled back. Errors: InputError."""
        return transaction(self.engine, self.name, KEPT)

    def exists(self) -> bool:
        """Return whether the tables are there."""
        with self.transaction() as connection:
            return bool(sa.inspect(connection).has_table("project"))

    def create(self, folder: str, version: str, settings: dict[str, Any]) -> None:
        """Make the tables and the project's own row."""
        with self.transaction() as connection:
            META.create_all(connection)
            row = {"folder": _as_text(folder), "version": version, "settings": json.dumps(settings), "created": now()}
            connection.execute(PROJECT.insert().values(schema=SCHEMA, **row))

    def project(self) -> dict[str, Any]:
        """Return the project's row, its settings as a dict. Errors: InputError for another version's store."""
        with self.transaction() as connection:
            row = connection.execute(sa.text("SELECT * FROM project")).mappings().one()
        if row["schema"] != SCHEMA:
            raise InputError(f"{self.name} was made by another version of labelwise ({row['version']}); use that one")
        return {**row, "folder": _as_path(row["folder"]), "settings": json.loads(row["settings"])}

    def set_settings(self, settings: dict[str, Any]) -> None:
        """Record settings that changed, such as a larger budget."""
        with self.transaction() as connection:
            connection.execute(PROJECT.update().values(settings=json.dumps(settings)))

    def set_folder(self, folder: str) -> None:
        """Record where the images are now, after they were moved."""
        with self.transaction() as connection:
            connection.execute(PROJECT.update().values(folder=_as_text(folder)))

    def images(self) -> list[Image]:
        """Return all images by id."""
        columns = [column for column in IMAGES.c if column.name != "look"]
        with self.transaction() as connection:
            return [Image(*row) for row in connection.execute(sa.select(*_ordered(columns)).order_by(IMAGES.c.id))]

    def add_images(self, images: Sequence[Image]) -> None:
        """Add images that were found."""
        if images:
            with self.transaction() as connection:
                connection.execute(IMAGES.insert(), [asdict(image) for image in images])

    def update_images(self, changes: Iterable[dict[str, Any]]) -> None:
        """Change columns of images: dicts with `id` and the same other keys in each."""
        changes = list(changes)
        if changes:
            values: dict[str, Any] = {key: sa.bindparam(f"new_{key}") for key in changes[0] if key != "id"}
            query = IMAGES.update().where(IMAGES.c.id == sa.bindparam("which")).values(values)
            rows = [{"which": c["id"], **{f"new_{key}": c[key] for key in values}} for c in changes]
            with self.transaction() as connection:
                connection.execute(query, rows)

    def looks(self) -> tuple[list[int], list[bytes], list[str]]:
        """Return ids, grey thumbnails and content hashes of the readable images that have been read, by id."""
        query = sa.select(IMAGES.c.id, IMAGES.c.look, IMAGES.c.sha256).where(IMAGES.c.status == "ok")
        with self.transaction() as connection:
            rows = connection.execute(query.order_by(IMAGES.c.id)).all()
        return [row.id for row in rows], [row.look for row in rows], [row.sha256 for row in rows]

    def events(self) -> list[Event]:
        """Return all events in their order."""
        names = list(Event.__dataclass_fields__)
        with self.transaction() as connection:
            rows = connection.execute(sa.select(*[EVENTS.c[name] for name in names]).order_by(EVENTS.c.seq)).all()
        return [Event(*row) for row in rows]

    def append(self, events: Sequence[Event]) -> None:
        """Write events, all or none; they are durable when this returns. Errors: InputError, none is written."""
        if events:
            with self.transaction() as connection:
                connection.execute(EVENTS.insert(), [asdict(event) for event in events])

    def add_round(self, number: int, result: dict[str, Any]) -> None:
        """Record what a training found."""
        with self.transaction() as connection:
            connection.execute(ROUNDS.insert().values(round=number, time=now(), result=json.dumps(result)))

    def update_round(self, number: int, result: dict[str, Any]) -> None:
        """Record what was found later of a training."""
        with self.transaction() as connection:
            connection.execute(ROUNDS.update().where(ROUNDS.c.round == number).values(result=json.dumps(result)))

    def rounds(self) -> list[dict[str, Any]]:
        """Return the results of all trainings, each with its round and time."""
        with self.transaction() as connection:
            rows = connection.execute(sa.select(ROUNDS).order_by(ROUNDS.c.round)).all()
        return [{"round": row.round, "time": row.time, **json.loads(row.result)} for row in rows]


def _ordered(columns: list[Any]) -> list[Any]:
    names = list(Image.__dataclass_fields__)
    return sorted(columns, key=lambda column: names.index(column.name))


def _server(url: str) -> sa.Engine:
    """Connect to PostgreSQL. Errors: InputError for what is no such address, or a driver that is missing."""
    try:
        made = sa.make_url(url)
        if made.get_backend_name() != "postgresql":
            raise InputError(
                f"--db: {made.get_backend_name()} is not supported; give postgresql+psycopg://USER@HOST/DATABASE"
            )
        return sa.create_engine(made, pool_pre_ping=True)
    except sa.exc.ArgumentError:
        raise InputError("--db: not an address of a database; give postgresql+psycopg://USER@HOST/DATABASE") from None
    except ModuleNotFoundError:
        raise InputError("--db: the driver is missing; install it: pip install 'labelwise[postgresql]'") from None


def _as_text(folder: str) -> str:
    """Return a folder's path as databases take it: as it is, or as a file: address where its name is no UTF-8."""
    try:
        folder.encode()
    except UnicodeEncodeError:
        return FILE + quote(os.fsencode(folder))
    return folder


def _as_path(text: str) -> str:
    """Undo `_as_text`; a path itself is absolute, and never begins so."""
    return os.fsdecode(unquote_to_bytes(text.removeprefix(FILE))) if text.startswith(FILE) else text
