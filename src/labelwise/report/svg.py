"""Figures as files and as part of the page: the same records give the same bytes."""

from __future__ import annotations

import re
import warnings
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

from matplotlib.figure import Figure

from labelwise.report.style import VARIABLES

COLOR = re.compile("|".join(VARIABLES))
FONT = re.compile(r"(font: [^;']*?\d[\d.]*px|font-family:) '[^;]*")
REFERENCE = re.compile(r"#([\w-]+)")


def save(figure: Figure, folder: Path, name: str, said: str) -> str:
    """Write `name.svg` and `name.pdf` into the folder, without dates; return the SVG for the page.

    said: what a screen reader says instead of the drawing.
    """
    content = BytesIO()
    with warnings.catch_warnings():  # a class name in a script that the font lacks: browsers have it
        warnings.filterwarnings("ignore", message=".*[Gg]lyph")
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
        figure.set_layout_engine("none")  # it is laid out now
        figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    text = content.getvalue().decode()
    (folder / f"{name}.svg").write_text(text, encoding="utf-8", newline="\n")
    return inline(text, name, said)


def inline(text: str, name: str, said: str) -> str:
    """Return an SVG file's drawing for the page: its colours and font are the page's, its ids are its own."""
    root = ElementTree.fromstring(text)
    for element in root.iter():
        for child in [c for c in element if c.tag.endswith(("metadata", "style", "title"))]:
            element.remove(child)
        element.tag = element.tag.rpartition("}")[2]
        for key, value in list(element.attrib.items()):
            del element.attrib[key]
            if key == "id" and element.tag in ("g", "text"):
                continue  # only what is referred to keeps its id
            element.set(key.rpartition("}")[2], _attribute(key.rpartition("}")[2], value, name))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib.update({"role": "img", "aria-label": said})
    return ElementTree.tostring(root, encoding="unicode")


def _attribute(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href" or "url(#" in value:
        return REFERENCE.sub(rf"#{name}-\1", value)
    if key == "style":
        value = FONT.sub(r"\1 var(--font)", value)
        return COLOR.sub(lambda found: f"var({VARIABLES[found.group()]})", value)
    return value
