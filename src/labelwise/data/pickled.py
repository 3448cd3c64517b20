"""Pickles of plain values and uint8 arrays, read by a machine of our own: nothing is imported, called or built.

Python's unpickler would let a file call what it names, set attributes of what was called, and ask for any amount of
memory. Here each step is one of a few that the official CIFAR-10 files take; whatever else a file holds is refused.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.errors import printable

MOST_STEPS = 1_000_000
"""Steps of a file; an official one takes about 60,000. Each may make a small object."""
RECONSTRUCT = frozenset({"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"})
NDARRAY, DTYPE, ENCODE = "numpy ndarray", "numpy dtype", "_codecs encode"
NAMES = RECONSTRUCT | {NDARRAY, DTYPE, ENCODE}
UINT8 = ("u1", "|u1", b"u1", b"|u1")
UINT8_STATES = tuple((3, order, None, None, None, -1, -1, 0) for order in ("|", b"|"))
"""What pickles say of uint8: no fields, no base type, no sizes of its own, no flags."""


@dataclass(frozen=True)
class _Name:
    text: str


class _UInt8:
    """Stands for the only dtype."""


@dataclass
class _Array:
    values: NDArray[np.uint8] | None = None


def loads(blob: bytes) -> Any:
    """Return what a pickle holds: dicts, lists, tuples, integers, bytes, texts, and (m, n) uint8 arrays as views.

    Texts of Python 2 are bytes. Errors: ValueError, IndexError, KeyError or TypeError for anything else.
    """
    machine = _Machine(len(blob))
    for steps, (opcode, arg, _) in enumerate(pickletools.genops(blob)):
        if steps >= MOST_STEPS:
            raise ValueError(f"more than {MOST_STEPS:,} steps, which CIFAR-10's files never take")
        if opcode.name in VALUES:
            machine.stack.append(VALUES[opcode.name](arg))
        elif opcode.name in STEPS:
            STEPS[opcode.name](machine, arg)
        else:
            raise ValueError(f"it holds {opcode.name}, which CIFAR-10's files never do")
    return _plain(machine.stack.pop())


def _plain(value: Any) -> Any:
    """Return a value with arrays in the place of what stands for them, at the top and in a dict."""
    if isinstance(value, dict):
        return {key: _plain(inner) if isinstance(inner, _Array) else inner for key, inner in value.items()}
    return value.values if isinstance(value, _Array) else value


class _Machine:
    """A stack, the stacks below each mark, what is remembered by number, and how many bytes may still be encoded."""

    def __init__(self, room: int) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.room = room

    def mark(self, _: object) -> None:
        self.below.append(self.stack)
        self.stack = []

    def marked(self) -> list[Any]:
        """Return what was pushed since the last mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def remember(self, place: int | None) -> None:
        self.memo[len(self.memo) if place is None else place] = self.stack[-1]

    def recall(self, place: int) -> None:
        self.stack.append(self.memo[place])

    def append(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise TypeError("it appends to what is no list")
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict:
            raise TypeError("it sets items of what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (bytes, str):  # hashing nested tuples can take for ever
                raise TypeError("a key of a dict is no text")
            self.stack[-1][key] = value

    def push_tuple(self, size: int) -> None:
        items = tuple(self.stack[-size:])
        if len(items) < size:
            raise IndexError("it takes more than there is")
        del self.stack[-size:]
        self.stack.append(items)

    def push_marked(self, _: object) -> None:
        items = tuple(self.marked())
        self.stack.append(items)

    def push_name(self, text: str) -> None:
        if text not in NAMES:
            shown = printable(".".join(text.split(" ")))[:100]
            raise ValueError(f"it refers to {shown}, which CIFAR-10's files never do")
        self.stack.append(_Name(text))

    def push_named(self, _: object) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise TypeError("it refers to what is no name")
        self.push_name(f"{module} {name}")

    def reduce(self, _: object) -> None:
        args, name = self.stack.pop(), self.stack.pop()
        if type(name) is not _Name or type(args) is not tuple:
            raise TypeError("it calls what is no function")
        self.stack.append(self.called(name.text, args))

    def called(self, name: str, args: tuple[Any, ...]) -> Any:
        """Return what stands for the result of one of the calls that arrays and bytes are made by."""
        if name in RECONSTRUCT and len(args) == 3 and args[0] == _Name(NDARRAY):
            return _Array()
        if name == DTYPE and args and type(args[0]) in (bytes, str):
            if args[0] not in UINT8:
                kind = args[0] if type(args[0]) is str else args[0].decode("latin-1")
                raise ValueError(f"its arrays are {printable(kind)[:20]}, not uint8")
            return _UInt8()
        if name == ENCODE and len(args) == 2 and type(args[0]) is str and args[1] in ("latin1", "latin-1"):
            self.room -= len(args[0])
            if self.room < 0:
                raise ValueError("it encodes more than it holds")
            return args[0].encode("latin-1")
        raise ValueError(f"it calls {name.replace(' ', '.')} in a way that CIFAR-10's files never do")

    def build(self, _: object) -> None:
        state, made = self.stack.pop(), self.stack[-1]
        if type(made) is _UInt8:
            if type(state) is not tuple or state not in UINT8_STATES:
                raise ValueError("its arrays are of a type of its own, not plain uint8")
        elif type(made) is _Array:
            made.values = _filled(state)
        else:
            raise TypeError("it sets the state of what is no array")


def _filled(state: Any) -> NDArray[np.uint8]:
    """Return the array that a state says: (1, shape, dtype, whether columns come first, bytes)."""
    if type(state) is not tuple or len(state) != 5:
        raise ValueError("an array's state is not that of an array of uint8")
    _, shape, kind, columns_first, raw = state
    if type(kind) is not _UInt8 or type(raw) is not bytes or type(columns_first) is not bool:
        raise ValueError("an array's state is not that of an array of uint8")
    if type(shape) is not tuple or len(shape) > 2 or not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError("an array's shape is none of a table")
    if math.prod(shape) != len(raw):
        raise ValueError(f"an array's shape does not fit its {len(raw):,} bytes")
    return np.frombuffer(raw, np.uint8).reshape(shape, order="F" if columns_first else "C")


def _text_of_python2(arg: str) -> bytes:
    return arg.encode("latin-1")


def _itself(arg: Any) -> Any:
    return arg


VALUES: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG1"), _itself),
    **dict.fromkeys(("BINBYTES", "SHORT_BINBYTES", "BINUNICODE", "SHORT_BINUNICODE"), _itself),
    **dict.fromkeys(("STRING", "BINSTRING", "SHORT_BINSTRING"), _text_of_python2),
    "NONE": lambda _: None, "NEWTRUE": lambda _: True, "NEWFALSE": lambda _: False,
    "EMPTY_DICT": lambda _: {}, "EMPTY_LIST": lambda _: [], "EMPTY_TUPLE": lambda _: (),
}  # fmt: skip
"""Steps that push a value, which may be the step's own argument."""
STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda _machine, _arg: None),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.recall),
    "MARK": _Machine.mark,
    "TUPLE": _Machine.push_marked,
    "TUPLE1": lambda machine, _: machine.push_tuple(1),
    "TUPLE2": lambda machine, _: machine.push_tuple(2),
    "TUPLE3": lambda machine, _: machine.push_tuple(3),
    "APPEND": lambda machine, _: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.marked()),
    "SETITEM": lambda machine, _: machine.set_items([machine.stack.pop(-2), machine.stack.pop()]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.marked()),
    "GLOBAL": _Machine.push_name, "STACK_GLOBAL": _Machine.push_named,
    "REDUCE": _Machine.reduce, "BUILD": _Machine.build,
}  # fmt: skip
"""Steps that work on what was pushed."""
