"""The command line: thin commands over the study, the records and the report.

Heavy libraries are imported inside the commands, so that `labelwise --help` answers at once.
"""

from __future__ import annotations

import errno
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from labelwise.cli import cache, exchange
from labelwise.cli.embed import embed
from labelwise.cli.encoding import print_any_text, read_names_as_utf8
from labelwise.cli.inspect import inspect
from labelwise.cli.label import label
from labelwise.cli.options import As, Format
from labelwise.errors import InputError, one_line, printable

USAGE_ERROR: Any = typer.BadParameter.__mro__[1]  # click's, which newer versions of typer hold themselves
STOPPED = 130
"""The exit code after Ctrl-C, which newer versions of typer return and older ones raise as Abort."""
app = typer.Typer(
    help="Spend labels wisely: compare active-learning strategies on your own images, with honest statistics.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)


StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study's configuration.")]
Data = Annotated[
    str | None, typer.Option("--data", metavar="DIR", help="Stands for the study's `data`: a path or a source's name.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key: a dotted path and a YAML value. Repeatable."),
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder that a study was run into.")]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"labelwise {version('labelwise')}")
        raise typer.Exit


@app.callback()
def _common(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None: ...


@app.command()
def run(
    study: StudyFile,
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the records go; out/NAME by default.")
    ] = None,
    set_: Set = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            max=1024,
            help="Runs side by side: processes with one thread each on a CPU, by default one a core where it "
            "fine-tunes; threads of one process that share the device on a GPU, by default as many as the learner "
            "wants. The results are the same for any number.",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Compute on a Ray cluster instead: auto (this machine's), local (a new one) or host:port.",
        ),
    ] = None,
    num_cpus: Annotated[
        float | None, typer.Option("--num-cpus", metavar="X", help="With --ray: CPUs that a run takes; 1 by default.")
    ] = None,
    num_gpus: Annotated[
        float | None,
        typer.Option(
            "--num-gpus",
            metavar="Y",
            help="With --ray: GPUs that a run takes, 0.25 for a quarter; by default 1 where the learner uses one.",
        ),
    ] = None,
    stop_after: Annotated[
        str | None,
        typer.Option(
            "--stop-after",
            metavar="TIME",
            help="End with the first round that finishes so long after the start of the command: 90s, 8m or 1.5h. "
            "The same command goes on later.",
        ),
    ] = None,
    mlflow: Annotated[
        str | None,
        typer.Option(
            "--mlflow", metavar="URI", help="Copy runs to MLflow too: sqlite:///mlflow.db, http://host:5000, a folder."
        ),
    ] = None,
) -> None:
    """Run a study, or go on with it where it stopped; print the verdict and the results."""
    started = time.monotonic()
    from labelwise.study_file import load_study

    loaded = load_study(study, set_ or [], data)
    folder = out or Path("out") / loaded.name
    if ray is None and (num_cpus, num_gpus) != (None, None):
        raise InputError("--num-cpus and --num-gpus say what a run takes of a Ray cluster; give --ray too")
    if ray is not None and workers is not None:
        raise InputError("--workers says how many runs go on here and --ray computes on a cluster; give one of them")
    from labelwise.cli.progress import progress_listener
    from labelwise.study.deadline import NEVER, OutOfTime, deadline

    until = NEVER if stop_after is None else deadline(stop_after, started)
    from labelwise.study.executor import Listener, run_study

    try:
        with progress_listener() as bars:
            listener: Listener = bars
            if mlflow is not None:
                from labelwise.tracking import Tracker

                listener = Tracker(mlflow, loaded, folder, bars)
            if ray is None:
                run_study(loaded, folder, listener, workers, deadline=until)
            else:
                from labelwise.study.cluster import Cluster

                with Cluster(loaded, ray, 1.0 if num_cpus is None else num_cpus, num_gpus) as cluster:
                    run_study(loaded, folder, listener, cluster=cluster, deadline=until)
    except OutOfTime as stopped:
        typer.echo(f"Stopped after {stop_after}, as asked{stopped} Run the same command again to go on.")
        return
    from labelwise.cli.tables import print_verdict
    from labelwise.records import reading

    print_verdict(reading(folder))
    typer.echo(f"\nRecords: {folder / 'study.db'}. Figures and tables: labelwise report {folder}")


@app.command()
def plan(
    study: StudyFile,
    data: Data = None,
    set_: Set = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            help="Estimate the time of so many runs side by side, as on a cluster, each as fast as one here; "
            "by default as many as `run` would use here.",
        ),
    ] = None,
    format_: As = Format.table,
) -> None:
    """Say what a study will cost, before anything is spent: runs, rounds, labels, images, estimated time."""
    from labelwise.study_file import load_study

    loaded = load_study(study, set_ or [], data)
    from labelwise.cli.progress import progress_listener
    from labelwise.cli.tables import print_plan
    from labelwise.study.estimate import estimate_study

    with progress_listener() as listener:
        estimate = estimate_study(loaded, listener.work, workers)
    print_plan(estimate, format_.value)


