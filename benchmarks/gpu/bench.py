"""The rows of the benchmark, its clock, and parts that may fail: each failure is a row, and the others go on."""

from __future__ import annotations

import gc
import json
import platform
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.gpu import page

if TYPE_CHECKING:
    from benchmarks.gpu.setups import Sizes


@dataclass(frozen=True)
class Row:
    """One figure or check. aim: at least this; good: whether that, or what a check asks, holds; None: nothing asked.

    part: the part of its section that it belongs to.
    """

    section: str
    what: str
    value: float | str
    unit: str = ""
    aim: float | None = None
    good: bool | None = None
    note: str = ""
    part: str = ""


@dataclass
class Bench:
    """One run of the benchmark. figures: what later parts compare with; kernels: where a packed step's time goes.

    only: words, one of which the name of a part has to hold; empty: all parts.
    """

    out: Path
    sizes: Sizes
    folder: Path
    data: Path | None = None
    rows: list[Row] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    kernels: list[dict[str, Any]] = field(default_factory=list)
    only: tuple[str, ...] = ()
    section: str = ""
    name: str = ""
    ends: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def device(self) -> torch.device:
        """What is measured."""
        return torch.device(self.sizes.device)

    @property
    def left(self) -> float:
        """Seconds that the section has left."""
        return self.ends - time.monotonic()

    def begin(self, section: str, ends: float) -> None:
        """Begin a section, which ends at this time of the monotonic clock."""
        self.section, self.ends = section, ends
        print(f"\n{section}, {self.left:.0f} s", flush=True)

    def part(self, what: str, needs: float, work: Callable[[Bench], None]) -> None:
        """Do a part of about `needs` seconds where they are left. Whatever goes wrong in it is a row."""
        if self.only and not any(words in what for words in self.only):
            return
        self.name = what
        if self.left < needs:
            note = f"takes about {needs:.0f} s, {max(0.0, self.left):.0f} s were left"
            self._add(Row(self.section, what, "left out", note=note))
            return
        started = time.monotonic()
        try:
            with limited(self.sizes.patience * needs):
                work(self)
        except Exception as error:
            traceback.print_exc()
            said = str(error).strip().splitlines()
            self.fails(what, f"{type(error).__name__}: {said[0]}" if said else type(error).__name__)
        finally:
            gc.collect()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        print(f"    ({what}: {time.monotonic() - started:.1f} s)", flush=True)
        self.save()

    def fails(self, what: str, why: str) -> None:
        """Add the row of what failed."""
        self._add(Row(self.section, what, "failed", good=False, note=why))

    def rate(self, what: str, value: float, unit: str = "images/s", aim: float | None = None, note: str = "") -> None:
        """Add a figure, and whether it is at least `aim`."""
        self._add(Row(self.section, what, value, unit, aim, None if aim is None else value >= aim, note))

    def near(self, what: str, far: float, limit: float, note: str = "") -> None:
        """Add a check: a difference that is to be at most `limit`."""
        said = "; ".join(filter(None, [f"at most {limit:g}", note]))
        self._add(Row(self.section, what, far, "difference", good=far <= limit, note=said))

    def same(self, what: str, same: bool, note: str = "") -> None:
        """Add a check: of bits that are to be equal."""
        self._add(Row(self.section, what, "equal" if same else "different", good=same, note=note))

    def says(self, what: str, value: str, good: bool | None = None, note: str = "") -> None:
        """Add what was found, in words."""
        self._add(Row(self.section, what, value, good=good, note=note))

    def found(self) -> dict[str, Any]:
        """Return all that was found, as it is written."""
        return {
            "machine": machine(self.device),
            "seconds": round(time.monotonic() - self.started, 1),
            "rows": [asdict(row) for row in self.rows],
            "figures": self.figures,
            "kernels": self.kernels,
        }

    def save(self) -> None:
        """Write figures and page, so that a kill loses no more than a part."""
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "gpu.json").write_text(json.dumps(self.found(), indent=1))
        (self.out / "benchmarks-gpu.md").write_text(page.write([self.found()]))

    def _add(self, row: Row) -> None:
        row = replace(row, part=self.name)
        self.rows.append(row)
        print(page.line(row), flush=True)


def machine(device: torch.device) -> dict[str, str]:
    """Return what the figures were measured on."""
    gpu = device.type == "cuda"
    packages = {name: version(name) for name in ("torch", "timm", "labelwise")}
    if gpu:
        packages["cuda"] = str(torch.version.cuda)
    return {
        "card": torch.cuda.get_device_name(device) if gpu else f"CPU ({platform.machine()})",
        "day": f"{datetime.now(UTC):%Y-%m-%d}",
        "python": platform.python_version(),
        **packages,
    }


def waited(device: torch.device) -> None:
    """Wait until a device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(bench: Bench, step: Callable[[], object], seconds: float | None = None) -> float:
    """Return the seconds that a step takes: the mean of as many as fill about `seconds`, after two to warm up."""
    step()
    waited(bench.device)
    started = time.perf_counter()
    step()
    waited(bench.device)
    once = time.perf_counter() - started
    repeats = min(2000, max(1, round((bench.sizes.seconds if seconds is None else seconds) / max(once, 1e-6))))
    started = time.perf_counter()
    for _ in range(repeats):
        step()
    waited(bench.device)
    return (time.perf_counter() - started) / repeats


def fresh_peak(device: torch.device) -> None:
    """Begin to look for the most memory of a GPU that is held."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def gibibytes(device: torch.device) -> float:
    """Return the most memory of a GPU that was held for tensors since the last reset; 0 on a CPU."""
    return torch.cuda.max_memory_reserved(device) / 2**30 if device.type == "cuda" else 0.0


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Break off what waits or computes in Python for longer than this. Errors: TimeoutError."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"broken off after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
