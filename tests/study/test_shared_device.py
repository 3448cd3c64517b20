"""Fine-tuned runs side by side on one device, whose fits share packs: the engine of a GPU, on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fake
from labelwise.config import Study
from labelwise.data.images import unseen
from labelwise.data.sources import open_dataset
from labelwise.loop import Round
from labelwise.models import finetune
from labelwise.models.engine import Engine
from labelwise.models.finetune import FineTune, build
from labelwise.models.learner import Dropout
from labelwise.models.scoring import Scorer
from labelwise.models.sharing import Sharing, lane, packed
from labelwise.records import reading
from labelwise.study.executor import run_study

pytestmark = pytest.mark.slow


def study(**changes: Any) -> Study:
    learner = {"backbone": "test_efficientnet", "weights": "scratch", "device": "cpu", "epochs": 2, "batch": 8}
    values: dict[str, Any] = {
        "data": "digits", "sizes": [60], "seeds": 2, "initial": {"minimum": 30}, "acquisition": 0.5,
        "arms": ["stratified", "random", "margin"], "learner": learner,
    }  # fmt: skip
    return Study.model_validate({**values, **changes})


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fits share packs of three, on the CPU."""

    def share(model: Any, source: Any, recipe: Any, example: torch.Tensor) -> Sharing:
        lanes = [lane(packed(model, 3, 2, recipe, example), source, recipe)]
        return Sharing(Engine(lanes), "packed, 3 at once", 7)

    monkeypatch.setattr(finetune, "share", share)
    monkeypatch.setattr(finetune, "rewritten", lambda module, _probe: module)  # what a CPU alone does


def learner_of(made: Study) -> FineTune:
    return build(open_dataset(made, unseen), made, unseen)


def test_records_do_not_depend_on_how_many_runs_go_on(shared: None, tmp_path: Path) -> None:
    for workers in (1, None):
        run_study(study(), tmp_path / f"{workers}", fake.Silent(), workers=workers)
    digests = {reading(tmp_path / f"{workers}").digest() for workers in (1, None)}
    assert len(digests) == 1
    assert len(reading(tmp_path / "None").statuses()) == 6


def test_a_study_that_was_broken_off_goes_on(shared: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_study(study(), tmp_path / "whole", fake.Silent())

    class EnoughError(Exception):
        pass

    class Impatient(fake.Silent):
        seen = 0

        def recorded(self, run: Any, done: Round) -> None:
            self.seen += 1
            if self.seen == 3:
                raise EnoughError

    with pytest.raises(EnoughError):
        run_study(study(), tmp_path / "broken", Impatient())
    run_study(study(), tmp_path / "broken", fake.Silent())
    assert reading(tmp_path / "broken").digest() == reading(tmp_path / "whole").digest()


def test_a_shared_fit_is_close_to_one_alone_and_says_what_it_used(
    shared: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    packs = learner_of(study())
    monkeypatch.undo()
    alone = learner_of(study())
    rows = np.sort(np.random.default_rng(0).permutation(1_000)[:60])
    labels = open_dataset(study(), unseen).labels[rows]
    one, other = (learner.fit(rows, labels, "inverse", 0, {}) for learner in (packs, alone))
    assert one.details["steps"] == other.details["steps"]
    assert one.details["validation_loss"] == pytest.approx(other.details["validation_loss"], rel=1e-2)
    assert (one.cost.images_forward, one.cost.images_backward, one.cost.epochs) == (
        other.cost.images_forward, other.cost.images_backward, other.cost.epochs
    )  # fmt: skip
    assert one.state.keys() == other.state.keys()
    probs = [fitted.predict(np.arange(200)).probs for fitted in (one, other)]
    assert np.abs(probs[0] - probs[1]).max() < 0.05
    assert (packs.side_by_side, alone.side_by_side) == (7, 1)
    assert packs.used["protocol"] == "2"


def test_one_copy_of_the_model_scores_for_all_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's way to score, on the CPU: batches of one size, any fit's weights."""
    learner = learner_of(study())
    labels = open_dataset(study(), unseen).labels
    fits = [learner.fit(np.arange(40), labels[:40], "none", seed, {}) for seed in range(2)]
    before = [fitted.predict(np.arange(50, 180), embeddings=True, dropout=Dropout(3, 0.5, 7)) for fitted in fits]
    scorer = Scorer(learner.model, finetune.DeviceImages(
        learner.pixels, None, finetune.Scale.of(learner.backbone), finetune.precision, learner.classes,
        learner.backbone.device,
    ))  # fmt: skip
    scorer.batch = 64
    scorer.rows = scorer.rows[:64]
    scorer.buffer = scorer.buffer[:64]
    object.__setattr__(learner, "scorer", scorer)
    after = [fitted.predict(np.arange(50, 180), embeddings=True, dropout=Dropout(3, 0.5, 7)) for fitted in fits]
    for one, other in zip(before, after, strict=True):
        assert np.abs(one.probs - other.probs).max() < 1e-3
        assert one.embeddings is not None
        assert other.embeddings is not None
        assert np.abs(one.embeddings - other.embeddings).max() < 1e-2 * np.abs(one.embeddings).max()
        assert one.stochastic is not None
        assert other.stochastic is not None
        assert one.stochastic.shape == other.stochastic.shape
    assert np.abs(after[0].probs - after[1].probs).max() > 1e-3
