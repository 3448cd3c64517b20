"""Crafted pickles: whatever the official files do not hold is refused, and nothing of it happens."""

from __future__ import annotations

import pickle
import pickletools
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest

from labelwise.data import pickled
from labelwise.data.pickled import MOST_STEPS, loads

U1 = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
EMPTY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"


def array(state: bytes) -> bytes:
    return b"\x80\x02" + EMPTY + state + b"b."


def test_an_array_is_read_as_it_was() -> None:
    assert loads(array(b"(K\x01K\x02K\x03\x86" + U1 + b"\x89U\x06abcdeft")).tolist() == [[97, 98, 99], [100, 101, 102]]
    for values in (
        np.arange(6, dtype=np.uint8).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(2, 3)),
    ):
        for protocol in (2, 3, 4):
            np.testing.assert_array_equal(loads(pickle.dumps(values, protocol)), values)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        # an array of objects, whose bytes would be taken for addresses
        (b"(K\x01K\x01\x85cnumpy\ndtype\n(U\x02O8K\x00K\x01tR\x89U\x08AAAAAAAAt", "its arrays are O8, not uint8"),
        # uint8 that becomes objects, has fields, a size or flags of its own by its state
        (b"(K\x01K\x01\x85" + U1.replace(b"K\x00tb", b"K\x3ftb") + b"\x89U\x01At", "not plain uint8"),
        (b"(K\x01K\x01\x85" + U1.replace(b"NNN", b"NU\x01a}") + b"\x89U\x01At", "not plain uint8"),
        (b"(K\x01K\x01\x85" + U1.replace(b"NNNJ\xff\xff\xff\xff", b"NNNK\x08") + b"\x89U\x01At", "not plain uint8"),
        (b"(K\x01K\x01\x85" + U1.replace(b"U\x01|N", b"U\x01|U\x02O8") + b"\x89U\x01At", "not plain uint8"),
        # shapes that do not fit the bytes, or are none
        (b"(K\x01J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86" + U1 + b"\x89U\x01At", "does not fit its 1 bytes"),
        (b"(K\x01K\x02\x85" + U1 + b"\x89U\x01At", "does not fit its 1 bytes"),
        (b"(K\x01J\xff\xff\xff\xffJ\xff\xff\xff\xff\x86" + U1 + b"\x89U\x01At", "an array's shape"),
        (b"(K\x01(K\x01K\x01K\x01t" + U1 + b"\x89U\x01At", "an array's shape"),
        (b"(K\x01U\x01A" + U1 + b"\x89U\x01At", "an array's shape"),
        (b"(K\x01]K\x01a" + U1 + b"\x89U\x01At", "an array's shape"),
        # a list of objects in the place of the bytes, and states that are none
        (b"(K\x01K\x01\x85" + U1 + b"\x89]Nat", "not that of an array of uint8"),
        (b"(K\x01K\x01\x85U\x02u1\x89U\x01At", "not that of an array of uint8"),
        (b"}U\x05shapeK\x01s", "not that of an array of uint8"),
        (b"N", "not that of an array of uint8"),
    ],
)  # fmt: skip
def test_arrays_of_another_kind_are_refused(state: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loads(array(state))


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"cnumpy\nndarray\n(K\x01\x85U\x01OtR.", "it calls numpy.ndarray"),  # (shape, dtype): a new array of any size
        (b"cnumpy\nndarray\n(J\xff\xff\xff\x7ftR.", "it calls numpy.ndarray"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n)U\x01btR.", "it calls numpy.core.multiarray"),
        (b"cnumpy\ndtype\n(]U\x01aaU\x01OatR.", "it calls numpy.dtype"),
        (b"cnumpy\ndtype\n(U\x0b10000000000tR.", "its arrays are"),
        (b"cnumpy\nndarray\n}U\x01aK\x01sb.", "sets the state of what is no array"),  # attributes of a function
        (b"c_codecs\nencode\nN}U\x0c__defaults__Ns\x86b.", "sets the state of what is no array"),
        (b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00rottR.", "it calls _codecs.encode"),
        (b"cnumpy\nndarray.__reduce__\n.", "it refers to numpy.ndarray.__reduce__"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "it refers to os.system"),
        (b"\x80\x04K\x01K\x02\x93.", "it refers to what is no name"),
        (b"cos\nsystem\n(U\x02lstR.", "it refers to os.system"),
        (b"(U\x02lsios\nsystem\n.", "it holds INST"),
        (b"(cnumpy\nndarray\no.", "it holds OBJ"),
        (b"cnumpy\nndarray\n)\x81.", "it holds NEWOBJ"),
        (b"Pid\n.", "it holds PERSID"),
        (b"\x82\x01.", "it holds EXT1"),
        (b"\x80\x05\x97.", "it holds NEXT_BUFFER"),
        (b"\x80\x05\x96\x01\x00\x00\x00\x00\x00\x00\x00a.", "it holds BYTEARRAY8"),
        (b"}((K\x01K\x02tK\x03u.", "a key of a dict is no text"),
        (b"U\x01aK\x01a.", "it appends to what is no list"),
        (b"K\x01U\x01aK\x01s.", "it sets items of what is no dict"),
    ],
)  # fmt: skip
def test_what_the_official_files_do_not_do_is_refused(blob: bytes, message: str) -> None:
    with pytest.raises((ValueError, IndexError, KeyError, TypeError), match=message):
        loads(blob)


