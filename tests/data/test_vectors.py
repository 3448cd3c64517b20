"""Arrays that are mapped from disk: rows in any order, equal rows, damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labelwise.data import vectors
from labelwise.data.images import unseen
from labelwise.data.vector_files import from_npz
from labelwise.data.vectors import Vectors

pytestmark = pytest.mark.usefixtures("cache")
SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def stored(path: Path, values: object, compressed: bool = False) -> Vectors:
    (np.savez_compressed if compressed else np.savez)(path / "x.npz", before=np.arange(3), embeddings=values)
    return from_npz(path / "x.npz", "embeddings", unseen)


@SETTINGS
@given(data=st.data(), dtype=st.sampled_from([np.float16, np.float32, np.float64]), compressed=st.booleans())
def test_equal_rows_are_those_that_are_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject, dtype: type, compressed: bool
) -> None:
    monkeypatch.setattr(vectors, "CHUNK", 4)
    count, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 3))
    cells = st.sampled_from([0.0, -0.0, 1.0, 1e-4, -7.5])
    values = np.array([[data.draw(cells) for _ in range(width)] for _ in range(count)], dtype)
    found = stored(tmp_path, values, compressed)
    np.testing.assert_array_equal(found.values, values)
    again, first = found.equal
    expected = {i: min(j for j in range(count) if (values[i] == values[j]).all()) for i in range(count)}
    assert dict(zip(again.tolist(), first.tolist(), strict=True)) == {i: j for i, j in expected.items() if i != j}


@SETTINGS
@given(data=st.data())
def test_a_part_holds_its_rows_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    monkeypatch.setattr(vectors, "CHUNK", 3)
    values = np.random.default_rng(0).standard_normal((12, 2)).astype(np.float32)
    whole = stored(tmp_path, values)
    order = np.array(data.draw(st.permutations(range(12))))[: data.draw(st.integers(1, 12))]
    part = whole.part(order)
    np.testing.assert_array_equal(part.values, values[order])
    assert (part is whole) == (order.tolist() == list(range(12)))
    assert stored(tmp_path, values[order]).fingerprint == part.fingerprint


def test_an_uncompressed_array_is_mapped_where_it_lies(tmp_path: Path, cache: Path) -> None:
    values = np.random.default_rng(0).standard_normal((1000, 8)).astype(np.float16)
    found = stored(tmp_path, values)
    assert isinstance(found.values, np.memmap)
    assert found.values.filename == tmp_path / "x.npz"
    assert sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) < 2_000
    copied = stored(tmp_path, values, compressed=True)
    assert isinstance(copied.values, np.memmap)
    np.testing.assert_array_equal(copied.values, values)
    assert copied.fingerprint == found.fingerprint


def test_a_copy_that_was_cut_off_is_made_again(tmp_path: Path, cache: Path) -> None:
    values = np.random.default_rng(0).standard_normal((100, 8)).astype(np.float32)
    np.savez_compressed(tmp_path / "x.npz", embeddings=values)
    from_npz(tmp_path / "x.npz", "embeddings", unseen)
    (copy,) = cache.rglob("values.bin")
    copy.write_bytes(copy.read_bytes()[:100])
    np.testing.assert_array_equal(from_npz(tmp_path / "x.npz", "embeddings", unseen).values, values)
