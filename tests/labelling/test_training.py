from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from labelwise.cache import Rows
from labelwise.labelling.advice import UNKNOWN
from labelwise.labelling.messages import Ask, Job, Judged, Picked
from labelwise.labelling.store import Image
from labelwise.labelling.training import Trainer, suggested
from labelwise.metrics import evaluate
from labelwise.strategies import STRATEGIES, select

ROWS, D, K = 400, 16, 3
UNREAD = 3
"""The last images, which nobody could read: they have no embedding."""
HASHES = np.random.default_rng(9).integers(1, 256, (ROWS, 32)).astype(np.uint8)
HASHES[-UNREAD:] = 0


def stored(folder: Path, values: np.ndarray) -> str:
    """Keep embeddings as the preparation does, in another order than that of the images."""
    with Rows(folder, D) as store:
        for part in np.array_split(np.random.default_rng(3).permutation(ROWS - UNREAD), 3):
            store.put(HASHES[part], values[part], 0.1, np.full(len(part), -1))
    return str(folder)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Three clusters; 40 labels, a quarter of them random, and 60 test labels."""
    rng = np.random.default_rng(0)
    truth = rng.integers(K, size=ROWS)
    values = (2.5 * np.eye(K, D)[truth] + rng.standard_normal((ROWS, D))).astype("<f2")
    order = rng.permutation(ROWS - UNREAD)
    test, train, pool = np.sort(order[:60]), order[60:100], np.sort(order[100:])
    return Job(
        0, stored(tmp_path / "store", values), HASHES, D, (0, 1, 5), train, truth[train], np.repeat([-1, 0, 1, 2], 10),
        np.arange(40) % 4 == 0, np.arange(40) % 4 > 1, test, truth[test], pool, "margin", {}, 12, 20, 0, 1.5, 100,
    )  # fmt: skip


def everything(job: Job) -> np.ndarray:
    """Return all embeddings, (ROWS, D); of images that nobody could read, NaN."""
    with Rows(Path(job.folder), D, write=False) as store:
        rows = store.find(HASHES[:-UNREAD])[0]
        return np.concatenate([store.gather(rows), np.full((UNREAD, D), np.nan, np.float16)])


def heard(job: Job, trainer: Trainer | None = None) -> list[Picked | Judged]:
    said: list[Picked | Judged] = []
    (trainer or Trainer()).train(job, said.append)
    return said


def test_a_round_trains_measures_and_picks(job: Job) -> None:
    picked, judged = heard(job)
    assert isinstance(picked, Picked)
    assert isinstance(judged, Judged)
    assert picked.probs is not None
    assert picked.probs.shape == (ROWS, K)
    assert np.isfinite(picked.probs[:-UNREAD]).all()
    assert np.isnan(picked.probs[-UNREAD:]).all(), "nobody has seen them"
    assert picked.correct == round(60 * evaluate(picked.probs[job.test], job.truth).accuracy) > 30
    assert picked.interval[0] < picked.correct / 60 < picked.interval[1]
    assert set(picked.picks) <= set(job.pool)
    assert len(picked.picks) == 12
    assert judged.advice.say in ("go on", "stop", UNKNOWN)
    assert judged.helping.say == UNKNOWN
    assert "10 random and 20 picked" in judged.helping.why


def test_a_cold_start_goes_on_beside_what_is_labelled(job: Job) -> None:
    (found,) = heard(replace(job, cold=True))
    assert isinstance(found, Picked)
    assert (found.kind, len(set(found.picks)), found.probs) == ("typical", 12, None)
    assert set(found.picks) <= set(job.pool)


@pytest.mark.parametrize("name", sorted(set(STRATEGIES) - {"bald", "dropquery"}))
def test_every_strategy_picks_through_the_engine(job: Job, name: str) -> None:
    picked = heard(replace(job, strategy=name))[0]
    assert isinstance(picked, Picked)
    assert len(set(picked.picks)) == 12
    assert set(picked.picks) <= set(job.pool)


def test_margin_picks_what_the_models_own_probabilities_say(job: Job) -> None:
    picked = heard(job)[0]
    assert isinstance(picked, Picked)
    assert picked.probs is not None
    top = np.sort(picked.probs[job.pool], axis=1)
    smallest = job.pool[np.argsort(top[:, -1] - top[:, -2])[:12]]
    assert set(picked.picks) == set(smallest)


def test_equal_jobs_give_equal_rounds_whatever_came_before(job: Job) -> None:
    used = Trainer()
    heard(replace(job, strategy="typiclust"), used)
    one, two = heard(job, used), heard(job)
    assert isinstance(one[0], Picked)
    assert isinstance(two[0], Picked)
    np.testing.assert_array_equal(one[0].picks, two[0].picks)
    np.testing.assert_array_equal(one[0].probs, two[0].probs)
    assert one[1] == two[1]


def test_the_cold_start_is_typiclust_without_labels(job: Job) -> None:
    nothing = {name: getattr(job, name)[:0] for name in ("indices", "labels", "rounds", "random", "picked")}
    said = heard(replace(job, **nothing))  # type: ignore[arg-type]
    assert len(said) == 1
    picked = said[0]
    assert isinstance(picked, Picked)
    assert (picked.kind, picked.probs) == ("typical", None)
    values = everything(job)
    np.testing.assert_array_equal(
        picked.picks, select("typiclust", candidates=job.pool, n=12, embeddings=values, classes=K, seed=0)
    )


def test_one_class_so_far_is_no_problem(job: Job) -> None:
    picked, judged = heard(replace(job, labels=np.zeros(40, np.int64)))
    assert isinstance(judged, Judged)
    assert judged.advice.say == UNKNOWN
    assert isinstance(picked, Picked)
    assert len(picked.picks) == 12


def test_wrong_labels_are_doubted(job: Job) -> None:
    labels, truth = job.labels.copy(), job.truth.copy()
    for i in (3, 7):
        labels[i] = (labels[i] + 1) % K
    truth[5] = (truth[5] + 1) % K
    judged = heard(replace(job, labels=labels, truth=truth))[1]
    assert isinstance(judged, Judged)
    doubted = {row for row, _, _ in judged.doubted}
    assert doubted & {int(job.indices[3]), int(job.indices[7])}
    assert not doubted & set(job.test.tolist()), "asked again where the model disagrees, they would flatter it"
    sure = [prob for _, _, prob in judged.doubted]
    assert all(0.5 < prob <= 1 for prob in sure)


def test_rows_that_are_not_embedded_yet_are_nobodys_business(job: Job) -> None:
    here, asked = job.indices < 300, job.test < 300
    train = {name: getattr(job, name)[here] for name in ("indices", "labels", "rounds", "random", "picked")}
    known = job.hashes[:300]
    early = replace(
        job, hashes=known, pool=job.pool[job.pool < 300], test=job.test[asked], truth=job.truth[asked], **train
    )
    picked = heard(early)[0]
    assert isinstance(picked, Picked)
    assert picked.probs is not None
    assert picked.probs.shape == (300, K)
    assert picked.picks.max() < 300


def test_a_file_of_probabilities_gives_the_first_suggestions(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):  # a model would read them
        (tmp_path / name).touch()
    (tmp_path / "p.csv").write_text("path,cat,dog\na.png,0.9,0.1\nb.png,0.2,0.8\n")
    images = [Image(1, "b.png", 1, 1, "ok", sha256="bb"), Image(2, "a.png", 1, 1, "ok", sha256="aa"),
              Image(3, "bad.png", 1, 1, "unreadable")]  # fmt: skip
    columns, probs = suggested(Ask(tmp_path, images, ("dog", "cat"), (4, 2), f"file:{tmp_path / 'p.csv'}", "cpu"))
    assert columns == (4, 2)
    np.testing.assert_allclose(probs, [[0.8, 0.2], [0.1, 0.9], [np.nan, np.nan]], rtol=1e-6)
