"""Names that are no UTF-8, and locales that know ASCII alone: whole commands, as a shell starts them."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pictures import class_folders, encoded, picture, write

ODD = os.fsdecode(b"nb\xe9")
UNICODE = "föto 😀"
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
STUDY = """
sizes: [100%]
arms: [random]
seeds: 1
initial: {share: 0.3, minimum: 2}
acquisition: 0.7
learner: {kind: probe, backbone: efficientnet_lite0}
"""


def labelwise(*arguments: str | Path, code: int = 0, **environment: str) -> tuple[str, str]:
    """Run a command; return what it printed, decoded as UTF-8."""
    done = subprocess.run(
        [sys.executable, "-m", "labelwise", *map(str, arguments)],
        env={**os.environ, **environment}, capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    errors = done.stderr.decode()
    assert done.returncode == code, errors
    assert "Traceback" not in errors
    return done.stdout.decode(), errors


@pytest.mark.parametrize("name", [ODD, UNICODE])
@pytest.mark.parametrize("environment", [{}, ASCII])
def test_a_study_of_and_in_a_folder_of_any_name(tmp_path: Path, name: str, environment: dict[str, str]) -> None:
    folder = class_folders(tmp_path / name, ["cat", "hündin"], count=8)
    write(folder / "cat" / "caf\udce9.png", encoded(picture(99)))
    write(tmp_path / f"{name}.yaml", STUDY.encode())
    out = tmp_path / f"out {name}"
    labelwise("plan", tmp_path / f"{name}.yaml", "--data", folder, **environment)
    said, _ = labelwise("run", tmp_path / f"{name}.yaml", "--data", folder, "--out", out, **environment)
    assert f"Records: {tmp_path}/out {name}/study.db".encode("utf-8", "backslashreplace").decode() in said
    labelwise("report", out, **environment)
    page = (out / "report" / "report.html").read_text(encoding="utf-8")
    assert "hündin" in page
    labelwise("status", out, **environment)
    rows = list(csv.DictReader(io.StringIO(labelwise("results", out, "--format", "csv", **environment)[0])))
    assert [row["arm"] for row in rows] == ["random"] * len(rows)
    assert len(rows) >= 2


def test_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    for environment in ({}, ASCII):
        for command in (
            ["status", tmp_path / ODD],
            ["run", tmp_path / ODD],
            ["export", ODD, "--format", "csv", "--out", ODD],
            ["import", ODD, ODD],
            ["predict", ODD, ODD],
            ["label", tmp_path / ODD],
            ["report", UNICODE],
        ):
            _, errors = labelwise(*command, code=2, **environment)  # type: ignore[arg-type]
            assert errors.startswith("error: ")
            assert errors.count("\n") == 1
            assert "nb\\udce9" in errors or UNICODE in errors


def test_the_cache_can_have_any_name(tmp_path: Path) -> None:
    said, _ = labelwise("doctor", "--format", "csv", **ASCII, LABELWISE_CACHE=str(tmp_path / ODD))
    assert "nb\\udce9" in said


def test_an_encoding_without_a_letter_shows_its_escape(tmp_path: Path) -> None:
    said, _ = labelwise("doctor", PYTHONIOENCODING="ascii", LABELWISE_CACHE=str(tmp_path / UNICODE))
    assert "f\\xf6to" in said
