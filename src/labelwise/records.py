"""The store: one SQLite file a study, `OUT/study.db`, append-only, one writer, a round whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from labelwise.arrays import Labels
from labelwise.database import locked, now, sqlite, transaction
from labelwise.errors import InputError
from labelwise.labelers import LabelEvents
from labelwise.metrics import plain
from labelwise.predictions import FULL, Tested, compact, content, pack, read
from labelwise.state import EMPTY, State, advance

if TYPE_CHECKING:  # the loop brings learners and strategies, which a reader does not need
    from labelwise.loop import Round

SCHEMA = 2
"""Version of the tables below, and of what is in them: a study only goes on in a store of this one."""
READABLE = (FULL, SCHEMA)
"""Versions that can be read; a store of any other is refused."""

META = sa.MetaData()
STUDY = sa.Table(
    "study", META,
    sa.Column("schema", sa.Integer, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("config", sa.Text, nullable=False),  # canonical JSON of the whole configuration
    sa.Column("data", sa.Text, nullable=False),  # JSON: source, fingerprint, classes, sizes, notes
    sa.Column("created", sa.Text, nullable=False),
)  # fmt: skip
RUNS = sa.Table(
    "runs", META,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("arm", sa.Text, nullable=False),
    sa.Column("strategy", sa.Text, nullable=False),
    sa.Column("start", sa.Text, nullable=False),
    sa.Column("pool", sa.Text, nullable=False),
    sa.Column("weighting", sa.Text, nullable=False),
    sa.Column("options", sa.Text, nullable=False),  # JSON
    sa.Column("row", sa.Text, nullable=False),
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("budget", sa.Integer, nullable=False),
    sa.Column("minority", sa.Text, nullable=False),  # JSON: the minority classes' names
    sa.Column("used", sa.Text, nullable=False),  # JSON: weights, device, threads, versions
    sa.Column("status", sa.Text, nullable=False),  # running, done
    sa.Column("started", sa.Text, nullable=False),
    sa.Column("finished", sa.Text),
    sa.UniqueConstraint("row", "arm", "seed"),
)  # fmt: skip
_REAL = ("accuracy", "macro_f1", "loss", "ece", "seconds_train", "seconds_score", "seconds_select",
         "seconds_evaluate", "seconds_zero_shot", "peak_memory_mb")  # fmt: skip
_COUNT = ("labels", "labels_train", "labels_val", "labels_pseudo", "labels_bought", "epochs", "images_forward",
          "images_backward")  # fmt: skip
ROUNDS = sa.Table(
    "rounds", META,
    sa.Column("run", sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("round", sa.Integer, primary_key=True),
    *[sa.Column(name, sa.Integer, nullable=False) for name in _COUNT],
    *[sa.Column(name, sa.Float, nullable=False) for name in _REAL],
    sa.Column("per_class", sa.Text, nullable=False),  # JSON: recall, precision, f1, each K numbers, or null
    sa.Column("details", sa.Text, nullable=False),  # JSON: what the learner chose
    sa.Column("fit_key", sa.Text, nullable=False),
    sa.Column("predictions", sa.LargeBinary, nullable=False),  # packed, see predictions.py
)  # fmt: skip
ACQUISITIONS = sa.Table(
    "acquisitions", META,
    sa.Column("run", sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),  # order of labelling within the run
    sa.Column("round", sa.Integer, nullable=False),  # the round that first trains on it
    sa.Column("index", sa.Integer, nullable=False),  # dataset index
    sa.Column("label", sa.Integer, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("score", sa.Float),
    sa.UniqueConstraint("run", "index"),
)  # fmt: skip
MEASURED = frozenset({"seconds_train", "seconds_score", "seconds_select", "seconds_evaluate", "seconds_zero_shot",
                      "peak_memory_mb", "started", "finished", "created", "used"})  # fmt: skip
"""Columns that differ between two equal runs: times, memory, and the machine they ran on."""


KEPT = "finished rounds are kept; run the same command again"


def labels_twice(rounds: Any) -> Any:
    """Return the labels that were paid for on images that had one already: of a round's row, or of a frame of them."""
    return rounds["labels_bought"] - (rounds["labels"] - rounds["labels_pseudo"])


