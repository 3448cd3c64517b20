"""Rewrites for speed: equal outputs and equal gradients, in float64, so that a wrong tap cannot hide in rounding."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import Conv2dSame
from torch import nn

from labelwise.config import Learner
from labelwise.models.backbone import load_backbone
from labelwise.models.rewrites import (
    Cropped,
    Pointwise,
    Scaled,
    cropped,
    fold_batch_norm,
    rewrite_convolutions,
    rewritten,
    same_outputs,
)

pytestmark = pytest.mark.slow

REWRITTEN = (Cropped, Pointwise, Scaled)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    values = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return values.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else values


def filled(module: nn.Module) -> nn.Module:
    """Return the module in float64, no parameter left at 0 or 1."""
    module = module.double()
    for number, value in enumerate([*module.parameters(), *module.buffers()]):
        if value.is_floating_point():
            value.data = random(*value.shape, seed=number).abs() * 0.1 + 0.5 if value.ndim == 1 else (
                value.data + 0.1 * random(*value.shape, seed=number) / max(1, value[0].numel()) ** 0.5
            )  # fmt: skip
    return module


def passed(module: nn.Module, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the output and, by a random weighting of it, all gradients."""
    inputs = inputs.clone().requires_grad_()
    output = module(inputs)
    (output * random(*output.shape, seed=9)).sum().backward()
    grads = {name: value.grad for name, value in module.named_parameters()}
    assert inputs.grad is not None
    return {"output": output.detach(), "input": inputs.grad, **grads}


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], close: float = 1e-9) -> None:
    """Compare by name, relative to each tensor's own size: and a gradient that is 0 to the size of all of them."""
    assert one.keys() == other.keys()
    whole = max(float(value.norm()) for name, value in one.items() if name != "output")
    for name, value in one.items():
        size = float(value.norm()) + (0 if name == "output" else 1e-6 * whole)
        assert float((value - other[name]).norm()) <= close * size, name


@st.composite
def convolutions(draw: Any) -> tuple[nn.Conv2d, tuple[int, int]]:
    """A convolution of any kind that is rewritten somewhere, and the size of a map that it takes."""
    sides = st.tuples(st.integers(1, 7), st.integers(1, 7))
    kernel, stride, depthwise = draw(sides), draw(st.tuples(st.integers(1, 3), st.integers(1, 3))), draw(st.booleans())
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    groups, channels = (3, 3) if depthwise else (1, 4)
    options = {"stride": stride, "groups": groups, "bias": draw(st.booleans())}
    if draw(st.booleans()):
        return Conv2dSame(3, channels, kernel, **options), size
    padding = draw(st.tuples(st.integers(0, 5), st.integers(0, 5)))
    padding = tuple(max(padding[i], -((size[i] - kernel[i]) // 2)) for i in range(2))  # the kernel must fit
    return nn.Conv2d(3, channels, kernel, padding=padding, **options), size


@settings(max_examples=150, deadline=None)
@given(convolutions())
def test_a_rewritten_convolution_is_the_original(case: tuple[nn.Conv2d, tuple[int, int]]) -> None:
    conv, size = case
    original = filled(nn.Sequential(conv))
    inputs = random(2, 3, *size)
    other = rewrite_convolutions(copy.deepcopy(original), inputs)
    assert list(original.state_dict()) == list(other.state_dict())
    assert_equal(passed(original, inputs), passed(other, inputs))
    with torch.no_grad():  # another way through
        assert torch.allclose(original(inputs), other(inputs), rtol=1e-9, atol=1e-9)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 9), st.integers(1, 7), st.integers(1, 3), st.integers(0, 5))
def test_every_tap_that_meets_a_pixel_is_kept(size: int, kernel: int, stride: int, padding: int) -> None:
    if size + 2 * padding < kernel:
        return
    output = (size + 2 * padding - kernel) // stride + 1
    axis = cropped(size, output, kernel, stride, padding)
    meets = [t for t in range(kernel) if any(0 <= o * stride + t - padding < size for o in range(output))]
    assert set(meets) <= set(range(axis.first, axis.last))
    if meets:
        assert (axis.first, axis.last) == (min(meets), max(meets) + 1) or stride > 1
        assert (size + axis.before + axis.after - (axis.last - axis.first)) // stride + 1 == output
        assert axis.before == padding - axis.first >= 0


@pytest.mark.parametrize(
    ("conv", "size", "kind"),
    [
        (nn.Conv2d(4, 6, 1), (4, 4), Pointwise),
        (nn.Conv2d(4, 6, 3, padding=1), (1, 1), Pointwise),
        (nn.Conv2d(4, 4, 5, padding=2, groups=4), (1, 1), Scaled),
        (nn.Conv2d(4, 4, 5, padding=2, groups=4), (2, 1), Cropped),
        (nn.Conv2d(4, 4, 3, padding=1, groups=4), (2, 2), Cropped),
        (Conv2dSame(4, 4, 3, stride=2, groups=4), (8, 8), Cropped),
        (nn.Conv2d(4, 6, 7, padding=3), (2, 2), Cropped),
        (nn.Conv2d(4, 6, 1, padding=1, stride=2), (2, 2), nn.Conv2d),  # one tap, and yet not a product of each pixel
        (nn.Conv2d(4, 6, 1, padding=1, stride=3), (1, 1), nn.Conv2d),  # no tap meets a pixel
        (nn.Conv2d(4, 6, 3, padding=1), (8, 8), nn.Conv2d),
        (nn.Conv2d(4, 4, 3, padding=1, groups=2), (1, 1), nn.Conv2d),
        (nn.Conv2d(4, 8, 3, padding=1, groups=4), (1, 1), nn.Conv2d),
        (nn.Conv2d(4, 4, 3, padding=2, dilation=2), (1, 1), nn.Conv2d),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), (2, 2), nn.Conv2d),
        (nn.Conv2d(4, 4, 3, padding="same"), (1, 1), nn.Conv2d),
    ],
)
def test_what_is_rewritten_and_what_is_left_alone(conv: nn.Conv2d, size: tuple[int, int], kind: type) -> None:
    original = filled(nn.Sequential(conv))
    other = rewrite_convolutions(copy.deepcopy(original), random(2, 4, *size))
    assert type(other[0]) is kind
    assert_equal(passed(original, random(2, 4, *size)), passed(other, random(2, 4, *size)))


