"""What every row of LEARNERS promises, on digits with a tiny backbone."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from labelwise.arrays import PROBABILITY_FLOOR
from labelwise.config import Study
from labelwise.data.dataset import Dataset
from labelwise.data.sources import open_dataset
from labelwise.models.backbone import torch_threads
from labelwise.models.learner import Dropout, dropped
from labelwise.models.learners import LEARNERS, build_learner
from labelwise.seeds import generator

KINDS = [info.name for info in LEARNERS if info.name != "fake"]
QUICK: dict[str, dict[str, Any]] = {
    "finetune": {"epochs": 6},
    "sklearn": {
        "estimator": "sklearn.ensemble:RandomForestClassifier",
        "options": {"n_estimators": 20, "max_depth": 4},
    },
}
"""Options that a row needs, or that make its fits quick."""


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return open_dataset(Study(data="digits"))


def build(digits: Dataset, kind: str, **changes: Any) -> Any:
    options = {"kind": kind, "backbone": "test_resnet", "weights": "scratch", "device": "cpu", **QUICK.get(kind, {})}
    return build_learner(digits, Study(data="digits", learner={**options, **changes}), lambda *_: None)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def learner(digits: Dataset, kind: str) -> Any:
    return build(digits, kind)


@pytest.fixture(scope="module")
def fit(digits: Dataset, learner: Any) -> Callable[..., Any]:
    def fit(size: int = 60, part: int = 0, weighting: str = "none", seed: int = 0, classes: range = range(10)) -> Any:
        some = digits.pool[np.isin(digits.labels[digits.pool], classes)]
        indices = np.sort(generator(part, "part").permutation(some)[:size])
        labels = digits.labels[indices]
        return learner.fit(indices, labels, weighting, seed, learner.tune(indices, labels, seed))

    return fit


def weights(fitted: Any) -> dict[str, Any]:
    """Return all arrays of a fitted model by name."""
    found: dict[str, Any] = {}
    for field in fields(fitted):
        value = getattr(fitted, field.name)
        found.update(value if isinstance(value, dict) and field.name == "state" else {field.name: value})
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}


def test_equal_arguments_give_equal_bits_whatever_was_fitted_before(fit: Any, digits: Dataset, kind: str) -> None:
    first = fit()
    before = first.predict(digits.test[:50]).probs
    other = fit(70, part=1, weighting="inverse", seed=1)
    again, built = fit(), build(digits, kind)
    assert weights(first)
    assert weights(first).keys() == weights(again).keys()
    assert all((value == weights(again)[name]).all() for name, value in weights(first).items())
    assert (again.predict(digits.test[:50]).probs == before).all()
    assert (first.predict(digits.test[:50]).probs == before).all()
    assert (replace(first, learner=built).predict(digits.test[:50]).probs == before).all()
    assert not (other.predict(digits.test[:50]).probs == before).all()


def test_global_generator_and_threads_are_left_alone(fit: Any, digits: Dataset, kind: str) -> None:
    with torch_threads(2), torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        build(digits, kind)
        first = fit().predict(digits.test[:20]).probs
        assert torch.equal(before, torch.get_rng_state())
        assert torch.get_num_threads() == 2
        torch.manual_seed(1)
        assert (fit().predict(digits.test[:20]).probs == first).all()


def test_probabilities(fit: Any, digits: Dataset) -> None:
    some = digits.test[[5, 3, 80, 4]]
    predicted = fit(classes=range(2, 5)).predict(some)
    assert (predicted.indices == some).all()
    assert predicted.probs.shape == (4, 10)
    assert predicted.probs.dtype == np.float32
    assert predicted.probs.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert predicted.probs.min() >= 0.98 * PROBABILITY_FLOOR
    assert predicted.embeddings is None
    assert predicted.seconds > 0
    assert predicted.images_forward in (0, 4)
    assert fit(classes=range(2, 5)).predict(np.empty(0, np.int64)).probs.shape == (0, 10)


def test_embeddings_have_a_row_for_every_image(fit: Any, digits: Dataset) -> None:
    some = digits.test[:30]
    predicted = fit().predict(some, embeddings=True)
    assert predicted.embeddings.shape[0] == len(digits.images)
    rows = np.asarray(predicted.embeddings[some], np.float64)
    assert np.isfinite(rows).all()
    assert (rows.std(axis=0) > 0).mean() > 0.5
    assert (predicted.probs == fit().predict(some).probs).all()


@pytest.mark.parametrize("size", [1, 2, 3, 10, 61])
def test_any_number_of_labels_is_fitted_and_counted(fit: Any, digits: Dataset, size: int) -> None:
    for weighting in ("none", "inverse"):
        fitted = fit(size, weighting=weighting)
        assert fitted.labels_train + fitted.labels_val == size
        assert fitted.labels_train >= 1
        assert fitted.cost.seconds > 0
        assert np.isfinite(fitted.predict(digits.test[:5]).probs).all()


def test_one_class_alone_is_fitted(fit: Any, digits: Dataset) -> None:
    fitted = fit(30, classes=range(7, 8))
    assert fitted.predict(digits.test[:5]).probs.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_all_but_the_learner_can_be_sent_to_another_process(fit: Any, digits: Dataset, learner: Any) -> None:
    fitted = fit()
    sent = pickle.dumps(replace(fitted, learner=None))
    assert len(sent) < 1.1 * sum(array.nbytes for array in weights(fitted).values()) + 100_000
    there = replace(pickle.loads(sent), learner=learner)
    for part in (digits.test[:40], digits.pool[:7]):
        one, other = fitted.predict(part, embeddings=True), there.predict(part, embeddings=True)
        assert (one.probs == other.probs).all()
        assert (one.embeddings == other.embeddings).all()
    assert there.details == fitted.details
    assert there.cost == fitted.cost


def test_the_key_stands_for_data_and_weights(digits: Dataset, learner: Any, kind: str) -> None:
    assert build(digits, kind).key == learner.key
    others = [
        build(digits, kind, backbone="test_byobnet").key,
        build(replace(digits, fingerprint="other"), kind).key,
    ]
    assert len({learner.key, *others}) == 3
    assert learner.used["device"] == "cpu"


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.75])
def test_masks_are_the_definitions_to_the_bit(rate: float) -> None:
    """However they are drawn: each feature stays with probability 1 - rate, by the generator's own float32 numbers."""
    features = np.random.default_rng(0).standard_normal((700, 5)).astype(np.float32)
    found = dropped(features, Dropout(3, rate, 7), 64, np.copy)
    rng = generator(7, "dropout", 64)
    for values in found:
        kept = rng.random(features.shape, np.float32) < np.float32(1 - rate)
        np.testing.assert_array_equal(values, features * kept / np.float32(1 - rate))
