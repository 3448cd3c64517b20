"""What `labelwise doctor` says of how fits would share a GPU, without one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from labelwise.cli.doctor import _fits  # the name `doctor` of the package is the command
from labelwise.models import depthwise


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A GPU that can be set: its multiprocessors, how many there are, and whether Triton is installed."""
    found = SimpleNamespace(multi_processor_count=132, count=1, triton=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found.count)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: found)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (60 * 2**30, 79.5 * 2**30))
    monkeypatch.setattr(depthwise, "find_spec", lambda _name: found if found.triton else None)
    return found


@pytest.mark.parametrize(("processors", "at_once"), [(132, 32), (80, 16), (58, 8)])
def test_fits_that_share_a_gpu(card: SimpleNamespace, processors: int, at_once: int) -> None:
    card.multi_processor_count = processors
    found = f"packed, {at_once} at once; with Triton; 60.0 of 79.5 GiB free; 1 GPU"
    assert _fits() == ("fits on a GPU", found, "")


def test_a_missing_triton_is_said_with_what_it_means(card: SimpleNamespace) -> None:
    card.triton, card.count = False, 2
    _, found, advice = _fits()
    assert found == "packed, 32 at once; without Triton; 60.0 of 79.5 GiB free; 2 GPUs, a process each"
    assert advice.startswith("depthwise convolutions are slower")


@pytest.mark.parametrize(("mps", "turns"), [(False, "one a core"), (True, "one after the other")])
def test_no_cuda(monkeypatch: pytest.MonkeyPatch, mps: bool, turns: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert _fits() == ("fits on a GPU", f"none: fits run {turns}", "")
