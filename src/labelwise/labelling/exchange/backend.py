"""Label Studio's machine-learning backend: predictions of an exported model, or of a project, for its tasks.

Nothing is fetched from addresses in tasks: an image is found in one folder, by its content or its path. What Label
Studio sends beside tasks and configuration (access_token, login, password) is neither kept nor logged.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from labelwise.data.decode import UnreadableImageError
from labelwise.errors import InputError, one_line, printable
from labelwise.labelling.exchange.incoming import Finder
from labelwise.labelling.exchange.studio import prediction
from labelwise.labelling.exchange.studio_config import Control, parse_config
from labelwise.labelling.exchange.studio_read import image_of
from labelwise.labelling.exchange.trained import Single, Trained
from labelwise.labelling.folder import read_inside
from labelwise.labelling.store import Image

LARGEST = 16 * 2**20
"""Bytes of a request's body, at most."""
TASKS = 1_000
"""Tasks of a request, at most."""
WAITING = 100
"""Reports of Label Studio that wait to be looked at; more are dropped."""
SHOWN = 5
"""Tasks without a prediction that a request's line in the log names."""


@dataclass(frozen=True)
class Source:
    """Where the images are. images: of the folder, with their content's hash where it is known."""

    folder: Path
    images: Sequence[Image]


class Backend:
    """A model and its images. load: trains or reads the model again, when Label Studio says that something changed."""

    def __init__(self, source: Source, load: Callable[[], Trained]) -> None:
        self.source, self.load = source, load
        self.single = Single(load())
        self.finder = Finder(source.folder, source.images)
        self.hashed = all(image.sha256 for image in source.images)
        self.lock = threading.Lock()
        self.news: queue.Queue[str] = queue.Queue(WAITING)
        self.control: Control | None = None
        self.closed = False

    @property
    def version(self) -> str:
        """What the model is called."""
        return self.single.trained.name

    def configure(self, config: Any) -> Control:
        """Read Label Studio's configuration, and keep it for later requests without one. Errors: InputError."""
        if isinstance(config, str) and config.strip():
            self.control = parse_config(config, "label_config")
        if self.control is None:
            raise InputError("no label_config: set the project up first")
        return self.control

    def predict(self, tasks: list[Any], control: Control) -> list[dict[str, Any]]:
        """Return a prediction a task, in order: Label Studio drops all of them where their number is another one.

        A task that has none gets an empty result, and its reason goes to the log; the others are not held up by it.
        """
        results: list[dict[str, Any]] = []
        reasons: list[str] = []
        for number, task in enumerate(tasks, 1):
            try:
                results.append(self._predict(task, control))
            except Exception as error:  # tasks come from outside, and what breaks one must not break the others
                name = task.get("id", number) if isinstance(task, dict) else number
                reasons.append(printable(f"task {str(name)[:40]}: {str(error) or type(error).__name__}")[:300])
                results.append({"model_version": self.version, "score": 0.0, "result": []})
        if reasons:
            shown = "; ".join(reasons[:SHOWN]) + ("; ..." if len(reasons) > SHOWN else "")
            print(f"no prediction for {len(reasons):,} of {len(tasks):,} tasks: {shown}", file=sys.stderr, flush=True)
        return results

    def _predict(self, task: Any, control: Control) -> dict[str, Any]:
        """Return a task's prediction. Errors: of any kind, for a task without one."""
        data = task.get("data") if isinstance(task, dict) else None
        if not isinstance(data, dict):
            raise InputError("it has no data")
        path, sha256 = image_of(data, control, "its data")
        with self.lock:
            probs = self.single.predict(self._blob(path, sha256))
            best = int(probs.argmax())
            klass = self.single.trained.classes[best]
        said = control.said(klass)
        if said is None:
            raise InputError(f"the labelling configuration has no choice for the class '{klass}'")
        return prediction(said, round(float(probs[best]), 6), self.version, (control.from_name, control.to_name))

    def _blob(self, path: str, sha256: str) -> bytes:
        """Return the bytes of the image that a task means. Errors: UnreadableImageError where there is none."""
        for _ in range(2):
            image = self.finder.find(path, sha256)
            if image is not None:
                blob = read_inside(self.source.folder, image.path)
                if not sha256 or hashlib.sha256(blob).hexdigest() == sha256:
                    return blob
            if not sha256 or self.hashed:
                break
            self._hash_all()
        raise UnreadableImageError(f"its image is not in {self.source.folder.name}: {path[:200] or sha256}")

    def _hash_all(self) -> None:
        """Read every image once: a task names one by its content, and it is not where its path says."""
        found = []
        for image in self.source.images:
            try:
                content = read_inside(self.source.folder, image.path)
            except UnreadableImageError:
                continue
            found.append(replace(image, sha256=hashlib.sha256(content).hexdigest()))
        self.finder, self.hashed = Finder(self.source.folder, found), True

    def close(self) -> None:
        """Let `work` come to its end."""
        self.closed = True
        with contextlib.suppress(queue.Full):  # then it has something to look at anyway
            self.news.put_nowait("")

    def work(self) -> None:
        """Look at reports until the end: whatever changed, the model is loaded again, once for all that wait."""
        while True:
            self.news.get()
            while not self.news.empty():
                self.news.get()
            if self.closed:
                return
            try:
                fresh = Single(self.load())
                with self.lock:
                    self.single = fresh
            except InputError as error:  # the model that is there goes on
                print(f"the model was not loaded again: {error}", file=sys.stderr)


