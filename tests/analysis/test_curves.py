"""Learning curves and areas: over finished runs only, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.analysis.curves import areas, learning_curves, normalised_area
from labelwise.analysis.statistics import t_interval


def rounds() -> pd.DataFrame:
    values = {("a", 0): [0.5, 0.7, 0.8], ("a", 1): [0.6, 0.7, 0.9], ("b", 0): [0.4]}
    rows = [
        {"row": "3%", "arm": arm, "seed": seed, "round": i, "labels": (10, 20, 50)[i], "accuracy": value,
         "status": "done"}
        for (arm, seed), curve in values.items() for i, value in enumerate(curve)
    ]  # fmt: skip
    return pd.DataFrame([*rows, {**rows[0], "seed": 2, "accuracy": 0.0, "status": "running"}])


def test_mean_and_interval_at_each_number_of_labels() -> None:
    found = learning_curves(rounds(), "accuracy")
    assert found["labels"].tolist() == [10, 20, 50, 10]
    assert found["n"].tolist() == [2, 2, 2, 1]  # the unfinished run is left out
    assert found["mean"].tolist() == pytest.approx([0.55, 0.7, 0.85, 0.4])
    expected = t_interval([0.5, 0.6])
    assert found.loc[0, ["low", "high"]].tolist() == pytest.approx([expected.low, expected.high])
    assert np.isnan(found.loc[3, "low"])


def test_area_by_hand() -> None:
    found = areas(rounds(), "accuracy").set_index(["arm", "seed"])["area"]
    assert found["a", 0] == pytest.approx((10 * 0.6 + 30 * 0.75) / 40)
    assert np.isnan(found["b", 0])  # a single round is no curve


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.integers(1, 500))
def test_area_is_a_mean_along_the_curve(values: list[float], step: int) -> None:
    labels = np.arange(1, len(values) + 1) * step
    area = normalised_area(labels, np.array(values))
    assert min(values) - 1e-12 <= area <= max(values) + 1e-12
    assert area == pytest.approx(np.trapezoid(values, labels) / (labels[-1] - labels[0]))
