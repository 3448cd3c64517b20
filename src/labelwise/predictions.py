"""What is recorded of a round's predictions: for each test image, the predicted class and two probabilities.

All (T, K) probabilities would be 200 KB a round for 10,000 images of 10 classes, and the analysis needs no more than
this, which packs into 20 to 30 KB. A store that was made before still has them all: `read` takes either form.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Floats, Labels

FULL = 1
"""The schema of stores whose rounds hold all (T, K) probabilities as float16."""


@dataclass(frozen=True)
class Tested:
    """What a fit says of the T test images.

    predicted: (T,) classes, the first one where several have the highest probability; top: (T,) float16, the highest
    probability; true: (T,) float16, the true class's probability.
    """

    predicted: Labels
    top: NDArray[np.float16]
    true: NDArray[np.float16]


def compact(probs: Floats, truth: Labels) -> Tested:
    """Take from (T, K) probabilities what is recorded of them. truth: (T,) true classes."""
    rounded = probs.astype(np.float16)
    return Tested(rounded.argmax(axis=1), rounded.max(axis=1), rounded[np.arange(len(truth)), truth])


def pack(found: Tested, truth: Labels) -> bytes:
    """Pack without loss. truth: (T,) true classes, which `unpack` needs again.

    Where the prediction is right, its probability is the true class's too, so that is kept for the wrong ones only.
    """
    wrong = found.predicted != truth
    parts = (found.predicted.astype("<u4"), found.top.astype("<f2"), found.true[wrong].astype("<f2"))
    return b"".join(_smaller(plane.tobytes()) for part in parts for plane in _planes(part))


def unpack(blob: bytes, truth: Labels) -> Tested:
    """Return what was packed. truth: (T,) true classes, the same as in `pack`."""
    planes = _streams(blob)
    predicted = _values(planes[:4], "<u4").astype(np.int64)
    top, true = _values(planes[4:6], "<f2"), _values(planes[4:6], "<f2")
    true[predicted != truth] = _values(planes[6:], "<f2")
    return Tested(predicted, top, true)


def read(blob: bytes, truth: Labels, schema: int) -> Tested:
    """Return a round's recorded predictions, in whichever form a store of this schema has them."""
    if schema == FULL:
        return compact(np.frombuffer(blob, "<f2").reshape(len(truth), -1), truth)
    return unpack(blob, truth)


def content(blob: bytes) -> bytes:
    """Return the packed bytes themselves, which do not depend on the version of the compression library."""
    return b"".join(_streams(blob))


def _planes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return all first bytes, all second bytes, and so on: (bytes of a value, T)."""
    return np.frombuffer(values.tobytes(), np.uint8).reshape(-1, values.itemsize).T


def _values(planes: list[bytes], kind: str) -> NDArray[Any]:
    """Put byte planes together again: (T,) values of the kind."""
    bytes_ = np.stack([np.frombuffer(plane, np.uint8) for plane in planes], axis=1)
    return np.frombuffer(bytes_.tobytes(), kind).copy()


def _smaller(plane: bytes) -> bytes:
    """Compress one plane: planes without repetitions do better when repetitions are not even looked for."""
    found = []
    for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY):
        packer = zlib.compressobj(9, strategy=strategy)
        found.append(packer.compress(plane) + packer.flush())
    return min(found, key=len)


def _streams(blob: bytes) -> list[bytes]:
    """Return the content of each of the compressed streams that follow each other in the blob."""
    found = []
    while blob:
        unpacker = zlib.decompressobj()
        found.append(unpacker.decompress(blob))
        blob = unpacker.unused_data
    return found
