"""A Hugging Face dataset: Parquet files with the pictures in them, that `datasets.load_dataset(FOLDER)` reads."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from labelwise.errors import InputError
from labelwise.labelling.exchange.job import Job
from labelwise.labelling.exchange.pictures import Labelled

ROWS = 200
"""Pictures held in memory, and in a row group."""
SIDES = ("train", "test")


def write(job: Job, folder: Path) -> str:
    """Write data/train-00000-of-00001.parquet and the same of test: image, label (in the classes' order), path, sha256.

    Errors: InputError when nothing is labelled.
    """
    import datasets

    snapshot = job.snapshot
    if not snapshot.board.labels:
        raise InputError("no image has a label yet; label some first, or export to csv")
    text = datasets.Value("string")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=snapshot.classes), "path": text, "sha256": text}
    )
    numbers = {name: k for k, name in enumerate(snapshot.classes)}
    labelled = Labelled(snapshot)
    writers = _Writers(folder / "data", features.arrow_schema)
    try:
        for image, name, side, blob, extension in labelled.cleaned():
            stored = {"bytes": blob, "path": f"{image.id}{extension}"}
            writers.add(
                side, {"image": stored, "label": numbers[name], "path": image.path, "sha256": image.sha256}
            )  # fmt: skip
    finally:
        writers.close()
    counts = ", ".join(f"{count:,} {side}" for side, count in writers.counts.items())
    return f"{counts} pictures without metadata{labelled.note()}"


class _Writers:
    """One Parquet file a side, made when its first row comes: a split without rows cannot be loaded."""

    def __init__(self, folder: Path, schema: Any) -> None:
        self.folder, self.schema = folder, schema
        self.files: dict[str, Any] = {}
        self.opened = ExitStack()
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.counts: dict[str, int] = {}

    def add(self, side: str, row: dict[str, Any]) -> None:
        rows = self.rows.setdefault(side, [])
        rows.append(row)
        self.counts[side] = self.counts.get(side, 0) + 1
        if len(rows) == ROWS:
            self._flush(side)

    def close(self) -> None:
        with self.opened:
            for side in SIDES:
                if self.rows.get(side):
                    self._flush(side)
            for file in self.files.values():
                file.close()

    def _flush(self, side: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if side not in self.files:
            self.folder.mkdir(exist_ok=True)
            file = self.opened.enter_context((self.folder / f"{side}-00000-of-00001.parquet").open("wb"))
            self.files[side] = pq.ParquetWriter(file, self.schema)  # which takes paths in UTF-8 alone
        self.files[side].write_table(pa.Table.from_pylist(self.rows[side], self.schema))
        self.rows[side] = []
