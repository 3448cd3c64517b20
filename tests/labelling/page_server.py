"""A small server that speaks the page's protocol from memory, for states that are hard to reach with the real one.

Run it to look at the page: PYTHONPATH=tests python -m labelling.page_server
"""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

from labelling.photos import CLASSES, photo

PAGE = Path(__file__).parents[2] / "src" / "labelwise" / "labelling" / "page"
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
WHY_NOT = "It needs labels of two classes to train on, beside the test images: go on labelling."
Answer = tuple[int, dict[str, Any]]


class FakeProject:
    """Labels in memory; tests set its fields.

    `state`: laid over what /api/state says; `fail`: path -> status; `purposes`: image -> what its offer says otherwise.
    """

    def __init__(self, images: int = 60, classes: tuple[str, ...] = CLASSES, test: int = 5) -> None:
        self.lock = threading.Lock()
        self.images = list(range(1, images + 1))
        self.classes = [{"id": i, "name": name, "count": 0} for i, name in enumerate(classes)]
        self.before: list[dict[str, Any]] = []  # the classes before the last merge
        self.merged: dict[str, Any] | None = None
        self.waiting: dict[str, Any] | None = None  # who holds what is left
        self.test = test
        self.state: dict[str, Any] = {}
        self.fail: dict[str, int] = {}
        self.purposes: dict[int, dict[str, Any]] = {}  # image -> what its offer says otherwise
        self.reviews: list[dict[str, Any]] = []
        self.broken: set[int] = set()
        self.refuse: dict[int, str] = {}  # image -> reason
        self.requests: list[tuple[str, Any]] = []
        self.events: dict[str, dict[str, Any]] = {}  # uuid -> event, in the order of arrival
        self.received = 0  # events that arrived, repeats included
        self.budget = 200
        self.deaf = 0  # so many requests with answers are taken, and not acknowledged
        self.served: list[int] = []  # images sent in full

    def standing(self) -> dict[int, dict[str, Any]]:
        """Image -> the answer that stands."""
        undone = {event["undoes"] for event in self.events.values()}
        answers = [event for event in self.events.values() if event["kind"] != "undo" and event["uuid"] not in undone]
        return {event["image"]: event for event in answers}

    def labels(self) -> dict[int, int]:
        return {image: event["class"] for image, event in self.standing().items() if event["kind"] == "label"}

    def api_state(self, query: dict[str, str], body: Any) -> Answer:
        labels = self.labels()
        for cls in self.classes:
            cls["count"] = sum(label == cls["id"] for label in labels.values())
        done = len(labels)
        said = {
            "project": {
                "name": "photos", "images": len(self.images), "unreadable": 0, "not_used": [], "budget": self.budget,
                "overlap": 1, "strategy": "margin", "backbone": "efficientnet_lite0",
            },
            "classes": self.classes, "merge": self.merged,
            "phase": "test" if done < self.test else "train", "done": done,
            "goal": self.state.get("project", {}).get("budget", self.budget), "waiting": 0,
            "test": {"done": min(done, self.test), "size": self.test, "undecided": 0},
            "seconds_per_label": 1.4 if done else None, "minutes_left": 3.2 if done else None,
            "accuracy": None, "model": None, "no_model": WHY_NOT, "work": [], "curve": [],
            "advice": {"say": "cannot tell yet", "why": "There is no model yet."},
            "helping": {"say": "cannot tell yet", "why": "There is no model yet."},
            "people": [], "agreement": None, "consistency": None, "review": len(self.reviews), "problem": None,
            "version": len(self.events),
        }  # fmt: skip
        return 200, {**said, **self.state, "project": {**said["project"], **self.state.get("project", {})}}

    def api_next(self, query: dict[str, str], body: Any) -> Answer:
        have = {int(image) for image in query["have"].split(",") if image}
        taken = have | self.standing().keys()
        free = [image for image in self.images if image not in taken][: int(query["n"])]
        phase = "train" if free or have else "done"
        offers = [self.offer(image) for image in free]
        return 200, {"phase": self.state.get("phase", phase), "offers": offers, "waiting": self.waiting}

    def offer(self, image: int) -> dict[str, Any]:
        usual: dict[str, Any] = (
            {"purpose": "test", "why": "Drawn at random for the test slice.", "suggestion": None}
            if image <= self.test
            else {
                "purpose": "picked", "why": "The model wavers between flower and leaves.",
                "why_unnamed": "The model wavers between two classes.",
                "suggestion": {"class": image % len(self.classes), "probability": 0.83},
            }
        )  # fmt: skip
        return {"image": image, "round": None, "given": None, **usual, **self.purposes.get(image, {})}

    def api_answers(self, query: dict[str, str], body: Any) -> Answer:
        accepted, refused = [], []
        for event in body["events"]:
            self.received += 1
            if event["image"] in self.refuse:
                refused.append({"uuid": event["uuid"], "reason": self.refuse[event["image"]]})
                continue
            self.events.setdefault(event["uuid"], {**event, "annotator": body["annotator"]})
            accepted.append(event["uuid"])
        self.reviews = [item for item in self.reviews if item["image"] not in self.labels()]
        if self.deaf:
            self.deaf -= 1
            return 500, {"error": "the answer was lost"}
        return 200, {"accepted": accepted, "refused": refused}

    def api_classes(self, query: dict[str, str], body: Any) -> Answer:
        if body["kind"] in ("add", "rename") and any(cls["name"] == body["name"] for cls in self.classes):
            return 409, {"error": f"There is a class {body['name']} already."}
        if body["kind"] == "add":
            self.classes.append({"id": len(self.classes), "name": body["name"], "count": 0})
        elif body["kind"] == "rename":
            next(cls for cls in self.classes if cls["id"] == body["class"])["name"] = body["name"]
        elif body["kind"] == "merge":
            self.merge(body["uuid"], body["class"], body["into"])
        elif self.merged is None or self.merged["uuid"] != body["undoes"]:
            return 409, {"error": "that merge was taken back already"}
        else:
            self.classes, self.merged = self.before, None
        return 200, {"classes": self.classes}

    def merge(self, uuid: str, klass: int, into: int) -> None:
        """One class becomes part of another, as when somebody else does it."""
        names = {cls["id"]: cls["name"] for cls in self.classes}
        self.before = self.classes
        self.merged = {"uuid": uuid, "class": klass, "name": names[klass], "into": into, "into_name": names[into]}
        self.classes = [cls for cls in self.classes if cls["id"] != klass]

    def api_grid(self, query: dict[str, str], body: Any) -> Answer:
        standing = self.standing()
        free = [image for image in reversed(self.images) if image not in standing and image > self.test]
        mine = [image for image in free if image % len(self.classes) == int(query["class"])][: int(query["n"])]
        return 200, {"items": [{"image": image, "probability": 0.99 - i / 100} for i, image in enumerate(mine)]}

    def api_review(self, query: dict[str, str], body: Any) -> Answer:
        return 200, {"items": self.reviews}

    def api_history(self, query: dict[str, str], body: Any) -> Answer:
        undone = {event["undoes"] for event in self.events.values()}
        mine = [e for e in self.events.values() if e["annotator"] == query["annotator"]]
        past = [e for e in mine if e["kind"] != "undo" and e["uuid"] not in undone]
        keys = ("uuid", "image", "kind", "class", "purpose", "round")
        return 200, {"items": [{key: event[key] for key in keys} for event in past[::-1][: int(query["n"])]]}

    def api_unreadable(self, query: dict[str, str], body: Any) -> Answer:
        return 200, {"items": self.state.get("unreadable", [])}

    def api_export(self, query: dict[str, str], body: Any) -> Answer:
        return 200, {
            "path": f"photos.labelwise/export/{body['format']}",
            "note": f"{len(self.labels())} labels written.",
        }

    def api_rescan(self, query: dict[str, str], body: Any) -> Answer:
        self.images += range(len(self.images) + 1, len(self.images) + 4)
        return 200, {"added": 3, "missing": 0}

    def api_settings(self, query: dict[str, str], body: Any) -> Answer:
        self.budget = body.get("budget", self.budget)
        return 200, {}

    def api_login(self, query: dict[str, str], body: Any) -> Answer:
        return (200, {}) if body["password"] == "open" else (401, {"error": "wrong password"})

    def answer(self, path: str, query: dict[str, str], body: Any) -> Answer:
        name = path.removeprefix("/api/")
        handle: Callable[[dict[str, str], Any], Answer] | None = getattr(self, f"api_{name}", None)
        with self.lock:
            self.requests.append((name, body if body is not None else query))
            if name in self.fail:
                return self.fail[name], {"error": f"failed with {self.fail[name]}"}
            return handle(query, body) if handle else (404, {"error": "no such address"})

    def jpeg(self, image: int, size: int) -> bytes | None:
        if image in self.broken:
            return None
        file = io.BytesIO()
        photo(CLASSES[image % len(CLASSES)], image, size).save(file, "JPEG", quality=80)
        return file.getvalue()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    project: FakeProject
    width: int

    def reply(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "max-age=3600" if kind == "image/jpeg" else "no-store")
        self.end_headers()
        self.wfile.write(content)

    def reply_json(self, status: int, data: dict[str, Any]) -> None:
        self.reply(status, "application/json", json.dumps(data).encode())

    def do_GET(self) -> None:
        url = urlparse(self.path)
        if url.path.startswith("/api/images/"):
            _, _, _, image, size = url.path.split("/")
            content = self.project.jpeg(int(image), 256 if size == "thumb" else self.width)
            if content is None:
                return self.reply_json(404, {"error": "unreadable"})
            self.project.served += [int(image)] * (size == "view")
            return self.reply(200, "image/jpeg", content)
        if url.path.startswith("/api/"):
            query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
            return self.reply_json(*self.project.answer(url.path, query, None))
        name = {"/": "index.html", "/login": "login.html"}.get(url.path, url.path.removeprefix("/page/"))
        if name not in {path.name for path in PAGE.iterdir()}:
            return self.reply_json(404, {"error": "no such page"})
        return self.reply(200, TYPES[Path(name).suffix], (PAGE / name).read_bytes())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Content-Type"] == "application/json"
        self.reply_json(*self.project.answer(self.path, {}, body))

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: tests read `requests`."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a page that was closed in the middle
            super().handle_error(request, client_address)


def serve(project: FakeProject, port: int = 0, width: int = 800) -> Server:
    """A running server of the project; `shutdown()` ends it."""
    server = Server(("127.0.0.1", port), type("Bound", (Handler,), {"project": project, "width": width}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


if __name__ == "__main__":
    running = serve(FakeProject(), 8765)
    print("http://127.0.0.1:8765/")
    threading.Event().wait()