def make_app(backend: Backend, hosts: frozenset[str] | None = None, password: str = "") -> FastAPI:
    """Return the application. hosts: exact values of the Host header, None for any; password: of HTTP Basic, or ""."""
    app = FastAPI(title="labelwise", docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(InputError)
    def _input(_: Request, error: InputError) -> Response:
        return JSONResponse({"error": one_line(error)}, 400)

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Any]) -> Any:
        if hosts is not None and request.headers.get("host", "") not in hosts:
            return JSONResponse({"error": "this server does not answer to that name"}, 421)
        if password and not _knows(request.headers.get("authorization", ""), password):
            return JSONResponse({"error": "wrong password"}, 401, {"www-authenticate": "Basic"})
        return await call_next(request)

    @app.get("/")
    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "labelwise", "model_version": backend.version}

    @app.post("/setup")
    async def setup(request: Request) -> dict[str, str]:
        backend.configure((await _body(request)).get("schema"))
        return {"model_version": backend.version}

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        from fastapi.concurrency import run_in_threadpool

        body = await _body(request)
        tasks = body.get("tasks")
        if not isinstance(tasks, list) or len(tasks) > TASKS:
            raise InputError(f"tasks: a list of at most {TASKS:,} is needed")
        control = backend.configure(body.get("label_config"))
        results = await run_in_threadpool(backend.predict, tasks, control)
        return {"results": results, "model_version": backend.version}

    @app.post("/webhook")
    async def webhook(request: Request) -> Response:
        action = str((await _body(request)).get("action", ""))[:40]
        try:
            backend.news.put_nowait(action)  # nothing else of the report is kept
        except queue.Full:
            return JSONResponse({"status": "dropped: too many reports wait"}, 503)
        return JSONResponse({"status": "queued"}, 202)

    return app


def _knows(header: str, password: str) -> bool:
    kind, _, value = header.partition(" ")
    try:
        given = base64.b64decode(value, validate=True).partition(b":")[2] if kind.lower() == "basic" else b""
    except ValueError:
        return False
    return hmac.compare_digest(given, password.encode())


async def _body(request: Request) -> dict[str, Any]:
    """Return the body, a JSON object of bounded size. Errors: InputError."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise InputError("send JSON: Content-Type: application/json")
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > LARGEST:
            raise InputError(f"a request has at most {LARGEST >> 20} MiB")
    try:
        body = json.loads(bytes(content))
    except (ValueError, RecursionError):
        raise InputError("the body is not JSON") from None
    if not isinstance(body, dict):
        raise InputError("the body is no JSON object")
    return body
