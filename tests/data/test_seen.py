"""What is said of a data set that was read."""

from __future__ import annotations

import json

import numpy as np

from labelwise.data.seen import ClassSeen, Seen, Sizes, classes_of, sizes_of


def sized(shapes: list[list[int]]) -> Sizes:
    return sizes_of(np.array(shapes, np.int32))


def seen(**changes: object) -> Seen:
    found = {
        "source": "photos", "kind": "folder", "split": "20 % set apart", "groups": 0, "unreadable": {}, "unused": {},
        "classes": (ClassSeen("cat", 80, 20), ClassSeen("dog", 9, 0)), "sizes": sized([[100, 500]]),
        "modes": {"RGB": 109}, "equal": 0, "alike": 0, "resize": "crop",
    }  # fmt: skip
    return Seen(**{**found, **changes})  # type: ignore[arg-type]


def test_sizes_and_what_the_crop_leaves_out() -> None:
    found = sized([[100, 500], [100, 500], [50, 50], [200, 400]])
    assert (found.smallest, found.largest, found.commonest, found.different) == ((50, 50), (400, 200), (500, 100), 3)
    assert np.isclose(found.lost, (0.8 + 0.8 + 0 + 0.5) / 4)
    assert np.isclose(found.most_lost, 0.8)
    assert sized([[32, 32]] * 3) == Sizes((32, 32), (32, 32), (32, 32), 1, 0.0, 0.0)


def test_counts() -> None:
    labels, is_test = np.array([0, 0, 2, 2, 2]), np.array([False, True, False, False, True])
    assert classes_of(["a", "b", "c"], labels, is_test) == (
        ClassSeen("a", 1, 1),
        ClassSeen("b", 0, 0),
        ClassSeen("c", 2, 1),
    )


def test_three_to_five_lines() -> None:
    plain = seen(classes=(ClassSeen("cat", 80, 20), ClassSeen("dog", 80, 20)), sizes=sized([[32, 32]] * 4))
    assert plain.lines() == [
        "Data: photos (folder): pool 160, test set 40 (20 % set apart)",
        "2 classes (cat, dog), 80 images each in the pool",
        "Images: 32x32, RGB 109",
    ]
    odd = seen(unused={"files of other kinds (.txt)": 3}, unreadable={"a.png": "truncated"}, alike=2, equal=1, groups=4)
    assert odd.lines() == [
        "Data: photos (folder): pool 89, test set 20 (20 % set apart)",
        "2 classes (cat, dog), 9 to 80 images in the pool; 4 groups, each on one side",
        "Images: 500x100, RGB 109; the centre crop leaves out 80% of an image on average, 80% at most "
        "(resize: pad or stretch keep all)",
        "Not used: unreadable images: 1; files of other kinds (.txt): 3",
        "Look at: 2 test images look like images of the pool (1 are equal to one); fewer than 10 images in the pool: "
        "dog; no images in the test set: dog",
    ]
    assert "crop" not in "".join(seen(resize="pad").lines())
    rows = seen(sizes=None, modes={}).lines()
    assert len(rows) == 3
    assert rows[1].endswith("9 to 80 rows in the pool")


def test_the_record_is_plain() -> None:
    found = json.loads(json.dumps(seen().record()))
    assert (found["pool"], found["test"], found["few"], found["untested"]) == (89, 20, ["dog"], ["dog"])
    assert found["classes"][0] == {"name": "cat", "pool": 80, "test": 20}
    assert found["sizes"]["largest"] == [500, 100]
