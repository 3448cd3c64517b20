"""One thread for small linear algebra: faster at these sizes, and the same bits on any number of cores."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[Any]:
    """Return a context in which BLAS and OpenMP use a single thread."""
    limit: AbstractContextManager[Any] = _controller().limit(limits=1)
    return limit


@cache
def _controller() -> ThreadpoolController:
    import sklearn.linear_model  # noqa: F401  what is not loaded yet is not found

    return ThreadpoolController()
