"""Packs of models: each computes what the single model does, or says why it cannot be packed."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from labelwise.models.classifier import Classifier
from labelwise.models.layout import Flat, parameters_of, statistics_of
from labelwise.models.packed import Pack, Unpackable, _differences, pack
from models.shared_device import classifier

PACKABLE = ("test_efficientnet", "test_resnet", "tf_efficientnet_lite0", "mobilenetv3_small_050", "convnext_atto")


def example(size: int = 32, count: int = 4) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, size, size, generator=rng).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", PACKABLE)
def test_architectures_that_can_be_packed(name: str) -> None:
    """Making a pack checks outputs and gradients in float64; here also evaluation, with statistics of its own."""
    single, images = classifier(name), example()
    made = pack(single, 3, "plain", images)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        others = [copy.deepcopy(single) for _ in range(3)]
        for other in others:
            for value in [*other.parameters(), *other.buffers()]:
                if value.is_floating_point():
                    value.data.mul_(1 + 0.1 * torch.rand_like(value))
    for place, other in enumerate(others):
        state = dict(other.state_dict())
        made.weights.write(place, made.weights.layout.row(state)[None])
        made.statistics.write(place, made.statistics.layout.row(state)[None])
    made.set_mode("score")
    inputs = [images.roll(place, 2) for place in range(3)]
    with torch.no_grad():
        logits = made(torch.cat(inputs, dim=1).contiguous(memory_format=torch.channels_last))
        for place, other in enumerate(others):
            expected = other.eval()(inputs[place])
            assert torch.allclose(logits[place], expected, atol=1e-3 * float(expected.abs().max()))


def test_the_check_is_in_full_precision_where_models_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU a model alone computes in bfloat16, and its check there must not: sound packs would be refused."""
    single, images = classifier("tf_efficientnet_lite0"), example()
    made = Pack(single, 2, "plain")
    exact, gradients = _differences(single, made, images, "score")
    monkeypatch.setattr("labelwise.models.classifier.precision", lambda _: torch.autocast("cpu", torch.bfloat16))
    rounded = single.eval()(images)
    assert not torch.equal(single.head(single.backbone(images)), rounded)
    assert (exact, gradients) == _differences(single, made, images, "score")
    assert exact < 1e-4


@pytest.mark.parametrize(
    ("name", "size", "why"),
    [
        ("test_vit", 160, "cls_token is a parameter"),
        pytest.param("densenet121", 32, "differ from a single model's|do not work on packed", marks=pytest.mark.slow),
    ],
)
def test_architectures_that_cannot_be_packed_say_why(name: str, size: int, why: str) -> None:
    with pytest.raises(Unpackable, match=why):
        pack(classifier(name, size=size), 2, "plain", example(size))


class Strange(nn.Module):
    """A backbone of two convolutions, of which the second is given."""

    def __init__(self, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), second

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.second(self.first(x)).mean((2, 3)))


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (nn.Conv2d(6, 6, 3, dilation=2), "second is an unusual convolution"),
        (nn.Conv2d(6, 6, 3, padding="same"), "the padding 'same'"),
        (nn.Conv2d(6, 6, 3, padding=1, padding_mode="circular"), "unusual convolution"),
        (nn.BatchNorm2d(6, track_running_stats=False), "keeps no statistics"),
        (nn.Dropout(0.1), "draws random numbers"),
        (nn.GroupNorm(2, 6), "differ from a single model's|do not work"),
        (nn.ChannelShuffle(2), "differ from a single model's"),
        (nn.Softmax(1), "differ from a single model's"),
    ],
)
def test_layers_that_cannot_be_packed_say_why(second: nn.Module, why: str) -> None:
    with pytest.raises(Unpackable, match=why):
        pack(Classifier(Strange(second), 6, 3), 2, "plain", example(8))


@pytest.mark.parametrize(
    "second",
    [
        nn.Conv2d(6, 6, 3, stride=2, groups=6, bias=True),
        nn.Conv2d(6, 12, 5, padding=2, groups=6),
        nn.Conv2d(6, 4, 3, padding=1, groups=2),
        nn.Conv2d(6, 4, (1, 3), stride=(2, 1), padding=(0, 1)),
        nn.Conv2d(6, 6, 2, stride=2, groups=6),
        nn.MaxPool2d(3, 2, 1),
        nn.BatchNorm2d(6, affine=False),
        nn.Dropout(0.0),
        nn.Sequential(nn.Conv2d(6, 6, 1), nn.Hardswish(), nn.AdaptiveAvgPool2d(2)),
    ],
)
def test_layers_of_every_known_kind(second: nn.Module) -> None:
    pack(Classifier(Strange(second), 6 if not hasattr(second, "out_channels") else second.out_channels, 3), 3,
         "plain", example(9))  # fmt: skip


def test_rows_are_read_where_they_were_written() -> None:
    model = classifier("test_resnet")
    for layout in (parameters_of(model), statistics_of(model)):
        flat = Flat(layout, 3, torch.zeros(1), copies=2)
        rows = [torch.randn(2, len(layout)) for _ in range(3)]
        for place in (2, 0, 1):
            flat.write(place, rows[place])
        for place, row in enumerate(rows):
            assert torch.equal(flat.read(place), row)
            for name, view in flat.views(1).items():
                assert torch.equal(view[place], layout.tensors(row[1])[name])
        for place in range(3):
            assert (flat.values[0][flat.place == place].sort().values == rows[place][0].sort().values).all()
        row = layout.row(dict(model.state_dict()))
        assert all(torch.equal(value, model.state_dict()[name]) for name, value in layout.tensors(row).items())
