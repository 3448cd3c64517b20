"""`labelwise cache`: what is kept between runs, and clearing it."""

from __future__ import annotations

import re
import time
from typing import Annotated, Any

import typer

from labelwise.cli.options import As, Format
from labelwise.errors import InputError, nearest

app = typer.Typer()
COLUMNS = ("kind", "entries", "bytes", "size", "oldest", "newest", "path")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@app.callback(invoke_without_command=True)
def cache(context: typer.Context, format_: As = Format.table) -> None:
    """Show what is kept between runs: images, pixels, embeddings, tables, features. All of it can be made again."""
    if context.invoked_subcommand is not None:
        return
    from labelwise.cache import cache_folder
    from labelwise.cache.usage import KINDS, entries
    from labelwise.cli.tables import print_rows

    found, rows = entries(), list[dict[str, Any]]()
    for kind in KINDS:
        if of_kind := [entry for entry in found if entry.kind == kind]:
            size, used = sum(entry.bytes for entry in of_kind), [_ago(entry.used) for entry in of_kind]
            path = str(cache_folder() / kind)
            rows.append(
                dict(zip(COLUMNS, (kind, len(of_kind), size, _size(size), used[0], used[-1], path), strict=True))
            )
    if not rows and format_ is Format.table:
        typer.echo(f"The cache {cache_folder()} is empty.")
        return
    print_rows(rows, format_.value, COLUMNS)
    if format_ is Format.table:
        total = _size(sum(entry.bytes for entry in found))
        typer.echo(
            f"\n{total} in all; oldest and newest say when an entry was used last. Clear it: labelwise cache clear"
        )


@app.command()
def clear(
    kind: Annotated[
        list[str] | None, typer.Option("--kind", metavar="K", help="Only entries of this kind. Repeatable.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="TIME", help="Only what was not used for so long: 30d, 12h.")
    ] = None,
    limit: Annotated[
        str | None, typer.Option("--limit", metavar="SIZE", help="Only the oldest, until so much is left: 20GB.")
    ] = None,
    format_: As = Format.table,
) -> None:
    """Remove entries of the cache, all of them without an option. What a running process uses is left alone."""
    from labelwise.cache import cache_folder
    from labelwise.cache.usage import KINDS, clear, entries, over, size_in_bytes
    from labelwise.cli.tables import print_rows

    for name in kind or ():
        if name not in KINDS:
            raise InputError(f"--kind: there is no '{name}' in the cache{nearest(name, KINDS)}")
    before = time.time() - _seconds(older_than) if older_than is not None else None
    most = size_in_bytes(limit, "--limit") if limit is not None else None
    chosen = [entry for entry in entries() if not kind or entry.kind in kind]
    if most is not None:
        chosen = over(chosen, most)
    if before is not None:
        chosen = [entry for entry in chosen if entry.used < before]
    try:
        gone, used = clear(chosen)
    except OSError as error:
        raise InputError(f"cannot clear {error.filename or cache_folder()}: {error.strerror or error}") from None
    if format_ is not Format.table:
        print_rows(
            [{"kind": e.kind, "bytes": e.bytes, "path": str(e.path), "removed": e in gone} for e in (*gone, *used)],
            format_.value, ("kind", "bytes", "path", "removed"),
        )  # fmt: skip
        return
    left = f"; {len(used)} that running processes use were left" if used else ""
    typer.echo(
        f"Removed {len(gone)} entries, {_size(sum(entry.bytes for entry in gone))}, from {cache_folder()}{left}."
    )


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip().lower())
    if found is None:
        raise InputError(f"--older-than: {text!r} is no time; write 30d, 12h or 2w")
    return float(found[1]) * SECONDS[found[2]]


def _size(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def _ago(used: float) -> str:
    """Say in one unit how long ago something was used."""
    past = max(0.0, time.time() - used)
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60)):
        if past >= seconds:
            return f"{past / seconds:.0f} {unit} ago"
    return "just now"