@pytest.mark.parametrize(
    "conv", [nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3, padding=1, groups=3), nn.Conv2d(3, 3, 5, padding=2)]
)
def test_another_size_than_the_one_it_was_made_for_is_an_error(conv: nn.Conv2d) -> None:
    module = rewrite_convolutions(nn.Sequential(conv).double(), random(2, 3, 1, 1))
    with pytest.raises(ValueError, match=r"rewritten for maps of \(1, 1\), called with \(1, 2\)"):
        module(random(2, 3, 1, 2))


def test_a_convolution_that_is_called_at_two_sizes_is_left_alone() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.once = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x).mean(dim=(2, 3)) + self.conv(self.once(x[:, :, :1])).mean(dim=(2, 3))

    module = rewrite_convolutions(Twice().double(), random(2, 3, 4, 4))
    assert type(module.conv) is nn.Conv2d
    assert type(module.once) is Pointwise


def test_looking_at_the_sizes_changes_no_statistics_and_no_mode() -> None:
    for training in (True, False):
        module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).double().train(training)
        before = copy.deepcopy(module.state_dict())
        rewrite_convolutions(module, random(2, 3, 4, 4))
        assert module.training == module[1].training == training
        assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
        assert not module[0]._forward_hooks


@pytest.mark.parametrize(
    ("name", "size", "some"),
    [
        ("test_resnet", (33, 33), True),
        ("test_efficientnet", (40, 24), True),
        ("test_vit", (160, 160), False),
        ("resnet18", (32, 32), True),
        ("mobilenetv3_small_050", (33, 33), True),
        ("mobilenetv3_small_050", (64, 64), True),
        ("lcnet_035", (40, 24), True),
        ("efficientnet_b0", (32, 32), True),
        ("convnext_atto", (64, 64), True),
        ("tf_efficientnet_lite0", (32, 32), True),
    ],
)
def test_whole_models_keep_outputs_and_gradients(name: str, size: tuple[int, int], some: bool) -> None:
    original = filled(timm.create_model(name, num_classes=0)).to(memory_format=torch.channels_last)
    inputs = random(4, 3, *size)
    fast = rewrite_convolutions(copy.deepcopy(original), inputs[:1])
    assert any(isinstance(module, REWRITTEN) for module in fast.modules()) == some
    assert list(original.state_dict()) == list(fast.state_dict())
    fast.load_state_dict(original.state_dict())
    assert_equal(passed(original.train(), inputs), passed(fast.train(), inputs), close=1e-5)
    before, after = original.state_dict(), fast.state_dict()  # running statistics too
    assert all(torch.allclose(before[key].double(), after[key].double(), rtol=1e-9, atol=1e-9) for key in before)
    folded = rewrite_convolutions(fold_batch_norm(original.eval(), inputs[:2]), inputs[:2])
    with torch.inference_mode():
        expected, scored = original(inputs), folded(inputs)
    assert torch.allclose(expected, scored, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


def test_a_model_that_would_change_is_kept_as_it_is() -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 1)).double()
    module[0].register_forward_pre_hook(lambda _module, inputs: (inputs[0] + 1,))  # a rewritten one would lose it
    example = random(2, 3, 4, 4)
    assert rewritten(module, example) is module
    plain = nn.Sequential(nn.Conv2d(3, 3, 1)).double()
    fast = rewritten(plain, example)
    assert type(fast[0]) is Pointwise
    assert type(plain[0]) is nn.Conv2d
    assert same_outputs(plain, fast, example)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "test_resnet", "test_efficientnet", "test_vit"])
def test_folding_is_exact_to_rounding(name: str) -> None:
    backbone = load_backbone(Learner(kind="probe", backbone=name, weights="scratch"))
    for module in backbone.module.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as after training: nothing is 0 or 1
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                tensor.data.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(1))
    size = backbone.size
    inputs = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    folded = fold_batch_norm(backbone.module, inputs)
    with torch.inference_mode():  # on other inputs than those that decided
        before, after = backbone.module(inputs.flip(3) * 2), folded(inputs.flip(3) * 2)
    assert torch.allclose(before, after, rtol=1e-3, atol=1e-3 * float(before.abs().max()))
    has_norms = any(isinstance(m, torch.nn.BatchNorm2d) for m in backbone.module.modules())
    assert has_norms == (folded is not backbone.module) or not has_norms


def test_folding_is_given_up_where_it_would_change_the_output() -> None:
    class Crossed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = torch.nn.Conv2d(3, 3, 1), torch.nn.BatchNorm2d(3)
            torch.nn.init.constant_(self.norm.weight, 3.0)
            torch.nn.init.constant_(self.norm.bias, 1.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.conv(self.norm(x))
            return result

    module = Crossed().eval()
    assert fold_batch_norm(module, torch.rand(2, 3, 4, 4)) is module
