from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.labelling.conftest import photos


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_server_that_ends_leaves_no_process_behind(tmp_path: Path, how: signal.Signals) -> None:
    """Every process behind inherits the output: it ends only when all of them have."""
    folder = photos(tmp_path / "photos", 300)
    command = [sys.executable, "-m", "labelwise", "label", str(folder), "--classes", "a,b", "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert server.stdout is not None
    assert "http://127.0.0.1" in server.stdout.readline()
    server.send_signal(how)
    server.communicate(timeout=60)
