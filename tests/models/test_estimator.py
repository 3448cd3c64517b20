"""People's own estimators: scikit-learn's own numbers, classes in any order, seeds, weights, and what is refused."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from labelwise.arrays import floored
from labelwise.config import Study
from labelwise.data.dataset import Dataset
from labelwise.data.sources import open_dataset
from labelwise.errors import InputError
from labelwise.models.learner import Dropout, inverse_frequency
from labelwise.models.learners import build_learner, calibrate, check_learner
from labelwise.seeds import integer
from labelwise.threads import one_thread

FOREST = "sklearn.ensemble.RandomForestClassifier"
BAYES = "sklearn.naive_bayes.GaussianNB"


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("wine") / "wine.npz"
    found = load_wine()
    np.savez(path, embeddings=found.data, labels=found.target, classes=found.target_names)
    return open_dataset(Study(data=str(path)))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("own_model", None)


def study(estimator: str, options: dict[str, Any] | None = None, **keys: Any) -> Study:
    learner = {"kind": "sklearn", "estimator": estimator, "options": options or {}}
    return Study.model_validate({"learner": learner, **keys})


def build(wine: Dataset, estimator: str, options: dict[str, Any] | None = None, **keys: Any) -> Any:
    return build_learner(wine, study(estimator, options, **keys), lambda *_: None)


def test_wine_is_read_as_scikit_learn_has_it(wine: Dataset) -> None:
    np.testing.assert_array_equal(wine.features, load_wine().data)  # type: ignore[arg-type]
    np.testing.assert_array_equal(wine.labels, load_wine().target)


@pytest.mark.parametrize(
    ("path", "options", "by_hand"),
    [
        (FOREST, {"n_estimators": 15}, lambda seed: RandomForestClassifier(15, random_state=seed)),
        ("sklearn.ensemble:HistGradientBoostingClassifier", {"max_iter": 10},
         lambda seed: HistGradientBoostingClassifier(max_iter=10, random_state=seed)),
        ("sklearn.neighbors.KNeighborsClassifier", {"n_neighbors": 3}, lambda _: KNeighborsClassifier(3)),
        (BAYES, {}, lambda _: GaussianNB()),
        ("sklearn.linear_model.LogisticRegression", {"C": 0.1, "max_iter": 5000},
         lambda seed: LogisticRegression(C=0.1, max_iter=5000, random_state=seed)),
    ],
)  # fmt: skip
def test_the_same_numbers_as_by_hand(wine: Dataset, path: str, options: dict[str, Any], by_hand: Any) -> None:
    fitted = build(wine, path, options).fit(wine.pool, wine.labels[wine.pool], "none", 3, {})
    assert wine.features is not None
    X = np.asarray(wine.features)
    with one_thread():
        other = by_hand(integer(3, "estimator", "random_state")).fit(X[wine.pool], wine.labels[wine.pool])
        expected = other.predict_proba(X[wine.test])
    np.testing.assert_array_equal(fitted.predict(wine.test).probs, floored(expected))
    assert fitted.details == {}
    assert (fitted.labels_train, fitted.labels_val) == (len(wine.pool), 0)
    assert (fitted.cost.images_forward, fitted.cost.images_backward) == (0, 0)
    assert np.mean(fitted.predict(wine.test).probs.argmax(axis=1) == wine.labels[wine.test]) > 0.6


def test_the_seed_is_the_runs_and_options_stand_above_it(wine: Dataset) -> None:
    indices = wine.pool[::3]

    def probs(learner: Any, seed: int) -> Any:
        return learner.fit(indices, wine.labels[indices], "none", seed, {}).predict(wine.test).probs

    free, fixed = build(wine, FOREST, {"n_estimators": 5}), build(wine, FOREST, {"n_estimators": 5, "random_state": 7})
    assert (probs(free, 0) == probs(free, 0)).all()
    assert not (probs(free, 0) == probs(free, 1)).all()
    assert (probs(fixed, 0) == probs(fixed, 1)).all()


def test_every_core_gives_the_same_bits(wine: Dataset) -> None:
    one = build(wine, FOREST, {"n_estimators": 30})
    many = build(wine, FOREST, {"n_estimators": 30, "n_jobs": 4})
    found = [
        learner.fit(wine.pool, wine.labels[wine.pool], "none", 0, {}).predict(wine.test).probs
        for learner in (one, many)
    ]
    np.testing.assert_array_equal(*found)


def test_classes_that_were_not_seen_have_no_probability(wine: Dataset) -> None:
    indices = wine.pool[wine.labels[wine.pool] != 1]
    for path in (FOREST, BAYES, "sklearn.ensemble.HistGradientBoostingClassifier"):
        fitted = build(wine, path).fit(indices, wine.labels[indices], "none", 0, {})
        probs = fitted.predict(wine.test).probs
        assert probs[:, 1] == pytest.approx(1e-6, rel=0.01)
        of_two = wine.test[wine.labels[wine.test] != 1]
        assert np.mean(fitted.predict(of_two).probs.argmax(axis=1) == wine.labels[of_two]) > 0.8
    alone = wine.pool[wine.labels[wine.pool] == 2]
    fitted = build(wine, BAYES).fit(alone, wine.labels[alone], "none", 0, {})
    assert (fitted.predict(wine.test).probs.argmax(axis=1) == 2).all()


OWN = """
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier
import numpy as np

