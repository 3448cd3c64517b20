"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


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
