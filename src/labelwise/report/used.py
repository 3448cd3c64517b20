"""What a study was made with: the data, the learner, versions and machines, in words for the report."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from labelwise.analysis.results import problems
from labelwise.analysis.words import listed
from labelwise.report.content import Content

SHOWN = 60
"""Names in a list that are written out."""
PROTOCOL = "protocol"
"""The fact that says how fine-tuned fits were made; other learners have none."""


def facts(content: Content) -> dict[str, str]:
    """Return what a study was made with: what -> value, or values with their number of runs where they differ."""
    data, started = content.data, content.started
    classes = data["classes"]
    more = f" and {len(classes) - SHOWN:,} more" if len(classes) > SHOWN else ""
    found = {
        "data": data["source"], "data fingerprint": data["fingerprint"], "pool": f"{data['pool']:,} images",
        "test set": f"{data['test']:,} images", f"{len(classes):,} classes": ", ".join(classes[:SHOWN]) + more,
        **_read(data.get("seen")),
        **_minority(started),
        **_over_runs(started["used"].map(_with_protocol), ""),
        **_over_runs(started["chosen"], " (chosen)"),
        "fits with a problem": problems(content.rounds) or "none",
        "labelwise that made the store": content.version, "store made": content.created,
    }  # fmt: skip
    if len(started):
        last = started["finished"].dropna()
        found["runs"] = f"from {started['started'].min()}" + (f" to {last.max()}" if len(last) else "")
    return found


def _read(seen: dict[str, Any] | None) -> dict[str, str]:
    """Return what was read of the data; records of earlier versions do not say it."""
    if not seen:
        return {}
    found = {"read as": f"{seen['kind']}, {seen['split']}"}
    if sizes := seen["sizes"]:
        ends = ["x".join(map(str, sizes[end])) for end in ("smallest", "largest")]
        found["image sizes"] = " to ".join(dict.fromkeys(ends))
        found["image modes"] = ", ".join(f"{mode} {count:,}" for mode, count in seen["modes"].items())
    if seen["unused"]:
        found["not used"] = "; ".join(f"{what}: {count:,}" for what, count in seen["unused"].items())
    return found


def _with_protocol(used: dict[str, Any]) -> dict[str, Any]:
    """Name the protocol of a fine-tuned run after its learner. Records without one are older than protocol 2."""
    if used.get("learner") != "fine-tuning":
        return used
    return {"learner": used["learner"], PROTOCOL: "1", **used}


def _over_runs(values: pd.Series, suffix: str) -> dict[str, str]:
    """Return each key's value over all runs: one, or `0.03 (35 runs), 0.1 (15 runs)`, or a range of many numbers."""
    found: dict[str, Counter[Any]] = {}
    for used in values:
        for key, value in used.items():
            if isinstance(value, str | int | float):
                found.setdefault(key, Counter())[value] += 1
    return {f"{key.replace('_', ' ')}{suffix}": _said(counts, len(values)) for key, counts in found.items()}


def _said(counts: Counter[Any], runs: int) -> str:
    if len(counts) == 1 and counts.total() == runs:
        return str(next(iter(counts)))
    if len(counts) > 8 and all(isinstance(value, int | float) for value in counts):
        return f"{min(counts):g} to {max(counts):g}"
    ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    return ", ".join(f"{value} ({n} run{'' if n == 1 else 's'})" for value, n in ordered[:SHOWN])


def _minority(started: pd.DataFrame) -> dict[str, str]:
    """Return the minority classes of each seed, where a row has some."""
    drawn = {int(seed): names for seed, names in zip(started["seed"], started["minority"], strict=True) if names}
    if not drawn:
        return {}
    return {"minority classes": "; ".join(f"seed {seed}: {listed(drawn[seed])}" for seed in sorted(drawn))}
