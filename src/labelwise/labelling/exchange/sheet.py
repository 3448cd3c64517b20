"""CSV: a row an annotator's answer, and a row with what the model predicts for each image that has no label.

The test slice stands in `source`, as the word `test` before or instead of why the image was shown. The first rows, of
status `class`, are the classes in their order.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from labelwise.data.exported import PREDICTED, STATUSES
from labelwise.data.labels import NOTHING
from labelwise.errors import InputError, nearest
from labelwise.labelling.events import ANSWERS, PURPOSES
from labelwise.labelling.exchange.contents import Answer, Contents, answers_for, by_path, predicted
from labelwise.labelling.exchange.job import Job
from labelwise.labelling.exchange.reading import as_round, as_seconds, as_time, read_text
from labelwise.labelling.snapshot import Snapshot
from labelwise.spreadsheets import guarded, unguarded

NAME = "labels.csv"
COLUMNS = ("path", "sha256", "label", "status", "annotator", "time", "seconds", "round", "probability", "source")
ANONYMOUS = "import"
"""The annotator of labels whose file names none."""


def write(job: Job, folder: Path) -> str:
    """Write labels.csv."""
    rows = list(_rows(job.snapshot))
    with (folder / NAME).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([guarded(cell) for cell in row] for row in rows)
    answers = sum(row[3] in ANSWERS for row in rows)
    guesses = sum(row[3] == "predicted" for row in rows)
    return f"{NAME}: {answers:,} answers of people, {guesses:,} predictions for images without a label"


def _rows(snapshot: Snapshot) -> Iterator[tuple[str, ...]]:
    for name in snapshot.classes:
        yield ("", "", name, "class", "", "", "", "", "", "")
    test = set(snapshot.test)
    for image in by_path(snapshot):
        is_test = image.id in test
        answers = answers_for(snapshot, image)
        for a in answers:
            seconds = "" if a.seconds is None else repr(a.seconds)
            number = "" if a.round is None else str(a.round)
            source = _source(a.purpose, is_test)
            yield (a.path, a.sha256, a.label, a.kind, a.annotator, a.time, seconds, number, "", source)
        if image.id not in snapshot.board.labels:
            guess = predicted(snapshot, image)
            status = "unlabelled" if image.status in ("new", "ok") else image.status
            if guess is not None:
                label, probability = guess
                source = _source("model", is_test)
                yield (image.path, image.sha256, label, "predicted", "", "", "", "", f"{probability:.6f}", source)
            elif not answers:
                yield (image.path, image.sha256, "", status, "", "", "", "", "", "test" if is_test else "")


def _source(purpose: str, is_test: bool) -> str:
    """Return why an image was shown, or model, after the word `test` if it is of the test slice."""
    if purpose == "test":  # drawn for the slice; outside of it (it became smaller) a random one
        return "test" if is_test else "random"
    return f"test {purpose}" if is_test else purpose


def read(path: Path) -> Contents:
    """Read our own CSV, or any with the columns path and label. Errors: InputError with the line."""
    text = read_text(path, "a CSV file with the columns path and label")
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    classes: dict[str, None] = {}
    declared: dict[str, None] = {}
    answers: list[Answer] = []
    test: dict[tuple[str, str], None] = {}
    try:
        names = [name.strip() for name in reader.fieldnames or []]
        _check_columns(path, names)
        reader.fieldnames = names
        passed = Counter[str]()
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            cells = _cells(row, where)
            status = cells["status"] or "label"
            if status == "class":
                declared[cells["label"]] = None
                continue
            key = (cells["path"], cells["sha256"])
            if not any(key):
                raise InputError(f"{where}: neither path nor sha256; say which image it is of")
            if cells["source"].split(" ")[0] == "test":
                test[key] = None
            if status in ANSWERS:
                if status == "label":
                    _check_label(cells["label"], declared, where)
                answers.append(_answer(cells, status, where))
                if status == "label":
                    classes[cells["label"]] = None
            elif status == "predicted" or cells["label"]:
                passed[status] += 1
    except csv.Error as error:
        raise InputError(f"{path}: broken CSV: {error}; mend it or save it again") from None
    notes = [f"{count:,} labels of the status {status} are nobody's, and were passed over"
             for status, count in passed.items()]  # fmt: skip
    return Contents(list({**declared, **classes}), answers, list(test), notes)


def _check_columns(path: Path, names: list[str]) -> None:
    for column in ("path", "label"):
        if column not in names:
            hint = nearest(column, names or ["(an empty file)"])
            if len(names) == 1 and ";" in names[0]:
                hint = ": its columns are separated by semicolons, and commas are needed"
            raise InputError(f"{path}: no column '{column}'{hint}; write path,label in the first line")
    if PREDICTED in names and "status" not in names:
        raise InputError(
            f"{path}: the column '{PREDICTED}' says that a model gave these labels, as predict and pick print them; if "
            "people gave them, remove this column"
        )
    if doubled := {name for name in names if names.count(name) > 1} & set(COLUMNS):
        raise InputError(f"{path}: two columns '{min(doubled)}'; keep one")


def _cells(row: dict[str, str], where: str) -> dict[str, str]:
    if None in row:
        raise InputError(f"{where}: more cells than columns; quote cells that hold a comma")
    cells = {name: unguarded(row.get(name) or "") for name in COLUMNS}
    cells["label"], cells["sha256"] = cells["label"].strip(), cells["sha256"].lower()
    if (cells["status"] or "label") not in STATUSES:
        raise InputError(f"{where}: '{cells['status'][:40]}' is no status{nearest(cells['status'], STATUSES)}")
    return cells


def _check_label(label: str, declared: Collection[str], where: str) -> None:
    """Refuse what programs write where there is no label, unless a row of status `class` says that it is one."""
    if not label or (label not in declared and (label in NOTHING or label == "-1")):
        said = f"the label is '{label}', which reads like none" if label else "the label is empty"
        row = ", or add a row of the status class with it" if label else ""
        raise InputError(
            f"{where}: {said}; give a class, or write unlabelled, skip or unsure into a column status{row}"
        )


def _answer(cells: dict[str, str], status: str, where: str) -> Answer:
    purpose = cells["source"].split(" ")[-1]
    return Answer(
        cells["path"], cells["sha256"], status, cells["label"] if status == "label" else "",
        cells["annotator"] or ANONYMOUS, as_time(cells["time"], where), as_seconds(cells["seconds"], where),
        as_round(cells["round"], where), purpose if purpose in PURPOSES else "import", where,
    )  # fmt: skip
