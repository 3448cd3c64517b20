"""Images by index: small ones as one uint8 array, mapped from the cache; others decoded as they are needed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Indices
from labelwise.data.decode import DECODER, UnreadableImageError, decode
from labelwise.data.squares import to_square
from labelwise.errors import InputError

T = TypeVar("T")
SMALL = 128
"""Images whose sides are all at most this many pixels are kept as one array, if they are all of one size."""
Progress = Callable[[str, int, int], None]
"""Called with (what, done, total) during long work."""


def unseen(_what: str, _done: int, _total: int) -> None:
    """Take progress that nobody looks at."""


@dataclass(frozen=True)
class ImageSet:
    """N images. `pixels` is (N, H, W, 3) uint8 where they are small and equal in size, else None.

    names: what to call each image in messages and reports; fingerprint: stands for the content of all of them;
    small: no side is above 128 pixels; shas: (N, 32) uint8, SHA-256 of the encoded images, None for an array in memory;
    bits: by which images of more than 8 are scaled, 0 where there are none; resize: how they become squares: crop, pad
    or stretch (see `to_square`); there: False where these are names alone, of data without images.
    """

    names: Sequence[str]
    fingerprint: str
    small: bool
    pixels: NDArray[np.uint8] | None
    blob: Callable[[int], bytes] | None
    max_pixels: int
    shas: NDArray[np.uint8] | None = None
    bits: int = 0
    resize: str = "crop"
    there: bool = True

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def hashes(self) -> NDArray[np.uint8]:
        """What stands for each image's content, (N, 32) uint8: of arrays in memory, of their pixels and shape."""
        if self.shas is not None:
            return self.shas
        assert self.pixels is not None
        shape = str(self.pixels.shape[1:]).encode()
        return hashes_of(hashlib.sha256(shape + image.tobytes()).digest() for image in self.pixels)

    @property
    def way(self) -> str:
        """What stands for the way from content to squares, beside size and crop: part of every cache's key."""
        decoder = "no decoder" if self.pixels is not None and self.shas is None else f"decoder {DECODER}"
        resized = "resized from pixels" if self.pixels is not None else "resized when decoded"
        return f"{decoder}, {self.bits} bits, {self.resize}, {resized}"

    def squares(self, indices: Indices, size: int, crop: float) -> NDArray[np.uint8]:
        """Decode, resize and centre-crop the images at `indices`: (n, size, size, 3) uint8.

        Errors: InputError for an image that could be read before and cannot be now.
        """
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes outside the interpreter's lock
            return np.stack(list(pool.map(lambda index: self._square(index, size, crop), indices.tolist())))

    def readable_squares(self, indices: Indices, size: int, crop: float) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
        """Return which of the images at `indices` can be read at present, (n,), and `squares` of those."""

        def one(index: int) -> NDArray[np.uint8] | None:
            try:
                return self._square(index, size, crop)
            except InputError:
                return None

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = list(pool.map(one, indices.tolist()))
        there = np.array([square is not None for square in found], bool)
        squares = [square for square in found if square is not None]
        return there, np.array(squares, np.uint8).reshape(-1, size, size, 3)

    def part(self, indices: Indices) -> ImageSet:
        """Return the images at `indices` alone, in memory (pixels, or encoded): what another machine can be sent."""
        names = [self.names[index] for index in indices]
        shas = None if self.shas is None else self.shas[indices]
        if self.pixels is not None:
            return replace(self, names=names, pixels=np.array(self.pixels[indices]), blob=None, shas=shas)
        blobs = [self._read(int(index), lambda blob: blob) for index in indices]
        return replace(self, names=names, blob=blobs.__getitem__, shas=shas)

    def _square(self, index: int, size: int, crop: float) -> NDArray[np.uint8]:
        return self._read(
            index, lambda blob: to_square(decode(blob, self.max_pixels, self.bits), size, crop, self.resize)
        )

    def _read(self, index: int, use: Callable[[bytes], T]) -> T:
        """Return what `use` makes of an encoded image; of another image than the one that was read first, nothing."""
        if not self.there:
            raise InputError(f"{self.names[index]}: the data are features without images, and an image is needed here")
        assert self.blob is not None
        try:
            blob = self.blob(index)
            if self.shas is not None and hashlib.sha256(blob).digest() != self.shas[index].tobytes():
                raise UnreadableImageError("its content is another one")
            return use(blob)
        except (UnreadableImageError, OSError) as error:
            raise InputError(f"{self.names[index]} was changed or removed since it was read first: {error}") from None


def hashes_of(digests: Iterable[bytes]) -> NDArray[np.uint8]:
    """Return SHA-256 digests as (N, 32) uint8."""
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)
