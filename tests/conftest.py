"""Shared fixtures: a cache of the test run's own, tiny data sets and a learner without a backbone."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.setdefault("LABELWISE_CACHE", str(Path(tempfile.gettempdir()) / f"labelwise-tests-{os.getuid()}"))
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start what runs behind with Ctrl-C ignored
CIFAR10 = Path(__file__).resolve().parents[2] / "shared" / "cifar10"


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
