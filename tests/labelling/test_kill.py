"""`kill -9` of the server under a load of parallel clients: no acknowledged label is lost, none is doubled."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from tests.labelling.conftest import photos
from tests.labelling.served import TOKEN

from labelwise.labelling.store import ProjectStore

KILLS, CLIENTS, IMAGES = 50, 4, 40


class Client(threading.Thread):
    """Labels all the time; sends what was not acknowledged again, as the page does."""

    def __init__(self, port: int, name: str, stop: threading.Event) -> None:
        super().__init__()
        self.port, self.person, self.stop = port, name, stop
        self.made: set[str] = set()
        self.acknowledged: set[str] = set()
        self.refused: list[object] = []

    def run(self) -> None:
        rng = random.Random(self.person)
        base = f"http://127.0.0.1:{self.port}"
        cookies = {f"labelwise-{self.port}": TOKEN}
        with httpx.Client(base_url=base, headers={"origin": base}, cookies=cookies, timeout=5) as http:
            while not self.stop.is_set():
                events = [
                    {"uuid": str(uuid4()), "kind": "label", "image": rng.randint(1, IMAGES), "class": rng.randint(0, 1),
                     "purpose": "test", "seconds": 0.5}
                    for _ in range(rng.randint(1, 5))
                ]  # fmt: skip
                self.made |= {str(event["uuid"]) for event in events}
                self.send(http, events)

    def send(self, http: httpx.Client, events: list[dict[str, object]]) -> None:
        while True:
            try:
                answer = http.post("/api/answers", json={"annotator": self.person, "events": events})
                if answer.status_code == 200:
                    self.acknowledged |= set(answer.json()["accepted"])
                    self.refused += answer.json()["refused"]
                    return
            except httpx.HTTPError:
                time.sleep(0.05)
            if self.stop.is_set():
                return


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def start(*arguments: object) -> subprocess.Popen[bytes]:
    script = Path(__file__).parent / "served.py"
    return subprocess.Popen([sys.executable, script, *map(str, arguments)], stderr=subprocess.DEVNULL)


def wait(port: int) -> None:
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the server did not start")


def trial(tmp_path: Path, kills: int, db: str | None) -> None:
    port, stop = free_port(), threading.Event()
    arguments = [tmp_path / "home", photos(tmp_path / "photos", IMAGES), port, *([db] if db else [])]
    clients = [Client(port, f"person {i}", stop) for i in range(CLIENTS)]
    rng, server = random.Random(0), start(*arguments)
    wait(port)
    for client in clients:
        client.start()
    for _ in range(kills):
        time.sleep(rng.uniform(0.02, 0.4))  # at any moment: while starting, answering, writing
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        server = start(*arguments)
        if rng.random() < 0.8:
            wait(port)
    wait(port)
    time.sleep(0.5)
    stop.set()
    for client in clients:
        client.join()
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
    store = ProjectStore(db or tmp_path / "home" / "project.db")
    events = [event for event in store.events() if event.kind == "label"]
    store.engine.dispose()
    found = Counter(event.uuid for event in events)
    acknowledged = {uuid for client in clients for uuid in client.acknowledged}
    assert len(acknowledged) > kills
    assert acknowledged <= set(found), "an acknowledged label is lost"
    assert set(found) <= {uuid for client in clients for uuid in client.made}
    assert max(found.values()) == 1, "a label is there twice"
    assert not [reason for client in clients for reason in client.refused]
    assert [event.seq for event in store.events()] == list(range(1, len(events) + 3)), "no gap, none twice"
    store.engine.dispose()


@pytest.mark.slow
def test_fifty_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    trial(tmp_path, KILLS, None)


@pytest.mark.slow
def test_kills_beside_a_database_server_lose_and_double_nothing(tmp_path: Path, postgresql: Callable[[], str]) -> None:
    trial(tmp_path, 10, postgresql())