class Store:
    """An open store. Use `reading` or `writing` to open one."""

    def __init__(self, path: Path, read_only: bool) -> None:
        self.path = path
        self.engine = sqlite(path, read_only)

    def transaction(self) -> Any:
        """Return a context manager with a connection: committed whole, or rolled back."""
        return transaction(self.engine, str(self.path), KEPT)

    def create(self, config: str, version: str, data: dict[str, Any]) -> None:
        """Make the tables and the study's own row."""
        with self.transaction() as connection:
            META.create_all(connection)
            connection.execute(
                STUDY.insert().values(
                    schema=SCHEMA, version=version, config=config, data=json.dumps(data), created=now()
                )
            )

    def exists(self) -> bool:
        """Return whether the tables are there (a process killed before its first transaction leaves an empty file)."""
        with self.transaction() as connection:
            return bool(sa.inspect(connection).has_table("study"))

    def study(self) -> dict[str, Any]:
        """Return the study's row: schema, config (a dict), data (a dict), version, created. Errors: InputError."""
        with self.transaction() as connection:
            tables = sa.inspect(connection).get_table_names()
            found = connection.execute(sa.text("SELECT * FROM study")).mappings().first() if "study" in tables else None
        if found is None or found["schema"] not in READABLE:
            what = f"a store of another version ({found['version']})" if found else "not a study's store"
            raise InputError(f"{self.path} is {what}; choose another folder or use the version that made it")
        return {**found, "config": json.loads(found["config"]), "data": json.loads(found["data"])}

    @cached_property
    def _test(self) -> tuple[int, Labels]:
        """The store's schema and the test set's (T,) true labels: what recorded predictions are read by."""
        study = self.study()
        return int(study["schema"]), np.asarray(study["data"]["test_labels"], dtype=np.int64)

    @property
    def truth(self) -> Labels:
        """The test set's (T,) true labels, in the order of the recorded predictions."""
        return self._test[1]

    def tested(self, blob: bytes) -> Tested:
        """Return a round's recorded predictions from its column `predictions`."""
        schema, truth = self._test
        return read(blob, truth, schema)

    def digest(self) -> str:
        """Return what stands for all records, times and memory aside: equal studies have equal digests."""
        whole, packed = hashlib.sha256(), self._test[0] != FULL
        with self.transaction() as connection:
            for table in (RUNS, ROUNDS, ACQUISITIONS):
                columns = [c for c in table.c if c.name not in MEASURED]
                for row in connection.execute(sa.select(*columns).order_by(*table.primary_key.columns)):
                    values = (content(value) if packed and isinstance(value, bytes) else value for value in row)
                    whole.update(repr(tuple(values)).encode())
        return whole.hexdigest()[:16]

    def set_config(self, config: str) -> None:
        """Record a configuration that grew (more seeds, arms or rows)."""
        with self.transaction() as connection:
            connection.execute(STUDY.update().values(config=config))

    def set_data(self, data: dict[str, Any]) -> None:
        """Record more of what a study was made from, where it grew."""
        with self.transaction() as connection:
            connection.execute(STUDY.update().values(data=json.dumps(data)))

    def statuses(self) -> dict[str, str]:
        """Return run id -> status."""
        with self.transaction() as connection:
            return {row.id: row.status for row in connection.execute(sa.select(RUNS.c.id, RUNS.c.status))}

    def rounds(self) -> int:
        """Return how many rounds are recorded."""
        with self.transaction() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(ROUNDS)).scalar_one())

    def last_results(self, strategy: str) -> dict[tuple[str, int, str], tuple[float, float]]:
        """Return test accuracy and loss at the end of a strategy's finished runs, by (row, seed, weighting)."""
        query = (
            sa.select(RUNS.c.row, RUNS.c.seed, RUNS.c.weighting, ROUNDS.c.accuracy, ROUNDS.c.loss)
            .join(ROUNDS, ROUNDS.c.run == RUNS.c.id)
            .where(RUNS.c.strategy == strategy, RUNS.c.status == "done")
            .order_by(ROUNDS.c.round)
        )
        with self.transaction() as connection:
            return {(r.row, r.seed, r.weighting): (r.accuracy, r.loss) for r in connection.execute(query)}

    def state(self, run: str) -> State | None:
        """Rebuild what a run has labelled from its acquisitions; None if nothing is recorded."""
        query = sa.select(ACQUISITIONS).where(ACQUISITIONS.c.run == run).order_by(ACQUISITIONS.c.position)
        with self.transaction() as connection:
            rows = connection.execute(query).all()
        state = EMPTY
        for number in sorted({row.round for row in rows}):
            part = [row for row in rows if row.round == number]
            state = advance(
                state,
                LabelEvents(np.array([r.index for r in part]), np.array([r.label for r in part]), part[0].source),
            )
        return state if rows else None

    def add_round(
        self, run: dict[str, Any], done: Round, initial: LabelEvents | None, events: LabelEvents | None
    ) -> None:
        """Record a finished round, the answers it asked for, and (round 0) the run's start, in one transaction.

        The run is done when it asked for nothing more.
        """
        row = _round_row(done, self.truth)
        with self.transaction() as connection:
            if initial is not None:
                connection.execute(RUNS.insert().values(**run, status="running", started=now()))
                _add_labels(connection, run["id"], 0, 0, initial, None)
            connection.execute(ROUNDS.insert().values(run=run["id"], **row))
            if events is not None:
                _add_labels(connection, run["id"], done.labels, done.round + 1, events, done.picks.scores)
            else:
                change = RUNS.update().where(RUNS.c.id == run["id"]).values(status="done", finished=now())
                connection.execute(change)


