"""Reading files that come from outside: capped in size, and one clear line for what cannot be used."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labelwise.errors import InputError

MAX_BYTES = 256 * 2**20
"""A file of labels above this is refused."""
LONGEST_TIME = 40


def read_text(path: Path, what: str) -> str:
    """Return a file's text, UTF-8 with or without a mark. Errors: InputError for what is no such file, or too large."""
    try:
        if not path.is_file():
            raise InputError(f"{path}: there is no such file; give {what}")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"{path}: {size / 2**20:.0f} MiB; at most {MAX_BYTES >> 20} are read: split the file")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start}); save it in UTF-8") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; give {what}") from None


def read_json(path: Path, what: str) -> Any:
    """Return the content of a JSON file. Errors: InputError, as read_text, and for what is no JSON."""
    text = read_text(path, what)
    try:
        return json.loads(text)
    except RecursionError:
        raise InputError(f"{path}: nested too deeply; give {what}") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}; give {what}") from None


def as_time(text: str, where: str) -> str:
    """Return a time as it stands, checked. Errors: InputError for what is not ISO 8601."""
    if text:
        try:
            if len(text) > LONGEST_TIME:
                raise ValueError
            moment(text)
        except ValueError:
            shown = text[:LONGEST_TIME]
            raise InputError(f"{where}: the time '{shown}' is not ISO 8601 (2026-01-31T12:00:00Z)") from None
    return text


def moment(text: str) -> datetime:
    """Return a time that was checked; one without a zone is UTC."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def as_seconds(value: Any, where: str) -> float | None:
    """Return seconds, or None for nothing. Errors: InputError for what is no finite number from 0 on."""
    if value is None or value == "":
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if isinstance(value, bool) or not 0 <= seconds < math.inf:
        raise InputError(f"{where}: '{str(value)[:40]}' is no number of seconds")
    return seconds


def as_round(value: Any, where: str) -> int | None:
    """Return a round's number, or None for nothing. Errors: InputError for what is no whole number from 0 on."""
    if value is None or value == "":
        return None
    text = str(value)
    if isinstance(value, bool) or not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InputError(f"{where}: '{text[:40]}' is no number of a round")
    return int(text)
