"""The report's further sections, each with its own module: there only where a study has something for them."""

from __future__ import annotations

from pathlib import Path

from labelwise.records import Store
from labelwise.report import annotators, zero_shot
from labelwise.report.content import Content
from labelwise.report.section import Section


def sections(store: Store, content: Content, folder: Path) -> list[Section]:
    """Return the sections that this study's records have something for; figures are written into the folder."""
    return [*zero_shot.section(store, content, folder), *annotators.section(store, content, folder)]
