"""The export of results writes only what the records say, and what is kept of it is small and complete."""

from __future__ import annotations

import gzip
import importlib.util
import re
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from labelwise.config import Study
from labelwise.records import reading
from synthetic import make_store

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
MOST = 8_000_000
"""Bytes under results/."""
LINK = re.compile(r"\]\(([^)\s]+)\)")


def exporter() -> Any:
    spec = importlib.util.spec_from_file_location("export", RESULTS / "export.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made(folder: Path) -> Path:
    study = Study(data="cifar10", sizes=["10%"], seeds=3, arms=["stratified", "random", "margin"], name="tried")  # type: ignore[arg-type]
    make_store(folder, study)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_export(tmp_path: Path) -> None:
    made(tmp_path / "out")
    exporter().export(tmp_path / "out", tmp_path / "here")
    page = (tmp_path / "here" / "README.md").read_text()
    assert page.startswith("# tried\n")
    assert f"9 of 9 runs are finished; records {reading(tmp_path / 'out').digest()}" in page
    assert "A sign test over 3 seeds cannot go below p = 0.25" in page
    assert "protocol" not in page  # the learner is an invented one
    frame = pd.read_csv(tmp_path / "here" / "tables" / "rounds.csv.gz")
    assert set(frame["arm"]) == {"stratified", "random", "margin"}
    assert {Path(name).suffix for name in files(tmp_path / "here")} == {".md", ".gz"}


def test_same_records_same_export(tmp_path: Path) -> None:
    made(tmp_path / "out")
    for name in ("one", "other"):
        exporter().export(tmp_path / "out", tmp_path / name)
    (tmp_path / "other" / "tables" / "older.csv").write_text("of an earlier export")
    exporter().export(tmp_path / "out", tmp_path / "other")
    assert files(tmp_path / "one") == files(tmp_path / "other")


def test_whole_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path / "out")
    monkeypatch.setattr(sys, "argv", ["export.py", "--whole", str(tmp_path / "out"), str(tmp_path / "here")])
    exporter().main()
    found = files(tmp_path / "here")
    assert len(found["report.html"]) > 10_000
    assert {"tables/rounds.csv", "figures/accuracy-10pct.svg", "README.md"} <= set(found)
    assert broken([tmp_path / "here" / "README.md"]) == []
    exporter().export(tmp_path / "out", tmp_path / "kept")
    kept = files(tmp_path / "kept")
    assert gzip.decompress(kept["tables/rounds.csv.gz"]) == found["tables/rounds.csv"]
    with pytest.raises(SystemExit):
        exporter().main()
    assert "is not empty" in capsys.readouterr().err


def test_a_fine_tuned_page_names_its_protocol(tmp_path: Path) -> None:
    out = made(tmp_path / "out")
    with sqlite3.connect(out / "study.db") as store:
        store.execute("""UPDATE runs SET used = '{"learner": "fine-tuning", "weights": "none"}'""")
    exporter().export(out, tmp_path / "here")
    page = (tmp_path / "here" / "README.md").read_text()
    assert "\n\nFine-tuned with protocol 1: docs/fine-tuning.md says what that is.\n\n" in page
    assert "| learner | fine-tuning |\n| protocol | 1 |\n" in page


def test_committed_pages_are_exports_and_say_how_far_they_are() -> None:
    pages = list(RESULTS.glob("*/**/README.md"))
    assert len(pages) > 10
    for path in pages:
        text = path.read_text()
        assert "runs are finished; records" in text
        assert exporter().KEPT in text
        assert ("| learner | fine-tuning |" in text) == ("\nFine-tuned with protocol " in text), path
        assert len(pd.read_csv(path.parent / "tables" / "rounds.csv.gz", nrows=9)) == 9


def documents() -> list[Path]:
    return [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *RESULTS.rglob("*.md")]


def targets(page: Path) -> list[Path]:
    """Return the files that a page's relative links and pictures name, there or not."""
    links = [link.partition("#")[0] for link in LINK.findall(page.read_text())]
    return [(page.parent / link).resolve() for link in links if link and not re.match(r"[a-z]+:", link)]


def broken(pages: list[Path]) -> list[str]:
    return [f"{page}: {target}" for page in pages for target in targets(page) if not target.exists()]


def test_links_of_documents_and_results_resolve() -> None:
    assert sum(len(targets(page)) for page in documents()) > 50
    assert broken(documents()) == []


def test_results_are_light_and_keep_only_what_pages_show() -> None:
    shown = {target for page in documents() for target in targets(page)}
    kept = [path for path in RESULTS.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in kept) < MOST
    for path in kept:
        figure = path.suffix in (".svg", ".png") and path.resolve() in shown
        page = path.name == "README.md" or path == RESULTS / "export.py"
        table = path.parent.name == "tables" and path.name.endswith(".csv.gz")
        assert page or table or figure, f"{path} is neither a page, nor a compressed table, nor a figure of a page"
