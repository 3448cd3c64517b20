"""What people see: the one exception, bad input said in one line, and texts made fit for a line."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave cannot be used: the message says what, where and what to do. Exit code 2."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the nearest known word, or a list of the known ones."""
    options = sorted({*known} - {word})  # who gave a known word did not misspell it: the caller says what is wrong
    close = difflib.get_close_matches(word, options, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(options)}"


def printable(text: str) -> str:
    """Return the text on one line: line breaks, control characters and undecodable bytes become escapes."""
    if text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text
    )


def one_line(error: Exception) -> str:
    """Return an error's words on one line that any stream, and JSON, can take."""
    return printable(" ".join(str(error).split()))
