"""The loop's two pure functions, for simulations and for people who answer late and in part."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fake
from labelwise.config import Arm
from labelwise.labelers import LabelEvents, Oracle
from labelwise.loop import Task, fit_key, propose, run
from labelwise.state import EMPTY, State, advance


@pytest.fixture
def task(rng: np.random.Generator) -> Task:
    truth = rng.integers(0, 3, 90)
    features = np.eye(3, 5)[truth] * 3 + rng.standard_normal((90, 5))
    return make_task(features, truth)


def make_task(features: Any, truth: Any, **changes: Any) -> Task:
    values: dict[str, Any] = {
        "learner": fake.Fake(features, 3, "key"), "arm": Arm(strategy="margin", weighting="none"), "seed": 1,
        "pool": np.arange(60), "test": np.arange(60, 90), "truth": truth, "budget": 30, "batch": 8, "tuned": {},
    }  # fmt: skip
    return Task(**{**values, **changes})


def start(task: Task, size: int = 10) -> State:
    return advance(EMPTY, Oracle(task.truth).label(np.arange(size)))


def test_a_run_spends_exactly_its_budget(task: Task) -> None:
    done = list(run(task, start(task), Oracle(task.truth)))
    assert [round_.labels for round_, _ in done] == [10, 18, 26, 30]
    assert [round_.round for round_, _ in done] == [0, 1, 2, 3]
    assert done[-1][1] is None
    picked = np.concatenate([events.indices for _, events in done if events is not None])
    assert len(np.unique(picked)) == 20
    assert np.isin(picked, np.arange(10, 60)).all()
    assert [round_.preparation.images_forward for round_, _ in done] == [100, 0, 0, 0]


def test_propose_is_pure(task: Task) -> None:
    state = start(task)
    first, again = propose(task, state), propose(task, state)
    assert first.picks.indices.tolist() == again.picks.indices.tolist()
    fresh = propose(make_task(task.learner.features, task.truth), state)  # type: ignore[attr-defined]
    assert first.picks.indices.tolist() == fresh.picks.indices.tolist()
    assert first.test.metrics.loss == fresh.test.metrics.loss


def test_the_truth_of_unlabelled_images_is_never_read(task: Task, rng: np.random.Generator) -> None:
    state = start(task)
    other = task.truth.copy()
    other[10:60] = rng.integers(0, 3, 50)
    blind = propose(make_task(task.learner.features, other), state)  # type: ignore[attr-defined]
    assert propose(task, state).picks.indices.tolist() == blind.picks.indices.tolist()


def test_people_answer_in_part_and_late(task: Task) -> None:
    state = start(task)
    asked = propose(task, state).picks.indices
    some = LabelEvents(asked[:3], task.truth[asked[:3]], "person")
    state = advance(state, some)
    assert state.round == 1
    assert state.sources[-3:] == ("person",) * 3
    again = propose(task, state)
    assert not np.isin(again.picks.indices, state.indices).any()
    assert again.labels == 13


def test_labelled_twice_is_refused(task: Task) -> None:
    state = start(task)
    for indices in ([3], [20, 20]):
        with pytest.raises(ValueError, match="labelled twice"):
            advance(state, LabelEvents(np.array(indices), np.zeros(len(indices), int), "person"))


def test_a_fits_key_is_its_labelled_set_not_the_order(task: Task) -> None:
    state = start(task)
    turned = State(state.indices[::-1], state.labels[::-1], state.rounds, state.sources)
    assert fit_key(task, state) == fit_key(task, turned)
    others = [
        start(task, 11),
        State(state.indices, (state.labels + 1) % 3, state.rounds, state.sources),
        State(state.indices, state.labels, state.rounds, ("person",) * 10),
    ]
    keys = {fit_key(task, other) for other in (state, *others)}
    assert len(keys) == 4
    for change in ({"seed": 2}, {"tuned": {"penalty": 1}}, {"arm": Arm(strategy="margin", weighting="inverse")}):
        changed = make_task(task.learner.features, task.truth, **change)  # type: ignore[attr-defined]
        assert fit_key(changed, state) not in keys
