"""Depthwise convolutions by shifted maps, against PyTorch's own: in float64, so that no wrong tap hides in rounding.

The kernels run in tests/models/kernels_interpreted.py, by the cases and checks of this file.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from labelwise.models.depthwise import Way, depthwise, geometry, way_for

Case = tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int, int, int]]
CASES: dict[str, Case] = {
    "16x16, 3x3": ((16, 16), (3, 3), (1, 1), (1, 1, 1, 1)),
    "16x16, 3x3, stride 2, same": ((16, 16), (3, 3), (2, 2), (0, 1, 0, 1)),
    "8x8, 5x5, stride 2, same": ((8, 8), (5, 5), (2, 2), (1, 2, 1, 2)),
    "8x8, 7x7": ((8, 8), (7, 7), (1, 1), (3, 3, 3, 3)),
    "4x4, 5x5": ((4, 4), (5, 5), (1, 1), (2, 2, 2, 2)),
    "4x4, 3x3, stride 2": ((4, 4), (3, 3), (2, 2), (1, 1, 1, 1)),
    "2x2, 5x5": ((2, 2), (5, 5), (1, 1), (2, 2, 2, 2)),
    "2x2, 5x5, stride 2, same": ((2, 2), (5, 5), (2, 2), (1, 2, 1, 2)),
    "1x1, 5x5": ((1, 1), (5, 5), (1, 1), (2, 2, 2, 2)),
    "1x1, 3x3, stride 2": ((1, 1), (3, 3), (2, 2), (1, 1, 1, 1)),
    "nothing square": ((5, 3), (3, 4), (2, 1), (0, 2, 3, 1)),
    "no padding, pixels left out": ((7, 6), (2, 2), (3, 3), (0, 0, 0, 0)),
    "taps along one axis meet only padding": ((2, 1), (1, 3), (1, 3), (0, 0, 4, 0)),
    "more padding than kernel": ((1, 1), (2, 2), (4, 4), (2, 0, 2, 0)),
}


def draw(case: Case, batch: int, channels: int, dtype: torch.dtype, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Return x, weight and the output's gradient."""
    size, kernel, stride, padding = case
    output = geometry(size, kernel, stride, padding).output
    numbers = torch.Generator().manual_seed(seed)
    x, weight, grad = (
        torch.randn(shape, generator=numbers, dtype=torch.float64)
        for shape in ((batch, channels, *size), (channels, 1, *kernel), (batch, channels, *output))
    )
    return x.to(dtype), weight.to(torch.promote_types(dtype, torch.float32)), grad.to(dtype)


def passed(drawn: tuple[torch.Tensor, ...], case: Case, way: Way | None) -> tuple[torch.Tensor, ...]:
    """Return the output and both gradients; way None: by PyTorch's own convolution, in float64."""
    x, weight = (value.detach().clone().requires_grad_() for value in drawn[:2])
    if way is None:
        top, bottom, left, right = case[3]
        padded = functional.pad(x.double(), (left, right, top, bottom))
        output = functional.conv2d(padded, weight.double(), None, case[2], groups=x.shape[1])
    else:
        output = depthwise(x.to(memory_format=torch.channels_last), weight, case[2], case[3], way)
    output.backward(drawn[2].to(output.dtype))
    assert x.grad is not None
    assert weight.grad is not None
    return output.detach(), x.grad, weight.grad


def check(case: Case, batch: int, channels: int, dtype: torch.dtype, way: Way, close: float) -> None:
    """Compare with PyTorch's own, relative to each tensor's largest value; types and layout too.

    close: for sums; what is returned in bfloat16 is rounded to it besides (Triton's interpreter cuts off).
    """
    drawn = draw(case, batch, channels, dtype)
    ours, theirs = passed(drawn, case, way), passed(tuple(value.double() for value in drawn), case, None)
    assert [value.dtype for value in ours] == [dtype, dtype, drawn[1].dtype]
    assert ours[0].is_contiguous(memory_format=torch.channels_last)
    for one, other in zip(ours, theirs, strict=True):
        allowed = 2.0**-7 if one.dtype == torch.bfloat16 else close
        assert one.shape == other.shape
        assert float((one.double() - other).abs().max()) <= allowed * max(1.0, float(other.abs().max()))


