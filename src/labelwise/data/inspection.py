"""The one complete look at every image: what it is, whether it can be read, small ones' pixels. Kept in the cache."""

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
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Indices
from labelwise.cache import cache_folder, cached, mapped, mapped_npy
from labelwise.config import digest
from labelwise.data import depth
from labelwise.data.decode import DECODER, LOOK, ImageInfo, UnreadableImageError, inspect, look_of_pixels
from labelwise.data.deep import Deep, only
from labelwise.data.duplicates import Looks
from labelwise.data.images import SMALL, ImageSet, Progress, hashes_of

LAYOUT = "5"  # part of the cache's keys: changes when what is stored there does
CHUNK = 256  # images decoded ahead of what is written
THREADS_PAY = 16384  # bytes of an image: below, most of the work is Python's own, and threads only get in its way
Blob = Callable[[int], bytes]


@dataclass(frozen=True)
class Inspection:
    """What one complete look at every image found, the R readable ones of N.

    looks: (R, LOOK * LOOK) uint8 grey thumbnails, or None; readable: (R,) positions; unreadable: why, by position;
    hashes: (R,) what stands for each one's content; notes: what was made of transparent images and of more than 8 bits;
    shapes: (R, 2) height and width in pixels; modes: Pillow's, as they are stored -> images. Both empty without images.
    """

    looks: Looks | None
    readable: Indices
    unreadable: dict[int, str]
    hashes: NDArray[np.void]
    notes: tuple[str, ...] = ()
    shapes: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 2), np.int32))
    modes: Mapping[str, int] = field(default_factory=dict)


def names_alone(
    names: Sequence[str], fingerprint: str, ids: NDArray[np.int64]
) -> tuple[ImageSet, Inspection]:  # fmt: skip
    """Return what stands for the images of data that have none.

    fingerprint: of what is there in their place; ids: (N,) the same for what is equal.
    """
    images = ImageSet(names, fingerprint, False, None, None, 0, there=False)
    return images, Inspection(None, np.arange(len(names)), {}, ids.view("V8"))


def from_array(pixels: NDArray[np.uint8], names: Sequence[str]) -> tuple[ImageSet, Inspection]:
    """Take (N, H, W, 3) uint8 images that are in memory already."""
    pixels = np.ascontiguousarray(pixels)
    fingerprint = hashlib.sha256(pixels.data).hexdigest()[:16]
    images = ImageSet(names, fingerprint, max(pixels.shape[1:3]) <= SMALL, pixels, None, 0)
    return images, Inspection(
        _thumbnails([look_of_pixels(image) for image in pixels]),
        np.arange(len(pixels)),
        {},
        images.hashes.view("V32").ravel(),
        shapes=np.full((len(pixels), 2), pixels.shape[1:3], np.int32),
        modes={"RGB": len(pixels)},
    )


def _thumbnails(looks: list[bytes]) -> Looks:
    return np.frombuffer(b"".join(looks), np.uint8).reshape(-1, LOOK * LOOK)


def from_blobs(
    blob: Blob, names: Sequence[str], key: str, max_pixels: int, progress: Progress,
    training: NDArray[np.bool_] | None = None, bits: int | None = None,
) -> tuple[ImageSet, Inspection]:  # fmt: skip
    """Decode every encoded image once, and keep what was learned (and small images' pixels) in the cache.

    key: stands for the content without reading it (paths, sizes, times); an unchanged source is not decoded again, but
    what could not be read for want of its file is tried again. training: (N,) which images decide by how many bits
    16-bit pixels are scaled, or None for all; bits: the depth that was fixed before. The image set holds the readable
    images alone.
    """
    told_by = "all" if training is None else training.tobytes().hex()
    how = (LAYOUT, DECODER, str(len(names)), str(max_pixels), str(bits), digest(told_by))
    folder = cache_folder() / "images" / digest(key, *how)

    def build(target: Path) -> None:
        with (target / "pixels.bin").open("w+b") as pixels, TemporaryFile(dir=target) as values:
            looked = _Looked(pixels, Deep(values))
            for index, found in enumerate(_inspected(blob, len(names), max_pixels)):
                looked.take(index, found)
                if index % CHUNK == CHUNK - 1 or index == len(names) - 1:
                    progress("reading images", index + 1, len(names))
            looked.write(target, training, bits)

    def current(entry: Path) -> bool:
        return not any(_there(blob, index) for index in json.loads((entry / "meta.json").read_text())["away"])

    def load(entry: Path) -> tuple[ImageSet, Inspection]:
        meta = json.loads((entry / "meta.json").read_text())
        hashes, readable = np.load(entry / "hashes.npy"), np.load(entry / "readable.npy")
        found = Inspection(
            mapped_npy(entry / "looks.npy"),
            readable,
            {int(i): why for i, why in meta["unreadable"].items()},
            hashes.view("V32").ravel(),
            tuple(meta["notes"]),
            np.load(entry / "shapes.npy"),
            meta["modes"],
        )
        pixels = None
        if meta["shape"]:
            pixels = mapped(entry / "pixels.bin", np.uint8, (len(readable), *meta["shape"]))
        return ImageSet(
            names if len(readable) == len(names) else [names[i] for i in readable],
            meta["fingerprint"], meta["small"], pixels, lambda index: blob(int(readable[index])), max_pixels,
            hashes, meta["bits"],
        ), found  # fmt: skip

    return cached(folder, build, load, current)


