from __future__ import annotations

import http.client
import io
import sys
import types
import urllib.error
from collections.abc import Callable
from email.message import Message
from typing import Any

import pytest

from labelwise import hub
from labelwise.errors import InputError


def answer(monkeypatch: pytest.MonkeyPatch, does: Callable[..., Any]) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    monkeypatch.setattr("urllib.request.urlopen", does)


def fails(error: Exception) -> Callable[..., Any]:
    def urlopen(*_: Any, **__: Any) -> Any:
        raise error

    return urlopen


def status(code: int) -> Exception:
    return urllib.error.HTTPError("https://huggingface.co", code, "told", Message(), io.BytesIO())


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("code", [401, 404, 405, 429])
def test_an_endpoint_that_answers_is_reachable(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    answer(monkeypatch, fails(status(code)))
    assert hub.require_hub("it", cached=False, otherwise="do so")


def test_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, lambda *_, **__: io.BytesIO())
    assert hub.require_hub("it", cached=False, otherwise="do so")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (urllib.error.URLError(OSError(-2, "no such name")), "cannot be reached (no such name)"),
        (TimeoutError("timed out"), "cannot be reached (timed out)"),
        (http.client.BadStatusLine("nonsense"), "cannot be reached (nonsense)"),
        (status(403), "answers 403"),
        (status(502), "answers 502"),
    ],
)
def test_unreachable_is_one_line_at_once_unless_there_is_a_copy(
    monkeypatch: pytest.MonkeyPatch, error: Exception, why: str
) -> None:
    answer(monkeypatch, fails(error))
    assert not hub.require_hub("it", cached=True, otherwise="do so")
    with pytest.raises(InputError) as raised:
        hub.require_hub("it", cached=False, otherwise="do so")
    message = str(raised.value)
    assert message.startswith("it: not on this machine, and https://huggingface.co ")
    assert why in message
    assert message.endswith("; do so")
    assert "\n" not in message


def test_offline_by_wish_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, fails(AssertionError("asked")))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        hub.require_hub("it", cached=False, otherwise="do so")


def test_another_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    answer(monkeypatch, lambda request, **_: asked.append(request.full_url) or io.BytesIO())
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")
    hub.require_hub("it", cached=False, otherwise="do so")
    monkeypatch.setenv("HF_ENDPOINT", "no address")
    with pytest.raises(InputError, match="no address cannot be reached"):
        hub.require_hub("it", cached=False, otherwise="do so")
    assert asked == ["https://mirror.example"]


def test_going_offline_reaches_libraries_that_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    loaded = types.SimpleNamespace(config=types.SimpleNamespace(HF_HUB_OFFLINE=False))
    monkeypatch.setitem(sys.modules, "datasets", loaded)  # type: ignore[arg-type]
    hub.go_offline()
    assert constants.HF_HUB_OFFLINE is True
    assert loaded.config.HF_HUB_OFFLINE is True
