"""Images of people's folders, decoded in other processes: with a time and a memory limit, and no way to harm us."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import TimeoutError
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from labelwise.data.decode import AwayError, ImageInfo, UnreadableImageError, decode, inspect
from labelwise.labelling.folder import CHANGED, read_inside

MAX_PIXELS = 100_000_000
"""An image above this is refused: 10,000 x 10,000."""
SECONDS = 20.0
"""Time that one image may take."""
MEMORY = 4 * 2**30
"""Address space of a decoding process, in bytes: several times the largest image that is read."""
VIEW, THUMB = 1280, 256
"""Longest sides of what the page shows, in pixels."""
QUALITY = 88


class Decoder:
    """Runs the functions below in processes of its own."""

    def __init__(self, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        with uninterrupted():
            self.pool = ProcessPool(max_workers=processes, initializer=_limit, context=context)
            self.pool.schedule(_ready)  # starts them: the first image does not wait for that

    def view(self, root: Path, path: str, side: int, sha256: str, bits: int = 0) -> bytes:
        """Return a JPEG of an image without its metadata. bits: see `decode`.

        Errors: UnreadableImageError, AwayError for other content than that of `sha256`.
        """
        return bytes(self._result(self.pool.schedule(_view, args=(root, path, side, sha256, bits), timeout=SECONDS)))

    def inspections(self, root: Path, paths: list[str]) -> list[ImageInfo | UnreadableImageError]:
        """Return what each image is, or why it cannot be read, in order."""
        futures = [self.pool.schedule(_inspect, args=(root, path), timeout=SECONDS) for path in paths]
        found: list[ImageInfo | UnreadableImageError] = []
        for future in futures:
            try:
                found.append(self._result(future))
            except UnreadableImageError as error:
                found.append(error)
        return found

    def close(self) -> None:
        """Stop the processes: those at work are given a moment."""
        self.pool.close()  # type: ignore[no-untyped-call]
        try:
            self.pool.join(2)
        except TimeoutError:
            self.pool.stop()  # type: ignore[no-untyped-call]
            self.pool.join()

    def _result(self, future: Any) -> Any:
        try:
            return future.result()
        except TimeoutError:
            raise UnreadableImageError(f"it took longer than {SECONDS:.0f} s to decode") from None
        except (ProcessExpired, MemoryError):
            raise UnreadableImageError("decoding it failed; it may need too much memory") from None


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Start processes here that a Ctrl-C at the terminal does not reach: the one that people started ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # where it starts later, it lets SIGINT in again before the process is born
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _limit() -> None:
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _ready() -> None:
    """Do nothing, in a process that has loaded what it needs."""


def _inspect(root: Path, path: str) -> ImageInfo:
    return inspect(read_inside(root, path), MAX_PIXELS, keep=0)


def _view(root: Path, path: str, side: int, sha256: str, bits: int) -> bytes:
    blob = read_inside(root, path)
    if hashlib.sha256(blob).hexdigest() != sha256:
        raise AwayError(CHANGED)
    image = decode(blob, MAX_PIXELS, bits)
    image.thumbnail((side, side))
    image.info.clear()  # Pillow would write a comment and a profile of the old file into the new one
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
