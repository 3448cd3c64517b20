"""One thread for torch in these tests: on a busy machine, threads that wait for each other take ten times longer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labelwise.models.backbone import torch_threads


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with torch_threads(1):
        yield
