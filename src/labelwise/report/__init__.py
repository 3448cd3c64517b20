"""The report: one HTML file that opens offline, figures as SVG and PDF, tables as CSV, from the records alone."""

from __future__ import annotations

from pathlib import Path

from labelwise.records import Store
from labelwise.report.content import read
from labelwise.report.draw import draw
from labelwise.report.page import render
from labelwise.report.pictures import Pictures, pictures
from labelwise.report.private import PrivateStore, private
from labelwise.report.sections import sections
from labelwise.report.tables import write_tables

__all__ = ["write_report"]


def write_report(store: Store, folder: Path, images: bool = True) -> Path:
    """Write `report.html`, `figures/` and `tables/` into the folder; return the page's path.

    images: show thumbnails where the data can be opened; else leave out pictures, paths and names of files. The same
    records (and images) give the same bytes. An older report there is removed first. Errors: InputError when the store
    is not a study's.
    """
    page, part = folder / "report.html", folder / "report.html.part"
    _remove(folder)
    if images:
        content = read(store)
        shown = pictures(store, content.study, content.data["fingerprint"], content.rows)
    else:
        store = PrivateStore(store)
        content, shown = private(read(store), store), Pictures("Left out, as was asked.")
    figures = draw(content, folder / "figures")
    written = write_tables(content, folder / "tables")
    more = sections(store, content, folder / "figures")
    part.write_text(render(content, figures, written, shown, more), encoding="utf-8", errors="replace", newline="\n")
    return part.replace(page)


def _remove(folder: Path) -> None:
    """Remove an older report first: if this one fails, none must stand there as if it were this one."""
    for kind in ("report.html", "figures/*.svg", "figures/*.pdf", "tables/*.csv"):
        for path in folder.glob(kind):
            path.unlink()
    for part in ("figures", "tables"):
        (folder / part).mkdir(parents=True, exist_ok=True)
