"""Labels out to other tools and in from them: one literal table of formats.

To add one: a module with `write(job, folder) -> note` and one row below; `read` too where it comes back. The contract
test, the command line and the page take it from there.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from labelwise.data.decode import UnreadableImageError
from labelwise.errors import InputError, nearest
from labelwise.labelling.exchange.contents import Contents
from labelwise.labelling.exchange.incoming import Imported, incoming
from labelwise.labelling.exchange.job import Job, check_new, new_folder
from labelwise.labelling.folder import read_inside
from labelwise.labelling.snapshot import Snapshot
from labelwise.labelling.store import Image

if TYPE_CHECKING:
    from labelwise.labelling.project import Settings


@dataclass(frozen=True)
class Format:
    """One row of FORMATS. module: imported when it is used; write: its function; reads: whether it comes back without

    loss; pictures: whether pictures are written, so that the folder must lie outside of the images' own; predictions:
    whether the model's predictions for what has no label are written too.
    """

    name: str
    summary: str
    module: str
    write: str = "write"
    reads: bool = False
    pictures: bool = False
    predictions: bool = False


_HERE = "labelwise.labelling.exchange"
FORMATS: dict[str, Format] = {
    row.name: row
    for row in (
        Format("csv", "a row an annotator's answer, and predictions for the rest", f"{_HERE}.sheet", reads=True,
               predictions=True),
        Format("folder", "train/CLASS and test/CLASS, copies without metadata", f"{_HERE}.folders", pictures=True),
        Format("links", "the same folders, links to the originals", f"{_HERE}.folders", "write_links", pictures=True),
        Format("huggingface", "Parquet with pictures, for datasets.load_dataset", f"{_HERE}.huggingface"),
        Format("labelstudio", "tasks, annotations, predictions, configuration", f"{_HERE}.studio", reads=True,
               predictions=True),
        Format("model", "the probe (safetensors), and all of it as ONNX", f"{_HERE}.model"),
    )
}  # fmt: skip

__all__ = ["FORMATS", "Format", "Imported", "Job", "export", "export_to", "import_file"]


def export(job: Job, name: str, out: Path, home: Path | None = None) -> str:
    """Write a format into a new folder, whole or not at all; return what was written, in words.

    home: the project's own folder, whose pictures join nothing. Errors: InputError for an unknown format, a folder that
    holds something or would join the images, and what the format needs and there is not.
    """
    if name not in FORMATS:
        raise InputError(f"'{name}' is not a format{nearest(name, FORMATS)}")
    row = FORMATS[name]
    out = Path(os.path.abspath(out))
    check_new(out)
    if home is not None and Path(os.path.realpath(out)).is_relative_to(os.path.realpath(home / "cache")):
        raise InputError(f"{out} lies in the project's cache, which may be deleted at any time; choose another folder")
    if row.pictures:
        _check_outside(out, job.snapshot, home)
    write: Callable[[Job, Path], str] = getattr(import_module(row.module), row.write)
    with new_folder(out) as folder:
        return write(job, folder)


def export_to(snapshot: Snapshot, name: str, exports: Path, settings: Settings) -> tuple[Path, str]:
    """Export from a project's page into a new folder of PROJECT/exports; return it, and what was written.

    Errors: as export.
    """
    from labelwise.labelling.exchange.home import fit_project

    home = exports.parent
    number = 1 + sum(1 for _ in exports.glob(f"{name}-*")) if name in FORMATS else 1
    while os.path.lexists(out := exports / f"{name}-{number}"):
        number += 1
    return out, export(Job(snapshot, lambda: fit_project(snapshot, home / "cache", settings)), name, out, home)


def _check_outside(out: Path, snapshot: Snapshot, home: Path | None) -> None:
    """Refuse a folder whose pictures would join the project's images. Errors: InputError."""
    root, real = os.path.realpath(snapshot.folder), os.path.realpath(out)
    if home is not None and Path(real).is_relative_to(os.path.realpath(home)):
        return
    inside = os.path.relpath(real, root).split(os.sep)
    if inside[0] != os.pardir and not any(part.startswith(".") for part in inside):
        raise InputError(f"{out} lies in the images' folder, and its pictures would join them; choose another folder")


def import_file(file: Path, snapshot: Snapshot, config: Path | None = None) -> Imported:
    """Read our CSV or Label Studio's JSON into events that are not known yet. config: Label Studio's configuration.

    Errors: InputError of one line for what cannot be read.
    """
    from labelwise.labelling.exchange import sheet, studio_read

    kind = file.suffix.lower()
    if kind == ".csv":
        found: Contents = sheet.read(file)
    elif kind == ".json" or file.is_dir():
        found = studio_read.read(file, config)
    else:
        raise InputError(f"{file}: neither .csv nor .json; give labelwise's CSV or Label Studio's JSON export")
    images = snapshot.images
    if any(answer.sha256 for answer in found.answers):
        images = [_hashed(snapshot, image) for image in images]
    return incoming(file, found, snapshot.folder, images, snapshot.board)


def _hashed(snapshot: Snapshot, image: Image) -> Image:
    """Return an image with its content's hash, also where the page has not read it yet."""
    if image.sha256 or image.status != "new":
        return image
    try:
        return replace(image, sha256=hashlib.sha256(read_inside(snapshot.folder, image.path)).hexdigest())
    except UnreadableImageError:
        return image
