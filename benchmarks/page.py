"""The table of the measurements, and docs/benchmarks.md around it."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("torch", "timm", "torchvision", "baal")
NETWORK = ("network", "optimizer", "selection")
"""The parts of the time that are the work itself."""
TEXT = Path(__file__).with_name("page.md")


@dataclass(frozen=True)
class Row:
    """One comparison. ours, theirs: medians, in `unit`; ratio: the median of the pairs' ratios; aim: at least this."""

    what: str
    ours: float
    theirs: float
    ratio: float
    unit: str
    aim: float | None

    def text(self) -> str:
        """Return the row of a Markdown table."""
        aim = "" if self.aim is None else f"{self.aim:g} {'reached' if self.ratio >= self.aim else 'not reached'}"
        return f"| {self.what} | {self.ours:,.4g} | {self.theirs:,.4g} | {self.unit} | {self.ratio:.2f} | {aim} |"


def table(rows: list[Row]) -> str:
    """Return the comparisons as a Markdown table."""
    head = "| what | ours | other | unit | ratio | aim |\n|---|---:|---:|---|---:|---|"
    return "\n".join([head, *(row.text() for row in rows)])


def shares_table(shares: dict[str, dict[str, float]]) -> str:
    """Return where the time goes as a Markdown table, the work itself first."""
    parts = sorted({part for column in shares.values() for part in column}, key=lambda part: part not in NETWORK)
    lines = ["| share of the time, % | " + " | ".join(shares) + " |", "|---|" + "---:|" * len(shares)]
    for part in parts:
        lines.append(f"| {part} | " + " | ".join(f"{100 * c.get(part, 0):.2f}" for c in shares.values()) + " |")
    outside = (sum(share for part, share in column.items() if part not in NETWORK) for column in shares.values())
    return "\n".join([*lines, "| **outside of the work, all together** | " + " | ".join(
        f"**{100 * share:.2f}**" for share in outside) + " |"])  # fmt: skip


def gains_table(gains: dict[str, float]) -> str:
    """Return what each difference to plain PyTorch gives, as a Markdown table."""
    return "\n".join(["| one training step | times plain's speed |", "|---|---:|",
                      *(f"| {name} | {gain:.2f} |" for name, gain in gains.items())])  # fmt: skip


def processor() -> str:
    """Return the processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def busy() -> str:
    """Return how busy the processors are for a second in which this process does nothing, in words."""
    times = Path("/proc/stat")
    if not times.exists():
        return "unknown"
    looks = []
    for _ in range(2):
        looks.append([int(value) for value in times.read_text().splitlines()[0].split()[1:9]])
        time.sleep(1)
    spent = [after - before for before, after in zip(*looks, strict=True)]
    return f"{100 * (1 - (spent[3] + spent[4]) / max(1, sum(spent))):.0f} %"


def write(
    rows: list[Row], shares: dict[str, dict[str, float]], gains: dict[str, float], work: str, load: tuple[str, str],
    data: str | None, seconds: float,
) -> str:  # fmt: skip
    """Return the whole document.

    work: what ours and Baal's runs did; load: how busy the machine was before and after with what is not ours; data:
    what was given, None for random images.
    """
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    images = "random 32x32 images" if data is None else f"real images, from the folder {Path(data).resolve().name}"
    machine = (
        f"{datetime.now(UTC):%Y-%m-%d}; {processor()}, {os.cpu_count()} cores; Python {platform.python_version()}, "
        f"{versions}; {images}; {seconds:.0f} seconds in all. "
        f"Processors busy with other work just before: {load[0]}, just after: {load[1]}."
    )
    text = TEXT.read_text()
    for name, value in (
        ("MACHINE", machine), ("TABLE", table(rows)), ("SHARES", shares_table(shares)),
        ("GAINS", gains_table(gains)), ("WORK", work),
    ):  # fmt: skip
        text = text.replace(f"<{name}>", value)
    return text
