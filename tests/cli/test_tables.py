from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pytest

from labelwise.cli.tables import print_frame, print_rows
from labelwise.labelling.exchange import sheet
from labelwise.labelling.exchange.pick import PICKED, PREDICTED

HOSTILE = ['=HYPERLINK("x")', "+1", "-1+1", "@SUM(A1)", "'=1", "a,b", 'a"b', "plain"]
"""Names of files and classes that spreadsheets would run, and some that they would not."""


@pytest.mark.parametrize("columns", [PREDICTED, PICKED])
def test_no_cell_is_a_formula_and_all_are_read_back(
    columns: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {"rank": 1, "probability": -0.5, "why": "=1"}
    rows = [{"path": f"{name}.png", "label": name, **values} for name in HOSTILE]
    print_rows([{column: row[column] for column in columns} for row in rows], "csv", columns)
    printed = capsys.readouterr().out
    for cells in csv.DictReader(io.StringIO(printed)):
        assert not any(cells[name].startswith(("=", "+", "-", "@")) for name in cells if name != "probability")
        assert cells["probability"] == "-0.5", "a number stays one"
    people = pd.read_csv(io.StringIO(printed), dtype=str, keep_default_na=False)[["path", "label"]]
    people.to_csv(tmp_path / "said.csv", index=False)  # with its probability, it would be a model's word
    answers = sheet.read(tmp_path / "said.csv").answers
    assert [(answer.path, answer.label) for answer in answers] == [(f"{name}.png", name) for name in HOSTILE]


def test_results_hold_no_formula(capsys: pytest.CaptureFixture[str]) -> None:
    print_frame(pd.DataFrame({"arm": ["=1", "margin"], "=2": [-1.5, 2.0]}), "csv")
    assert capsys.readouterr().out == "arm,'=2\n'=1,-1.5\nmargin,2.0\n"
