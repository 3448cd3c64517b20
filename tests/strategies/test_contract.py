"""One contract over all rows of STRATEGIES, built with their defaults. A new row is picked up by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import labelwise
from labelwise.strategies import STRATEGIES, run_strategy

N, K, D, T = 120, 4, 8, 3


def arrays(seed: int = 0, n: int = N, duplicates: bool = False) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(K), n).astype(np.float32)
    embeddings = rng.standard_normal((n, D)).astype(np.float32)
    stochastic = rng.dirichlet(np.ones(K), (T, n)).astype(np.float32)
    if duplicates:
        probs[:], embeddings[:], stochastic[:] = probs[0], embeddings[0], stochastic[:, :1]
    return {"probs": probs, "embeddings": embeddings, "stochastic_probs": stochastic}


@pytest.fixture(params=sorted(STRATEGIES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def check(picks: np.ndarray, candidates: np.ndarray, n: int) -> None:
    assert picks.dtype == np.int64
    assert len(picks) == min(n, len(candidates))
    assert len(np.unique(picks)) == len(picks)
    assert np.isin(picks, candidates).all()


@settings(max_examples=25, deadline=None)
@given(data=st.data(), seed=st.integers(0, 5))
@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_exactly_the_batch_unique_unlabelled_of_the_pool(name: str, data: st.DataObject, seed: int) -> None:
    rows = data.draw(st.permutations(range(N)))
    cut = data.draw(st.integers(1, N))
    candidates, labelled = np.array(rows[:cut]), np.array(rows[cut:], dtype=np.int64)
    n = data.draw(st.integers(0, cut + 3))
    picks = labelwise.select(name, candidates=candidates, n=n, labelled=labelled, seed=seed, **arrays())
    check(picks, candidates, n)


def test_same_seed_same_picks_whatever_the_order_of_candidates(name: str) -> None:
    candidates = np.arange(10, 100)
    first = labelwise.select(name, candidates=candidates, n=20, seed=3, **arrays())
    again = labelwise.select(name, candidates=candidates[::-1], n=20, seed=3, **arrays())
    assert first.tolist() == again.tolist()


def test_global_random_state_neither_read_nor_changed(name: str) -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002  that is the point
    np.random.seed(1)  # noqa: NPY002
    first = labelwise.select(name, candidates=np.arange(N), n=20, **arrays())
    np.random.seed(2)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert first.tolist() == labelwise.select(name, candidates=np.arange(N), n=20, **arrays()).tolist()
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    assert len(before)


def test_inputs_unchanged(name: str) -> None:
    given_, candidates, labelled = arrays(), np.arange(50, N), np.arange(50)
    copies = {key: value.copy() for key, value in given_.items()}
    for value in (*given_.values(), candidates, labelled):
        value.setflags(write=False)
    labelwise.select(name, candidates=candidates, n=9, labelled=labelled, **given_)
    assert all((copies[key] == given_[key]).all() for key in copies)


def test_survives_duplicate_images(name: str) -> None:
    candidates = np.arange(5, N)
    check(labelwise.select(name, candidates=candidates, n=30, labelled=np.arange(5), **arrays(duplicates=True)),
          candidates, 30)  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 3])
def test_survives_tiny_pools(name: str, size: int) -> None:
    candidates = np.arange(N - size, N)
    check(labelwise.select(name, candidates=candidates, n=5, **arrays()), candidates, 5)


def test_ties_fall_by_the_seed_not_by_position(name: str) -> None:
    picks = {
        tuple(labelwise.select(name, candidates=np.arange(N), n=5, seed=seed, **arrays(duplicates=True)))
        for seed in range(5)
    }
    assert len(picks) > 1


def test_rows_outside_candidates_and_labelled_are_never_read(name: str) -> None:
    clean, dirty = arrays(), arrays()
    for value in dirty.values():
        value[..., 100:, :] = np.nan
    candidates = np.arange(20, 100)
    calls = [labelwise.select(name, candidates=candidates, n=7, labelled=np.arange(20), **a) for a in (clean, dirty)]
    assert calls[0].tolist() == calls[1].tolist()


def test_what_is_kept_between_rounds_changes_nothing(name: str) -> None:
    memory: dict[str, Any] = {}
    for round_ in range(3):
        labelled = np.arange(10 * (round_ + 1))
        candidates = np.arange(len(labelled), N)
        with_memory = run_strategy(name, candidates, 6, labelled, arrays(), {}, 4, round_, memory, classes=K)
        without = run_strategy(name, candidates, 6, labelled, arrays(), {}, 4, round_, classes=K)
        assert with_memory.indices.tolist() == without.indices.tolist()
        assert np.isfinite(with_memory.scores).all()


def test_what_it_needs_and_lacks_is_named(name: str) -> None:
    for need in STRATEGIES[name].needs:
        lacking = {key: value for key, value in arrays().items() if key != need}
        with pytest.raises(ValueError, match=f"{name} needs {need}"):
            labelwise.select(name, candidates=np.arange(N), n=5, **lacking)


def test_row_is_described(name: str) -> None:
    row = STRATEGIES[name]
    assert row.name == name
    assert row.summary
    assert (row.select.__doc__ or "").startswith("Pick")
