"""Snapshots for tests: of a real folder with pictures, and drawn by hypothesis."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from labelwise.errors import InputError, printable
from labelwise.labelling.board import Board
from labelwise.labelling.events import Event
from labelwise.labelling.exchange.contents import contents
from labelwise.labelling.exchange.studio_config import NOT_XML
from labelwise.labelling.snapshot import Snapshot
from labelwise.labelling.store import Image
from pictures import encoded, picture, write

HOSTILE = "=cmd|'/c calc'!A1"


def image(number: int, path: str, blob: bytes, **changes: object) -> Image:
    sha256 = hashlib.sha256(blob).hexdigest()
    return Image(number, path, len(blob), 0, **{"status": "ok", "sha256": sha256, **changes})  # type: ignore[arg-type]


class Project:
    """A folder with pictures, and what people say of them."""

    def __init__(self, folder: Path, blobs: dict[str, bytes], classes: Sequence[str] = ("cat", "dog")) -> None:
        self.folder = folder
        for path, blob in blobs.items():
            write(folder / path, blob)
        self.images = [image(i, path, blob) for i, (path, blob) in enumerate(blobs.items(), 1)]
        self.board = Board(len(self.images))
        for klass, name in enumerate(classes):
            self.add(Event(f"class {klass}", "class-added", "setup", klass=klass, name=name))

    def add(self, event: Event) -> None:
        self.board.check(event)
        self.board.apply(event.at(self.board.seq + 1, f"2026-01-31T12:00:{self.board.seq % 60:02}+00:00"))

    def say(self, number: int, annotator: str, what: str, purpose: str = "picked", **more: object) -> None:
        kind = what if what in ("unsure", "skip") else "label"
        klass = next((k for k in self.board.classes if self.board.names[k] == what), None)
        uuid = f"event {self.board.seq}"
        self.add(Event(uuid, kind, annotator, number, klass, purpose=purpose, **{"seconds": 1.25, **more}))  # type: ignore[arg-type]

    def snapshot(self, test: Sequence[int] = (), model: bool = True) -> Snapshot:
        rng = np.random.default_rng(0)
        columns = tuple(self.board.classes)
        probs = rng.dirichlet(np.ones(len(columns)), len(self.images)).astype(np.float32) if model else None
        return Snapshot(self.folder, self.images, self.board, list(test), probs, columns, "probe 3" if model else "")


def photos(folder: Path) -> Project:
    """Eight photographs with place and camera, in every format, some turned; two people; six have labels."""
    names = ["a.jpg", "b/a.jpg", "=c.png", "turned.jpg", "e.webp", "f.tif", "g.bmp", "h.gif"]
    project = Project(folder, {name: photograph(name, i) for i, name in enumerate(names)}, ["dog", HOSTILE, "cat"])
    project.say(1, "anna", "cat", "test")
    project.say(2, "anna", "dog", round=3)
    project.say(3, "anna", HOSTILE)
    project.say(3, "ben", HOSTILE)
    project.say(4, "ben", "dog")
    project.say(5, "ben", "cat", "test")
    project.say(6, "anna", "unsure")
    project.say(6, "ben", "cat")
    project.say(7, "anna", "skip")
    project.say(8, "anna", "dog")
    project.say(8, "ben", "cat")  # a disagreement: no label
    return project


SECRET = b"SECRETPLACE"
KINDS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "tif": "TIFF", "bmp": "BMP", "gif": "GIF"}


def photograph(name: str, seed: int) -> bytes:
    """A picture with EXIF (GPS, camera, orientation), XMP, a comment and a profile, as far as its format holds them."""
    from PIL import Image as Picture

    secret = SECRET.decode()
    exif = Picture.Exif()
    exif[0x010F] = secret  # the camera's maker
    exif[0x0112] = 6 if "turned" in name else 1
    exif.get_ifd(0x8825).update({1: "N", 29: secret})  # GPS
    xmp = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{secret}</x:xmpmeta>".encode()
    image = Picture.fromarray(picture(seed, size=(24, 40)))
    kind = KINDS[name.rpartition(".")[2]]
    options: dict[str, object] = {"exif": exif.tobytes(), "icc_profile": b"icc " + SECRET}
    if kind == "JPEG":
        options |= {"comment": SECRET, "xmp": xmp}
    elif kind == "PNG":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_text("Comment", secret)
        options |= {"pnginfo": info}
    elif kind == "WEBP":
        options |= {"xmp": xmp, "lossless": True}
    elif kind == "TIFF":
        options = {"description": secret}
    elif kind == "BMP":
        options = {}
    elif kind == "GIF":
        options = {"comment": SECRET}
    return encoded(image, kind, **options) + (b"" if kind == "TIFF" else SECRET)  # and something after the end


text = st.one_of(
    st.sampled_from(["cat", "dog", "=1+1", "'=x", "-", "a,b", 'say "x"', "<b>&amp;", "Größe", "ns:1", "'", "test"]),
    st.text(min_size=1, max_size=8).map(str.strip).filter(lambda t: t and printable(t) == t),
)
XML_SAFE = text.filter(lambda t: not NOT_XML.search(t))

SAID = ["label"] * 4 + ["unsure", "skip", "undo", "class-renamed", "class-merged", "class-added"]


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Any project: changed classes, undone and repeated answers, reviews, contents that are equal or unknown."""
    paths = draw(st.lists(text.map(lambda t: t.replace("/", "_")), min_size=1, max_size=5, unique=True))
    shas = [draw(st.sampled_from(["", "a" * 64, hashlib.sha256(p.encode()).hexdigest()])) for p in paths]
    images = [Image(i, p, 1, 1, "ok", sha256=s) for i, (p, s) in enumerate(zip(paths, shas, strict=True), 1)]
    board = Board(len(images))
    people = draw(st.lists(text, min_size=1, max_size=3, unique=True))
    times = st.datetimes().map(lambda t: t.isoformat(timespec="seconds") + "+00:00")

    def add(**values: object) -> None:
        event = Event(uuid=str(board.seq), **values)  # type: ignore[arg-type]
        try:
            board.check(event)
        except InputError:
            return
        board.apply(event.at(board.seq + 1, draw(times)))

    for name in draw(st.lists(XML_SAFE, min_size=2, max_size=4, unique=True)):
        add(kind="class-added", annotator="setup", klass=len(board.names), name=name)
    for _ in range(draw(st.integers(0, 12))):
        who = draw(st.sampled_from(people))
        kind = draw(st.sampled_from(SAID))
        klass = draw(st.sampled_from(board.classes))
        if kind in ("label", "unsure", "skip"):
            purpose = draw(st.sampled_from(["test", "picked", "again", "repeat", "check", "grid", "review", "import"]))
            add(
                kind=kind, annotator=who, image=draw(st.integers(1, len(images))), purpose=purpose,
                klass=klass if kind == "label" else None, seconds=draw(st.none() | st.floats(0, 1e6)),
                round=draw(st.none() | st.integers(0, 99)),
            )  # fmt: skip
        elif kind == "undo":
            if done := board.history(who):
                add(kind=kind, annotator=who, undoes=random.Random(len(done)).choice(done).uuid)
        elif kind == "class-merged":
            if len(board.classes) > 2:
                add(kind=kind, annotator=who, klass=klass, into=draw(st.sampled_from(board.classes)))
        else:
            new = len(board.names) if kind == "class-added" else klass
            add(kind=kind, annotator=who, klass=new, name=draw(XML_SAFE))
    test = draw(st.lists(st.integers(1, len(images)), unique=True))
    columns = tuple(board.classes)
    probs = np.full((len(images), len(columns)), 1 / len(columns), np.float32)
    probs[draw(st.integers(0, len(images) - 1))] = np.nan
    return Snapshot(
        Path("/photos"), images, board, sorted(test), draw(st.sampled_from([None, probs])), columns, "probe"
    )


def kept(snapshot: Snapshot) -> tuple[object, ...]:
    """All that a round trip keeps."""
    found = contents(snapshot)
    answers = {(a.path, a.annotator): (a.kind, a.label, a.time, a.seconds, a.round) for a in found.answers}
    return found.classes, answers, found.test, {i: snapshot.name_of(k) for i, k in snapshot.board.labels.items()}
