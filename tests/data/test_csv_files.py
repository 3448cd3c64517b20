from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from labelwise.config import Study
from labelwise.data import csv_files
from labelwise.data.csv_files import from_csv
from labelwise.data.dataset import Dataset
from labelwise.data.sources import open_dataset
from labelwise.errors import InputError
from pictures import encoded, picture, write

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A folder with images/0.png ... 19.png; the CSV is written by the test."""
    for i in range(20):
        write(tmp_path / "images" / f"{i}.png", encoded(picture(i)))
    return tmp_path / "labels.csv"


def rows(count: int = 20, group: object = None) -> str:
    lines = ["path,label" + (",group" if group else "")]
    for i in range(count):
        lines.append(f"images/{i}.png,{'even' if i % 2 == 0 else 'odd'}" + (f",{group(i)}" if group else ""))  # type: ignore[operator]
    return "\n".join(lines) + "\n"


def opened(path: Path, **options: Any) -> Dataset:
    return open_dataset(Study(data=str(path), **options))


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as raised:
        opened(path, **options)
    assert str(raised.value).isprintable()
    return str(raised.value)


def test_labels_by_path(table: Path) -> None:
    table.write_text(rows())
    dataset = opened(table)
    assert dataset.classes == ("even", "odd")
    assert list(dataset.images.names) == [f"images/{i}.png" for i in range(20)]
    assert dataset.labels.tolist() == [0, 1] * 10
    assert len(dataset.test) == 4


def test_groups_stay_together(table: Path) -> None:
    table.write_text(rows(group=lambda i: f"patient {i // 4}" if i < 16 else ""))
    dataset = opened(table)
    patients = [set((side[side < 16] // 4).tolist()) for side in (dataset.pool, dataset.test)]
    assert not patients[0] & patients[1]
    assert patients[1] or (dataset.test >= 16).all()


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + rows(),
        rows().replace("\n", "\r\n"),
        rows().replace("path,label", " path , label "),
        rows().replace("path,label", "path,label,note"),
        rows().replace("path,label", "Path,Label"),
        rows().replace("path,label", "file_name,class"),
        rows().replace("even", '" even"'),
        rows().replace("\n", "\n\n"),
    ],
)
def test_ways_of_writing_it(table: Path, text: str) -> None:
    table.write_bytes(text.encode())
    assert opened(table).classes == ("even", "odd")


def test_absolute_paths_become_relative_names(table: Path, tmp_path: Path) -> None:
    table.write_text(rows().replace("images/", f"{tmp_path}/images/"))
    assert list(opened(table).images.names)[:2] == ["images/0.png", "images/1.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty file; write path,label[,group][,split] in the first line"),
        ("path;label\nimages/0.png;a\n", "separated by semicolons: --set 'columns.separator=\";\"'"),
        ("path\tlabel\nimages/0.png\ta\n", "separated by tabs: --set 'columns.separator=\"tab\"'"),
        ("path,kind\nimages/0.png,a\n", "no column with a label (looked for label, labels, fine_label, class, target)"),
        ("path,label\n", "no images found"),
        (rows(3) + "images/3.png,\nimages/4.png\n", "2 of 5 images have no label (line 5, line 6); remove them"),
        (rows(3) + ",odd\n ,even\n", "2 rows name no image in the column 'path' (line 5, 6)"),
        (
            rows(3) + "\n\nimages/99.png,even\nimages/98.png,odd\n",
            "2 of 5 images have no file: images/99.png (line 7), images/98.png (line 8); names are relative to the",
        ),
        (rows(3) + "images,even\n", "1 of 4 images have no file: images (line 5)"),
        (
            rows(3) + "images/1.png,even\n",
            "images stand there twice, and an image has one label: images/1.png in line 3",
        ),
        (rows(3) + "./images/../images/1.png,odd\n", "images/1.png in line 3 and 5"),
        (rows(3) + "images/3.png,odd,1\n", "1 rows have more cells than the 2 columns (line 5)"),
        ("path,label,path\nimages/0.png,a,b\n", "two columns 'path'; rename one"),
        (rows(3) + '"images/3.png,odd\n', "broken CSV"),
        (rows(1), "at least two classes are needed"),
        (rows(3), "class 'odd' has 1 readable image"),
        (rows() + "labels.csv,odd\n", "labels.csv (not a readable JPEG"),
        (rows(3) + 'images/3.png,"two\nlines"\n', "cannot be shown on one line"),
    ],
)
def test_bad_tables(table: Path, text: str, message: str) -> None:
    table.write_text(text)
    assert message in refused(table)


def test_not_utf8(table: Path) -> None:
    table.write_bytes(rows().replace("even", "pair é").encode("latin-1"))
    assert "not UTF-8 (byte 29); save it as CSV in UTF-8" in refused(table)


def test_no_table(table: Path) -> None:
    assert "No such file or directory; give the path of a CSV file" in refused(table)
    table.mkdir()
    assert "no class folders" in refused(table)


def as_given(message: str) -> dict[str, Any]:
    """Return the columns that an error's option sets."""
    (option,) = re.findall(r"--set '(columns=.*?)'", message)
    return yaml.safe_load(option.removeprefix("columns="))  # type: ignore[no-any-return]


