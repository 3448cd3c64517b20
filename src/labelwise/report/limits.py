"""What values can be: a t interval does not know that no accuracy is above 100 % and no time below 0."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from labelwise.analysis.words import SHARES


def possible(values: Any, column: str) -> Any:
    """Return a number or an array of a column's values (not differences) cut at what is possible; NaN stays NaN."""
    return np.clip(values, 0.0, 1.0 if column in SHARES else math.inf)
