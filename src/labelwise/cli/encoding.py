"""Names of any kind, whatever the locale: files are named in bytes, and not every locale or stream knows all texts."""

from __future__ import annotations

import codecs
import io
import os
import sys


def read_names_as_utf8() -> None:
    """Start again in Python's UTF-8 mode where the locale knows ASCII alone (LC_ALL=C with PYTHONUTF8=0).

    There no other name could be opened or stored, and a project's names would differ from locale to locale.
    """
    ascii_alone = codecs.lookup(sys.getfilesystemencoding()).name == "ascii"
    if ascii_alone and os.environ.get("PYTHONUTF8") != "1":  # else it was tried, and an option of Python's forbids it
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "PYTHONUTF8": "1"})


def print_any_text() -> None:
    """Let names that the terminal's or a pipe's encoding does not have be printed as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
