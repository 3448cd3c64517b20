"""Images by index: small ones as one uint8 array, mapped from the cache; others decoded as they are needed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Indices
from labelwise.cache import build_once, cache_folder
from labelwise.config import digest
from labelwise.data.decode import ImageInfo, UnreadableImageError, decode, inspect, to_square

SMALL = 128
"""Images whose sides are all at most this many pixels are kept as one array, if they are all of one size."""
LAYOUT = "1"  # part of the cache's keys: changes when what is stored there does
Progress = Callable[[str, int, int], None]
"""Called with (what, done, total) during long work."""


@dataclass(frozen=True)
class ImageSet:
    """N images. `pixels` is (N, H, W, 3) uint8 where they are small and equal in size, else None.

    names: what to call each image in messages and reports; fingerprint: stands for the content of all of them;
    small: no side is above 128 pixels.
    """

    names: Sequence[str]
    fingerprint: str
    small: bool
    pixels: NDArray[np.uint8] | None
    blob: Callable[[int], bytes] | None
    max_pixels: int

    def __len__(self) -> int:
        return len(self.names)

    def squares(self, indices: Indices, size: int, crop: float) -> NDArray[np.uint8]:
        """Decode, resize and centre-crop the images at `indices`: (n, size, size, 3) uint8."""
        assert self.blob is not None
        blob = self.blob

        def one(index: int) -> NDArray[np.uint8]:
            return to_square(decode(blob(index), self.max_pixels), size, crop)

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes outside the interpreter's lock
            return np.stack(list(pool.map(one, (int(i) for i in indices))))

    def take(self, keep: Indices) -> ImageSet:
        """Return the images at `keep`, renumbered 0.. in that order."""
        blob, pixels = self.blob, self.pixels
        return ImageSet(
            names=[self.names[i] for i in keep],
            fingerprint=digest(self.fingerprint, hashlib.sha256(keep.tobytes()).hexdigest()),
            small=self.small,
            pixels=None if pixels is None else pixels[keep],
            blob=None if blob is None else lambda i: blob(int(keep[i])),
            max_pixels=self.max_pixels,
        )


@dataclass(frozen=True)
class Inspection:
    """What one complete look at every image found: looks (N, 16) uint8 and, by index, why an image is unreadable."""

    looks: NDArray[np.uint8]
    unreadable: dict[int, str]


def from_array(pixels: NDArray[np.uint8], names: Sequence[str]) -> tuple[ImageSet, Inspection]:
    """Take (N, H, W, 3) uint8 images that are in memory already."""
    from PIL import Image

    from labelwise.data.decode import look_of

    looks = np.frombuffer(b"".join(look_of(Image.fromarray(image)) for image in pixels), np.uint8).reshape(-1, 16)
    fingerprint = hashlib.sha256(np.ascontiguousarray(pixels)).hexdigest()[:16]
    images = ImageSet(names, fingerprint, max(pixels.shape[1:3]) <= SMALL, pixels, None, 0)
    return images, Inspection(looks, {})


def from_blobs(
    blob: Callable[[int], bytes], names: Sequence[str], key: str, max_pixels: int, progress: Progress
) -> tuple[ImageSet, Inspection]:
    """Decode every encoded image once, and keep what was learned (and small images' pixels) in the cache.

    key: stands for the content without reading it (paths, sizes, times); an unchanged source is not decoded again.
    """
    folder = cache_folder() / "images" / digest(LAYOUT, key, str(max_pixels))
    build_once(folder, lambda target: _inspect_all(target, blob, len(names), max_pixels, progress))
    meta = json.loads((folder / "meta.json").read_text())
    pixels = np.load(folder / "pixels.npy", mmap_mode="r") if (folder / "pixels.npy").exists() else None
    images = ImageSet(names, meta["fingerprint"], meta["small"], pixels, blob, max_pixels)
    return images, Inspection(np.load(folder / "looks.npy"), {int(i): why for i, why in meta["unreadable"].items()})


def _inspect_all(
    folder: Path, blob: Callable[[int], bytes], count: int, max_pixels: int, progress: Progress
) -> None:
    looks = np.zeros((count, 16), np.uint8)
    content = hashlib.sha256()
    unreadable: dict[int, str] = {}
    pixels: NDArray[np.uint8] | None = None
    sizes: set[tuple[int, int]] = set()
    for index, found in enumerate(_inspected(blob, count, max_pixels)):
        if isinstance(found, str):
            unreadable[index] = found
            content.update(b"unreadable")
        else:
            info, image = found
            looks[index] = np.frombuffer(info.look, np.uint8)
            content.update(info.sha256)
            sizes.add((info.height, info.width))
            if len(sizes) == 1 and max(info.height, info.width) <= SMALL:
                if pixels is None:
                    shape = (count, info.height, info.width, 3)
                    pixels = np.lib.format.open_memmap(folder / "pixels.npy", mode="w+", dtype=np.uint8, shape=shape)
                pixels[index] = image
        if index % 256 == 255 or index == count - 1:
            progress("reading images", index + 1, count)
    if pixels is not None:
        pixels.flush()
    if len(sizes) != 1 and pixels is not None:
        (folder / "pixels.npy").unlink()
    np.save(folder / "looks.npy", looks)
    small = bool(sizes) and max(max(size) for size in sizes) <= SMALL
    meta = {"fingerprint": content.hexdigest()[:16], "small": small, "unreadable": unreadable}
    (folder / "meta.json").write_text(json.dumps(meta))


def _inspected(
    blob: Callable[[int], bytes], count: int, max_pixels: int
) -> Iterator[tuple[ImageInfo, NDArray[np.uint8] | None] | str]:
    """Yield each image's info (and its pixels where it is small), or why it is unreadable, in order."""

    def one(index: int) -> tuple[ImageInfo, NDArray[np.uint8] | None] | str:
        try:
            info, image = inspect(blob(index), max_pixels)
        except UnreadableImageError as error:
            return str(error)
        except OSError as error:
            return f"unreadable: {error.strerror or error}"
        return info, (np.asarray(image) if max(image.size) <= SMALL else None)

    chunk = 256  # bounds what is decoded ahead of the consumer
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, count, chunk):
            yield from pool.map(one, range(start, min(start + chunk, count)))
