"""Runs in threads of one process: equal records, no fit made twice, and nothing left when they are broken off."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from threadpoolctl import threadpool_info

import fake
from labelwise.analysis.results import rounds
from labelwise.config import Study
from labelwise.data.images import unseen
from labelwise.data.sources import open_dataset
from labelwise.data.subsets import draw_subset
from labelwise.errors import InputError
from labelwise.models import probe
from labelwise.models.learner import Stopped
from labelwise.models.learners import build_learner
from labelwise.records import reading
from labelwise.study import side_by_side, workers
from labelwise.study.answers import Answers
from labelwise.study.executor import run_study
from labelwise.study.plan import Run, plan_runs
from labelwise.study.runner import Runner
from labelwise.study.schedule import Job
from labelwise.study.workers import ProcessSpec, default_workers
from labelwise.threads import cores, one_thread
from labelwise.zero_shot import Guesses

PROBE = {"kind": "probe", "backbone": "test_efficientnet", "weights": "scratch", "device": "cpu"}


def study(**changes: Any) -> Study:
    values: dict[str, Any] = {
        "data": "digits", "sizes": ["10%"], "seeds": 2, "initial": {"minimum": 30}, "learner": {"kind": "fake"},
        "acquisition": 0.2, "arms": ["stratified", "random", "margin", "entropy_typicality"],
    }  # fmt: skip
    return Study.model_validate({**values, **changes})


@pytest.fixture(autouse=True)
def _side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    fake.install()
    monkeypatch.setattr(workers, "work", fake.work)
    monkeypatch.setenv("FAKE_SIDE_BY_SIDE", "3")


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The digest of the study, computed in one thread."""
    with monkeypatch.context() as patch:
        patch.setenv("FAKE_SIDE_BY_SIDE", "1")
        run_study(study(), tmp_path / "alone", fake.Silent(), workers=1)
    return reading(tmp_path / "alone").digest()


def runner_of(made: Study) -> Runner:
    dataset = open_dataset(made, unseen)
    return Runner(made, dataset, build_learner(dataset, made, unseen))


def jobs_of(runner: Runner) -> list[Job]:
    return [Job(run, str(i)) for i, run in enumerate(plan_runs(runner.study, runner.dataset))]


def threads_of_runs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("run ")]


