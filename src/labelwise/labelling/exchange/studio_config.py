"""Label Studio's labelling configuration: which control says the class, and what its choices are called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from labelwise.errors import InputError

LARGEST = 2**20
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
FROM, TO, KEY = "choice", "image", "image"
"""Names of the control and the object in the configuration that we write, and the task's key of the image."""


@dataclass(frozen=True)
class Control:
    """The single-choice control of images. from_name, to_name: as in its results; key: of the image in a task's data;

    names: what a result says (a choice's alias, or else its value) -> class name, in order; empty where the choices
    come from the tasks.
    """

    from_name: str
    to_name: str
    key: str
    names: dict[str, str]

    def said(self, klass: str) -> str | None:
        """Return what a result says for a class, or None where the configuration lacks it."""
        return next((said for said, name in self.names.items() if name == klass), None)


def config_of(classes: list[str]) -> str:
    """Return the configuration for these classes. Errors: InputError for a name that XML cannot hold."""
    for name in classes:
        if NOT_XML.search(name):
            raise InputError(f"the class name {name!r} holds a character that XML cannot; rename the class")
    choices = "".join(f"<Choice value={quoteattr(name)}/>" for name in classes)
    return (
        f'<View><Image name="{TO}" value="${KEY}"/><Choices name="{FROM}" toName="{TO}" choice="single">'
        f"{choices}</Choices></View>\n"
    )


def parse_config(text: str, where: str) -> Control:
    """Read a configuration. Errors: InputError for broken XML, and where there is not one Choices of one Image."""
    if len(text) > LARGEST or "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{where}: too large, or with a DOCTYPE; give Label Studio's labelling configuration")
    try:
        root = ElementTree.fromstring(text)
        elements = list(root.iter())
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise InputError(f"{where}: broken XML: {error}; give Label Studio's labelling configuration") from None
    images = {e.get("name", ""): e.get("value", "") for e in elements if e.tag == "Image"}
    controls = [e for e in elements if e.tag == "Choices" and e.get("toName", "") in images]
    if len(controls) != 1:
        found = ", ".join(e.get("name", "") for e in controls) or "none"
        raise InputError(f"{where}: one <Choices> of an <Image> is needed, found: {found}; see docs/exchange.md")
    control = controls[0]
    names: dict[str, str] = {}
    for choice in control.iter("Choice"):
        value = choice.get("value") or choice.get("alias") or ""
        said = choice.get("alias") or value
        if not value or said in names or value in names.values():
            raise InputError(f"{where}: the choice '{said}' is empty or stands there twice")
        names[said] = value
    to_name = control.get("toName", "")
    return Control(control.get("name", ""), to_name, images[to_name].removeprefix("$"), names)
