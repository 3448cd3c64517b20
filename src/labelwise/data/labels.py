"""From what a table says of each image to classes: one class for all its spellings, and no number for an index."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Labels
from labelwise.errors import InputError

NOTHING = frozenset({"", "null", "NULL", "None", "NaN", "nan", "NA", "N/A", "#N/A", "<NA>", "NaT"})
"""What programs write where there is no label. `none` in small letters is a word that people use for a class."""
SPACES = re.compile(r"[^\S\n\r\v\f\x1c-\x1f\x85\u2028\u2029]+")  # not line breaks: a class name has one line
INVISIBLE = dict.fromkeys(map(ord, "\u200b\u2060\ufeff"))
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
WHOLE = re.compile(r"([+-]?\d+)(?:\.0*)?", re.ASCII)
MINUS_ONE = re.compile(r"-1(\.0*)?")
INDEX = re.compile(r"0|[1-9]\d{0,8}", re.ASCII)


@dataclass(frozen=True)
class Classes:
    """names: K, each with an image at least; labels: (N,) 0..K-1, or -1 for an image without a label, to be left out;

    notes: what was read as one class, and what was left out, in words.
    """

    names: tuple[str, ...]
    labels: Labels
    notes: tuple[str, ...]


def plain(name: str) -> str:
    """Return a name with single spaces between its words, and none around it, in Unicode's composed form (NFC)."""
    return unicodedata.normalize("NFC", SPACES.sub(" ", name.translate(INVISIBLE))).strip()


