"""Reading and embedding behind the page: files that are away, projects that are made anew, damaged embeddings."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from labelwise.cache import Rows
from labelwise.labelling import preparation
from labelwise.labelling.folder import gone_and_back, scan
from labelwise.labelling.messages import Embedded, NewRows, Work
from labelwise.labelling.preparation import prepare
from labelwise.labelling.store import Image
from labelwise.models import embeddings
from pictures import encoded, picture, write

IMAGES = 12


class Page:
    """Hears what the preparation says, as the desk does."""

    def __init__(self, folder: Path, cache: Path, project: str = "one") -> None:
        self.folder, self.cache, self.project = folder, cache, project
        self.images = [Image(i, f.path, f.bytes, f.mtime_ns) for i, f in enumerate(scan(folder).images, 1)]
        self.looks: dict[int, tuple[bytes, str]] = {}
        self.embedded = Embedded()
        self.said: list[tuple[str, Any]] = []

    def hear(self, kind: str, content: Any) -> None:
        self.said.append((kind, content))
        if kind == "read":
            for change in content:
                kept = {key: value for key, value in change.items() if key != "look"}
                self.images[change["id"] - 1] = replace(self.images[change["id"] - 1], **kept)
                if change.get("look"):
                    self.looks[change["id"]] = (change["look"], change["sha256"])
        elif kind == "embedded":
            assert isinstance(content, NewRows)
            self.embedded.add(content, len(self.images))

    def prepare(self) -> None:
        looks = (list(self.looks), [look for look, _ in self.looks.values()], [sha for _, sha in self.looks.values()])
        backbone = ("test_resnet", "scratch", "cpu")
        prepare(Work(self.folder, self.cache, list(self.images), looks, *backbone, self.project), self.hear)

    def rows(self) -> np.ndarray:
        """Return (N, D) embeddings as the training finds them, NaN for none."""
        places = np.full(len(self.images), -1)
        there = np.flatnonzero(self.embedded.there)
        with Rows(Path(self.embedded.folder), self.embedded.features, write=False) as store:
            places[there] = store.find(self.embedded.hashes[there])[0]
            return np.array(store.gather(places))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "PAUSES", (0.0, 0.0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return pictures(tmp_path / "photos", 0)


def pictures(folder: Path, kind: int) -> Path:
    for i in range(IMAGES):
        write(folder / f"{i:02}.png", encoded(picture(kind, i, size=(24, 24 + i))))
    return folder


def test_all_images_are_embedded_and_equal_ones_once(folder: Path, tmp_path: Path) -> None:
    write(folder / "copy.png", (folder / "00.png").read_bytes())
    page = Page(folder, tmp_path / "cache")
    page.prepare()
    rows = page.rows()
    assert np.isfinite(rows).all()
    assert (rows[-1] == rows[0]).all()
    assert (rows[1] != rows[0]).any()
    with Rows(Path(page.embedded.folder), page.embedded.features, write=False) as store:
        assert store.count == IMAGES


def test_a_folder_that_is_away_leaves_no_embedding_and_is_tried_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Page(folder, tmp_path / "whole")
    whole.prepare()
    page = Page(folder, tmp_path / "cache")
    real, calls = embeddings.embed_batch, []

    def leaves(*arguments: Any) -> Any:
        calls.append(1)
        folder.rename(tmp_path / "aside")  # when the first images are embedded
        monkeypatch.setattr(embeddings, "embed_batch", real)
        return real(*arguments)

    monkeypatch.setattr(embeddings, "embed_batch", leaves)
    monkeypatch.setattr(embeddings, "batch_size", lambda _: 4)
    page.prepare()
    there = page.embedded.there
    assert calls == [1]
    assert there.sum() == 4
    assert [image.status for image in page.images] == ["ok" if known else "missing" for known in there]
    (tmp_path / "aside").rename(folder)
    for change in gone_and_back(page.images, scan(folder).images):
        page.hear("read", [change])
    assert sum(image.status == "new" for image in page.images) == IMAGES - 4
    page.prepare()
    assert page.embedded.there.all()
    assert {image.status for image in page.images} == {"ok"}
    monkeypatch.undo()
    assert (page.rows() == whole.rows()).all(), "the same bits, and none of a grey picture"


def test_a_folder_that_comes_back_soon_needs_nobody(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Page(folder, tmp_path / "cache")
    folder.rename(tmp_path / "aside")
    monkeypatch.setattr(preparation, "PAUSES", (0.0, 1.0, 2.0))
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if seconds == 2.0:
            (tmp_path / "aside").rename(folder)

    monkeypatch.setattr(preparation, "time", SimpleNamespace(sleep=sleep, perf_counter=time.perf_counter))
    page.prepare()
    assert slept == [0.0, 1.0, 2.0]
    assert {image.status for image in page.images} == {"ok"}
    assert np.isfinite(page.rows()).all()
    assert not (tmp_path / "cache" / "small").exists()


def test_a_broken_image_is_unreadable_and_has_no_embedding(folder: Path, tmp_path: Path) -> None:
    write(folder / "03.png", b"no picture")
    page = Page(folder, tmp_path / "cache")
    page.prepare()
    assert [image.path for image in page.images if image.status == "unreadable"] == ["03.png"]
    assert np.flatnonzero(~page.embedded.there).tolist() == [3]
    assert np.isnan(page.rows()[3]).all()


def test_a_file_that_was_changed_is_not_embedded_as_what_it_was(folder: Path, tmp_path: Path) -> None:
    page = Page(folder, tmp_path / "cache")
    page.prepare()
    shutil.rmtree(tmp_path / "cache")
    page.embedded = Embedded()
    write(folder / "05.png", encoded(picture(9, 5, size=(24, 29))))
    page.prepare()
    assert np.flatnonzero(~page.embedded.there).tolist() == [5]
    assert page.images[5].status == "missing"
    assert "changed" in page.images[5].reason


def test_a_project_made_anew_beside_an_old_cache_uses_none_of_its_rows(folder: Path, tmp_path: Path) -> None:
    Page(folder, tmp_path / "cache").prepare()
    others = Page(pictures(tmp_path / "others", 5), tmp_path / "cache", "two")
    others.prepare()
    alone = Page(tmp_path / "others", tmp_path / "fresh", "two")
    alone.prepare()
    assert (others.rows() == alone.rows()).all()


def test_what_an_old_project_decided_of_its_images_sizes_is_not_asked(tmp_path: Path) -> None:
    Page(pictures(tmp_path / "small", 0), tmp_path / "cache").prepare()
    for i in range(3):
        write(tmp_path / "large" / f"{i}.png", encoded(picture(1, i, size=(200, 300))))
    large = Page(tmp_path / "large", tmp_path / "cache", "two")
    large.prepare()
    alone = Page(tmp_path / "large", tmp_path / "fresh", "two")
    alone.prepare()
    assert Path(large.embedded.folder).name == Path(alone.embedded.folder).name
    assert (large.rows() == alone.rows()).all()


def test_damaged_embeddings_are_made_again(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    page = Page(folder, tmp_path / "cache")
    page.prepare()
    before = page.rows()
    values = np.memmap(Path(page.embedded.folder) / "values.f16", "<f2", "r+", shape=before.shape)
    values[:] = values[::-1].copy()
    values.flush()
    with caplog.at_level(logging.WARNING, "labelwise"):
        page.prepare()
    assert [record.message.split(" in the cache")[0] for record in caplog.records] == ["12 of 12 embeddings"]
    assert (page.rows() == before).all()
