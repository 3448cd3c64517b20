"""The page of what was measured on a GPU, from one run's figures or several runs': docs/benchmarks-gpu.md.

`python -m benchmarks.gpu.page A/gpu.json B/gpu.json docs/benchmarks-gpu.md` writes one page from two runs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TEXT = Path(__file__).with_name("page.md")
TITLES = {"correctness": "Is it right?", "speed": "Speed", "study": "A whole study"}
NOT_YET = (
    "**Nothing on this page has been measured with this version yet.**\nThe tables come with the first run on a GPU; "
    "the last section has an earlier version's figures."
)
BARS = 14


def number(value: float | str) -> str:
    """Return a value as a table shows it."""
    if isinstance(value, str):
        return value
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def judged(row: Any) -> str:
    """Return whether a row is as it should be, in words."""
    if row.good is None:
        return ""
    if row.aim is None:
        return "yes" if row.good else "**no**"
    return f"{number(row.aim)}: {'reached' if row.good else '**not reached**'}"


def line(row: Any) -> str:
    """Return a row of the table that is printed."""
    cells = (row.what, number(row.value), row.unit, judged(row), row.note)
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


HEAD = "| what | measured | unit | as it should be | |\n|---|---:|---|---|---|"


def table(rows: list[Any]) -> str:
    """Return rows as a Markdown table."""
    return "\n".join([HEAD, *map(line, rows)])


def kernels_table(kernels: list[dict[str, Any]]) -> str:
    """Return where a packed step's time goes."""
    head = "| kernel | launches a step | microseconds a step | share, % |\n|---|---:|---:|---:|"
    lines = (
        f"| `{one['name']}` | {one['launches']:.0f} | {one['microseconds']:,.0f} | {one['share']:.1f} |"
        for one in kernels
    )
    return "\n".join([head, *lines])


def write(runs: list[dict[str, Any]]) -> str:
    """Return the whole page. runs: what each run wrote; of each part, the last run that measured it counts."""
    parts = [_section(name, title, runs) for name, title in TITLES.items()]
    found = "\n\n".join(part for part in parts if part) or NOT_YET
    return TEXT.read_text().replace("<FOUND>", found)


def _section(name: str, title: str, runs: list[dict[str, Any]]) -> str:
    with_rows = [run for run in runs if any(row["section"] == name for row in run["rows"])]
    if not with_rows:
        return ""
    rows: dict[str, list[_Row]] = {}  # of each part
    for run in with_rows:
        found: dict[str, list[_Row]] = {}
        for row in map(_Row, (row for row in run["rows"] if row["section"] == name)):
            found.setdefault(row.part, []).append(row)
        rows |= {part: new for part, new in found.items() if part not in rows or not new[0].lacks}
    said = list(dict.fromkeys(_machine(run["machine"]) for run in with_rows))
    parts = [f"## {title}", "\n".join(said), table([row for part in rows.values() for row in part])]
    kernels = [run["kernels"] for run in with_rows if run["kernels"]]
    if name == "speed" and kernels:
        parts += ["Where the time of one packed step goes:", kernels_table(kernels[-1])]
    return "\n\n".join(parts)


def _machine(said: dict[str, str]) -> str:
    """Return the day, the card and the versions of a run."""
    versions = [f"{key} {said[key]}" for key in ("python", "torch", "cuda", "timm", "labelwise") if key in said]
    return f"{said['day']}; {said['card']}; {', '.join(versions)}."


class _Row:
    """A row that was read from a file."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)

    @property
    def lacks(self) -> bool:
        """Return whether it stands for a part that was not measured."""
        return self.__dict__["value"] in ("failed", "left out")


def draw(found: dict[str, Any], out: Path) -> None:
    """Draw the images a second of all that trains beside each other, where matplotlib is installed."""
    bars = [
        (row["what"], row["value"])
        for row in found["rows"]
        if row["section"] == "speed" and row["unit"] == "images/s" and row["what"].startswith("training")
    ]
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    if not bars:
        return
    bars = bars[:BARS][::-1]
    figure = Figure(figsize=(8, 0.35 * len(bars) + 0.8), layout="constrained")
    axes = figure.subplots()
    drawn = axes.barh([name.removeprefix("training, ") for name, _ in bars], [value for _, value in bars])
    axes.bar_label(drawn, labels=[f" {number(value)}" for _, value in bars])
    axes.set_xlabel(f"images/s backward, {found['machine']['card']}")
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out / "gpu.svg", metadata={"Date": None})


def main() -> None:
    """Write one page from the figures of several runs."""
    if len(sys.argv) < 3:
        raise SystemExit("usage: python -m benchmarks.gpu.page RUN/gpu.json ... docs/benchmarks-gpu.md")
    *runs, target = map(Path, sys.argv[1:])
    if missing := [str(run) for run in runs if not run.is_file()]:
        raise SystemExit(f"no such file: {', '.join(missing)}; give the gpu.json of each run")
    target.write_text(write([json.loads(run.read_text()) for run in runs]))


if __name__ == "__main__":
    main()