@pytest.mark.parametrize("number", [1, 3, 8])
def test_any_number_of_threads_gives_equal_records_and_makes_no_fit_twice(
    number: int, alone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FITS", str(tmp_path / "fits"))
    run_study(study(), tmp_path / "out", fake.Silent(), workers=number)
    assert reading(tmp_path / "out").digest() == alone
    fits = [line.split() for line in (tmp_path / "fits").read_text().splitlines()]
    assert {process for process, _ in fits} == {str(os.getpid())}
    assert max(Counter(fit for _, fit in fits).values()) == 1
    assert len(fits) == len(rounds(reading(tmp_path / "out"))) - 2 * 2  # of each seed, three arms share the first fit
    assert not threads_of_runs()


@pytest.mark.slow
def test_processes_give_the_same_records(alone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process for each of two devices, with two and three threads; then a learner for one thread alone."""
    monkeypatch.setattr(workers, "device_count", lambda _: 2)
    monkeypatch.setenv("FAKE_FITS", str(tmp_path / "fits"))
    run_study(study(), tmp_path / "devices", fake.Silent(), workers=5)
    processes = {line.split()[0] for line in (tmp_path / "fits").read_text().splitlines()}
    assert len(processes) == 2
    assert str(os.getpid()) not in processes
    assert reading(tmp_path / "devices").digest() == alone
    monkeypatch.setenv("FAKE_SIDE_BY_SIDE", "1")
    run_study(study(), tmp_path / "processes", fake.Silent(), workers=2)
    assert reading(tmp_path / "processes").digest() == alone


@pytest.mark.slow
def test_a_process_of_several_runs_that_dies_is_replaced(
    alone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "device_count", lambda _: 2)
    monkeypatch.setattr(workers, "work", fake.die_once)
    monkeypatch.setenv("FAKE_DIED", str(tmp_path / "died"))
    run_study(study(), tmp_path / "out", fake.Silent(), workers=4)
    assert (tmp_path / "died").exists()
    assert reading(tmp_path / "out").digest() == alone


def test_runs_wait_in_the_learner_together(tmp_path: Path) -> None:
    runner = runner_of(study(seeds=3, arms=["random"]))
    learner = runner.learner
    assert isinstance(learner, fake.Fake)
    assert learner.together
    steps = list(side_by_side.compute(jobs_of(runner), runner, lambda _: None, 3))
    assert len(steps) == sum(len(job.run.labels) for job in jobs_of(runner))
    assert max(learner.together.packs) > 1


def test_at_most_so_many_runs_go_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = runner_of(study(seeds=4, arms=["random", "margin"]))
    going, most = 0, 0
    lock = threading.Lock()
    steps = Runner.steps

    def counted(self: Runner, *arguments: Any) -> Any:
        nonlocal going, most
        with lock:
            going += 1
            most = max(most, going)
        try:
            yield from steps(self, *arguments)
        finally:
            with lock:
                going -= 1

    monkeypatch.setattr(Runner, "steps", counted)
    assert len({job.identity for job, _ in side_by_side.compute(jobs_of(runner), runner, lambda _: None, 3)}) == 8
    assert 1 < most <= 3


def test_what_belongs_to_the_process_holds_however_threads_come_and_go() -> None:
    """Two threads, of which the first to come is the first to leave."""
    before = blas(), list(warnings.filters), cores()
    with side_by_side.owned_process(3):
        first, second = (ExitStack() for _ in range(2))
        for thread in (first, second):
            thread.enter_context(one_thread())
            thread.enter_context(warnings.catch_warnings())
        first.close()
        assert set(blas()) == {1}
        warnings.warn_explicit("few images", UserWarning, "sklearn/any.py", 1, module="sklearn.any")
        second.close()
        assert set(blas()) == {1}
        assert torch.get_num_threads() == 1
    assert (blas(), list(warnings.filters), cores()) == before


def test_threads_ask_a_zero_shot_model_once_for_each_row_and_seed(tmp_path: Path) -> None:
    arms: list[Any] = [{"strategy": strategy, "start": "zero-shot"} for strategy in ("margin", "random")]
    made = study(seeds=6, arms=arms)
    dataset = open_dataset(made)
    asked: list[int] = []

    class Model:
        def predict(self, indices: Any, progress: Any) -> Guesses:
            asked.append(len(indices))
            time.sleep(0.005)
            return Guesses(indices, np.eye(10)[dataset.labels[indices]])

    answers = Answers(made, dataset, Model(), {}, lambda: np.empty(0))  # type: ignore[arg-type]
    runs = plan_runs(made, dataset)
    together = threading.Barrier(len(runs))

    def ask(run: Run) -> bool:
        subset = draw_subset(dataset, made, run.row, run.seed)
        together.wait()
        held = answers.guesses(run, subset)
        together.wait()
        return held is not None and held is answers.guesses(run, subset)

    with ThreadPoolExecutor(len(runs)) as pool:
        assert all(pool.map(ask, runs))
    assert len(asked) == 6
    assert len(answers._guesses) == 1, "what nobody holds is forgotten, but for the latest"


@pytest.mark.slow
def test_real_strategies_and_a_real_learner_give_equal_bits_in_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = ["stratified", "margin", "entropy_typicality", "badge", "coreset", "dropquery", "cluster_margin"]
    arms += ["typiclust", "probcover"]
    made = study(learner=PROBE, sizes=["6%"], arms=arms, acquisition=0.4)
    run_study(made, tmp_path / "1", fake.Silent(), workers=1)
    build = probe.build
    monkeypatch.setattr(probe, "build", lambda *given: replace(build(*given), side_by_side=4))
    run_study(made, tmp_path / "4", fake.Silent(), workers=4)
    assert reading(tmp_path / "4").digest() == reading(tmp_path / "1").digest()


@pytest.mark.slow
def test_many_tiny_runs_with_a_models_labels_race_for_what_they_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More rows and seeds at once than anything is kept for, with a learner and labelers that are made of nothing."""
    data = open_dataset(study())
    probs = np.eye(10)[data.labels] * 0.6 + np.random.default_rng(0).dirichlet(np.ones(10), len(data.labels)) * 0.4
    pd.DataFrame(probs, columns=list(data.classes)).to_csv(tmp_path / "guesses.csv", index_label="index")
    zero: list[Any] = [{"strategy": "margin", "start": start} for start in ("zero-shot", "zero-shot-true")]
    noisy = {"strategy": "margin", "labeler": {"kind": "error", "rate": "30%"}}
    made = study(
        sizes=["3%", "4%", "5%"], seeds=4, arms=["random", *zero, noisy], acquisition=0.5,
        zero_shot={"model": f"file:{tmp_path / 'guesses.csv'}"},
    )  # fmt: skip
    run_study(made, tmp_path / "alone", fake.Silent(), workers=1)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for again in range(2):
            run_study(made, tmp_path / str(again), fake.Silent(), workers=16)
            assert reading(tmp_path / str(again)).digest() == reading(tmp_path / "alone").digest()
    finally:
        sys.setswitchinterval(interval)


def test_a_studys_records_go_on_after_an_interruption(alone: str, tmp_path: Path) -> None:
    for stop_after in (1, 5):
        with pytest.raises(KeyboardInterrupt):
            run_study(study(), tmp_path / "out", fake.Silent(stop_after), workers=3)
        assert not threads_of_runs()
    run_study(study(), tmp_path / "out", fake.Silent(), workers=8)
    assert reading(tmp_path / "out").digest() == alone


def test_parts_of_a_study_go_on_with_one_learner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the baselines does not stop the learner, which the others still need."""
    made = study(arms=["stratified", "margin"], stop="at_baseline")
    for number in (3, 1):
        run_study(made, tmp_path / str(number), fake.Silent(), workers=number)
    assert reading(tmp_path / "3").digest() == reading(tmp_path / "1").digest()


def test_a_closed_generator_releases_the_runs_that_wait_in_a_fit() -> None:
    runner = runner_of(study(seeds=4))
    learner = runner.learner
    assert isinstance(learner, fake.Fake)
    assert learner.together
    before = blas(), list(warnings.filters), cores()
    with closing(side_by_side.compute(jobs_of(runner), runner, lambda _: None, 4)) as steps:
        next(steps)
        learner.together.asked.put(None)  # the engine's thread ends: whoever waits for it, waits for ever
        time.sleep(0.2)
        assert threads_of_runs()
        started = time.monotonic()
    assert time.monotonic() - started < side_by_side.JOIN_SECONDS / 2
    assert not threads_of_runs()
    assert (blas(), list(warnings.filters), cores()) == before
    with pytest.raises(Stopped):
        learner.fit(np.arange(3), np.arange(3), "none", 0, {})


def blas() -> list[int]:
    return [found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"]


def bad_input(*_: Any) -> None:
    raise InputError("an image is gone; put it back")


@pytest.mark.parametrize(("fails", "error", "said"), [
    (bad_input, InputError, "^an image is gone; put it back$"),
    (lambda *_: 1 / 0, RuntimeError, "ZeroDivisionError"),
])  # fmt: skip
def test_an_error_in_a_thread_ends_the_study(
    fails: Callable[..., None], error: type[Exception], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, calls = fake.Fake.fitted, []

    def failing(self: fake.Fake, *given: Any) -> Any:
        calls.append(1)
        return fails() if len(calls) == 6 else fit(self, *given)

    monkeypatch.setattr(fake.Fake, "fitted", failing)
    with pytest.raises(error, match=said):
        run_study(study(), tmp_path, fake.Silent(), workers=3)
    assert not threads_of_runs()


def test_a_learner_that_somebody_else_stopped_is_no_finished_study(tmp_path: Path) -> None:
    runner = runner_of(study())
    runner.learner.stop()
    with pytest.raises(RuntimeError, match="Stopped"):
        list(side_by_side.compute(jobs_of(runner), runner, lambda _: None, 3))


INTERRUPTED = """
import _thread, sys, threading, time
from pathlib import Path
import fake
from labelwise.config import Study
from labelwise.study.executor import run_study

fake.install()
made = Study.model_validate({
    "data": "digits", "sizes": ["10%"], "seeds": 4, "initial": {"minimum": 30}, "learner": {"kind": "fake"},
    "arms": ["random", "margin"],
})
class Listener(fake.Silent):
    def recorded(self, run, done):
        if len(self.rounds) == 0:
            threading.Timer(0.3, _thread.interrupt_main).start()
        super().recorded(run, done)

try:
    run_study(made, Path(sys.argv[1]), Listener(), workers=4)
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.slow
def test_ctrl_c_ends_the_process_while_fits_go_on(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "FAKE_SECONDS": "0.1"}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "out")], env=environment, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "stopped\n", "")
    assert time.monotonic() - started < 100


