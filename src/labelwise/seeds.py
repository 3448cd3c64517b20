"""Random generators, derived by name from a seed: nothing is threaded through, nothing is global."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return the generator of one purpose, e.g. `generator(3, "subset", "3%")`.

    Equal arguments give equal streams, on any machine; different purposes give independent ones.
    """
    name = "\x1f".join(str(part) for part in purpose).encode()
    words = np.frombuffer(hashlib.sha256(name).digest(), dtype=np.uint32)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words.tolist()])))


def integer(seed: int, *purpose: str | int) -> int:
    """Return a 31-bit seed of one purpose, for libraries that take only an integer."""
    return int(generator(seed, *purpose).integers(2**31 - 1))
