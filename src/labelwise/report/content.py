"""Everything that a report shows, read from the records once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from labelwise.analysis import compare, picks, results
from labelwise.analysis.curves import METRICS, learning_curves
from labelwise.analysis.verdict import Verdict, judge
from labelwise.config import Study
from labelwise.records import Store

COMPARED = ("accuracy", "macro_f1", "loss", "area", "seconds")
"""What is compared in pairs: at N, along the curve (`area`), and the seconds of a run."""


@dataclass(frozen=True)
class Content:
    """A study's records and what follows from them; the frames are those of `labelwise.analysis`, by metric."""

    study: Study
    data: dict[str, Any]
    version: str
    created: str
    rounds: pd.DataFrame
    started: pd.DataFrame
    runs: pd.DataFrame
    verdict: Verdict
    curves: dict[str, pd.DataFrame]
    compared: dict[str, pd.DataFrame]
    costs: pd.DataFrame
    shares: pd.DataFrame

    @property
    def planned(self) -> int:
        """How many runs the study has, finished or not."""
        return len(self.study.sizes) * len(self.study.arms) * len(self.study.seeds)

    @property
    def rows(self) -> list[str]:
        """The study's rows that have a finished run, in its order."""
        return list(dict.fromkeys(self.runs["row"]))


def read(store: Store) -> Content:
    """Read a store and analyse it. Errors: InputError when it is not a study's store."""
    found = store.study()
    study = Study.model_validate(found["config"])
    classes = results.classes(store)
    rounds = results.rounds(store)
    runs = compare.per_run(rounds)
    return Content(
        study, {**found["data"], "classes": classes}, found["version"], found["created"], rounds,
        results.runs(store), runs,
        verdict=judge(study, runs),
        curves={metric: learning_curves(rounds, metric) for metric in METRICS},
        compared={column: compare.differences(runs, column).query("n_pairs > 0") for column in COMPARED},
        costs=compare.costs(runs),
        shares=picks.class_shares(results.class_counts(store), classes),
    )  # fmt: skip
