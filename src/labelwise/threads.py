"""One thread for small linear algebra: faster at these sizes, and the same bits on any number of cores."""

from __future__ import annotations

from contextlib import AbstractContextManager
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
