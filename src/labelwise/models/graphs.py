"""CUDA graphs: a step that is captured once is started by one call instead of a thousand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from labelwise.errors import InputError

KEPT = "run the same command again: finished rounds are kept"
_ONE_AT_A_TIME = threading.Lock()
WARM_UP = 3
"""Times that a step is computed before it is captured: kernels are compiled and memory is taken meanwhile."""


class Captured:
    """A function of tensors that stay where they are. Called, it is replayed where it could be captured, else computed.

    failure: why it could not be captured, in words; "" where it was, or on a device without graphs.
    """

    def __init__(self, function: Callable[[], None], device: torch.device) -> None:
        self.function, self.failure = function, ""
        self._graph = self._captured() if device.type == "cuda" else None

    def __call__(self) -> None:
        if self._graph is None:
            self.function()
        else:
            self._graph.replay()

    def _captured(self) -> torch.cuda.CUDAGraph | None:
        with _ONE_AT_A_TIME:  # other threads go on computing, but only one captures
            torch.cuda.synchronize()  # what was made on other streams is there
            stream, graph = _capturing(), torch.cuda.CUDAGraph()
            with torch.cuda.stream(stream):  # current again also where a capture's end fails
                for _ in range(WARM_UP):
                    self.function()
                torch.cuda.synchronize()
                try:
                    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                        self.function()
                except RuntimeError as error:
                    self.failure = _first(error)
                    self._failed = graph  # its end would free what other graphs of the stream use
                    torch.cuda.synchronize()
                    return None
            return graph


def _first(error: RuntimeError) -> str:
    """Return why a capture failed, which its end hides. Errors: OutOfMemoryError is raised again."""
    cause = error.__context__ or error
    for found in (error, cause):
        if isinstance(found, torch.cuda.OutOfMemoryError):  # without a graph, each step would run into it again
            raise found
    return (str(cause).strip().splitlines() or ["no reason given"])[0]


def _capturing() -> Any:
    """Return the stream to capture on: the current one, or where that is the default one, a stream of its own.

    Libraries keep a workspace for each stream, and a graph keeps that of the stream it was captured on. PyTorch has 32
    streams, which it gives out in turn: with a new one for each graph, graphs that run at the same time would share it.
    """
    device = torch.device("cuda", torch.cuda.current_device())
    current = torch.cuda.current_stream(device)
    return own_stream(device) if current == torch.cuda.default_stream(device) else current


def own_stream(device: torch.device) -> Any:
    """Return a new stream of a GPU; None for a device that has none."""
    return torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]


def on(stream: Any) -> AbstractContextManager[Any]:
    """Return the context in which work goes to a stream; None: the device has none."""
    return nullcontext() if stream is None else torch.cuda.stream(stream)


@contextmanager
def device_errors() -> Iterator[None]:
    """Turn a device's failure into one line for the user. Errors: InputError; any other error as it is."""
    try:
        yield
    except RuntimeError as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if isinstance(error, torch.cuda.OutOfMemoryError):
            raise InputError(
                f"the GPU has too little memory left ({line}); end what else uses it, then {KEPT}"
            ) from None
        if "CUDA" in str(error):
            raise InputError(f"the GPU failed ({line}); {KEPT}") from None
        raise
