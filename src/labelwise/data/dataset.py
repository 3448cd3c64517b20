"""The data set that everything above works on, and how a source's listing becomes one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Floats, Indices, Labels
from labelwise.config import Study, digest
from labelwise.data.images import ImageSet, Inspection, Progress, from_array, from_blobs, names_alone
from labelwise.data.seen import Seen
from labelwise.data.splits import groups_by, groups_of, overlap, set_apart
from labelwise.data.vectors import Vectors
from labelwise.errors import InputError, printable


@dataclass(frozen=True)
class Listing:
    """What a source lists before an image is decoded.

    classes: declared by the source, K names; labels: (N,) 0..K-1; test: (N,) bool, or None without a test split;
    groups: (N,) ids of scenes that belong together, or None; names: what to call each image;
    pixels: (N, H, W, 3) uint8, or blob(i) -> encoded bytes with `key` that stands for their content, or vectors: the
    features of data without images;
    kind: what kind of source it is, in words; unused: what lies there and is not used, in words -> how many;
    notes: what the reader of a report must know about the data.
    """

    source: str
    classes: tuple[str, ...]
    labels: Labels
    names: Sequence[str]
    test: NDArray[np.bool_] | None = None
    groups: Sequence[str] | None = None
    pixels: NDArray[np.uint8] | None = None
    blob: Callable[[int], bytes] | None = None
    key: str = ""
    vectors: Vectors | None = None
    kind: str = ""
    unused: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """N labelled images; dataset indices are row numbers 0..N-1 over pool and test together.

    labels: (N,) 0..K-1; pool: (P,) and test: (T,) dataset indices, sorted, disjoint; fingerprint: stands for the
    images, labels, class names and the split; features: (N, D) embeddings that were made elsewhere, mapped, or None;
    groups: (N,) as the source declares them, "" for none, or None.
    """

    source: str
    classes: tuple[str, ...]
    images: ImageSet
    labels: Labels
    pool: Indices
    test: Indices
    fingerprint: str
    notes: tuple[str, ...] = field(default=())
    features: Floats | None = None
    groups: Sequence[str] | None = None
    seen: Seen = field(default_factory=Seen)


def build(listing: Listing, study: Study, progress: Progress) -> Dataset:
    """Decode a listing, refuse what cannot be used, and set a test split apart where there is none.

    Errors: InputError for unreadable images (unless the study skips them), tiny classes, and train and test
    that do not have the same classes.
    """
    if not len(listing.names):
        raise InputError(f"{listing.source}: no images found; formats read are JPEG, PNG, WebP, BMP, GIF, TIFF, PPM")
    names = [printable(name) for name in listing.names]
    if listing.vectors is not None:
        images, found = names_alone(names, listing.vectors.fingerprint, listing.vectors.ids())
    elif listing.pixels is not None:
        images, found = from_array(listing.pixels, names, looks=listing.test is None)
    else:
        assert listing.blob is not None
        training = None if listing.test is None else ~listing.test
        images, found = from_blobs(listing.blob, names, listing.key, study.max_pixels, progress, training)
    images = replace(images, resize=study.resize)
    unused = (f"{what} not used: {number:,}" for what, number in sorted(listing.unused.items()) if number)
    notes = (*listing.notes, *unused, *found.notes, *_left_out(listing.source, names, found, study.skip_unreadable))
    labels = listing.labels[found.readable]
    _check_classes(listing, labels)
    if listing.test is None:
        is_test, more = _set_apart(listing, labels, found, study.test_share)
    else:
        is_test = listing.test[found.readable]
        _check_split(listing, labels, is_test)
        more = _overlap(is_test, found)
    notes = (*notes, *more)
    if images.small and listing.blob is not None and listing.blob(int(found.readable[0])).startswith(b"\xff\xd8"):
        notes = (*notes, "small images stored as JPEG, which loses detail: accuracies can differ a little from others'")
    fingerprint = digest(
        images.fingerprint if study.resize == "crop" else f"{images.fingerprint} {study.resize}",
        "\x1f".join(listing.classes),
        *(hashlib.sha256(np.ascontiguousarray(array).data).hexdigest() for array in (labels, is_test)),
    )
    return Dataset(
        printable(listing.source), listing.classes, images, labels,
        np.flatnonzero(~is_test), np.flatnonzero(is_test), fingerprint, tuple(map(printable, notes)),
        None if listing.vectors is None else listing.vectors.values, _groups(listing, found),
    )  # fmt: skip


def _left_out(source: str, names: Sequence[str], found: Inspection, skip: bool) -> tuple[str, ...]:
    """Return a note on the unreadable images, if any. Errors: InputError unless they are to be skipped."""
    if not found.unreadable:
        return ()
    bad = [f"{names[i]} ({why})" for i, why in sorted(found.unreadable.items())]
    shown = "; ".join(bad[:10]) + (f"; and {len(bad) - 10} more" if len(bad) > 10 else "")
    if not skip:
        raise InputError(
            f"{source}: {len(bad)} of {len(names)} images cannot be read: {shown}. "
            "Mend or remove them, or leave them out with --set skip_unreadable=true"
        )
    return (f"{len(bad)} unreadable images left out: {shown}",)


def _groups(listing: Listing, found: Inspection) -> Sequence[str] | None:
    """Return the declared groups of the readable images."""
    if listing.groups is None or len(found.readable) == len(listing.groups):
        return listing.groups
    return [listing.groups[i] for i in found.readable]


def _set_apart(
    listing: Listing, labels: Labels, found: Inspection, share: float
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Return (N,) bool, which images are the test set, and notes that say so.

    A class whose images are all one group is in training only. Errors: InputError where that leaves nothing to test.
    """
    if share >= 1:
        raise InputError("test_share: 100 % leaves nothing to learn from; the default is 20%")
    groups = _groups(listing, found)
    if listing.vectors is not None:
        ids, near = groups_by(groups, listing.vectors.equal, len(labels)), "equal rows"
    else:
        assert found.looks is not None
        ids, near = groups_of(groups, found.looks), "near-duplicates"
    is_test = set_apart(labels, ids, share)
    grouped = int((np.bincount(ids)[ids] > 1).sum())
    tested = np.bincount(labels[is_test], minlength=len(listing.classes)) > 0
    untested = ", ".join(f"'{listing.classes[k]}'" for k in np.flatnonzero(~tested))
    alike = f"all images of {untested} look alike or share groups with others that have to be learned"
    if tested.sum() < 2:
        raise InputError(
            f"{listing.source}: no test set can be set apart: {alike}; add images of other scenes, or split them into "
            "train and test yourself"
        )
    left = [f"in training only, and not in the test set: {untested}; {alike}"] if untested else []
    return is_test, (
        f"no test split in the source: {is_test.sum():,} of {len(labels):,} images set apart, stratified, whole groups "
        f"together ({grouped:,} images are in groups: scenes or {near})",
        *left,
    )


