"""A project's server without the processes behind it, for tests: `python served.py HOME FOLDER PORT [DB]`."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn

from labelwise.labelling.desk import Desk
from labelwise.labelling.project import Project, made_or_opened
from labelwise.labelling.server.app import make_app
from labelwise.labelling.server.guard import Access, Guard
from labelwise.labelling.server.views import Views

TOKEN = "token-of-the-tests"


def access(port: int, password: str = "") -> Access:
    return Access(frozenset({f"127.0.0.1:{port}", f"localhost:{port}"}), TOKEN, f"labelwise-{port}", password)


def app(project: Project, port: int = 80, password: str = "") -> tuple[Guard, Desk, Views]:
    desk, views = Desk(project), Views(project.images, project.cache)
    return make_app(desk, access(port, password), views), desk, views


if __name__ == "__main__":
    home, folder, port = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    with made_or_opened(
        folder, home, sys.argv[4] if len(sys.argv) > 4 else None, ["cat", "dog"], {"budget": 10**6}
    ) as p:
        uvicorn.run(app(p, port)[0], port=port, log_level="critical", access_log=False, ws="none")
