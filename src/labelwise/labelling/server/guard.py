"""What stands between the network and the project: exact hosts and origins, a cookie, JSON only, strict headers."""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from html import escape
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.exceptions import HTTPException

LARGEST = 2**20
"""Bytes of a request's body, at most."""
TOO_LARGE = f"a request has at most {LARGEST >> 20} MiB"
OPEN = ("/login", "/page/style.css", "/page/login.js", "/page/icon.svg")
"""What is shown to people who have not logged in."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
    "x-frame-options": "DENY", "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}  # fmt: skip
OPENER = {"cross-origin-opener-policy": "same-origin"}
"""Browsers take it over HTTPS and from loopback, and complain of it elsewhere."""
REFUSED = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>labelwise</title></head>
<body><h1>labelwise</h1><p>This page cannot be shown: {}.</p></body></html>
"""
"""What a browser shows where a request is refused."""
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class Access:
    """Who may talk to the server. hosts: exact values of the Host header; token: the cookie's; password: or ""."""

    hosts: frozenset[str]
    token: str
    cookie: str
    password: str = ""

    def knows(self, given: str) -> bool:
        """Return whether a token is ours, in a time that says nothing of how much of it is right."""
        return hmac.compare_digest(given.encode(), self.token.encode())

    def set_cookie(self) -> str:
        """Return the header's value that lets a browser in."""
        return f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"


class Guard:
    """ASGI middleware: lets a request through to the app, or answers it itself."""

    def __init__(self, app: Any, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets here
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        strict = {**HEADERS, **(OPENER if _is_trustworthy(scope, headers) else {})}
        if scope["method"] == "GET" and scope["path"] == "/" and scope["query_string"] and self._host(headers):
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            if not self.access.password and self.access.knows(given):
                await _answer(send, 303, "", {**strict, "location": "/", "set-cookie": self.access.set_cookie()})
                return
        status, problem = self._refusal(scope, headers)
        if status == 401 and scope["path"] == "/" and self.access.password:
            await _answer(send, 303, "", {**strict, "location": "/login"})
        elif status:
            await _answer(send, status, problem, strict, page="text/html" in headers.get("accept", ""))
        else:
            await self._through(scope, receive, send, strict)

    def _host(self, headers: dict[str, str]) -> bool:
        return headers.get("host", "") in self.access.hosts

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str]:
        """Return the status and the reason why a request is refused, or (0, "")."""
        if not self._host(headers):
            return 421, "this server does not answer to that name"
        if scope["method"] not in ("GET", "HEAD"):
            status, problem = self._bad_write(headers)
            if status:
                return status, problem
        path = scope["path"]
        if self.access.password and (path in OPEN or (path == "/api/login" and scope["method"] == "POST")):
            return 0, ""
        if not self.access.knows(_cookie(headers, self.access.cookie)):
            link = "open the link that labelwise printed in the terminal"
            return 401, "sign in again" if self.access.password else link
        return 0, ""

    def _bad_write(self, headers: dict[str, str]) -> tuple[int, str]:
        """Return why a write is refused whoever asks, or (0, "")."""
        if headers.get("origin", "") not in {f"http://{host}" for host in self.access.hosts}:
            return 403, "writes are taken from the page itself only"
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return 415, "send JSON: Content-Type: application/json"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > LARGEST:
            return 413, TOO_LARGE
        return 0, ""

    async def _through(self, scope: Scope, receive: Receive, send: Send, strict: dict[str, str]) -> None:
        """Pass a request on with a limit on its body, and its answer back with strict headers."""
        size = 0

        async def counted() -> MutableMapping[str, Any]:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > LARGEST:
                raise HTTPException(413, TOO_LARGE)  # the app answers with it
            return message

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message["headers"] if name.decode().lower() not in strict]
                message["headers"] = kept + [(name.encode(), value.encode()) for name, value in strict.items()]
            await send(message)

        await self.app(scope, counted, guarded)


def _cookie(headers: dict[str, str], name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def _is_trustworthy(scope: Scope, headers: dict[str, str]) -> bool:
    """Return whether a browser takes the address for a secure one: HTTPS, or this machine itself."""
    try:
        name = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        return scope.get("scheme") == "https" or name == "localhost" or ip_address(name).is_loopback
    except ValueError:  # a name
        return False


async def _answer(send: Send, status: int, problem: str, more: dict[str, str], page: bool = False) -> None:
    """Answer without the app: with nothing, or the problem as JSON, or as a page for people."""
    text = REFUSED.format(escape(problem)) if page else json.dumps({"error": problem})
    body = text.encode() if problem else b""
    headers = {
        **more,
        "content-type": "text/html; charset=utf-8" if page else "application/json",
        "content-length": str(len(body)),
        "cache-control": "no-store",
    }
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
