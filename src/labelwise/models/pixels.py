"""The pixels that a model is fine-tuned on: one uint8 array, decoded and resized once, mapped from the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from labelwise.cache import cache_folder, cached, mapped, passed_on
from labelwise.config import digest
from labelwise.data.images import ImageSet, Progress
from labelwise.data.squares import corner, inside
from labelwise.models.backbone import Backbone

LAYOUT = "2"
"""Part of the cache's key: changes when the way from an image to its pixels does."""
CHUNK = 256
CPU = torch.device("cpu")


def training_size(images: ImageSet, backbone: Backbone, size: int | None) -> int | None:
    """Return the side in pixels to which images are brought, or None where they are taken as they are.

    Small images of one size stay what they are (the study: 32x32); others take the backbone's own size, or `size`.
    """
    own = images.pixels is not None and images.small and not backbone.fixed_size
    if size is None:
        return None if own else backbone.size
    return None if own and images.pixels is not None and images.pixels.shape[1:3] == (size, size) else size


def training_pixels(
    images: ImageSet, backbone: Backbone, size: int | None, progress: Progress
) -> NDArray[np.uint8]:  # fmt: skip
    """Return (N, H, W, 3) uint8 of the whole data set, the images' own or made squares of `size` (see `squares`)."""
    side = training_size(images, backbone, size)
    if side is None:
        assert images.pixels is not None
        return images.pixels
    crop = 1.0 if images.small else backbone.crop
    content = images.hashes.tobytes().hex()
    folder = cache_folder() / "pixels" / digest(LAYOUT, images.way, content, str(side), str(crop))

    def build(target: Path) -> None:
        # appended, never mapped for writing: on a full disk a mapped file kills Python
        with (target / "pixels.bin").open("wb") as file:
            for start in range(0, len(images), CHUNK):
                chunk = np.arange(start, min(start + CHUNK, len(images)))
                square = squares(images, chunk, side, crop).permute(0, 2, 3, 1)
                file.write(square.contiguous().numpy().tobytes())
                progress("resizing images", int(chunk[-1]) + 1, len(images))

    def load(entry: Path) -> NDArray[np.uint8]:
        return mapped(entry / "pixels.bin", np.uint8, (len(images), side, side, 3))

    return passed_on(folder, lambda: cached(folder, build, load))


def on_device(pixels: NDArray[np.uint8], device: torch.device) -> torch.Tensor | None:
    """Return all pixels in a GPU's memory where they take at most a quarter of what is free there, else None."""
    if device.type != "cuda" or pixels.nbytes > torch.cuda.mem_get_info(device)[0] // 4:
        return None
    kept = torch.empty(pixels.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(pixels), CHUNK):
        kept[start : start + CHUNK] = torch.from_numpy(np.array(pixels[start : start + CHUNK]))
    return kept


def squares(
    images: ImageSet, indices: NDArray[np.int64], size: int, crop: float, device: torch.device = CPU
) -> torch.Tensor:  # fmt: skip
    """Make images squares in the way of the image set (see `to_square`): (n, 3, size, size) in 0..255, channels-last.

    uint8 on the CPU and of decoded images; small images are resized on the device.
    """
    if images.pixels is None:
        return torch.from_numpy(images.squares(indices, size, crop)).to(device).permute(0, 3, 1, 2)
    pixels = torch.from_numpy(images.pixels[indices]).to(device).permute(0, 3, 1, 2)
    height, width = pixels.shape[2:]
    if images.resize == "crop":
        short = round(size / crop)
        shape = (round(height * short / min(height, width)), round(width * short / min(height, width)))
        top, left = (shape[0] - size) // 2, (shape[1] - size) // 2
        return _resized(pixels, shape)[:, :, top : top + size, left : left + size]
    if images.resize == "stretch":
        return _resized(pixels, (size, size))
    shape = inside(height, width, size)
    top, left = corner(shape, size)
    around = (left, size - shape[1] - left, top, size - shape[0] - top)
    padded = torch.nn.functional.pad(_resized(pixels, shape), around)
    return padded.contiguous(memory_format=torch.channels_last)


def _resized(pixels: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    if pixels.device.type == "cpu":
        return torch.nn.functional.interpolate(pixels, size=shape, mode="bicubic", antialias=True)
    # uint8 interpolation exists on the CPU alone; rounding gives the same values
    smooth = torch.nn.functional.interpolate(pixels.float(), size=shape, mode="bicubic", antialias=True)
    return smooth.round_().clamp_(0, 255)
