from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from labelwise.config import Study
from labelwise.data import folders
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


def opened(path: Path) -> Dataset:
    return open_dataset(Study(data=str(path)))


def refused(path: Path) -> str:
    with pytest.raises(InputError) as raised:
        opened(path)
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
        ("", "no column 'path'"),
        ("image,label\nimages/0.png,a\n", "no column 'path'"),
        ("path;label\nimages/0.png;a\n", "no column 'path'"),
        ("Path,Label\nimages/0.png,a\n", "did you mean 'Path'"),
        ("path,class\nimages/0.png,a\n", "no column 'label'"),
        ("path,label\n", "no images found"),
        (rows(3) + "images/3.png,\n", "line 5: path or label is empty"),
        (rows(3) + "images/3.png\n", "line 5: path or label is empty"),
        (
            rows(3) + "\n\nimages/99.png,even\n",
            "line 7: there is no file images/99.png; paths are relative",
        ),
        (rows(3) + "images,even\n", "line 5: there is no file images"),
        (rows(3) + "images/1.png,even\n", "line 5: images/1.png stands in line 3 too; an image has one label"),
        (rows(3) + "./images/../images/1.png,odd\n", "line 5: images/1.png stands in line 3 too"),
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


def test_a_large_table_is_read_quickly(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda _self: True)
    table.write_text("path,label\n" + "".join(f"{i}.png,{i % 7}\n" for i in range(30_000)))
    started = time.perf_counter()
    listing = folders.from_csv(table)
    assert time.perf_counter() - started < 10
    np.testing.assert_array_equal(listing.labels, np.arange(30_000) % 7)
