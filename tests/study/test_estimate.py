"""What a plan says of time: with a zero-shot model, with runs that stop early, and how a strategy's time grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clip_model import save_tiny_clip
from labelwise.cli.tables import print_plan
from labelwise.config import Study
from labelwise.data.images import unseen
from labelwise.data.sources import open_dataset
from labelwise.study import estimate
from labelwise.study.estimate import estimate_study
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