@lru_cache(4096)
def same(name: str) -> str:
    """Return what is equal for all spellings of a name: those that differ in spaces or Unicode form (NFKC) alone."""
    return plain(unicodedata.normalize("NFKC", plain(name)))


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return class names sorted: whole numbers by value (2 before 10), others as text."""
    names = list(names)
    if all(re.fullmatch(r"[+-]?\d+", name, re.ASCII) for name in names):
        return tuple(sorted(names, key=lambda name: (Decimal(name), name)))
    return tuple(sorted(names))


def distinct(values: Iterable[Any]) -> tuple[list[Any], NDArray[np.int64]]:
    """Return the distinct values in the order of their first appearance, and (N,) which of them each one is."""
    seen: dict[Any, int] = {}
    codes = np.fromiter((seen.setdefault(value, len(seen)) for value in values), np.int64)
    return list(seen), codes


def read_labels(
    values: Sequence[Any], codes: NDArray[np.int64], where: str, minus_one: str, place: Callable[[int], str],
    declared: Sequence[str] | None = None,
) -> Classes:  # fmt: skip
    """Return the classes of N images, image i with the label `values[codes[i]]`.

    declared: names of classes for which whole numbers stand, as the source itself says; where: the source, for
    messages; place(i): what to call an image there; minus_one: see `parts.Columns`. Errors: InputError for missing
    labels, -1 without a word on what it means, and what is no class.
    """
    read = [_word(value, where) if declared is None else _declared(value, declared, where) for value in values]
    _refuse_missing(values, read, codes, where, place)
    words, notes = [word or "" for word in read], list[str]()
    if declared is None:
        words, notes = _whole(words)
    counts = np.bincount(codes, minlength=len(values))
    minus = [MINUS_ONE.fullmatch(str(value).strip()) is not None for value in values]
    if any(minus) and not minus_one:
        raise InputError(
            f"{where}: {counts[minus].sum():,} of {len(codes):,} images have the label -1; say what it is: "
            "--set columns.minus_one=class, or =unlabelled, which leaves them out"
        )
    out = minus if minus_one == "unlabelled" else [False] * len(words)
    spellings: dict[str, list[int]] = defaultdict(list)
    for i, word in enumerate(words):
        if not out[i]:
            spellings[same(word)].append(i)
    named = {_name(words, found, counts): found for found in spellings.values()}
    names = in_order(named)
    if declared is None:
        _refuse_equal_numbers(names, where)
    else:
        places = {same(name): k for k, name in reversed(list(enumerate(declared)))}
        names = tuple(sorted(names, key=lambda name: places.get(same(name), -1)))  # a class -1 comes first
        notes += _without_images(declared, spellings)
    table = np.full(len(values) + 1, -1, np.int64)
    for k, name in enumerate(names):
        table[named[name]] = k
    if any(out):
        notes.append(f"{counts[out].sum():,} images without a label (-1) left out")
    written = values if declared is None else [declared[int(v)] if v >= 0 else v for v in values]
    return Classes(names, table[codes], (*notes, *_said(written, named, counts)))


def codes_of(values: NDArray[Any], classes: Sequence[str]) -> Labels:
    """Return the classes (n,) 0..K-1 that names mean, or -1 for what is none.

    Numbers are indices only where no class is named by a number: 2 is the class '2', wherever it stands.
    """
    found, codes = distinct(values.tolist())
    numbers = values.dtype.kind in "iuf"
    words = [(_number(value) if numbers else plain(str(value))) or "" for value in found]
    if not numbered(classes) and all(INDEX.fullmatch(word) for word in words):
        places = [int(word) if int(word) < len(classes) else -1 for word in words]
    else:
        places = list(map(finder(classes), words))
    return np.array(places, np.int64)[codes]


def finder(names: Sequence[str]) -> Callable[[str], int]:
    """Return which of the names one means, -1 for none: the name itself, or else the only one of this spelling."""
    exact = {name: k for k, name in enumerate(names)}
    loose: dict[str, int] = {}
    for k, name in enumerate(names):
        loose[same(name)] = -1 if same(name) in loose else k
    return lambda name: exact[name] if name in exact else loose.get(same(name), -1)


def numbered(classes: Iterable[str]) -> bool:
    """Return whether a class is named by a number, so that numbers are names and never indices."""
    return any(NUMBER.fullmatch(name) for name in classes)


def _word(value: Any, where: str) -> str | None:
    """Return how a label reads, or None where it says nothing."""
    if isinstance(value, str):
        word = plain(value)
        return None if word in NOTHING else word
    if value is None or isinstance(value, bool):
        return None if value is None else str(value)
    if not isinstance(value, int | float):
        kind = type(value).__name__
        raise InputError(f"{where}: labels are of the type {kind}; they must be text or whole numbers, one an image")
    if isinstance(value, float) and not math.isnan(value) and not value.is_integer():
        raise InputError(f"{where}: labels are numbers such as {value}; they must be text or whole numbers, one each")
    return _number(value)


def _number(value: float) -> str | None:
    """Return a number as text, a whole one without a fraction; None for NaN."""
    if isinstance(value, float):
        return None if math.isnan(value) else str(int(value)) if value.is_integer() else str(value)
    return str(value)


def _declared(value: Any, names: Sequence[str], where: str) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if value == -1:
        return "-1"
    if not 0 <= value < len(names) or value != int(value):
        raise InputError(f"{where}: a label {value} for {len(names)} class names (0 to {len(names) - 1}); mend it")
    return plain(names[int(value)])


def _refuse_missing(
    values: Sequence[Any], words: Sequence[str | None], codes: NDArray[np.int64], where: str,
    place: Callable[[int], str],
) -> None:  # fmt: skip
    empty = np.array([word is None for word in words], dtype=bool)
    if not empty.any():
        return
    rows = np.flatnonzero(empty[codes])
    written = sorted({str(values[codes[i]]).strip() for i in rows[:1000] if isinstance(values[codes[i]], str)} - {""})
    first = ", ".join(place(int(i)) for i in rows[:3]) + (", ..." if len(rows) > 3 else "")
    hint = f"; if {' or '.join(map(repr, written))} is a class, write it in another way" if written else ""
    raise InputError(
        f"{where}: {len(rows):,} of {len(codes):,} images have no label ({first}); remove them or give them one{hint}"
    )


def _whole(words: list[str]) -> tuple[list[str], list[str]]:
    """Take the fraction from whole numbers that were written with one, where all labels are whole numbers."""
    found = [WHOLE.fullmatch(word) for word in words]
    if not words or not all(found) or all(match and match[1] == match[0] for match in found):
        return words, []
    example = next(word for word in words if "." in word)
    numbers = [match[1] for match in found if match]
    return numbers, [f"labels are whole numbers written with a fraction ({example}), and read without it"]


def _name(words: Sequence[str], found: list[int], counts: NDArray[np.int64]) -> str:
    """Return the spelling that most images have, of equal ones the first as text."""
    total: dict[str, int] = defaultdict(int)
    for i in found:
        total[words[i]] += int(counts[i])
    return min(total, key=lambda word: (-total[word], word))


def _refuse_equal_numbers(names: Iterable[str], where: str) -> None:
    seen: dict[Decimal, str] = {}
    for name in names:
        if NUMBER.fullmatch(name):
            other = seen.setdefault(Decimal(name), name)
            if other != name:
                raise InputError(f"{where}: the labels '{other}' and '{name}' are the same number; write both alike")


def _without_images(declared: Sequence[str], spellings: dict[str, list[int]]) -> list[str]:
    unused = [plain(name) for name in declared if same(name) not in spellings]
    if not unused:
        return []
    shown = ", ".join(unused[:10]) + (", ..." if len(unused) > 10 else "")
    return [f"{len(unused):,} of {len(declared):,} class names of the source have no image, and are left out: {shown}"]


def _said(values: Sequence[Any], named: dict[str, list[int]], counts: NDArray[np.int64]) -> list[str]:
    """Return notes on spellings that are one class, and on classes that differ in small and capital letters alone."""
    notes = []
    merged = {name: found for name, found in named.items() if len(found) > 1}
    if merged:
        shown = "; ".join(
            f"{name}: {', '.join(f'{_shown(values[i])} ({counts[i]:,})' for i in found[:4])}"
            for name, found in sorted(merged.items())[:5]
        )
        notes.append(f"classes that are written in several ways, each read as one: {shown}")
    folded: dict[str, list[str]] = defaultdict(list)
    for name in sorted(named):
        folded[name.casefold()].append(name)
    if alike := [" and ".join(names) for names in folded.values() if len(names) > 1]:
        notes.append(f"classes that differ in capital letters alone are different ones: {', '.join(alike[:5])}")
    return notes


def _shown(value: Any) -> str:
    """Return a value so that two spellings look different: with quotes, and escapes where letters may be combined."""
    return repr(value) if not isinstance(value, str) or value.isascii() else ascii(value)
