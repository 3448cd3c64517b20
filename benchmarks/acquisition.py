"""Acquisition: our strategies within their bounds, beside scikit-activeml's, and up to a million images: `make bench`.

Every measurement has a process of its own; its memory is the highest anonymous memory above what it was given, so that
mapped files do not count.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import acquisition_page as page
from benchmarks import peers
from benchmarks.measure import Job, Measured, measure
from benchmarks.page import busy
from labelwise.strategies import STRATEGIES, run_strategy

D, K, PASSES, CENTRES, BLOCK = 1280, 10, 3, 200, 10_000
BOUND = {"count": 50_000, "labelled": 10_000, "n": 2_500}
PEER = {"labelled": 100, "n": 50}
PEER_SIZES = (5_000, 20_000)
GROWTH = {"labelled": 100, "n": 50}
GROWTH_SIZES = (10_000, 100_000, 1_000_000)


def make_arrays(folder: Path, count: int) -> dict[str, Any]:
    """Write float16 embeddings of 200 clusters to a mapped file, and draw probabilities: arrays by name."""
    rng = np.random.default_rng(count)
    means = rng.standard_normal((CENTRES, D)).astype(np.float32)
    mapped = np.lib.format.open_memmap(folder / f"{count}.npy", "w+", np.float16, (count, D))
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        mapped[start : start + size] = means[rng.integers(CENTRES, size=size)] + rng.standard_normal(
            (size, D), dtype=np.float32
        )
    mapped.flush()
    probs, *passes = (rng.dirichlet(np.full(K, 0.3), count).astype(np.float32) for _ in range(1 + PASSES))
    embeddings = np.load(folder / f"{count}.npy", mmap_mode="r")
    return {"embeddings": embeddings, "probs": probs, "stochastic_probs": np.stack(passes)}


def ours(name: str, arrays: dict[str, Any], labelled: int, n: int, rounds: int = 1) -> Job:
    """Return a job that asks one of our strategies, round after round while it keeps something from one to the next."""
    count, given = len(arrays["probs"]), {need: arrays[need] for need in STRATEGIES[name].needs}

    def calls() -> Iterator[list[int]]:
        memory: dict[str, Any] = {}
        known = np.arange(labelled)
        for number in range(rounds):
            candidates = np.setdiff1d(np.arange(count), known)
            picks = run_strategy(name, candidates, n, known, given, {}, 0, number, memory, classes=K).indices
            yield picks.tolist()
            if not memory:
                return
            known = np.concatenate([known, picks])

    return calls


def bounds(folder: Path) -> list[page.Bound]:
    """Measure every strategy at the size of CIFAR-10, with a large labelled set and a large batch."""
    arrays, rows = make_arrays(folder, BOUND["count"]), []
    for name in STRATEGIES:
        found = measure(ours(name, arrays, BOUND["labelled"], BOUND["n"], rounds=2))
        rows.append(page.Bound(name, found.seconds, found.peak_mb))
        print(rows[-1].text(), flush=True)
    return rows


def beside(folder: Path) -> list[page.Beside]:
    """Give the same arrays to scikit-activeml and to us."""
    rows = []
    for count in PEER_SIZES:
        arrays = make_arrays(folder, count)
        for name, peer in peers.PEERS.items():
            if count <= peer.at_most:
                mine, theirs = measure(ours(name, arrays, **PEER)), measure(peers.job(name, arrays, **PEER))
                rows.append(page.Beside(name, count, mine, theirs, peer.same))
                print(rows[-1].text(), flush=True)
    return rows


def growth(folder: Path) -> list[page.Growth]:
    """Measure every strategy on ten thousand, a hundred thousand and a million images."""
    found: dict[str, list[Measured]] = {name: [] for name in STRATEGIES}
    for count in GROWTH_SIZES:
        arrays = make_arrays(folder, count)
        for name, measured in found.items():
            measured.append(measure(ours(name, arrays, **GROWTH)))
            print(f"{count:,} {name}: {measured[-1].seconds[0]:.2f} s, {measured[-1].peak_mb:.0f} MB", flush=True)
        (folder / f"{count}.npy").unlink()
    return [page.Growth(name, [m.seconds[0] for m in all_], [m.peak_mb for m in all_]) for name, all_ in found.items()]


def main() -> None:
    """Measure, print the tables and write docs/benchmarks-acquisition.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks-acquisition.md"))
    options = parser.parse_args()
    before, started = busy(), time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        tables = bounds(Path(name)), beside(Path(name)), growth(Path(name))
    seconds = time.perf_counter() - started
    sizes = {"BOUND": BOUND, "PEER": PEER, "GROWTH": GROWTH}
    options.out.write_text(page.write(*tables, sizes, (before, busy()), seconds))
    print(f"{seconds:.0f} seconds; written to {options.out}")


if __name__ == "__main__":
    main()
