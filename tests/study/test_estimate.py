"""What a plan says of time: with a zero-shot model, with runs that stop early, and how a strategy's time grows."""

from __future__ import annotations

import csv
import io
import json
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from clip_model import save_tiny_clip
from labelwise.cli.tables import print_plan
from labelwise.config import Study
from labelwise.data.images import unseen
from labelwise.data.sources import open_dataset
from labelwise.models import finetune
from labelwise.models.learner import Calibration, FitCost
from labelwise.models.lengths import length, spread
from labelwise.study import estimate
from labelwise.study.estimate import ArmEstimate, Estimate, estimate_study
from labelwise.study.plan import plan_runs

pytestmark = pytest.mark.slow


def study(**changes: Any) -> Study:
    values: dict[str, Any] = {
        "data": "digits", "sizes": ["20%"], "initial": {"minimum": 30}, "seeds": 1, "arms": ["random", "margin"],
        "learner": {"kind": "probe", "backbone": "test_resnet.r160_in1k", "weights": "scratch"},
    }  # fmt: skip
    return Study.model_validate({**values, **changes})


def test_a_zero_shot_model_is_part_of_what_is_spent_once(tmp_path: Path, cache: Path) -> None:
    clip = save_tiny_clip(tmp_path / "tiny-clip")
    arms = ["random", {"strategy": "margin", "start": "zero-shot"}]
    asking = study(arms=arms, zero_shot={"model": "clip", "weights": str(clip)})
    dataset = open_dataset(asking)
    assert estimate._zero_shot_seconds(asking, dataset, plan_runs(asking, dataset)) > 0
    assert estimate._zero_shot_seconds(study(), dataset, plan_runs(study(), dataset)) == 0
    assert not any((cache / "clip").glob("*/*")), "a plan keeps no features of its few images"


