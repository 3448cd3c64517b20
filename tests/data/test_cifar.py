from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelwise.config import Study
from labelwise.data.cifar import FILES, MAX_BYTES
from labelwise.data.pickled import loads
from labelwise.data.sources import open_dataset
from labelwise.errors import InputError
from pictures import write

NAMES = ("airplane", "automobile", "bird")


def python2(value: Any) -> bytes:
    """Pickle as Python 2 did, which wrote the official files: protocol 2, byte strings, numpy's old names."""
    return b"\x80\x02" + _python2(value) + b"."


def _python2(value: Any) -> bytes:
    if isinstance(value, np.ndarray):
        dtype = (
            b"cnumpy\ndtype\n" + _python2(b"u1") + b"K\x00K\x01\x87R"
            b"(K\x03" + _python2(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        )  # fmt: skip
        empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + _python2(b"b") + b"\x87R"
        shape = b"".join(b"J" + struct.pack("<i", side) for side in value.shape)
        return empty + b"(K\x01(" + shape + b"t" + dtype + b"\x89" + _python2(value.tobytes()) + b"tb"
    if isinstance(value, dict):
        return b"}(" + b"".join(_python2(k) + _python2(v) for k, v in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_python2, value)) + b"e"
    if isinstance(value, bytes):
        return b"T" + struct.pack("<i", len(value)) + value
    return b"J" + struct.pack("<i", value)


def python3(value: Any) -> bytes:
    return pickle.dumps(value, protocol=2)


def files(write_as: Any = python2, count: int = 6) -> dict[str, bytes]:
    """The seven official files with a few images each."""
    rng = np.random.default_rng(0)
    made = {}
    for name in FILES[:-1]:
        made[name] = write_as({
            b"batch_label": name.encode(), b"labels": [i % 3 for i in range(count)],
            b"data": rng.integers(0, 256, (count, 3072), dtype=np.uint8),
            b"filenames": [f"{name}_{i}.png".encode() for i in range(count)],
        })  # fmt: skip
    return made | {
        "batches.meta": write_as({b"num_cases_per_batch": count, b"label_names": [n.encode() for n in NAMES]})
    }


def folder(root: Path, made: dict[str, bytes]) -> Path:
    for name, content in made.items():
        write(root / "cifar-10-batches-py" / name, content)
    return root


@pytest.mark.parametrize("write_as", [python2, python3])
@pytest.mark.parametrize("inner", ["", "cifar-10-batches-py"])
def test_the_official_files(tmp_path: Path, write_as: Any, inner: str) -> None:
    dataset = open_dataset(Study(data=str(folder(tmp_path, files(write_as)) / inner)))
    assert dataset.classes == NAMES
    assert (dataset.pool.tolist(), dataset.test.tolist()) == (list(range(30)), list(range(30, 36)))
    assert dataset.labels.tolist() == [0, 1, 2] * 12
    assert dataset.images.names[30] == "test_batch_0.png"
    planes = np.random.default_rng(0).integers(0, 256, (6, 3072), dtype=np.uint8).reshape(6, 3, 32, 32)
    assert dataset.images.pixels is not None
    np.testing.assert_array_equal(dataset.images.pixels[:6], planes.transpose(0, 2, 3, 1))


class Malicious:
    def __reduce__(self) -> Any:
        return os.system, ("echo broken into > /dev/null",)


def changed(**values: Any) -> bytes:
    batch = pickle.loads(files(python3)["data_batch_3"])
    return python3({**batch, **{key.encode(): value for key, value in values.items()}})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data_batch_2", pickle.dumps(Malicious()), "it refers to posix.system, which CIFAR-10's files never do"),
        ("batches.meta", b"cbuiltins\neval\n(S'1'\ntR.", "it refers to builtins.eval"),
        ("data_batch_2", b"cnumpy\nload\n(S'x'\ntR.", "it refers to numpy.load"),
        ("data_batch_2", b"", "damaged or not CIFAR-10's official file"),
        ("data_batch_2", files()["data_batch_2"][:5000], "damaged or not CIFAR-10's official file"),
        ("data_batch_2", python2([1]), "not CIFAR-10's official file"),
        ("data_batch_2", python2({b"other": 1}), "not CIFAR-10's official files"),
        ("data_batch_3", changed(labels=[0, 1, 2]), "labels do not fit the images"),
        ("data_batch_3", changed(labels=[0, 1, 2, 3, 0, 1]), "labels do not fit the images"),
        ("data_batch_3", changed(data=np.zeros((6, 3072), np.float64)), "its arrays are f8, not uint8"),
        ("data_batch_3", changed(data=np.zeros((6, 100), np.uint8)), "not CIFAR-10's official files"),
        ("data_batch_3", changed(data=b"no array"), "images are no table of 3,072 bytes a row"),
        ("data_batch_3", changed(data=np.zeros(6 * 3072, np.uint8)), "images are no table of 3,072 bytes a row"),
        ("data_batch_3", changed(labels=[0, 1, 2, -1, 0, 1]), "labels do not fit the images"),
        ("data_batch_3", changed(labels=[0, 1, 2, 2**70, 0, 1]), "labels do not fit the images"),
        ("data_batch_3", changed(labels=[0, 1, 2, [0], 0, 1]), "labels is no list of int"),
        ("data_batch_3", changed(labels=np.zeros(6, np.uint8)), "labels is no list of int"),
        ("data_batch_3", changed(filenames=[b"x"]), "labels do not fit the images"),
        ("data_batch_3", changed(filenames=[b"\xff"] * 6), "not CIFAR-10's official files"),
        ("data_batch_3", changed(data=np.array([None, 1], object)), "its arrays are O8, not uint8"),
        ("batches.meta", python3({b"label_names": NAMES}), "label_names is no list of bytes"),
        ("data_batch_2", b"\0" * (64 * 2**20 + 1), "64 MiB, and CIFAR-10's official files have 30"),
        ("data_batch_3", None, "data_batch_3: missing; all of data_batch_1, "),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    made = files()
    del made[name]
    folder(tmp_path, made if content is None else {**made, name: content})
    with pytest.raises(InputError) as raised:
        open_dataset(Study(data=str(tmp_path)))
    assert message in str(raised.value)
    assert str(raised.value).isprintable()


def test_a_real_file_takes_a_second() -> None:
    """As many images and names as an official file has: the limits leave room for it."""
    count = 10_000
    names = [f"leptodactylus_pentadactylus_s_{i:06}.png".encode() for i in range(count)]
    value = {b"labels": [i % 10 for i in range(count)], b"filenames": names, b"data": np.zeros((count, 3072), np.uint8)}
    for write_as in (python2, python3):
        blob = write_as(value)
        assert len(blob) < MAX_BYTES
        read = loads(blob)
        assert read[b"data"].shape == (count, 3072)
        assert (read[b"labels"], read[b"filenames"]) == (value[b"labels"], names)
