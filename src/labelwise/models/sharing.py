"""How the fits of many runs share a GPU: packed into one model, side by side as CUDA graphs, or one after the other.

What can be packed is; what cannot (attention, unknown layers) runs as single models on streams of their own; what draws
random numbers in training runs alone, since it draws from the device's own generator. Each of these is said in the
records (`used["fits"]`), by `labelwise doctor`, and is part of the learner's key.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from labelwise.config import Learner
from labelwise.errors import InputError
from labelwise.models import optimizers
from labelwise.models.depthwise import Way, way_for
from labelwise.models.engine import Engine, Lane
from labelwise.models.graphs import on, own_stream
from labelwise.models.layout import parameters_of
from labelwise.models.packed import Pack, Unpackable, WrongKernels, draws, pack
from labelwise.models.places import Checker, DeviceImages, Trainer
from labelwise.models.unpacked import Unpacked

WIDTHS = ((100, 32), (60, 16), (0, 8))
"""Multiprocessors of a card, at least -> models in a pack. By the card's model, not its memory: bits depend on it."""
SMALL = 64 * 64
"""Pixels of an image up to which packs are so wide; of larger images a few models fill a card."""
PACKS = 2
"""Packs on a device, where they fit: while one waits for the host, the other computes."""
SINGLES = 16
"""Models at once, where they cannot be packed."""
SHARE = 0.7
"""Of the memory that is free, what packs may take; scoring and embedding need some too."""

COPIES = {"adam": 3, "sgd": 2}
"""Numbers for each weight: its value, and an optimizer's moments."""

CPU = torch.device("cpu")
LOG = logging.getLogger("labelwise")


@dataclass(frozen=True)
class Sharing:
    """engine: None where fits go one after the other; way: in words, for records; side_by_side: runs at once."""

    engine: Engine | None
    way: str
    side_by_side: int


ALONE = Sharing(None, "one after the other", 1)
"""On a CPU, each worker's own; and for models that draw random numbers."""


def pack_width(device: torch.device, pixels: int = SMALL) -> int:
    """Return K, the models in a pack, by the card's model and the pixels of an image."""
    widest = next(count for least, count in WIDTHS if processors(device) >= least)
    return max(1, min(widest, widest * SMALL // pixels))


def processors(device: torch.device) -> int:
    """Return the multiprocessors of a GPU."""
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def share(model: Any, source: DeviceImages, recipe: Learner, example: torch.Tensor) -> Sharing:
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
    for attention in ("flash", "mem_efficient", "cudnn"):  # their gradients are added in the order of arrival
        getattr(torch.backends.cuda, f"enable_{attention}_sdp")(False)
    count = pack_width(source.device, source.pixels.shape[1] * source.pixels.shape[2])
    try:
        make = packed(model, count, max(1, count // 4), recipe, example)
    except Unpackable as error:
        make = unpacked(model, recipe, source.device)
        return _shared(make, source, f"as graphs of single models: not packed, {error}", SINGLES, recipe)
    except torch.cuda.OutOfMemoryError:
        raise too_little(source.device, f"packed, {count} at once") from None
    return _shared(make, source, f"packed, {count} at once", PACKS, recipe)


def too_little(device: torch.device, way: str) -> InputError:
    """Return what to say where not even one pack fits."""
    free = torch.cuda.mem_get_info(device)[0] / 2**30
    return InputError(
        f"learner.device: {free:.1f} GiB of the GPU's memory are free, which is too little to train ({way}); end what "
        "else uses it, or choose --set learner.device=cpu"
    )


Models = Callable[[], tuple[Any, Any]]
"""Makes the models that a lane trains and validates in."""


def packed(
    model: Any, count: int, checked: int, recipe: Learner, example: torch.Tensor, kernels: Way | None = None
) -> Models:
    """Return what makes packs of `count` models, and of `checked` for validation. Errors: Unpackable."""
    way = kernels or way_for(example.device)
    copies = COPIES[recipe.optimizer]
    if count * len(parameters_of(model)) >= 2**31:
        raise Unpackable("it has too many parameters")
    try:
        first: list[Any] = [pack(model, count, way, example, copies)]
    except (WrongKernels, RuntimeError) as error:
        if way == "plain" or isinstance(error, torch.cuda.OutOfMemoryError):
            raise
        LOG.warning("the Triton kernels do not work here (%s): fits are slower", error)
        return packed(model, count, checked, recipe, example, "plain")

    def make() -> tuple[Any, Any]:
        return first.pop() if first else Pack(model, count, way, copies), Pack(model, checked, way)

    return make


def unpacked(model: Any, recipe: Learner, device: torch.device = CPU) -> Models:
    """Return what makes single models in the form of packs of one."""
    way = way_for(device)
    if way == "triton":
        one, place = torch.zeros(4, 1, device=device), torch.zeros(1, dtype=torch.uint8, device=device)
        try:
            optimizers.adam(one[0], one[1], one[2], one[3], place, torch.ones(1, 2, device=device), way)
        except Exception as error:  # a compiler that is not there, and whatever else Triton needs
            LOG.warning("the Triton kernels do not work here (%s): fits are slower", error)
            way = "plain"
    return lambda: (Unpacked(model, COPIES[recipe.optimizer], way), Unpacked(model))


def lane(make: Models, source: DeviceImages, recipe: Learner) -> Lane:
    """Prepare a lane on a stream of its own."""
    stream = own_stream(source.device)
    with on(stream):
        train, check = make()
        return Lane(Trainer(train, source, recipe), Checker(check, source), stream)


def _shared(make: Models, source: DeviceImages, way: str, most: int, recipe: Learner) -> Sharing:
    """Prepare as many lanes as there is memory for, at most `most`."""
    lanes: list[Lane] = []
    needed = 0
    while len(lanes) < most:
        free = torch.cuda.mem_get_info(source.device)[0]
        if lanes and needed > SHARE * free:
            break
        if (made := _lane_or_none(make, source, recipe)) is None:
            gc.collect()  # what there was of it holds itself
            torch.cuda.empty_cache()
            break
        torch.cuda.synchronize(source.device)
        lanes.append(made)
        needed = max(needed, free - torch.cuda.mem_get_info(source.device)[0] + made.bytes_of_fits)
    if not lanes:
        raise too_little(source.device, way)
    if len(lanes) < most:
        LOG.warning("GPU memory for %d of %d packs: fewer fits at once, with the same results", len(lanes), most)
    if failures := {failure for made in lanes for failure in made.failures}:
        LOG.warning("steps are not replayed as graphs, and slower: %s", "; ".join(sorted(failures)))
        way = f"{way}, computed step by step"
    if lanes[0].trainer.model.way != "triton":
        way = f"{way}, without Triton"
    at_once = sum(lane.most for lane in lanes)
    LOG.info("%d runs side by side, %s, in %d packs of %.1f GiB", at_once, way, len(lanes), needed / 2**30)
    return Sharing(Engine(lanes), way, at_once)


def _lane_or_none(make: Models, source: DeviceImages, recipe: Learner) -> Lane | None:
    """Prepare a lane; None where there is no memory for it."""
    try:
        return lane(make, source, recipe)
    except torch.cuda.OutOfMemoryError:
        return None