def test_the_table_of_competitions_works_with_the_keys_that_its_error_names(table: Path) -> None:
    write_jpegs(table.parent / "photos")
    table.write_text("id,breed\n" + "".join(f"p{i},{'ab'[i % 2]}\n" for i in range(20)))
    keys = as_given(refused(table))
    assert keys == {"image": "id", "label": "breed", "folder": "photos", "extension": ".jpg"}
    dataset = opened(table, columns=keys)
    assert dataset.classes == ("a", "b")
    assert dataset.images.names[1] == "photos/p1.jpg"
    assert dataset.labels.tolist() == [0, 1] * 10


@pytest.mark.parametrize(("name", "folder"), [("p{}.jpg", "photos"), ("p{}", "photos"), ("p{}.jpg", ".")])
def test_a_table_without_names_of_columns_does_not_lose_its_first_image(table: Path, name: str, folder: str) -> None:
    write_jpegs(table.parent / folder)
    table.write_text("".join(f"{name.format(i)},{'ab'[i % 2]}\n" for i in range(20)))
    message = refused(table)
    assert f"the first line names an image, '{name.format(0)}'" in message
    assert "path,label" in message
    assert "--set" not in message


def write_jpegs(folder: Path) -> None:
    for i in range(20):
        write(folder / f"p{i}.jpg", encoded(picture(i), "JPEG"))


@pytest.mark.parametrize(
    ("name", "keys"),
    [("p{}", {"extension": ".jpg", "folder": "photos"}), ("p{}.jpg", {"folder": "photos"}),
     ("photos/p{}", {"extension": ".jpg"})],
)  # fmt: skip
def test_names_that_match_no_file_are_said_at_once_with_the_keys_that_find_them(
    table: Path, name: str, keys: dict[str, str]
) -> None:
    write_jpegs(table.parent / "photos")
    table.write_text("path,label\n" + "".join(f"{name.format(i)},{'ab'[i % 2]}\n" for i in range(20)))
    message = refused(table)
    assert "20 of 20 images have no file: " in message
    assert "; all of them are found by" in message
    assert as_given(message) == keys
    assert len(opened(table, columns=keys).images) == 20
    assert "all of them are found by" in refused(table, skip_unreadable=True)


def test_an_extension_needs_no_dot_and_two_places_are_no_place(table: Path) -> None:
    for folder in ("a", "b"):
        write_jpegs(table.parent / folder)
    table.write_text("path,label\n" + "".join(f"p{i},{'ab'[i % 2]}\n" for i in range(20)))
    assert "names are relative to the folder of the table" in refused(table)
    assert len(opened(table, columns={"folder": "a", "extension": "jpg"}).images) == 20


def test_missing_files_are_left_out_with_skip_unreadable(table: Path) -> None:
    table.write_text(rows() + "".join(f"images/{i}.png,odd\n" for i in range(95, 100)))
    assert "5 of 25 images have no file: images/95.png (line 22), " in refused(table)
    dataset = opened(table, skip_unreadable=True)
    assert len(dataset.images) == 20
    assert dataset.notes[0].startswith("5 unreadable images left out: images/95.png (")
    write(table.parent / "images" / "95.png", encoded(picture(95)))
    assert len(opened(table, skip_unreadable=True).images) == 21


