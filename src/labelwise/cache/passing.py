"""Entries that one machine has opened, used on another: a cluster's nodes have no cache of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
_given: dict[str, Any] = {}
_noted: ContextVar[dict[str, Any] | None] = ContextVar("_noted", default=None)


def passed_on(entry: Path, load: Callable[[], T]) -> T:
    """Return an entry that another machine gave this process, or else `load()`, noted for those who pass it on.

    entry: the path that names it; its last two parts are the same on every machine.
    """
    name = f"{entry.parent.name}/{entry.name}"
    if name in _given:
        given: T = _given[name]
        return given
    loaded, noted = load(), _noted.get()
    if noted is not None:
        noted[name] = loaded
    return loaded


@contextmanager
def noting() -> Iterator[dict[str, Any]]:
    """Collect the entries that are loaded in this context: what `give` takes on another machine."""
    noted: dict[str, Any] = {}
    before = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(before)


def give(entries: dict[str, Any]) -> None:
    """Use these entries in this process, whatever its own cache holds."""
    _given.update(entries)
