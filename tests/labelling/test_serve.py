from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.labelling.conftest import photos

from labelwise.errors import InputError
from labelwise.labelling.server.address import bind, in_address, reachable
from labelwise.labelling.server.serve import _bound


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


@pytest.mark.slow
def test_a_signal_while_processes_are_being_born_prints_one_line_at_most(tmp_path: Path) -> None:
    """A terminal sends it to every process of the group; those behind were interrupted in their imports once."""
    folder = photos(tmp_path / "photos", 20)
    command = [sys.executable, "-m", "labelwise", "label", str(folder), "--classes", "a,b", "--no-browser"]
    line = "Stopped. What was finished is kept: run the same command again to go on."
    for how, wait in ((signal.SIGINT, 0), (signal.SIGINT, 0.2), (signal.SIGINT, 0.5), (signal.SIGTERM, 0.2)):
        server = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert server.stdout is not None
        assert "http://127.0.0.1" in server.stdout.readline()
        time.sleep(wait)
        os.killpg(server.pid, how)
        said = server.communicate(timeout=60)[1]
        assert said.splitlines() == ([line] if how == signal.SIGINT else [])
        assert server.returncode == 128 + how


def test_a_project_keeps_its_port_where_that_is_free() -> None:
    """What a browser has not sent yet waits for the same address."""
    with _bound("127.0.0.1", 0, 0) as first:
        port = first.getsockname()[1]
        first.listen()
        with _bound("127.0.0.1", 0, port) as other:
            assert other.getsockname()[1] != port, "taken: a free one"
        with pytest.raises(InputError, match="choose another --port"):
            _bound("127.0.0.1", port, 0)
    with _bound("127.0.0.1", 0, port) as again, socket.socket() as free:
        assert again.getsockname()[1] == port
        free.bind(("127.0.0.1", 0))
        asked = free.getsockname()[1]
        free.close()
        with _bound("127.0.0.1", asked, port) as given:
            assert given.getsockname()[1] == asked


@pytest.mark.parametrize(
    ("name", "why"),
    [("0.0.0.0", "no address that others can open"), ("::", "no address that others can open"),
     ("nowhere.invalid", "give the name or address at which others"), ("this-one", "means this machine alone here")],
)  # fmt: skip
def test_addresses_at_which_nobody_could_open_the_page(name: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo
    own = "127.0.1.1"  # what Debian calls a machine's own name
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **k: real(own if host == "this-one" else host, *a, **k))
    with pytest.raises(InputError, match=why):
        reachable(name)


def test_addresses_as_browsers_write_them() -> None:
    assert [reachable(name) for name in ("127.0.0.1", "localhost", "[::1]")] == ["127.0.0.1", "localhost", "::1"]
    assert [in_address(name) for name in ("Lab-PC", "::1", "192.0.2.9")] == ["lab-pc", "[::1]", "192.0.2.9"]
    with pytest.raises(InputError, match=r"cannot listen on 192\.0\.2\.9:0: .*; give the name or address"):
        bind("192.0.2.9", 0)


@pytest.mark.slow
def test_the_same_command_opens_the_same_address_again(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 5)
    command = [sys.executable, "-m", "labelwise", "label", str(folder), "--classes", "a,b", "--no-browser"]
    ports = []
    for _ in range(2):
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert server.stdout is not None
        ports.append(server.stdout.readline().split("127.0.0.1:")[1].split("/")[0])
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=60)
    assert ports[0] == ports[1]
