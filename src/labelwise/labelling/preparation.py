"""Behind the page: reading every image once, grouping near-duplicates, and embedding. In a process of its own."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Picture

from labelwise.data.decode import ImageInfo, UnreadableImageError
from labelwise.data.depth import depth_of, problem
from labelwise.data.images import SMALL, ImageSet
from labelwise.data.splits import groups_of
from labelwise.labelling.decoding import MAX_PIXELS, Decoder
from labelwise.labelling.folder import read_inside
from labelwise.labelling.messages import Work
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
Say = Callable[[str, Any], None]
"""Called with the name and the content of a report: see `prepare`."""


def prepare(work: Work, say: Say) -> None:
    """Read, group and embed. Says: work (what, done, total); depth (bits, where they are found); read (changes of

    images); groups (id -> group); embedded (file, rows, D): the first `rows` images have their embedding in the file.
    """
    work, known = _read_all(work, say)
    if known:
        say("work", ("finding near-duplicates", 0, 1))
        order = sorted(known)
        thumbnails = np.frombuffer(b"".join(known[i][0] for i in order), np.uint8).reshape(len(order), -1)
        groups = groups_of([known[i][1] for i in order], thumbnails)  # equal content is one group, flat images too
        first = {int(g): i for i, g in reversed(list(zip(order, groups.tolist(), strict=True)))}
        say("groups", {i: first[g] for i, g in zip(order, groups.tolist(), strict=True)})
        say("work", ("finding near-duplicates", 1, 1))
    _embed(work, say)


def _read_all(work: Work, say: Say) -> tuple[Work, dict[int, tuple[bytes, str]]]:
    """Read the images that are new, in their order; return the work with what is known now, and thumbnail and content

    hash by id. The first images of more than 8 bits wait for the others: all of them tell the depth.
    """
    new = [image for image in work.images if image.status == "new"]
    images = list(work.images)
    known = {i: (look, sha) for i, look, sha in zip(*work.looks, strict=True)}
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
        take(changes)
        say("work", ("reading images", min(start + CHUNK, len(new)), len(new)))
    if decoder is not None:
        decoder.close()
    if waiting:
        work = replace(work, bits=depth_of(max(info.peak for _, info in waiting)))
        say("depth", work.bits)
        take([_change(image, info, work.bits) for image, info in waiting])
    return replace(work, images=images), known


def _change(image: Image, found: ImageInfo | str, bits: int) -> dict[str, Any]:
    """Return what to record of an image that was read."""
    change: dict[str, Any] = {
        "id": image.id, "status": "unreadable", "reason": "", "sha256": image.sha256, "width": 0, "height": 0,
        "look": None, "bytes": image.bytes, "mtime_ns": image.mtime_ns,
    }  # fmt: skip
    if isinstance(found, ImageInfo) and (why := problem(found.peak, bits, found.upper_only)):
        found = why
    if isinstance(found, str):
        return {**change, "reason": found}
    if image.sha256 and found.sha256.hex() != image.sha256:
        return {
            **change,
            "status": "missing",
            "reason": "the file was changed: what was said of it was of another picture",
        }
    size = {"width": found.width, "height": found.height}
    return {**change, "status": "ok", "sha256": found.sha256.hex(), "look": found.look, **size}


def _all_small(work: Work) -> bool:
    """Return whether the images are so small that they are upsampled: decided once, since embeddings depend on it."""
    mark = work.cache / "small"
    if not mark.is_file():
        sides = [max(image.width, image.height) for image in work.images if image.status == "ok"][:LOOKED_AT]
        work.cache.mkdir(parents=True, exist_ok=True)
        temporary = mark.with_suffix(".tmp")  # on a full disk, none rather than an empty one
        temporary.write_text("yes" if sides and max(sides) <= SMALL else "no")
        temporary.replace(mark)
    return mark.read_text() == "yes"


def _embed(work: Work, say: Say) -> None:
    """Embed all images by id, going on where an earlier process stopped; unreadable ones get the embedding of grey."""
    from labelwise.config import Learner
    from labelwise.models.backbone import load_backbone
    from labelwise.models.embeddings import resume

    backbone = load_backbone(
        Learner.model_validate(
            {"kind": "probe", "backbone": work.backbone, "weights": work.weights, "device": work.device}
        )
    )
    small = _all_small(work)
    images = replace(image_set(work.root, work.images, small), bits=work.bits, resize=work.resize)
    folder = embeddings_folder(work.cache, backbone, small, images.way)
    folder.mkdir(parents=True, exist_ok=True)
    path = str(folder / "values.f16")

    def progress(what: str, done: int, total: int) -> None:
        say("work", (what, done, total))
        say("embedded", (path, done, backbone.features))

    say("work", ("embedding images", 0, len(images)))
    resume(folder, images, backbone, progress, EMBEDDED_AT_ONCE)
    say("work", ("embedding images", len(images), len(images)))
    say("embedded", (path, len(images), backbone.features))


def embeddings_folder(cache: Path, backbone: Backbone, small: bool, how: str) -> Path:
    """Return where a project keeps the embeddings of its images; other weights or another device have another place.

    how: an image set's `way`.
    """
    from labelwise.config import digest
    from labelwise.models.embeddings import LAYOUT

    return cache / f"embeddings-{digest(LAYOUT, backbone.fingerprint, str(small), how, backbone.device.type)}"


def image_set(root: Path, images: Sequence[Image], small: bool) -> ImageSet:
    """Return images for embedding; one that cannot be read stands as a grey picture, and is never trained on."""
    grey = io.BytesIO()
    Picture.new("RGB", (SMALL, SMALL), (127, 127, 127)).save(grey, "PNG")

    def blob(index: int) -> bytes:
        image = images[index]
        try:
            stat = os.stat(os.path.join(root, image.path))
            if image.status == "ok" and (stat.st_size, stat.st_mtime_ns) == (image.bytes, image.mtime_ns):
                return read_inside(root, image.path)
        except (OSError, UnreadableImageError):
            pass
        return grey.getvalue()

    return ImageSet([image.path for image in images], "", small, None, blob, MAX_PIXELS)