class Kind:
    """What `default_workers` asks of a learner."""

    def __init__(self, side_by_side: int, frozen_embeddings: bool = False) -> None:
        self.side_by_side, self.frozen_embeddings = side_by_side, frozen_embeddings


def test_the_default_is_what_the_learner_wants_on_each_device(monkeypatch: pytest.MonkeyPatch) -> None:
    made: Any = study(learner={"kind": "fake", "device": "cpu"})
    given: Any = [Kind(24), Kind(1), Kind(1, True)]
    assert [default_workers(made, kind) for kind in given] == [24, cores(), 1]
    monkeypatch.setattr(workers, "device_count", lambda _: 2)
    assert default_workers(made, given[0]) == 48


def test_each_device_has_a_process_that_sees_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = runner_of(study())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(workers, "device_count", lambda _: 3)
    assert workers._specs(runner, 7) == [ProcessSpec(7, 2, "0"), ProcessSpec(7, 2, "1"), ProcessSpec(7, 3, "2")]
    assert workers._specs(runner, 2) == [ProcessSpec(2, 1, "0"), ProcessSpec(2, 1, "1")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-a, 6")
    assert [spec.gpu for spec in workers._specs(runner, 3)] == ["4", "GPU-a", "6"]
    monkeypatch.setenv("FAKE_SIDE_BY_SIDE", "1")
    assert workers._specs(runner_of(study()), 2) == [ProcessSpec(2), ProcessSpec(2)]
