"""How fits share a GPU: which way, how many at once, and what is said where there is too little memory."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from labelwise.errors import InputError
from labelwise.models import sharing
from labelwise.models.packed import Unpackable, WrongKernels
from labelwise.models.sharing import PACKS, SINGLES, Sharing, share
from models.shared_device import Shared, classifier

GIB = 2**30


class Card:
    """A GPU that is not there: its memory, and what each lane takes of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, free: float, lane: float, failure: str = "") -> None:
        self.free, self.lane, self.failure, self.lanes = free, lane, failure, 0
        monkeypatch.setattr(sharing, "lane", self.make)
        monkeypatch.setattr(sharing, "packed", lambda *_: None)
        monkeypatch.setattr(sharing, "processors", lambda _: 132)
        for name in ("flash", "mem_efficient", "cudnn"):
            monkeypatch.setattr(torch.backends.cuda, f"enable_{name}_sdp", lambda _: None)
        monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)  # put back afterwards
        for name in ("synchronize", "empty_cache"):
            monkeypatch.setattr(torch.cuda, name, lambda *_: None)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (int(self.free * GIB), 80 * GIB))

    def make(self, *_: object) -> Any:
        if self.lane > self.free:
            raise torch.cuda.OutOfMemoryError("Tried to allocate")
        self.free -= self.lane
        self.lanes += 1
        model = SimpleNamespace(way="triton")
        failures = [self.failure] if self.failure else []
        return SimpleNamespace(trainer=SimpleNamespace(model=model), failures=failures, most=48, bytes_of_fits=0)


def shared_by(name: str = "test_efficientnet", **changes: Any) -> Sharing:
    one = Shared.of(name, **changes)
    source = SimpleNamespace(device=torch.device("cuda"), pixels=one.source.pixels)
    return share(one.model, source, one.recipe, one.example)  # type: ignore[arg-type]


def test_packs_fill_a_card_that_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch, free=78, lane=5)
    found = shared_by()
    assert (found.way, found.side_by_side, card.lanes) == ("packed, 32 at once", 48 * PACKS, PACKS)
    assert found.engine is not None


def test_less_memory_means_fewer_packs_and_never_another_width(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Card(monkeypatch, free=8, lane=5)
    with caplog.at_level(logging.WARNING):
        found = shared_by()
    assert (found.way, found.side_by_side) == ("packed, 32 at once", 48)
    assert "fewer fits at once, with the same results" in caplog.text


def test_too_little_memory_for_one_pack_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    Card(monkeypatch, free=2, lane=5)
    with pytest.raises(InputError, match=r"2\.0 GiB of the GPU's memory are free.*learner\.device=cpu"):
        shared_by()


def no_models(*_: object) -> None: ...


def test_what_cannot_be_packed_or_captured_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch, free=78, lane=1, failure="operation not permitted")

    def no(*_: object) -> None:
        raise Unpackable("cls_token is a parameter")

    monkeypatch.setattr(sharing, "packed", no)
    monkeypatch.setattr(sharing, "unpacked", no_models)
    found = shared_by()
    assert card.lanes == SINGLES
    assert found.way.startswith(
        "as graphs of single models: not packed, cls_token is a parameter, computed step by step"
    )


def test_models_that_draw_random_numbers_train_alone() -> None:
    one = Shared.of("test_efficientnet")
    one.model.backbone.act = torch.nn.Dropout(0.5)
    found = share(one.model, SimpleNamespace(device=torch.device("cuda")), one.recipe, one.example)  # type: ignore[arg-type]
    assert (found.engine, found.side_by_side) == (None, 1)
    assert "backbone.act draws random numbers" in found.way


def test_a_cpu_shares_nothing() -> None:
    one = Shared.of("test_efficientnet")
    assert share(one.model, one.source, one.recipe, one.example) is sharing.ALONE


@pytest.mark.parametrize(("processors", "places"), [(132, 32), (108, 32), (82, 16), (28, 8)])
def test_the_width_of_a_pack_is_the_cards(processors: int, places: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "processors", lambda _: processors)
    assert sharing.pack_width(torch.device("cuda")) == places
    assert sharing.pack_width(torch.device("cuda"), 224 * 224) == max(1, places * 64 * 64 // (224 * 224))


def test_kernels_that_do_not_work_are_said_once_and_done_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = Shared.of("test_efficientnet")
    real = sharing.pack

    def broken(single: Any, count: int, way: Any, example: torch.Tensor, copies: int = 1) -> Any:
        if way == "triton":
            raise WrongKernels("the kernels (triton) give other results than a single model")
        return real(single, count, way, example, copies)

    monkeypatch.setattr(sharing, "pack", broken)
    with caplog.at_level(logging.WARNING):
        train, check = sharing.packed(one.model, 2, 1, one.recipe, one.example, "triton")()
    assert (train.way, check.way) == ("plain", "plain")
    assert caplog.text.count("the Triton kernels do not work here") == 1


def test_what_no_kernels_can_pack_is_not_their_fault(caplog: pytest.LogCaptureFixture) -> None:
    model, example = classifier("test_vit", size=160), torch.zeros(2, 3, 160, 160)
    with caplog.at_level(logging.WARNING), pytest.raises(Unpackable):
        sharing.packed(model, 2, 1, Shared.of("test_efficientnet").recipe, example, "triton")
    assert not caplog.text
