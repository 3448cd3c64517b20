"""Folders as people have them, and what they are read as."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelwise.config import Study
from labelwise.data.dataset import Listing
from labelwise.data.folders import from_folder
from labelwise.errors import InputError
from pictures import write


def files(root: Path, *folders: str) -> Path:
    """Write two files into each folder; nobody decodes them."""
    for folder in folders:
        for i in range(2):
            write(root / folder / f"{i}.png", f"{folder}{i}".encode())
    return root


def read(root: Path, **options: object) -> Listing:
    return from_folder(root, Study(data=str(root), **options))  # type: ignore[arg-type]


def sides(listing: Listing) -> dict[str, set[str]]:
    """Return the folders of each side's images."""
    assert listing.test is not None
    found: dict[str, set[str]] = {"train": set(), "test": set()}
    for name, test in zip(listing.names, listing.test, strict=True):
        found["test" if test else "train"].add(name.split("/")[0])
    return found


def both(*tops: str) -> list[str]:
    return [f"{top}/{name}" for top in tops for name in ("cat", "dog")]


PAIRS = [("train", "test"), ("Training", "Testing"), ("train", "eval"), ("train_set", "test_set"), ("train", "test1"),
         ("cifar_train", "cifar_test"), ("TRAIN", "Test Images")]  # fmt: skip


@pytest.mark.parametrize(("train", "test"), PAIRS)
def test_known_names_that_hold_the_same_class_folders_are_splits(tmp_path: Path, train: str, test: str) -> None:
    listing = read(files(tmp_path, *both(train, test)))
    assert listing.classes == ("cat", "dog")
    assert sides(listing) == {"train": {train}, "test": {test}}
    assert listing.labels.tolist() == [int("dog" in name) for name in listing.names]


def test_equal_nested_names_under_other_names_are_classes_with_groups(tmp_path: Path) -> None:
    listing = read(files(tmp_path, "cat/scene 0", "cat/scene 1", "dog/scene 0", "dog/scene 1"))
    assert (listing.classes, listing.test) == (("cat", "dog"), None)
    assert listing.groups is not None
    assert set(listing.groups) == {"cat/scene 0", "cat/scene 1", "dog/scene 0", "dog/scene 1"}


def test_splits_inside_the_class_folders(tmp_path: Path) -> None:
    listing = read(files(tmp_path, "cat/train", "cat/test", "dog/train", "dog/test", "dog/masks"))
    assert listing.classes == ("cat", "dog")
    assert listing.test is not None
    assert listing.test.tolist() == ["/test/" in name for name in listing.names]
    assert listing.unused == {"images in masks": 2}
    assert listing.notes == ("training set: train; test set: test, in each class folder",)
    files(tmp_path, "emu/train")
    with pytest.raises(InputError, match="emu lacks some of the splits that other class folders hold"):
        read(tmp_path)


def test_loose_images_cannot_be_a_test_set(tmp_path: Path) -> None:
    files(tmp_path, *both("train"), "test")
    with pytest.raises(InputError, match="test has no class folders, so its images have no labels") as raised:
        read(tmp_path)
    assert "--set 'split={train: train}'" in str(raised.value)
    listing = read(tmp_path, split={"train": "train"})
    assert (listing.classes, listing.test) == (("cat", "dog"), None)
    assert listing.unused == {"images in test": 2}
    with pytest.raises(InputError, match="test has no class folders; put its images into folders"):
        read(tmp_path, split={"train": "train", "test": "test"})


@pytest.mark.parametrize(
    ("folders", "why"),
    [
        (both("train", "val"), "there are train and val, but there is no test set"),
        (both("fold1", "fold2", "fold3"), "fold1, fold2, fold3 look like folds"),
        (["cat/fold1", "cat/fold2", "dog/fold1", "dog/fold2"], "fold1, fold2 in class folders look like folds"),
        (["cat/train", "cat/val", "dog/train", "dog/val"], "in class folders: there are train and val"),
        (both("train", "extra"), "train with class folders, beside extra"),
        (both("test", "extra"), "test with class folders, beside extra"),
        (both("train1", "test1", "train2", "test2"), "are several sets"),
        ([*both("train"), "test/cat", "test/fox"], "'dog' is in train only, 'fox' is in test only"),
        (["train", "test"], "train are named as a split, but without class folders"),
    ],
)
def test_what_is_not_clear_is_refused_with_the_key_that_settles_it(
    tmp_path: Path, folders: list[str], why: str
) -> None:
    files(tmp_path, *folders)
    with pytest.raises(InputError, match=why) as raised:
        read(tmp_path)
    assert "split=none" in str(raised.value)
    assert read(tmp_path, split="none").classes == tuple(sorted({folder.split("/")[0] for folder in folders}))


