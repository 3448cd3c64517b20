"""The export of results writes only what the records say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pandas as pd

from labelwise.config import Study
from labelwise.records import reading
from synthetic import make_store

ROOT = Path(__file__).parents[1]


def exporter() -> Any:
    spec = importlib.util.spec_from_file_location("export", ROOT / "results" / "export.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_export(tmp_path: Path) -> None:
    made = Study(data="cifar10", sizes=["10%"], seeds=3, arms=["stratified", "random", "margin"], name="tried")  # type: ignore[arg-type]
    make_store(tmp_path / "out", made)
    exporter().export(tmp_path / "out", tmp_path / "here")
    page = (tmp_path / "here" / "README.md").read_text()
    assert page.startswith("# tried\n")
    assert f"9 of 9 runs are finished; records {reading(tmp_path / 'out').digest()}" in page
    assert "A sign test over 3 seeds cannot go below p = 0.25" in page
    frame = pd.read_csv(tmp_path / "here" / "tables" / "rounds.csv")
    assert set(frame["arm"]) == {"stratified", "random", "margin"}
    assert (tmp_path / "here" / "report.html").stat().st_size > 10_000


def test_committed_pages_are_exports_and_say_how_far_they_are() -> None:
    pages = list((ROOT / "results").glob("*/README.md"))
    assert pages
    for path in pages:
        assert "runs are finished; records" in path.read_text()
        assert (path.parent / "report.html").is_file()
        assert (path.parent / "tables" / "rounds.csv").is_file()
