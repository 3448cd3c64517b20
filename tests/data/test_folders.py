from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from labelwise.config import Study
from labelwise.data.dataset import Dataset
from labelwise.data.sources import open_dataset
from labelwise.errors import InputError
from pictures import class_folders, encoded, picture, write

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty folder; the cache lies elsewhere."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def opened(path: Path, **options: object) -> Dataset:
    return open_dataset(Study(data=str(path), **options))  # type: ignore[arg-type]


def refused(path: Path, **options: object) -> str:
    """Return the one line by which a data set is refused."""
    with pytest.raises(InputError) as raised:
        opened(path, **options)
    message = str(raised.value)
    assert message.isprintable()
    return message


def names_of(dataset: Dataset, indices: np.ndarray) -> list[str]:
    return [dataset.images.names[i] for i in indices]


def test_one_folder_a_class(root: Path) -> None:
    dataset = opened(class_folders(root, ("dog", "cat", "Ant"), 10))
    assert dataset.classes == ("Ant", "cat", "dog")
    assert np.bincount(dataset.labels).tolist() == [10, 10, 10]
    assert np.bincount(dataset.labels[dataset.test]).tolist() == [2, 2, 2]
    assert all(dataset.classes[k] == Path(name).parts[0]
               for k, name in zip(dataset.labels, dataset.images.names, strict=True))  # fmt: skip
    assert "6 of 30 images set apart" in dataset.notes[0]


@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Train", "TEST")])
def test_train_and_test(root: Path, train: str, test: str) -> None:
    class_folders(root / train)
    class_folders(root / test, count=2, seed=1)
    dataset = opened(root)
    assert (len(dataset.pool), len(dataset.test)) == (12, 4)
    assert all(name.startswith(test) for name in names_of(dataset, dataset.test))
    assert dataset.notes == ()


def test_a_class_folder_that_holds_nothing_is_left_out(root: Path) -> None:
    for side in ("train", "test"):
        class_folders(root / side, count=2, seed=len(side))
        (root / side / "unused").mkdir()
    assert len(opened(root).classes) == 2
    assert opened(root).notes == ("class folders that hold nothing, left out: unused",)


def test_train_alone_is_split(root: Path) -> None:
    class_folders(root / "train")
    assert (len(opened(root).pool), len(opened(root).test)) == (10, 2)


@pytest.mark.parametrize("classes", [("bus", "train"), ("bus", "fold1"), ("invalid", "valid"), ("beaker", "test_tube")])
def test_a_class_may_be_named_as_a_split(root: Path, classes: tuple[str, ...]) -> None:
    assert opened(class_folders(root, classes)).classes == classes


@pytest.mark.parametrize("classes", [("bus", "test"), ("bus", "test", "train"), ("train", "test"), ("Training", "bus")])
def test_names_of_splits_without_class_folders_are_not_clear(root: Path, classes: tuple[str, ...]) -> None:
    class_folders(root, classes)
    assert "without class folders; put the images into folders named after the classes, or set split=none" in refused(
        root
    )
    assert opened(root, split="none").classes == tuple(sorted(classes))


def test_a_validation_folder_is_never_taken_for_a_class(root: Path) -> None:
    class_folders(root / "train")
    class_folders(root / "val", seed=1)
    assert "there are train and val, but there is no test set" in refused(root)
    assert "--set 'split={train: train, test: val}'" in refused(root)
    class_folders(root / "test", seed=2)
    assert opened(root).notes == (
        "val (validation) is not used; --set 'split={train: [train, val], test: test}' adds it to the training set",
        "images in val not used: 12",
    )
    merged = opened(root, split={"train": ["train", "val"], "test": "test"})
    assert (len(merged.pool), len(merged.test)) == (24, 12)


def test_folders_in_class_folders_are_groups(root: Path) -> None:
    for k, name in enumerate(("cat", "dog")):
        for scene in range(10):
            for i in range(3):
                write(root / name / f"scene {scene}" / f"{i}.png", encoded(picture(k, scene, i)))
    dataset = opened(root)
    scenes = [{str(Path(name).parent) for name in names_of(dataset, side)} for side in (dataset.pool, dataset.test)]
    assert not scenes[0] & scenes[1]
    assert [len(s) for s in scenes] == [16, 4]


def test_a_single_folder_in_each_class_folder_separates_nothing(root: Path) -> None:
    for k, name in enumerate(("cat", "dog")):
        for i in range(10):
            write(root / name / "images" / f"{i}.png", encoded(picture(k, i)))
    assert len(opened(root).test) == 4


