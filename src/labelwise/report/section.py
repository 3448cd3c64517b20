"""One section of the page: headings, sentences, tables and figures, in that order."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.style
from markupsafe import Markup
from matplotlib.figure import Figure

from labelwise.report.draw import Drawn
from labelwise.report.style import RC
from labelwise.report.svg import save
from labelwise.report.tables import Table


@dataclass(frozen=True)
class Section:
    """id: its anchor; tables: (caption, table)."""

    id: str
    title: str
    lines: list[str]
    tables: list[tuple[str, Table]] = field(default_factory=list)
    figures: list[Drawn] = field(default_factory=list)


def drawn(figure: Figure, folder: Path, name: str, caption: str) -> Drawn:
    """Write a figure's files, and return it for the page."""
    return Drawn(name, caption, Markup(save(figure, folder, name, caption)))  # made and escaped by us


def styled() -> AbstractContextManager[None]:
    """Return the context in which figures are made."""
    return matplotlib.style.context(["default", RC])


def file_name(kind: str, row: str) -> str:
    """Return a figure's name: `kind-3pct`."""
    return f"{kind}-{row.replace('%', 'pct').replace('/', '-').replace(' ', '-')}"
