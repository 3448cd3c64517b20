from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.labelling.conftest import photos, said

from labelwise.errors import InputError
from labelwise.labelling.events import Event
from labelwise.labelling.project import made_or_opened
from labelwise.labelling.store import Image, ProjectStore


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ProjectStore]:
    where: Path | str = tmp_path / "project.db"
    if request.param == "postgresql":
        where = request.getfixturevalue("postgresql")()
    made = ProjectStore(where)
    assert not made.exists()
    made.create("/photos", "1", {"budget": 5})
    made.add_images([Image(1, "a.png", 10, 2**62), Image(2, "b/ü 😀.png", 11, 2)])
    yield made
    made.engine.dispose()


def test_what_is_written_is_read(store: ProjectStore) -> None:
    event = said(2, None, seconds=1.5, round=3, suggested=1, shown=True).at(1, "2026-01-01T00:00:00+00:00")
    more = Event("u", "class-merged", "me", klass=0, into=1, again=True).at(2, "2026-01-01T00:00:00+00:00")
    store.append([event, more])
    assert store.events() == [event, more]
    store.update_images([{"id": 2, "status": "ok", "sha256": "ab", "look": b"\x01" * 144, "grp": 2}])
    assert [i.status for i in store.images()] == ["new", "ok"]
    assert store.looks() == ([2], [b"\x01" * 144], ["ab"])
    store.add_round(0, {"labels": 3})
    store.update_round(0, {"labels": 4})
    assert [(r["round"], r["labels"]) for r in store.rounds()] == [(0, 4)]
    store.set_settings({"budget": 6})
    assert store.project()["settings"] == {"budget": 6}


@pytest.mark.parametrize("folder", [b"/photos", "/f\u00f6to 😀".encode(), b"/nb\xe9 %41/\xff", b"/f%C3%B6to"])
def test_a_folder_of_any_name_comes_back(store: ProjectStore, folder: bytes) -> None:
    store.set_folder(os.fsdecode(folder))
    assert os.fsencode(store.project()["folder"]) == folder


def test_events_are_written_all_or_none(store: ProjectStore) -> None:
    one = said(1).at(1, "t")
    store.append([one])
    with pytest.raises(InputError):
        store.append([said(2).at(2, "t"), one])
    assert store.events() == [one]


def test_a_transaction_that_returned_survives_a_loss_of_power(tmp_path: Path) -> None:
    store = ProjectStore(tmp_path / "project.db")
    with store.transaction() as connection:
        assert connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(sa.text("PRAGMA synchronous")) == 2, "FULL"


def test_another_versions_store_is_refused(tmp_path: Path) -> None:
    store = ProjectStore(tmp_path / "project.db")
    store.create("/photos", "0.0.1", {})
    with sqlite3.connect(tmp_path / "project.db") as db:
        db.execute("UPDATE project SET schema = 99")
    with pytest.raises(InputError, match=r"another version of labelwise \(0\.0\.1\)"):
        store.project()


@pytest.mark.parametrize("url", ["mysql://x/y", "no address", "sqlite:///x.db"])
def test_only_postgresql_is_taken_as_an_address(url: str) -> None:
    with pytest.raises(InputError, match="--db"):
        ProjectStore(url)


def test_two_servers_cannot_have_one_database(postgresql: Callable[[], str], tmp_path: Path) -> None:
    url, folder = postgresql(), photos(tmp_path / "photos", 4)
    with (
        made_or_opened(folder, tmp_path / "one", url, ["a", "b"], {}) as project,
        pytest.raises(InputError, match="in use by another"),
        made_or_opened(folder, tmp_path / "two", url, [], {}),
    ):
        pass
    assert "people" in project.store.name, "the address is named in errors"
    with made_or_opened(folder, tmp_path / "two", url, [], {}) as again:
        assert again.snapshot().classes == ["a", "b"]


def test_a_server_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    url = "postgresql+psycopg://people:secret@127.0.0.1:9/none"
    with (
        pytest.raises(InputError, match="check that the server runs") as error,
        made_or_opened(photos(tmp_path / "photos", 3), tmp_path / "home", url, ["a", "b"], {}),
    ):
        pass
    assert "secret" not in str(error.value)
