"""One contract over every export and everything that reads it: the same classes, labels and split, nothing dropped."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from tests.cli.test_embed import embed
from tests.labelling.exchange.projects import Project, snapshots
from tests.labelling.exchange.test_formats import tiny
from tests.labelling.exchange.test_round_trip import emptied, taken_in
from typer.testing import CliRunner

from labelwise.cli import app
from labelwise.data.csv_files import images_of
from labelwise.data.csv_table import read_table
from labelwise.data.dataset import Dataset
from labelwise.data.images import unseen
from labelwise.data.sources import open_dataset
from labelwise.errors import InputError
from labelwise.labelling.exchange import FORMATS, Job, export, import_file
from labelwise.labelling.exchange.contents import contents
from labelwise.labelling.exchange.pick import PREDICTED, pick_rows
from labelwise.labelling.snapshot import Snapshot
from labelwise.parts import Columns, Labeling
from labelwise.spreadsheets import guarded
from labelwise.study_file import study_of
from pictures import encoded, picture

pytestmark = pytest.mark.usefixtures("cache")

CLASSES = ["zebra", "001", "2", "a,b", 'say "x"', "=1+1", "'=quoted", "Größe", "c/d", "none"]
"""In an order that is not the alphabet's; "none" has no image, "c/d" none in the test slice."""
NAMES = ["=f{}.png", "x, y/{}.png", 'q"{}.png', "größe/ñ {}.png", "-{}.png", "'=g{}.png", "a;b/c/{}.png", "@{}.png"]
"""Names of files, a pattern a class that has images; of the last one's class three."""


@dataclass(frozen=True)
class Trip:
    """Where an export is read back by a study. data: below its folder; keys: of the study; unused: as `inspect` says;

    notes: pieces of the notes that say what was read in another way than it is written.
    """

    data: str
    keys: Callable[[Path], list[str]] = lambda _: []
    unused: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


LABELS_CSV = Trip(
    "labels.csv", lambda photos: [f"columns.folder={json.dumps(str(photos))}"],
    {
        "columns (time, seconds, round, probability)": 4, "images on which people disagree": 1,
        "images without a label (unlabelled)": 1, "images without a label (skip)": 1,
        "images without a label (unsure)": 1, "images without a label (predicted)": 1,
        "images without a label (unreadable)": 1, "images without a label (missing)": 1,
    },
    ("8 of them are of its test slice", "quote guards against spreadsheets", "have no image, and are left out: none"),
)  # fmt: skip
STUDIES = {
    "csv": LABELS_CSV,
    "folder": Trip("", notes=("read from classes.json", "'c/d'", "none")),
    "links": Trip("", notes=("read from classes.json", "are links to files outside of the folder", "'c/d'", "none")),
    "huggingface": Trip("", unused={"columns (path, sha256)": 2}, notes=("are left out: none", "'c/d'")),
}
REFUSED = {"labelstudio": "no class folders", "model": "no class folders"}


def project(folder: Path) -> tuple[Snapshot, dict[bytes, tuple[str, str]]]:
    """Return a project, and of each labelled image's pixels its class and side."""
    labelled = [(name.format(i), k, i) for k, name in enumerate([*NAMES, NAMES[0]]) for i in range(k * 10, k * 10 + 4)]
    others = ["skip.png", "unsure.png", "disagree.png", "new.png", "slice.png", "broken.png", "gone.png"]
    blobs = {path: encoded(picture(i)) for path, _, i in labelled}
    blobs |= {path: encoded(picture(1000, i)) for i, path in enumerate(others)}
    blobs["broken.png"] = b"no picture"
    made = Project(folder / "photos", blobs, CLASSES)
    (folder / "photos" / "gone.png").unlink()
    known: dict[bytes, tuple[str, str]] = {}
    test = [len(labelled) + 5]  # of the slice, but without a label
    for number, (_, k, i) in enumerate(labelled, 1):
        side = "test" if i % 10 == 0 and CLASSES[k] != "c/d" else "train"
        test += [number] if side == "test" else []
        made.say(number, "anna", CLASSES[k], "test" if side == "test" else "picked")
        known[picture(i).tobytes()] = (CLASSES[k], side)
    made.say(2, "ben", "zebra")
    made.say(3, "ben", "001")  # anna says zebra, and a review decides for her
    made.say(3, "carl", "zebra", "review")
    for number, (person, what) in enumerate([("anna", "skip"), ("anna", "unsure"), ("anna", "2"), ("ben", "001")], 1):
        made.say(len(labelled) + min(number, 3), person, what)
    for place, status in ((-2, "unreadable"), (-1, "missing")):
        made.images[place] = dataclasses.replace(made.images[place], status=status)
    snapshot = made.snapshot(test=sorted(test))
    assert snapshot.probs is not None
    snapshot.probs[len(labelled) + 4 :] = np.nan  # the model says nothing of the last three
    return snapshot, known


