"""Runs as Ray tasks on the nodes of a cluster. The driver, which is this process, schedules and alone writes.

A node needs labelwise of the same version and the learner's weights, nothing else: what the driver has opened (images,
labels, embeddings) goes to it as arrays through Ray's object store. A task is a run; it sends each finished round back.
What is lost with a node goes on elsewhere from its last recorded round.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from labelwise.arrays import Indices
from labelwise.cache import noting
from labelwise.config import Study
from labelwise.data.images import ImageSet
from labelwise.errors import InputError
from labelwise.models.backbone import Backbone, pick_device
from labelwise.models.embeddings import Embeddings, embedding_by, input_size
from labelwise.study.node import SAME, Kit, Parcel, compute_run, embed_chunk, made_with
from labelwise.study.runner import Runner, Step
from labelwise.study.schedule import Job, Recorded, Schedule

PATIENCE = 10.0
"""Seconds for a cluster's address to answer: Ray itself tries for minutes."""


class Cluster:
    """A connection to a Ray cluster, for the length of a study. num_cpus, num_gpus: what each task takes of a node."""

    def __init__(self, study: Study, address: str, num_cpus: float = 1.0, num_gpus: float | None = None) -> None:
        _check(address, num_cpus, num_gpus)
        self.study, self.address = study, address
        on_gpu = pick_device(study.learner.device).type == "cuda"
        self.takes = {"num_cpus": num_cpus, "num_gpus": float(on_gpu) if num_gpus is None else num_gpus}
        self.stack = ExitStack()

    def __enter__(self) -> Cluster:
        with self.stack:
            self._connect()
            self.entries = self.stack.enter_context(noting())
            self.stack.enter_context(embedding_by(self.embed))
            self.stack = self.stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def _connect(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a local cluster would report to Ray's makers
        import ray

        if not ray.is_initialized():
            if ":" in self.address:
                _check_answers(self.address)
            quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
            if self.address != "local":
                del quiet["include_dashboard"]
            try:
                ray.init(self.address, **quiet)
            except Exception as error:  # Ray's own have no common class here
                what = "start a cluster with `ray start --head`, or give local"
                again = "run the same command again when the machine is less busy"
                hint = again if self.address == "local" else what
                raise InputError(f"--ray {self.address}: {_first_line(error).rstrip('.')}; {hint}") from None
            self.stack.callback(ray.shutdown)
        if not self._slots(self.takes):
            wanted = " and ".join(f"{count:g} {what[4:].upper()}" for what, count in self.takes.items() if count)
            raise InputError(
                f"--ray {self.address}: no node of the cluster has {wanted}; give less --num-cpus or --num-gpus, or "
                "start such nodes first (see: ray status)"
            )

    def _slots(self, takes: dict[str, float]) -> int:
        """Return how many tasks that take so much fit on the nodes that are there."""
        return sum(
            min(int(node.get(name, 0) / takes[key]) for key, name in _RESOURCES.items() if takes[key])
            for node in _nodes()
        )

    def compute(self, jobs: list[Job], runner: Runner, recorded: Recorded) -> Generator[tuple[Job, Step], None, None]:
        """Yield every missing round of every job, computed on the cluster, in the order in which they come in.

        Errors: InputError where a node would compute otherwise than this machine, and where tasks keep dying.
        """
        import ray
        from ray.exceptions import NodeDiedError, ObjectLostError, RayError, RayTaskError

        images = replace(runner.dataset.images, pixels=_plain(runner.dataset.images.pixels), blob=None)
        dataset = replace(runner.dataset, images=images, features=_plain(runner.dataset.features))
        entries = {name: _plain(entry) for name, entry in self.entries.items()}
        parcel = ray.put(Parcel(self.study, dataset, entries, runner.learner.key, made_with(runner.learner.used)))
        # a process keeps what it built for its next task; on a GPU each run has its own, since Ray may give it another
        task = ray.remote(**self.takes, max_retries=0, max_calls=1 if self.takes["num_gpus"] else 0)(compute_run)
        schedule = Schedule(jobs, recorded, store=ray.put)
        running: dict[Any, Job] = {}
        try:
            while schedule.pending or running:
                while taken := schedule.take():
                    job, order = taken
                    answered = task.options(num_returns="streaming", name=_name(job)).remote(
                        [parcel], self.takes["num_cpus"], order.run, order.state, order.kept
                    )
                    running[answered] = job
                answered = ray.wait(list(running), num_returns=1)[0][0]
                job = running[answered]
                try:
                    step = schedule.receive(job, ray.get(next(answered)))
                except RayTaskError as error:  # before our own code: what it needs is not there
                    raise InputError(f"a task failed on the cluster: {_last_line(error)}; {SAME}") from None
                except (NodeDiedError, ObjectLostError):  # that is no fault of the run's
                    del running[answered]
                    schedule.put_back(job)
                except RayError:
                    del running[answered]
                    schedule.died(job, "give more --num-cpus, so that fewer share a node's memory")
                else:
                    if step is None:
                        del running[answered]
                    else:
                        yield job, step
        finally:
            for answered in running:
                ray.cancel(answered, force=True)

    def embed(
        self, images: ImageSet, backbone: Backbone, chunks: list[Indices]
    ) -> Iterator[tuple[NDArray[np.float16], float]]:
        """Embed chunks by tasks of so many threads as this machine would use, on which the last bits depend.

        The driver reads the images, sends them as they are, and takes the chunks in order. A chunk that is lost with a
        node is computed again by Ray.
        """
        import ray

        threads, takes = torch.get_num_threads(), dict(self.takes)
        if backbone.device.type == "cpu":
            takes["num_cpus"] = min(threads, max(node.get("CPU", 0) for node in _nodes()))
        kit = ray.put(Kit(self.study.learner, backbone.fingerprint, input_size(images, backbone)[0], threads))
        task = ray.remote(**takes)(embed_chunk)
        ahead, coming = self._slots(takes) + 2, deque[Any]()
        for chunk in chunks:
            coming.append(task.remote([kit], images.part(chunk)))
            if len(coming) > ahead:
                yield _result(coming.popleft())
        while coming:
            yield _result(coming.popleft())


_RESOURCES = {"num_cpus": "CPU", "num_gpus": "GPU"}


def _check(address: str, num_cpus: float, num_gpus: float | None) -> None:
    """Refuse what cannot be meant, and say what to install. Errors: InputError."""
    if find_spec("ray") is None:
        raise InputError("--ray: Ray is not installed; install it with: pip install 'labelwise[ray]'")
    if address.startswith("ray://"):
        raise InputError(
            f"--ray {address}: Ray's client cannot send rounds back as they finish; run the command on a node of the "
            "cluster with --ray auto"
        )
    host, _, port = address.rpartition(":")
    if address not in ("auto", "local") and not (host and port.isdecimal()):
        raise InputError(f"--ray {address}: give auto (the cluster of this machine), local (a new one) or host:port")
    if num_cpus <= 0:
        raise InputError(f"--num-cpus {num_cpus:g}: a task takes more than 0, for example 1")
    if num_gpus is not None and (num_gpus < 0 or (num_gpus > 1 and num_gpus % 1)):
        raise InputError(f"--num-gpus {num_gpus:g}: give a part of one GPU such as 0.25, or a whole number")


def _check_answers(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"--ray {address}: nothing answers there ({error}); `ray status` shows the address") from None


def _nodes() -> list[dict[str, float]]:
    """Return what each node that is there has."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _plain(entry: Any) -> Any:
    """Return a mapped array, or embeddings of one, as an ordinary array, which travels without a copy."""
    if isinstance(entry, Embeddings):
        return replace(entry, values=np.asarray(entry.values))
    return None if entry is None else np.asarray(entry)


def _name(job: Job) -> str:
    return f"{job.run.row.name} {job.run.name} seed {job.run.seed}"


def _result(reference: Any) -> tuple[NDArray[np.float16], float]:
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        values, seconds = ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise InputError(str(error.cause)) from None
        raise InputError(f"embedding failed on the cluster: {_last_line(error)}; {SAME}") from None
    except RayError as error:
        raise InputError(
            f"embedding was lost on the cluster ({_first_line(error)}); run the same command again: what is embedded "
            "is kept"
        ) from None
    return values, seconds


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
