"""Small projects to label, and a real PostgreSQL server where one is installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from labelwise.labelling.events import Event
from labelwise.labelling.project import Project, made_or_opened
from pictures import encoded, picture, write


def photos(folder: Path, count: int = 30) -> Path:
    """Write `count` pictures that all differ."""
    for i in range(count):
        write(folder / f"{i:03}.png", encoded(picture(7, i, size=(24, 24))))
    return folder


def said(image: int, klass: int | None = 0, annotator: str = "me", **more: object) -> Event:
    """An answer for an image; `klass` None: unsure."""
    kind = "unsure" if klass is None else "label"
    return Event(str(uuid4()), kind, annotator, image, klass, **{"purpose": "test", **more})  # type: ignore[arg-type]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """30 pictures, two classes, a budget of 20."""
    folder = photos(tmp_path / "photos")
    with made_or_opened(folder, tmp_path / "home", None, ["cat", "dog"], {"budget": 20}) as opened:
        yield opened


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Callable[[], str]]:
    """A real PostgreSQL server; a call makes an empty database and returns its address."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    where = found[-1].parent if found else Path(shutil.which("initdb") or "/nowhere/initdb").parent
    if not (where / "initdb").exists():
        pytest.skip("no PostgreSQL here: apt-get install postgresql (CI does)")
    data = Path(tempfile.mkdtemp(prefix="labelwise-postgresql-"))  # pytest's own folders are closed to other users
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(data, "postgres")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    subprocess.run([*user, where / "initdb", "-D", data, "-U", "people", "-A", "trust"], check=True, **quiet)  # type: ignore[call-overload]
    options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1"
    control = [*user, where / "pg_ctl", "-D", data, "-w"]
    subprocess.run([*control, "-o", options, "start"], check=True, **quiet)  # type: ignore[call-overload]

    def make() -> str:
        import psycopg

        name = f"p{uuid4().hex}"
        with psycopg.connect(host="127.0.0.1", port=port, user="people", dbname="postgres", autocommit=True) as server:
            server.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://people@127.0.0.1:{port}/{name}"

    yield make
    subprocess.run([*control, "-m", "immediate", "stop"], check=False, **quiet)  # type: ignore[call-overload]
    shutil.rmtree(data, ignore_errors=True)