def check_places(case: Case, batch: int, models: int, channels: int, dtype: torch.dtype, way: Way) -> None:
    """Whole models change places, and others' contents change: the same bits come out, at each one's place."""
    x, weight, grad = draw(case, batch, models * channels, dtype)
    order = torch.arange(models * channels).view(models, channels).flip(0).flatten()
    first = passed((x, weight, grad), case, way)
    again, moved = (
        passed((x, weight, grad), case, way),
        passed((x[:, order], weight[order], grad[:, order]), case, way),
    )
    other = (x.clone(), weight.clone(), grad.clone())
    other[0][:, channels:], other[1][channels:], other[2][:, channels:] = 3e4, -7.0, 0.0
    beside = passed(other, case, way)
    for i, axis in enumerate((1, 1, 0)):
        assert torch.equal(first[i], again[i])
        assert torch.equal(first[i].index_select(axis, order), moved[i])
        assert torch.equal(first[i].narrow(axis, 0, channels), beside[i].narrow(axis, 0, channels))


@pytest.mark.parametrize("name", CASES)
def test_equals_the_library_in_float64(name: str) -> None:
    check(CASES[name], 3, 5, torch.float64, "plain", 1e-13)


@pytest.mark.parametrize("name", CASES)
def test_equals_the_library_in_float32_and_bfloat16(name: str) -> None:
    check(CASES[name], 2, 7, torch.float32, "plain", 1e-6)
    check(CASES[name], 2, 7, torch.bfloat16, "plain", 1e-6)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(*[st.integers(0, 5)] * 4),
    channels=st.integers(1, 4),
    batch=st.integers(1, 3),
)
def test_any_shape_equals_the_library(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    channels: int,
    batch: int,
) -> None:
    if size[0] + padding[0] + padding[1] >= kernel[0] and size[1] + padding[2] + padding[3] >= kernel[1]:
        check((size, kernel, stride, padding), batch, channels, torch.float64, "plain", 1e-13)


@pytest.mark.parametrize("name", ["16x16, 3x3", "4x4, 5x5", "nothing square"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bits_of_a_channel_do_not_depend_on_its_place(name: str, dtype: torch.dtype) -> None:
    check_places(CASES[name], 3, 4, 9, dtype, "plain")


def test_taps_that_meet_only_padding_are_left_out() -> None:
    single = geometry((1, 1), (5, 5), (1, 1), (2, 2, 2, 2))
    assert single.taps() == [(0, 0, 12)]
    assert len(geometry((2, 2), (5, 5), (1, 1), (2, 2, 2, 2)).taps()) == 9
    drawn = draw(CASES["1x1, 5x5"], 2, 3, torch.float32)
    grads = passed(drawn, CASES["1x1, 5x5"], "plain")[2].flatten(1)
    assert torch.equal(grads != 0, (torch.arange(25) == 12).expand(3, 25))


def test_autocast_changes_nothing() -> None:
    case = CASES["4x4, 5x5"]
    drawn = draw(case, 2, 6, torch.bfloat16)
    before = passed(drawn, case, "plain")
    with torch.autocast("cpu", torch.bfloat16):
        inside = passed(drawn, case, "plain")
    for one, other in zip(before, inside, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def test_only_the_gradients_that_are_needed() -> None:
    case = CASES["4x4, 5x5"]
    x, weight, grad = draw(case, 2, 6, torch.float32)
    depthwise(x, weight.requires_grad_(), case[2], case[3], "plain").backward(grad)
    assert x.grad is None
    assert weight.grad is not None


def test_an_empty_batch() -> None:
    case = CASES["4x4, 5x5"]
    output, of_input, of_weight = passed(draw(case, 0, 3, torch.float32), case, "plain")
    assert output.shape == of_input.shape == (0, 3, 4, 4)
    assert not of_weight.any()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"way": "fast"}, "no such way"),
        ({"weight": torch.zeros(4, 1, 3, 3)}, "expected, not"),
        ({"weight": torch.zeros(3, 1, 3, 3, dtype=torch.bfloat16)}, "weights are float32"),
        ({"x": torch.zeros(1, 3, 4, 4, dtype=torch.int32)}, "does not compute"),
        ({"x": torch.zeros(1, 3, 4, 4, dtype=torch.float64), "way": "triton"}, "does not compute"),
        ({"stride": (0, 1)}, "strides must"),
        ({"padding": (0, -1, 0, 0)}, "paddings at least"),
        ({"weight": torch.zeros(3, 1, 5, 5)}, "smaller than the kernel"),
    ],
)
def test_what_does_not_fit_is_said(change: dict[str, object], said: str) -> None:
    known = {"x": torch.zeros(1, 3, 4, 4), "weight": torch.zeros(3, 1, 3, 3), "stride": (1, 1), "padding": (0, 0, 0, 0)}
    with pytest.raises(ValueError, match=said):
        depthwise(**{**known, "way": "plain", **change})  # type: ignore[arg-type]


def test_a_cpu_gets_plain_operations() -> None:
    assert way_for(torch.device("cpu")) == "plain"
