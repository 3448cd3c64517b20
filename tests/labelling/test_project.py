from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from uuid import uuid4

import pytest
from tests.labelling.conftest import photos, said

from labelwise.database import now
from labelwise.errors import InputError
from labelwise.labelling.board import Board
from labelwise.labelling.desk import Desk
from labelwise.labelling.events import Event
from labelwise.labelling.folder import scan
from labelwise.labelling.project import Project, home_of, made_or_opened, opened, random_slice, slice_size
from pictures import encoded, picture, write


def test_a_project_is_made_once_and_opened_again(tmp_path: Path) -> None:
    folder, home = photos(tmp_path / "photos"), tmp_path / "home"
    with made_or_opened(folder, home, None, ["cat", "dog"], {"budget": 10}) as first:
        order = [image.path for image in first.store.images()]
        assert sorted(order) == sorted(p.name for p in folder.iterdir())
        assert order != sorted(order), "ids are in random order"
    with made_or_opened(folder, home, None, ["cat", "fox"], {"budget": 12}) as second:
        assert second.snapshot().classes == ["cat", "dog", "fox"]
        assert [image.path for image in second.store.images()] == order
        assert (second.settings.budget, second.settings.slice) == (12, first.settings.slice)
    with opened(home) as third:
        assert third.settings == second.settings


def test_a_budget_that_was_set_on_the_page_outlives_the_same_command(tmp_path: Path) -> None:
    folder, home = photos(tmp_path / "photos"), tmp_path / "home"

    def budget(**changes: int) -> int:
        with made_or_opened(folder, home, None, ["cat", "dog"], changes) as project:
            return project.settings.budget

    assert budget(budget=10) == 10
    with opened(home) as project:
        project.set(budget=25)
    assert budget(budget=10) == budget() == 25, "as before: what was set later holds"
    assert budget(budget=12) == budget(budget=12) == 12, "another number counts"
    with opened(home) as project:
        seq = Board(30, project.store.events()).seq
        project.store.append([said(image).at(seq + image, now()) for image in range(1, 9)])
    with pytest.raises(InputError, match=r"--budget 7: 8 images are labelled already; give that many or more"):
        budget(budget=7)
    assert budget(budget=8) == 8


