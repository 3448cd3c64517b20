"""The bits of a fit: alone, among others, in other places, on other lanes, in another engine, without a graph."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.gpu import setups
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.setups import Setup
from labelwise.models.engine import Engine, Fit


def bits(bench: Bench) -> None:
    """Compare one fit with itself, packed and on lanes of single models."""
    made = setups.setup(bench, pool=2000 if bench.device.type == "cuda" else 0)
    models = setups.packs(made, bench.sizes.count)
    engine = setups.engine(made, models, bench.sizes.lanes)
    failure = "; ".join(engine.lanes[0].failures)
    bench.says("a packed step as a CUDA graph", failure or ("captured" if bench.device.type == "cuda" else "no GPU"))
    expected = compared(bench, made, engine, "packed")
    places(bench, made, engine)
    another = setups.engine(made, models, 1)
    bench.same("packed: by a second engine", equal(expected, another.fit(fit(bench, made))))
    by_steps = setups.step_by_step(another).fit(fit(bench, made))
    bench.same("packed: computed step by step, without a graph", equal(expected, by_steps))
    for used in (engine, another):
        used.stop()


def bits_of_singles(bench: Bench) -> None:
    """Compare one fit with itself, of a transformer, which is not packed: on lanes of single models."""
    pool = 2000 if bench.device.type == "cuda" else 0
    made = setups.setup(bench, bench.sizes.others[1], pool=pool, options=bench.sizes.options)
    engine = setups.singles(made, min(10, bench.sizes.singles))
    compared(bench, made, engine, f"{bench.sizes.others[1]}, not packed")
    engine.stop()


def fit(bench: Bench, made: Setup, seed: int = 0) -> Fit:
    """Return one of the fits that are compared: of the seed 0; others are somewhat longer."""
    count, held, epochs = bench.sizes.fit
    return made.fit(count + 5 * (seed % 7), held, epochs, seed)


def compared(bench: Bench, made: Setup, engine: Engine, what: str) -> Fit:
    """Do a fit alone, again, and with others before and after it; return the first."""
    alone = engine.fit(fit(bench, made))
    bench.same(f"{what}: alone, once more", equal(alone, engine.fit(fit(bench, made))))
    others = sum(len(lane.places) for lane in engine.lanes) + 2
    seeds = [*range(1, others), 0, *range(others, others + 3)]
    together = setups.trained(engine, [fit(bench, made, seed) for seed in seeds])
    note = f"with {len(seeds) - 1} others on {len(engine.lanes)} lanes"
    bench.same(f"{what}: among others", equal(alone, together[seeds.index(0)]), note)
    return alone


def equal(one: Fit, other: Fit) -> bool:
    """Return whether two fits are equal in every bit."""
    return (
        one.course.losses == other.course.losses
        and torch.equal(one.weights, other.weights)
        and torch.equal(one.statistics, other.statistics)
    )


def places(bench: Bench, made: Setup, engine: Engine) -> None:
    """Train the same weights by the same draws in the first and the last place, among others that differ."""
    trainer, count = engine.lanes[0].trainer, bench.sizes.count
    row = made.rows[0].to(bench.device)
    numbers = torch.stack([row, torch.zeros_like(row), torch.zeros_like(row)])
    found = []
    for seed in range(2):
        order, rates = setups.orders(made, count, 12, seed)
        own, _ = setups.orders(made, 1, 12, 99)
        order[:, :, 0] = order[:, :, -1] = own[:, :, 0]
        for place in range(count):
            trainer.put(place, numbers, torch.ones(setups.CLASSES, device=bench.device))
        trainer.steps(order, rates)
        found += [trainer.numbers.read(0), trainer.numbers.read(count - 1)]
    same = all(torch.equal(found[0], other) for other in found[1:])
    learned = not np.array_equal(found[0][0].cpu().numpy(), row.cpu().numpy())
    bench.same("packed: 12 steps in the first and the last place, with two sets of neighbours", same and learned)
