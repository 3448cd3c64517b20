"""Runs a study: every run that is not recorded yet, from its last recorded round on, each round recorded at once."""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from labelwise.config import PARTS, Study, canonical
from labelwise.data.dataset import Dataset
from labelwise.data.sources import open_dataset
from labelwise.data.subsets import draw_subset
from labelwise.errors import InputError, printable
from labelwise.loop import Round, needs_pretrained
from labelwise.models.learner import Learner
from labelwise.models.learners import build_learner
from labelwise.records import SCHEMA, Store, writing
from labelwise.strategies import BASELINE
from labelwise.study.deadline import NEVER, Deadline, OutOfTime
from labelwise.study.plan import Run, asks_zero_shot, check_study, plan_runs, run_id
from labelwise.study.runner import Runner
from labelwise.study.schedule import Job
from labelwise.study.workers import compute, default_workers

if TYPE_CHECKING:
    from labelwise.study.cluster import Cluster

LOG = logging.getLogger("labelwise")
MOST_KEYS, LONGEST_VALUE = 6, 60
"""What an error says of another configuration: so many keys, and so many characters of a value."""
GROWING: dict[str, Callable[[Study, Any], str]] = {
    "sizes": lambda _, row: str(row.name), "arms": Study.arm_name, "seeds": lambda _, seed: str(seed),
}  # fmt: skip
"""Keys to which more may be added in the same folder, and what to call one of their items."""
PACKAGES = ("labelwise", "numpy", "scipy", "scikit-learn", "torch", "timm", "pillow")


class Listener(Protocol):
    """Told of progress; draws it, or not."""

    def work(self, what: str, done: int, total: int) -> None:
        """Long work before the first run: reading images, embedding them."""

    def planned(self, runs: list[Run]) -> None:
        """All runs of the study, in order."""

    def recorded(self, run: Run, done: Round) -> None:
        """A round was recorded."""

    def skipped(self, run: Run, rounds: int) -> None:
        """The first `rounds` rounds of a run were recorded before."""


def run_study(
    study: Study,
    out: Path,
    listener: Listener,
    workers: int | None = None,
    cluster: Cluster | None = None,
    deadline: Deadline = NEVER,
) -> None:
    """Run a whole study into the folder `out`, so many runs side by side (None: as many as pay) or on an open cluster.

    Errors: InputError before anything is written; OutOfTime when the deadline has passed and runs are left.
    """
    check_study(study)
    if (out / "study.db").exists():
        with writing(out) as store:  # before the long work: is it free, and ours?
            if store.exists():
                _check_same(store.study(), study, out)
    _check_out(out, study.data)
    runs, runner, card = _prepare(study, listener, deadline)
    learner = runner.learner
    with writing(out) as store, ExitStack() as ending:
        ending.callback(learner.stop)
        _open(store, study, runner.dataset, learner, card)
        listener.planned(runs)
        states = {run_id(run, study, learner.key, runner.answers.key(run)): run for run in runs}
        jobs = _jobs(states, store, listener)
        rows = {identity: _describe(run, identity, runner) for identity, run in states.items()}
        number = workers or default_workers(study, learner)
        if left := len(jobs):
            deadline.prepared("it is finished now")
        for part in _waiting(study, jobs, store):
            if cluster:
                computed = cluster.compute(part, runner, store.state)
            else:
                computed = compute(part, runner, store.state, min(number, max(1, len(part))))
            with closing(computed):
                for job, step in computed:
                    store.add_round(rows[job.identity], step.done, step.initial, step.events)
                    listener.recorded(job.run, step.done)
                    left -= step.events is None
                    if left and deadline.over():
                        raise OutOfTime(f": {_how_far(study, runs, store)}.")