def test_settings_that_cannot_be_written_are_not_half_there(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise InputError("database or disk is full")

    monkeypatch.setattr(project.store, "set_settings", full)
    desk = Desk(project)
    with pytest.raises(InputError, match="disk is full"):
        desk.set_budget(25)
    assert (desk.project.settings.budget, desk.plan.budget) == (20, 20)


def test_the_same_command_brings_no_renamed_class_back(tmp_path: Path) -> None:
    folder, home = photos(tmp_path / "photos", 3), tmp_path / "home"
    with made_or_opened(folder, home, None, ["cat", "bird"], {}) as project:
        seq = Board(3, project.store.events()).seq
        project.store.append([Event(str(uuid4()), "class-renamed", "me", klass=1, name="fowl").at(seq + 1, now())])
    with made_or_opened(folder, home, None, ["cat", "bird"], {}) as project:
        assert project.snapshot().classes == ["cat", "fowl"]


@pytest.mark.parametrize(
    ("classes", "why"),
    [
        (["a"], "at least two classes"),
        ([], "at least two classes"),
        (["a", "a", "b"], "a twice"),
        (["Cat", "cat", "b"], "Cat, cat twice"),
        (["a", "b\n"], "class name"),
        (["a", "b" * 101], "'b{40}...': a class name has 1 to 100"),
    ],
)
def test_class_lists_that_cannot_be_used(tmp_path: Path, classes: list[str], why: str) -> None:
    with (
        pytest.raises(InputError, match=why),
        made_or_opened(photos(tmp_path / "p", 3), tmp_path / "h", None, classes, {}),
    ):
        pass
    assert not (tmp_path / "h").exists(), "nothing was made"


def test_many_classes_are_added_at_once(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(2000)]
    folder, home = photos(tmp_path / "photos", 3), tmp_path / "home"
    started = time.monotonic()
    for _ in range(2):
        with made_or_opened(folder, home, None, names, {}) as project:
            assert project.snapshot().classes == names
    assert time.monotonic() - started < 20


def test_a_class_that_is_refused_changes_nothing(tmp_path: Path) -> None:
    folder, home = photos(tmp_path / "photos", 3), tmp_path / "home"
    with made_or_opened(folder, home, None, ["cat", "dog"], {"budget": 10}):
        pass
    with (
        pytest.raises(InputError, match="a class 'cat' already"),
        made_or_opened(folder, home, None, ["Cat"], {"budget": 20}),
    ):
        pass
    with opened(home) as project:
        assert project.settings.budget == 10


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, home, why in (
        (tmp_path / "nowhere", tmp_path / "h", "is no folder"),
        (tmp_path / "empty", tmp_path / "h", "holds no images"),
        (photos(tmp_path / "p", 3), tmp_path / "p", "folder of its own"),
    ):
        with pytest.raises(InputError, match=why), made_or_opened(folder, home, None, ["a", "b"], {}):
            pass
    with pytest.raises(InputError, match="no labelling project"), opened(tmp_path / "nothing"):
        pass


def test_a_project_takes_no_folder_that_others_use(tmp_path: Path) -> None:
    folder, home = photos(tmp_path / "photos", 3), tmp_path / "home"
    (home / "cache").mkdir(parents=True)
    (home / "thesis.txt").write_text("mine")
    (home / ".DS_Store").touch()
    with (
        pytest.raises(InputError, match=r"holds other files \(thesis.txt\)"),
        made_or_opened(folder, home, None, "ab", {}),
    ):
        pass
    (home / "thesis.txt").unlink()
    with made_or_opened(folder, home, None, ["a", "b"], {}):
        pass


@pytest.mark.parametrize(
    ("rows", "why"),
    [(["00.png", "moon.png"], "1 are of no image.*moon.png"), (["00.png"] * 2, "more than once.*00.png")],
)
def test_suggestions_of_no_image_are_refused_before_a_project_is_made(
    tmp_path: Path, rows: list[str], why: str
) -> None:
    folder, home = photos(tmp_path / "photos", 3), tmp_path / "home"
    names = sorted(p.name for p in folder.iterdir())
    csv = tmp_path / "guesses.csv"
    csv.write_text("path,a,b\n" + "".join(f"{row.replace('00.png', names[0])},0.5,0.5\n" for row in rows))
    with (
        pytest.raises(InputError, match=why.replace("00.png", names[0])),
        made_or_opened(folder, home, None, ["a", "b"], {"suggest": f"file:{csv}"}),
    ):
        pass
    assert not home.exists()


def test_one_process_at_a_time(project: Project) -> None:
    with pytest.raises(InputError, match="open in another"), opened(project.home):
        pass


def test_a_project_belongs_to_its_folder_but_follows_it(tmp_path: Path) -> None:
    folder, home = photos(tmp_path / "photos", 5), tmp_path / "home"
    with made_or_opened(folder, home, None, ["a", "b"], {}):
        pass
    with (
        pytest.raises(InputError, match="has the project of"),
        made_or_opened(photos(tmp_path / "q", 3), home, None, [], {}),
    ):
        pass
    shutil.move(folder, tmp_path / "moved")
    with made_or_opened(tmp_path / "moved", home, None, [], {}) as project:
        assert all(image.status == "new" for image in project.store.images())
    with pytest.raises(InputError, match="--seed"), made_or_opened(tmp_path / "moved", home, None, [], {"seed": 5}):
        pass


def test_images_come_and_go(project: Project) -> None:
    first = [image.path for image in project.store.images()]
    write(project.images / "new" / "x.png", encoded(picture(99)))
    os.remove(project.images / first[3])
    assert project.take_in(scan(project.images, project.home)) == (1, 1)
    images = project.store.images()
    assert [image.path for image in images] == [*first, "new/x.png"]
    assert [image.status for image in images] == ["new"] * 3 + ["missing"] + ["new"] * 27
    write(project.images / first[3], encoded(picture(5)))
    assert project.take_in(scan(project.images, project.home)) == (0, 0)
    assert project.store.images()[3].status == "new", "it is read again before it is used"


def test_the_test_slice_stays_what_it_was(project: Project) -> None:
    board, statuses = project.snapshot().board, ["ok"] * 30
    size = project.settings.slice
    before = random_slice(board, statuses, size)
    assert before == list(range(1, size + 1))
    event = said(before[0]).at(board.seq + 1, "t")
    board.apply(event)
    assert random_slice(board, statuses, size) == before
    statuses[before[-1] - 1] = "unreadable"
    after = random_slice(board, statuses, size)
    assert len(after) == size
    assert before[-1] not in after
    board.apply(said(after[-1], purpose="picked").at(board.seq + 1, "t"))
    assert after[-1] not in random_slice(board, statuses, size), "labelled for another reason"


@pytest.mark.parametrize(
    ("budget", "images", "size"), [(200, 1000, 100), (5000, 50_000, 500), (20, 1000, 10), (200, 50, 10), (2, 2, 1)]
)
def test_the_size_of_the_slice(budget: int, images: int, size: int) -> None:
    assert slice_size(budget, images) == size


def test_a_test_image_stays_one_where_a_decision_is_all_that_is_left(project: Project) -> None:
    board, statuses = project.snapshot().board, ["ok"] * 30
    first, review = said(1, 0, "anna"), said(1, 1, "cleo", purpose="review")
    for event in (first, review, Event(str(uuid4()), "undo", "anna", undoes=first.uuid)):
        board.apply(event.at(board.seq + 1, "t"))
    assert (board.labels[1], random_slice(board, statuses, project.settings.slice)[0]) == (1, 1)


def test_the_folder_of_a_project_lies_beside_its_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert home_of(Path(".")) == home_of(tmp_path) == tmp_path.parent / f"{tmp_path.name}.labelwise"


def test_a_database_that_refuses_leaves_no_folder(tmp_path: Path) -> None:
    address = "postgresql+psycopg://nobody@127.0.0.1:9/nothing"
    with (
        pytest.raises(InputError, match="check that the server runs"),
        made_or_opened(photos(tmp_path / "p", 3), tmp_path / "home", address, ["a", "b"], {}),
    ):
        pass
    assert not (tmp_path / "home").exists()
