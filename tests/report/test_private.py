"""What a report without pictures leaves out of the configuration that it shows."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from labelwise.config import Study
from labelwise.report import write_report
from labelwise.report.private import without_paths
from synthetic import make_store


def test_no_path_of_a_file_that_answers_is_shown() -> None:
    people = {"kind": "file", "path": "/home/anna/people.csv"}
    other = {"kind": "file", "path": "/home/anna/people.csv", "columns": ["second"]}
    arms = [
        "stratified",
        {"strategy": "margin"},
        {"strategy": "margin", "labeler": other},
        {"strategy": "margin", "start": "zero-shot"},
    ]
    zero = {"model": "file:/home/anna/guesses.csv", "weights": "/home/anna/clip"}
    study = Study.model_validate({"data": "/home/anna/photos", "arms": arms, "labeler": people, "zero_shot": zero})
    found = without_paths(study)
    assert "anna" not in found.model_dump_json()
    assert found.zero_shot.model == "file:probabilities"
    assert [found.arm_name(arm) for arm in found.arms] == [
        "stratified", "margin", "margin labeler=file 2", "margin start=probabilities",
    ]  # fmt: skip


@pytest.mark.parametrize("weights", ["/home/anna/smith.ckpt", "smith.bin", "/home/anna/smith"])
def test_weights_of_ones_own_are_not_named(weights: str, tmp_path: Path) -> None:
    values = {"sizes": ["3%"], "seeds": 2, "learner": {"kind": "probe", "weights": weights}}
    arms = ["stratified", "margin", {"strategy": "margin", "start": "zero-shot"}]
    made = Study.model_validate({**values, "arms": arms, "zero_shot": {"weights": weights}})
    base = Path(weights).name
    card = {"name": "zero-shot", "title": f"CLIP ({base})", "note": f"By CLIP ({base}).", "missing": "it has none",
            "known": ""}  # fmt: skip
    store = make_store(tmp_path, made, rounds=2, zero_shot=card)
    with sqlite3.connect(tmp_path / "study.db") as db:
        db.execute(f'UPDATE runs SET used = \'{{"weights": "file {base}, sha256 12", "by": "CLIP ({base})"}}\'')
    page = write_report(store, tmp_path / "report", images=False)
    assert "smith" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("images", [True, False])
def test_a_page_without_images_names_no_file_and_no_column(images: bool, tmp_path: Path) -> None:
    answers = {"kind": "file", "path": "/home/anna/people.npz", "columns": ["bertas_label"]}
    confused = {"kind": "confusion", "path": "/home/anna/matrix.csv"}
    arms: list[Any] = ["stratified", "margin", {"strategy": "margin", "labeler": answers}]
    arms += [{"strategy": "margin", "labeler": confused}, {"strategy": "margin", "start": "zero-shot"}]
    values = {"sizes": ["3%"], "seeds": 2, "arms": arms, "learner": {"kind": "probe"}}
    made = Study.model_validate({**values, "zero_shot": {"model": "file:/home/anna/guesses.parquet"}})
    title = "guesses.parquet"
    card = {"name": title, "title": title, "note": f"{title}: a file.", "missing": "it has no rows", "known": ""}
    store = make_store(tmp_path, made, rounds=2, zero_shot=card)
    with sqlite3.connect(tmp_path / "study.db") as db:
        db.execute('UPDATE runs SET used = \'{"labels from": "people.npz bertas_label"}\'')
    page = write_report(store, tmp_path / "report", images=images)
    written = [page, *page.parent.glob("tables/*.csv"), *page.parent.glob("figures/*.svg")]
    text = "".join(path.read_text(encoding="utf-8") for path in written)
    for name in ("people", "bertas", "matrix.csv", "guesses"):
        assert (name in text) == images, name
    assert ("margin labeler=file 1" in text) != images
    assert ("margin labeler=confusion file 2" in text) != images
    assert ("margin start=probabilities" in text) != images
