"""The report's page: one HTML file without scripts and without anything to load. Every name in it is escaped."""

from __future__ import annotations

from importlib.resources import files

import yaml
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from labelwise.analysis.verdict import AT_N, TO_MATCH
from labelwise.report import grids, published, tables
from labelwise.report.content import Content
from labelwise.report.draw import Drawn
from labelwise.report.pictures import Pictures
from labelwise.report.section import Section
from labelwise.report.used import facts

SHOWN = 6
"""Lines of an answer that stand there at once; of more, the first two do and the others are folded away."""
FOLDED = 20
"""Lines of a table above which it is folded away."""
GRIDS = {
    AT_N: "Accuracy at N, difference to the stratified sample in points, with its 95 % interval. ▲ higher and ▼ lower "
    "are shown (paired t, Holm); ≈ is shown to be within one point; without a sign nothing is shown.",
    TO_MATCH: "Labels needed to match the stratified sample's accuracy (honest estimate), and what that saves of N "
    "with its 95 % interval. ▼: fewer than N is shown.",
}
"""What the tables of the first screen show."""


def render(
    content: Content, figures: dict[str, list[Drawn]], written: list[str], pictures: Pictures, sections: list[Section]
) -> str:
    """Return the page.

    figures: by kind, as `draw` gives them; written: the CSV files' names; pictures: thumbnails; sections: further ones.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_resource("page.html"))
    finished = bool(len(content.runs))
    return template.render(
        css=Markup(_resource("page.css")),
        content=content,
        study=content.study,
        figures=figures,
        pictures=pictures,
        written=written,
        sections=sections,
        finished=len(content.runs),
        grids={AT_N: grids.accuracy_grid(content), TO_MATCH: grids.labels_grid(content)},
        grid_captions=GRIDS,
        SHOWN=SHOWN,
        FOLDED=FOLDED,
        TO_MATCH=TO_MATCH,
        labels_needed=tables.labels_needed(content),
        between=tables.pairs(content.between),
        changes=tables.pairs(content.changes),
        overheads=tables.overheads(content),
        account=tables.account(content),
        at_budget=tables.at_budget(content) if finished else None,
        differences=tables.differences(content),
        other_differences=tables.other_differences(content),
        costs=tables.costs(content) if finished else None,
        not_comparable=published.comparability(content),
        published=None if published.comparability(content) else published.beside(content),
        relation=published.relation(content),
        rule=published.RULE,
        facts=facts(content),
        config=yaml.safe_dump(content.study.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100),
    )


def _resource(name: str) -> str:
    return (files("labelwise.report") / name).read_text(encoding="utf-8")
