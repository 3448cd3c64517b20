"""Where the time of one packed step goes, by kernel."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.gpu import setups
from benchmarks.gpu.bench import Bench, waited

MOST, NAME = 12, 80
STEPS = 3


def profile(bench: Bench) -> None:
    """Record some steps of a pack of the default size; the dearest kernels go onto the page."""
    made, count = setups.setup(bench), bench.sizes.count
    trainer = setups.trainer(made, count)
    trainer.steps(*setups.orders(made, count, 2))
    waited(bench.device)
    gpu = bench.device.type == "cuda"
    kind = torch.profiler.ProfilerActivity.CUDA if gpu else torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[kind]) as recorded:
        trainer.steps(*setups.orders(made, count, STEPS))
        waited(bench.device)
    spent = [
        (event.key, event.count, event.self_device_time_total if gpu else event.self_cpu_time_total)
        for event in recorded.key_averages()
    ]
    found = dearest(spent)
    bench.kernels = found[:MOST]
    launches = sum(one["launches"] for one in found)
    bench.rate(f"launches in a step of {count} packed", launches, "kernels")
    bench.rate(f"time of kernels in a step of {count} packed", sum(one["microseconds"] for one in found) / 1e3, "ms")


def dearest(spent: list[tuple[str, int, float]]) -> list[dict[str, Any]]:
    """Return name, launches, microseconds and share of each kernel in a step, the dearest first.

    spent: name, launches and microseconds of STEPS steps.
    """
    total = sum(time for _, _, time in spent) or 1.0
    ranked = sorted((one for one in spent if one[2] > 0), key=lambda one: -one[2])
    return [
        {"name": short(name), "launches": count / STEPS, "microseconds": time / STEPS, "share": 100 * time / total}
        for name, count, time in ranked
    ]


def short(name: str) -> str:
    """Return a kernel's name without its arguments and templates' tails, as a table can show it."""
    plain = name.removeprefix("void ").replace("at::native::", "").replace("|", "/").replace("`", "")
    return plain if len(plain) <= NAME else f"{plain[: NAME - 3]}..."
