"""Pictures for the page: decoded apart, made smaller, without metadata, and kept in the project's cache by content."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from labelwise.cache import DamagedError, sealed, unsealed, warn
from labelwise.config import digest
from labelwise.data.decode import DECODER, AwayError, DepthUnknownError
from labelwise.labelling.decoding import THUMB, VIEW, Decoder
from labelwise.labelling.folder import read_inside
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
        self._hashes: dict[str, tuple[tuple[int, ...], str]] = {}

    def start(self) -> Decoder | None:
        """Return the decoding processes, started where they were not; None once they were stopped."""
        with self._lock:
            if self._decoder is None and not self._closed:
                self._decoder = Decoder(cores())
            return self._decoder

    def content(self, path: str) -> str:
        """Return the SHA-256 of an image's file, which is read once as long as it stays the same. Errors: AwayError."""
        try:
            stat = os.stat(self.root / path)
        except OSError as error:
            raise AwayError(f"unreadable: {error.strerror}") from None
        stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        known = self._hashes.get(path)
        if known is None or known[0] != stamp:
            known = stamp, hashlib.sha256(read_inside(self.root, path)).hexdigest()
            self._hashes[path] = known
        return known[1]

    def get(self, path: str, content: str, size: str) -> bytes | None:
        """Return a JPEG; None once it was stopped, and while the depth of 16-bit images is not known.

        content: the file's; size: view or thumb. Errors: UnreadableImageError; AwayError where the file has another
        content by now.
        """
        bits = self.bits()
        kept = self.cache / f"{content}-{digest(DECODER, str(bits), str(self.sides[size]))}"
        try:
            return unsealed(kept.name, kept.read_bytes())
        except DamagedError as error:
            warn(f"a picture in the cache, {kept}, is damaged and is made again: {error}")
        except OSError:
            pass
        decoder = self.start()
        if decoder is None:
            return None
        try:
            made = decoder.view(self.root, path, self.sides[size], content, bits)
        except DepthUnknownError:  # all images are being read, which tells it
            return None
        self._keep(kept, sealed(kept.name, made))
        return made

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
