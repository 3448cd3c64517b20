"""Images by index: small ones as one uint8 array, mapped from the cache; others decoded as they are needed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import PIL
from numpy.typing import NDArray

from labelwise.arrays import Indices
from labelwise.cache import cache_folder, cached
from labelwise.config import digest
from labelwise.data.decode import LOOK, ImageInfo, UnreadableImageError, decode, inspect, look_of_pixels, to_square
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
    small: no side is above 128 pixels; there: False where these are names alone, of data without images.
    """

    names: Sequence[str]
    fingerprint: str
    small: bool
    pixels: NDArray[np.uint8] | None
    blob: Callable[[int], bytes] | None
    max_pixels: int
    there: bool = True

    def __len__(self) -> int:
        return len(self.names)

    def squares(self, indices: Indices, size: int, crop: float) -> NDArray[np.uint8]:
        """Decode, resize and centre-crop the images at `indices`: (n, size, size, 3) uint8.

        Errors: InputError for an image that could be read before and cannot be now.
        """
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes outside the interpreter's lock
            return np.stack(list(pool.map(lambda index: self._square(index, size, crop), indices.tolist())))

    def part(self, indices: Indices) -> ImageSet:
        """Return the images at `indices` alone, in memory (pixels, or encoded): what another machine can be sent."""
        names = [self.names[index] for index in indices]
        if self.pixels is not None:
            return replace(self, names=names, pixels=np.array(self.pixels[indices]), blob=None)
        blobs = [self._read(int(index), lambda blob: blob) for index in indices]
        return replace(self, names=names, blob=blobs.__getitem__)

    def _square(self, index: int, size: int, crop: float) -> NDArray[np.uint8]:
        return self._read(index, lambda blob: to_square(decode(blob, self.max_pixels), size, crop))

    def _read(self, index: int, use: Callable[[bytes], T]) -> T:
        if not self.there:
            raise InputError(f"{self.names[index]}: the data are features without images, and an image is needed here")
        assert self.blob is not None
        try:
            return use(self.blob(index))
        except (UnreadableImageError, OSError) as error:
            raise InputError(f"{self.names[index]} was changed or removed since it was read first: {error}") from None


def names_alone(
    names: Sequence[str], fingerprint: str, ids: NDArray[np.int64]
) -> tuple[ImageSet, Inspection]:  # fmt: skip
    """Return what stands for the images of data that have none.

    fingerprint: of what is there in their place; ids: (N,) the same for what is equal.
    """
    images = ImageSet(names, fingerprint, False, None, None, 0, there=False)
    return images, Inspection(None, np.arange(len(names)), {}, ids.view("V8"))


@dataclass(frozen=True)
class Inspection:
    """What one complete look at every image found, the R readable ones of N.

    looks: (R, LOOK * LOOK) uint8 grey thumbnails, or None; readable: (R,) positions; unreadable: why, by position;
    hashes: (R,) SHA-256 of each image's content.
    """

    looks: Looks | None
    readable: Indices
    unreadable: dict[int, str]
    hashes: NDArray[np.void]


def from_array(pixels: NDArray[np.uint8], names: Sequence[str], looks: bool = True) -> tuple[ImageSet, Inspection]:
    """Take (N, H, W, 3) uint8 images that are in memory already; `looks`: make their thumbnails too."""
    pixels = np.ascontiguousarray(pixels)
    fingerprint = hashlib.sha256(pixels.data).hexdigest()[:16]
    images = ImageSet(names, fingerprint, max(pixels.shape[1:3]) <= SMALL, pixels, None, 0)
    thumbnails = _thumbnails([look_of_pixels(image) for image in pixels]) if looks else None
    hashes = _hashes([hashlib.sha256(image.data).digest() for image in pixels])
    return images, Inspection(thumbnails, np.arange(len(pixels)), {}, hashes)


def _hashes(digests: list[bytes]) -> NDArray[np.void]:
    return np.frombuffer(b"".join(digests), "V32")


def _thumbnails(looks: list[bytes]) -> Looks:
    return np.frombuffer(b"".join(looks), np.uint8).reshape(-1, LOOK * LOOK)


def from_blobs(
    blob: Callable[[int], bytes], names: Sequence[str], key: str, max_pixels: int, progress: Progress
) -> tuple[ImageSet, Inspection]:
    """Decode every encoded image once, and keep what was learned (and small images' pixels) in the cache.

    key: stands for the content without reading it (paths, sizes, times); an unchanged source is not decoded again.
    The image set holds the readable images alone.
    """
    folder = cache_folder() / "images" / digest(LAYOUT, PIL.__version__, key, str(len(names)), str(max_pixels))

    def build(target: Path) -> None:
        _inspect_all(target, blob, len(names), max_pixels, progress)

    def load(entry: Path) -> tuple[ImageSet, Inspection]:
        meta = json.loads((entry / "meta.json").read_text())
        found = Inspection(
            np.load(entry / "looks.npy", mmap_mode="r"),
            np.load(entry / "readable.npy"),
            {int(i): why for i, why in meta["unreadable"].items()},
            np.load(entry / "hashes.npy"),
        )
        readable, pixels = found.readable, None
        if meta["shape"]:
            pixels = np.memmap(entry / "pixels.bin", np.uint8, "r", shape=(len(readable), *meta["shape"]))
        return ImageSet(
            names if len(readable) == len(names) else [names[i] for i in readable],
            meta["fingerprint"], meta["small"], pixels, lambda index: blob(int(readable[index])), max_pixels,
        ), found  # fmt: skip

    return cached(folder, build, load)


def _inspect_all(folder: Path, blob: Callable[[int], bytes], count: int, max_pixels: int, progress: Progress) -> None:
    """Write what `from_blobs` needs; pixels are appended, never mapped: on a full disk a mapped file kills Python."""
    looks: list[bytes] = []
    readable: list[int] = []
    unreadable: dict[int, str] = {}
    sizes: set[tuple[int, int]] = set()
    digests: list[bytes] = []
    with (folder / "pixels.bin").open("wb") as pixels:
        for index, found in enumerate(_inspected(blob, count, max_pixels)):
            if isinstance(found, str):
                unreadable[index] = found
            else:
                readable.append(index)
                looks.append(found.look)
                digests.append(found.sha256)
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
    np.save(folder / "hashes.npy", _hashes(digests))
    np.save(folder / "readable.npy", np.array(readable, dtype=np.int64))
    meta = {
        "fingerprint": hashlib.sha256(b"".join(digests)).hexdigest()[:16], "small": small, "unreadable": unreadable,
        "shape": [*sizes.pop(), 3] if one_array else None,
    }  # fmt: skip
    (folder / "meta.json").write_text(json.dumps(meta))


def _inspected(blob: Callable[[int], bytes], count: int, max_pixels: int) -> Iterator[ImageInfo | str]:
    """Yield what each image is, or why it is unreadable, in order."""

    def one(index: int) -> ImageInfo | str:
        try:
            return inspect(blob(index), max_pixels, SMALL)
        except UnreadableImageError as error:
            return str(error)
        except OSError as error:
            return f"unreadable: {error.strerror or error}"

    def pays(index: int) -> bool:
        try:
            return len(blob(index)) >= THREADS_PAY
        except OSError:
            return False

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, count, CHUNK):
            chunk = range(start, min(start + CHUNK, count))
            yield from pool.map(one, chunk) if pays(start) else map(one, chunk)
