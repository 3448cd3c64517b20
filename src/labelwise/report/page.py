"""The report's page: one HTML file without scripts and without anything to load. Every name in it is escaped."""

from __future__ import annotations

from importlib.resources import files

import yaml
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from labelwise.report import published, tables
from labelwise.report.content import Content
from labelwise.report.draw import Drawn
from labelwise.report.section import Section
from labelwise.report.used import facts


def render(content: Content, figures: dict[str, list[Drawn]], written: list[str], sections: list[Section]) -> str:
    """Return the page. figures: by kind, as of `draw`; written: names of the CSV files; sections: further ones."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_resource("page.html"))
    finished = bool(len(content.runs))
    return template.render(
        css=Markup(_resource("page.css")),
        content=content,
        study=content.study,
        figures=figures,
        written=written,
        sections=sections,
        finished=len(content.runs),
        at_budget=tables.at_budget(content) if finished else None,
        differences=tables.differences(content),
        other_differences=tables.other_differences(content),
        costs=tables.costs(content) if finished else None,
        not_comparable=published.comparability(content),
        published=None if published.comparability(content) else published.beside(content),
        facts=facts(content),
        config=yaml.safe_dump(content.study.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100),
    )


def _resource(name: str) -> str:
    return (files("labelwise.report") / name).read_text(encoding="utf-8")
