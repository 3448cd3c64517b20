"""What runs on a cluster's nodes: the driver's learner, built from what it sends, then runs and chunks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from labelwise.cache import give
from labelwise.config import Learner, Study
from labelwise.data.dataset import Dataset
from labelwise.data.images import ImageSet, unseen
from labelwise.errors import InputError
from labelwise.models.backbone import Backbone, load_backbone, torch_threads
from labelwise.models.embeddings import embed, scoring_module
from labelwise.models.learners import build_learner
from labelwise.state import State
from labelwise.study.executor import machine
from labelwise.study.plan import Run
from labelwise.study.runner import Kept, Runner
from labelwise.study.schedule import Answer, Failure, Order, answers
from labelwise.threads import cores, share_cores

SAME = "every node needs Python, Ray and labelwise of the same versions as this machine, and the same kind of device"


def made_with(used: dict[str, str]) -> dict[str, str]:
    """Return what results depend on beside the learner's key; how many cores there are is not part of it."""
    return {name: value for name, value in {**used, **machine()}.items() if name != "cores"}


@dataclass(frozen=True)
class Parcel:
    """What a node computes runs from. entries: what the driver has loaded from its cache; made_with: as there."""

    study: Study
    dataset: Dataset
    entries: dict[str, Any]
    key: str
    made_with: dict[str, str]

    def runner(self) -> Runner:
        """Build the learner. Errors: InputError where it is another one than the driver's."""
        give(self.entries)
        learner = build_learner(self.dataset, self.study, unseen)
        here = made_with(learner.used)
        if learner.key != self.key or here != self.made_with:
            other = [f"{name} {here.get(name)} instead of {value}"
                     for name, value in self.made_with.items() if here.get(name) != value]  # fmt: skip
            raise InputError(f"its results would not be comparable: {', '.join(other) or 'other weights'}; {SAME}")
        return Runner(self.study, self.dataset, learner)


@dataclass(frozen=True)
class Kit:
    """What a node embeds chunks with. size: of the backbone's input, in pixels."""

    recipe: Learner
    fingerprint: str
    size: int
    threads: int


@lru_cache(maxsize=1)
def _runner(parcel: Any) -> Runner:
    import ray

    try:
        return ray.get(parcel).runner()  # type: ignore[no-any-return]
    except InputError as error:
        raise InputError(f"node {_address()}: {error}") from None


@lru_cache(maxsize=1)
def _embedder(kit: Any) -> tuple[Backbone, torch.nn.Module, int]:
    import ray

    made: Kit = ray.get(kit)
    try:
        backbone = load_backbone(made.recipe)
        if backbone.fingerprint != made.fingerprint:
            raise InputError(f"other weights of {made.recipe.backbone} than on this machine; {SAME}")
    except InputError as error:
        raise InputError(f"node {_address()}: {error}") from None
    with torch_threads(made.threads):
        return backbone, scoring_module(backbone, made.size), made.threads


def _address() -> str:
    import ray

    return str(ray.util.get_node_ip_address())


def compute_run(
    parcel: list[Any], num_cpus: float, run: Run, state: State | None, kept: Kept | None
) -> Iterator[Answer | Failure]:
    """Be a task: go on with a run, sending each finished round. parcel: a reference; in a list, Ray leaves it one."""
    share_cores(1)
    share_cores(max(1, round(cores() / num_cpus)))
    yield from answers(lambda: _runner(parcel[0]), Order(run, state, kept))


def embed_chunk(kit: list[Any], images: ImageSet) -> tuple[NDArray[np.float16], float]:
    """Be a task: embed these images; return (n, D) and the seconds it took."""
    backbone, module, threads = _embedder(kit[0])
    started = time.perf_counter()
    with torch_threads(threads):
        values = embed(images, np.arange(len(images)), backbone, module)
    return values, time.perf_counter() - started
