"""The course of a fit: batches of one size from one stream, validations, the learning rate, and when it stops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.config import Learner
from labelwise.models.course import CHECK_STEPS, PADDING, STATISTICS_BATCH, STATISTICS_IMAGES, Course


def course(count: int, seed: int = 0, **changes: Any) -> Course:
    recipe = Learner(**{"backbone": "test_resnet", "weights": "scratch", "device": "cpu", **changes})
    return Course(count, recipe, np.random.default_rng(seed))


@given(st.integers(1, 700), st.integers(2, 40), st.integers(1, 9))
def test_every_step_has_a_whole_batch_and_every_pass_every_image(count: int, batch: int, epochs: int) -> None:
    """The epochs' permutations are one stream, cut every `batch`; an epoch ends after ceil(n / batch) steps."""
    one, rows = course(count, batch=batch, epochs=epochs, patience=1_000), []
    while not one.stopped:
        steps = one.segment()
        assert steps.rows.shape == (len(steps), batch)
        for drawn in (steps.top, steps.left):
            assert drawn.min() >= 0
            assert drawn.max() <= 2 * PADDING
        rows.append(steps.rows.ravel())
        one.validated(1.0)
    stream = np.concatenate(rows)
    assert len(stream) == epochs * math.ceil(count / batch) * batch
    assert (one.steps, one.epochs, one.stopped) == (epochs * math.ceil(count / batch), epochs, "epochs")
    for start in range(0, len(stream) - count + 1, count):
        assert (np.sort(stream[start : start + count]) == np.arange(count)).all()


@pytest.mark.parametrize(("count", "between"), [(1, 12), (127, 12), (384, 12), (385, 13), (1_275, 40), (4_250, 133)])
def test_validations_are_a_pass_and_a_dozen_steps_apart_at_least(count: int, between: int) -> None:
    one = course(count)
    assert [len(one.segment()), len(one.segment())] == [between, between]


@pytest.mark.parametrize("count", [30, 340, 1_275])
def test_ten_validations_without_a_lower_loss_are_waited_for(count: int) -> None:
    """The same at every size: patience in validations, with no kink where an epoch passes a dozen steps."""
    one = course(count, epochs=1_000)
    losses = iter([3.0, 2.0, *[2.5] * 20])
    while not one.stopped:
        one.segment()
        assert one.validated(next(losses)) == (len(one.losses) <= 2)
    assert (len(one.losses), one.stopped) == (12, "early")
    assert one.best_step == 2 * one.between
    assert one.best_epoch == math.ceil(one.best_step / one.epoch)


def test_the_last_steps_are_validated_too() -> None:
    one = course(30, epochs=CHECK_STEPS + 5)
    assert len(one.segment()) == CHECK_STEPS
    one.validated(1.0)
    assert len(one.segment()) == 5
    one.validated(0.5)
    assert (one.stopped, one.best_epoch) == ("epochs", CHECK_STEPS + 5)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_fit(loss: float) -> None:
    one = course(30)
    one.segment()
    one.validated(2.0)
    one.segment()
    assert not one.validated(loss)
    assert (one.stopped, one.best_loss) == ("diverged", 2.0)


@given(st.integers(1, 2_000))
def test_statistics_come_from_whole_batches(count: int) -> None:
    rows = course(count).sample()
    assert len(rows) % STATISTICS_BATCH == 0
    assert len(rows) - STATISTICS_BATCH < min(count, STATISTICS_IMAGES) <= len(rows)
    assert len(np.unique(rows)) == min(count, STATISTICS_IMAGES)


def test_equal_seeds_draw_the_same_and_others_not() -> None:
    drawn = [course(50, seed).segment() for seed in (0, 0, 1)]
    for name in ("rows", "top", "left", "flipped"):
        assert (getattr(drawn[0], name) == getattr(drawn[1], name)).all()
        assert (getattr(drawn[0], name) != getattr(drawn[2], name)).any()


def test_schedules_set_the_learning_rate() -> None:
    def rates(schedule: str, losses: list[float]) -> list[float]:
        one, found = course(384, lr=1.0, epochs=len(losses), schedule=schedule, patience=100), []
        for loss in losses:
            one.segment()
            one.validated(loss)
            found.append(round(one.rate, 4))
        return found

    assert rates("constant", [1.0] * 4) == [1.0] * 4
    assert rates("cosine", [1.0] * 4) == [0.8536, 0.5, 0.1464, 0.0]
    assert rates("plateau", [2.0, 1.0] + [1.5] * 4) == [1.0] * 5 + [0.3]
