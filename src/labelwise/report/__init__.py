"""The report: one HTML file that opens offline, figures as SVG and PDF, tables as CSV, from the records alone."""

from __future__ import annotations

from pathlib import Path

from labelwise.records import Store
from labelwise.report.content import read
from labelwise.report.draw import draw
from labelwise.report.page import render
from labelwise.report.pictures import Pictures, pictures
from labelwise.report.private import private
from labelwise.report.sections import sections
from labelwise.report.tables import write_tables

__all__ = ["write_report"]


def write_report(store: Store, folder: Path, images: bool = True) -> Path:
    """Write `report.html`, `figures/` and `tables/` into the folder; return the page's path.

    images: show thumbnails where the data can be opened; else leave out pictures, paths and names of files. The same
    records (and images) give the same bytes. Errors: InputError when the store is not a study's.
    """
    content = read(store)
    shown = Pictures("Left out, as was asked.")
    if images:
        shown = pictures(store, content.study, content.data["fingerprint"], content.rows)
    else:
        content = private(content)
    for part in ("figures", "tables"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    figures = draw(content, folder / "figures")
    written = write_tables(content, folder / "tables")
    page = folder / "report.html"
    more = sections(store, content, folder / "figures")
    page.write_text(render(content, figures, written, shown, more), encoding="utf-8", errors="replace", newline="\n")
    return page