@pytest.mark.parametrize(("separator", "sign"), [(";", ";"), ("tab", "\t")])
def test_other_separators(table: Path, separator: str, sign: str) -> None:
    table.write_text(rows().replace(",", sign).replace("even", '"even; a\tb"'))
    assert opened(table, columns={"separator": separator}).classes[1] == "odd"


def test_an_unknown_separator(table: Path) -> None:
    table.write_text(rows())
    assert "columns.separator: '|' is none; write ',' or ';' or tab" in refused(table, columns={"separator": "|"})


def test_columns_that_are_not_used_are_listed(table: Path) -> None:
    table.write_text(rows().replace("path,label", "path,label,,note").replace("even", "even,1,x") + ",,,\n")
    listing = from_csv(table, Study(data=str(table)))
    assert listing.unused == {"columns ((without a name), note)": 2, "rows with nothing in them": 1}


def test_labels_are_read_as_text(table: Path) -> None:
    table.write_text("path,label\n" + "".join(f"images/{i}.png,00{i % 2 + 1}\n" for i in range(20)))
    assert opened(table).classes == ("001", "002")
    table.write_text("path,label\n" + "".join(f"images/{i}.png,{10 - i % 2}\n" for i in range(20)))
    assert opened(table).classes == ("9", "10")


def test_images_without_a_label_are_left_out_where_the_study_says_so(table: Path) -> None:
    table.write_text("path,label\n" + "".join(f"images/{i}.png,{i % 4 - 1}\n" for i in range(20)))
    assert "5 of 20 images have the label -1; say what it is: --set columns.minus_one=class" in refused(table)
    assert opened(table, columns={"minus_one": "class"}).classes == ("-1", "0", "1", "2")
    dataset = opened(table, columns={"minus_one": "unlabelled"})
    assert dataset.classes == ("0", "1", "2")
    assert dataset.images.names[0] == "images/1.png"
    assert dataset.labels.tolist() == [0, 1, 2] * 5
    assert "5 images without a label (-1) left out" in dataset.notes


def test_a_split_column_counts(table: Path) -> None:
    sides = ["train"] * 12 + ["val"] * 2 + ["test"] * 6
    lines = [f"{line},{side}" for line, side in zip(rows().splitlines()[1:], sides, strict=True)]
    table.write_text("\n".join(["path,label,Split", *lines]))
    dataset = opened(table)
    assert dataset.pool.tolist() == list(range(12))
    assert [dataset.images.names[i] for i in dataset.test] == [f"images/{i}.png" for i in range(14, 20)]
    assert opened(table, split={"train": ["train", "val"], "test": "test"}).pool.tolist() == list(range(14))
    assert len(opened(table, split="none").images) == 20
    table.write_text(table.read_text().replace(",test", ","))
    assert "6 of 20 images have nothing in the column of the split; fill it in, or leave" in refused(table)


def test_names_of_sides_need_a_column(table: Path) -> None:
    table.write_text(rows())
    assert "no column says them; name it: --set columns.split=NAME" in refused(table, split={"test": "test"})


def test_a_large_table_is_read_quickly(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "_stamp", lambda _path: "1")
    table.write_text("path,label,note\n" + "".join(f"{i}.png,{i % 7},x\n" for i in range(100_000)))
    started = time.perf_counter()
    listing = from_csv(table, Study(data=str(table)))
    assert time.perf_counter() - started < 10
    np.testing.assert_array_equal(listing.labels, np.arange(100_000) % 7)


def test_the_guard_against_formulas_is_undone_and_said(table: Path) -> None:
    for i in range(20):
        write(table.parent / f"={i}.png", encoded(picture(i)))
    table.write_text("path,label\n" + "".join(f"'={i}.png,{['a', chr(39) + '-b'][i % 2]}\n" for i in range(20)))
    dataset = opened(table)
    assert dataset.classes == ("-b", "a")
    assert dataset.images.names[0] == "=0.png"
    assert any("read without it: '-b, '=0.png, '=1.png, ..." in note for note in dataset.notes)


def test_labels_that_a_model_gave_are_no_truth_until_the_study_says_so(table: Path) -> None:
    table.write_text(rows().replace("label", "label,probability").replace("even", "even,0.9").replace("odd", "odd,1"))
    assert "the column 'probability' says that a model gave these labels" in refused(table)
    assert len(opened(table, columns={"label": "label"}).images) == 20
