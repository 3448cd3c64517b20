"""The records as tables: a row a round, and a row an acquired label."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import sqlalchemy as sa

from labelwise.records import ACQUISITIONS, ROUNDS, RUNS, Store, labels_twice

COLUMNS = (
    "arm", "strategy", "start", "pool", "weighting", "labeler", "row", "seed", "round", "labels", "labels_train",
    "labels_val", "labels_pseudo", "labels_bought", "labels_twice", "accuracy", "macro_f1", "loss", "ece", "epochs",
    "images_forward", "images_backward", "seconds_train", "seconds_score", "seconds_select", "seconds_evaluate",
    "seconds_zero_shot", "peak_memory_mb", "options", "budget", "status", "problem", "fit_key",
)  # fmt: skip
"""Columns of `labelwise results`, in order; documented in docs/results.md."""
KEYS = ["row", "arm", "seed"]
"""What identifies a run within a study."""


def rounds(store: Store) -> pd.DataFrame:
    """Return every recorded round, a row each, in the study's order of rows, arms and seeds."""
    kept = [name for name in COLUMNS if name not in ("problem", "labeler", "labels_twice")]
    columns = [RUNS.c[name] if name in RUNS.c else ROUNDS.c[name] for name in kept]  # never the large predictions
    query = sa.select(*columns, ROUNDS.c.details).join(ROUNDS, ROUNDS.c.run == RUNS.c.id)
    with store.transaction() as connection:
        frame = pd.DataFrame(connection.execute(query).mappings().all(), columns=_names(query))
    frame["problem"] = [json.loads(text).get("problem", "") for text in frame.pop("details")]
    frame["labeler"] = frame["arm"].map(labelers(store))
    frame["labels_twice"] = labels_twice(frame)
    return in_order(frame[[*COLUMNS]], store)


def labelers(store: Store) -> dict[str, str]:
    """Return arm -> the short name of who answers in it."""
    from labelwise.config import Study

    study = Study.model_validate(store.study()["config"])
    return {study.arm_name(arm): arm.labeler.name if arm.labeler else study.labeler.name for arm in study.arms}


def details(store: Store) -> pd.DataFrame:
    """Return every recorded round: row, arm, strategy, start, pool, weighting, labeler, seed, round, labels, status,

    labels_pseudo, labels_bought, and details, a dict of what the learner and the labels' audit said.
    """
    keys = ("row", "arm", "strategy", "start", "pool", "weighting", "seed", "status")
    counts = ("round", "labels", "labels_pseudo", "labels_bought", "details")
    query = sa.select(*[RUNS.c[name] for name in keys], *[ROUNDS.c[name] for name in counts]).join(
        ROUNDS, ROUNDS.c.run == RUNS.c.id
    )
    with store.transaction() as connection:
        frame = pd.DataFrame(connection.execute(query).mappings().all(), columns=_names(query))
    frame["details"] = [json.loads(text) for text in frame["details"]]
    frame["labeler"] = frame["arm"].map(labelers(store))
    return in_order(frame, store)


def runs(store: Store) -> pd.DataFrame:
    """Return every started run: row, arm, seed, budget, status, started, finished, minority (names), used, chosen.

    used: what the run was made with; chosen: what its learner chose once (the first round's details). Both are dicts.
    """
    columns = [RUNS.c[name] for name in ("row", "arm", "seed", "budget", "status", "started", "finished", "minority",
                                         "used")]  # fmt: skip
    query = (
        sa.select(*columns, ROUNDS.c.details.label("chosen"))
        .join(ROUNDS, ROUNDS.c.run == RUNS.c.id)
        .where(ROUNDS.c.round == 0)
    )
    with store.transaction() as connection:
        frame = pd.DataFrame(connection.execute(query).mappings().all(), columns=_names(query))
    for name in ("minority", "used", "chosen"):
        frame[name] = [json.loads(text) for text in frame[name]]
    frame["chosen"] = [details.get("chosen", {}) for details in frame["chosen"]]
    return in_order(frame, store)


def acquisitions(store: Store) -> pd.DataFrame:
    """Return every label of every run: row, arm, seed, round (that first trains on it), index, label, source, score."""
    query = sa.select(
        RUNS.c.row, RUNS.c.arm, RUNS.c.seed, *[c for c in ACQUISITIONS.c if c.name not in ("run",)]
    ).join(ACQUISITIONS, ACQUISITIONS.c.run == RUNS.c.id)  # fmt: skip
    with store.transaction() as connection:
        frame = pd.DataFrame(connection.execute(query).mappings().all(), columns=_names(query))
    names = classes(store)
    frame["label"] = [names[k] for k in frame["label"]]
    return in_order(frame, store)


def problems(frame: pd.DataFrame) -> str:
    """Say which fits of these rounds went wrong, `2 of 340 fits: stuck: ..`; empty where none did."""
    found = frame.loc[frame["problem"] != "", "problem"].value_counts()
    said = "; ".join(f"{text} ({count})" for text, count in found.items())
    return f"{found.sum():,} of {len(frame):,} fits: {said}" if said else ""


def class_counts(store: Store) -> pd.DataFrame:
    """Return how many labels of each class a finished run got for each round: a row a run, round and class found."""
    keys = (RUNS.c.row, RUNS.c.arm, RUNS.c.seed, ACQUISITIONS.c.round, ACQUISITIONS.c.label)
    query = (
        sa.select(*keys, sa.func.count().label("count"))
        .join(ACQUISITIONS, ACQUISITIONS.c.run == RUNS.c.id)
        .where(RUNS.c.status == "done")
        .group_by(*keys)
    )
    with store.transaction() as connection:
        frame = pd.DataFrame(connection.execute(query).mappings().all(), columns=_names(query))
    names = classes(store)
    frame["label"] = [names[k] for k in frame["label"]]
    return in_order(frame, store)


def classes(store: Store) -> list[str]:
    """Return the classes' names; a folder's name that is no valid Unicode has its odd bytes written out."""
    return [name.encode("utf-8", "backslashreplace").decode() for name in store.study()["data"]["classes"]]


def in_order(frame: pd.DataFrame, store: Store) -> pd.DataFrame:
    """Sort rows by the study's own order of rows and arms, then seed and round."""
    from labelwise.config import Study

    study = Study.model_validate(store.study()["config"])
    order = {
        "row": {row.name: i for i, row in enumerate(study.sizes)},
        "arm": {study.arm_name(arm): i for i, arm in enumerate(study.arms)},
    }
    by = [key for key in ("row", "arm", "seed", "round", "position") if key in frame.columns]

    def rank(column: pd.Series) -> pd.Series:
        return column.map(order[str(column.name)]) if column.name in order else column

    return frame.sort_values(by, key=rank, kind="stable").reset_index(drop=True)


def dicts(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's rows as dicts of plain values."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def _names(query: sa.Select[Any]) -> list[str]:
    return [*query.selected_columns.keys()]
