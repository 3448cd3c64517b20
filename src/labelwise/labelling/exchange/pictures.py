"""Copies of pictures without what they say of place, time and camera. Pixels stay what is seen."""

from __future__ import annotations

import hashlib
import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from labelwise.data.decode import UnreadableImageError, decode, seen
from labelwise.labelling.decoding import MAX_PIXELS
from labelwise.labelling.folder import read_inside
from labelwise.labelling.snapshot import Snapshot
from labelwise.labelling.store import Image

QUALITY = 95
"""Of the JPEG that a turned JPEG becomes: the only copies whose pixels change."""
PNG = b"\x89PNG\r\n\x1a\n"
PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")  # an opaque picture may still say that nothing is transparent
SCAN = 0xDA
JPEG_KEPT = frozenset({*range(0xC0, 0xD0), SCAN, 0xDB, 0xDD}) - {0xC8}  # frames, tables, scans, restart interval
NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def clean(blob: bytes, bits: int = 0) -> tuple[bytes, str]:
    """Return a picture as it is seen, upright and without metadata, and its extension: .jpg or .png.

    JPEG and PNG are stripped, which is checked to leave the decoded pixels as they were; what cannot be stripped is
    encoded again, without loss as PNG, but a turned JPEG as JPEG. So are transparent pictures and those of more than 8
    bits, which other tools would see as something else. bits: see `decode`. Errors: UnreadableImageError.
    """
    picture, plain = seen(blob, MAX_PIXELS, bits)
    is_jpeg = blob.startswith(b"\xff\xd8")
    if is_jpeg or (plain and blob.startswith(PNG)):
        try:
            stripped = strip_jpeg(blob) if is_jpeg else strip_png(blob)
            again = decode(stripped, MAX_PIXELS)
            if again.size == picture.size and again.tobytes() == picture.tobytes():
                return stripped, ".jpg" if is_jpeg else ".png"
        except (ValueError, struct.error, IndexError, UnreadableImageError):
            pass  # an odd file, that Pillow reads: its pixels are encoded again
    buffer = io.BytesIO()
    picture.info.clear()  # Pillow writes some of it back
    if is_jpeg:
        picture.save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    else:
        picture.save(buffer, "PNG")
    return buffer.getvalue(), ".jpg" if is_jpeg else ".png"


def strip_jpeg(blob: bytes) -> bytes:
    """Keep what decoding needs: no EXIF, XMP, IPTC, comments, profiles or thumbnails, and nothing after the end.

    Errors: ValueError, struct.error or IndexError for a broken file.
    """
    out, at = bytearray(b"\xff\xd8"), 2
    while True:
        if blob[at] != 0xFF:
            raise ValueError("no marker")
        while blob[at] == 0xFF:
            at += 1
        marker, at = blob[at], at + 1
        if marker == 0xD9:
            return bytes(out + b"\xff\xd9")
        (length,) = struct.unpack_from(">H", blob, at)
        content, at = blob[at + 2 : at + length], at + length
        if marker == 0xE0 and content.startswith(b"JFIF\0"):
            out += b"\xff\xe0\x00\x10" + content[:12] + b"\0\0"  # no thumbnail
        elif marker == 0xEE and content.startswith(b"Adobe"):
            out += b"\xff\xee\x00\x0e" + content[:12]  # how colours are stored
        elif marker in JPEG_KEPT:
            out += bytes((0xFF, marker)) + struct.pack(">H", length) + content
        if marker == SCAN:
            found = NEXT_MARKER.search(blob, at)
            if found is None:
                raise ValueError("no end")
            out += blob[at : found.start()]
            at = found.start()


def strip_png(blob: bytes) -> bytes:
    """Keep header, palette, transparency and pixels. Errors: ValueError or struct.error for a broken file."""
    out, at = bytearray(PNG), len(PNG)
    while True:
        length, kind = struct.unpack_from(">I4s", blob, at)
        chunk = blob[at : at + 12 + length]
        at += len(chunk)
        if kind == b"IEND":
            return bytes(out + chunk)
        if len(chunk) < 12 + length:
            raise ValueError("ends too early")
        if kind in PNG_KEPT:
            out += chunk


@dataclass
class Labelled:
    """Labelled pictures of a snapshot, and what became of them. left_out: (path, why)."""

    snapshot: Snapshot
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def images(self) -> list[tuple[Image, str, str]]:
        """Return (image, class, test or train) of every image with a label, in the order of their paths.

        A near-duplicate of a test image would be trained on and tested at once: it is left out.
        """
        board, side = self.snapshot.board, self.snapshot.side
        labelled = [image for image in self.snapshot.images if image.id in board.labels]
        found = [
            (image, board.names[board.labels[image.id]], side(image.id))
            for image in sorted(labelled, key=lambda image: image.path)
        ]
        self.left_out += [(image.path, "looks like a test image") for image, _, side in found if not side]
        return [one for one in found if one[2]]

    def cleaned(self) -> Iterator[tuple[Image, str, str, bytes, str]]:
        """Yield (image, class, side, clean picture, extension); what cannot be read is left out."""
        for image, name, side in self.images():
            try:
                yield image, name, side, *clean(unchanged(self.snapshot, image), self.snapshot.bits)
            except UnreadableImageError as error:
                self.left_out.append((image.path, str(error)))

    def note(self) -> str:
        """Return a sentence on what was left out, or nothing."""
        if not self.left_out:
            return ""
        shown = "; ".join(f"{path} ({why})" for path, why in self.left_out[:5])
        return f"; {len(self.left_out):,} labelled images were left out: {shown}"


def unchanged(snapshot: Snapshot, image: Image) -> bytes:
    """Return an image's bytes. Errors: UnreadableImageError, also where another picture has taken its place."""
    blob = read_inside(snapshot.folder, image.path)
    if image.sha256 and hashlib.sha256(blob).hexdigest() != image.sha256:
        raise UnreadableImageError("the file was changed since it was read first")
    return blob
