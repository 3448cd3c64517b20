"""Recorded predictions: packed without loss, small, and the same from either form of the records."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from labelwise import predictions
from labelwise.arrays import softmax
from labelwise.predictions import FULL, compact, pack, read, unpack

SHAPES = st.tuples(st.integers(1, 40), st.sampled_from([1, 2, 3, 10, 257, 700]))
HALVES = arrays(np.float16, SHAPES, elements=st.floats(0, 1, width=16))


def assert_equal(one: predictions.Tested, other: predictions.Tested) -> None:
    for name in ("predicted", "top", "true"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name, strict=True)


@given(HALVES, st.data())
def test_nothing_is_lost_and_either_form_reads_the_same(probs: np.ndarray, data: st.DataObject) -> None:
    rows, classes = probs.shape
    truth = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)), np.int64)
    found = compact(probs, truth)
    assert_equal(unpack(pack(found, truth), truth), found)
    assert_equal(read(pack(found, truth), truth, FULL + 1), found)
    assert_equal(read(probs.astype("<f2").tobytes(), truth, FULL), found)


def test_what_is_recorded_is_the_models_own(rng: np.random.Generator) -> None:
    probs, truth = softmax(rng.normal(size=(50, 300))), rng.integers(300, size=50)
    found = unpack(pack(compact(probs, truth), truth), truth)
    assert (found.predicted == probs.argmax(axis=1)).all()
    assert found.predicted.max() > 255
    assert found.true == pytest.approx(probs[np.arange(50), truth], rel=1e-3)
    assert found.top == pytest.approx(probs.max(axis=1), rel=1e-3)


@pytest.mark.parametrize(("signal", "bytes_", "right"), [(0.3, 33_000, 0.2), (2.0, 30_000, 0.5), (6.0, 24_000, 0.7)])
def test_a_round_is_small(signal: float, bytes_: int, right: float, rng: np.random.Generator) -> None:
    """10,000 test images of 10 classes, of models that are right more and more often: all of it would be 200,000."""
    truth, logits = rng.integers(10, size=10_000), rng.normal(scale=1.5, size=(10_000, 10))
    logits[np.arange(10_000), truth] += signal * rng.exponential(size=10_000)
    probs = softmax(logits)
    assert (probs.argmax(axis=1) == truth).mean() == pytest.approx(right, abs=0.1)
    assert len(pack(compact(probs, truth), truth)) < bytes_
