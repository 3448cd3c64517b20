"""One bit depth for all images of a data set, and what it makes of their values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.data.depth import DEPTHS, depth_of, problem, said, scaled


@pytest.mark.parametrize(("peak", "bits"), [
    (0, 0), (3, 0), (127, 0), (128, 8), (255, 8), (256, 10), (1023, 10), (1800, 12), (4095, 12), (4096, 14),
    (16384, 16), (65535, 16),
])  # fmt: skip
def test_the_depth_of_the_largest_value(peak: int, bits: int) -> None:
    assert depth_of(peak) == bits


@given(st.sampled_from(DEPTHS), st.integers(0, 65535))
def test_scaling_rounds_and_keeps_black_and_white(bits: int, value: int) -> None:
    top = 2**bits - 1
    level = int(scaled(np.array([value], np.uint16), bits)[0])
    assert abs(level - 255 * min(value, top) / top) <= 0.5
    assert scaled(np.array([0, top, 65535], np.uint16), bits).tolist() == [0, 255, 255]


@given(st.integers(128, 65535))
def test_an_image_fits_its_own_depth_and_no_smaller_one(peak: int) -> None:
    assert [not problem(peak, bits, False) for bits in DEPTHS] == [bits >= depth_of(peak) for bits in DEPTHS]


def test_notes() -> None:
    assert said(0, {}) == ()
    assert said(12, {12: 3}) == ("3 images have 16-bit pixels: 0 to 4,095 (12 bits) is black to white in all",)
    (note,) = said(16, {12: 500, 16: 500})
    assert note.endswith("in all; 500 of them use fewer bits and come out dark")