@app.command()
def status(folder: Folder, format_: As = Format.table) -> None:
    """Say how far a study is, run by run."""
    from labelwise.cli.tables import print_status
    from labelwise.records import reading

    print_status(reading(folder), format_.value)


@app.command()
def results(folder: Folder, format_: As = Format.table) -> None:
    """Print the records: a row a round, with accuracy, labels by kind and every cost."""
    from labelwise.analysis.halves import rounds_with_halves
    from labelwise.analysis.results import rounds
    from labelwise.cli.tables import print_frame
    from labelwise.records import reading

    table = format_ is Format.table  # the halves read every prediction, and a table has no room for them
    print_frame((rounds if table else rounds_with_halves)(reading(folder)), format_.value)


@app.command()
def report(
    folder: Folder,
    no_images: Annotated[
        bool,
        typer.Option("--no-images", help="Leave out pictures of the data, and all paths: for passing the report on."),
    ] = False,
) -> None:
    """Write the report: one HTML file that opens offline, figures as SVG and PDF, tables as CSV."""
    from labelwise.records import reading
    from labelwise.report import write_report

    path = write_report(reading(folder), folder / "report", images=not no_images)
    typer.echo(f"Report: {path}")


@app.command()
def strategies(format_: As = Format.table) -> None:
    """List the strategies, what they need, their options and where they come from."""
    from labelwise.cli.tables import print_strategies

    print_strategies(format_.value)


@app.command()
def sources(format_: As = Format.table) -> None:
    """List what a study's `data` can be."""
    from labelwise.cli.tables import print_sources

    print_sources(format_.value)


@app.command()
def labelers(format_: As = Format.table) -> None:
    """List who can answer in a study: labelers of bought labels, and zero-shot models for the start."""
    from labelwise.cli.tables import print_labelers

    print_labelers(format_.value)


@app.command()
def doctor(format_: As = Format.table) -> None:
    """Say what is installed, which devices there are, and what would be slow and why."""
    from labelwise.cli.doctor import print_doctor

    print_doctor(format_.value)


app.command()(inspect)
app.command()(embed)
app.add_typer(cache.app, name="cache")
app.command()(label)
for _name, _command in exchange.COMMANDS.items():
    app.command(_name)(_command)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 2 bad input (one line says what to do), 130 stopped by Ctrl-C."""
    read_names_as_utf8()
    print_any_text()
    try:
        code = app(standalone_mode=False)
        if code == STOPPED:
            raise KeyboardInterrupt
        sys.exit(code)
    except USAGE_ERROR as error:
        if not error.format_message().strip():  # no command at all: the help was shown
            sys.exit(2)
        _stop(" ".join(error.format_message().split()))
    except (typer.Abort, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # an impatient second one would break off the ending
        typer.echo("Stopped. What was finished is kept: run the same command again to go on.", err=True)
        sys.exit(STOPPED)
    except InputError as error:
        _stop(one_line(error))
    except UnicodeEncodeError as error:  # from libraries that take file names as text only
        _stop(f"'{printable(error.object)[:500]}' holds what {error.encoding} cannot write; rename the file or folder")
    except BrokenPipeError:  # `labelwise results DIR | head`
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        where = f" ({error.filename})" if error.filename else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "free some space (the cache: LABELWISE_CACHE)" if full else "name a folder that may be written to"
        _stop(f"{error.strerror}{where}; {hint}, then run the same command again: finished rounds are kept")


def _stop(message: str) -> None:
    typer.secho("error: ", fg="red", bold=True, nl=False, err=True)
    typer.echo(message, err=True)
    sys.exit(2)
