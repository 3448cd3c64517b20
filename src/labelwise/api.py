"""Studies from Python: what `import labelwise` offers beside `select`, thin over the same parts as the commands."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from labelwise import study_file
from labelwise.config import Study
from labelwise.records import Store, reading
from labelwise.study.executor import Listener, run_study

if TYPE_CHECKING:
    import pandas as pd


def load_study(path: str | Path, overrides: Iterable[str] = (), data: str | None = None) -> Study:
    """Read a study's YAML file and check everything in it.

    overrides: `KEY=VALUE`, as `--set` takes them; data: stands for the file's own `data`. Errors: InputError, one line
    that says what is wrong, where, and the nearest known key or value.
    """
    return study_file.load_study(Path(path), overrides, data)


def run(study: Study, out: str | Path, *, workers: int = 1, listener: Listener | None = None) -> None:
    """Run a study into the folder `out`, or go on with it where it stopped, as `labelwise run` does.

    workers: runs side by side, which change the time and no result: processes on a CPU, threads of one process that
    share the device on a GPU (with several GPUs, a process each). A script that starts processes has to call this below
    `if __name__ == "__main__":`, as multiprocessing demands. listener: told of progress; by default it is drawn
    to standard error. Errors: InputError.
    """
    if listener is not None:
        run_study(study, Path(out), listener, workers)
        return
    from labelwise.cli.progress import progress_listener

    with progress_listener() as drawn:
        run_study(study, Path(out), drawn, workers)


def results(out: str | Path) -> pd.DataFrame:
    """Return every recorded round of the study in `out`, a row each, also while it runs. Errors: InputError.

    The columns are those of `labelwise results --format csv`.
    """
    from labelwise.analysis.halves import rounds_with_halves

    return rounds_with_halves(_store(out))


def picks(out: str | Path) -> pd.DataFrame:
    """Return every label of every run of the study in `out`, a row each. Errors: InputError.

    row, arm, seed: the run; round: the one that first trains on it; position: its place in the order of labelling;
    index: the image's dataset index; label: the class's name; source: where the label came from; score: what the image
    was picked for.
    """
    from labelwise.analysis.results import acquisitions

    return acquisitions(_store(out))


def verdict(out: str | Path) -> list[str]:
    """Return what the study in `out` shows, a sentence a line, the most general first. Errors: InputError."""
    from labelwise.analysis.verdict import verdict as judged

    return judged(_store(out)).lines


def _store(out: str | Path) -> Store:
    return reading(Path(out))
