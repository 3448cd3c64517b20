"""Serving Label Studio's machine-learning backend until Ctrl-C."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn

from labelwise.errors import InputError
from labelwise.labelling.exchange import model
from labelwise.labelling.exchange.backend import Backend, Source, make_app
from labelwise.labelling.exchange.home import fit_project, read_only
from labelwise.labelling.exchange.trained import Trained
from labelwise.labelling.folder import scan
from labelwise.labelling.server.address import LOOPBACK, bind, in_address
from labelwise.labelling.store import Image

HERE = (LOOPBACK, "localhost", "host.docker.internal")
"""Names of this machine: the last is what Label Studio's container calls it."""


def sources(path: Path, images: Path | None, db: str | None) -> tuple[Source, Callable[[], Trained]]:
    """Return where the images are, and how the model is loaded: from an exported one, or trained on a project's labels.

    Errors: InputError for what is neither, and an exported model without a folder of images.
    """
    if (path / model.DESCRIPTION).is_file():
        if images is None or not images.is_dir():
            raise InputError("--images: an exported model needs the folder of the images; give it")
        found = [f for f in scan(images).images if not f.problem]
        return Source(
            images, [Image(i, f.path, f.bytes, f.mtime_ns) for i, f in enumerate(found, 1)]
        ), lambda: model.load(path)
    if images is not None:
        raise InputError(f"--images: {path} is no exported model; a project has its own folder of images")

    def trained() -> Trained:
        with read_only(path, db) as project:
            return fit_project(project.snapshot(), project.cache, project.settings)

    with read_only(path, db) as project:
        return Source(project.images, project.store.images()), trained


def serve(
    source: Source,
    load: Callable[[], Trained],
    port: int,
    remote: str | None,
    password: str,
    say: Callable[[str], None],
) -> None:
    """Serve; port: 0 for a free one; remote: the name or address for other machines, with a password, or None."""
    backend = Backend(source, load)
    listener = bind(remote or LOOPBACK, port)
    port = listener.getsockname()[1]
    names = (in_address(remote),) if remote else HERE
    hosts = frozenset(f"{name}:{port}" for name in names)
    config = uvicorn.Config(
        make_app(backend, hosts, password), log_level="warning", access_log=False, server_header=False, ws="none",
        timeout_graceful_shutdown=3,
    )  # fmt: skip
    worker = threading.Thread(target=backend.work, daemon=True)
    worker.start()
    say(f"Label Studio's ML backend ({backend.version}): http://{names[0]}:{port}. Ctrl-C stops.")
    try:
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
    finally:
        backend.close()
        worker.join()  # PyTorch does not take it well to be left in the middle of its work