@pytest.fixture
def there(tmp_path: Path) -> tuple[Snapshot, dict[bytes, tuple[str, str]]]:
    return project(tmp_path)


def opened(data: Path, keys: list[str]) -> Dataset:
    return open_dataset(study_of(str(data), keys), unseen)


def seen(dataset: Dataset) -> dict[bytes, tuple[str, str]]:
    """Return of each image's pixels its class and side."""
    assert dataset.images.pixels is not None
    test = set(dataset.test.tolist())
    return {
        dataset.images.pixels[i].tobytes(): (dataset.classes[k], "test" if i in test else "train")
        for i, k in enumerate(dataset.labels.tolist())
    }


@settings(max_examples=60, deadline=None)
@given(snapshot=snapshots())
def test_a_study_settles_answers_as_the_project_does(snapshot: Snapshot) -> None:
    with tempfile.TemporaryDirectory() as folder:
        export(Job(snapshot), "csv", Path(folder) / "out")
        path = Path(folder) / "out" / "labels.csv"
        table = read_table(path, Columns())
        if not snapshot.board.labels:
            with pytest.raises(InputError, match="no image has a label"):
                images_of(path, table)
            return
        found = images_of(path, table)
    assert found.classes == tuple(snapshot.classes)
    test = [False] * len(found.rows) if found.test is None else found.test.tolist()
    assert (found.test is None) == (not snapshot.test)
    labels = [found.classes[k] for k in np.take(found.label.values, found.label.codes).tolist()]
    paths = {image.id: image.path for image in snapshot.images}
    meant = {paths[i]: (snapshot.name_of(k), i in snapshot.test) for i, k in snapshot.board.labels.items()}
    assert dict(zip(found.paths, zip(labels, test, strict=True), strict=True)) == meant
    dropped = sum(number for what, number in found.unused.items() if what.startswith("images"))
    assert dropped == len(paths) - len(meant)


def test_every_format_has_a_trip() -> None:
    assert {*STUDIES, *REFUSED} == set(FORMATS)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_reads_an_export(name: str, there: Any, tmp_path: Path) -> None:
    snapshot, known = there
    export(Job(snapshot), name, tmp_path / "out")
    trip = STUDIES[name]
    dataset = opened(tmp_path / "out" / trip.data, trip.keys(snapshot.folder))
    assert list(dataset.classes) == CLASSES[:-1]
    assert seen(dataset) == known
    assert dict(dataset.seen.unused) == trip.unused
    for piece in (*trip.notes, "in training only, and not in the test set: 'c/d'"):
        assert any(piece in note for note in dataset.seen.notes), (piece, dataset.seen.notes)


@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
@pytest.mark.parametrize("name", STUDIES)
def test_embeddings_of_an_export_are_read_back(name: str, suffix: str, there: Any, tmp_path: Path) -> None:
    """By a study in their own right, beside the images, and by pick, which leaves the test slice out."""
    snapshot, _ = there
    export(Job(snapshot), name, tmp_path / "out")
    trip, file = STUDIES[name], tmp_path / f"x{suffix}"
    data, keys = tmp_path / "out" / trip.data, trip.keys(snapshot.folder)
    options = [word for key in keys for word in ("--set", key)]
    done = embed(data, file, *options)
    assert done.exit_code == 0, done.output
    plain, again = opened(data, keys), opened(file, [])
    assert again.classes == plain.classes
    np.testing.assert_array_equal(again.labels, plain.labels)
    np.testing.assert_array_equal(again.test, plain.test)
    assert list(again.images.names) == list(plain.images.names)
    beside = opened(data, [*keys, f"features={json.dumps(str(file))}"])
    np.testing.assert_array_equal(beside.features, again.features)
    if name != "csv":
        return
    rows, notes = pick_rows(file, data, 5, "margin", 0, unseen)  # everything there has a label
    assert (rows, notes[-1][:23]) == ([], "nothing is left to pick")


