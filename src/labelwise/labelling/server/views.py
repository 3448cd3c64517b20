"""Pictures for the page: decoded apart, made smaller, without metadata, and kept in the project's cache."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from labelwise.data.decode import DECODER, DepthUnknownError, UnreadableImageError
from labelwise.labelling.decoding import THUMB, VIEW, Decoder
from labelwise.threads import cores


class Views:
    """The pictures of a project. root: the images' folder; cache: where made ones are kept; bits: returns by which

    pixels of more than 8 bits are scaled, as far as that is known.
    """

    sides = {"view": VIEW, "thumb": THUMB}  # noqa: RUF012

    def __init__(self, root: Path, cache: Path, bits: Callable[[], int] = int) -> None:
        self.bits = bits
        self.root, self.cache = root, cache / "views"
        self._decoder: Decoder | None = None
        self._closed = False
        self._lock = threading.Lock()

    def start(self) -> Decoder | None:
        """Return the decoding processes, started where they were not; None once they were stopped."""
        with self._lock:
            if self._decoder is None and not self._closed:
                self._decoder = Decoder(cores())
            return self._decoder

    def get(self, image: int, path: str, size: str) -> bytes | None:
        """Return a JPEG; None once it was stopped, and while the depth of 16-bit images is not known.

        image: id; size: view or thumb. Errors: UnreadableImageError.
        """
        bits = self.bits()
        kept = self.cache / f"{image}-{self._stamp(path)}-{DECODER}-{bits}-{size}.jpg"
        try:
            return kept.read_bytes()
        except OSError:
            decoder = self.start()
            if decoder is None:
                return None
            try:
                made = decoder.view(self.root, path, self.sides[size], bits)
            except DepthUnknownError:  # all images are being read, which tells it
                return None
        self._keep(kept, made)
        return made

    def _stamp(self, path: str) -> str:
        try:
            stat = os.stat(self.root / path)
        except OSError as error:
            raise UnreadableImageError(f"unreadable: {error.strerror}") from None
        return f"{stat.st_size:x}-{stat.st_mtime_ns:x}"

    def _keep(self, path: Path, content: bytes) -> None:
        temporary = path.with_name(f".{path.name}-{os.urandom(4).hex()}")
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(path)
        except OSError:  # a full disk: it is made again the next time
            temporary.unlink(missing_ok=True)

    def close(self) -> None:
        """Stop decoding, for good."""
        with self._lock:  # the processes may be starting
            self._closed = True
            decoder, self._decoder = self._decoder, None
        if decoder is not None:
            decoder.close()
