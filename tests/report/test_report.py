"""The report: opens offline, escapes every name, equal bytes for equal records, any state of a study."""

from __future__ import annotations

import hashlib
import re
import shutil
import sqlite3
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fake
from labelwise.config import Study
from labelwise.data.seen import Seen, Sizes
from labelwise.records import reading
from labelwise.report import content as contents
from labelwise.report import published, write_report
from labelwise.report.figures import plain
from labelwise.report.grids import accuracy_grid, labels_cell, labels_grid
from labelwise.report.groups import groups
from labelwise.report.pictures import pictures
from labelwise.report.svg import inline
from labelwise.report.tables import Cell
from labelwise.report.used import facts
from labelwise.study.executor import run_study
from synthetic import make_store

HOSTILE = (
    "<script>alert(1)</script>",
    "$x_{",
    "'\"><img src=https://example.org/x onerror=alert(1)>",
    "{{ 7*7 }}",
    "\x1b[31m\ud800",
)


def study(**changes: Any) -> Study:
    values: dict[str, Any] = {
        "name": "hostile", "question": "Is </style><script>alert(2)</script> safe?", "sizes": ["3%", "10%/1%"],
        "seeds": 3, "arms": ["stratified", "random", "margin"], "learner": {"kind": "probe"},
    }  # fmt: skip
    return Study.model_validate({**values, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of hostile names and its report."""
    where = tmp_path_factory.mktemp("hostile")
    store = make_store(where, study(), HOSTILE, notes=["<i>lossy</i> JPEG"])
    write_report(store, where / "report")
    return where


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report" / "report.html").read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Collects tags, attributes and ids."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(key, value or "") for key, value in attrs]


@pytest.fixture(scope="module")
def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def test_names_are_escaped(page: str, read: Reader) -> None:
    assert not {"script", "img", "b", "i", "link", "iframe", "object"} & set(read.tags)
    assert not [key for key, _ in read.attributes if key.startswith("on")]
    for name in (
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "&lt;/style&gt;&lt;script&gt;alert(2)",
        "&lt;i&gt;lossy&lt;/i&gt;",
    ):
        assert name in page
    assert "{{ 7*7 }}" in page
    assert page.count("</style>") == 1


def test_nothing_is_loaded(page: str, read: Reader) -> None:
    for key, value in read.attributes:
        if key in ("href", "src", "xlink:href", "action", "srcset", "data"):
            assert re.match(r"#|(figures|tables)/[\w.-]+$|data:image/png;base64,", value), (key, value)
        assert key != "xmlns"
    css = page[page.index("<style>") : page.index("</style>")]
    assert "@import" not in css
    assert "url(" not in css


def test_links_lead_somewhere_and_ids_are_unique(folder: Path, page: str, read: Reader) -> None:
    ids = [value for key, value in read.attributes if key == "id"]
    assert len(ids) == len(set(ids))
    for value in {value for key, value in read.attributes if key == "href"}:
        assert value.startswith("data:") or (
            value[1:] in ids if value[0] == "#" else (folder / "report" / value).is_file()
        )
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)


def test_figures_and_tables_are_all_there(folder: Path) -> None:
    found = {path.name for path in (folder / "report" / "figures").iterdir()}
    kinds = ("differences", "labels", "accuracy", "macro_f1", "loss", "wins", "seconds", "overlap", "scores", "classes")
    rows = ("3pct", "10pct-1pct")
    assert found == {f"{kind}-{row}.{end}" for kind in kinds for row in rows for end in ("svg", "pdf")}
    tables = {path.name: path.read_text(errors="replace") for path in (folder / "report" / "tables").iterdir()}
    assert tables["at_budget.csv"].startswith("row,arm,metric,n,mean,low,high\n3%,stratified,accuracy,3,0.")
    assert len(tables["rounds.csv"].splitlines()) == 1 + 2 * 3 * (1 + 4 + 4)
    assert "<script>alert(1)</script>" in tables["classes.csv"]
    assert len(tables["matches.csv"].splitlines()) == 1 + 2 * 3 * 2 * 3  # rows, seeds, arms, rules
    for name in ("needed", "between", "wins", "ledger", "overheads", "prices"):
        assert f"{name}.csv" in tables


def test_no_cell_of_a_table_is_a_formula(tmp_path: Path) -> None:
    store = make_store(tmp_path, study(seeds=1), ('=HYPERLINK("x")', "-1", "@x", "+y", "'=z"))
    write_report(store, tmp_path / "report")
    read = {path.stem: pd.read_csv(path) for path in (tmp_path / "report" / "tables").iterdir()}
    assert {'\'=HYPERLINK("x")', "'-1", "'@x", "'+y", "''=z"} <= {*read["classes"].columns}
    for table in read.values():
        texts = [*table.columns, *table.select_dtypes(exclude="number").to_numpy().ravel()]
        assert not [text for text in texts if isinstance(text, str) and text[:1] in "=+-@\t\r\n"]


def test_same_records_same_bytes(folder: Path, tmp_path: Path) -> None:
    def bytes_of(report: Path) -> dict[str, str]:
        files = [path for path in sorted(report.rglob("*")) if path.is_file()]
        return {str(path.relative_to(report)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    shutil.copy(folder / "study.db", tmp_path)
    write_report(reading(tmp_path), tmp_path / "elsewhere")
    assert bytes_of(tmp_path / "elsewhere") == bytes_of(folder / "report")


def test_it_says_what_was_used(page: str) -> None:
    for text in (
        "0123456789abcdef", "1,000 images", "200 images", "invented", "2 (12 runs), 3 (6 runs)", "minority_share: 0.01",
        "another learner, not comparable", "18 of 18 runs finished", "oracle-assisted", "acquisition: 0.05",
    ):  # fmt: skip
        assert text in page


@pytest.mark.parametrize(("recorded", "protocol"), [("{}", "1"), ('{"protocol": "2"}', "2")])
def test_it_names_the_protocol_of_fine_tuning(tmp_path: Path, recorded: str, protocol: str) -> None:
    store = make_store(tmp_path, study(sizes=["3%"]))
    assert "protocol" not in facts(contents.read(store))  # another learner
    with sqlite3.connect(tmp_path / "study.db") as records:
        records.execute("""UPDATE runs SET used = json_patch('{"learner": "fine-tuning"}', ?)""", (recorded,))
    found = facts(contents.read(reading(tmp_path)))
    assert list(found)[list(found).index("learner") + 1] == "protocol"
    assert found["protocol"] == protocol


def text_of(folder: Path, made: Study, **options: Any) -> str:
    return write_report(make_store(folder, made, **options), folder / "report").read_text(encoding="utf-8")


def test_one_seed(tmp_path: Path) -> None:
    text = text_of(tmp_path, study(seeds=1, sizes=["3%"]))
    assert "One seed: no interval, no verdict." in text
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL)


def test_unfinished(tmp_path: Path) -> None:
    text = text_of(tmp_path, study(sizes=["3%"]), finished=lambda row, arm, seed: arm == "margin" and seed < 2)
    assert "2 of 9 runs finished" in text
    assert "There is no pair of finished runs to compare." in text


def test_nothing_finished(tmp_path: Path) -> None:
    text = text_of(tmp_path, study(), finished=lambda row, arm, seed: False)
    assert "0 of 18 runs finished: no verdict yet." in text


def test_a_fine_tuned_study_stands_beside_the_published_figures(tmp_path: Path) -> None:
    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    made = study(sizes=["10%"], learner={"kind": "finetune"}, arms=["stratified", "margin", "entropy_typicality"])
    text = text_of(tmp_path, made, classes=classes, pool=50_000)
    assert "about 73 %" in text
    assert "10%: 1.00 times (training, scoring and selection)" in text
    assert "not comparable" not in text
    assert "The learner is the published one" in text


def test_a_relative_of_the_published_learner_is_marked(tmp_path: Path) -> None:
    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    made = study(sizes=["10%"], learner={"kind": "finetune", "backbone": "efficientnet_lite0"})
    text = text_of(tmp_path, made, classes=classes, pool=50_000)
    assert "is a close relative of the published one" in text


@pytest.mark.parametrize(("low", "high", "call"), [
    (0.60, 0.68, "same"), (0.645, 0.70, "same"), (0.66, 0.70, "different"), (-0.2, 0.8, "open"),
    (0.1, 0.2, "different"),
    (float("nan"), float("nan"), "open"),
])  # fmt: skip
def test_same_needs_an_interval_that_excludes_no_effect(low: float, high: float, call: str) -> None:
    assert published._call(low, high, 0.64, 0.005, 0.0) == call


def test_a_study_with_two_pools_and_weightings_has_figures_and_lines_of_each(tmp_path: Path) -> None:
    arms: list[Any] = ["stratified", {"strategy": "stratified", "weighting": "inverse"}]
    arms += [{"strategy": name, "pool": pool, "weighting": weighting} for name in ("random", "margin")
             for pool in ("full", "subset") for weighting in ("none", "inverse")]  # fmt: skip
    made = study(sizes=["3%/1%"], arms=arms)
    found = groups(made)
    assert [group.said for group in found] == [
        "full pool, no class weights", "full pool, class weights", "subset pool, no class weights",
        "subset pool, class weights",
    ]  # fmt: skip
    assert found[3].labels == {
        "stratified weighting=inverse": "stratified", "random pool=subset weighting=inverse": "random",
        "margin pool=subset weighting=inverse": "margin",
    }  # fmt: skip
    text = text_of(tmp_path, made)
    assert (tmp_path / "report" / "figures" / "labels-3pct-1pct-subset-inverse.svg").is_file()
    assert "Row 3%/1%, subset pool, class weights: inverse, 80 labels: margin " in text
    assert "<h3>One part changed</h3>" in text


def test_no_random_and_no_baseline(tmp_path: Path) -> None:
    text = text_of(tmp_path, study(arms=["margin", "uncertainty"], sizes=["3%"]))
    assert "There is no finished pair of an arm and its baseline." in text
    assert "no stratified arm in this study" in text
    assert "Between the strategies, 1 pair" in text


def test_stopping_at_the_baseline_compares_nothing_at_n(tmp_path: Path) -> None:
    text = text_of(tmp_path, study(sizes=["3%"], stop="at_baseline"))
    assert "Runs stop where they beat the baseline" in text
    assert "Labels to match the baseline" in text
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL)


def test_prices_draw_accuracy_against_price(tmp_path: Path) -> None:
    text = text_of(tmp_path, study(sizes=["3%"], prices={"label": 0.05, "hour": 2}))
    assert "A label at 0.05 and an hour of computing at 2.0" in text
    assert (tmp_path / "report" / "figures" / "price-3pct.svg").is_file()


def test_fits_with_problems_are_in_the_verdict(tmp_path: Path) -> None:
    store = make_store(tmp_path, study(sizes=["3%"]))
    with sqlite3.connect(tmp_path / "study.db") as db:
        db.execute('UPDATE rounds SET details = \'{"problem": "stuck"}\' WHERE round = 2')
    text = write_report(store, tmp_path / "report").read_text(encoding="utf-8")
    assert "Fits with a problem: stuck: 6 of 27 fits" in text[: text.index('id="labels"')]


def test_pictures_need_the_data_and_can_be_left_out(tmp_path: Path) -> None:
    fake.install()
    made = study(name="seen", question="", data="digits", sizes=["20%"], seeds=1, initial={"minimum": 30},
                 learner={"kind": "fake"})  # fmt: skip
    run_study(made, tmp_path, fake.Silent())
    text = write_report(reading(tmp_path), tmp_path / "report").read_text(encoding="utf-8")
    assert text.count("<img ") == 4  # two arms, the first and the last picks
    assert "how typical they are is not known" in text
    assert write_report(reading(tmp_path), tmp_path / "again").read_text(encoding="utf-8") == text
    left_out = write_report(reading(tmp_path), tmp_path / "report", images=False).read_text(encoding="utf-8")
    assert "<img" not in left_out
    assert "Left out, as was asked." in left_out


def test_images_that_are_gone_or_changed_are_said(folder: Path, page: str) -> None:
    assert "The images cannot be had here, so none are shown" in page
    store = reading(folder)
    found = pictures(store, study(data="digits"), "0123456789abcdef", ["3%"])
    assert found.note.startswith("The images that are there now are not those of the study")
    assert not found.arms


def test_without_images_no_path_is_left(tmp_path: Path) -> None:
    made = study(data="/secret/place/photos", sizes=["3%"], learner={"kind": "probe", "weights": "/secret/w.pth"})
    seen = Seen(
        "/secret/place/photos", "folder", "20% set apart", unreadable={"/secret/a.jpg": "odd"},
        unused={"folders that are not used: /secret/b": 1}, sizes=Sizes((8, 8), (40, 30), (8, 8), 2, 0.1, 0.25),
        modes={"RGB": 1200},
    )  # fmt: skip
    notes = ["2 images left out: /secret/a.jpg (odd)"]
    store = make_store(tmp_path, made, source="/secret/place/photos", notes=notes, seen=seen.record())
    page = write_report(store, tmp_path / "report", images=False)
    for path in (page, *(page.parent / "tables").iterdir()):
        assert "secret" not in path.read_text(encoding="utf-8", errors="replace")
    with_paths = write_report(store, tmp_path / "report").read_text(encoding="utf-8")
    assert "secret" in with_paths
    assert "folder, 20% set apart" in with_paths
    assert "8x8 to 40x30" in with_paths
    assert "RGB 1,200" in with_paths


@pytest.mark.parametrize("fails", ["read", "render"])
def test_a_report_that_fails_leaves_no_older_one(fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(tmp_path, study(sizes=["3%"], arms=["random"]), rounds=2)
    page = write_report(store, tmp_path / "report")
    (page.parent / "figures" / "my-own.txt").write_text("kept")
    monkeypatch.setattr(f"labelwise.report.{fails}", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(store, tmp_path / "report", images=False)
    assert not page.exists()
    assert not [path for path in page.parent.rglob("accuracy*") if fails == "read"]
    assert (page.parent / "figures" / "my-own.txt").exists()


def test_plain_text_for_figures() -> None:
    assert plain("a\nb\x00") == "a b�"
    assert plain("x" * 50) == "x" * 12 + "…" + "x" * 13
    assert plain("short") == "short"


def test_inline_drawing_takes_the_pages_colours_and_its_own_ids() -> None:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9pt">'
        '<defs><path id="m1"/></defs><g id="axes"><use xlink:href="#m1" style="fill: #0072b2"/></g></svg>'
    )
    found = inline(svg, "loss-3pct", "what it shows")
    assert "http" not in found
    assert 'id="loss-3pct-m1"' in found
    assert 'href="#loss-3pct-m1"' in found
    assert "fill: var(--series-0)" in found
    assert 'aria-label="what it shows"' in found
    assert "axes" not in found


def test_the_grids_keep_annotators_apart(tmp_path: Path) -> None:
    arms: list[Any] = [{"strategy": name, "labeler": labeler} for labeler in ("truth", {"kind": "error", "rate": "30%"})
                       for name in ("stratified", "random", "margin")]  # fmt: skip
    content = contents.read(make_store(tmp_path, study(sizes=["3%"], arms=arms)))
    for grid in (accuracy_grid(content), labels_grid(content)):
        assert grid is not None
        assert [row[0].small for row in grid.rows] == ["labeler: truth", "labeler: error 30%"]
        assert all(cell.text for row in grid.rows for cell in row)


def test_n_at_most_is_no_more_than_n() -> None:
    one = {"n": 10, "reached": 3, "within": True, "labels": 1300.0, "budget": 1300.0, "reduction": 0.0, "low": 0.0,
           "high": 0.0, "call": "no difference shown"}  # fmt: skip
    assert labels_cell(one) == Cell("1,300", "0 % fewer\n[0 to 0]\nmatches in 3 of 10", "open")
    assert labels_cell({**one, "within": False, "labels": 1400.0}).text == "> 1,300"
