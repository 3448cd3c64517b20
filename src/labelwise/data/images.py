"""Images by index: small ones as one uint8 array, mapped from the cache; others decoded as they are needed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Indices
from labelwise.cache import cache_folder, cached, mapped, mapped_npy
from labelwise.config import digest
from labelwise.data.decode import (
    DECODER,
    LOOK,
    ImageInfo,
    UnreadableImageError,
    decode,
    inspect,
    look_of_pixels,
    to_square,
)
from labelwise.data.duplicates import Looks
from labelwise.errors import InputError

T = TypeVar("T")
SMALL = 128
"""Images whose sides are all at most this many pixels are kept as one array, if they are all of one size."""
LAYOUT = "3"  # part of the cache's keys: changes when what is stored there does
CHUNK = 256  # images decoded ahead of what is written
THREADS_PAY = 16384  # bytes of an image: below, most of the work is Python's own, and threads only get in its way
Progress = Callable[[str, int, int], None]
"""Called with (what, done, total) during long work."""


def unseen(_what: str, _done: int, _total: int) -> None:
    """Take progress that nobody looks at."""


@dataclass(frozen=True)
class ImageSet:
    """N images. `pixels` is (N, H, W, 3) uint8 where they are small and equal in size, else None.

    names: what to call each image in messages and reports; fingerprint: stands for the content of all of them;
    small: no side is above 128 pixels; shas: (N, 32) uint8, SHA-256 of the encoded images, None for an array in memory;
    decoder: what decodes them, "" for such an array.
    """

    names: Sequence[str]
    fingerprint: str
    small: bool
    pixels: NDArray[np.uint8] | None
    blob: Callable[[int], bytes] | None
    max_pixels: int
    shas: NDArray[np.uint8] | None = None
    decoder: str = ""

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def hashes(self) -> NDArray[np.uint8]:
        """What stands for each image's content, (N, 32) uint8: of arrays in memory, of their pixels and shape."""
        if self.shas is not None:
            return self.shas
        assert self.pixels is not None
        shape = str(self.pixels.shape[1:]).encode()
        found = b"".join(hashlib.sha256(shape + image.tobytes()).digest() for image in self.pixels)
        return np.frombuffer(found, np.uint8).reshape(-1, 32)

    @property
    def way(self) -> str:
        """How a backbone's input is made from an image, as far as it is decided here: part of the caches' keys."""
        return f"{self.decoder} {'resized from pixels' if self.pixels is not None else 'resized when decoded'}"

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
        return self._read(index, lambda blob: to_square(decode(blob, self.max_pixels), size, crop))

    def _read(self, index: int, use: Callable[[bytes], T]) -> T:
        """Return what `use` makes of an encoded image; of another image than the one that was read first, nothing."""
        assert self.blob is not None
        try:
            blob = self.blob(index)
            if self.shas is not None and hashlib.sha256(blob).digest() != self.shas[index].tobytes():
                raise UnreadableImageError("its content is another one")
            return use(blob)
        except (UnreadableImageError, OSError) as error:
            raise InputError(f"{self.names[index]} was changed or removed since it was read first: {error}") from None


@dataclass(frozen=True)
class Inspection:
    """What one complete look at every image found, the R readable ones of N.

    looks: (R, LOOK * LOOK) uint8 grey thumbnails, or None; readable: (R,) positions; unreadable: why, by position.
    """

    looks: Looks | None
    readable: Indices
    unreadable: dict[int, str]


def from_array(pixels: NDArray[np.uint8], names: Sequence[str], looks: bool = True) -> tuple[ImageSet, Inspection]:
    """Take (N, H, W, 3) uint8 images that are in memory already; `looks`: make their thumbnails too."""
    pixels = np.ascontiguousarray(pixels)
    fingerprint = hashlib.sha256(pixels.data).hexdigest()[:16]
    images = ImageSet(names, fingerprint, max(pixels.shape[1:3]) <= SMALL, pixels, None, 0)
    thumbnails = _thumbnails([look_of_pixels(image) for image in pixels]) if looks else None
    return images, Inspection(thumbnails, np.arange(len(pixels)), {})


def _thumbnails(looks: list[bytes]) -> Looks:
    return np.frombuffer(b"".join(looks), np.uint8).reshape(-1, LOOK * LOOK)


