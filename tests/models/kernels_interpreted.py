"""The kernels themselves, run by Triton's interpreter on a CPU: started by test_kernels.py in a process of its own.

The interpreter has to be chosen before Triton is imported, and for the whole process.
"""

from __future__ import annotations

import pytest
import torch
from tests.models.test_depthwise import CASES, check, check_places, draw, passed
from tests.models.test_optimizers import adam_check, adam_places

from labelwise.models import kernels


@pytest.mark.parametrize("name", CASES)
def test_equals_the_library(name: str) -> None:
    check(CASES[name], 1, 3, torch.float32, "triton", 1e-6)


@pytest.mark.parametrize("name", ["8x8, 5x5, stride 2, same", "2x2, 5x5", "nothing square"])
def test_equals_the_library_in_bfloat16(name: str) -> None:
    check(CASES[name], 2, 5, torch.bfloat16, "triton", 1e-6)


def test_more_channels_than_a_block() -> None:
    check(CASES["4x4, 3x3, stride 2"], 1, kernels.CHANNELS + 6, torch.float32, "triton", 1e-6)


def test_more_parts_than_are_added_at_a_time() -> None:
    check(CASES["1x1, 5x5"], 32 * kernels.PARTS + 1, 2, torch.float32, "triton", 1e-6)


def test_blocks_of_large_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (kernels.pixels_of_block(2047), kernels.pixels_of_block(2048)) == (32, 64)
    monkeypatch.setattr(kernels, "pixels_of_block", lambda pixels: 64)
    check(CASES["16x16, 3x3, stride 2, same"], 1, 3, torch.float32, "triton", 1e-6)


def test_bits_of_a_channel_do_not_depend_on_its_place() -> None:
    check_places(CASES["2x2, 5x5"], 9, 3, 32, torch.bfloat16, "triton")


def test_an_empty_batch() -> None:
    case = CASES["4x4, 5x5"]
    output, of_input, of_weight = passed(draw(case, 0, 3, torch.float32), case, "triton")
    assert output.shape == of_input.shape == (0, 3, 4, 4)
    assert not of_weight.any()


def test_too_large_for_offsets_of_32_bits() -> None:
    huge = torch.empty(1).expand(2**20, 8, 16, 16)
    with pytest.raises(ValueError, match="2\\^31"):
        kernels._addressable(huge)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16])
def test_adam_equals_an_optimizer_for_each_model(dtype: torch.dtype) -> None:
    adam_check(dtype, "triton")


def test_adam_does_not_look_at_places() -> None:
    adam_places("triton")
