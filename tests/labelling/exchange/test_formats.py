"""One contract over every format, and what each of them promises beside it."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.labelling.exchange.projects import HOSTILE, SECRET, Project, photograph, photos

from labelwise.data.decode import UnreadableImageError, decode
from labelwise.errors import InputError
from labelwise.labelling.exchange import FORMATS, Job, export
from labelwise.labelling.exchange.folders import CLASSES, Names, safe_name
from labelwise.labelling.exchange.pictures import clean
from labelwise.labelling.exchange.sheet import COLUMNS
from labelwise.labelling.exchange.trained import Trained, training_labels
from labelwise.labelling.store import Image as Stored
from pictures import encoded, picture

MILLION = 1_000_000


def tiny() -> Trained:
    """A model on a backbone that needs no weights."""
    import torch
    from torch import nn

    from labelwise.config import Learner
    from labelwise.models.backbone import Backbone

    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    backbone = Backbone(
        module, "tiny", "scratch", "f" * 16, 4, 16, False, 0.875, (0.5,) * 3, (0.5,) * 3, torch.device("cpu")
    )  # fmt: skip
    rng = np.random.default_rng(0)
    weights, bias = rng.standard_normal((4, 3)).astype(np.float32), np.zeros(3, np.float32)
    learner = Learner(kind="probe", backbone="resnet18", weights="scratch")
    return Trained(backbone, learner, ("dog", HOSTILE, "cat"), weights, bias, False, 4, "probe 3")


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


def exported(tmp_path: Path, name: str, **given: Any) -> tuple[Path, str]:
    snapshot = photos(tmp_path / "photos").snapshot(test=[1, 5, 7], **given)
    out = tmp_path / "out" / name
    return out, export(Job(snapshot, tiny), name, out)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_keeps_the_contract(name: str, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in files(photos(tmp_path / "photos").folder)}
    out, note = exported(tmp_path, name)
    assert FORMATS[name].summary
    assert note
    assert "\n" not in note
    assert files(out)
    assert os.listdir(out.parent) == [name]  # nothing unfinished is left
    assert {path: path.read_bytes() for path in before} == before  # originals are never touched
    for path in files(out):
        if name == "links":
            assert path.is_symlink() or path.name == CLASSES
        else:
            assert SECRET not in path.read_bytes(), path
    with pytest.raises(InputError, match="is there already"):
        exported(tmp_path, name)


@pytest.mark.parametrize("name", FORMATS)
def test_a_failed_export_leaves_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import import_module

    row = FORMATS[name]
    write = getattr(import_module(row.module), row.write)

    def full(job: Job, folder: Path) -> str:
        write(job, folder)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(import_module(row.module), row.write, full)
    with pytest.raises(InputError, match="the disk is full; nothing is left of it"):
        exported(tmp_path, name)
    assert os.listdir(tmp_path / "out") == []


def test_unknown_formats_and_bad_folders_are_refused(tmp_path: Path) -> None:
    project = photos(tmp_path / "photos")
    job = Job(project.snapshot())
    with pytest.raises(InputError, match="did you mean 'csv'"):
        export(job, "cvs", tmp_path / "out")
    with pytest.raises(InputError, match="would join them"):
        export(job, "folder", tmp_path / "photos" / "export")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is there already"):
        export(job, "csv", tmp_path / "file")
    (tmp_path / "empty").mkdir()
    export(job, "csv", tmp_path / "empty")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is there already"):
        export(job, "csv", tmp_path / "link")
    nothing = Job(Project(tmp_path / "none", {"a.png": encoded(picture(1))}).snapshot())
    for name in ("folder", "links", "huggingface"):
        with pytest.raises(InputError, match="no image has a label yet"):
            export(nothing, name, tmp_path / "new")


def test_csv_has_a_row_an_answer_and_predictions_for_the_rest(tmp_path: Path) -> None:
    out, note = exported(tmp_path, "csv")
    with (out / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["label"] for row in rows if row["status"] == "class"] == ["dog", "'" + HOSTILE, "cat"]
    of = {path: [row for row in rows if row["path"] == path] for path in {row["path"] for row in rows}}
    assert [(r["annotator"], r["label"], r["status"], r["source"]) for r in of["a.jpg"]] == [
        ("anna", "cat", "label", "test")
    ]
    assert [r["annotator"] for r in of["'=c.png"]] == ["anna", "ben"]
    assert of["b/a.jpg"][0]["round"] == "3"
    assert [(r["status"], r["source"]) for r in of["g.bmp"]] == [("skip", "test picked"), ("predicted", "test model")]
    assert [r["status"] for r in of["h.gif"]] == ["label", "label", "predicted"]  # a disagreement is no label
    assert 0 < float(of["g.bmp"][1]["probability"]) <= 1
    assert not any(cell[:1] in "=+-@\t\r" for row in rows for cell in row.values() if cell)
    assert "11 answers of people, 2 predictions" in note


def test_folders_hold_clean_copies_by_side_and_class(tmp_path: Path) -> None:
    out, note = exported(tmp_path, "folder")
    names = {row["name"]: row["folder"] for row in json.loads((out / CLASSES).read_text())["classes"]}
    assert list(names) == ["dog", HOSTILE, "cat"]
    assert names[HOSTILE] == "=cmd_'_c calc'!A1"
    found = [str(path.relative_to(out)) for path in files(out) if path.name != CLASSES]
    assert found == sorted([
        "test/cat/a.jpg", "train/dog/b__a.jpg", f"train/{names[HOSTILE]}/=c.png", "train/dog/turned.jpg",
        "test/cat/e.png", "train/cat/f.png",
    ])  # fmt: skip
    assert note.startswith("6 pictures without metadata; without pictures, there so that both sides number")
    assert note.endswith(f": test/dog, test/{names[HOSTILE]}")
    for copy, original in (("test/cat/a.jpg", "a.jpg"), ("train/cat/f.png", "f.tif"), ("test/cat/e.png", "e.webp")):
        seen = decode((tmp_path / "photos" / original).read_bytes(), MILLION)
        assert decode((out / copy).read_bytes(), MILLION).tobytes() == seen.tobytes()
    with Image.open(out / "train/dog/turned.jpg") as turned:
        assert turned.size == (24, 40)  # upright


@pytest.mark.parametrize("name", ["folder", "links"])
def test_torchvision_numbers_both_sides_alike(name: str, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    project = Project(
        tmp_path / "photos", {f"{i}.png": encoded(picture(i)) for i in range(3)}, ["cat", "dog", "unused"]
    )
    project.say(1, "anna", "cat")
    project.say(2, "anna", "dog")
    project.say(3, "anna", "dog", "test")
    note = export(Job(project.snapshot(test=[3])), name, tmp_path / "out")
    sides = [ImageFolder(tmp_path / "out" / side, allow_empty=True) for side in ("train", "test")]
    assert [side.class_to_idx for side in sides] == [{"cat": 0, "dog": 1, "unused": 2}] * 2
    assert [label for _, label in sides[1].samples] == [1]
    assert note.endswith("(allow_empty=True): test/cat, test/unused, train/unused")


def test_a_study_reads_the_folders_without_the_unused_class(tmp_path: Path, cache: Path) -> None:
    from labelwise.config import Study
    from labelwise.data.sources import open_dataset

    project = Project(
        tmp_path / "photos", {f"{i}.png": encoded(picture(i)) for i in range(4)}, ["cat", "dog", "unused"]
    )
    for number in range(1, 5):
        project.say(number, "anna", ("cat", "dog")[number % 2], "test" if number > 2 else "picked")
    for name in ("folder", "links"):
        export(Job(project.snapshot(test=[3, 4])), name, tmp_path / name)
        dataset = open_dataset(Study(data=str(tmp_path / name)))
        assert (dataset.classes, len(dataset.pool), len(dataset.test)) == (("cat", "dog"), 2, 2)


def test_links_lead_to_the_originals(tmp_path: Path) -> None:
    out, note = exported(tmp_path, "links")
    link = out / "test" / "cat" / "a.jpg"
    assert link.resolve() == (tmp_path / "photos" / "a.jpg").resolve()
    assert "nothing was copied" in note
    (tmp_path / "photos" / "a.jpg").unlink()
    (tmp_path / "photos" / "a.jpg").symlink_to(tmp_path / "out")  # a link that leads out
    project = photos(tmp_path / "again")
    (tmp_path / "again" / "a.jpg").unlink()
    (tmp_path / "again" / "a.jpg").symlink_to("/etc/passwd")
    note = export(Job(project.snapshot()), "links", tmp_path / "second")
    assert "5 links" in note
    assert "a.jpg (there is no such file in the folder)" in note


def test_what_looks_like_a_test_image_is_on_neither_side(tmp_path: Path) -> None:
    project = photos(tmp_path / "photos")
    for number in (1, 4):  # a.jpg, of the test slice, and turned.jpg, which looks like it
        project.images[number - 1] = dataclasses.replace(project.images[number - 1], grp=1)
    snapshot = project.snapshot(test=[1, 5])
    note = export(Job(snapshot), "folder", tmp_path / "out")
    assert note.startswith(
        "5 pictures without metadata; 1 labelled images were left out: turned.jpg (looks like a test"
    )
    assert not list((tmp_path / "out").rglob("turned*"))
    assert 3 not in training_labels(snapshot)[0]
    assert 3 in training_labels(project.snapshot(test=[5]))[0]


def test_changed_pictures_are_left_out_and_named(tmp_path: Path) -> None:
    project = photos(tmp_path / "photos")
    (tmp_path / "photos" / "a.jpg").write_bytes(photograph("a.jpg", 99))
    (tmp_path / "photos" / "f.tif").unlink()
    note = export(Job(project.snapshot()), "folder", tmp_path / "out")
    assert note.startswith("4 pictures without metadata; 2 labelled images were left out: a.jpg (the file was changed")
    assert "f.tif (there is no such file)" in note


@pytest.mark.parametrize(("name", "safe"), [
    ("../../etc", "_.._.._etc"), ("a/b\\c:d", "a_b_c_d"), ("", "_"), ("..", "_"), (".hidden", "_.hidden"),
    ("CON", "_CON"),
    ("nul.txt", "_nul.txt"), ("dot. ", "dot"), ("-rf", "_-rf"), ("Größe", "Größe"), ("\x00x\n", "_x_"),
])  # fmt: skip
def test_hostile_names_become_one_safe_name(name: str, safe: str) -> None:
    assert safe_name(name) == safe
    assert safe_name(safe) == safe


def test_names_differ_on_every_file_system() -> None:
    names = Names()
    given = [
        names.take(name, ".jpg")
        for name in ("Cat", "cat", "CAT", "cat~2", "straße", "STRASSE", "é", "e\u0301", "x" * 500)
    ]
    folded = {name.casefold() for name in given}
    assert len(folded) == len(given)
    assert all(len(name.encode()) < 200 for name in given)
    assert given[:2] == ["Cat.jpg", "cat~2.jpg"]


@pytest.mark.parametrize("options", [
    {"progressive": True}, {"quality": 30, "subsampling": 2, "restart_marker_rows": 1}, {"optimize": True},
])  # fmt: skip
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_is_stripped_without_another_encoding(mode: str, options: dict[str, Any]) -> None:
    image = Image.fromarray(picture(1, size=(50, 70))).convert(mode)
    bare = encoded(image, "JPEG", **options)
    full = encoded(image, "JPEG", comment=SECRET, exif=b"Exif\0\0" + SECRET, icc_profile=SECRET * 9000, **options)
    out, extension = clean(full + SECRET)
    assert extension == ".jpg"
    assert SECRET not in out
    assert len(out) <= len(bare)
    assert decode(out, MILLION).tobytes() == decode(full, MILLION).tobytes()


def test_copies_hold_what_is_seen_of_transparent_and_deep_pictures() -> None:
    image = Image.fromarray(picture(2)).convert("RGBA")
    opaque = encoded(image, "PNG")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(clean(opaque)[0]))), np.asarray(image))
    image.putalpha(0)
    out, extension = clean(encoded(image, "PNG"))
    assert extension == ".png"
    assert (np.asarray(Image.open(io.BytesIO(out)).convert("RGB")) == 255).all()  # as torchvision would read it
    values = np.linspace(0, 4095, 256).reshape(16, 16).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        out, extension = clean(encoded(Image.fromarray(values), kind), 12)
        with Image.open(io.BytesIO(out)) as copy:
            assert (copy.mode, extension) == ("RGB", ".png")
            assert (
                np.asarray(copy)[..., 0].ravel().tolist() == np.round(values.ravel() / 4095 * 255).astype(int).tolist()
            )
    with pytest.raises(UnreadableImageError, match="16-bit pixels up to 4,095, above the 10 bits"):
        clean(encoded(Image.fromarray(values), "PNG"), 10)


def test_odd_files_are_encoded_again() -> None:
    blob = encoded(picture(3), "JPEG")
    odd = blob[:2] + b"\xff\xff\xfe\x00\x09" + b"SECRET." + blob[2:]  # fill bytes before a comment
    out, _ = clean(odd)
    assert b"SECRET" not in out
    assert decode(out, MILLION).tobytes() == decode(blob, MILLION).tobytes()


def test_label_studio_gets_no_tasks_of_what_cannot_be_seen(tmp_path: Path) -> None:
    project = photos(tmp_path / "photos")
    project.images += [Stored(9, "broken.png", 1, 1, "unreadable"), Stored(10, "gone.png", 1, 1, "missing")]
    project.images[0] = dataclasses.replace(project.images[0], status="missing")  # with an answer, which is kept
    project.board.images = 10
    note = export(Job(project.snapshot()), "labelstudio", tmp_path / "out")
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text())
    assert sorted(task["data"]["labelwise_path"] for task in tasks) == sorted(i.path for i in project.images[:8])
    assert "8 tasks, 11 annotations, " in note
    assert "; 2 files that cannot be read or are missing were left out; " in note


def test_hugging_face_loads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    out, note = exported(tmp_path, "huggingface")
    assert note == "4 train, 2 test pictures without metadata"
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert {name: len(part) for name, part in loaded.items()} == {"train": 4, "test": 2}
    assert loaded["train"].features["label"].names == ["dog", HOSTILE, "cat"]
    row = next(row for row in loaded["test"] if row["path"] == "a.jpg")
    assert loaded["test"].features["label"].int2str(row["label"]) == "cat"
    seen = decode((tmp_path / "photos" / "a.jpg").read_bytes(), MILLION)
    assert np.array_equal(np.asarray(row["image"]), np.asarray(seen))
