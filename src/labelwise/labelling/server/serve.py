"""Serving a project until Ctrl-C."""

from __future__ import annotations

import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable

import uvicorn

from labelwise.errors import InputError
from labelwise.labelling.desk import Desk
from labelwise.labelling.project import Project
from labelwise.labelling.server.address import LOOPBACK, bind, in_address
from labelwise.labelling.server.app import make_app
from labelwise.labelling.server.guard import Access
from labelwise.labelling.server.views import Views


def serve(project: Project, port: int, remote: str | None, password: str, ready: Callable[[str], None]) -> None:
    """Serve a project's page; `ready` is called with its address as soon as it answers.

    port: 0 for the project's last one, or a free one if that is taken: what a browser has not sent yet waits for the
    same address; remote: the name or address that other machines use, with a password, or None for this
    machine alone. Errors: InputError for a port that is taken or an address that is not this machine's.
    """
    listener = _bound(remote or LOOPBACK, port, project.settings.port)
    port = listener.getsockname()[1]
    if port != project.settings.port:
        project.set(port=port)
    names = [in_address(remote)] if remote else [LOOPBACK, "localhost"]
    hosts = frozenset(f"{name}:{port}" for name in names) | frozenset(names if port == 80 else ())
    access = Access(hosts, secrets.token_urlsafe(24), f"labelwise-{port}", password)
    desk = Desk(project)
    views = Views(project.images, project.cache, lambda: project.settings.bits)
    config = uvicorn.Config(
        make_app(desk, access, views), log_level="warning", access_log=False, server_header=False,
        timeout_keep_alive=60, timeout_graceful_shutdown=3, ws="none",
    )  # fmt: skip
    server = uvicorn.Server(config)
    address = f"http://{names[0]}:{port}/" + ("" if password else f"?token={access.token}")
    threading.Thread(target=views.start, daemon=True).start()  # the first image does not wait for it
    threading.Thread(target=_tell, args=(server, lambda: ready(address)), daemon=True).start()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
    )  # raised again by uvicorn when it has ended
    desk.start()
    try:
        server.run(sockets=[listener])
    finally:
        try:
            desk.close()
        finally:
            views.close()


def _tell(server: uvicorn.Server, ready: Callable[[], None]) -> None:
    while not server.started:
        time.sleep(0.01)
    ready()


def _bound(host: str, port: int, last: int) -> socket.socket:
    if not port and last:
        try:
            return bind(host, last)
        except InputError:
            pass  # taken
    return bind(host, port)