def test_runs_that_can_stop_early_make_it_a_bound(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arms = ["stratified", "margin"]
    print_plan(estimate_study(study(arms=arms, stop="at_baseline"), unseen), "table")
    assert "the most it can be" in capsys.readouterr().out
    print_plan(estimate_study(study(arms=arms), unseen), "table")
    assert "the most it can be" not in capsys.readouterr().out


@pytest.mark.parametrize(("power", "expected"), [(2.0, 2.0), (1.0, 1.0), (0.0, 1.0), (3.0, 2.0)])
def test_growth_between_two_sizes_is_carried_on(monkeypatch: pytest.MonkeyPatch, power: float, expected: float) -> None:
    """Not below linear, since little work is all overhead, and not above quadratic."""
    monkeypatch.setattr(estimate, "_rounds", lambda _arm, size, *_: (size**power, 2 * size**power))

    class Pool:
        pool = range(50_000)
        classes = range(10)

    class Speed:
        frozen_embeddings = True
        features = 8

    class Run:
        arm = study().arms[1]
        labels = (150, 1_500)
        batch = 75

    select = estimate._time_strategy([Run()], Pool(), Speed())  # type: ignore[arg-type, list-item]
    sizes = (2_048, 8_192)
    assert select(50_000, True) == pytest.approx(sizes[1] ** power * (50_000 / sizes[1]) ** expected)
    assert select(50_000, False) == pytest.approx(2 * select(50_000, True))


def speed(side_by_side: int = 1) -> Calibration:
    """Return a calibration by hand: a second a fit, which may be half or three times as long, and a tenth an image."""
    return Calibration(
        once=5.0,
        forward_once=0,
        fit=lambda _: 1.0,
        score=lambda images: images / 10,
        forward=lambda _: 64,
        backward=lambda _: 32,
        forward_scored=1,
        features=8,
        frozen_embeddings=False,
        side_by_side=side_by_side,
        spread=lambda sizes: (0.5, 3.0 if len(sizes) == 1 else 2.0),
    )


def estimated(monkeypatch: pytest.MonkeyPatch, found: Calibration, workers: int, **changes: Any) -> Estimate:
    """Return the estimate of a study by a calibration, where selecting takes next to no time."""
    monkeypatch.setattr(estimate, "calibrate", lambda *_: found)
    monkeypatch.setattr(estimate, "_rounds", lambda *_: (1e-12, 1e-12))
    return estimate_study(study(**changes), unseen, workers)


def test_fits_have_ranges_and_what_stands_beside_them_not(monkeypatch: pytest.MonkeyPatch) -> None:
    found = estimated(monkeypatch, speed(), 2, arms=["stratified", "random"], seeds=2)
    tested = len(open_dataset(study()).test) / 10
    baseline, random = found.arms
    assert (baseline.images_backward, baseline.images_backward_low, baseline.images_backward_high) == (64, 32, 128)
    assert baseline.seconds == pytest.approx(2 + 2 * tested)
    assert (baseline.seconds_low, baseline.seconds_high) == pytest.approx((1 + 2 * tested, 4 + 2 * tested))
    rounds = random.rounds / 2
    longest = [rounds * (factor + tested) for factor in (1, 0.5, 2)]
    assert [found.longest, found.longest_low, found.longest_high] == pytest.approx(longest)
    assert found.seconds_low == pytest.approx(5 + (baseline.seconds_low + random.seconds_low) / 2)


def test_runs_side_by_side_share_the_device_that_their_fits_were_timed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of four runs takes as long as the four together, so a quarter of the sum is the time of all."""
    found = estimated(monkeypatch, speed(4), 4, arms=["stratified"], seeds=8)
    tested = len(open_dataset(study()).test) / 10
    assert found.workers == 4
    assert found.seconds == pytest.approx(5 + 8 * (1 + tested) / 4)
    assert found.longest == pytest.approx(1 + tested)


def test_a_gpu_is_timed_with_all_its_runs_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits are timed together, in threads; scoring, which takes turns, in a whole batch and for each of them."""
    together = threading.Barrier(3, timeout=10)
    sizes: list[int] = []

    class Fitted:
        cost = FitCost(0.0, 1, images_forward=200, images_backward=100)

        def predict(self, indices: Any) -> Any:
            sizes.append(len(indices))
            return SimpleNamespace(seconds=0.5)

    class Shared:
        side_by_side, scorer, model = 3, SimpleNamespace(batch=1_000), torch.nn.Linear(2, 2)
        backbone = SimpleNamespace(features=2)

        def stop(self) -> None:
            """No fit goes on."""

        def fit(self, indices: Any, *_: Any) -> Fitted:
            if len(indices) > 64:
                together.wait()
            return Fitted()

    monkeypatch.setattr(finetune, "build", lambda *_: Shared())
    tuning = study(learner={"kind": "finetune", "backbone": "test_resnet.r160_in1k", "device": "cpu"})
    found = finetune.calibrate(open_dataset(tuning), tuning)
    assert sizes[-1] == 1_000
    assert found.side_by_side == 3
    assert found.score(10_000) == pytest.approx(3 * 0.5 * 10)
    assert found.forward(150) == length(150, tuning.learner, statistics=False).images_forward


@pytest.mark.parametrize(
    ("side_by_side", "workers", "cores", "crowd"),
    [(64, 64, 16, 4), (64, 25, 16, 25 / 16), (64, 8, 16, 1), (1, 64, 2, 1)],
)
def test_runs_that_share_a_gpu_share_the_cores_to_select_on(
    monkeypatch: pytest.MonkeyPatch, side_by_side: int, workers: int, cores: int, crowd: float
) -> None:
    """But not the workers of a cluster, who may have a core each."""
    monkeypatch.setattr(estimate, "cores", lambda: cores)
    monkeypatch.setattr(estimate, "device_count", lambda _: 1)
    assert estimate._crowd(study(), speed(side_by_side), workers) == crowd


def test_a_fine_tuning_plan_goes_by_the_lengths_of_fits(cache: Path) -> None:
    learner = {"kind": "finetune", "backbone": "test_resnet.r160_in1k", "weights": "scratch", "device": "cpu"}
    tuning = study(arms=["random"], learner=learner)
    (arm,) = estimate_study(tuning, unseen).arms
    sizes = plan_runs(tuning, open_dataset(tuning))[0].labels
    expected = sum(length(size, tuning.learner).images_backward for size in sizes)
    low, high = spread(sizes, tuning.learner)
    assert arm.images_backward == expected
    assert (arm.images_backward_low, arm.images_backward_high) == (round(low * expected), round(high * expected))
    assert 0 < arm.seconds_low < arm.seconds < arm.seconds_high


ARM = ArmEstimate("1%", "margin", 5, 75, 2_500, 5_276_625, 508_800, 381_234, 890_123, 7_060.44, 6_212.31, 9_456.78)


def test_a_plan_is_a_table_with_ranges_and_numbers_apart(capsys: pytest.CaptureFixture[str]) -> None:
    plan = Estimate([ARM], 12.0, 2, 1_800.0, 1_500.0, 2_400.0, False)
    print_plan(plan, "table")
    said = capsys.readouterr().out
    assert "509,000 (380,000-890,000)" in said
    assert "7,060 (6,200-9,500)" in said
    assert "about 59 min (52 min to 79 min) with 2 workers" in said
    assert "the longest run takes 30 min (25 min to 40 min)" in said
    assert "EfficientNet-Lite0 on CIFAR-10" in said
    print_plan(plan, "csv")
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["images_backward"], row["images_backward_low"], row["seconds_high"]) == ("508800", "381234", "9456.8")
    print_plan(plan, "json")
    found = json.loads(capsys.readouterr().out)
    assert found["arms"][0]["images_backward_high"] == 890_123
    assert found["seconds_low"] < found["seconds"] < found["seconds_high"]
    assert found["seconds_longest_run_high"] == 2_400


def test_a_plan_without_ranges_shows_plain_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    backward, seconds = ARM.images_backward, ARM.seconds
    sure = replace(ARM, images_backward_low=backward, images_backward_high=backward)
    sure = replace(sure, seconds_low=seconds, seconds_high=seconds)
    print_plan(Estimate([sure], 12.0, 2, 1_800.0, 1_800.0, 1_800.0, False), "table")
    said = capsys.readouterr().out
    assert "508,800" in said
    assert "7,060.40" in said
    assert "(50" not in said
    assert "CIFAR-10" not in said
