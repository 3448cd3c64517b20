"""Copies a study's runs to MLflow while they are recorded: `labelwise run --mlflow URI`.

The records are the truth. What is sent is read from them, so a study that goes on, that lost its server, or that was
run without MLflow at first, sends what is missing and nothing twice.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from labelwise.config import Study, canonical
from labelwise.errors import InputError
from labelwise.loop import Round
from labelwise.records import ROUNDS, RUNS, labels_twice, reading
from labelwise.study.executor import Listener
from labelwise.study.plan import Run

STORED = tuple(c.name for c in ROUNDS.c if isinstance(c.type, sa.Integer | sa.Float) and c.name != "round")
METRICS = (*STORED, "labels_twice")
"""Numbers of a round that are sent, each as a metric whose step is the number of labels."""
BATCH = 900
"""Metrics a request; MLflow takes at most 1,000 entities."""
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # a study tells nobody but the store that was named
    "MLFLOW_ALLOW_FILE_STORE": "true",  # MLflow refuses folders unless they are asked for: the URI asks
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines for each run, among the results
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # by default a lost server is waited for minutes, at every round
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
"""Settings of MLflow's, where the environment does not have them."""


@dataclass
class _Sent:
    """What an MLflow run holds already. metrics: (name, step)."""

    id: str
    done: bool
    metrics: set[tuple[str, int]] = field(default_factory=set)


class Tracker:
    """A listener around another one, with one MLflow run for each run, in an experiment named after the study.

    An MLflow run is found again by its tag `identity`, which stands for all that the run's records depend on. Where
    MLflow fails once the study runs, one line says so, and the study goes on without it. Errors: InputError when it is
    not installed or does not answer at first.
    """

    def __init__(self, uri: str, study: Study, folder: Path, inner: Listener) -> None:
        self.uri, self.study, self.folder, self.inner = uri, study, folder, inner
        self.client = _connect(uri, study.name)
        self.experiment, self.lost = "", False
        self.found: dict[str, Any] = {}  # identity -> MLflow's run, from before
        self.sent: dict[str, _Sent] = {}

    def work(self, what: str, done: int, total: int) -> None:
        """Pass it on."""
        self.inner.work(what, done, total)

    def planned(self, runs: list[Run]) -> None:
        """Open the experiment, and look for runs that are there already."""
        self.inner.planned(runs)
        self._try(self._open_experiment)

    def skipped(self, run: Run, rounds: int) -> None:
        """Send what MLflow lacks of a run that was recorded before."""
        self.inner.skipped(run, rounds)
        self._try(lambda: self._send(run))

    def recorded(self, run: Run, done: Round) -> None:
        """Send a recorded round."""
        self.inner.recorded(run, done)
        self._try(lambda: self._send(run))

    def _try(self, send: Any) -> None:
        if self.lost:
            return
        try:
            send()
        except Exception as error:  # whatever it is, the study is worth more than its copy
            self.lost = True
            print(
                f"warning: MLflow at {self.uri} failed ({_line(error)}); the study goes on without it and its records "
                "are complete: the same command sends the rest later",
                file=sys.stderr,
            )

    def _open_experiment(self) -> None:
        found = self.client.get_experiment_by_name(self.study.name)
        self.experiment = found.experiment_id if found else self.client.create_experiment(self.study.name)
        token = None
        while True:
            page = self.client.search_runs([self.experiment], max_results=1_000, page_token=token)
            self.found |= {run.data.tags["identity"]: run for run in page if "identity" in run.data.tags}
            token = page.token
            if not token:
                return

    def _send(self, run: Run) -> None:
        """Bring a run's copy up to its records."""
        from mlflow.entities import Metric, RunTag

        recorded, rounds = _read(self.folder, run)
        if recorded["id"] not in self.sent:
            self.sent[recorded["id"]] = self._open_run(run, recorded)
        sent, now = self.sent[recorded["id"]], time.time_ns() // 1_000_000
        if sent.done:
            return
        new = [
            Metric(name, row[name], now, row["labels"])
            for row in rounds
            for name in METRICS
            if (name, row["labels"]) not in sent.metrics
        ]
        for start in range(0, len(new), BATCH):
            self.client.log_batch(sent.id, metrics=new[start : start + BATCH])
        sent.metrics |= {(metric.key, metric.step) for metric in new}
        if recorded["status"] == "done":
            tags = {"status": "done", "problems": _problems(rounds), "minority": recorded["minority"]}
            self.client.log_batch(sent.id, tags=[RunTag(*item) for item in tags.items()])
            self.client.set_terminated(sent.id, "FINISHED", _milliseconds(recorded["finished"]))
            sent.done = True

    def _open_run(self, run: Run, recorded: dict[str, Any]) -> _Sent:
        """Find a run's copy and what it holds, or begin it."""
        from mlflow.entities import Param

        names = {"study": self.study.name, "row": run.row.name, "arm": run.name, "seed": str(run.seed)}
        used = {f"used.{key}": str(value) for key, value in json.loads(recorded["used"]).items()}
        tags = {**names, "identity": recorded["id"], "status": "running", **used}
        found = self.found.get(recorded["id"]) or self.client.create_run(
            self.experiment, _milliseconds(recorded["started"]), tags, f"{run.row.name} {run.name} seed {run.seed}"
        )
        sent = _Sent(found.info.run_id, found.info.status == "FINISHED")
        if not sent.done:  # it may have been cut off anywhere
            params = _params(self.study, run)
            missing = [Param(key, value) for key, value in params.items() if key not in found.data.params]
            self.client.log_batch(sent.id, params=missing)
            for name in METRICS if recorded["id"] in self.found else ():
                sent.metrics |= {(name, one.step) for one in self.client.get_metric_history(sent.id, name)}
        return sent


