"""What a name says of a split: folders, files, splits of the hub and values of a column, all read in one way.

Known words say it in any case, with numbers and words such as `set` or `data` around them (`Training`, `test_set`,
`train1`), or with a word that both sides share (`cifar_train`, `cifar_test`). What is not clear is refused, and the
key `split:` settles it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import yaml

from labelwise.errors import InputError, nearest
from labelwise.parts import Sides

Side: TypeAlias = Literal["train", "test", "validation"]
Split: TypeAlias = Literal["auto", "none"] | Sides

WORDS: dict[str, Side] = {
    **dict.fromkeys(("train", "training", "trainset", "trainingset", "traindata", "trainval"), "train"),
    **dict.fromkeys(("test", "testing", "testset", "testdata", "tst", "holdout", "heldout"), "test"),
    **dict.fromkeys(("eval", "evaluation", "evalset"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "valset", "validationset"), "validation"),
    **dict.fromkeys(("dev", "devset", "development"), "validation"),
}  # fmt: skip
EVAL = frozenset({"eval", "evaluation", "evalset"})
"""The test set where there is no other; beside one, what others call validation."""
AROUND = frozenset({
    "set", "sets", "data", "dataset", "subset", "split", "image", "images", "img", "imgs", "picture", "pictures",
    "photo", "photos", "sample", "samples", "file", "files", "folder", "part", "batch", "shard", "of",
})  # fmt: skip
"""Words that change nothing beside one of WORDS."""
FOLDS = frozenset({"fold", "folds", "kfold", "cv", "split"})
CLASSES_TOO = frozenset({"train", "valid"})
"""Words that name classes as well: a vehicle; the opposite of invalid."""
BORDERS = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")


@dataclass(frozen=True)
class Reading:
    """What a name says. side: None for nothing, or for two sides at once; mixed: it says two sides;

    rest: its other words (`cifar` of `cifar_train`); evaluation: it is test by a word that can mean validation too;
    class_too: it is a single word that names a class as well.
    """

    side: Side | None
    rest: tuple[str, ...] = ()
    mixed: bool = False
    evaluation: bool = False
    class_too: bool = False

    @property
    def clear(self) -> bool:
        """Whether the name says a side and nothing else."""
        return self.side is not None and not self.rest


@dataclass(frozen=True)
class Chosen:
    """Which names are which side. test: () where no name is; unused: why, by name; notes: what a reader must know."""

    train: tuple[str, ...]
    test: tuple[str, ...] = ()
    unused: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read(name: str) -> Reading:
    """Return what a name says of a split; of a file, without its extension and `-00000-of-00002`."""
    words = _words(name)
    said = [word for word in words if word in WORDS]
    sides = {WORDS[word] for word in said}
    rest = tuple(word for word in words if word not in WORDS and word not in AROUND and not word.isdigit())
    if sides == {"train", "validation"}:  # train_val is trainval
        sides = {"train"}
    if len(sides) != 1:
        return Reading(None, rest, mixed=bool(sides))
    (side,) = sides
    return Reading(side, rest, evaluation=set(said) <= EVAL, class_too=len(words) == 1 and words[0] in CLASSES_TOO)


def _words(name: str) -> list[str]:
    words = [word.casefold() for word in BORDERS.split(name) if word]
    return re.sub(r"\b(hold|held) out\b", r"\1out", " ".join(words)).split()


def side_of(name: str) -> Side | None:
    """Return the side that a name says, or None."""
    return read(name).side


def is_fold(name: str) -> bool:
    """Return whether a name looks like a fold of a cross-validation: `fold1`, `cv_3`, `k-fold 2`, `split0`."""
    words = _words(name)
    others = [word for word in words if not word.isdigit() and word != "k"]
    numbered = any(word.isdigit() or word == "k" for word in words) or others == ["kfold"]
    return numbered and bool(others) and set(others) <= FOLDS


def without_shard(stem: str) -> str:
    """Return the split's name in the name of one of its files on the hub: `train` of `train-00000-of-00002`."""
    return re.sub(r"-\d+-of-\d+(-[0-9a-f]+)?$", "", stem)


def choose(names: Iterable[str], split: Split, where: str, every: bool = False) -> Chosen:
    """Return which names are the training set and which the test set, by the configuration's `split`.

    names: of parts that lie side by side; where none of them says a split, all are one pool (`train`, no `test`);
    where: what to call the place in errors; every: each name has to say a side, as the values of a `split` column do.
    Errors: InputError for what is not clear.
    """
    parts = tuple(dict.fromkeys(names))
    if split == "none":
        return Chosen(parts)
    if isinstance(split, Sides):
        return given(parts, split, where)
    readings = {name: read(name) for name in parts}
    folds = [name for name in parts if is_fold(name) and readings[name].side is None]
    if len(folds) > 1:
        raise unclear(where, f"{listed(folds)} look like folds", folds[:-1], folds[-1:])
    mixed = [name for name, reading in readings.items() if reading.mixed]
    silent = [name for name, reading in readings.items() if reading.side is None]
    if mixed or (every and silent and len(parts) > 1):
        vague = mixed or silent
        does = "say" if len(vague) > 1 else "says"
        raise unclear(where, f"{listed(vague)} {does} neither train nor test", parts[:-1] or parts, parts[1:][-1:])
    sides = _by_side(readings)
    if sum(bool(of) for of in sides.values()) < 2 and (not silent or not any(sides.values())):
        return Chosen(parts)  # all of one side, or none says any: nothing to hold apart
    if not sides["train"] or not (sides["test"] or silent):
        raise _one_side_missing(where, parts, sides)
    _check(where, readings, sides)
    return _chosen(sides, silent)