def _prepare(study: Study, listener: Listener, deadline: Deadline) -> tuple[list[Run], Runner, dict[str, Any]]:
    """Do all the long work before the first round; return the runs, what computes them, and what to record of it."""
    work = deadline.watching(listener.work)
    dataset = open_dataset(study, work)
    for line in dataset.seen.lines():
        LOG.info(line)
    deadline.prepared("reading images")
    runs = plan_runs(study, dataset)
    learner = build_learner(dataset, study, work)
    if any(map(needs_pretrained, study.arms)):
        learner.pretrained(work)  # here, where progress is seen; workers find it in the cache
    runner = Runner(study, dataset, learner)
    return runs, runner, runner.answers.prepare(runs, work)


def _how_far(study: Study, runs: list[Run], store: Store) -> str:
    most = "at most " if study.stop == "at_baseline" else ""
    planned = sum(len(run.labels) for run in runs)
    return f"{store.rounds():,} of {most}{planned:,} rounds are recorded"


def _check_out(out: Path, data: str) -> None:
    """Refuse a folder that cannot be written, or that lies among the images, before the long work."""
    existing = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        what = "may not be written to" if existing.is_dir() else "is a file"
        raise InputError(f"cannot write to {out}: {existing} {what}; choose another --out")
    folder = os.path.expanduser(data)
    if os.path.isdir(folder) and out.resolve().is_relative_to(Path(folder).resolve()):
        raise InputError(f"--out {out} lies inside the data folder {data}, among the images; choose another --out")


def _check_same(found: dict[str, Any], study: Study, out: Path) -> None:
    """Refuse a store of another version, form or configuration; more rows, arms and seeds of it are welcome."""
    if found["version"] != version("labelwise"):
        raise InputError(
            f"{out} was made by labelwise {found['version']} and this is {version('labelwise')}, whose records may "
            "differ; choose another --out (results and report still read it)"
        )
    if found["schema"] != SCHEMA:
        raise InputError(
            f"{out} was made by an older labelwise, which recorded more of each round's predictions; choose another "
            "--out (results and report still read it)"
        )
    recorded = Study.model_validate(found["config"])  # keys that it was made without have their defaults
    if different := _differing(recorded, study):
        more = len(different) - MOST_KEYS
        shown = ", ".join(different[:MOST_KEYS]) + (f" and {more} more" if more > 0 else "")
        raise InputError(
            f"{out} holds another configuration, which differs in {shown}; choose another --out, or give these keys "
            "their old values (a study may only grow there: more sizes, arms or seeds)"
        )


def _differing(recorded: Study, study: Study) -> list[str]:
    """Name the keys in which a study differs from the recorded one, with short values: `learner.lr (0.1, was 0.01)`.

    More rows, arms and seeds are no difference; of those that are gone, the names are given.
    """
    before, after = json.loads(canonical(recorded)), json.loads(canonical(study))
    found = []
    for key in sorted(before):
        old, new = before[key], after[key]
        if old == new or key in ("name", "question", "prices"):
            continue
        if key == "zero_shot" and not any(asks_zero_shot(arm) for arm in recorded.arms):
            continue
        if key in GROWING:
            if gone := _gone(recorded, study, key):
                found.append(f"{key} (without {_short(', '.join(gone))})")
        elif isinstance(old, dict) and isinstance(new, dict):
            found += [f"{key}.{k}{_change(old.get(k), new.get(k))}" for k in new if old.get(k) != new.get(k)]
        else:
            found.append(key + _change(old, new))
    return found


def _gone(recorded: Study, study: Study, key: str) -> list[str]:
    """Name the recorded rows, arms or seeds that are no longer in the study."""
    name, now = GROWING[key], getattr(study, key)
    gone = [name(recorded, item) for item in getattr(recorded, key) if item not in now]
    if key == "arms" and any(getattr(recorded, part) != getattr(study, part) for part in PARTS):
        there = {name(study, arm) for arm in now}  # changed with the study's own part, which is named itself
        gone = [arm for arm in gone if arm not in there]
    return gone


