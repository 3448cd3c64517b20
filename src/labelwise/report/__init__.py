"""The report: one HTML file that opens offline, figures as SVG and PDF, tables as CSV, from the records alone."""

from __future__ import annotations

from pathlib import Path

from labelwise.records import Store
from labelwise.report.content import read
from labelwise.report.draw import draw
from labelwise.report.page import render
from labelwise.report.sections import sections
from labelwise.report.tables import write_tables

__all__ = ["write_report"]


def write_report(store: Store, folder: Path) -> Path:
    """Write `report.html`, `figures/` and `tables/` into the folder; return the page's path.

    The same records give the same bytes. Errors: InputError when the store is not a study's.
    """
    content = read(store)
    for part in ("figures", "tables"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    figures = draw(content, folder / "figures")
    written = write_tables(content, folder / "tables")
    page = folder / "report.html"
    more = sections(store, content, folder / "figures")
    page.write_text(render(content, figures, written, more), encoding="utf-8", errors="replace", newline="\n")
    return page
