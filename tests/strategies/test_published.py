"""The published strategies against plain implementations of their definitions, on cases without ties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist

import labelwise
from labelwise.strategies import batches, coverage, geometry, probcover, run_strategy, typicality, typiclust
from labelwise.strategies.geometry import cluster

N, D, K = 400, 16, 5


@pytest.fixture
def arrays() -> dict[str, Any]:
    rng = np.random.default_rng(7)
    centres = rng.standard_normal((12, D)) * 2
    return {
        "embeddings": (centres[rng.integers(12, size=N)] + rng.standard_normal((N, D))).astype(np.float32),
        "probs": rng.dirichlet(np.ones(K), N).astype(np.float32),
        "stochastic_probs": rng.dirichlet(np.ones(K), (4, N)).astype(np.float32),
    }


LABELLED = np.arange(30)
POOL = np.arange(30, N)


def pick(name: str, arrays: dict[str, Any], n: int, labelled: Any = LABELLED, **options: Any) -> Any:
    candidates = np.setdiff1d(np.arange(N), labelled)
    return run_strategy(name, candidates, n, labelled, arrays, options, 0, classes=K)


@pytest.mark.parametrize("active", [1, 20, 2_048])
def test_coreset_is_k_center_greedy(arrays: dict[str, Any], active: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "ACTIVE", active)
    picks = pick("coreset", arrays, 150)
    centres = LABELLED.tolist()
    for index, score in zip(picks.indices, picks.scores, strict=True):
        distances = cdist(arrays["embeddings"], arrays["embeddings"][centres]).min(axis=1)
        assert distances[index] == pytest.approx(distances.max(), rel=1e-4)
        assert score == pytest.approx(distances.max(), rel=1e-3)
        centres.append(int(index))


def test_coreset_without_labels_starts_anywhere_and_spreads(arrays: dict[str, Any]) -> None:
    picks = pick("coreset", arrays, 5, np.empty(0, np.int64)).indices
    for number in range(1, 5):
        distances = cdist(arrays["embeddings"], arrays["embeddings"][picks[:number]]).min(axis=1)
        assert distances[picks[number]] == pytest.approx(distances.max(), rel=1e-4)


def gradients(arrays: dict[str, Any]) -> Any:
    errors = arrays["probs"].copy()
    errors[np.arange(N), errors.argmax(axis=1)] -= 1
    return np.einsum("nk,nd->nkd", errors, arrays["embeddings"]).reshape(N, -1)


def test_badge_distances_are_those_of_whole_gradients(arrays: dict[str, Any]) -> None:
    whole = gradients(arrays)
    errors = arrays["probs"].copy()
    errors[np.arange(N), errors.argmax(axis=1)] -= 1
    factors = coverage._Gradients(arrays["embeddings"], np.arange(N), errors)
    expected = cdist(whole[:50], whole[50:90], "sqeuclidean")
    assert np.allclose(factors.distances(np.arange(50), np.arange(50, 90)), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_badge_starts_with_the_longest_gradient_and_draws_by_squared_distance(arrays: dict[str, Any]) -> None:
    """The third pick's distribution over seeds, given the first two, is k-means++'s."""
    whole = gradients(arrays)
    few = {**arrays, "probs": arrays["probs"]}
    candidates = np.arange(20)
    first = int(np.linalg.norm(whole[:20], axis=1).argmax())
    share = cdist(whole[:20], whole[[first]], "sqeuclidean")[:, 0]
    expected = share / share.sum()
    counts = np.zeros(20)
    draws = 1_000
    for seed in range(draws):
        picks = run_strategy("badge", candidates, 2, np.empty(0, np.int64), few, {}, seed, classes=K).indices
        assert picks[0] == first
        counts[picks[1]] += 1
    assert (np.abs(counts / draws - expected) < 5 * np.sqrt(expected * (1 - expected) / draws) + 1e-9).all()


@pytest.mark.slow
def test_badge_draws_stay_exact_when_bounds_are_stale(arrays: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """With every bound brought up to date at each pick or hardly ever, picks have the same distribution."""
    candidates, spread = np.arange(15), []
    for every in (1, 1_000):
        monkeypatch.setattr(coverage, "EVERY", every)
        counts = np.zeros(15)
        for seed in range(800):
            counts[
                run_strategy("badge", candidates, 6, np.empty(0, np.int64), arrays, {}, seed, classes=K).indices
            ] += 1
        spread.append(counts / 800)
    assert np.abs(spread[0] - spread[1]).max() < 5 * np.sqrt(0.25 * 2 / 800)


@pytest.mark.parametrize(("clusters", "n", "spare"), [(500, 40, 44), (4, 40, 44), (4, 60, 1), (1, 70, 3), (3, 200, 5)])
def test_typiclust_is_its_authors_loop(
    arrays: dict[str, Any], clusters: int, n: int, spare: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typiclust, "SPARE", spare)
    neighbours, pool = 20, np.arange(N)
    picks = pick("typiclust", arrays, n, clusters=clusters)
    unit = arrays["embeddings"] / np.linalg.norm(arrays["embeddings"], axis=1, keepdims=True)
    found = cluster(arrays["embeddings"], pool, min(clusters, len(LABELLED) + n), _fixed("typiclust")).labels
    sizes, labels = np.bincount(found), np.bincount(found[LABELLED], minlength=found.max() + 1)
    open_ = found.copy()
    open_[LABELLED] = -1
    left = np.bincount(open_[open_ >= 0], minlength=found.max() + 1)
    order = [k for k in np.lexsort((np.arange(len(sizes)), -sizes, labels)) if left[k] and sizes[k] > 5]
    expected: list[int] = []
    turn = 0
    while len(expected) < n:
        members = np.flatnonzero(open_ == order[turn % len(order)])
        turn += 1
        if len(members):
            distances = np.sort(cdist(unit[members], unit[members]), axis=1)[:, 1:]
            near = min(neighbours, max(1, len(members) // 2))
            typical = 1 / (distances[:, :near].mean(axis=1) + 1e-5) if len(members) > 1 else np.ones(1)
            expected.append(int(members[typical.argmax()]))
            open_[expected[-1]] = -1
    assert picks.indices.tolist() == expected


def _fixed(name: str) -> np.random.Generator:
    from labelwise.seeds import generator

    return generator(0, "select", name, "fixed")


def test_typiclust_covers_clusters_without_labels_first(arrays: dict[str, Any]) -> None:
    picks = pick("typiclust", arrays, 10)
    found = cluster(arrays["embeddings"], np.arange(N), 40, _fixed("typiclust")).labels
    labelled = set(found[LABELLED])
    large = {k for k in range(40) if (found == k).sum() > 5 and (found[POOL] == k).any()}
    assert len(large - labelled) >= 5
    assert set(found[picks.indices]).isdisjoint(labelled) or large - labelled <= set(found[picks.indices])
    assert len(set(found[picks.indices])) == 10


@pytest.mark.parametrize("chunk", [64, 2_048])
def test_probcover_is_greedy_coverage(arrays: dict[str, Any], chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "CHUNK", chunk)
    monkeypatch.setattr(geometry.chunks, "__defaults__", (chunk,))
    monkeypatch.setattr(geometry.by_chunks, "__defaults__", (chunk,))
    unit = arrays["embeddings"] / np.linalg.norm(arrays["embeddings"], axis=1, keepdims=True)
    near = cdist(unit, unit) < 0.6
    covered = near[LABELLED].any(axis=0)
    for index, gain in zip(*_picked("probcover", arrays, 60, radius=0.6), strict=True):
        gains = (near & ~covered).sum(axis=1)
        gains[LABELLED] = -1
        assert gain == gains[index] == gains.max() or gains.max() == 0
        covered |= near[index]


def _picked(name: str, arrays: dict[str, Any], n: int, **options: Any) -> tuple[Any, Any]:
    picks = pick(name, arrays, n, **options)
    return picks.indices, picks.scores


def test_probcovers_radius_is_the_largest_pure_one(arrays: dict[str, Any]) -> None:
    nodes = np.arange(N)
    radius, _ = probcover.radii(arrays["embeddings"], nodes, 0.95, K, np.random.default_rng(3))
    labels = cluster(arrays["embeddings"], nodes, K, np.random.default_rng(3)).labels
    unit = arrays["embeddings"] / np.linalg.norm(arrays["embeddings"], axis=1, keepdims=True)
    distances = cdist(unit, unit)

    def purity(at: float) -> float:
        return float(np.mean([(labels[distances[i] < at] == labels[i]).all() for i in range(N)]))

    assert purity(radius * 0.999) >= 0.95 > purity(radius * 1.02)


def test_probcover_says_when_its_radius_covers_nothing(arrays: dict[str, Any]) -> None:
    with pytest.warns(RuntimeWarning, match="its picks are random; give the option radius"):
        picks = pick("probcover", arrays, 20, radius=1e-5)
    assert len(set(picks.indices.tolist())) == 20


def test_bald_is_mutual_information(arrays: dict[str, Any]) -> None:
    passes = arrays["stochastic_probs"][:, POOL].astype(np.float64)
    mean = passes.mean(axis=0)
    information = -(mean * np.log(mean)).sum(axis=1) + (passes * np.log(passes)).sum(axis=2).mean(axis=0)
    assert pick("bald", arrays, 25).indices.tolist() == POOL[np.argsort(-information)[:25]].tolist()


def test_dropquery_picks_where_more_than_half_of_the_passes_disagree(arrays: dict[str, Any]) -> None:
    changed = (arrays["stochastic_probs"].argmax(axis=2) != arrays["probs"].argmax(axis=1)).mean(axis=0)
    assert (changed[POOL] > 0.5).sum() > 60
    picks = pick("dropquery", arrays, 20).indices
    assert (changed[picks] > 0.5).all()
    agreed = {**arrays, "stochastic_probs": np.stack([arrays["probs"]] * 4)}
    agreed["stochastic_probs"][:3, 100:110] = np.roll(arrays["probs"][100:110], 1, axis=1)
    assert set(range(100, 110)) <= set(pick("dropquery", agreed, 20).indices.tolist())


def test_cluster_margin_takes_turns_from_the_smallest_cluster_on(arrays: dict[str, Any]) -> None:
    n = 12
    picks = pick("cluster_margin", arrays, n).indices
    highest = np.sort(arrays["probs"], axis=1)[:, -2:]
    margin = highest[:, 1] - highest[:, 0]
    considered = POOL[np.argsort(margin[POOL])[: 10 * n]]
    assert np.isin(picks, considered).all()
    found = batches._tree(arrays["embeddings"], np.arange(N), np.random.default_rng(0)).labels
    sizes = np.bincount(found[considered])
    taken = sizes[found[picks]]
    assert len(set(found[picks])) == min(n, len(np.flatnonzero(sizes)))
    assert (np.diff(taken) >= 0).all()
    assert taken.max() <= np.sort(sizes[sizes > 0])[n - 1]


def test_power_margin_draws_small_margins_more_often(arrays: dict[str, Any]) -> None:
    highest = np.sort(arrays["probs"], axis=1)[:, -2:]
    margin = highest[:, 1] - highest[:, 0]
    first = [
        run_strategy("power_margin", POOL, 1, LABELLED, arrays, {}, seed, classes=K).indices[0] for seed in range(800)
    ]
    expected = (1 - margin[POOL]) / (1 - margin[POOL]).sum()
    small = margin[POOL] < np.median(margin[POOL])
    share = np.isin(first, POOL[small]).mean()
    assert share == pytest.approx(expected[small].sum(), abs=5 * np.sqrt(0.25 / 800))


def test_stratified_margin_takes_each_predicted_class_equally(arrays: dict[str, Any]) -> None:
    picks = pick("stratified_margin", arrays, 5 * K).indices
    predicted = arrays["probs"].argmax(axis=1)
    assert np.bincount(predicted[picks]).tolist() == [5] * K
    highest = np.sort(arrays["probs"], axis=1)[:, -2:]
    margin = highest[:, 1] - highest[:, 0]
    for k in range(K):
        own = POOL[predicted[POOL] == k]
        assert set(picks[predicted[picks] == k]) == set(own[np.argsort(margin[own])[:5]])


def test_probcover_minds_labels_that_its_graph_does_not_hold(
    arrays: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probcover, "GRAPH", 100)
    unit = arrays["embeddings"] / np.linalg.norm(arrays["embeddings"], axis=1, keepdims=True)
    covered = (cdist(unit, unit[LABELLED]) < 0.6).any(axis=1)
    picks = pick("probcover", arrays, 3, radius=0.6)
    assert (picks.scores > 0).all()
    for index, gain in zip(picks.indices, picks.scores, strict=True):
        assert gain <= ((cdist(unit, unit[[index]])[:, 0] < 0.6) & ~covered).sum()


def test_dropquery_gives_more_than_it_clusters(arrays: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from labelwise.strategies import stochastic

    monkeypatch.setattr(stochastic, "CLUSTERED", 10)
    assert len(pick("dropquery", arrays, 60).indices) == 60


def test_probcovers_graph_is_bounded_and_a_large_radius_said(
    arrays: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probcover, "NEIGHBOURS", 20)
    unit = arrays["embeddings"] / np.linalg.norm(arrays["embeddings"], axis=1, keepdims=True)
    dense = probcover.radii(arrays["embeddings"], np.arange(N), 0.95, K, np.random.default_rng(3))[1]
    within = [(cdist(unit, unit) < radius).sum(axis=1).mean() - 1 for radius in (dense, dense + 0.02)]
    assert within[0] <= 20 < within[1]
    with pytest.warns(RuntimeWarning, match="within the radius 1.5 an image has more than 20 neighbours"):
        picks = pick("probcover", arrays, 5, radius=1.5)
    assert picks.indices.tolist() == pick("probcover", arrays, 5, radius=dense).indices.tolist()


def test_probcover_does_not_guess_the_number_of_classes(arrays: dict[str, Any]) -> None:
    given = {"candidates": POOL, "n": 3, "embeddings": arrays["embeddings"]}
    with pytest.raises(ValueError, match="give `classes`, or option radius"):
        labelwise.select("probcover", **given)
    by_probs = labelwise.select("probcover", probs=arrays["probs"], **given)
    assert by_probs.tolist() == labelwise.select("probcover", classes=K, **given).tolist()


def test_numbers_of_clusters_by_rule(arrays: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def noted(embeddings: Any, pool: Any, count: int, rng: Any) -> Any:
        asked.append(count)
        return cluster(embeddings, pool, count, rng)

    monkeypatch.setattr(typicality, "cluster", noted)
    for rule, count in (("classes", K), ("batch", 7), ("labels+batch", 37), ("sqrt", 20), (11, 11)):
        asked.clear()
        pick("entropy_typicality", arrays, 7, clusters=rule)
        assert asked == [count]
    asked.clear()
    pick("entropy_typicality", arrays, 7, clusters="adaptive")
    assert asked[:-1] == [round(K * factor) for factor in typicality.FACTORS]
    assert asked[-1] in asked[:-1]


def test_adaptive_finds_clusters_that_are_there(arrays: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    embeddings = 5 * np.eye(D)[rng.integers(2 * K, size=N) % D] + 0.01 * rng.standard_normal((N, D))
    pool, kept = np.arange(N), {}
    given = {"embeddings": embeddings.astype(np.float32), "probs": arrays["probs"]}
    options = {"clusters": "adaptive"}
    run_strategy("entropy_typicality", pool, 5, pool[:0], given, options, 0, 0, kept, classes=K)
    assert [value for key, value in kept.items() if key.endswith("adaptive")] == [2 * K]
