"""The tables of the acquisition benchmark, and docs/benchmarks-acquisition.md around them."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import Measured
from benchmarks.page import processor

TEXT = Path(__file__).with_name("acquisition.md")
MEMORY = 600
"""MB above the inputs that a strategy may take on 50,000 images."""
SECONDS = {
    **dict.fromkeys(("random", "uncertainty", "margin", "entropy", "power_margin", "stratified_margin", "bald"), 0.1),
    **dict.fromkeys(("entropy_typicality", "typiclust", "dropquery", "cluster_margin"), 5.0),
    **dict.fromkeys(("coreset", "badge"), 15.0),
    "probcover": 40.0,
}
"""Seconds that a first call may take on 50,000 images; ProbCover's with its neighbour graph."""
LATER = {"probcover": 5.0}
"""Seconds that a later call may take, where what is kept makes a difference to the bound."""


@dataclass(frozen=True)
class Bound:
    """A strategy on 50,000 images. seconds: of a call, and of the next where it keeps something."""

    name: str
    seconds: list[float]
    peak_mb: float

    def text(self) -> str:
        """Return the row of a Markdown table."""
        first, later = self.seconds[0], self.seconds[1:]
        kept = first <= SECONDS[self.name] and max(later, default=0) <= LATER.get(self.name, SECONDS[self.name])
        bound = f"{SECONDS[self.name]:g}" + (f", then {LATER[self.name]:g}" if self.name in LATER else "")
        verdict = "kept" if kept and self.peak_mb <= MEMORY else "not kept"
        cells = f"{first:.2f} | {f'{later[0]:.2f}' if later else ''} | {bound} | {self.peak_mb:,.0f}"
        return f"| {self.name} | {cells} | {verdict} |"


@dataclass(frozen=True)
class Beside:
    """A strategy beside the peer's on `count` images; same: whether their definitions agree."""

    name: str
    count: int
    ours: Measured
    theirs: Measured
    same: bool

    def text(self) -> str:
        """Return the row of a Markdown table."""
        mine, other = self.ours, self.theirs
        both = f"{len({*mine.picks} & {*other.picks})} of {len(mine.picks)}" if self.same else ""
        memory = f"{other.peak_mb / max(mine.peak_mb, 1):.1f}"
        ratio = f"{other.seconds[0] / mine.seconds[0]:.1f}"
        return (
            f"| {self.name} | {self.count:,} | {mine.seconds[0]:.3g} | {other.seconds[0]:.3g} | {ratio} | "
            f"{mine.peak_mb:,.0f} | {other.peak_mb:,.0f} | {memory} | {both} |"
        )


@dataclass(frozen=True)
class Growth:
    """A strategy on larger and larger pools: seconds and MB of each."""

    name: str
    seconds: list[float]
    peak_mb: list[float]

    def text(self) -> str:
        """Return the row of a Markdown table."""
        cells = [f"{s:.2f} s, {m:,.0f} MB" for s, m in zip(self.seconds, self.peak_mb, strict=True)]
        return f"| {self.name} | " + " | ".join(cells) + f" | {self.seconds[-1] / self.seconds[-2]:.1f} |"


def write(
    bounds: list[Bound], beside: list[Beside], growth: list[Growth], sizes: dict[str, dict[str, int]],
    load: tuple[str, str], seconds: float,
) -> str:  # fmt: skip
    """Return the whole document. load: how busy the machine was before and after with what is not ours."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "scikit-learn", "scikit-activeml"))
    machine = (
        f"{datetime.now(UTC):%Y-%m-%d}; {processor()}, {os.cpu_count()} cores; Python {platform.python_version()}, "
        f"{packages}; {seconds:.0f} seconds in all. Processors busy with other work just before: {load[0]}, just "
        f"after: {load[1]}."
    )
    heads = {
        "BOUNDS": "| strategy | first call, s | next call, s | bound, s | memory, MB | |\n|---|--:|--:|--:|--:|---|",
        "BESIDE": "| strategy | images | ours, s | theirs, s | ratio | ours, MB | theirs, MB | ratio | same picks |\n"
                  "|---|--:|--:|--:|--:|--:|--:|--:|---|",
        "GROWTH": "| strategy | 10,000 | 100,000 | 1,000,000 | last by the one before |\n|---|--:|--:|--:|--:|",
    }  # fmt: skip
    text = TEXT.read_text().replace("<MACHINE>", machine)
    for (name, head), rows in zip(heads.items(), (bounds, beside, growth), strict=True):
        text = text.replace(f"<{name}>", "\n".join([head, *(row.text() for row in rows)]))
    for what, values in sizes.items():
        for name, value in values.items():
            text = text.replace(f"<{what}.{name}>", f"{value:,}")
    return text
