"""Images by index: small ones as one uint8 array, mapped from the cache; others decoded as they are needed."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TypeVar

import numpy as np
import PIL
from numpy.typing import NDArray

from labelwise.arrays import Indices
from labelwise.cache import cache_folder, cached
from labelwise.config import digest
from labelwise.data import depth
from labelwise.data.decode import (
    DECODER,
    LOOK,
    ImageInfo,
    UnreadableImageError,
    decode,
    inspect,
    look_of_pixels,
)
from labelwise.data.deep import Deep, only
from labelwise.data.duplicates import Looks
from labelwise.data.squares import to_square
from labelwise.errors import InputError

T = TypeVar("T")
SMALL = 128
"""Images whose sides are all at most this many pixels are kept as one array, if they are all of one size."""
LAYOUT = "4"  # part of the cache's keys: changes when what is stored there does
CHUNK = 256  # images decoded ahead of what is written
THREADS_PAY = 16384  # bytes of an image: below, most of the work is Python's own, and threads only get in its way
Progress = Callable[[str, int, int], None]
"""Called with (what, done, total) during long work."""


def unseen(_what: str, _done: int, _total: int) -> None:
    """Take progress that nobody looks at."""


def way(bits: int, resize: str) -> str:
    """Return an image set's `way`."""
    return f"decoder {DECODER}, {bits} bits, {resize}"


