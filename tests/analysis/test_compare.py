"""Comparisons at N: pairs by seed, references by parts, Holm within a row, missing runs, costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from labelwise.analysis.compare import PARTS, costs, differences, means, per_run, progress, reference_arm
from labelwise.analysis.picks import ROLES, class_shares, most_unequal
from labelwise.analysis.results import class_counts, rounds, runs
from labelwise.config import Study
from synthetic import make_store


def study(**changes: Any) -> Study:
    values: dict[str, Any] = {
        "sizes": ["3%", "10%"],
        "seeds": 4,
        "arms": ["stratified", "random", "margin", "uncertainty"],
    }
    return Study.model_validate({**values, **changes})


def some(values: dict[str, list[float]], **parts: dict[str, str]) -> pd.DataFrame:
    """Invent finished runs of one row: arm -> accuracies by seed."""
    return pd.DataFrame([
        {"row": "3%", "arm": arm, "seed": seed, "accuracy": value,
         **{"strategy": arm, "start": "stratified", "pool": "full", "weighting": "none",
            "labeler": "truth"}, **parts.get(arm, {})}
        for arm, column in values.items() for seed, value in enumerate(column) if not np.isnan(value)
    ])  # fmt: skip


VALUES = {
    "stratified": [0.70, 0.71, 0.72, 0.69], "random": [0.68, 0.72, 0.70, 0.69],
    "margin": [0.74, 0.74, 0.77, 0.73], "uncertainty": [0.71, 0.70, 0.74, 0.70],
}  # fmt: skip


def test_differences_are_scipys_paired_t_with_holm_within_the_row() -> None:
    found = differences(some(VALUES), "accuracy")
    assert found[["arm", "against"]].to_numpy().tolist() == [
        ["random", "stratified"], ["margin", "stratified"], ["uncertainty", "stratified"],
        ["margin", "random"], ["uncertainty", "random"],
    ]  # fmt: skip
    for row in found.itertuples():
        expected = scipy.stats.ttest_rel(VALUES[row.arm], VALUES[row.reference])
        assert row.p == pytest.approx(expected.pvalue)
        assert (row.low, row.high) == pytest.approx(expected.confidence_interval())
        assert row.n_pairs == 4
    against = found[found["against"] == "stratified"]
    low, middle, high = sorted(against["p"])
    assert sorted(against["p_holm"]) == pytest.approx(
        [3 * low, max(3 * low, 2 * middle), max(3 * low, 2 * middle, high)]
    )
    assert against["comparisons"].tolist() == [3, 3, 3]
    assert against["call"].tolist() == ["no difference shown", "higher", "no difference shown"]


def test_pairs_are_by_seed_and_only_finished_ones_count() -> None:
    values = {"stratified": [0.7, 0.6, np.nan, 0.5], "margin": [np.nan, 0.7, 0.1, 0.62]}
    found = differences(some(values), "accuracy").iloc[0]
    assert found["n_pairs"] == 2
    assert found["difference"] == pytest.approx(0.11)
    assert found["reference_mean"] == pytest.approx(0.55)


def test_one_seed_gives_a_difference_and_no_verdict() -> None:
    found = differences(some({"stratified": [0.7], "margin": [0.8]}), "accuracy").iloc[0]
    assert found["difference"] == pytest.approx(0.1)
    assert np.isnan([found["low"], found["p"], found["p_holm"]]).all()
    assert found["call"] == "no verdict"


@pytest.mark.parametrize("left_out", ["stratified", "random"])
def test_a_missing_reference_is_not_compared_with(left_out: str) -> None:
    found = differences(some({k: v for k, v in VALUES.items() if k != left_out}), "accuracy")
    assert len(found)
    assert left_out not in set(found["against"])


def test_a_reference_shares_the_other_parts() -> None:
    arms = pd.DataFrame(
        [
            ["stratified", "stratified", "full", "none", "truth"],
            ["stratified", "stratified", "full", "inverse", "truth"],
            ["random", "stratified", "full", "none", "truth"],
            ["random", "random", "full", "none", "truth"],
            ["margin", "random", "full", "none", "truth"],
            ["margin", "stratified", "subset", "inverse", "truth"],
            ["margin", "random", "full", "none", "error 10%"],
        ],
        index=[
            "stratified",
            "stratified weighted",
            "random",
            "random start",
            "margin",
            "margin weighted",
            "margin noisy",
        ],
        columns=PARTS,
    )
    assert reference_arm(arms, "margin", "random") == "random start"
    assert reference_arm(arms, "margin", "stratified") == "stratified"
    assert reference_arm(arms, "margin weighted", "stratified") == "stratified weighted"
    assert reference_arm(arms, "margin weighted", "random") is None
    assert reference_arm(arms, "margin noisy", "random") is None


def test_records_to_runs_costs_and_progress(tmp_path: Path) -> None:
    store = make_store(tmp_path, study(), finished=lambda row, arm, seed: (row, arm, seed) != ("3%", "margin", 1))
    frame = rounds(store)
    found = per_run(frame)
    assert len(found) == 31
    assert found["labels"].eq(80).all()
    one = found[(found["arm"] == "random") & (found["row"] == "3%") & (found["seed"] == 0)].iloc[0]
    own = frame[(frame["arm"] == "random") & (frame["row"] == "3%") & (frame["seed"] == 0)]
    assert one["accuracy"] == own["accuracy"].iloc[-1]
    assert one["seconds_train"] == pytest.approx(0.5 + 1.5 + 2.5 + 3.5)
    assert one["seconds"] == pytest.approx(own.filter(like="seconds_").to_numpy().sum())
    assert (one["images_forward"], one["images_backward"], one["epochs"]) == (1400, 200, 12)
    total = costs(found).set_index(["row", "arm"])
    assert total.loc[("3%", "margin"), "n"] == 3
    assert total.loc[("3%", "random"), "seconds_train"] == pytest.approx(8.0)
    counted = progress(study(), found).set_index(["row", "arm"])
    assert counted.loc[("3%", "margin")].tolist() == [4, 3]
    assert counted["planned"].sum() == 32
    assert means(found, "accuracy")["n"].tolist() == [4, 4, 3, 4, 4, 4, 4, 4]


def test_runs_tell_what_was_used(tmp_path: Path) -> None:
    found = runs(make_store(tmp_path, study(sizes=["3%"], seeds=1)))
    assert found["used"].iloc[0]["learner"] == "invented"
    assert found["chosen"].iloc[0] == {"penalty": 0.03}
    assert found["minority"].iloc[0] == []


def test_class_shares_sum_to_one_and_end_at_what_was_labelled(tmp_path: Path) -> None:
    store = make_store(tmp_path, study(sizes=["3%"], seeds=2))
    classes = ["cat", "dog", "ship"]
    shares = class_shares(class_counts(store), classes, runs(store))
    assert list(shares.columns) == classes
    assert shares.sum(axis=1).to_numpy() == pytest.approx(1.0)
    assert list(dict.fromkeys(shares.index.get_level_values("arm"))) == [study().arm_name(arm) for arm in study().arms]
    counts = class_counts(store).query("arm == 'margin' and label == 'cat'").groupby("seed")["count"].sum()
    assert shares.loc[("3%", "margin", 3), "cat"] == pytest.approx(counts.mean() / 80)
    assert len(most_unequal(shares, 2)) == 2
    assert most_unequal(shares, 9) == classes


def test_shares_are_by_role_where_each_seed_has_its_own_minority() -> None:
    seeds = ({"cat": 1, "dog": 9}, {"dog": 2, "cat": 8})
    rows = [("3%/1%", "margin", seed, 0, label, n) for seed, held in enumerate(seeds) for label, n in held.items()]
    rows += [("3%", "margin", 0, 0, "cat", 1), ("3%", "margin", 0, 0, "dog", 3)]
    counts = pd.DataFrame(rows, columns=["row", "arm", "seed", "round", "label", "count"])
    started = pd.DataFrame({"row": ["3%/1%", "3%/1%", "3%"], "seed": [0, 1, 0], "minority": [["cat"], ["dog"], []]})
    found = class_shares(counts, ["cat", "dog"], started)
    assert found.loc[("3%/1%", "margin", 0), list(ROLES)].tolist() == pytest.approx([0.15, 0.85])
    assert found.loc[("3%/1%", "margin", 0), ["cat", "dog"]].isna().all()
    assert found.loc[("3%", "margin", 0), ["cat", "dog"]].tolist() == [0.25, 0.75]
    same = class_shares(counts, ["cat", "dog"], started.assign(minority=[["cat"]] * 3))
    assert same.loc[("3%/1%", "margin", 0), "cat"] == pytest.approx(0.45), "one minority for all seeds: by class"
