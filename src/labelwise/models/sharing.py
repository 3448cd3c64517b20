"""How the fits of many runs share a GPU: packed into one model, side by side as CUDA graphs, or one after the other.

What can be packed is; what cannot (attention, unknown layers) runs as single models on streams of their own; what draws
random numbers in training runs alone, since it draws from the device's own generator. Each of these is said in the
records (`used["fits"]`), by `labelwise doctor`, and is part of the learner's key.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from labelwise.config import Learner
from labelwise.errors import InputError
from labelwise.models.depthwise import Way, way_for
from labelwise.models.engine import Engine, Fit, Lane
from labelwise.models.graphs import on, own_stream
from labelwise.models.packed import Pack, Unpackable, draws, pack
from labelwise.models.places import Checker, Source, Trainer
from labelwise.models.unpacked import Unpacked

PLACES = ((100, 32), (60, 16), (0, 8))
"""Multiprocessors of a card, at least -> models in a pack. By the card's model alone: a fit's bits depend on it."""
PACKS = 2
"""Packs on a device, where they fit: while one waits for the host, the other computes."""
SINGLES = 16
"""Models at once, where they cannot be packed."""
SHARE = 0.7
"""Of the memory that is free, what packs may take; scoring and embedding need some too."""

COPIES = {"adam": 3, "sgd": 2}
"""Numbers for each weight: its value, and an optimizer's moments."""

LOG = logging.getLogger("labelwise")


@dataclass(frozen=True)
class Sharing:
    """engine: None where fits go one after the other; way: in words, for records; side_by_side: runs at once."""

    engine: Engine | None
    way: str
    side_by_side: int


ALONE = Sharing(None, "one after the other", 1)
"""On a CPU, each worker's own; and for models that draw random numbers."""


def places(device: torch.device) -> int:
    """Return K, the models in a pack, by the card's model."""
    return next(count for least, count in PLACES if processors(device) >= least)


def processors(device: torch.device) -> int:
    """Return the multiprocessors of a GPU."""
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def share(model: Any, source: Source, recipe: Learner, example: torch.Tensor) -> Sharing:
    """Decide how fits of a model (a Classifier) share its device, and prepare it.

    example: a few images in the backbone's scale, to check a pack on. Errors: InputError where not even one pack fits.
    """
    if source.device.type != "cuda":
        return ALONE
    if drawing := [name for name, module in model.named_modules() if draws(module)]:
        return Sharing(None, f"{ALONE.way}: {drawing[0]} draws random numbers", 1)
    torch.backends.cudnn.deterministic = (
        True  # for the whole process: contexts of several threads would undo each other
    )
    count = places(source.device)
    try:
        make, way = packed(model, count, max(1, count // 4), recipe, example), f"packed, {count} at once"
        return _shared(make, source, way, PACKS, recipe)
    except Unpackable as error:
        make = unpacked(model, recipe)
        return _shared(make, source, f"as graphs of single models: not packed, {error}", SINGLES, recipe)


Models = Callable[[], tuple[Any, Any]]
"""Makes the models that a lane trains and validates in."""


def packed(
    model: Any, count: int, checked: int, recipe: Learner, example: torch.Tensor, kernels: Way | None = None
) -> Models:
    """Return what makes packs of `count` models, and of `checked` for validation. Errors: Unpackable."""
    way = kernels or way_for(example.device)
    copies = COPIES[recipe.optimizer]
    try:
        first: list[Any] = [pack(model, count, way, example, copies)]
    except (Unpackable, RuntimeError) as error:
        if way == "shifted" or isinstance(error, torch.cuda.OutOfMemoryError):
            raise
        LOG.warning("the Triton kernels do not work here (%s): fits are slower", error)
        return packed(model, count, checked, recipe, example, "shifted")

    def make() -> tuple[Any, Any]:
        return first.pop() if first else Pack(model, count, way, copies), Pack(model, checked, way)

    return make


def unpacked(model: Any, recipe: Learner) -> Models:
    """Return what makes single models in the form of packs of one."""
    return lambda: (Unpacked(model, COPIES[recipe.optimizer]), Unpacked(model))


def lane(make: Models, source: Source, recipe: Learner, waiting: queue.SimpleQueue[Fit | None]) -> Lane:
    """Prepare a lane on a stream of its own."""
    stream = own_stream(source.device)
    with on(stream):
        train, check = make()
        return Lane(Trainer(train, source, recipe), Checker(check, source), waiting, stream)


def _shared(make: Models, source: Source, way: str, most: int, recipe: Learner) -> Sharing:
    """Prepare as many lanes as there is memory for, at most `most`."""
    waiting: queue.SimpleQueue[Fit | None] = queue.SimpleQueue()
    lanes: list[Lane] = []
    needed = 0
    while len(lanes) < most:
        free = torch.cuda.mem_get_info(source.device)[0]
        if lanes and needed > SHARE * free:
            break
        before = free
        try:
            lanes.append(lane(make, source, recipe, waiting))
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            if lanes:
                break
            raise InputError(
                f"learner.device: {free / 2**30:.1f} GiB of the GPU's memory are free, which is too little to train "
                f"({way}); end what else uses it, or choose --set learner.device=cpu"
            ) from None
        torch.cuda.synchronize(source.device)
        needed = max(needed, before - torch.cuda.mem_get_info(source.device)[0])
    if len(lanes) < most:
        LOG.warning("GPU memory for %d of %d packs: fewer fits at once, with the same results", len(lanes), most)
    first = lanes[0].trainer
    if failure := first.captured_failure:
        way = f"{way}, computed step by step (not captured: {failure})"
    if getattr(first.model, "way", "triton") != "triton":
        way = f"{way}, without Triton"
    engine = Engine(lanes, waiting)
    at_once = sum(lane.room for lane in lanes)
    LOG.info("%d runs side by side, %s, in %d packs of %.1f GiB", at_once, way, len(lanes), needed / 2**30)
    return Sharing(engine, way, at_once)
