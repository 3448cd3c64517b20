"""The routes: each takes a checked form, asks the desk, and returns plain data. The page's own files are beside it."""

from __future__ import annotations

import asyncio
import hmac
from pathlib import Path
from typing import Annotated, Any
from weakref import WeakValueDictionary

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException

from labelwise.data.decode import UnreadableImageError
from labelwise.errors import InputError, one_line, printable
from labelwise.labelling import status
from labelwise.labelling.desk import Desk
from labelwise.labelling.server.forms import Answers, ClassChange, Export, Login, NewSettings, Nothing, Problem
from labelwise.labelling.server.guard import Access, Guard
from labelwise.labelling.server.views import Views

PAGE = Path(__file__).parent.parent / "page"
KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
         ".css": "text/css; charset=utf-8"}  # fmt: skip
KEEP = {"cache-control": "private, no-cache"}  # kept, but asked for each time: the next project has other images
REFUSALS: dict[int | str, str] = {
    400: "no JSON", 401: "no cookie, or a wrong password", 403: "a write from elsewhere", 404: "not there",
    405: "no such method", 409: "refused, with the reason", 413: "too large", 415: "no JSON",
    421: "another host's name", 422: "not as described", 503: "the server is closing",
    507: "nothing could be written; try again",
}  # fmt: skip
SLOW = 1.0
"""Seconds that a wrong password costs."""
Person = Annotated[str, Query(min_length=1, max_length=100)]
Was = Annotated[str, Query(max_length=100)]
Count = Annotated[int, Query(ge=1, le=100)]
Ids = Annotated[str, Query(max_length=2000, pattern=r"^[\d,]*$")]


class Jpeg(Response):
    """A picture."""

    media_type = "image/jpeg"


def make_app(desk: Desk, access: Access, views: Views) -> Guard:
    """Return the ASGI application of a project, behind its guard."""
    app = FastAPI(
        title="labelwise", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json",
        responses={code: {"model": Problem, "description": said} for code, said in REFUSALS.items()},
    )  # fmt: skip
    _errors(app)
    _page(app, access)
    _labelling(app, desk, views)
    _project(app, desk)
    return Guard(app, access)


