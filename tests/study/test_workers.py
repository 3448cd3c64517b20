"""Several processes: equal records, no fit made twice, and what happens when processes are killed or fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import fake
from labelwise.analysis.results import rounds
from labelwise.config import Study
from labelwise.errors import InputError
from labelwise.records import reading
from labelwise.study import workers
from labelwise.study.executor import run_study
from labelwise.study.plan import plan_runs
from labelwise.study.runner import share_key
from labelwise.study_file import load_study

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
TINY = {"kind": "finetune", "backbone": "test_efficientnet", "weights": "scratch", "epochs": 2, "device": "cpu"}


def study(**changes: Any) -> Study:
    values: dict[str, Any] = {
        "data": "digits", "sizes": ["10%"], "seeds": 2, "initial": {"minimum": 30}, "learner": {"kind": "fake"},
        "acquisition": 0.2, "arms": ["stratified", "random", "margin", "entropy_typicality"],
    }  # fmt: skip
    return Study.model_validate({**values, **changes})


@pytest.fixture(autouse=True)
def _workers_know_the_fake(monkeypatch: pytest.MonkeyPatch) -> None:
    fake.install()
    monkeypatch.setattr(workers, "work", fake.work)


@pytest.fixture
def alone(tmp_path: Path) -> str:
    """The digest of the study, computed in one process."""
    run_study(study(), tmp_path / "alone", fake.Silent(), workers=1)
    return reading(tmp_path / "alone").digest()


def test_any_number_of_workers_gives_equal_records_and_makes_no_fit_twice(
    alone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (2, 3):
        out = tmp_path / str(number)
        monkeypatch.setenv("FAKE_FITS", str(tmp_path / f"fits{number}"))
        run_study(study(), out, fake.Silent(), workers=number)
        assert reading(out).digest() == alone
        fits = [line.split() for line in (tmp_path / f"fits{number}").read_text().splitlines()]
        assert len({process for process, _ in fits}) == number
        assert max(Counter(fit for _, fit in fits).values()) == 1
        assert len(fits) == len(rounds(reading(out))) - 2 * 2  # of each seed, three arms share the first fit


@pytest.mark.parametrize("learner", [TINY, {"kind": "probe", "backbone": "test_efficientnet", "weights": "scratch"}])
def test_real_learners_give_equal_bits_on_two_workers(learner: dict[str, Any], tmp_path: Path) -> None:
    made = study(learner=learner, seeds=1)
    for number in (1, 2):
        run_study(made, tmp_path / str(number), fake.Silent(), workers=number)
    frames = [rounds(reading(tmp_path / str(number))) for number in (1, 2)]
    assert reading(tmp_path / "1").digest() == reading(tmp_path / "2").digest()
    assert frames[0]["images_forward"].tolist() == frames[1]["images_forward"].tolist()


def test_a_killed_workers_run_is_taken_up_again(alone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FITS", str(tmp_path / "fits"))
    monkeypatch.setenv("FAKE_SECONDS", "0.2")
    killed: list[int] = []

    def kill_three() -> None:
        while len(killed) < 3:
            time.sleep(0.7)
            if (tmp_path / "fits").exists():
                last = int((tmp_path / "fits").read_text().split()[-2])
                if last not in killed:
                    os.kill(last, signal.SIGKILL)
                    killed.append(last)

    thread = threading.Thread(target=kill_three, daemon=True)
    thread.start()
    run_study(study(), tmp_path / "out", fake.Silent(), workers=2)
    assert len(killed) == 3
    assert reading(tmp_path / "out").digest() == alone


def test_a_worker_that_always_dies_ends_the_study_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "work", fake.die)
    with pytest.raises(InputError, match=r"died 3 times in one round.*give fewer --workers"):
        run_study(study(), tmp_path, fake.Silent(), workers=2)


def test_an_error_in_a_worker_is_told_with_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "work", fake.fail)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run_study(study(), tmp_path, fake.Silent(), workers=2)
    assert not _children(os.getpid())


def test_arms_with_equal_starts_share_their_first_fit() -> None:
    from labelwise.data.sources import open_dataset

    arms = [
        "stratified", "random", "margin", {"strategy": "margin", "weighting": "inverse"},
        {"strategy": "margin", "start": "random"}, {"strategy": "random", "start": "random"},
        {"strategy": "margin", "start": "random", "pool": "subset"}, {"strategy": "margin", "pool": "subset"},
        {"strategy": "margin", "start": "typical"},
    ]  # fmt: skip
    made = study(arms=arms, seeds=1)
    keys = [share_key(run) for run in plan_runs(made, open_dataset(made, lambda *_: None))]
    assert len(set(keys)) == 6
    assert keys[1] == keys[2] == keys[7]
    assert keys[4] == keys[5] != keys[6]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_leave_with_the_main_process_and_the_study_goes_on(number: signal.Signals, tmp_path: Path) -> None:
    """`kill -9` of the coordinator, and Ctrl-C; then on with another number of workers."""
    settings = [f"learner.{key}={value}" for key, value in TINY.items()]
    settings += ["seeds=1", "sizes=[10%]", "arms=[random,margin]", "acquisition=20%"]
    command = [sys.executable, "-m", "labelwise", "run", "studies/digits.yaml", "--out", str(tmp_path / "b")]
    for setting in settings:
        command += ["--set", setting]
    process = subprocess.Popen(
        [*command, "--workers", "2"], cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    while process.poll() is None and not _recorded(tmp_path / "b"):
        time.sleep(0.02)
    children = _children(process.pid)
    assert len(children) >= 2
    process.send_signal(number)
    assert process.wait(30) == (130 if number == signal.SIGINT else -number)
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    loaded = load_study(ROOT / "studies" / "digits.yaml", settings)
    for out in ("b", "whole"):
        run_study(loaded, tmp_path / out, fake.Silent(), workers=1)
    assert reading(tmp_path / "b").digest() == reading(tmp_path / "whole").digest()


def test_a_stopped_study_leaves_no_semaphore_behind(tmp_path: Path) -> None:
    """Opening Parquet makes tqdm's lock, of which Python would warn when the process that has it was killed."""
    (data := tmp_path / "data").mkdir()
    for split, count in (("train", 60), ("test", 20)):
        blobs = []
        for i in range(count):
            noise = np.random.default_rng(i).integers(0, 256, (32, 32, 3)).astype(np.uint8)
            Image.fromarray(noise).save(blob := BytesIO(), "png")
            blobs.append({"bytes": blob.getvalue()})
        table = pa.table({"image": blobs, "label": [i % 2 for i in range(count)]})
        pq.write_table(table, data / f"{split}.parquet")
    command = [sys.executable, "-m", "labelwise", "run", "studies/digits.yaml", "--data", str(data)]
    for setting in [*(f"learner.{key}={value}" for key, value in TINY.items()), "seeds=2", "sizes=[50]",
                    "arms=[random]", "initial.minimum=10"]:  # fmt: skip
        command += ["--set", setting]
    process = subprocess.Popen(
        [*command, "--workers", "2", "--out", str(tmp_path / "out")], cwd=ROOT, stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    while process.poll() is None and not _recorded(tmp_path / "out"):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    *before, last = process.communicate()[1].splitlines()
    assert last == "Stopped. What was finished is kept: run the same command again to go on."
    read = ("Data: ", "2 classes ", "Images: ", "Look at: ")  # what was read is said first
    left = [line for line in before if not line.startswith(read)]
    assert all(": round " in line for line in left), left  # on a busy machine a round takes long, and says so


def _recorded(folder: Path) -> int:
    try:
        return len(rounds(reading(folder)))
    except InputError:
        return 0


def _children(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        tracker = b"resource_tracker" in path.with_name("cmdline").read_bytes()  # multiprocessing's own, it goes last
        if int(fields[1]) == parent and fields[0] != "Z" and not tracker:
            found.append(int(path.parent.name))
    return found
