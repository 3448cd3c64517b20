"""labelwise: spend labels wisely. Active-learning studies on anybody's images, with honest statistics."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labelwise.strategies import select as select

__version__ = version("labelwise")
__all__ = ["__version__", "select"]


def __getattr__(name: str) -> Any:
    if name == "select":  # imported late: `labelwise --help` needs no scikit-learn
        return import_module("labelwise.strategies").select
    raise AttributeError(f"module 'labelwise' has no attribute '{name}'")