@pytest.mark.parametrize("name", ["csv", "labelstudio"])
def test_a_project_takes_an_export_in(name: str, there: Any, tmp_path: Path) -> None:
    snapshot, _ = there
    export(Job(snapshot), name, tmp_path / "out")
    file = tmp_path / "out" / {"csv": "labels.csv", "labelstudio": "tasks.json"}[name]
    back = taken_in(emptied(snapshot), file)
    found, meant = contents(back), contents(snapshot)
    assert (found.classes, found.test) == (meant.classes, meant.test)
    assert back.board.labels == snapshot.board.labels
    notes = import_file(file, emptied(snapshot)).notes
    predictions = ["4 labels of the status predicted are nobody's, and were passed over"] if name == "csv" else []
    assert notes == predictions


@pytest.mark.parametrize("name", REFUSED)
def test_an_export_without_images_is_refused(name: str, there: Any, tmp_path: Path) -> None:
    snapshot, _ = there
    export(Job(snapshot, tiny), name, tmp_path / "out")
    with pytest.raises(InputError, match=REFUSED[name]) as raised:
        opened(tmp_path / "out", [])
    assert "\n" not in str(raised.value)


def printed(snapshot: Snapshot, columns: tuple[str, ...], **more: object) -> str:
    """What `predict --format csv` and `pick --format csv` print: a class for every image that can be read."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for image in snapshot.images:
        klass = snapshot.board.labels.get(image.id, 0)
        row = {"rank": "1", "path": image.path, "label": snapshot.name_of(klass), "probability": "0.5", "why": "x"}
        if image.status == "ok":
            writer.writerow([guarded(row[name]) for name in columns])
    return out.getvalue()


def test_predictions_are_nobodys_labels(there: Any, tmp_path: Path) -> None:
    snapshot, _ = there
    file = tmp_path / "predicted.csv"
    file.write_text(printed(snapshot, PREDICTED), encoding="utf-8")
    with pytest.raises(InputError, match=r"a model gave these labels.*if people gave them, remove this column"):
        import_file(file, emptied(snapshot))
    keys = [f"columns.folder={json.dumps(str(snapshot.folder))}"]
    with pytest.raises(InputError, match=r"a model gave these labels.*--set columns.label=label"):
        opened(file, keys)
    result = CliRunner().invoke(app, ["pick", str(snapshot.folder), "--labels", str(file)])
    assert "a model gave these labels" in str(result.exception)


def test_predictions_answer_as_an_annotator_does(there: Any, tmp_path: Path) -> None:
    """They are joined by path, whatever the names of files and classes are."""
    from labelwise.labelers.table import build_labeler

    snapshot, _ = there
    export(Job(snapshot), "csv", tmp_path / "out")
    dataset = opened(tmp_path / "out" / "labels.csv", LABELS_CSV.keys(snapshot.folder))
    rows = printed(snapshot, PREDICTED).splitlines(keepends=True)
    wanted = [row for row in rows if not any(f"{name}.png" in row for name in ("skip", "unsure", "disagree"))]
    file = tmp_path / "predicted.csv"
    file.write_text("".join(row for row in wanted if "new.png" not in row and "slice.png" not in row), encoding="utf-8")
    labeler = build_labeler(Labeling(kind="file", path=str(file), columns=("label",)), dataset, 0, False)
    np.testing.assert_array_equal(labeler.label(dataset.pool).labels, dataset.labels[dataset.pool])


def test_an_export_of_answers_is_no_file_of_annotators(there: Any, tmp_path: Path) -> None:
    from labelwise.labelers.table import build_labeler

    snapshot, _ = there
    export(Job(snapshot), "csv", tmp_path / "out")
    file = tmp_path / "out" / "labels.csv"
    dataset = opened(file, LABELS_CSV.keys(snapshot.folder))
    with pytest.raises(InputError, match="an export of labelwise, a row an answer; here a row an image is needed"):
        build_labeler(Labeling(kind="file", path=str(file), columns=("label",)), dataset, 0, False)


@pytest.mark.parametrize("name", STUDIES)
def test_inspect_says_what_is_not_used(name: str, there: Any, tmp_path: Path) -> None:
    snapshot, _ = there
    export(Job(snapshot), name, tmp_path / "out")
    trip = STUDIES[name]
    options = [word for key in trip.keys(snapshot.folder) for word in ("--set", key)]
    result = CliRunner().invoke(app, ["inspect", str(tmp_path / "out" / trip.data), *options])
    assert result.exit_code == 0, result.output
    assert ("Not used: " in result.stdout) == bool(trip.unused)
    for what, number in trip.unused.items():
        assert f"{what}: {number}" in result.stdout
