"""Pictures of any shape become squares in three ways."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from labelwise.data.decode import LOOK, decode, look_of
from labelwise.data.squares import corner, inside, to_square
from pictures import encoded, picture

CAP = 10**6
PICTURE = picture(0, size=(20, 30))


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (20, 30), (224, 224)])
def test_squares(size: tuple[int, int]) -> None:
    image = decode(encoded(picture(1, size=size)), CAP)
    assert len(look_of(image)) == LOOK * LOOK
    for crop in (0.875, 1.0):
        square = to_square(image, 32, crop)
        assert (square.shape, square.dtype) == ((32, 32, 3), np.uint8)


def test_pad_shows_all_of_an_image_on_black_and_stretch_fills_the_square() -> None:
    image = Image.new("RGB", (50, 10), "red")
    padded, stretched = (to_square(image, 20, 0.875, way) for way in ("pad", "stretch"))
    np.testing.assert_array_equal(padded[8:12], np.full((4, 20, 3), [255, 0, 0]))
    assert not padded[:8].any()
    assert not padded[12:].any()
    np.testing.assert_array_equal(stretched, np.full((20, 20, 3), [255, 0, 0]))
    for way in ("pad", "stretch"):
        np.testing.assert_array_equal(to_square(Image.fromarray(PICTURE[:20, :20]), 20, 0.875, way), PICTURE[:20, :20])


@given(st.integers(1, 10**5), st.integers(1, 10**5), st.integers(1, 600))
def test_a_padded_image_lies_inside_and_in_the_middle(height: int, width: int, size: int) -> None:
    inner = inside(height, width, size)
    assert max(inner) == size
    assert min(inner) >= 1
    assert abs(inner[0] / size - height / max(height, width)) <= 1 / size
    for low, side in zip(corner(inner, size), inner, strict=True):
        assert 0 <= low <= size - side - low <= low + 1
