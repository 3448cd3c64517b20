"""Options that several commands share."""

from __future__ import annotations

import csv
from enum import StrEnum
from typing import Annotated

import typer

from labelwise.errors import InputError


class Format(StrEnum):
    """How tables are printed."""

    table = "table"
    csv = "csv"
    json = "json"


class Resize(StrEnum):
    """How images become squares for a model."""

    crop = "crop"
    pad = "pad"
    stretch = "stretch"


RESIZE = "How images become squares: crop (the centre), pad (the whole on black) or stretch (the whole, distorted)."
As = Annotated[Format, typer.Option("--format", help="For people, spreadsheets or programs.")]
PASSWORD = "LABELWISE_PASSWORD"
AllowRemote = Annotated[
    str | None,
    typer.Option(
        "--allow-remote",
        metavar="ADDRESS",
        help=f"Let others in at this machine's name or address; the password is taken from {PASSWORD}.",
    ),
]


def names_of(text: str, option: str) -> list[str]:
    """Return the names in a comma list, by the rules of CSV: quotes keep a comma in a name. Errors: InputError."""
    try:
        rows = list(csv.reader([text], strict=True, skipinitialspace=True))
    except csv.Error as error:
        raise InputError(f"{option}: {error}; quote a name that holds a comma: '\"red, ripe\",green'") from None
    return [name.strip() for row in rows for name in row if name.strip()]