def _there(blob: Blob, index: int) -> bool:
    try:
        blob(index)
    except OSError:
        return False
    except UnreadableImageError:  # it can be read again, and what is wrong with it is news
        pass
    return True


@dataclass
class _Looked:
    """Takes images in, in order. Pixels are appended, never mapped: on a full disk a mapped file kills Python.

    readable, found: of the readable ones, without their pixels; away: those whose file could not be read at present;
    written: how many of them, from the first on, are in `pixels`.
    """

    pixels: BinaryIO
    deep: Deep
    readable: list[int] = field(default_factory=list)
    found: list[ImageInfo] = field(default_factory=list)
    unreadable: dict[int, str] = field(default_factory=dict)
    away: list[int] = field(default_factory=list)
    written: int = 0

    def take(self, index: int, found: ImageInfo | UnreadableImageError | OSError) -> None:
        """Take the next image in."""
        if isinstance(found, OSError):
            self.away.append(index)
            self.unreadable[index] = f"unreadable: {found.strerror or found}"
        elif isinstance(found, UnreadableImageError):
            self.unreadable[index] = str(found)
        else:
            if self.written == len(self.readable) and self._fits(found):
                self.deep.write(found, self.written, self.pixels)
                self.written += 1
            self.deep.note(index, found)
            self.readable.append(index)
            self.found.append(replace(found, pixels=None, values=None))

    def _fits(self, found: ImageInfo) -> bool:
        """Return whether an image can go into one array with those before it."""
        small = found.pixels is not None or found.values is not None
        return small and (not self.found or _shape(self.found[0]) == _shape(found))

    def write(self, folder: Path, training: NDArray[np.bool_] | None, bits: int | None) -> None:
        """Write all that `from_blobs` reads back."""
        bits = self.deep.depth(training) if bits is None else bits
        refused = self.deep.refused(bits)
        kept = [index not in refused for index in self.readable]
        found, readable = list(compress(self.found, kept)), list(compress(self.readable, kept))
        shape = self._write_pixels(folder, kept, bits)
        np.save(folder / "looks.npy", _thumbnails([one.look for one in found]))
        np.save(folder / "hashes.npy", hashes_of(one.sha256 for one in found))
        np.save(folder / "shapes.npy", np.array([_shape(one) for one in found], np.int32).reshape(-1, 2))
        np.save(folder / "readable.npy", np.array(readable, dtype=np.int64))
        transparent = sum(one.transparent for one in found)
        notes = [f"{transparent:,} transparent images are laid on white"] if transparent else []
        content = b"".join(one.sha256 + b"on white" * one.transparent for one in found)
        meta = {
            "fingerprint": hashlib.sha256(content + f"{bits} bits".encode() * bool(self.deep.found)).hexdigest()[:16],
            "small": bool(found) and max(max(_shape(one)) for one in found) <= SMALL,
            "unreadable": self.unreadable | refused,
            "away": self.away,
            "shape": shape,
            "bits": bits,
            "modes": dict(Counter(one.mode for one in found).most_common()),
            "notes": [*notes, *depth.said(bits, self.deep.depths(refused))],
        }
        (folder / "meta.json").write_text(json.dumps(meta))

    def _write_pixels(self, folder: Path, kept: list[bool], bits: int) -> list[int] | None:
        """Finish the file of pixels and return an image's shape; without one array for all, remove it: None."""
        if not any(kept) or self.written < len(self.readable):
            (folder / "pixels.bin").unlink()
            return None
        size = math.prod(_shape(self.found[0]))
        self.deep.fill(self.pixels, size, bits)
        if not all(kept):
            self.pixels.flush()
            only(folder / "pixels.bin", 3 * size, kept)
        return [*_shape(self.found[0]), 3]


def _shape(found: ImageInfo) -> tuple[int, int]:
    return found.height, found.width


def _inspected(blob: Blob, count: int, max_pixels: int) -> Iterator[ImageInfo | UnreadableImageError | OSError]:
    """Yield what each image is, or why it is unreadable, in order."""

    def one(index: int) -> ImageInfo | UnreadableImageError | OSError:
        try:
            return inspect(blob(index), max_pixels, SMALL)
        except (UnreadableImageError, OSError) as error:
            return error

    def pays(index: int) -> bool:
        try:
            return len(blob(index)) >= THREADS_PAY
        except (UnreadableImageError, OSError):
            return False

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, count, CHUNK):
            chunk = range(start, min(start + CHUNK, count))
            yield from pool.map(one, chunk) if pays(start) else map(one, chunk)
