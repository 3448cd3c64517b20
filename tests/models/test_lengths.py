"""How long fits are expected to be: what a course allows, and what recorded fits took."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.config import Learner
from labelwise.models.course import Course
from labelwise.models.lengths import COMMON, ONE, length, spread
from labelwise.models.training import Trained

ROOT = Path(__file__).parents[2]
FITS = ROOT / "studies/protocol/fits.csv"


def recipe(**changes: Any) -> Learner:
    return Learner(**{"backbone": "test_resnet", "weights": "scratch", "device": "cpu", **changes})


def followed(labels: int, learner: Learner, best: int) -> Trained:
    """Follow the course of a fit whose loss is lowest at the validation number `best`, and count its images."""
    held = min(max(1, round(learner.validation * labels)), labels - 1)
    course, checked = Course(labels - held, learner, np.random.default_rng(0)), 0
    while not course.stopped:
        course.segment()
        checked += len(course.sample()) + held
        course.validated(abs(best - 1 - len(course.losses)))
    return Trained.of(course, {}, checked)


@pytest.mark.parametrize("labels", [20, 150, 500, 1_500, 5_000])
@pytest.mark.parametrize("changes", [{}, {"patience": 3}, {"batch": 64}, {"validation": 0.3}, {"epochs": 4}])
def test_passes_are_counted_as_a_course_makes_them(labels: int, changes: dict[str, Any]) -> None:
    learner = recipe(**changes)
    found = length(labels, learner)
    held = round(learner.validation * labels)
    between = Course(labels - held, learner, np.random.default_rng(0)).between
    done = followed(labels, learner, round(found.steps / between) - learner.patience)
    counted = (done.steps, done.images_forward, done.images_backward)
    assert counted == (found.steps, found.images_forward, found.images_backward)


@given(st.integers(2, 50_000), st.integers(1, 200), st.integers(1, 40), st.integers(2, 300))
def test_a_length_is_what_the_recipe_allows(labels: int, epochs: int, patience: int, batch: int) -> None:
    learner = recipe(epochs=epochs, patience=patience, batch=batch)
    found = length(labels, learner)
    assert 1 <= found.least <= found.steps <= found.most
    low, high = spread([labels], learner)
    assert found.least <= found.steps * low * (1 + 1e-9)
    assert low <= 1 <= high
    assert found.steps * high <= found.most * (1 + 1e-9)


def test_a_recipe_that_leaves_no_choice_has_no_range() -> None:
    assert spread([150, 500], recipe(epochs=6)) == (1.0, 1.0)


def test_many_fits_are_surer_than_one_but_not_of_what_they_have_in_common() -> None:
    one, many = (spread([500] * count, recipe()) for count in (1, 1_000))
    assert one[0] < many[0] == pytest.approx(COMMON[0], abs=0.01)
    assert one[1] > many[1] == pytest.approx(COMMON[1], abs=0.01)


def test_a_backbone_without_batch_norms_has_fewer_passes() -> None:
    with_, without = (length(150, recipe(), statistics) for statistics in (True, False))
    assert with_.images_forward - without.images_forward == 15 * 128
    assert with_.images_backward == without.images_backward


def recorded() -> pd.DataFrame:
    """Return the fits that the constants stand on."""
    if not FITS.is_file():
        pytest.skip(f"{FITS} is not there: what a plan expects is not held against fits")
    table = pd.read_csv(FITS).query("protocol == 2")
    if table["labels"].nunique() < 3:
        pytest.skip(f"{FITS} has fits of protocol 2 at fewer than three sizes")
    return table


def test_recorded_fits_took_what_is_expected() -> None:
    table, learner = recorded(), recipe()
    relative = []
    for labels, fits in table.groupby("labels"):
        found = length(int(str(labels)), learner)
        low, high = spread([int(str(labels))] * len(fits), learner)
        assert low * found.images_backward <= fits["images_backward"].mean() <= high * found.images_backward
        assert fits["images_backward"].mean() == pytest.approx(found.images_backward, rel=0.15), labels
        shares = fits["images_forward"] / fits["images_backward"]
        assert shares.to_numpy() == pytest.approx(found.images_forward / found.images_backward, rel=1e-3), labels
        relative += list(fits["steps"] / found.steps)
    assert np.quantile(relative, [0.1, 0.9]) == pytest.approx(ONE, abs=0.06)


def test_recorded_arms_lie_within_the_range() -> None:
    """Arms of a whole study, though of an older protocol: small sets were validated less often, so fits were longer."""
    table = pd.read_csv(ROOT / "results/experiment-1-fine-tuned/tables/rounds.csv.gz")
    learner = recipe()
    for (row, arm), rounds in table.groupby(["row", "arm"]):
        sizes = [int(labels) for labels in rounds["labels"]]
        expected = sum(length(labels, learner).images_backward for labels in sizes)
        low, high = spread(sizes, learner)
        assert low * expected <= rounds["images_backward"].sum() <= high * expected, (row, arm)