def _change(old: Any, new: Any) -> str:
    return (
        "" if isinstance(old, list | dict) or isinstance(new, list | dict) else f" ({_short(new)}, was {_short(old)})"
    )


def _short(value: Any) -> str:
    text = printable(value if isinstance(value, str) else json.dumps(value))
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def _open(store: Store, study: Study, dataset: Dataset, learner: Learner, more: dict[str, Any]) -> None:
    card = {
        "learner": learner.key,
        "source": dataset.source, "fingerprint": dataset.fingerprint, "classes": dataset.classes,
        "pool": len(dataset.pool), "test": len(dataset.test), "notes": dataset.notes, "seen": dataset.seen.record(),
        "test_indices": [int(i) for i in dataset.test] if len(dataset.test) <= 100_000 else [],
        "test_labels": dataset.labels[dataset.test].tolist(), **more,
    }  # fmt: skip
    if not store.exists():
        store.create(canonical(study), version("labelwise"), card)
        return
    found = store.study()
    if found["data"]["fingerprint"] != dataset.fingerprint:
        raise InputError(f"{store.path} was made from other images or labels than {study.data}; choose another --out")
    if found["data"]["learner"] != learner.key:
        raise InputError(
            f"{store.path} was made with other weights, another device, other library versions or another fine-tuning "
            "protocol, so that its records and new ones would not be comparable; choose another --out"
        )
    for what, key in found["data"].get("answers", {}).items():
        if more.get("answers", {}).get(what, key) != key:
            raise InputError(
                f"{store.path} was made with other labels ({what} has changed since); choose another --out"
            )
    store.set_config(canonical(study))
    if more:
        keys = {**found["data"].get("answers", {}), **more.get("answers", {})}
        store.set_data({**found["data"], **more, "answers": keys})


def _jobs(runs: dict[str, Run], store: Store, listener: Listener) -> list[Job]:
    """Return the runs that are not done, and tell the listener what is recorded already."""
    statuses, jobs = store.statuses(), []
    for identity, run in runs.items():
        if statuses.get(identity) == "done":
            listener.skipped(run, len(run.labels))
            continue
        state = store.state(identity)
        if state is not None:
            listener.skipped(run, state.round)
        jobs.append(Job(run, identity))
    return jobs


def _waiting(study: Study, jobs: list[Job], store: Store) -> Iterator[list[Job]]:
    """Yield the jobs in parts, each to be recorded before the next is asked for.

    With `stop: at_baseline` the baselines come first; each other run gets the results of its row, seed and weighting.
    """
    if study.stop == "budget":
        yield jobs
        return
    yield [job for job in jobs if job.run.arm.strategy == BASELINE]
    targets = store.last_results(BASELINE)
    yield [
        replace(job, run=replace(job.run, target=targets[job.run.row.name, job.run.seed, str(job.run.arm.weighting)]))
        for job in jobs if job.run.arm.strategy != BASELINE
    ]  # fmt: skip


def _describe(run: Run, identity: str, runner: Runner) -> dict[str, Any]:
    subset = draw_subset(runner.dataset, runner.study, run.row, run.seed)
    minority = [runner.dataset.classes[k] for k in subset.minority]
    return {
        "id": identity, "arm": run.name, "strategy": run.arm.strategy, "start": run.arm.start, "pool": run.arm.pool,
        "weighting": run.arm.weighting, "options": json.dumps(run.arm.options, sort_keys=True), "row": run.row.name,
        "seed": run.seed, "budget": run.budget, "minority": json.dumps(minority),
        "used": json.dumps({**runner.learner.used, **runner.answers.used(run), **machine()}),
    }  # fmt: skip


def machine() -> dict[str, str]:
    """Return what the results may depend on beside the configuration: versions, processor, cores."""
    packages = {name: version(name) for name in PACKAGES}
    return {
        **packages,
        "python": platform.python_version(),
        "processor": platform.machine(),
        "cores": str(os.cpu_count()),
    }
