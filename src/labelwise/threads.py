"""One thread for small linear algebra: faster at these sizes, and the same bits on any number of cores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from importlib import import_module
from typing import Any

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[Any]:
    """Return a context in which BLAS and OpenMP use a single thread."""
    limit: AbstractContextManager[Any] = _controller().limit(limits=1)
    return limit


@cache
def _controller() -> ThreadpoolController:
    import_module("scipy.linalg")  # what is not loaded yet is not found
    import_module("sklearn.linear_model")

    return ThreadpoolController()


_shared_with = 1


def share_cores(processes: int) -> None:
    """Say that so many processes share this machine, each of which is to take its part of the cores."""
    global _shared_with  # noqa: PLW0603  a property of the process, of no consequence for any result
    _shared_with = processes


@contextmanager
def cores_shared(processes: int) -> Iterator[None]:
    """Compute as one of so many processes that share this machine."""
    before = _shared_with
    share_cores(processes)
    try:
        yield
    finally:
        share_cores(before)


def cores() -> int:
    """Return how many cores this process may use."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, count // _shared_with)