@pytest.mark.parametrize(
    "blob", [b"h\x07.", b"t.", b"a.", b"R.", b"b.", b"\x87.", b".", b"", b"}(U\x01au.", b"N", b"\xff"]
)
def test_a_file_that_breaks_off_or_takes_what_is_not_there(blob: bytes) -> None:
    with pytest.raises((ValueError, IndexError, KeyError, TypeError)):
        loads(blob)


def test_nothing_that_a_file_says_outlives_it() -> None:
    before = dict(vars(pickled._Machine)), dict(vars(pickled._Array)), dict(vars(np))
    for name in (b"numpy\nndarray", b"numpy\ndtype", b"_codecs\nencode", b"numpy.core.multiarray\n_reconstruct"):
        with pytest.raises(TypeError):
            loads(b"c" + name + b"\nN}U\x06calledK\x01s\x86b.")
    assert before == (dict(vars(pickled._Machine)), dict(vars(pickled._Array)), dict(vars(np)))


TEXT = b"X" + struct.pack("<i", 100_000) + b"a" * 100_000


@pytest.mark.parametrize(
    "blob",
    [
        b"K\x01r\xff\xff\xff\x7f.",  # remember at place 2^31 - 1: Python's unpickler makes a table so long
        b"B\xff\xff\xff\x7fa.",  # 2 GiB of bytes that are not there
        b"\x80\x04\x8e" + struct.pack("<q", 2**40) + b"a.",
        b"\x80\x04\x95" + struct.pack("<q", 2**40) + b"K\x01.",
        b"c_codecs\nencode\nq\x00" + TEXT + b"X\x06\x00\x00\x00latin1\x86q\x02](" + b"h\x00h\x02R" * 10_000 + b"e.",
        b"](" + b"}" * (MOST_STEPS + 1) + b"e.",
        b"((" + b"t(" * 1000 + b".",
    ],
)  # fmt: skip
def test_a_small_file_takes_little_memory(blob: bytes) -> None:
    tracemalloc.start()
    try:
        loads(blob)
    except (ValueError, IndexError, KeyError, TypeError):
        pass
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert most < 200 * 2**20


def test_any_broken_file_raises_one_of_four(rng: np.random.Generator) -> None:
    value: dict[bytes, Any] = {
        b"data": np.arange(12, dtype=np.uint8).reshape(2, 6),
        b"labels": [1, 300, 70_000],
        b"x": b"ab",
    }
    for protocol in (2, 4):
        whole = pickle.dumps(value, protocol)
        assert pickletools.optimize(whole)
        for _ in range(2000):
            broken = bytearray(whole)
            for place in rng.integers(0, len(whole), rng.integers(1, 4)):
                broken[place] = rng.integers(256)
            try:
                loads(bytes(broken))
            except (ValueError, IndexError, KeyError, TypeError):
                continue