def test_near_duplicates_stay_on_one_side(root: Path) -> None:
    for k, name in enumerate(("cat", "dog")):
        for i in range(40):
            write(root / name / f"{i}.png", encoded(picture(k, i, size=(48, 48))))
            write(root / name / f"{i} copy.jpg", encoded(picture(k, i, size=(48, 48)), "JPEG", quality=90))
    dataset = opened(root)
    held = {name.removesuffix(".png").removesuffix(" copy.jpg") for name in names_of(dataset, dataset.test)}
    assert len(dataset.test) == 32
    assert len(held) == 16
    assert any("160 images are in groups" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: None, "no class folders; put the images of each class into a folder named after it"),
        (lambda root: write(root / "1.png", encoded(picture(1))), "no class folders"),
        (lambda root: class_folders(root, ("cat",)), "at least two classes are needed, found: cat"),
        (lambda root: class_folders(root / "unpacked"), "a single class folder, unpacked; if it holds"),
        (lambda root: (class_folders(root), write(root / "empty" / "a.txt", b"")),
         "empty: the class folder has no images"),
        (lambda root: (class_folders(root / "train", ("cat", "dog")), class_folders(root / "test", ("cat",)),
                       (root / "test" / "dog").mkdir()), "classes differ: 'dog' in train but not in test"),
        (lambda root: (class_folders(root), write(root / "bird" / "1.png", encoded(picture(1)))),
         "class 'bird' has 1 readable image; at least 2 are needed"),
        (lambda root: (class_folders(root / "train", ("cat", "dog")), class_folders(root / "test", ("cat", "fox"))),
         "classes differ between train and test: 'dog' is in train only, 'fox' is in test only; give both the same"),
    ],
)  # fmt: skip
def test_what_cannot_be_used(root: Path, make: object, message: str) -> None:
    make(root)  # type: ignore[operator]
    assert message in refused(root)


def test_a_missing_folder(root: Path) -> None:
    assert "there is no file or folder" in refused(root / "nowhere")
    assert "is no folder, .csv, .parquet or .npz file" in refused(write(root / "data.zip", b"PK"))


BAD = {
    "empty.png": (b"", "an empty file"),
    "truncated.jpg": (encoded(picture(1, size=(64, 64)), "JPEG")[:300], "truncated"),
    "text.png": (b"this is no picture", "not a readable JPEG"),
    "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a readable JPEG"),
    "photo.heic": (b"\0\0\0\x18ftypheic", "not a readable JPEG"),
    "large.png": (encoded(picture(1, size=(300, 300))), "oversized: 300x300 pixels, at most 50,000 are read"),
}


def test_unreadable_images_are_named(root: Path) -> None:
    class_folders(root)
    for name, (content, _) in BAD.items():
        write(root / "cat" / name, content)
    (root / "cat" / "lost.png").symlink_to(root / "nowhere.png")
    message = refused(root, max_pixels=50_000)
    assert "7 of 19 images cannot be read" in message
    assert message.endswith("leave them out with --set skip_unreadable=true")
    for name, (_, why) in BAD.items():
        assert f"{name} ({why}" in message
    assert "lost.png (unreadable: No such file" in message
    dataset = opened(root, max_pixels=50_000, skip_unreadable=True)
    assert len(dataset.labels) == len(dataset.images) == 12
    assert dataset.notes[0].startswith("7 unreadable images left out: ")
    assert dataset.classes[dataset.labels[0]] == "cat"


def test_many_unreadable_images_make_a_short_message(root: Path) -> None:
    class_folders(root)
    for i in range(500):
        write(root / "cat" / f"bad {i:03d}.png", b"")
    message = refused(root)
    assert "and 490 more" in message
    assert len(message) < 1000


def test_a_class_without_readable_images(root: Path) -> None:
    class_folders(root)
    write(root / "emu" / "1.png", b"")
    assert "class 'emu' has 0 readable images" in refused(root, skip_unreadable=True)


def test_hidden_and_other_files_are_not_taken(root: Path) -> None:
    class_folders(root)
    for name in (".DS_Store", "._1.png", "Thumbs.db", "notes.txt", "more.txt", "README", ".hidden/1.png"):
        write(root / "cat" / name, b"no picture")
    write(root / ".git" / "1.png", b"")
    write(root / "contact sheet.png", encoded(picture(1)))
    write(root / "__MACOSX" / "cat" / "1.png", encoded(picture(1)))
    dataset = opened(root)
    assert len(dataset.images) == 12
    assert dataset.notes[:-1] == (
        "files of other kinds (.db) not used: 1",
        "files of other kinds (.txt) not used: 2",
        "files of other kinds (no extension) not used: 1",
        "folders named __MACOSX not used: 1",
        "hidden files not used: 2",
        "hidden folders not used: 2",
        "images beside the class folders not used: 1",
    )