def _connect(uri: str, experiment: str) -> Any:
    """Open MLflow's store and see that it answers. Errors: InputError."""
    for key, value in SETTINGS.items():
        os.environ.setdefault(key, value)
    file = uri.removeprefix("sqlite:///").partition("?")[0] if uri.startswith("sqlite:///") else ""
    if file and not Path(file).parent.is_dir():  # MLflow would make it without a word
        raise InputError(f"--mlflow {uri}: there is no folder {Path(file).parent}; make it, or give another place")
    try:
        from mlflow.tracking import MlflowClient

        for name in ("alembic", "mlflow"):  # making the tables of a new database would take 40 lines
            logging.getLogger(name).setLevel(logging.WARNING)
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(experiment)
    except ImportError as error:
        hint = "install it with: pip install 'labelwise[mlflow]'"
        raise InputError(f"--mlflow needs MLflow, which is not here ({error}); {hint}") from None
    except Exception as error:  # MLflow lets its stores' own errors through, of many kinds
        hint = "give for example sqlite:///mlflow.db or http://host:5000"
        raise InputError(f"--mlflow {uri}: {_line(error)}; {hint}") from None
    if found and found.lifecycle_stage == "deleted":
        hint = "restore it there, or give the study another name"
        raise InputError(f"--mlflow {uri}: the experiment '{experiment}' was deleted; {hint}")
    return client


def _read(folder: Path, run: Run) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a run's row and those of its rounds, as they are recorded."""
    key = (RUNS.c.row == run.row.name) & (RUNS.c.arm == run.name) & (RUNS.c.seed == run.seed)
    query = sa.select(*[ROUNDS.c[name] for name in (*STORED, "round", "details")]).join(RUNS, ROUNDS.c.run == RUNS.c.id)
    store = reading(folder)
    try:
        with store.transaction() as connection:
            recorded = connection.execute(sa.select(RUNS).where(key)).mappings().one()
            rounds = connection.execute(query.where(key).order_by(ROUNDS.c.round)).mappings().all()
            return dict(recorded), [{**row, "labels_twice": int(labels_twice(row))} for row in rounds]
    finally:
        store.engine.dispose()  # an open reader would keep the writer from merging its log


def _params(study: Study, run: Run) -> dict[str, str]:
    """Return a run's configuration: the study's keys, dotted, with the arm's and row's own in place of their lists."""
    whole, own = json.loads(canonical(study)), {**json.loads(canonical(run.arm)), "row": json.loads(canonical(run.row))}
    left = ("name", "question", "sizes", "arms", "seeds")
    found = {key: value for key, value in {**whole, **own}.items() if key not in left}
    return {**_dotted(found), "seed": str(run.seed), "budget": str(run.budget), "batch": str(run.batch)}


def _dotted(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            found |= _dotted(value, f"{prefix}{key}.")
        elif value not in (None, {}):
            found[prefix + key] = value if isinstance(value, str) else json.dumps(value)
    return found


def _problems(rounds: list[dict[str, Any]]) -> str:
    """Say which rounds' fits went wrong, `round 3: stuck`; or none."""
    said = ((row["round"], json.loads(row["details"]).get("problem")) for row in rounds)
    return "; ".join(f"round {number}: {problem}" for number, problem in said if problem) or "none"


def _milliseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000)


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < 240 else f"{text[:237]}..."