def _overlap(is_test: NDArray[np.bool_], found: Inspection) -> tuple[str, ...]:
    """Return notes on test images that the training set holds too."""
    same, alike = overlap(is_test, found.hashes, found.looks)
    total = int(is_test.sum())
    notes = []
    if same == total:
        notes.append("the test set equals images of the training set: accuracies are of images that were learned")
    elif same:
        notes.append(f"{same:,} of {total:,} test images are in the training set too: accuracies are too high")
    if alike:
        notes.append(f"{alike:,} of {total:,} test images look the same as images of the training set")
    return tuple(notes)


def _check_classes(listing: Listing, labels: Labels) -> None:
    for name in listing.classes:
        if not name.strip() or printable(name) != name:
            raise InputError(f"{listing.source}: the class name {name!r} cannot be shown on one line; rename it")
    if len(listing.classes) < 2:
        raise InputError(f"{listing.source}: at least two classes are needed, found: {', '.join(listing.classes)}")
    counts = np.bincount(labels, minlength=len(listing.classes))
    for name, count in zip(listing.classes, counts, strict=True):
        if count < 2:
            images = "image" if count == 1 else "images"
            raise InputError(
                f"{listing.source}: class '{name}' has {count} readable {images}; at least 2 are needed, one to train "
                "and one to test: add images or remove the class"
            )


def _check_split(listing: Listing, labels: Labels, is_test: NDArray[np.bool_]) -> None:
    """Refuse a source's own split whose sides do not have the same classes. Errors: InputError."""
    count = len(listing.classes)
    train, test = (np.bincount(labels[side], minlength=count) > 0 for side in (~is_test, is_test))
    for sides, here, there in ((train & ~test, "train", "test"), (test & ~train, "test", "train")):
        if sides.any():
            names = ", ".join(f"'{listing.classes[k]}'" for k in np.flatnonzero(sides))
            raise InputError(
                f"{listing.source}: classes differ: {names} in {here} but not in {there}; give both splits the same "
                "classes"
            )