def _by_side(readings: Mapping[str, Reading]) -> dict[Side, list[str]]:
    sides: dict[Side, list[str]] = {"train": [], "test": [], "validation": []}
    other_test = any(reading.side == "test" and not reading.evaluation for reading in readings.values())
    for name, reading in readings.items():
        if reading.side is not None:
            sides["validation" if reading.evaluation and other_test else reading.side].append(name)
    return sides


def _one_side_missing(where: str, parts: Collection[str], sides: Mapping[Side, list[str]]) -> InputError:
    if not sides["train"]:
        return unclear(where, f"there is no training set among {listed(parts)}", parts, sides["test"])
    return unclear(
        where, f"there are {listed(sides['train'])} and {listed(sides['validation'])}, but there is no test set",
        sides["train"], sides["validation"],
    )  # fmt: skip


def _check(where: str, readings: Mapping[str, Reading], sides: Mapping[Side, list[str]]) -> None:
    """Refuse names that do not go together: other words on each side, or several sets with two sides each."""
    words = {side: {readings[name].rest for name in names} for side, names in sides.items() if names}
    both = [*sides["train"], *sides["test"]]
    if words["train"] != words.get("test", {()}):
        raise unclear(where, f"it is not clear whether {listed(both)} are splits", sides["train"], sides["test"])
    if min(len(sides["train"]), len(sides["test"])) > 1:
        raise unclear(where, f"{listed(both)} are several sets", sides["train"][:1], sides["test"][:1])
    if len(sides["train"]) > 1 and any("val" in name.casefold() for name in sides["train"]):
        raise unclear(where, f"{listed(sides['train'])} may hold the same images", sides["train"][:1], sides["test"])


def _chosen(sides: Mapping[Side, list[str]], silent: list[str]) -> Chosen:
    train, test = tuple(sides["train"]), tuple(sides["test"])
    unused = dict.fromkeys(sides["validation"], "a validation set") | dict.fromkeys(silent, "no split by its name")
    notes = []
    if sides["validation"]:
        adds = example([*train, *sides["validation"]], test)
        notes.append(f"{listed(sides['validation'])} (validation) is not used; {adds} adds it to the training set")
    if [name.casefold() for name in (*train, *test)] not in (["train"], ["train", "test"]):
        notes.append(described(train, test))
    return Chosen(train, test, unused, tuple(notes))


def given(names: Collection[str], sides: Sides, where: str) -> Chosen:
    """Return the sides that a configuration gives; with `test` alone, all other names train.

    Errors: InputError for names that are not there, or stand on both sides.
    """
    if not (sides.train or sides.test):
        raise InputError("split: neither train nor test is given; write {train: A, test: B}, auto or none")
    for name in (*sides.train, *sides.test):
        if name not in names:
            raise InputError(f"{where}: split names '{name}', which is not there{nearest(name, names)}")
    if both := set(sides.train) & set(sides.test):
        raise InputError(f"split: {listed(sorted(both))} stands under train and under test; give one")
    train = sides.train or tuple(name for name in names if name not in sides.test)
    if not train:
        raise InputError(f"{where}: split: test takes everything there is; leave something to train")
    unused = [name for name in names if name not in (*train, *sides.test)]
    why = dict.fromkeys(unused, "not named by split:")
    return Chosen(train, sides.test, why, (described(train, sides.test),))


def described(train: Collection[str], test: Collection[str]) -> str:
    """Say which names are which side, for a note."""
    return f"training set: {listed(train)}" + (f"; test set: {listed(test)}" if test else "")


def unclear(where: str, what: str, train: Collection[str], test: Collection[str] = ()) -> InputError:
    """Return the error for names whose sides are not clear, with an example of the key that settles it."""
    return InputError(
        f"{where}: {what}; say which is which, as in {example(train, test)}, or set split=none if they are no splits"
    )


def example(train: Collection[str], test: Collection[str]) -> str:
    """Return the option that sets two sides, as it is typed."""
    train = [name for name in train if name not in test]
    sides = [f"{side}: {_flow(names)}" for side, names in (("train", train), ("test", test)) if names]
    return f"--set 'split={{{', '.join(sides)}}}'"


def _flow(names: Collection[str]) -> str:
    """Return names as YAML takes them in one line."""
    shown = [name if re.fullmatch(r"[^\W\d][\w.-]*", name) and yaml.safe_load(name) == name else f'"{name}"'
             for name in names]  # fmt: skip
    return shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"


def listed(names: Collection[str]) -> str:
    """Return names for a line, at most six of them."""
    shown = list(names)[:6]
    return ", ".join(shown) + (f" and {len(names) - 6:,} more" if len(names) > 6 else "")
