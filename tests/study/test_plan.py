"""The plan's draws: what arms share, what starts and pools mean, and on what a learner is tuned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import labelwise
from labelwise.arrays import Floats
from labelwise.config import Study
from labelwise.data.dataset import Dataset
from labelwise.data.sources import open_dataset
from labelwise.data.subsets import draw_subset
from labelwise.study.plan import arm_pool, initial_set, plan_runs, run_id, tuning_set

ARMS = ["stratified", "margin", "random", {"strategy": "margin", "start": "random"},
        {"strategy": "margin", "start": "random", "pool": "subset"}]  # fmt: skip


def study(**changes: Any) -> Study:
    values = {"data": "digits", "sizes": ["20%"], "initial": {"minimum": 30}, "learner": {"kind": "probe"}, "seeds": 2}
    return Study.model_validate({"arms": ARMS, **values, **changes})


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return open_dataset(study())


def embedded() -> Floats:
    return np.random.default_rng(0).standard_normal((1_797, 8)).astype(np.float16)


@pytest.mark.parametrize("start", ["stratified", "random", "typical"])
def test_starts_and_tuning(dataset: Dataset, start: str) -> None:
    config = study(start=start, arms=["stratified", "margin", "random"])
    subset = draw_subset(dataset, config, config.sizes[0], 0)
    baseline, margin, random = [run for run in plan_runs(config, dataset) if run.seed == 0]
    sets = [initial_set(dataset, config, subset, run, embedded).tolist() for run in (baseline, margin, random)]
    assert sets[0] == subset.indices.tolist()
    assert sets[1] == sets[2]
    assert len(sets[1]) == 30
    assert (set(sets[1]) <= set(subset.indices.tolist())) == (start == "stratified")
    assert set(sets[1]) <= set(dataset.pool.tolist())
    tuned = [tuning_set(dataset, config, subset, run, embedded).tolist() for run in (baseline, margin, random)]
    assert tuned[0] == tuned[1] == tuned[2] == sets[1]


def test_a_stratified_start_has_the_subsets_shares(dataset: Dataset) -> None:
    config = study(sizes=["40%/10%"], initial={"minimum": 60})
    subset = draw_subset(dataset, config, config.sizes[0], 0)
    run = next(run for run in plan_runs(config, dataset) if run.name == "margin" and run.seed == 0)
    labels = dataset.labels[initial_set(dataset, config, subset, run, embedded)]
    shares = np.bincount(dataset.labels[subset.indices], minlength=10) / subset.budget
    assert np.abs(np.bincount(labels, minlength=10) - 60 * shares).max() <= 1
    assert len(subset.minority) == 2


def test_a_typical_start_reads_no_labels(dataset: Dataset) -> None:
    config = study(start="typical", arms=["margin", {"strategy": "random", "pool": "subset"}])
    subset = draw_subset(dataset, config, config.sizes[0], 0)
    margin, inside = [run for run in plan_runs(config, dataset) if run.seed == 0]
    hidden = replace(dataset, labels=np.zeros_like(dataset.labels))
    chosen = initial_set(dataset, config, subset, margin, embedded)
    assert chosen.tolist() == initial_set(hidden, config, subset, margin, embedded).tolist()
    expected = labelwise.select("typiclust", candidates=dataset.pool, n=30, embeddings=embedded())
    assert chosen.tolist() == sorted(expected.tolist())
    assert set(initial_set(dataset, config, subset, inside, embedded).tolist()) <= set(subset.indices.tolist())


def test_pools(dataset: Dataset) -> None:
    config = study()
    subset = draw_subset(dataset, config, config.sizes[0], 0)
    by_name = {run.name: run for run in plan_runs(config, dataset) if run.seed == 0}
    assert arm_pool(dataset, subset, by_name["margin"].arm).tolist() == dataset.pool.tolist()
    inside = by_name["margin start=random pool=subset"]
    assert arm_pool(dataset, subset, inside.arm).tolist() == subset.indices.tolist()
    assert set(initial_set(dataset, config, subset, inside, embedded).tolist()) <= set(subset.indices.tolist())


def test_a_runs_identity_is_its_own(dataset: Dataset) -> None:
    runs = plan_runs(study(), dataset)
    ids = [run_id(run, study(), "key") for run in runs]
    assert len(set(ids)) == len(runs)
    grown = study(seeds=3, sizes=["10%", "20%"], name="other")
    again = {run_id(run, grown, "key") for run in plan_runs(grown, dataset)}
    assert set(ids) <= again
    for change in ({"acquisition": 0.1}, {"initial": {"minimum": 31}}, {"start": "random", "arms": ["margin"]}):
        config = study(**change)
        assert not set(ids) & {run_id(run, config, "key") for run in plan_runs(config, dataset)}
    assert not set(ids) & {run_id(run, study(), "other") for run in runs}
