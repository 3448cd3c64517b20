"""The GPU's benchmark without a GPU: all its parts at tiny sizes, and what it does when parts fail or time is over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, distributions
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.gpu import __main__ as command
from benchmarks.gpu import page
from benchmarks.gpu.bench import Bench, limited
from benchmarks.gpu.profile import STEPS, dearest
from benchmarks.gpu.setups import FULL, TINY

ROOT = Path(__file__).parents[1]
PARTS = {
    "correctness": (
        "depthwise, float32: output",
        "depthwise, bfloat16: weight's gradient",
        "Adam, ten steps",
        "packed: among others",
        "depthwise: a model's bits in another place",
        "packed: by a second engine",
        "packed: computed step by step",
        "packed: 12 steps in the first and the last place",
        "first validation loss, packed and alone",
        "test_vit, not packed: among others",
        "pack of test_efficientnet",
        "pack of test_resnet",
    ),
    "speed": (
        "training, test_efficientnet, plain PyTorch",
        "training, test_efficientnet, one model as a graph",
        "training, test_efficientnet, 3 packed",
        "training, test_efficientnet, 2 packs of 3",
        "launches in a step",
        "training, test_efficientnet, the engine",
        "training, test_efficientnet, 3 packed, without Triton",
        "test_resnet, packed, times plain PyTorch",
        "test_vit, as graphs, times plain PyTorch",
        "scoring, test_efficientnet: logits and 2 passes",
        "training, test_efficientnet, 24x24, from the host, 2 packed",
        "test_efficientnet, the fastest way",
    ),
    "study": ("a study that was killed and resumed", "study, test_efficientnet", "the study, of one pack's own speed"),
}
"""How rows of each section begin that have to be there."""


@pytest.mark.slow
def test_all_parts_work_at_tiny_sizes(tmp_path: Path) -> None:
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    arguments = ["-m", "benchmarks.gpu", "--tiny", "--seconds", "3000", "--out", str(tmp_path)]
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    for section, beginnings in PARTS.items():
        rows = [row["what"] for row in found["rows"] if row["section"] == section]
        for beginning in beginnings:
            assert any(what.startswith(beginning) for what in rows), beginning
    assert not [row for row in found["rows"] if row["value"] in ("failed", "left out")]
    wrong = [row for row in found["rows"] if row["good"] is False and row["aim"] is None]
    assert not wrong  # aims are a GPU's, checks hold everywhere
    assert found["kernels"]
    assert "| pack of test_resnet | packed |" in (tmp_path / "benchmarks-gpu.md").read_text()
    assert (tmp_path / "gpu.svg").stat().st_size < 200_000


def made(tmp_path: Path, seconds: float = 100) -> Bench:
    bench = Bench(tmp_path / "out", TINY, tmp_path)
    bench.begin("speed", time.monotonic() + seconds)
    return bench


def written(bench: Bench) -> Any:
    return json.loads((bench.out / "gpu.json").read_text())


def test_a_part_that_fails_is_a_row_and_the_next_one_goes_on(tmp_path: Path) -> None:
    bench = made(tmp_path)

    def fails(bench: Bench) -> None:
        bench.rate("before", 12.0, aim=10)
        raise RuntimeError("CUDA error: too hot\nand much more")

    bench.part("hot", 1, fails)
    assert [row["what"] for row in written(bench)["rows"]] == ["before", "hot"]
    bench.part("cold", 1, lambda bench: bench.near("far", 0.2, 0.1))
    rows = written(bench)["rows"]
    assert [(row["value"], row["good"]) for row in rows] == [(12.0, True), ("failed", False), (0.2, False)]
    assert rows[1]["note"] == "RuntimeError: CUDA error: too hot"
    text = (bench.out / "benchmarks-gpu.md").read_text()
    assert "| hot | failed |  | **no** | RuntimeError: CUDA error: too hot |" in text
    assert "| before | 12 | images/s | 10: reached |  |" in text


def test_what_there_is_no_time_for_is_left_out_and_said(tmp_path: Path) -> None:
    bench = made(tmp_path, seconds=10)
    bench.part("long", 30, lambda _: pytest.fail("it was begun"))
    assert (bench.rows[0].value, bench.rows[0].good) == ("left out", None)
    assert bench.rows[0].note == "takes about 30 s, 10 s were left"


def test_what_hangs_is_broken_off() -> None:
    with pytest.raises(TimeoutError, match="broken off"), limited(0.1):
        time.sleep(30)


def test_a_page_of_several_runs_takes_each_section_from_the_last_that_has_it(tmp_path: Path) -> None:
    first, second = made(tmp_path), made(tmp_path)
    first.rate("training, B0, plain PyTorch", 752.25)
    first.kernels = dearest([("void at::native::add<float>(float*)", STEPS * 4, STEPS * 30.0), ("idle", 3, 0.0)])
    second.begin("correctness", 0)
    second.same("bits | of fits", False)
    text = page.write([first.found(), second.found()])
    assert "| training, B0, plain PyTorch | 752 | images/s |  |  |" in text
    assert "| bits / of fits | different |  | **no** |  |" in text
    assert "| `add<float>(float*)` | 4 | 30 | 100.0 |" in text
    assert "## A whole study" not in text
    assert page.NOT_YET in page.write([])


def test_the_page_in_the_documentation_has_the_words_of_now() -> None:
    text = (ROOT / "docs" / "benchmarks-gpu.md").read_text()
    for part in page.TEXT.read_text().split("<FOUND>"):
        assert part in text, "run python -m benchmarks.gpu.page again"


def test_without_a_gpu_it_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "")
    assert command.main(["--out", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "there is no CUDA GPU here" in said.err


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "NEEDED", ("numpy", "no_such_package", "nor_this"))
    assert command.main([]) == 2
    assert capsys.readouterr().err == "benchmarks.gpu: not installed here: no_such_package, nor_this\n"


def test_its_version_is_found_where_labelwise_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(command, "version", absent)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "before")
    command.prepare(tmp_path)
    assert sys.path[0] == str(ROOT / "src")
    assert os.environ["PYTHONPATH"].split(os.pathsep) == [str(ROOT / "src"), str(ROOT), str(tmp_path), "before"]
    assert [found.metadata["Name"] for found in distributions(path=[str(tmp_path)])] == ["labelwise"]


def test_the_full_sizes_are_those_of_the_study() -> None:
    from labelwise.models import sharing

    assert (FULL.count, FULL.lanes, FULL.singles) == (sharing.WIDTHS[0][1], sharing.PACKS, sharing.SINGLES)
    assert FULL.count in FULL.packs


def test_a_part_counts_from_the_last_run_that_measured_it(tmp_path: Path) -> None:
    first, second = made(tmp_path), made(tmp_path)
    first.part("plain", 1, lambda bench: bench.rate("B0, plain", 700.0))
    first.part("packed", 1, lambda bench: bench.rate("B0, packed", 1000.0))
    second.only = ("plain", "other")
    second.part("plain", 1, lambda bench: bench.rate("B0, plain", 800.0))
    second.part("packed", 1, lambda _: pytest.fail("it was not asked for"))
    second.part("another", 1000, lambda _: None)
    text = page.write([first.found(), second.found(), {**first.found(), "rows": [], "kernels": []}])
    assert "| B0, plain | 800 |" in text
    assert "| B0, plain | 700 |" not in text
    assert "| B0, packed | 1,000 |" in text
    assert "| another | left out |" in text
    missed = made(tmp_path, seconds=0)
    missed.part("plain", 10, lambda _: None)
    assert "| plain | left out |" not in page.write([first.found(), missed.found()])