def test_a_pipe_is_never_opened(root: Path) -> None:
    class_folders(root)
    os.mkfifo(root / "dog" / "pipe.png")
    assert "dog/pipe.png (no file, but a pipe" in refused(root)
    assert len(opened(root, skip_unreadable=True).images) == 12


def test_links_inside_the_folder_are_followed_once(root: Path) -> None:
    class_folders(root / ".store", ("emu",))
    class_folders(root, ("cat", "dog"))
    (root / "emu").symlink_to(root / ".store" / "emu")
    (root / "cat" / "loop").symlink_to(root / "cat")
    (root / "cat" / "again.png").symlink_to(root / "cat" / "0.png")
    dataset = opened(root)
    assert dataset.classes == ("cat", "dog", "emu")
    assert np.bincount(dataset.labels).tolist() == [6, 6, 6]
    assert "links to folders that are listed already not used: 1" in dataset.notes
    assert "links to images that are listed already not used: 1" in dataset.notes


def test_one_file_in_two_classes_is_refused(root: Path) -> None:
    class_folders(root)
    (root / "tabby").symlink_to(root / "cat")
    assert "cat/0.png and tabby/0.png are one file, by a link, in two classes or splits; remove one" in refused(root)


def test_links_that_lead_out_are_named(root: Path) -> None:
    class_folders(root / "elsewhere", ("emu",))
    class_folders(root / "data")
    (root / "data" / "cat" / "up").symlink_to(root)
    (root / "data" / "cat" / "7.png").symlink_to(root / "elsewhere" / "emu" / "0.png")
    dataset = opened(root / "data")
    assert len(dataset.images) == 13
    assert "links to folders elsewhere are not followed: cat/up" in dataset.notes
    assert "1 images are links to files outside of the folder" in dataset.notes
    (root / "data" / "emu").symlink_to(root / "elsewhere" / "emu")
    assert "emu is a link to a folder elsewhere" in refused(root / "data", skip_unreadable=True)


def test_a_loop_at_the_top(root: Path) -> None:
    class_folders(root)
    (root / "itself").symlink_to(root / "itself")
    assert len(opened(root).images) == 12


ODD = [
    "two\nlines.png",
    "tab\t.png",
    "bell\x07.png",
    "naïve – 図.png",
    "quote'\".png",
    os.fsdecode(b"latin-\xe9.png"),
    "%s {0}.png",
]


def test_odd_names(root: Path) -> None:
    class_folders(root)
    for i, name in enumerate(ODD):
        write(root / "cat" / name, encoded(picture(9, i)))
    dataset = opened(root)
    assert all(name.isprintable() for name in dataset.images.names)
    assert os.path.join("cat", "two\\nlines.png") in dataset.images.names
    for name in ODD:
        write(root / "cat" / name, b"")
    assert "7 of 19 images cannot be read" in refused(root)
    class_folders(root / "and" / "a\nfolder", ("cat",))
    assert r"a\nfolder" in refused(root / "and" / "a\nfolder")


@pytest.mark.parametrize("name", ["two\nlines", os.fsdecode(b"latin-\xe9"), " "])
def test_class_names_must_be_printable(root: Path, name: str) -> None:
    class_folders(root, ("cat", name))
    assert "cannot be shown on one line; rename it" in refused(root)


def test_a_folder_that_may_not_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class_folders(root)

    whole = os.scandir
    closed = {str(root / "cat")}

    def denied(path: str) -> object:
        if str(path).rstrip("/") in closed:
            raise PermissionError(13, "Permission denied", path)
        return whole(path)

    monkeypatch.setattr("labelwise.data.scan.os.scandir", denied)
    assert "cat: Permission denied; check the path" in refused(root)
    closed.add(str(root))
    assert "Permission denied" in refused(root)


def test_the_whole_set_cannot_be_the_test_set(root: Path) -> None:
    assert "100 % leaves nothing to learn from" in refused(class_folders(root), test_share=1.0)


def test_a_class_of_one_scene_is_in_training_only(root: Path) -> None:
    class_folders(root)
    for i in range(5):
        write(root / "emu" / f"{i}.png", encoded(picture(1)))
    dataset = opened(root)
    assert np.bincount(dataset.labels[dataset.test], minlength=3).tolist() == [1, 1, 0]
    assert np.bincount(dataset.labels[dataset.pool], minlength=3).tolist() == [5, 5, 5]
    assert "in training only, and not in the test set: 'emu'" in dataset.notes[-1]


