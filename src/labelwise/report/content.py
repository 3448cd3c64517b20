"""Everything that a report shows, read from the records once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from labelwise.analysis import compare, ledger, matching, picks, results
from labelwise.analysis.changes import changes
from labelwise.analysis.curves import METRICS, learning_curves
from labelwise.analysis.halves import rounds_with_halves
from labelwise.analysis.verdict import Verdict, judge
from labelwise.analysis.wins import win_matrix
from labelwise.config import Prices, Study
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
    matches: pd.DataFrame
    needed: pd.DataFrame
    between: pd.DataFrame
    changes: pd.DataFrame
    wins: pd.DataFrame
    ledger: pd.DataFrame
    overheads: pd.DataFrame
    prices: pd.DataFrame
    overlaps: pd.DataFrame
    scores: pd.DataFrame

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
    rounds = rounds_with_halves(store)
    whole = study.stop == "budget"
    runs = compare.per_run(rounds, whole)
    started = results.runs(store)
    matches = matching.matches(rounds, whole)
    needed = matching.needed(matches)
    changed = changes(runs, "accuracy").query("n_pairs > 0")
    overlaps, scores = picks.patterns(store)
    return Content(
        study, {**found["data"], "classes": classes}, found["version"], found["created"], rounds,
        started, runs,
        verdict=judge(study, runs, needed, changed, ledger.fits_with_problems(rounds)),
        curves={metric: learning_curves(rounds, metric) for metric in METRICS},
        compared={column: compare.differences(runs, column).query("n_pairs > 0") for column in COMPARED},
        costs=compare.costs(runs),
        shares=picks.class_shares(results.class_counts(store), classes, started),
        matches=matches,
        needed=needed,
        between=compare.between(runs, "accuracy").query("n_pairs > 0"),
        changes=changed,
        wins=win_matrix(rounds),
        ledger=ledger.ledger(rounds),
        overheads=ledger.overheads(runs, rounds),
        prices=ledger.price_curves(rounds if study.prices != Prices() else rounds.iloc[:0], study.prices),
        overlaps=overlaps,
        scores=scores,
    )  # fmt: skip
