"""Whole studies on features: every strategy, the report, and the same records for any number of processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from sklearn.datasets import load_digits
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from fake import Silent
from labelwise.config import Study
from labelwise.data.sources import open_dataset
from labelwise.errors import InputError
from labelwise.records import ROUNDS, reading
from labelwise.report import write_report
from labelwise.strategies import STRATEGIES
from labelwise.study.estimate import estimate_study
from labelwise.study.executor import run_study

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def data(tmp_path: Path) -> str:
    found = load_digits()
    np.savez(tmp_path / "x.npz", embeddings=found.data[:600].astype(np.float32), labels=found.target[:600])
    return str(tmp_path / "x.npz")


def study(data: str, **keys: Any) -> Study:
    small = {"data": data, "sizes": [90], "initial": {"minimum": 40}, "acquisition": "30%", "seeds": 1}
    return Study.model_validate({**small, "learner": {"kind": "probe"}, **keys})


def accuracies(folder: Path) -> list[tuple[str, int, float]]:
    with reading(folder).transaction() as connection:
        columns = (ROUNDS.c.run, ROUNDS.c.round, ROUNDS.c.accuracy)
        return [tuple(row) for row in connection.execute(sa.select(*columns).order_by(*columns[:2]))]


def test_every_strategy_runs_and_the_report_says_that_there_are_no_pictures(data: str, tmp_path: Path) -> None:
    arms = ["stratified", *STRATEGIES, {"strategy": "margin", "start": "typical"}]
    run_study(study(data, arms=arms), tmp_path / "out", Silent())
    found = accuracies(tmp_path / "out")
    assert len({run for run, *_ in found}) == len(arms)
    last = {run: value for run, _, value in found}
    assert min(last.values()) > 0.6
    page = write_report(reading(tmp_path / "out"), tmp_path / "report").read_text()
    assert "The data are features without images, so no pictures are shown." in page
    assert '<figure class="sheet">' not in page
    assert "none: 64 features of one" in page


@pytest.mark.slow
def test_workers_change_nothing(data: str, tmp_path: Path) -> None:
    forest = {"kind": "sklearn", "estimator": "sklearn.ensemble.RandomForestClassifier",
              "options": {"n_estimators": 10}}  # fmt: skip
    both = study(data, arms=["stratified", "random", "margin"], seeds=2, learner=forest)
    for number in (1, 2):
        run_study(both, tmp_path / str(number), Silent(), workers=number)
    assert accuracies(tmp_path / "1") == accuracies(tmp_path / "2")


def test_a_plan_of_features(data: str) -> None:
    found = estimate_study(study(data, arms=["stratified", "margin"]), lambda *_: None)
    assert found.once == 0
    assert sum(arm.images_forward for arm in found.arms) == 0


def test_clip_needs_images(data: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="clip looks at images"):
        run_study(study(data, arms=[{"strategy": "margin", "start": "zero-shot"}]), tmp_path / "out", Silent())


def test_text(tmp_path: Path) -> None:
    """Sentences about weather, food and money: TF-IDF, then SVD, then a study on them."""
    rng = np.random.default_rng(0)
    words = {"weather": "rain snow wind cloud storm sun hail frost",
             "food": "bread soup rice salt bean egg cake pear",
             "money": "bank loan rate debt bond cash coin fund"}  # fmt: skip
    shared = ["the", "a", "of", "and", "with", "on", "some", "many", "few", "more", "today", "again"]
    texts, labels = [], []
    for i in range(450):
        name = list(words)[i % 3]
        own = [*rng.choice(words[name].split(), 2).tolist(), rng.choice(" ".join(words.values()).split())]
        texts.append(" ".join(rng.permutation([*own, *rng.choice(shared, 6)])))
        labels.append(name)
    vectors = TruncatedSVD(20, random_state=0).fit_transform(TfidfVectorizer().fit_transform(texts))
    np.savez(
        tmp_path / "x.npz",
        embeddings=vectors,
        labels=np.array(labels),
        names=np.array([f"text {i}" for i in range(450)]),
    )
    run_study(study(str(tmp_path / "x.npz"), arms=["stratified", "random", "margin"]), tmp_path / "out", Silent())
    assert min(value for *_, value in accuracies(tmp_path / "out")) > 0.7
    assert open_dataset(study(str(tmp_path / "x.npz"))).classes == ("food", "money", "weather")