def _add_labels(connection: sa.Connection, run: str, first: int, number: int, events: LabelEvents, scores: Any) -> None:
    values = [
        {"run": run, "position": first + i, "round": number, "index": int(index), "label": int(label),
         "source": events.source, "score": None if scores is None else float(scores[i])}
        for i, (index, label) in enumerate(zip(events.indices, events.labels, strict=True))
    ]  # fmt: skip
    connection.execute(ACQUISITIONS.insert(), values)


def _round_row(done: Round, truth: Labels) -> dict[str, Any]:
    metrics, extra = done.test.metrics, done.preparation
    return {
        "round": done.round, "labels": done.labels, "labels_train": done.labels_train, "labels_val": done.labels_val,
        "labels_pseudo": done.labels_pseudo, "labels_bought": (done.labels - done.labels_pseudo) * done.answers,
        "accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1, "loss": metrics.loss, "ece": metrics.ece,
        "epochs": done.fit.epochs,
        "images_forward": done.fit.images_forward + done.images_scored + extra.images_forward,
        "images_backward": done.fit.images_backward, "seconds_train": done.fit.seconds + done.seconds_tuning,
        "seconds_score": done.seconds_score + extra.seconds_score, "seconds_select": done.seconds_select,
        "seconds_evaluate": done.test.seconds + extra.seconds_evaluate, "seconds_zero_shot": done.seconds_zero_shot,
        "peak_memory_mb": done.peak_memory_mb, "fit_key": done.fit_key, "details": json.dumps(done.details),
        "per_class": json.dumps({k: plain(getattr(metrics, k)) for k in ("recall", "precision", "f1")}),
        "predictions": pack(compact(done.test.probs, truth), truth),
    }  # fmt: skip


@contextmanager
def writing(folder: Path) -> Iterator[Store]:
    """Open a study's store for writing, for this process alone. Errors: InputError when another process has it."""
    busy = f"{folder} is in use by another labelwise process; wait for it or choose another --out"
    with locked(folder, busy, "--out"):
        store = Store(folder / "study.db", read_only=False)
        try:
            yield store
        finally:
            store.engine.dispose()  # the last connection merges the write-ahead log: study.db can be copied alone


def reading(folder: Path) -> Store:
    """Open a study's store for reading, also while a study writes to it. Errors: InputError when there is none."""
    path = folder / "study.db"
    if not path.is_file():
        hint = f"run one with: labelwise run STUDY.yaml --out {folder}"
        raise InputError(f"there is no study in {folder} (no study.db); {hint}")
    store = Store(path, read_only=True)
    store.study()
    return store
