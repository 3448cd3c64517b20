"""Behind the page: reading every image once, grouping near-duplicates, and embedding. In a process of its own."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelwise.arrays import Indices
from labelwise.cache import Rows
from labelwise.data.decode import AwayError, ImageInfo, UnreadableImageError
from labelwise.data.depth import depth_of, problem
from labelwise.data.images import SMALL, ImageSet
from labelwise.data.splits import groups_of
from labelwise.labelling.decoding import MAX_PIXELS, Decoder
from labelwise.labelling.folder import CHANGED, read_inside
from labelwise.labelling.messages import NewRows, Work
from labelwise.labelling.store import Image
from labelwise.threads import cores

if TYPE_CHECKING:
    from labelwise.models.backbone import Backbone

CHUNK = 64
"""Images between two reports."""
EMBEDDED_AT_ONCE = 256
"""Images between two reports of embedding: the first model does not wait for all of them."""
LOOKED_AT = 1_000
"""Images that say whether all are small."""
PAUSES = (0.0, 5.0, 25.0)
"""Seconds before each try: a folder that was away for a moment costs nothing."""
MARK = "small.json"
AWAY = "the file could not be read, or was changed, since it was read first"
Known = dict[int, tuple[bytes, str]]
"""Thumbnail and content hash by id."""
Say = Callable[[str, Any], None]
"""Called with the name and the content of a report: see `prepare`."""


def prepare(work: Work, say: Say) -> None:
    """Read, group and embed. Says: work (what, done, total); depth (bits, where they are found); read (changes of

    images); groups (id -> group); embedded (NewRows). An image whose file cannot be read at present is said to be
    missing, and tried again soon; later it is tried when a scan of the folder finds it.
    """
    known = {i: (look, sha) for i, look, sha in zip(*work.looks, strict=True)}
    for pause in PAUSES:
        time.sleep(pause)
        read, away = _read_all(work, known, say)
        if pause and all(image.id in away for image in work.images if image.status == "new"):
            continue
        _group(known, say)
        away |= _embed(read, say)
        if not away:
            return
        work = replace(read, images=[replace(i, status="new") if i.id in away else i for i in read.images])


def _group(known: Known, say: Say) -> None:
    if not known:
        return
    say("work", ("finding near-duplicates", 0, 1))
    order = sorted(known)
    thumbnails = np.frombuffer(b"".join(known[i][0] for i in order), np.uint8).reshape(len(order), -1)
    groups = groups_of([known[i][1] for i in order], thumbnails)  # equal content is one group, flat images too
    first = {int(g): i for i, g in reversed(list(zip(order, groups.tolist(), strict=True)))}
    say("groups", {i: first[g] for i, g in zip(order, groups.tolist(), strict=True)})
    say("work", ("finding near-duplicates", 1, 1))


def _read_all(work: Work, known: Known, say: Say) -> tuple[Work, set[int]]:
    """Read the images that are new, in their order, and add to what is known; return the work with what they are, and

    the ids of those whose files cannot be read at present. The first images of more than 8 bits wait for the others:
    all of them tell the depth.
    """
    new = [image for image in work.images if image.status == "new"]
    images, away = list(work.images), set[int]()
    waiting: list[tuple[Image, ImageInfo]] = []
    decoder = Decoder(cores()) if new else None

    def take(changes: list[dict[str, Any]]) -> None:
        for c in changes:
            images[c["id"] - 1] = replace(images[c["id"] - 1], **{k: v for k, v in c.items() if k != "look"})
            if c["status"] == "ok":
                known[c["id"]] = (c["look"], c["sha256"])
        say("read", changes)

    for start in range(0, len(new), CHUNK):
        part = new[start : start + CHUNK]
        assert decoder is not None
        found = decoder.inspections(work.root, [image.path for image in part])
        changes = []
        for image, info in zip(part, found, strict=True):
            if not work.bits and isinstance(info, ImageInfo) and info.peak:
                waiting.append((image, info))
            else:
                changes.append(_change(image, info, work.bits))
        away |= {image.id for image, info in zip(part, found, strict=True) if isinstance(info, AwayError)}
        take(changes)
        say("work", ("reading images", min(start + CHUNK, len(new)), len(new)))
    if decoder is not None:
        decoder.close()
    if waiting:
        work = replace(work, bits=depth_of(max(info.peak for _, info in waiting)))
        say("depth", work.bits)
        take([_change(image, info, work.bits) for image, info in waiting])
    return replace(work, images=images), away


def _change(image: Image, found: ImageInfo | UnreadableImageError, bits: int) -> dict[str, Any]:
    """Return what to record of an image that was read."""
    change: dict[str, Any] = {
        "id": image.id, "status": "unreadable", "reason": "", "sha256": image.sha256, "width": 0, "height": 0,
        "look": None, "bytes": image.bytes, "mtime_ns": image.mtime_ns,
    }  # fmt: skip
    if isinstance(found, ImageInfo) and (why := problem(found.peak, bits, found.upper_only)):
        found = UnreadableImageError(why)
    if isinstance(found, UnreadableImageError):
        return {**change, "status": "missing" if isinstance(found, AwayError) else "unreadable", "reason": str(found)}
    if image.sha256 and found.sha256.hex() != image.sha256:
        return {**change, "status": "missing", "reason": CHANGED}
    size = {"width": found.width, "height": found.height}
    return {**change, "status": "ok", "sha256": found.sha256.hex(), "look": found.look, **size}


def _all_small(work: Work) -> bool:
    """Return whether the images are so small that they are upsampled: decided once a project, since embeddings depend

    on it.
    """
    decided = decided_small(work.cache, work.project)
    if decided is None:
        sides = [max(image.width, image.height) for image in work.images if image.status == "ok"][:LOOKED_AT]
        decided = max(sides) <= SMALL
        work.cache.mkdir(parents=True, exist_ok=True)
        mark = work.cache / MARK
        temporary = mark.with_suffix(".tmp")  # on a full disk, none rather than an empty one
        temporary.write_text(json.dumps({"project": work.project, "small": decided}))
        temporary.replace(mark)
    return decided


def decided_small(cache: Path, project: str) -> bool | None:
    """Return what was decided for this project (see `_all_small`), or None: another's may have left its folder."""
    try:
        said = json.loads((cache / MARK).read_text())
        return bool(said["small"]) if said["project"] == project else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _embed(work: Work, say: Say) -> set[int]:
    """Embed the images that are not yet, by id; return the ids of those that cannot be read at present."""
    from labelwise.config import Learner
    from labelwise.models.backbone import load_backbone
    from labelwise.models.embeddings import batch_size, embed_readable, input_size, missing_rows, scoring_module

    ready = np.array([image.id - 1 for image in work.images if image.status == "ok"], np.int64)
    if not len(ready):
        return set()
    backbone = load_backbone(
        Learner.model_validate(
            {"kind": "probe", "backbone": work.backbone, "weights": work.weights, "device": work.device}
        )
    )
    way = work.bits, work.resize
    images = image_set(work.root, work.images, _all_small(work), *way)
    folder = project_embeddings(work.cache, backbone, images.small, *way)
    total, at_once = len(ready), max(EMBEDDED_AT_ONCE, batch_size(backbone))

    def embedded(rows: Indices) -> None:
        say("embedded", NewRows(str(folder), backbone.features, rows + 1, images.hashes[rows]))

    say("work", ("embedding images", 0, total))
    with Rows(folder, backbone.features) as store:
        found = missing_rows(store, images, ready)
        missing = found.indices
        embedded(ready[found.sound])
        module = scoring_module(backbone, input_size(images, backbone)[0]) if len(missing) else None
        for start in range(0, len(missing), at_once):
            started, chunk = time.perf_counter(), missing[start : start + at_once]
            assert module is not None
            there, values = embed_readable(images, chunk, backbone, module)
            if there.any():
                took = (time.perf_counter() - started) / int(there.sum())
                store.put(images.hashes[chunk[there]], values, took, found.slots[start : start + at_once][there])
            say("work", ("embedding images", min(total - len(missing) + start + at_once, total), total))
            embedded(chunk[there])
        sound = store.find(images.hashes[ready])[1]
    embedded(ready[sound])  # equal images too
    say("work", ("embedding images", total, total))
    away = {int(row) + 1 for row in ready[~sound]}
    if away:
        say("read", [{"id": i, "status": "missing", "reason": AWAY} for i in sorted(away)])
    return away


def project_embeddings(cache: Path, backbone: Backbone, small: bool, bits: int, resize: str) -> Path:
    """Return where a project keeps the embeddings of its images; other weights or another device have another place.

    bits, resize: see Settings.
    """
    from labelwise.models.embeddings import embeddings_folder

    return embeddings_folder(cache, image_set(Path(), [], small, bits, resize), backbone)


def image_set(root: Path, images: Sequence[Image], small: bool, bits: int, resize: str) -> ImageSet:
    """Return images for embedding, by id - 1; of one that cannot be read, reading it is an error."""

    def blob(index: int) -> bytes:
        return read_inside(root, images[index].path)

    known = b"".join(bytes.fromhex(image.sha256).ljust(32, b"\0")[:32] for image in images)
    hashes = np.frombuffer(known, np.uint8).reshape(-1, 32)
    return ImageSet([image.path for image in images], "", small, None, blob, MAX_PIXELS, hashes, bits, resize)


def is_there(root: Path, image: Image) -> bool:
    """Return whether an image was readable when it was read, and its file is there."""
    return image.status == "ok" and os.path.isfile(os.path.join(root, image.path))