@dataclass(frozen=True)
class ImageSet:
    """N images. `pixels` is (N, H, W, 3) uint8 where they are small and equal in size, else None.

    names: what to call each image in messages and reports; fingerprint: stands for the content of all of them;
    small: no side is above 128 pixels; there: False where these are names alone, of data without images; bits: by which
    images of more than 8 are scaled, 0 where there are none; resize: how they become squares: crop, pad or stretch (see
    `to_square`).
    """

    names: Sequence[str]
    fingerprint: str
    small: bool
    pixels: NDArray[np.uint8] | None
    blob: Callable[[int], bytes] | None
    max_pixels: int
    bits: int = 0
    resize: str = "crop"
    there: bool = True

    def __len__(self) -> int:
        return len(self.names)

    @property
    def way(self) -> str:
        """What stands for the way from content to squares, beside size and crop: part of every cache's key."""
        return way(self.bits, self.resize)

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
        return self._read(
            index, lambda blob: to_square(decode(blob, self.max_pixels, self.bits), size, crop, self.resize)
        )

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
    hashes: (R,) SHA-256 of each image's content; notes: what was made of transparent images and of more than 8 bits;
    shapes: (R, 2) height and width in pixels; modes: Pillow's, as they are stored -> images. Both empty without images.
    """

    looks: Looks | None
    readable: Indices
    unreadable: dict[int, str]
    hashes: NDArray[np.void]
    notes: tuple[str, ...] = ()
    shapes: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 2), np.int32))
    modes: Mapping[str, int] = field(default_factory=dict)


def from_array(pixels: NDArray[np.uint8], names: Sequence[str], looks: bool = True) -> tuple[ImageSet, Inspection]:
    """Take (N, H, W, 3) uint8 images that are in memory already; `looks`: make their thumbnails too."""
    pixels = np.ascontiguousarray(pixels)
    fingerprint = hashlib.sha256(pixels.data).hexdigest()[:16]
    images = ImageSet(names, fingerprint, max(pixels.shape[1:3]) <= SMALL, pixels, None, 0)
    thumbnails = _thumbnails([look_of_pixels(image) for image in pixels]) if looks else None
    hashes = _hashes([hashlib.sha256(image.data).digest() for image in pixels])
    shapes = np.full((len(pixels), 2), pixels.shape[1:3], np.int32)
    return images, Inspection(thumbnails, np.arange(len(pixels)), {}, hashes, shapes=shapes, modes={"RGB": len(pixels)})


def _hashes(digests: list[bytes]) -> NDArray[np.void]:
    return np.frombuffer(b"".join(digests), "V32")


def _thumbnails(looks: list[bytes]) -> Looks:
    return np.frombuffer(b"".join(looks), np.uint8).reshape(-1, LOOK * LOOK)


def from_blobs(
    blob: Callable[[int], bytes],
    names: Sequence[str],
    key: str,
    max_pixels: int,
    progress: Progress,
    training: NDArray[np.bool_] | None = None,
    bits: int | None = None,
) -> tuple[ImageSet, Inspection]:
    """Decode every encoded image once, and keep what was learned (and small images' pixels) in the cache.

    key: stands for the content without reading it (paths, sizes, times); an unchanged source is not decoded again.
    training: (N,) which images decide by how many bits 16-bit pixels are scaled, or None for all; bits: the depth that
    was fixed before. The image set holds the readable images alone.
    """
    how = (
        PIL.__version__,
        DECODER,
        str(max_pixels),
        str(bits),
        digest("" if training is None else training.tobytes().hex()),
    )
    folder = cache_folder() / "images" / digest(LAYOUT, key, str(len(names)), *how)

    def build(target: Path) -> None:
        _inspect_all(target, blob, len(names), max_pixels, progress, training, bits)

    def load(entry: Path) -> tuple[ImageSet, Inspection]:
        meta = json.loads((entry / "meta.json").read_text())
        found = Inspection(
            np.load(entry / "looks.npy", mmap_mode="r"),
            np.load(entry / "readable.npy"),
            {int(i): why for i, why in meta["unreadable"].items()},
            np.load(entry / "hashes.npy"),
            tuple(meta["notes"]),
            np.load(entry / "shapes.npy"),
            meta["modes"],
        )
        readable, pixels = found.readable, None
        if meta["shape"]:
            pixels = np.memmap(entry / "pixels.bin", np.uint8, "r", shape=(len(readable), *meta["shape"]))
        return ImageSet(
            names if len(readable) == len(names) else [names[i] for i in readable],
            meta["fingerprint"], meta["small"], pixels, lambda index: blob(int(readable[index])), max_pixels,
            meta["bits"],
        ), found  # fmt: skip

    return cached(folder, build, load)


def _inspect_all(
    folder: Path, blob: Callable[[int], bytes], count: int, max_pixels: int, progress: Progress,
    training: NDArray[np.bool_] | None, bits: int | None,
) -> None:  # fmt: skip
    """Write what `from_blobs` needs; pixels are appended, never mapped: on a full disk a mapped file kills Python."""
    looks: list[bytes] = []
    readable: list[int] = []
    unreadable: dict[int, str] = {}
    sizes: list[tuple[int, int]] = []
    modes: list[str] = []
    digests: list[bytes] = []
    contents: list[bytes] = []
    written = transparent = 0
    with (folder / "pixels.bin").open("w+b") as pixels, TemporaryFile(dir=folder) as values:
        deep = Deep(values)
        for index, found in enumerate(_inspected(blob, count, max_pixels)):
            if isinstance(found, str):
                unreadable[index] = found
            else:
                if written == len(readable) and _fits(found, sizes):
                    deep.write(found, written, pixels)
                    written += 1
                deep.note(index, found)
                readable.append(index)
                looks.append(found.look)
                digests.append(found.sha256)
                contents.append(found.sha256 + b"on white" * found.transparent)
                sizes.append((found.height, found.width))
                modes.append(found.mode)
                transparent += found.transparent
            if index % CHUNK == CHUNK - 1 or index == count - 1:
                progress("reading images", index + 1, count)
        bits = deep.depth(training) if bits is None else bits
        refused = deep.refused(bits)
        one_array = written == len(readable) > len(refused)
        if one_array:
            deep.fill(pixels, math.prod(sizes[0]), bits)
    kept = [index not in refused for index in readable]
    if not one_array:
        (folder / "pixels.bin").unlink()
    elif refused:
        only(folder / "pixels.bin", 3 * math.prod(sizes[0]), kept)
    looks, digests, sizes = list(compress(looks, kept)), list(compress(digests, kept)), list(compress(sizes, kept))
    contents, modes = list(compress(contents, kept)), list(compress(modes, kept))
    readable = list(compress(readable, kept))
    np.save(folder / "looks.npy", _thumbnails(looks))
    np.save(folder / "hashes.npy", _hashes(digests))
    np.save(folder / "shapes.npy", np.array(sizes, np.int32).reshape(-1, 2))
    np.save(folder / "readable.npy", np.array(readable, dtype=np.int64))
    notes = [f"{transparent:,} transparent images are laid on white"] if transparent else []
    content = b"".join(contents) + (f"{bits} bits".encode() if deep.found else b"")
    meta = {
        "fingerprint": hashlib.sha256(content).hexdigest()[:16],
        "small": bool(sizes) and max(max(size) for size in sizes) <= SMALL, "unreadable": unreadable | refused,
        "shape": [*sizes[0], 3] if one_array else None, "bits": bits, "modes": Counter(modes),
        "notes": [*notes, *depth.said(bits, deep.depths(refused))],
    }  # fmt: skip
    (folder / "meta.json").write_text(json.dumps(meta))


def _fits(found: ImageInfo, sizes: list[tuple[int, int]]) -> bool:
    """Return whether an image can go into one array with those before it."""
    small = found.pixels is not None or found.values is not None
    return small and (not sizes or sizes[0] == (found.height, found.width))


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
