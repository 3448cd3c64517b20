"""The model as files: model.json, probe.safetensors, and model.onnx from pixels to probabilities. No pickle."""

from __future__ import annotations

import io
import json
import logging
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from labelwise.config import Learner
from labelwise.errors import InputError, printable
from labelwise.labelling.exchange.job import Job
from labelwise.labelling.exchange.reading import read_json
from labelwise.labelling.exchange.trained import Trained, whole
from labelwise.models.backbone import load_backbone

DESCRIPTION, PROBE, ONNX = "model.json", "probe.safetensors", "model.onnx"
LARGEST_PROBE = 2**30
OPSET = 17
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Preprocessing(BaseModel):
    """How a picture becomes the backbone's input: upright RGB on white, pixels of more than 8 bits scaled by `bits` (0:
    they are refused), made a square (see `squares.to_square`), and normalised by mean and std of values in 0..1."""

    model_config = ConfigDict(extra="forbid")
    size: Annotated[int, Field(ge=8, le=4096)]
    crop: Annotated[float, Field(gt=0, le=1)]
    mean: Annotated[list[float], Field(min_length=3, max_length=3)]
    std: Annotated[list[float], Field(min_length=3, max_length=3)]
    small: bool
    resize: Literal["crop", "pad", "stretch"]
    bits: Literal[0, 8, 10, 12, 14, 16]


class Description(BaseModel):
    """What model.json says. fingerprint: stands for the backbone's architecture and weights."""

    model_config = ConfigDict(extra="forbid")
    format: Literal["labelwise-model-2"] = "labelwise-model-2"
    name: Annotated[str, Field(max_length=200)]
    classes: Annotated[list[Name], Field(min_length=2, max_length=100_000)]
    backbone: Name
    weights: Annotated[str, Field(min_length=1, max_length=4096)]
    weights_used: Annotated[str, Field(max_length=4096)]
    fingerprint: Name
    features: Annotated[int, Field(ge=1, le=1_000_000)]
    labels: Annotated[int, Field(ge=0)]
    input: Preprocessing


def write(job: Job, folder: Path) -> str:
    """Train the model on the labels outside of the test slice, and write it. Errors: InputError for too few labels."""
    if job.fit is None:
        raise InputError("no model can be trained here; export it from the project")
    return save(job.fit(), folder)


def save(trained: Trained, folder: Path) -> str:
    """Write a trained model; return what was written."""
    size, crop = trained.input
    backbone = trained.backbone
    mean, std = list(backbone.mean), list(backbone.std)
    made = Description(
        name=trained.name, classes=list(trained.classes), backbone=trained.learner.backbone,
        weights=trained.learner.weights, weights_used=backbone.weights, fingerprint=backbone.fingerprint,
        features=backbone.features, labels=trained.labels,
        input=Preprocessing.model_validate({
            "size": size, "crop": crop, "mean": mean, "std": std, "small": trained.small, "resize": trained.resize,
            "bits": trained.bits,
        }),
    )  # fmt: skip
    (folder / DESCRIPTION).write_text(made.model_dump_json(indent=1) + "\n", encoding="utf-8")
    tensors = {"weights": np.ascontiguousarray(trained.weights), "bias": np.ascontiguousarray(trained.bias)}
    (folder / PROBE).write_bytes(save_tensors(tensors))
    written = f"{DESCRIPTION} and {PROBE}: a probe on {trained.labels:,} training labels"
    try:
        import onnx  # noqa: F401
    except ModuleNotFoundError:
        return f"{written}; no {ONNX}, for which: pip install 'labelwise[onnx]'"
    write_onnx(trained, folder / ONNX)
    return f"{written}; {ONNX}: the same with its backbone"


def write_onnx(trained: Trained, path: Path) -> None:
    """Write the whole model. `pixels`: (n, 3, S, S) float32 RGB in 0..255 -> `probabilities`: (n, K); its metadata name
    the classes and the preprocessing. Errors: InputError for a backbone that ONNX cannot hold."""
    import onnx
    from timm.layers import set_exportable

    written: Any = io.BytesIO()  # paths are taken in UTF-8 alone; torch's types have forgotten open files
    size, crop = trained.input
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with torch.inference_mode(), warnings.catch_warnings(), set_exportable(True):
            warnings.simplefilter("ignore")  # of the exporter on sizes that are fixed here
            torch.onnx.export(
                whole(trained), (torch.zeros(1, 3, size, size),), written, dynamo=False, opset_version=OPSET,
                input_names=["pixels"], output_names=["probabilities"],
                dynamic_axes={"pixels": {0: "n"}, "probabilities": {0: "n"}},
            )  # fmt: skip
        model = onnx.load_from_string(written.getvalue())
        about = {"classes": json.dumps(list(trained.classes)), "size": str(size), "crop": str(crop)}
        about |= {"resize": trained.resize, "interpolation": "bicubic", "bits": str(trained.bits)}
        onnx.helper.set_model_props(model, {**about, "backbone": trained.learner.backbone, "transparent": "white"})
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString())
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"the backbone {trained.learner.backbone} cannot be written as ONNX: {reason}") from None
    finally:
        logging.getLogger("torch.onnx").setLevel(level)


def load(folder: Path, device: str = "auto") -> Trained:
    """Load an exported model and its backbone. Errors: InputError for what is none, or another backbone's."""
    where = folder / DESCRIPTION
    content = read_json(where, "a folder that labelwise exported a model to")
    try:
        about = Description.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{where}: {place}: {first['msg'].lower()}; export the model again") from None
    if len(set(about.classes)) < len(about.classes) or any(printable(name) != name for name in about.classes):
        raise InputError(f"{where}: classes: names stand there twice or cannot be shown; export the model again")
    weights, bias = _tensors(folder / PROBE, (about.features, len(about.classes)))
    learner = Learner.model_validate(
        {"kind": "probe", "backbone": about.backbone, "weights": about.weights, "device": device}
    )
    backbone = load_backbone(learner)
    trained = Trained(
        backbone, learner, tuple(about.classes), weights, bias, about.input.small, about.labels, about.name,
        about.input.bits, about.input.resize,
    )  # fmt: skip
    told = (about.fingerprint, about.features, about.input.size, about.input.crop, about.input.mean, about.input.std)
    if told != (backbone.fingerprint, backbone.features, *trained.input, list(backbone.mean), list(backbone.std)):
        raise InputError(
            f"{where}: made with other weights or preprocessing of {about.backbone} ({about.weights_used}) than "
            "there are here; use the versions it was made with, or export it again"
        )
    return trained


def _tensors(path: Path, shape: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    try:
        if path.stat().st_size > LARGEST_PROBE:
            raise ValueError("too large")
        tensors = load_tensors(path.read_bytes())
        weights, bias = tensors["weights"], tensors["bias"]
        if (weights.shape, bias.shape) != (shape, shape[1:]) or {weights.dtype, bias.dtype} != {np.dtype(np.float32)}:
            raise ValueError(f"shapes {weights.shape}, {bias.shape} for {shape[0]} features and {shape[1]} classes")
        if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
            raise ValueError("weights that are no numbers")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; export the model again") from None
    except Exception as error:  # damaged files raise nearly anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: not a probe: {reason}; export the model again") from None
    return weights, bias