def from_blobs(
    blob: Callable[[int], bytes], names: Sequence[str], key: str, max_pixels: int, progress: Progress
) -> tuple[ImageSet, Inspection]:
    """Decode every encoded image once, and keep what was learned (and small images' pixels) in the cache.

    key: stands for the content without reading it (paths, sizes, times); an unchanged source is not decoded again, but
    what could not be read for want of its file is tried again. The image set holds the readable images alone.
    """
    folder = cache_folder() / "images" / digest(LAYOUT, DECODER, key, str(len(names)), str(max_pixels))

    def build(target: Path) -> None:
        _inspect_all(target, blob, len(names), max_pixels, progress)

    def current(entry: Path) -> bool:
        return not any(_there(blob, index) for index in json.loads((entry / "meta.json").read_text())["away"])

    def load(entry: Path) -> tuple[ImageSet, Inspection]:
        meta = json.loads((entry / "meta.json").read_text())
        found = Inspection(
            mapped_npy(entry / "looks.npy"),
            np.load(entry / "readable.npy"),
            {int(i): why for i, why in meta["unreadable"].items()},
        )
        readable, pixels = found.readable, None
        if meta["shape"]:
            pixels = mapped(entry / "pixels.bin", np.uint8, (len(readable), *meta["shape"]))
        return ImageSet(
            names if len(readable) == len(names) else [names[i] for i in readable],
            meta["fingerprint"], meta["small"], pixels, lambda index: blob(int(readable[index])), max_pixels,
            np.load(entry / "shas.npy"), DECODER,
        ), found  # fmt: skip

    return cached(folder, build, load, current)


def _there(blob: Callable[[int], bytes], index: int) -> bool:
    try:
        blob(index)
    except OSError:
        return False
    return True


def _inspect_all(folder: Path, blob: Callable[[int], bytes], count: int, max_pixels: int, progress: Progress) -> None:
    """Write what `from_blobs` needs; pixels are appended, never mapped: on a full disk a mapped file kills Python."""
    looks: list[bytes] = []
    readable: list[int] = []
    unreadable: dict[int, str] = {}
    away: list[int] = []
    shas: list[bytes] = []
    sizes: set[tuple[int, int]] = set()
    with (folder / "pixels.bin").open("wb") as pixels:
        for index, found in enumerate(_inspected(blob, count, max_pixels)):
            if isinstance(found, OSError):
                away.append(index)
                unreadable[index] = f"unreadable: {found.strerror or found}"
            elif isinstance(found, UnreadableImageError):
                unreadable[index] = str(found)
            else:
                readable.append(index)
                looks.append(found.look)
                shas.append(found.sha256)
                sizes.add((found.height, found.width))
                if len(sizes) == 1 and found.pixels is not None:
                    pixels.write(found.pixels)
            if index % CHUNK == CHUNK - 1 or index == count - 1:
                progress("reading images", index + 1, count)
    small = bool(sizes) and max(max(size) for size in sizes) <= SMALL
    one_array = small and len(sizes) == 1
    if not one_array:
        (folder / "pixels.bin").unlink()
    np.save(folder / "looks.npy", _thumbnails(looks))
    np.save(folder / "readable.npy", np.array(readable, dtype=np.int64))
    np.save(folder / "shas.npy", np.frombuffer(b"".join(shas), np.uint8).reshape(-1, 32))
    meta = {
        "fingerprint": hashlib.sha256(b"".join(shas)).hexdigest()[:16], "small": small, "unreadable": unreadable,
        "away": away,
        "shape": [*sizes.pop(), 3] if one_array else None,
    }  # fmt: skip
    (folder / "meta.json").write_text(json.dumps(meta))


def _inspected(
    blob: Callable[[int], bytes], count: int, max_pixels: int
) -> Iterator[ImageInfo | UnreadableImageError | OSError]:
    """Yield what each image is, or why it is unreadable, in order."""

    def one(index: int) -> ImageInfo | UnreadableImageError | OSError:
        try:
            return inspect(blob(index), max_pixels, SMALL)
        except (UnreadableImageError, OSError) as error:
            return error

    def pays(index: int) -> bool:
        try:
            return len(blob(index)) >= THREADS_PAY
        except OSError:
            return False

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, count, CHUNK):
            chunk = range(start, min(start + CHUNK, count))
            yield from pool.map(one, chunk) if pays(start) else map(one, chunk)
