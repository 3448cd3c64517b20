"""Picks against scikit-activeml 1.0.1's, an independent implementation, on cases without ties.

Not compared: DropQuery, whose clusters are drawn differently, and cluster-margin, which the peer does not have; their
definitions are checked in test_published.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from skactiveml.base import SkactivemlClassifier
from skactiveml.pool import Badge, CoreSet, ProbCover, TypiClust, UncertaintySampling
from skactiveml.pool._bald import batch_bald
from skactiveml.utils import MISSING_LABEL

from labelwise.seeds import generator
from labelwise.strategies import coverage, probcover, run_strategy
from labelwise.strategies.geometry import cluster

N, D, K = 500, 16, 5
LABELLED = np.arange(40)


@pytest.fixture(scope="module")
def arrays() -> dict[str, Any]:
    rng = np.random.default_rng(11)
    centres = rng.standard_normal((8, D)) * 2
    embeddings = centres[rng.integers(8, size=N)] + rng.standard_normal((N, D))
    return {
        "embeddings": (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32),
        "probs": rng.dirichlet(np.ones(K), N).astype(np.float32),
        "stochastic_probs": rng.dirichlet(np.ones(K), (6, N)).astype(np.float32),
    }


class Given(SkactivemlClassifier):
    """A classifier that predicts what it was given, by row number in the first feature."""

    def __init__(self, probs: Any = None, embeddings: Any = None, **others: Any) -> None:
        super().__init__(**others)
        self.probs, self.embeddings = probs, embeddings

    def fit(self, X: Any, y: Any) -> Given:
        return self

    def predict_proba(self, X: Any) -> Any:
        rows = X[:, 0].astype(int)
        return self.probs[rows] if self.embeddings is None else (self.probs[rows], self.embeddings[rows])


def ours(name: str, arrays: dict[str, Any], n: int, labelled: Any = LABELLED, **options: Any) -> list[int]:
    pool = np.setdiff1d(np.arange(N), labelled)
    return run_strategy(name, pool, n, labelled, arrays, options, 0, classes=K).indices.tolist()


def labels(labelled: Any) -> Any:
    y = np.full(N, MISSING_LABEL)
    y[labelled] = np.asarray(labelled) % K
    return y


ROWS = np.arange(N, dtype=float)[:, None]


@pytest.mark.parametrize(
    ("name", "method"), [("uncertainty", "least_confident"), ("margin", "margin_sampling"), ("entropy", "entropy")]
)
def test_probability_strategies(arrays: dict[str, Any], name: str, method: str) -> None:
    theirs = UncertaintySampling(method=method, random_state=0).query(
        ROWS, labels(LABELLED), Given(arrays["probs"], classes=list(range(K))), fit_clf=False, batch_size=30
    )
    assert ours(name, arrays, 30) == theirs.tolist()


def test_coreset(arrays: dict[str, Any]) -> None:
    theirs = CoreSet(random_state=0).query(arrays["embeddings"], labels(LABELLED), batch_size=60)
    assert ours("coreset", arrays, 60) == theirs.tolist()


def test_bald(arrays: dict[str, Any]) -> None:
    pool = np.arange(len(LABELLED), N)
    information = batch_bald(arrays["stochastic_probs"][:, pool].astype(float), batch_size=1, random_state=0)[0]
    assert ours("bald", arrays, 30) == pool[np.argsort(-information)[:30]].tolist()


def test_badge(arrays: dict[str, Any]) -> None:
    """The first pick is the same, and every draw's distribution given the picks before it, but for one thing:

    the peer goes on from the squared lengths of the gradients, as if a first centre lay at the origin; the authors'
    code does not, and neither do we.
    """
    clf = Given(arrays["probs"], arrays["embeddings"].astype(float), classes=list(range(K)))
    picks, utilities = Badge(random_state=0).query(
        ROWS, labels(LABELLED), clf, fit_clf=False, batch_size=8, return_utilities=True
    )
    assert ours("badge", arrays, 1) == picks[:1]
    pool = np.arange(len(LABELLED), N)
    errors = arrays["probs"][pool]
    errors[np.arange(len(pool)), errors.argmax(axis=1)] -= 1
    gradients = coverage._Gradients(arrays["embeddings"], pool, errors)
    for number in range(1, 8):
        squared = gradients.distances(np.arange(len(pool)), np.array(picks[:number]) - len(LABELLED)).min(axis=1)
        squared = np.minimum(squared, gradients.norms)
        shares = utilities[number, pool]
        there = ~np.isnan(shares)  # not picked before
        np.testing.assert_allclose((squared / squared.sum())[there], shares[there], rtol=1e-3, atol=1e-6)


class Found:
    """A clustering that is given."""

    def __init__(self, n_clusters: int = 1, labels: Any = None) -> None:
        self.labels = labels

    def fit_predict(self, X: Any) -> Any:
        return self.labels


def test_typiclust(arrays: dict[str, Any]) -> None:
    """Where no cluster is too small for all the neighbours: the uncovered clusters' picks, in the same order."""
    found = cluster(arrays["embeddings"], np.arange(N), 8, generator(0, "select", "typiclust", "fixed")).labels
    sizes = np.bincount(found)
    covered = [int(np.argmin(sizes)), int(np.argsort(sizes)[1])]
    labelled = np.flatnonzero(np.isin(found, covered))[::10]
    assert np.sort(sizes)[2] > 40
    theirs = TypiClust(cluster_algo=Found, cluster_algo_dict={"labels": found}, k=20, random_state=0).query(
        arrays["embeddings"], labels(labelled), batch_size=6
    )
    assert ours("typiclust", arrays, 6, labelled, clusters=8) == theirs.tolist()


@pytest.mark.filterwarnings("ignore:The maximum purity")
def test_probcover(arrays: dict[str, Any]) -> None:
    """Each of our picks covers as much as the peer's best in the same state (gains are counts, so there are ties)."""
    labelled = LABELLED[:5].tolist()
    for pick in ours("probcover", arrays, 25, np.array(labelled), radius=0.5):
        _, utilities = ProbCover(deltas=[0.5], random_state=0).query(
            arrays["embeddings"], labels(labelled), return_utilities=True
        )
        assert utilities[0, pick] == np.nanmax(utilities[0])
        labelled.append(pick)


def test_probcovers_radius(arrays: dict[str, Any]) -> None:
    """The largest radius of the peer's grid that is pure enough is ours, cut to the grid."""
    radius, _ = probcover.radii(arrays["embeddings"], np.arange(N), 0.95, K, np.random.default_rng(3))
    found = cluster(arrays["embeddings"], np.arange(N), K, np.random.default_rng(3)).labels
    grid = np.arange(0.02, 2.0, 0.02)
    theirs = ProbCover(n_classes=K, deltas=grid, cluster_algo=Found, cluster_algo_dict={"labels": found})
    theirs.query(arrays["embeddings"], labels(LABELLED))
    assert theirs.delta_max_ == pytest.approx(grid[grid < radius].max())