def scaled(depth=2):
    return make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=depth))

ready = make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=3))
number = 7

class Backwards(GaussianNB):
    "Its classes_ are in another order."
    def fit(self, X, y):
        super().fit(X, y)
        self.own_ = self.classes_
        self.classes_ = self.classes_[::-1]
        return self
    def predict_proba(self, X):
        self.classes_, kept = self.own_, self.classes_
        found = super().predict_proba(X)[:, ::-1]
        self.classes_ = kept
        return found

class Broken(GaussianNB):
    def fit(self, X, y):
        raise RuntimeError("not today\\nat all")

class Odd(GaussianNB):
    def predict_proba(self, X):
        return super().predict_proba(X) * 2

def gives_a_number():
    return 3
"""


def test_a_pipeline_of_ones_own_module(wine: Dataset, here: Path) -> None:
    (here / "own_model.py").write_text(OWN)
    assert wine.features is not None
    X = np.asarray(wine.features)
    for path, options, depth in (("own_model.scaled", {"depth": 4}, 4), ("own_model:ready", {}, 3),
                                 ("own_model:ready", {"decisiontreeclassifier__max_depth": 1}, 1)):  # fmt: skip
        fitted = build(wine, path, options).fit(wine.pool, wine.labels[wine.pool], "none", 0, {})
        state = integer(0, "estimator", "decisiontreeclassifier__random_state")
        other = make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=depth, random_state=state))
        other.fit(X[wine.pool], wine.labels[wine.pool])
        np.testing.assert_array_equal(fitted.predict(wine.test).probs, floored(other.predict_proba(X[wine.test])))


def test_the_order_of_classes_is_the_estimators_own(wine: Dataset, here: Path) -> None:
    (here / "own_model.py").write_text(OWN)
    found = [
        build(wine, path).fit(wine.pool, wine.labels[wine.pool], "none", 0, {}).predict(wine.test).probs
        for path in (BAYES, "own_model.Backwards")
    ]
    np.testing.assert_array_equal(*found)


def test_a_file_of_ones_own_stands_in_the_key(wine: Dataset, here: Path) -> None:
    (here / "own_model.py").write_text(OWN)
    first = build(wine, "own_model.scaled")
    assert first.used["learner"] == "own_model.scaled"
    assert first.used["estimator from"].startswith("own_model, sha256 ")
    del sys.modules["own_model"]
    (here / "own_model.py").write_text(OWN + "\n# changed\n")
    keys = {first.key, build(wine, "own_model.scaled").key, build(wine, "own_model.scaled", {"depth": 1}).key,
            build(wine, BAYES).key, build(replace(wine, fingerprint="other"), BAYES).key}  # fmt: skip
    assert len(keys) == 5
    forest = build(wine, FOREST)
    assert forest.used["estimator from"].startswith("scikit-learn 1.")
    assert forest.used["backbone"] == "none: 13 features of one's own, float64"


def test_weights_go_to_fit(wine: Dataset, here: Path) -> None:
    (here / "own_model.py").write_text(OWN)
    keep = np.concatenate([wine.pool[wine.labels[wine.pool] == k][: 40 - 15 * k] for k in range(3)])
    indices = np.sort(keep)
    labels = wine.labels[indices]
    assert wine.features is not None
    X = np.asarray(wine.features)
    fitted = build(wine, BAYES, weighting="inverse").fit(indices, labels, "inverse", 0, {})
    other = GaussianNB().fit(X[indices], labels, sample_weight=inverse_frequency(labels, 3)[labels])
    np.testing.assert_array_equal(fitted.predict(wine.test).probs, floored(other.predict_proba(X[wine.test])))
    weighted = build(wine, "own_model.scaled").fit(indices, labels, "inverse", 0, {}).predict(wine.test).probs
    assert not (
        weighted == build(wine, "own_model.scaled").fit(indices, labels, "none", 0, {}).predict(wine.test).probs
    ).all()
    with pytest.raises(
        InputError, match=r"needs an estimator whose fit takes sample_weight, and that of sklearn.neigh"
    ):
        build(wine, "sklearn.neighbors.KNeighborsClassifier", weighting="inverse")


@pytest.mark.parametrize(
    ("learner", "message"),
    [
        ({"kind": "sklearn"}, "learner.estimator: none is given; kind sklearn needs the import path of a scikit-learn"),
        ({"kind": "sklearn", "estimator": "sklearn.naive_bayes.GausianNB"}, "did you mean 'GaussianNB'?"),
        ({"kind": "sklearn", "estimator": "sklearn.svm.LinearSVC"}, "has no predict_proba as it is"),
        ({"kind": "sklearn", "estimator": "sklearn.linear_model.Ridge"}, "has no predict_proba"),
        ({"kind": "sklearn", "estimator": "sklearn.preprocessing.StandardScaler"}, "has no predict_proba"),
        ({"kind": "sklearn", "estimator": "math.pi"}, "is float; it has to be a scikit-learn classifier"),
        ({"kind": "sklearn", "estimator": "math.sqrt", "options": {}}, "cannot be made with learner.options"),
        ({"kind": "sklearn", "estimator": "own_model.gives_a_number"}, "gives int; it has to be"),
        ({"kind": "sklearn", "estimator": FOREST, "options": {"trees": 5}}, "unexpected keyword argument 'trees'"),
        ({"kind": "sklearn", "estimator": FOREST, "options": {"trees": 5}}, "its options: n_estimators, "),
        ({"kind": "sklearn", "estimator": "own_model:ready", "options": {"depth": 5}}, "Invalid parameter 'depth'"),
        ({"kind": "probe", "estimator": FOREST}, "learner.estimator: probe takes none; it is of kind sklearn"),
        ({"kind": "finetune", "options": {"a": 1}}, "learner.options: finetune takes none"),
    ],
)
def test_what_is_no_estimator_is_refused_before_anything_is_read(
    here: Path, learner: dict[str, Any], message: str
) -> None:
    (here / "own_model.py").write_text(OWN)
    with pytest.raises(InputError) as raised:
        check_learner(Study.model_validate({"learner": learner}))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_goes_wrong_later_is_said_in_one_line(wine: Dataset, here: Path) -> None:
    (here / "own_model.py").write_text(OWN)
    few = np.sort(np.concatenate([wine.pool[wine.labels[wine.pool] == k][:1] for k in range(3)]))
    for path, message in (
        ("own_model.Broken", "own_model.Broken cannot be fitted on 3 labels: RuntimeError: not today"),
        ("own_model.Odd", "own_model.Odd gives rows that are no probabilities"),
        (
            "sklearn.neighbors.KNeighborsClassifier",
            "cannot be asked for probabilities: ValueError: Expected n_neighbors",
        ),
    ):
        with pytest.raises(InputError) as raised:
            build(wine, path).fit(few, wine.labels[few], "none", 0, {}).predict(wine.test)
        assert message in str(raised.value)
        assert "\n" not in str(raised.value)


def test_a_fit_that_did_not_converge_says_so(wine: Dataset) -> None:
    learner = build(wine, "sklearn.linear_model.LogisticRegression", {"max_iter": 1})
    assert "failed to converge" in learner.fit(wine.pool, wine.labels[wine.pool], "none", 0, {}).details["problem"]


def test_dropout_and_embeddings(wine: Dataset) -> None:
    fitted = build(wine, BAYES).fit(wine.pool, wine.labels[wine.pool], "none", 0, {})
    said = fitted.predict(wine.test, embeddings=True, dropout=Dropout(4, 0.5, 0))
    assert said.stochastic.shape == (4, len(wine.test), 3)
    assert said.stochastic.sum(axis=2) == pytest.approx(1, abs=1e-5)
    assert said.stochastic.std(axis=0).max() > 0.01
    assert said.embeddings is wine.features
    there = replace(pickle.loads(pickle.dumps(replace(fitted, learner=None))), learner=fitted.learner)
    np.testing.assert_array_equal(there.predict(wine.test).probs, said.probs)


def test_a_plan_times_it(wine: Dataset) -> None:
    found = calibrate(wine, study(BAYES))
    assert (found.once, found.forward_once, found.features) == (0, 0, 13)
    assert 0 < found.fit(100) <= found.fit(100_000) < 60
    assert found.score(2_000) == pytest.approx(2 * found.score(1_000))


def test_images_are_needed_for_fine_tuning_alone(wine: Dataset) -> None:
    with pytest.raises(
        InputError, match=r"trains on images, and .*wine.npz holds features without images; use probe or"
    ):
        build_learner(wine, Study(), lambda *_: None)


def test_the_probe_on_ones_own_features_is_scikit_learns_regression(tmp_path: Path) -> None:
    """Values far beyond float16: none of them may become infinite on the way."""
    found = load_breast_cancer()
    scaled = found.data * np.where(np.arange(30) % 2, 1e4, 1e-7)
    np.savez(tmp_path / "x.npz", embeddings=scaled.astype(np.float32), labels=found.target_names[found.target])
    dataset = open_dataset(Study(data=str(tmp_path / "x.npz")))
    assert dataset.features is not None
    assert dataset.features.max() > 1e7
    chosen = Study.model_validate({"learner": {"kind": "probe", "penalty": 0.1}})
    learner = build_learner(dataset, chosen, lambda *_: None)
    labels = dataset.labels[dataset.pool]
    probs = learner.fit(dataset.pool, labels, "none", 0, {"penalty": 0.1}).predict(dataset.test).probs
    X = np.asarray(dataset.features, np.float64)
    scale = StandardScaler().fit(X[dataset.pool])
    other = LogisticRegression(C=2 / (0.1 * len(labels)), tol=1e-8, max_iter=10_000)
    other.fit(scale.transform(X[dataset.pool]), labels)
    expected = other.predict_proba(scale.transform(X[dataset.test]))
    assert probs == pytest.approx(expected, abs=5e-3)
    assert (probs.argmax(axis=1) == expected.argmax(axis=1)).all()
    assert np.mean(probs.argmax(axis=1) == dataset.labels[dataset.test]) > 0.95
