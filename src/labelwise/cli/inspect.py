"""`labelwise inspect`: what was read of a data set, before anything is spent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from labelwise.cli.options import As, Format
from labelwise.errors import InputError

SHOWN = 10
"""Unreadable images that are named."""


def inspect(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A path, a source's name or hub:owner/name.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A key of a study, as split=none or columns.image=id."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page with images of each class, as a model sees them."),
    ] = None,
    format_: As = Format.table,
) -> None:
    """Say what was read of a data set: splits, classes, sizes, what is unreadable and what is not used."""
    from labelwise.cli.progress import progress_listener
    from labelwise.cli.tables import print_rows
    from labelwise.data.sources import open_dataset
    from labelwise.study_file import study_of

    if html is not None and (html.is_dir() or not html.absolute().parent.is_dir()):
        raise InputError(
            f"--html {html}: {'it is a folder' if html.is_dir() else 'its folder is not there'}; name a file"
        )
    study = study_of(data, set_ or [])
    with progress_listener() as listener:
        dataset = open_dataset(study, listener.work)
    seen = dataset.seen
    if html is not None:
        if not dataset.images.there:
            raise InputError(f"--html: {dataset.source} holds features without images; leave it out")
        from labelwise.models.backbone import input_of
        from labelwise.report.contact_sheet import write_sheet

        page = write_sheet(dataset, *input_of(study.learner))
        try:
            html.write_text(page, encoding="utf-8")
        except OSError as error:
            raise InputError(f"--html {html}: {error.strerror}; give another name") from None
    if format_ is Format.json:
        print(json.dumps(seen.record(), indent=1))
        return
    rows = [{"class": found.name, "pool": found.pool, "test": found.test} for found in seen.classes]
    if format_ is Format.csv:
        print_rows(rows, format_.value)
        return
    for line in [*seen.lines(), *(f"Note: {note}" for note in seen.notes)]:
        typer.echo(line)
    shown = list(seen.unreadable.items())
    for name, why in shown[:SHOWN]:
        typer.echo(f"Unreadable: {name} ({why})")
    if len(shown) > SHOWN:
        typer.echo(f"Unreadable: {len(shown) - SHOWN:,} more; --format json names all")
    typer.echo()
    print_rows(rows, format_.value)
    if html is not None:
        typer.echo(f"\nPictures: {html}")