def test_a_test_set_that_overlaps_the_training_set_is_said(root: Path) -> None:
    class_folders(root / "train", seed=1)
    class_folders(root / "test", seed=1)
    assert opened(root).notes == (
        "the test set equals images of the training set: accuracies are of images that were learned",
    )
    class_folders(root / "test", count=5, seed=2)
    write(root / "test" / "cat" / "0.png", encoded(picture(1, 0, 3), "PPM"))
    assert opened(root).notes == (
        "2 of 12 test images are in the training set too: accuracies are too high",
        "1 of 12 test images look the same as images of the training set",
    )


def test_a_set_whose_classes_are_one_scene_each_cannot_be_split(root: Path) -> None:
    for k, name in enumerate(("cat", "dog")):
        for i in range(5):
            write(root / name / f"{i}.png", encoded(picture(k)))
    assert "no test set can be set apart: all images of 'cat', 'dog' look alike" in refused(root)


def test_changes_are_noticed(root: Path) -> None:
    class_folders(root)
    before = opened(root)
    assert opened(root).fingerprint == before.fingerprint
    path = root / "cat" / "0.png"
    stat = path.stat()
    content = path.read_bytes()
    write(path, encoded(picture(77))[: len(content)].ljust(len(content), b"\0"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as rsync and cp -p leave it
    assert opened(root, skip_unreadable=True).fingerprint != before.fingerprint
    write(path, content)
    assert opened(root).fingerprint == before.fingerprint
    os.rename(root / "cat", root / "cow")
    assert opened(root).fingerprint != before.fingerprint


def test_spellings_of_one_class_are_one(root: Path) -> None:
    for side in ("train", "test"):
        for k, name in enumerate(("Gro\u0308\u00dfe", "Gr\u00f6\u00dfe ", "two  words")):
            spelt = name if side == "train" else name.strip().replace("  ", " ")
            class_folders(root / side, (spelt,), 3, seed=10 * k + len(side))
    dataset = opened(root)
    assert dataset.classes == ("Gr\u00f6\u00dfe", "two words")
    assert np.bincount(dataset.labels).tolist() == [12, 6]
    assert any(note.startswith("classes that are written in several ways, each read as one") for note in dataset.notes)


def test_numbers_as_folders_stay_names(root: Path) -> None:
    assert opened(class_folders(root, ("2", "10", "-1", "NA"))).classes == ("-1", "10", "2", "NA")
    assert opened(class_folders(root / "more", ("10", "2", "-1"), seed=1)).classes == ("-1", "2", "10")


def classes_json(root: Path, names: dict[str, str]) -> None:
    listed = [{"name": name, "folder": folder} for folder, name in names.items()]
    (root / "classes.json").write_text(json.dumps({"classes": listed}))


def test_classes_json_has_the_true_names_and_their_order(root: Path) -> None:
    class_folders(root, ("a_b", "z", "later"))
    classes_json(root, {"z": "z", "a_b": "a/b", "gone": "gone"})
    dataset = opened(root)
    assert dataset.classes == ("z", "a/b", "later")
    assert {dataset.classes[k] for name, k in zip(dataset.images.names, dataset.labels.tolist(), strict=True)
            if name.startswith("a_b/")} == {"a/b"}  # fmt: skip
    assert "names and order of the classes were read from classes.json" in dataset.notes
    assert any("have no image, and are left out: gone" in note for note in dataset.notes)
    assert dataset.seen.unused == {}
    classes_json(root, {"z": "later", "a_b": "a/b"})
    assert "gives the class 'later' to another folder than later; rename the folder" in refused(root)
    (root / "classes.json").write_text('{"classes": ["z", "a_b"]}')  # another program's
    assert opened(root).classes == ("a_b", "later", "z")
    assert opened(root).seen.unused == {"files of other kinds (.json)": 1}


def test_classes_json_is_counted_nowhere_also_among_rare_kinds(root: Path) -> None:
    class_folders(root)
    classes_json(root, {"cat": "cat", "dog": "dog"})
    for i in range(26):
        (root / f"{i}.e{chr(97 + i // 2)}").touch()
    unused = opened(root).seen.unused
    assert unused["files of other kinds (others)"] == 2
    assert sum(unused.values()) == 26
    assert min(unused.values()) > 0


def test_a_folder_with_a_table_alone_says_so(root: Path) -> None:
    write(root / "labels.csv", b"path,label")
    assert "no class folders; if the table labels.csv says them, give its path" in refused(root)


def test_equal_images_of_different_classes_are_said(root: Path) -> None:
    class_folders(root)
    for name in ("cat", "dog"):
        write(root / name / "same.png", encoded(picture(777)))
    note = "2 images are equal to one of another class: one of the labels is wrong"
    assert note in opened(root).notes
    assert note in opened(root).seen.notes
    (root / "dog" / "same.png").unlink()
    assert note not in opened(root).notes
