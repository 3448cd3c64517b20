"""Names in a table that match no file: said for all of them at once, with the keys by which they would be found."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from labelwise.config import Study
from labelwise.data.decode import EXTENSIONS
from labelwise.errors import InputError
from labelwise.parts import Columns

FOLDERS = 50
"""Folders beside a table that are looked through."""
TRIED = 5
"""Names that are looked for in every folder with every extension; what finds one is then counted on all of them."""


def report(
    where: str, root: Path, study: Study, names: Sequence[str], places: Sequence[str], total: int
) -> tuple[str, ...]:  # fmt: skip
    """Return a note on files that are not there, with `skip_unreadable`. Errors: InputError without it.

    names: of the missing files, as the table has them; places: where they were looked for; total: images in all.
    """
    count = len(names)
    shown = ", ".join(places[:TRIED]) + (", ..." if count > TRIED else "")
    said = f"{count:,} of {total:,} images have no file: {shown}"
    place, found = place_of_files(root, names)
    hint = f"; {'all' if found == count else f'{found:,}'} of them are found by {option(study.columns, place)}"
    if study.skip_unreadable and count < total:
        return (said + hint,) if found else ()  # they are counted with the other unreadable ones
    if not found:
        hint = "; names are relative to the folder of the table; if they lie elsewhere, --set columns.folder=FOLDER"
        hint = "; names are relative to columns.folder" if study.columns.folder else hint
    skip = ", or leave them out with --set skip_unreadable=true" if count < total else ""
    raise InputError(f"{where}: {said}{hint}{skip}")


def extension(keys: Columns) -> str:
    """Return what is to be added to names of files, with its dot."""
    return f".{keys.extension.removeprefix('.')}" if keys.extension else ""


def option(keys: Columns, found: dict[str, str]) -> str:
    """Return the option that adds to a study's keys what was found: where the files lie, and what of other columns."""
    kept = {key: value for key, value in keys.model_dump().items() if value and key not in ("folder", "extension")}
    named = {key: value for key in Columns.model_fields if (value := {**kept, **found}.get(key))}
    return f"--set 'columns={{{', '.join(f'{key}: {_yaml(value)}' for key, value in named.items())}}}'"


def _yaml(value: str) -> str:
    """Return a text as YAML takes it in a line, with double quotes where it needs some: single ones are the shell's."""
    return value if re.fullmatch(r"[^\W\d][\w-]*|\.\w+", value) else json.dumps(value, ensure_ascii=False)


def place_of_files(root: Path, names: Sequence[str]) -> tuple[dict[str, str], int]:
    """Return the keys (folder, extension) by which most of these names are files below `root`, and how many are.

    ({}, 0) where none is found, and where two places would do equally well.
    """
    found = {place: 0 for name in names[:TRIED] for place in _places(root, name)}
    if not found:
        return {}, 0
    for folder, extension in found:
        start = os.path.join(root, folder)
        found[folder, extension] = sum(os.path.isfile(os.path.join(start, name + extension)) for name in names)
    best = max(found.values())
    places = [place for place, count in found.items() if count == best]
    if len(places) > 1:
        return {}, 0
    return {key: value for key, value in zip(("folder", "extension"), places[0], strict=True) if value}, best


def _places(root: Path, name: str) -> list[tuple[str, str]]:
    """Return each (folder, extension) with which a name is a file. A name that climbs out of a folder has none."""
    if not name or os.path.isabs(name) or ".." in Path(name).parts or "\0" in name:
        return []
    with os.scandir(root) as entries:
        below = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    extensions = ["", *sorted({variant for e in EXTENSIONS for variant in (e, e.upper())})]
    return [
        (folder, extension)
        for folder in ["", *below[:FOLDERS]]
        for extension in extensions
        if os.path.isfile(os.path.join(root, folder, name + extension))
    ]
