"""How a source's listing becomes a data set: images are read, what is unusable is refused, a test set is there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Labels
from labelwise.config import Study, digest
from labelwise.data.dataset import Dataset, Listing
from labelwise.data.images import ImageSet, Progress
from labelwise.data.inspection import Inspection, from_array, from_blobs, names_alone
from labelwise.data.seen import Seen, classes_of, sizes_of
from labelwise.data.splits import groups_by, groups_of, overlap, set_apart
from labelwise.errors import InputError, printable


def build(listing: Listing, study: Study, progress: Progress) -> Dataset:
    """Decode a listing, refuse what cannot be used, and set a test split apart where there is none.

    Errors: InputError for unreadable images (unless the study skips them), tiny classes, and train and test
    that do not have the same classes.
    """
    if not len(listing.names):
        raise InputError(f"{listing.source}: no images found; formats read are JPEG, PNG, WebP, BMP, GIF, TIFF, PPM")
    names = [printable(name) for name in listing.names]
    images, found = _read(listing, names, study, progress)
    left_out = _left_out(listing.source, names, found, study.skip_unreadable)
    labels = listing.labels[found.readable]
    _check_classes(listing, labels)
    if listing.test is None:
        is_test, of_split = _set_apart(listing, labels, found, study.test_share)
    else:
        is_test = listing.test[found.readable]
        of_split = _check_split(listing, labels, is_test)
    equal, alike = overlap(is_test, found.hashes, found.looks) if listing.test is not None else (0, 0)
    unused = (f"{what} not used: {number:,}" for what, number in sorted(listing.unused.items()) if number)
    contradictions = _contradictions(labels, found)
    lossy = images.small and listing.blob is not None and listing.blob(int(found.readable[0])).startswith(b"\xff\xd8")
    notes = (
        *listing.notes, *unused, *found.notes, *left_out, *of_split, *contradictions,
        *_overlap(equal, alike, int(is_test.sum())),
        *(["small images stored as JPEG, which loses detail: accuracies can differ a little from others'"] * lossy),
    )  # fmt: skip
    fingerprint = digest(
        images.fingerprint if study.resize == "crop" else f"{images.fingerprint} {study.resize}",
        "\x1f".join(listing.classes),
        *(hashlib.sha256(np.ascontiguousarray(array).data).hexdigest() for array in (labels, is_test)),
    )
    groups = _groups(listing, found)
    return Dataset(
        printable(listing.source),
        listing.classes,
        images,
        labels,
        np.flatnonzero(~is_test),
        np.flatnonzero(is_test),
        fingerprint,
        tuple(map(printable, notes)),
        None if listing.vectors is None else listing.vectors.values,
        groups,
        replace(
            _seen(listing, names, found, study),
            classes=classes_of(listing.classes, labels, is_test),
            groups=0 if groups is None else len(set(groups) - {""}),
            equal=equal,
            alike=equal + alike,
            notes=tuple(map(printable, (*listing.notes, *found.notes, *of_split, *contradictions))),
        ),
    )


def _read(listing: Listing, names: Sequence[str], study: Study, progress: Progress) -> tuple[ImageSet, Inspection]:
    """Look at every image once, or at what there is in their place."""
    if listing.vectors is not None:
        images, found = names_alone(names, listing.vectors.fingerprint, listing.vectors.ids())
    elif listing.pixels is not None:
        images, found = from_array(listing.pixels, names)
    else:
        assert listing.blob is not None
        training = None if listing.test is None else ~listing.test
        images, found = from_blobs(listing.blob, names, listing.key, study.max_pixels, progress, training)
    return replace(images, resize=study.resize), found


def _seen(listing: Listing, names: Sequence[str], found: Inspection, study: Study) -> Seen:
    """Return what was read, as far as the listing and its images tell it."""
    return Seen(
        source=printable(listing.source),
        kind=listing.kind,
        split=f"{study.test_share:.0%} set apart" if listing.test is None else "the source's own split",
        unreadable={names[i]: printable(why) for i, why in sorted(found.unreadable.items())},
        unused={printable(what): number for what, number in listing.unused.items() if number},
        sizes=sizes_of(found.shapes) if len(found.shapes) else None,
        modes=found.modes,
        resize=study.resize,
    )


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


def _contradictions(labels: Labels, found: Inspection) -> tuple[str, ...]:
    """Return a note on equal images (or rows of features) of different classes."""
    _, content = np.unique(found.hashes, return_inverse=True)
    pairs = np.unique(np.column_stack([content, labels]), axis=0)
    number = int((np.bincount(pairs[:, 0])[content] > 1).sum())
    things = "images" if found.looks is not None else "rows"
    return (f"{number:,} {things} are equal to one of another class: one of the labels is wrong",) if number else ()


def _overlap(equal: int, alike: int, total: int) -> tuple[str, ...]:
    """Return notes on test images that the training set holds too: equal ones, and others that look the same."""
    notes = []
    if equal == total:
        notes.append("the test set equals images of the training set: accuracies are of images that were learned")
    elif equal:
        notes.append(f"{equal:,} of {total:,} test images are in the training set too: accuracies are too high")
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


def _check_split(listing: Listing, labels: Labels, is_test: NDArray[np.bool_]) -> tuple[str, ...]:
    """Return a note on classes that a source's own split does not test.

    Errors: InputError for one that is tested and not trained on, and for a test set of fewer than two classes.
    """
    count = len(listing.classes)
    train, test = (np.bincount(labels[side], minlength=count) > 0 for side in (~is_test, is_test))
    untested = ", ".join(f"'{listing.classes[k]}'" for k in np.flatnonzero(~test))
    if (test & ~train).any() or test.sum() < 2:
        only = ", ".join(f"'{listing.classes[k]}'" for k in np.flatnonzero(~train))
        here, there, names = ("test", "train", only) if only else ("train", "test", untested)
        raise InputError(
            f"{listing.source}: classes differ: {names} in {here} but not in {there}; give both splits the same classes"
        )
    return (f"in training only, and not in the test set: {untested}",) if untested else ()
