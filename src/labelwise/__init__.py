"""labelwise: spend labels wisely. Active-learning studies on anybody's images, with honest statistics."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labelwise.api import load_study as load_study
    from labelwise.api import picks as picks
    from labelwise.api import results as results
    from labelwise.api import run as run
    from labelwise.api import verdict as verdict
    from labelwise.config import Study as Study
    from labelwise.errors import InputError as InputError
    from labelwise.strategies import select as select

__version__ = version("labelwise")
__all__ = ["InputError", "Study", "__version__", "load_study", "picks", "results", "run", "select", "verdict"]
_HOMES = {"InputError": "errors", "Study": "config", "select": "strategies"}
"""The module of each public name that is not in `api`."""


def __getattr__(name: str) -> Any:
    if name in __all__:  # imported late: `labelwise --help` needs neither scikit-learn nor torch
        return getattr(import_module(f"labelwise.{_HOMES.get(name, 'api')}"), name)
    raise AttributeError(f"module 'labelwise' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