def _errors(app: FastAPI) -> None:
    """Answer every error with one line of JSON."""

    @app.exception_handler(HTTPException)
    def _http(_: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": str(error.detail)}, error.status_code)

    @app.exception_handler(RequestValidationError)
    def _form(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return JSONResponse({"error": f"{where}: {first['msg'].removeprefix('Value error, ')}".lstrip(": ")}, 422)

    @app.exception_handler(InputError)
    def _input(_: Request, error: InputError) -> Response:
        return JSONResponse({"error": one_line(error)}, 409)


def _page(app: FastAPI, access: Access) -> None:
    @app.get("/", include_in_schema=False)
    def index() -> Response:
        return _file("index.html")

    @app.get("/login", include_in_schema=False)
    def login_page() -> Response:
        return _file("login.html")

    @app.get("/page/{name}", include_in_schema=False)
    def file(name: str) -> Response:
        return _file(name)

    # Tries come one after the other, however many are sent at once; a lock lives while an address has tries that wait
    turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @app.post("/api/login")
    async def login(form: Login, request: Request) -> Response:
        address = request.client.host if request.client else ""
        turn = turns.setdefault(address, asyncio.Lock())
        async with turn:
            if not access.password or not hmac.compare_digest(form.password.encode(), access.password.encode()):
                await asyncio.sleep(SLOW)
                raise HTTPException(401, "that is not the password")
        return JSONResponse({}, headers={"set-cookie": access.set_cookie()})


def _file(name: str) -> Response:
    path = PAGE / name
    if path.parent != PAGE or path.suffix not in KINDS or not path.is_file():
        raise HTTPException(404, "there is no such file")
    return FileResponse(path, media_type=KINDS[path.suffix], headers={"cache-control": "no-cache"})


def _labelling(app: FastAPI, desk: Desk, views: Views) -> None:
    @app.get("/api/state")
    def state(annotator: Person) -> dict[str, Any]:
        return status.state(desk, annotator)

    @app.get("/api/next")
    def next_images(annotator: Person, n: Count = 8, have: Ids = "", was: Was = "") -> dict[str, Any]:
        held = [int(word) for word in have.split(",") if word and len(word) < 10]
        with desk.lock:  # the phase fits the offers
            found = desk.next(annotator, n, held, was)
            phase = status.phase(desk, annotator, empty=not found and not held)
            waiting = status.waiting(desk, annotator) if phase == "nothing" else None
            return {"phase": phase, "offers": [status.offered(desk, offer) for offer in found], "waiting": waiting}

    @app.post("/api/answers")
    def answers(form: Answers) -> Response:
        try:
            accepted, refused = desk.answer([answer.event(form.annotator) for answer in form.events])
        except InputError as error:  # nothing of it is on disk: the page keeps it and tries again
            return JSONResponse({"error": one_line(error)}, 507)
        return JSONResponse({"accepted": accepted, "refused": refused})

    @app.get("/api/images/{image}/{size}", response_class=Jpeg)
    def picture(request: Request, image: int, size: str) -> Response:
        if size not in views.sides:
            raise HTTPException(404, f"there is no size '{size}'; known: {', '.join(views.sides)}")
        try:
            path = desk.path(image)
            content = views.content(path)
            desk.check_content(image, content)
            headers = {**KEEP, "etag": f'"{content}"'}
            if request.headers.get("if-none-match") == headers["etag"]:
                return Response(status_code=304, headers=headers)
            shown = views.get(path, content, size)
        except UnreadableImageError as error:
            desk.unreadable(image, error)
            raise HTTPException(404, str(error)) from None
        except InputError as error:
            raise HTTPException(404, str(error)) from None
        if shown is None:  # the page asks again, and finds the next server, or the depth of 16-bit images
            raise HTTPException(503, "the server is closing, or still reads the images")
        return Jpeg(shown, headers=headers)

    @app.get("/api/grid")
    def grid(annotator: Person, klass: Annotated[int, Query(alias="class", ge=0)], n: Count = 24) -> dict[str, Any]:
        return {"items": [{"image": i, "probability": p} for i, p in desk.grid(annotator, klass, n)]}

    @app.get("/api/history")
    def history(annotator: Person, n: Annotated[int, Query(ge=1, le=1000)] = 50) -> dict[str, Any]:
        return {"items": status.history(desk, annotator, n)}

    @app.get("/api/review")
    def review() -> dict[str, Any]:
        return {"items": status.review(desk)}


def _project(app: FastAPI, desk: Desk) -> None:
    @app.post("/api/classes")
    def classes(form: ClassChange) -> dict[str, Any]:
        _, refused = desk.answer([form.event()])
        if refused:
            raise InputError(refused[0]["reason"])
        return {"classes": status.state(desk, form.annotator)["classes"]}

    @app.get("/api/unreadable")
    def unreadable() -> dict[str, Any]:
        with desk.lock:
            bad = [image for image in desk.images if image.status in ("unreadable", "missing")]
        return {"items": [{"path": image.path, "reason": image.reason} for image in bad[:1000]]}

    @app.post("/api/rescan")
    def rescan(_: Nothing) -> dict[str, Any]:
        added, missing = desk.rescan()
        return {"added": added, "missing": missing}

    @app.post("/api/settings")
    def settings(form: NewSettings) -> dict[str, Any]:
        desk.set_budget(form.budget)
        return {}

    @app.post("/api/export")
    def export(form: Export) -> dict[str, Any]:
        from labelwise.labelling.exchange import export_to

        path, note = export_to(desk.snapshot(), form.format, desk.project.home / "exports", desk.project.settings)
        return {"path": printable(str(path.resolve())), "note": printable(note)}