@pytest.mark.parametrize(
    ("folders", "example"),
    [
        (both("train", "extra"), "{train: train}"),
        (both("test", "extra"), "{train: extra, test: test}"),
        ([*both("holdout"), "extra"], "{test: holdout}"),
    ],
)
def test_an_example_never_trains_on_what_is_named_as_the_test_set(
    tmp_path: Path, folders: list[str], example: str
) -> None:
    files(tmp_path, *folders)
    with pytest.raises(InputError) as raised:
        read(tmp_path)
    assert f"as in --set 'split={example}'" in str(raised.value)


def test_a_configuration_says_which_folders_are_which(tmp_path: Path) -> None:
    files(tmp_path, *both("fold1", "fold2", "fold3"))
    listing = read(tmp_path, split={"test": "fold3"})
    assert sides(listing) == {"train": {"fold1", "fold2"}, "test": {"fold3"}}
    assert listing.notes == ("training set: fold1, fold2; test set: fold3",)
    listing = read(tmp_path, split={"train": "fold1", "test": "fold3"})
    assert listing.unused == {"images in fold2": 4}
    with pytest.raises(InputError, match="split names 'fold4', and no such folder is there; did you mean 'fold"):
        read(tmp_path, split={"test": "fold4"})


def test_parts_of_a_side_may_lack_classes(tmp_path: Path) -> None:
    files(tmp_path, *both("train", "test"), "more/cat")
    listing = read(tmp_path, split={"train": ["train", "more"], "test": "test"})
    assert sides(listing)["train"] == {"train", "more"}
    assert listing.classes == ("cat", "dog")


def test_third_parts_are_counted(tmp_path: Path) -> None:
    files(tmp_path, *both("train", "test", "val", "extra"), "masks")
    write(tmp_path / "train" / "sheet.png", b"")
    listing = read(tmp_path)
    assert listing.unused == {"images beside the class folders": 1, "images in extra": 4, "images in masks": 2,
                              "images in val": 4}  # fmt: skip
    assert listing.kind == "folder"


@pytest.mark.parametrize("folders", [both("train", "test"), both("a", "b"), ["train", "test"]])
def test_a_folder_around_the_class_folders_is_named(tmp_path: Path, folders: list[str]) -> None:
    files(tmp_path, *(f"unpacked/{folder}" for folder in folders))
    with pytest.raises(
        InputError, match="a single class folder, unpacked; if it holds the class folders, give its path"
    ):
        read(tmp_path)


def test_equal_folders_in_folders_of_other_names_are_groups_and_said(tmp_path: Path) -> None:
    files(tmp_path, "2019/cat", "2019/dog", "2020/cat", "2020/dog")
    found = read(tmp_path)
    assert found.classes == ("2019", "2020")
    assert found.notes == (
        "2019, 2020 are read as classes, and the folders in them, the same in each, as groups; if it is the other way "
        'round, name the splits: --set \'split={train: "2019", test: "2020"}\'',
    )
    assert read(tmp_path, split="none").notes == ()
    assert read(files(tmp_path, "2020/cow")).notes == ()


def test_equal_folders_where_one_is_named_as_a_split_are_not_clear(tmp_path: Path) -> None:
    files(tmp_path, "seg_train/cat", "seg_train/dog", "seg_pred/cat", "seg_pred/dog")
    with pytest.raises(
        InputError, match=r"seg_pred, seg_train hold the same folders.*\{train: seg_train, test: seg_pred\}"
    ):
        read(tmp_path)
    assert read(tmp_path, split={"train": "seg_train", "test": "seg_pred"}).classes == ("cat", "dog")
    assert read(tmp_path, split="none").classes == ("seg_pred", "seg_train")
