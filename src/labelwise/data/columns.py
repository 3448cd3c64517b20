"""Which columns of a table are meant: those that the study names, else known names, and never one of two that fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from labelwise.errors import InputError, nearest
from labelwise.parts import Columns

IMAGES = ("image", "img", "path", "file", "filename", "file_name", "filepath", "file_path", "image_path")
LABELS = ("label", "labels", "fine_label", "class", "target")
RIVALS = ("_label", "_labels", "_class", "_target")
"""Ends of names that are never taken for the label unless the study says so, but do not leave another one certain."""


@dataclass(frozen=True)
class Chosen:
    """Names of columns; "" for a group or split that is not there. unused, notes: as in a Listing."""

    image: str
    label: str
    group: str
    split: str
    unused: dict[str, int]
    notes: tuple[str, ...]


class NoColumnError(InputError):
    """No column is certain to be the image or the label; `role` says which."""

    def __init__(self, message: str, role: str) -> None:
        super().__init__(message)
        self.role = role


def choose(
    where: str, names: Sequence[str], keys: Columns, images: Collection[str] = (), classes: Collection[str] = ()
) -> Chosen:
    """Choose among a table's columns. images, classes: those that the table itself declares to be such, by their type.

    A column without a name ("") is never chosen. Errors: InputError for two columns of one name, a named column that is
    not there, and where none or several could be meant.
    """
    if twice := [name for name, count in Counter(names).items() if count > 1 and name]:
        raise InputError(f"{where}: two columns '{twice[0]}'; rename one")
    image = _one(where, names, keys.image, "image", images, IMAGES)
    label = _one(where, names, keys.label, "label", classes, LABELS)
    group, split = _maybe(where, names, keys.group, "group"), _maybe(where, names, keys.split, "split")
    used = [name for name in (image, label, group, split) if name]
    if double := [name for name, count in Counter(used).items() if count > 1]:
        raise InputError(f"{where}: the column '{double[0]}' cannot be two things; see the study's columns")
    odd = [f"{role} from '{name}'" for role, name, usual in (("image", image, ("path", "image", "img")),
           ("label", label, ("label",))) if name not in usual]  # fmt: skip
    notes = (f"columns that were read: {', '.join(odd)}",) if odd else ()
    return Chosen(image, label, group, split, unused(names, used), notes)


def unused(names: Sequence[str], used: Collection[str]) -> dict[str, int]:
    """Return the columns that are not used, in words -> how many, as in a Listing."""
    rest = [name or "(without a name)" for name in names if name not in used]
    shown = ", ".join(rest[:10]) + (", ..." if len(rest) > 10 else "")
    return {f"columns ({shown})": len(rest)} if rest else {}


def _one(
    where: str, names: Sequence[str], given: str, role: str, typed: Collection[str], known: Sequence[str]
) -> str:  # fmt: skip
    """Return the column of a role: of a declared type and a known name, else the only one of either."""
    if given:
        return _given(where, names, given, role)
    called = [n for n in names if n.lower() in known]
    rivals = [n for n in names if n.lower().endswith(RIVALS)] if role == "label" else []
    fits = [n for n in names if n in called or n in typed]
    both = [n for n in names if n in typed and (n in called or n in rivals)]
    several = both or [n for n in names if n in fits or n in rivals]
    if len(several) == 1 and several[0] in fits:
        return several[0]
    if len(several) > 1:
        raise InputError(
            f"{where}: {_listed(several)} could each be the {role}; name it, such as --set columns.{role}={several[0]}"
        )
    what = "an image" if role == "image" else "a label"
    has = ", ".join(n or "(without a name)" for n in names[:20]) + (", ..." if len(names) > 20 else "")
    raise NoColumnError(
        f"{where}: no column with {what} (looked for {', '.join(known)}); it has {has or 'none'}: "
        f"name it by --set columns.{role}={several[0] if several else 'NAME'}",
        role,
    )


def _maybe(where: str, names: Sequence[str], given: str, role: str) -> str:
    """Return the column of a role that may be absent, or "" ."""
    if given:
        return _given(where, names, given, role)
    found = [n for n in names if n.lower() == role]
    if len(found) > 1:
        raise InputError(
            f"{where}: {_listed(found)} could each be the {role}; name it, such as --set columns.{role}={found[0]}"
        )
    return found[0] if found else ""


def _given(where: str, names: Sequence[str], given: str, role: str) -> str:
    if given not in names or not given:
        raise InputError(f"{where}: no column '{given}' (columns.{role}){nearest(given, [n for n in names if n])}")
    return given


def _listed(names: Sequence[str]) -> str:
    shown = [f"'{name}'" for name in names[:6]]
    return f"{', '.join(shown[:-1])} and {shown[-1]}"
