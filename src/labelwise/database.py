"""What every store of ours shares: durable SQLite, read-only opening, and database errors told in one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from filelock import FileLock, Timeout

from labelwise.errors import InputError, printable

DURABLE = ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON")
"""A transaction that has returned survives `kill -9` and a loss of power."""
HINTS = {
    "database or disk is full": "free some space; {kept}",
    "database disk image is malformed": "the file is damaged: restore a copy, or choose another folder",
    "file is not a database": "it is not one of labelwise's stores; choose another folder",
    "attempt to write a readonly database": "it may not be written to; choose another folder",
}


def now() -> str:
    """Return the time, UTC, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def sqlite(path: Path, read_only: bool) -> sa.Engine:
    """Open a SQLite file: for one writer, durably, or read-only (also while another process writes to it)."""
    alone = not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
    query = {"mode": "ro" if read_only else "rwc", "uri": "true"}
    query |= {"immutable": "1"} if read_only and alone else {}  # SQLite would write its own files beside it
    place = f"file:{quote(os.fsencode(os.path.abspath(path)))}"  # bytes: names of folders need not be UTF-8
    engine = sa.create_engine(sa.URL.create("sqlite", database=place, query=query))
    sa.event.listen(engine, "connect", _patient if read_only else _durable)
    return engine


def server_name(address: str | sa.URL) -> str:
    """Say in words which PostgreSQL database an address means, without its password, wherever that stands."""
    url = sa.make_url(address)
    given = {"host": url.host, "port": url.port, "user": url.username, "dbname": url.database}
    host, port, user, name = (value or url.query.get(key) for key, value in given.items())
    where = f" on {host}{f':{port}' if port else ''}" if host else " on this machine"
    return printable(f"the PostgreSQL database {name or '(of the user)'}{where}{f' as {user}' if user else ''}")


def _durable(connection: Any, _: Any) -> None:
    for pragma in DURABLE:
        connection.execute(f"PRAGMA {pragma}")


def _patient(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA busy_timeout=10000")


@contextmanager
def locked(folder: Path, busy: str, option: str) -> Iterator[None]:
    """Make a folder, and keep it for this process alone. busy: what to say where another has it; option: names it.

    Errors: InputError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise InputError(busy) from None
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; choose another {option}") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def transaction(engine: sa.Engine, name: str, kept: str) -> Iterator[sa.Connection]:
    """Open a transaction: committed whole, or rolled back. kept: what is not lost and how to go on, for the message.

    Errors: InputError, in one line, for the database's own (full disk, damaged file).
    """
    try:
        with engine.begin() as connection:
            yield connection
    except sa.exc.DBAPIError as error:
        reason = " ".join(str(error.orig).split())
        hint = HINTS.get(reason, "{kept}").format(kept=kept)
        raise InputError(f"{name}: {reason}; {hint}") from error
