"""Shared fixtures: a cache of the test run's own, tiny data sets and a learner without a backbone."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
KEPT = Path(tempfile.gettempdir()) / f"labelwise-tests-{os.getuid()}"
os.environ.setdefault("LABELWISE_CACHE", str(KEPT))
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start what runs behind with Ctrl-C ignored
LONG = (
    "cli/test_cli",
    "study/test_cluster",
    "study/test_workers",
    "study/test_side_by_side",
    "study/test_executor",
    "labelling/test_kill",
    "models/test_finetune",
    "models/test_kernels",
    "test_benchmarks_gpu",
)
"""Files that take longest begin first, so that no worker is left with one of them at the end."""
CIFAR10 = Path(__file__).resolve().parents[2] / "shared" / "cifar10"


def pytest_configure(config: pytest.Config) -> None:
    """Remove what runs of other days kept of pictures in their temporary folders: nobody can ask for it again."""
    if not hasattr(config, "workerinput"):
        for folder in KEPT.glob("images/*"):
            if time.time() - folder.stat().st_mtime > 86_400:
                shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        path = item.path.with_suffix("").as_posix()
        return next((i for i, name in enumerate(LONG) if path.endswith(name)), len(LONG))

    items.sort(key=place)


@pytest.fixture
def cifar10() -> Path:
    """The folder with the real CIFAR-10; the test is skipped, loudly, where it is not there."""
    if not (CIFAR10 / "train.parquet").exists():
        pytest.skip(f"needs the real CIFAR-10 in {CIFAR10}")
    return CIFAR10


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test's own."""
    monkeypatch.setenv("LABELWISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
