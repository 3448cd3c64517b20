"""`classes.json` beside class folders, as `labelwise export` writes it: true names and order, which folders lose."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelwise.data.labels import finder, in_order
from labelwise.errors import InputError

FILE = "classes.json"
NAMES = "classes"
"""Key: a list of {"name": ..., "folder": ...} in the classes' order."""
LARGEST = 2**24


@dataclass(frozen=True)
class ClassNames:
    """names: class folder -> class, in the classes' order."""

    names: Mapping[str, str] = field(default_factory=dict)

    def of(self, folders: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
        """Return folder -> class, and the classes in order; folders that are not named here come last, by their names.

        Errors: InputError where such a folder has the name of another one's class.
        """
        place, known = finder(list(self.names)), list(self.names.values())
        folders = list(folders)
        named = {folder: known[k] for folder in folders if (k := place(folder)) >= 0}
        others = in_order(folder for folder in folders if folder not in named)
        if taken := [name for name in others if name in known]:
            raise InputError(
                f"{FILE} gives the class '{taken[0]}' to another folder than {taken[0]}; rename the folder"
            )
        return {**named, **{name: name for name in others}}, (*dict.fromkeys(known), *others)

    def notes(self) -> list[str]:
        """Return what a reader must know."""
        return [f"names and order of the classes were read from {FILE}"] if self.names else []


def read_class_names(root: Path) -> ClassNames:
    """Read a folder's classes.json; another program's file of that name says nothing.

    Errors: InputError for a folder that stands there twice.
    """
    try:
        if (root / FILE).stat().st_size > LARGEST:
            return ClassNames()
        found: Any = json.loads((root / FILE).read_bytes())
        rows = [(row["folder"], row["name"]) for row in found[NAMES]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ClassNames()
    if not all(isinstance(text, str) for row in rows for text in row):
        return ClassNames()
    if len({folder for folder, _ in rows}) < len(rows):
        raise InputError(f"{root / FILE}: a folder stands there twice; keep one")
    return ClassNames(dict(rows))
