"""From pixels of more than 8 bits to 8 bits: by one bit depth for all images of a data set.

Cameras and scanners write 10 or 12 bits into files of 16, which then seem black. A file does not say so, and one
image's largest value says how bright it is. So the largest value of all training images decides, once: 4,095 is 12
bits. Every image is scaled by it, also later ones; a brighter one is refused, since it would be cut off.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

DEPTHS = (8, 10, 12, 14, 16)
"""Bits that devices have. A largest value between two of them is the larger one's."""
DARKEST = 128
"""Where all values of a data set lie below this, they fill not even 8 bits: what they mean is not known."""
HINT = "save it with 8 bits"


def depth_of(peak: int) -> int:
    """Return the bit depth of images whose largest value is `peak`; 0 where it cannot be told."""
    return 0 if peak < DARKEST else next(bits for bits in DEPTHS if peak < 1 << bits)


def problem(peak: int, bits: int, upper_only: bool) -> str:
    """Say why an image of more than 8 bits cannot be scaled by a depth, or "". peak: its largest value;

    bits: 0 where there is none; upper_only: only the upper 8 of 16 bits of its colours can be read.
    """
    if not peak:
        return ""  # black is black at any depth
    if not bits:
        return f"16-bit pixels up to {peak:,}, and no images before it say which value is white; {HINT}"
    if peak >= 1 << bits:
        top = (1 << bits) - 1
        return f"16-bit pixels up to {peak:,}, above the {bits} bits (0 to {top:,}) of the images before it; {HINT}"
    if upper_only and bits < 16:
        return f"16-bit colour of which {bits} bits are used; {HINT} a channel"
    return ""


@cache
def _levels(bits: int) -> NDArray[np.uint8]:
    top = (1 << bits) - 1
    values = np.minimum(np.arange(1 << 16, dtype=np.uint32), top)
    return ((values * 255 + top // 2) // top).astype(np.uint8)


def scaled(values: NDArray[np.uint16], bits: int) -> NDArray[np.uint8]:
    """Return uint16 values in 0..255, rounded; values above the depth are white."""
    return _levels(bits)[values]


def said(bits: int, depths: Mapping[int, int]) -> tuple[str, ...]:
    """Return a note on the images of more than 8 bits. depths: bit depth that an image alone would have -> images."""
    if not bits or not (count := sum(depths.values())):
        return ()
    note = f"{count:,} images have 16-bit pixels: 0 to {(1 << bits) - 1:,} ({bits} bits) is black to white in all"
    dark = sum(number for depth, number in depths.items() if depth < bits)
    return (f"{note}; {dark:,} of them use fewer bits and come out dark" if dark else note,)
