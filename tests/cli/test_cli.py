"""The command line as people use it: cheap help, one line for bad input, every format, and the demo's study."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from labelwise.analysis import halves
from labelwise.analysis.results import COLUMNS
from labelwise.records import reading

ROOT = Path(__file__).parents[2]
DIGITS = ["studies/digits.yaml", "--set", "seeds=2", "--set", "arms=[stratified,random,margin]"]


def labelwise(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "labelwise", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "out"
    shown = labelwise("run", *DIGITS, "--out", folder)
    assert "Against the stratified sample" in shown.stdout
    assert "[6/6]" in shown.stderr
    assert "\x1b[" not in shown.stdout + shown.stderr
    return folder


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from labelwise.cli import app\n"
        "from typer.testing import CliRunner\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print([m for m in ('torch', 'ray', 'sklearn', 'pandas', 'matplotlib', 'datasets') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_version() -> None:
    assert labelwise("--version").stdout.startswith("labelwise ")


def test_results_in_every_format(out: Path) -> None:
    rows = json.loads(labelwise("results", out, "--format", "json").stdout)
    assert list(rows[0]) == [*COLUMNS, *halves.COLUMNS]
    assert {row["arm"] for row in rows} == {"stratified", "random", "margin"}
    as_csv = list(csv.DictReader(io.StringIO(labelwise("results", out, "--format", "csv").stdout)))
    assert [float(row["accuracy"]) for row in as_csv] == [row["accuracy"] for row in rows]
    assert "accuracy" in labelwise("results", out).stdout


def test_probe_on_digits_is_good(out: Path) -> None:
    rows = json.loads(labelwise("results", out, "--format", "json").stdout)
    final = [row["accuracy"] for row in rows if row["labels"] == row["budget"]]
    assert min(final) > 0.8
    assert all(row["labels_train"] + row["labels_val"] == row["labels"] for row in rows)
    assert {row["images_forward"] for row in rows if row["round"] == 0} == {1797}


def test_status(out: Path) -> None:
    assert "6 of 6 runs done" in labelwise("status", out).stdout
    found = json.loads(labelwise("status", out, "--format", "json").stdout)
    assert [row["status"] for row in found["runs"]] == ["done"] * found["done"] == ["done"] * 6
    assert found["records"] == reading(out).digest()
    assert found["records"] in labelwise("status", out).stdout


def test_running_again_changes_nothing(out: Path) -> None:
    before = reading(out).digest()
    labelwise("run", *DIGITS, "--out", out)
    assert reading(out).digest() == before


def test_killed_and_resumed_equals_undisturbed(out: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "labelwise", "run", *DIGITS, "--out", str(tmp_path / "b")]
    for rounds in (1, 20):
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None and _rounds(tmp_path / "b") < rounds:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    labelwise("run", *DIGITS, "--out", tmp_path / "b")
    assert reading(tmp_path / "b").digest() == reading(out).digest()


def _rounds(folder: Path) -> int:
    import sqlite3

    try:
        with sqlite3.connect(f"file:{folder / 'study.db'}?mode=ro", uri=True) as store:
            return int(store.execute("SELECT COUNT(*) FROM rounds").fetchone()[0])
    except sqlite3.Error:
        return 0


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "labelwise", "run", *DIGITS, "--out", str(tmp_path / "b")]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while process.poll() is None and _rounds(tmp_path / "b") < 1:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert "run the same command again to go on" in process.communicate()[1]
    assert process.returncode == 130


def test_ctrl_c_before_the_first_round_is_one_line_too(tmp_path: Path) -> None:
    script = (
        "import os, signal, threading, time\n"
        "from labelwise import cli, study_file\n"
        "study_file.load_study = lambda *_: os.kill(os.getpid(), signal.SIGINT) or time.sleep(5)\n"
        "cli.main()"
    )
    command = [sys.executable, "-c", script, "run", "studies/digits.yaml", "--out", str(tmp_path / "b")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == "Stopped. What was finished is kept: run the same command again to go on.\n"
    assert done.returncode == 130


def test_report(out: Path) -> None:
    path = Path(labelwise("report", out).stdout.removeprefix("Report: ").strip())
    assert path.is_file()
    assert path.parent == out / "report"


def test_plan_spends_nothing(tmp_path: Path) -> None:
    found = json.loads(labelwise("plan", *DIGITS, "--format", "json", "--workers", "100").stdout)
    arms = {arm["arm"]: arm for arm in found["arms"]}
    assert (arms["margin"]["runs"], arms["stratified"]["rounds"]) == (2, 2)
    assert arms["margin"]["rounds"] == 2 * (1 + -(-(288 - 30) // 14))
    assert arms["margin"]["images_forward"] == 2 * 1797
    assert found["workers"] == 6
    assert found["seconds"] >= found["seconds_longest_run"] > 0
    assert "In all 6 runs" in labelwise("plan", *DIGITS).stdout


@pytest.mark.parametrize("command", ["strategies", "sources", "labelers", "doctor"])
def test_lists(command: str) -> None:
    assert labelwise(command).stdout
    assert json.loads(labelwise(command, "--format", "json").stdout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nothing.yaml"], "cannot read the study nothing.yaml"),
        (["run", "studies/digits.yaml", "--workers", "x"], "Invalid value for '--workers'"),
        (["run", "studies/digits.yaml", "--workers", "0"], "Invalid value for '--workers'"),
        (["run", "studies/digits.yaml", "--stop-after", "8"], "give a time such as 90s, 8m or 1.5h"),
        (["run", "studies/digits.yaml", "--num-gpus", "0.5"], "give --ray too"),
        (["run", "studies/digits.yaml", "--ray", "auto", "--workers", "2"], "give one of them"),
        (["plan", "studies/digits.yaml", "--wrkers", "2"], "No such option: --wrkers"),
        (["run", "studies/digits.yaml", "--set", "siezs=1"], "did you mean 'sizes'?"),
        (["run", "studies/digits.yaml", "--data", "no/folder"], "there is no file or folder no/folder"),
        (["run", "studies/digits.yaml", "--set", "sizes=[100000]"], "larger than the pool"),
        (["run", "studies/digits.yaml", "--set", "learner.backbone=efficientnet_b0"], "not on this machine"),
        (["run", "studies/digits.yaml", "--set", "learner.weights=x.pth"], "neither a file nor"),
        (["plan", "studies/digits.yaml", "--set", "arms=[margn]"], "did you mean 'margin'?"),
        (["run", "studies/balanced.yaml"], "name a local copy with --data"),
        (["results", "no/folder"], "there is no study in no/folder"),
        (["report", "no/folder"], "there is no study in no/folder"),
    ],
)
def test_bad_input_is_one_line_exit_code_2_and_nothing_written(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    more = ["--out", tmp_path / "out"] if arguments[0] == "run" else []
    done = labelwise(*arguments, *more, code=2)
    assert message in done.stderr
    *before, last = done.stderr.splitlines()
    assert last.startswith("error: ")
    assert not before or before[0].startswith("Data: "), "what was read is said first"
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_one_line_and_loses_nothing(out: Path, tmp_path: Path) -> None:
    """SQLite is told that its file may not grow beyond a few pages, which is what a full disk looks like to it."""
    script = (
        "import sys, sqlalchemy as sa\n"
        "from labelwise import database\n"
        "durable = database._durable\n"
        "def small(connection, record):\n"
        "    durable(connection, record)\n"
        "    connection.execute('PRAGMA max_page_count=60')\n"
        "database._durable = small\n"
        "from labelwise.cli import main\n"
        "main()"
    )
    arguments = ["run", *DIGITS, "--out", str(tmp_path / "b")]
    command = [sys.executable, "-c", script, *arguments]
    full = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert full.returncode == 2
    assert "database or disk is full; free some space; finished rounds are kept; run the same command" in full.stderr
    assert "Traceback" not in full.stderr
    kept = _rounds(tmp_path / "b")
    assert kept >= 1
    labelwise("run", *DIGITS, "--out", tmp_path / "b")
    assert reading(tmp_path / "b").digest() == reading(out).digest()


def test_tables_fit_hostile_names(tmp_path: Path) -> None:
    """Class folders with markup and control characters in their names reach the terminal as text."""
    from PIL import Image

    for k, name in enumerate(["[red]x", "<b>y"]):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(20):
            noise = np.random.default_rng(100 * k + i).integers(100 * k, 156 + 100 * k, (16, 16, 3))
            Image.fromarray(noise.astype(np.uint8)).save(tmp_path / "images" / name / f"{i}.png")
    shown = labelwise("run", "studies/digits.yaml", "--data", tmp_path / "images", "--out", tmp_path / "out",
                      "--set", "sizes=[16]", "--set", "initial.minimum=8", "--set", "seeds=1")  # fmt: skip
    assert "margin" in shown.stdout
