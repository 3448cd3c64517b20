"""The contract of every zero-shot model, files of probabilities, CLIP without its weights, and the start they make."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from clip_model import save_tiny_clip
from labelwise.config import Study
from labelwise.data.dataset import Dataset
from labelwise.data.images import unseen
from labelwise.data.sources import open_dataset
from labelwise.errors import InputError
from labelwise.parts import ZeroShot
from labelwise.zero_shot import ZERO_SHOT, Guesses, open_zero_shot
from labelwise.zero_shot.audit import audit
from labelwise.zero_shot.prompts import CIFAR10
from labelwise.zero_shot.start import most_confident


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return open_dataset(Study(data="digits"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("models") / "tiny-clip")


def probabilities(dataset: Dataset) -> pd.DataFrame:
    """Invented class probabilities for every image: right on most of them."""
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((len(dataset.images), 10)) + 3 * np.eye(10)[dataset.labels]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return pd.DataFrame(probs, columns=list(dataset.classes))


@pytest.fixture(scope="module")
def settings(dataset: Dataset, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ZeroShot]:
    path = tmp_path_factory.mktemp("file") / "guesses.parquet"
    probabilities(dataset).to_parquet(path)
    return {"clip": ZeroShot(weights=str(clip)), "file:PATH": ZeroShot(model=f"file:{path}")}


@pytest.mark.parametrize("name", [row.name for row in ZERO_SHOT])
def test_contract(name: str, dataset: Dataset, settings: dict[str, ZeroShot], cache: Path) -> None:
    row = next(row for row in ZERO_SHOT if row.name == name)
    assert row.summary
    assert row.recognises(settings[name].model)
    model = open_zero_shot(settings[name], dataset, "cpu", False)
    asked = dataset.pool[:70]
    guesses = model.predict(asked, unseen)
    assert guesses.indices.tolist() == asked.tolist()
    assert guesses.probs.shape == (70, 10)
    assert guesses.probs.sum(axis=1) == pytest.approx(1)
    assert guesses.labels.tolist() == guesses.probs.argmax(axis=1).tolist()
    again = open_zero_shot(settings[name], dataset, "cpu", False)
    assert again.key == model.key
    assert (again.predict(asked, unseen).probs == guesses.probs).all()
    assert again.predict(asked, unseen).seconds == guesses.seconds  # what it took when it was computed
    assert model.title
    assert model.note
    assert model.missing == ""
    assert model.known(0.5)
    assert (model.pace(asked) > 0) == (name == "clip")


@pytest.mark.parametrize(("model", "message"), [("clop", "did you mean 'clip'"), ("file:none.csv", "cannot read")])
def test_what_is_no_model(dataset: Dataset, model: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_zero_shot(ZeroShot(model=model), dataset, "cpu", False)


def first(table: pd.DataFrame, value: float) -> pd.DataFrame:
    return table.assign(**{"3": [value, *table["3"][1:]]})


BROKEN: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "a class missing": (lambda t: t.drop(columns="7"), "no column for the class '7'"),
    "not a number": (lambda t: t.assign(**{"3": "much"}), "column '3' holds something that is no number"),
    "NaN": (lambda t: first(t, np.nan), "1 of 1,797 rows hold NaN"),
    "negative": (lambda t: first(t, -0.5), "1 of 1,797 rows hold negative"),
    "sums": (lambda t: t * 2, "1,797 of 1,797 rows do not sum to 1.*sums to 2"),
    "too few": (lambda t: t[:-100], "1,697 rows for 1,438 pool images"),
    "twice": (lambda t: t.assign(index=[1, *range(1, len(t))]), "stand there more than once"),
}


@pytest.mark.parametrize("what", sorted(BROKEN))
def test_a_wrong_file_is_one_line(dataset: Dataset, tmp_path: Path, what: str) -> None:
    change, message = BROKEN[what]
    change(probabilities(dataset)).to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(InputError, match=message) as error:
        open_zero_shot(ZeroShot(model=f"file:{tmp_path / 'x.csv'}"), dataset, "cpu", False)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("change", "said"), [
    (lambda t: t * 0 + 0.1, "all classes are equally probable in every row, so it says nothing"),
    (lambda t: t * 0 + np.array([0.05] * 3 + [0.55] + [0.05] * 6), "the most probable class is '3' in every row"),
    (lambda t: t, ""),
])  # fmt: skip
def test_a_file_that_says_nothing_costs_a_line(
    dataset: Dataset, tmp_path: Path, change: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(probabilities(dataset)).to_csv(tmp_path / "x.csv", index=False)
    open_zero_shot(ZeroShot(model=f"file:{tmp_path / 'x.csv'}"), dataset, "cpu", False)
    line = f"warning: {tmp_path / 'x.csv'}: {said}; is it the right file?\n" if said else ""
    assert capsys.readouterr().err == line


def test_a_file_without_the_test_images_says_so(dataset: Dataset, tmp_path: Path) -> None:
    table = probabilities(dataset).assign(index=range(len(dataset.images))).iloc[dataset.pool]
    table.to_csv(tmp_path / "x.csv", index=False)
    model = open_zero_shot(ZeroShot(model=f"file:{tmp_path / 'x.csv'}"), dataset, "cpu", False)
    assert "no probabilities for 359 of the 359 test images" in model.missing
    assert "not CLIP" in model.note
    assert model.title == "the file x.csv"
    with pytest.raises(ValueError, match="no probabilities"):
        model.predict(dataset.test, unseen)


def test_clip_gives_what_transformers_own_way_gives(dataset: Dataset, clip: Path, cache: Path) -> None:
    import torch
    from transformers import CLIPModel, CLIPTokenizer

    from labelwise.models.pixels import squares

    found = open_zero_shot(ZeroShot(weights=str(clip)), dataset, "cpu", False).predict(dataset.pool[:40], unseen)
    model, sizes = CLIPModel.from_pretrained(clip).eval(), json.loads((clip / "preprocessor_config.json").read_text())
    mean, std = (torch.tensor(sizes[name]).view(3, 1, 1) for name in ("image_mean", "image_std"))
    pixels = (squares(dataset.images, dataset.pool[:40], 16, 1.0).float() / 255 - mean) / std
    texts = [f"a photo of a {name}." for name in dataset.classes]
    tokens = CLIPTokenizer.from_pretrained(clip)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model(pixel_values=pixels, **tokens).logits_per_image.softmax(dim=-1).numpy()
    assert np.abs(found.probs - expected).max() < 1e-4
    assert len(set(found.labels.tolist())) > 3  # the tiny model tells images apart


def test_clip_depends_on_names_prompts_and_weights_alone(dataset: Dataset, clip: Path, cache: Path) -> None:
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    other = save_tiny_clip(cache.parent / "other", seed=1)
    models = [
        open_zero_shot(ZeroShot(**{"weights": str(clip), **given}), dataset, "cpu", False)
        for given in ({}, {"classes": names}, {"prompts": "cifar10"}, {"weights": str(other)})
    ]
    assert len({model.key for model in models}) == 4
    probs = [model.predict(dataset.pool[:20], unseen).probs for model in models]
    assert all(np.abs(probs[0] - one).max() > 1e-3 for one in probs[1:])
    copy = clip.rename(clip.with_name("moved"))
    try:
        assert open_zero_shot(ZeroShot(weights=str(copy)), dataset, "cpu", False).key == models[0].key
    finally:
        copy.rename(clip)


def test_the_cache_is_used_and_a_chunk_depends_on_nothing_else(
    dataset: Dataset, clip: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labelwise.zero_shot.clip import Clip

    model = open_zero_shot(ZeroShot(weights=str(clip)), dataset, "cpu", False)
    model.predict(dataset.pool[:10], unseen)
    after = model.predict(dataset.pool[:50], unseen).probs
    monkeypatch.setenv("LABELWISE_CACHE", str(cache.parent / "fresh"))
    alone = open_zero_shot(ZeroShot(weights=str(clip)), dataset, "cpu", False).predict(dataset.pool[:50], unseen).probs
    assert (after == alone).all()
    monkeypatch.setattr(Clip, "_model", property(lambda self: pytest.fail("the model was loaded again")))
    kept = open_zero_shot(ZeroShot(weights=str(clip)), dataset, "cpu", False).predict(dataset.pool[:50], unseen).probs
    assert (kept == alone).all()


def test_the_eighteen_templates() -> None:
    assert len(set(CIFAR10)) == 18
    assert CIFAR10[0] == "a photo of a {}."
    assert {"a blurry photo of the {}.", "a photo of the small {}.", "a photo of a big {}."} < set(CIFAR10)


def test_openai_weights_with_the_wrong_activation_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    folder = save_tiny_clip(tmp_path / "clip-vit-base-patch32", activation="gelu")
    with pytest.raises(InputError, match="need quick_gelu, and config"):
        open_zero_shot(ZeroShot(weights=str(folder)), dataset, "cpu", False)
    other = save_tiny_clip(tmp_path / "another", activation="gelu")
    assert "activation is gelu" in open_zero_shot(ZeroShot(weights=str(other)), dataset, "cpu", False).note


def test_the_published_accuracy_is_asserted_where_it_applies(dataset: Dataset, clip: Path) -> None:
    from labelwise.zero_shot import clip as module

    model = open_zero_shot(ZeroShot(weights=str(clip)), dataset, "cpu", False)
    assert "none was checked" in model.known(0.1)
    cifar = replace(dataset, classes=module.CIFAR10, test=np.arange(10_000))
    there = Path("clip-vit-base-patch32")
    assert module._expected(ZeroShot(weights="openai/clip-vit-base-patch32"), there, cifar) == 0.887
    assert module._expected(ZeroShot(prompts="cifar10"), there, cifar) == 0.898
    assert module._expected(ZeroShot(weights="laion/x"), Path("x"), cifar) is None
    assert module._expected(ZeroShot(), there, dataset) is None
    ours = replace(model, expected=0.898)  # type: ignore[type-var]
    assert "about 89.8%" in ours.known(0.893)
    with pytest.raises(InputError, match=r"right on 85\.0%.*other weights, or the wrong activation"):
        ours.known(0.85)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no CLIP model"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'), "type 'bert', not clip"),
        (lambda folder: (folder / "config.json").write_text("{"), "holds no whole CLIP model"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "holds no whole CLIP model"),
    ],
)
def test_folders_that_hold_no_clip(dataset: Dataset, tmp_path: Path, change: Any, message: str) -> None:
    change(save_tiny_clip(tmp_path / "broken"))
    with pytest.raises(InputError, match=message):
        open_zero_shot(ZeroShot(weights=str(tmp_path / "broken")), dataset, "cpu", False)


def test_what_cannot_be_had_says_what_to_do(dataset: Dataset, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for weights in ("openai/clip-vit-base-patch32", "no/such/folder", "./none"):
        with pytest.raises(InputError, match=r"zero_shot\.weights=DIR"):
            open_zero_shot(ZeroShot(weights=weights), dataset, "cpu", False)
    with pytest.raises(InputError, match="2 names for the 10 classes"):
        open_zero_shot(ZeroShot(weights=str(clip), classes=("a", "b")), dataset, "cpu", False)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"labelwise\[clip\]"):
        open_zero_shot(ZeroShot(weights=str(clip)), dataset, "cpu", False)


def test_the_start_takes_the_most_confident_equally_many_a_class() -> None:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(3), 300)
    chosen = most_confident(probs, 30, np.random.default_rng(1))
    predicted, confidence = probs.argmax(axis=1), probs.max(axis=1)
    assert np.bincount(predicted[chosen]).tolist() == [10, 10, 10]
    for k in range(3):
        own = confidence[predicted == k]
        assert sorted(confidence[chosen][predicted[chosen] == k]) == sorted(own)[-10:]
    more = most_confident(probs, 31, np.random.default_rng(1))
    assert sorted(np.bincount(predicted[more]).tolist()) == [10, 10, 11]
    left = np.setdiff1d(np.arange(300), chosen)
    eleventh = max(confidence[left[predicted[left] == k]].max() for k in range(3))
    assert confidence[np.setdiff1d(more, chosen)].tolist() == [eleventh]


def test_the_start_fills_up_where_a_class_has_too_few_and_draws_ties() -> None:
    probs = np.full((100, 3), 0.1)
    probs[:, 0] = 0.8
    probs[:4] = [0.1, 0.8, 0.1]
    draws = [most_confident(probs, 20, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert all(len(set(draw.tolist())) == 20 and {0, 1, 2, 3} < set(draw.tolist()) for draw in draws)
    assert draws[0].tolist() == draws[1].tolist() != draws[2].tolist()


def test_the_audit_counts_every_image_once() -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(4), 200)
    truth = np.random.default_rng(1).integers(0, 4, 500)
    guesses = Guesses(np.arange(100, 300), probs)
    found = audit(guesses, truth)
    assert found["images"] == sum(cell[2] for cell in found["bins"]) == 200
    assert found["correct"] == sum(cell[4] for cell in found["bins"]) == (guesses.labels == truth[100:300]).sum()
    assert sum(cell[3] for cell in found["bins"]) == pytest.approx(guesses.confidence.sum(), abs=1e-3)
