"""The server as an attacker and as a clumsy client meet it, and its routes as the page uses them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient
from tests.labelling.served import TOKEN, app
from tests.labelling.test_decoding import bomb

from labelwise.labelling.desk import Desk
from labelwise.labelling.offers import Offer
from labelwise.labelling.project import Project, made_or_opened, opened
from labelwise.labelling.server.guard import LARGEST, POLICY, Access, Guard
from labelwise.labelling.status import offered
from labelwise.labelling.store import ProjectStore
from pictures import encoded, picture, write

HOST = "127.0.0.1:80"
ORIGIN = {"origin": f"http://{HOST}"}


class Server:
    """A project's app, met through HTTP."""

    def __init__(self, project: Project, password: str = "") -> None:
        made, self.desk, self.views = app(project, password=password)
        self.project = project
        self.anonymous = TestClient(
            made, base_url=f"http://{HOST}", follow_redirects=False, raise_server_exceptions=False
        )
        self.http = TestClient(made, base_url=f"http://{HOST}", follow_redirects=False, raise_server_exceptions=False)
        self.http.cookies.set("labelwise-80", TOKEN)
        for client in (self.anonymous, self.http):
            client.headers["host"] = HOST

    def get(self, path: str, **params: Any) -> Any:
        answer = self.http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return self.http.post(
            path, content=json.dumps(body), headers={**ORIGIN, "content-type": "application/json", **headers}
        )

    def label(self, image: int, /, klass: int | None = 0, who: str = "me", **more: Any) -> dict[str, Any]:
        event = {"uuid": str(uuid4()), "kind": "unsure" if klass is None else "label", "image": image, "class": klass,
                 "purpose": "test"}  # fmt: skip
        return {"annotator": who, "events": [{**event, **more}]}


@pytest.fixture
def server(project: Project) -> Iterator[Server]:
    made = Server(project)
    yield made
    made.desk.close()
    made.views.close()


# --- attacks --------------------------------------------------------------------------------------------------------


def test_without_the_cookie_nothing_is_told(server: Server) -> None:
    for path in ("/", "/page/app.js", "/api/state?annotator=me", "/api/images/1/view", "/api/openapi.json", "/login"):
        answer = server.anonymous.get(path)
        assert (answer.status_code, list(answer.json())) == (401, ["error"]), path
    assert server.anonymous.post("/api/answers", json=server.label(1), headers=ORIGIN).status_code == 401
    server.anonymous.cookies.set("labelwise-80", "guess")
    assert server.anonymous.get("/api/state?annotator=me").status_code == 401


def test_a_browser_without_the_cookie_gets_a_page_and_programs_get_json(server: Server) -> None:
    accept = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for path, host, status, said in (
        ("/", HOST, 401, "open the link that labelwise printed in the terminal"),
        ("/?token=old", HOST, 401, "open the link"),
        ("/<script>alert(1)</script>", HOST, 401, "open the link"),
        ("/", "<b>evil", 421, "this server does not answer to that name"),
    ):
        answer = server.anonymous.get(path, headers={**accept, "host": host})
        assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
        assert answer.text.startswith("<!doctype html>")
        assert said in answer.text
        assert not any(text in answer.text for text in ("<script", "<b>", "{", "old"))
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["cache-control"] == "no-store"
    assert server.anonymous.get("/", headers={"accept": "*/*"}).json() == {
        "error": "open the link that labelwise printed in the terminal"
    }


@pytest.mark.parametrize(("host", "scheme", "there"), [
    ("127.0.0.1:80", "http", True), ("localhost:80", "http", True), ("[::1]:80", "http", True),
    ("192.0.2.7:80", "http", False), ("photos.example", "http", False), ("photos.example", "https", True),
    ("[", "http", False),
])  # fmt: skip
def test_the_openers_policy_is_sent_where_browsers_take_it(
    project: Project, host: str, scheme: str, there: bool
) -> None:
    made, desk, views = app(project)
    open_to = Guard(made.app, Access(frozenset({host}), TOKEN, "labelwise-80"))
    client = TestClient(open_to, base_url=f"{scheme}://127.0.0.1", raise_server_exceptions=False)
    client.cookies.set("labelwise-80", TOKEN)
    answers = [client.get(path, headers={"host": host}) for path in ("/api/state?annotator=me", "/nothing")]
    client.cookies.clear()
    answers.append(client.get("/", headers={"host": host}))
    assert [answer.status_code for answer in answers] == [200, 404, 401]
    assert {"cross-origin-opener-policy" in answer.headers for answer in answers} == {there}
    desk.close()
    views.close()


def test_the_link_becomes_a_cookie_that_scripts_and_other_sites_cannot_use(server: Server) -> None:
    answer = server.anonymous.get("/", params={"token": TOKEN})
    assert (answer.status_code, answer.headers["location"]) == (303, "/"), "the token leaves the address"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    server.anonymous.cookies.clear()
    assert server.anonymous.get("/", params={"token": TOKEN + "x"}).status_code == 401
    assert server.anonymous.get("/", params={"token": ""}).status_code == 401


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1", "127.0.0.1:8080", "127.0.0.1:80.evil.example", "evil.example:80", "", "[::1]:80"],
)
def test_a_name_that_points_here_is_not_enough(server: Server, host: str) -> None:
    """DNS rebinding: the attacker's own name resolves to 127.0.0.1, and the browser sends that name."""
    for client in (server.http, server.anonymous):
        assert client.get("/api/state?annotator=me", headers={"host": host}).status_code == 421
        assert client.get("/", params={"token": TOKEN}, headers={"host": host}).status_code == 421


@pytest.mark.parametrize(
    "origin",
    [None, "null", "http://evil.example", f"http://{HOST}.evil.example", f"https://{HOST}", f"http://{HOST}@evil.example",
     "http://127.0.0.1", "http://127.0.0.1:8000", f"http://{HOST}/"],
)  # fmt: skip
def test_writes_come_from_the_page_itself(server: Server, origin: str | None) -> None:
    headers = {"content-type": "application/json", **({} if origin is None else {"origin": origin})}
    body = json.dumps(server.label(1))
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert server.http.request(method, "/api/answers", content=body, headers=headers).status_code == 403
    assert not server.desk.board.labels


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_forms_of_other_sites_are_no_json(server: Server, kind: str) -> None:
    answer = server.http.post(
        "/api/answers", content=json.dumps(server.label(1)), headers={**ORIGIN, "content-type": kind}
    )
    assert answer.status_code == 415


def test_every_answer_has_strict_headers_and_none_opens_the_door_to_others(server: Server) -> None:
    paths = ("/api/state?annotator=me", "/nothing", "/api/images/1/thumb")
    answers = [server.http.get(path, headers={"origin": "http://evil.example"}) for path in paths]
    answers += [server.anonymous.get("/"), server.post("/api/answers", {})]
    for answer in answers:
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert "unsafe" not in POLICY


def test_too_large_a_body_is_refused_also_when_its_length_is_a_lie(server: Server) -> None:
    big = b"[" + b" " * LARGEST + b"]"
    headers = {**ORIGIN, "content-type": "application/json"}
    assert server.http.post("/api/answers", content=big, headers=headers).status_code == 413
    parts = (big[i : i + 65536] for i in range(0, len(big), 65536))  # sent in chunks, without a length
    assert server.http.post("/api/answers", content=parts, headers=headers).status_code == 413
    assert server.post("/api/answers", {}, **{"content-length": "-1"}).status_code == 413


@pytest.mark.parametrize(
    "path",
    ["/page/../board.py", "/page/..%2fboard.py", "/page/%2e%2e/board.py", "/page/....//board.py", "/page/%00",
     "/page/app.py", "/page//etc/passwd", "/api/images/..%2f..%2fetc/view", "/api/images/1/../../../etc/passwd",
     "/api/images/1/original"],
)  # fmt: skip
def test_no_path_leads_out(server: Server, path: str) -> None:
    answer = server.http.get(path)
    assert answer.status_code in (404, 422)
    assert list(answer.json()) == ["error"]


def test_links_out_of_the_folder_and_bad_images_are_not_shown(tmp_path: Path) -> None:
    from labelwise.labelling.project import made_or_opened

    write(tmp_path / "secret.png", encoded(picture(1)))
    folder = tmp_path / "photos"
    for i in range(5):
        write(folder / f"{i}.png", encoded(picture(i)))
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    write(folder / "bomb.png", bomb())
    write(folder / "cut.jpg", encoded(picture(1), "JPEG")[:200])
    write(folder / "draw.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    with made_or_opened(folder, tmp_path / "home", None, ["a", "b"], {}) as project:
        server = Server(project)
        ids = {image.path: image.id for image in project.store.images()}
        for name in ("link.png", "bomb.png", "cut.jpg", "draw.svg"):
            answer = server.http.get(f"/api/images/{ids[name]}/view")
            assert answer.status_code == 404
        listed = {item["path"]: item["reason"] for item in server.get("/api/unreadable")["items"]}
        assert "leads out" in listed["link.png"]
        assert "oversized" in listed["bomb.png"]
        assert {"cut.jpg", "draw.svg"} <= set(listed)
        good = server.http.get(f"/api/images/{ids['0.png']}/view")
        assert (good.headers["content-type"], good.content[:3]) == ("image/jpeg", b"\xff\xd8\xff")
        offered = {offer["image"] for offer in server.get("/api/next", annotator="me", n=50)["offers"]}
        assert not offered & {ids[name] for name in listed}
        server.views.close()


def test_hostile_names_travel_as_json_text(server: Server) -> None:
    name = "<img src=x onerror=alert(1)>"
    answer = server.post("/api/classes", {"annotator": name, "uuid": str(uuid4()), "kind": "add", "name": name})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert name in [klass["name"] for klass in server.get("/api/state", annotator="me")["classes"]]


def test_a_password_lets_others_in_and_nothing_else_does(project: Project) -> None:
    server = Server(project, password="correct horse")
    assert server.anonymous.get("/").headers["location"] == "/login"
    assert server.anonymous.get("/", params={"token": TOKEN}).headers["location"] == "/login", "no link to steal"
    assert server.anonymous.get("/api/state?annotator=me").status_code == 401
    wrong = server.anonymous.post("/api/login", json={"password": "wrong"}, headers=ORIGIN)
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    right = server.anonymous.post("/api/login", json={"password": "correct horse"}, headers=ORIGIN)
    assert right.status_code == 200
    assert "HttpOnly" in right.headers["set-cookie"]
    assert server.anonymous.get("/api/state?annotator=me").status_code == 200
    server.views.close()


# --- clumsy clients -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"class": [0, 1]}, "several labels an image are not supported"),
        ({"class": 9}, "no class 9"),
        ({"image": 99}, "no image 99"),
        ({"image": "1"}, "image"),
        ({"uuid": "1"}, "uuid"),
        ({"seconds": -1}, "seconds"),
        ({"colour": "red"}, "colour"),
        ({"kind": "delete"}, "kind"),
    ],
)
def test_bad_answers_are_refused_with_one_line(server: Server, change: dict[str, Any], why: str) -> None:
    answer = server.post("/api/answers", server.label(1, **change))
    said = answer.json().get("error") or answer.json()["refused"][0]["reason"]
    assert why in said
    assert "\n" not in said
    assert not server.desk.board.labels


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff", b'{"annotator": "me"}', b"[" * 100_000, b'{"annotator": 1e999}']
)
def test_bad_json_is_refused(server: Server, body: bytes) -> None:
    answer = server.http.post("/api/answers", content=body, headers={**ORIGIN, "content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert list(answer.json()) == ["error"]


def test_an_answer_twice_is_one_answer(server: Server) -> None:
    body = server.label(1)
    first, second = server.post("/api/answers", body).json(), server.post("/api/answers", body).json()
    assert first == second == {"accepted": [body["events"][0]["uuid"]], "refused": []}
    assert len([e for e in server.project.store.events() if e.kind == "label"]) == 1


def test_two_tabs_are_two_clients_of_one_person(server: Server) -> None:
    one = server.get("/api/next", annotator="me", n=3)["offers"]
    two = server.get("/api/next", annotator="me", n=3)["offers"]
    assert [o["image"] for o in one] == [o["image"] for o in two], "one person's images are theirs in each tab"
    for body in (server.label(1, 0), server.label(1, 1)):
        server.post("/api/answers", body)
    assert server.desk.board.labels == {1: 1}, "the last answer holds"
    assert len(server.get("/api/history", annotator="me")["items"]) == 2


def test_people_get_different_images_until_an_overlap_is_asked_for(server: Server) -> None:
    anna = {o["image"] for o in server.get("/api/next", annotator="anna", n=3)["offers"]}
    ben = {o["image"] for o in server.get("/api/next", annotator="ben", n=3)["offers"]}
    assert not anna & ben
    server.desk.plan.overlap = 2
    cleo, dan = ({o["image"] for o in server.get("/api/next", annotator=who, n=6)["offers"]} for who in ("cleo", "dan"))
    assert cleo >= anna | ben
    assert not dan & (anna | ben), "two have each of them"


def test_a_clock_that_jumps_changes_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(["2030-01-01T00:00:00+00:00", "1990-01-01T00:00:00+00:00"])
    monkeypatch.setattr("labelwise.labelling.desk.now", lambda: next(times))
    server.post("/api/answers", server.label(1, 0))
    server.post("/api/answers", server.label(1, 1))
    again = server.project.snapshot().board
    assert again.labels == {1: 1}, "the order of writing holds, not the clock's"


def test_a_full_disk_acknowledges_nothing_and_loses_nothing(server: Server) -> None:
    server.post("/api/answers", server.label(1, 0))
    with server.project.store.transaction() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    server.project.store.engine.dispose()
    import sqlalchemy as sa

    @sa.event.listens_for(server.project.store.engine, "connect")
    def small(connection: Any, _: Any) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    answers = [server.post("/api/answers", server.label(2 + i % 20, 0, "x" * 99)) for i in range(60)]
    full = [answer for answer in answers if answer.status_code == 507]
    assert full
    assert "full" in full[0].json()["error"]
    kept = [answer for answer in answers if answer.status_code == 200]
    stored = {e.uuid for e in server.project.store.events()}
    assert all(set(answer.json()["accepted"]) <= stored for answer in kept)
    assert server.desk.board.labels == server.project.snapshot().board.labels, "memory is what is on disk"
    assert "full" in server.get("/api/state", annotator="me")["problem"]


# --- the page's own use ---------------------------------------------------------------------------------------------


def test_the_state_of_an_empty_project(server: Server) -> None:
    state = server.get("/api/state", annotator="me")
    assert state["phase"] == "test"
    assert state["test"] == {"done": 0, "size": 6, "undecided": 0}
    assert [klass["name"] for klass in state["classes"]] == ["cat", "dog"]
    assert state["accuracy"] is state["model"] is state["seconds_per_label"] is None


def test_test_images_and_repeats_have_no_suggestion(server: Server) -> None:
    desk = server.desk
    desk.probs, desk.columns = np.tile(np.array([[0.9, 0.1]], np.float32), (30, 1)), (0, 1)
    for offer in server.get("/api/next", annotator="me", n=6)["offers"]:
        assert (offer["purpose"], offer["suggestion"]) == ("test", None)
        server.post("/api/answers", server.label(offer["image"], 0))
    training = server.get("/api/next", annotator="me", n=3)["offers"]
    assert training[0]["suggestion"] == {"class": 0, "probability": pytest.approx(0.9)}
    grid = server.get("/api/grid", annotator="me", **{"class": 0})["items"]
    assert {item["image"] for item in grid} == set(range(7, 21)), "no more than the budget has"
    assert server.get("/api/grid", annotator="me", **{"class": 1})["items"] == []


def test_a_test_image_has_no_suggestion_whatever_it_is_offered_for(server: Server) -> None:
    desk = server.desk
    desk.probs, desk.columns = np.tile(np.array([[0.9, 0.1]], np.float32), (30, 1)), (0, 1)
    server.post("/api/answers", server.label(1, 0))
    change = {"annotator": "me", "uuid": str(uuid4()), "kind": "rename", "class": 0, "name": "tomcat", "again": True}
    server.post("/api/classes", change)
    offer = server.get("/api/next", annotator="me", n=1)["offers"][0]
    assert (offer["image"], offer["purpose"], offer["suggestion"]) == (1, "again", None)


def test_no_model_suggests_what_it_has_learnt_of_the_image_itself(server: Server) -> None:
    desk = server.desk
    for image in desk.plan.test:
        server.post("/api/answers", server.label(image, image % 2))
    desk.probs, desk.columns = np.tile(np.array([[0.9, 0.1]], np.float32), (30, 1)), (0, 1)
    assert server.get("/api/next", annotator="me", n=1)["offers"][0]["suggestion"] is not None
    server.post("/api/answers", server.label(20, 1, purpose="random"))
    change = {"annotator": "me", "uuid": str(uuid4()), "kind": "rename", "class": 1, "name": "wolf", "again": True}
    server.post("/api/classes", change)
    offers = {o["image"]: o for o in server.get("/api/next", annotator="me", n=9)["offers"]}
    assert (offers[20]["purpose"], offers[20]["suggestion"]) == ("again", None)
    assert offered(desk, Offer(20, "random"))["suggestion"] is None, "nor as a second person's first look at it"


def test_a_rescan_that_finds_nothing_keeps_the_picks(server: Server) -> None:
    server.desk.plan.picks, server.desk.plan.doubted = [9, 8], {7: (0, 0.9)}
    server.post("/api/rescan", {})
    assert (server.desk.plan.picks, server.desk.plan.doubted) == ([9, 8], {7: (0, 0.9)})


def test_a_repeat_looks_like_any_other_image(server: Server) -> None:
    desk = server.desk
    desk.probs, desk.columns = np.tile(np.array([[0.6, 0.4]], np.float32), (30, 1)), (0, 1)
    repeat, picked = (offered(desk, Offer(9, purpose, 3)) for purpose in ("repeat", "picked"))
    assert repeat["why"] == picked["why"]
    assert repeat["given"] is None


def test_undo_goes_back_any_number_of_steps_also_after_a_restart(server: Server) -> None:
    for image in (1, 2, 3):
        server.post("/api/answers", server.label(image, 1))
    server.desk = Desk(server.project)  # as after a restart
    history = server.get("/api/history", annotator="me")["items"]
    assert [item["image"] for item in history] == [3, 2, 1]
    for item in history:
        undo = {"uuid": str(uuid4()), "kind": "undo", "undoes": item["uuid"]}
        assert server.post("/api/answers", {"annotator": "me", "events": [undo]}).json()["accepted"]
    assert server.project.snapshot().board.labels == {}
    assert server.get("/api/history", annotator="me")["items"] == []


def test_classes_change_while_people_label(server: Server) -> None:
    def change(**body: Any) -> httpx.Response:
        return server.post("/api/classes", {"annotator": "me", "uuid": str(uuid4()), **body})

    server.post("/api/answers", server.label(1, 1))
    assert change(kind="add", name="fox").json()["classes"][-1] == {"id": 2, "name": "fox", "count": 0}
    assert change(kind="merge", **{"class": 1, "into": 2, "again": True}).status_code == 200
    state = server.get("/api/state", annotator="me")
    assert [(k["id"], k["count"]) for k in state["classes"]] == [(0, 0), (2, 1)]
    assert server.get("/api/next", annotator="me")["offers"][0]["purpose"] == "again"
    double = change(kind="rename", **{"class": 0, "name": "fox"})
    assert (double.status_code, "a class 'fox' already" in double.json()["error"]) == (409, True)


def test_a_merge_can_be_taken_back(server: Server) -> None:
    def change(**body: Any) -> httpx.Response:
        return server.post("/api/classes", {"annotator": "me", "uuid": str(uuid4()), **body})

    assert server.get("/api/state", annotator="me")["merge"] is None
    server.post("/api/answers", server.label(1, 1))
    change(kind="merge", **{"class": 1, "into": 0})
    offer = server.get("/api/state", annotator="ben")["merge"]
    assert (offer["class"], offer["name"], offer["into"], offer["into_name"]) == (1, "dog", 0, "cat")
    answer = change(kind="unmerge", annotator="ben", undoes=offer["uuid"])
    assert answer.json()["classes"] == [{"id": 0, "name": "cat", "count": 0}, {"id": 1, "name": "dog", "count": 1}]
    assert server.get("/api/state", annotator="me")["merge"] is None
    assert server.project.snapshot().board.labels == {1: 1}, "also after a restart"
    again = change(kind="unmerge", undoes=offer["uuid"])
    assert (again.status_code, "taken back already" in again.json()["error"]) == (409, True)


def test_disagreements_wait_for_a_decision(server: Server) -> None:
    for who, klass in (("anna", 0), ("ben", 1)):
        server.post("/api/answers", server.label(4, klass, who))
    item = {"image": 4, "answers": [{"annotator": "anna", "class": 0}, {"annotator": "ben", "class": 1}]}
    assert server.get("/api/review")["items"] == [item]
    server.post("/api/answers", server.label(4, 1, "anna", purpose="review"))
    assert server.get("/api/review")["items"] == []
    assert server.desk.board.labels == {4: 1}


def test_added_images_and_a_larger_budget_are_taken_in(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.desk, "start", lambda: None)  # no processes behind
    write(server.project.images / "more.png", encoded(picture(77)))
    assert server.post("/api/rescan", {}).json() == {"added": 1, "missing": 0}
    assert server.get("/api/state", annotator="me")["project"]["images"] == 31
    assert server.post("/api/settings", {"budget": 25}).status_code == 200
    assert server.get("/api/state", annotator="me")["project"]["budget"] == 25
    assert server.post("/api/settings", {"budget": 0}).status_code == 422
    for image in (1, 2, 3):
        server.post("/api/answers", server.label(image))
    low = server.post("/api/settings", {"budget": 2})
    assert low.json() == {"error": "a budget of 2: 3 images are labelled already; give that many or more"}
    assert (low.status_code, server.get("/api/state", annotator="me")["project"]["budget"]) == (409, 25)


def test_a_killed_servers_project_opens_with_all_that_was_said(project: Project) -> None:
    server = Server(project)
    server.post("/api/answers", server.label(1, 1))
    copy = project.home.parent / "copy"
    copy.mkdir()
    for name in os.listdir(project.home):  # what `kill -9` leaves: the database and its log, not closed
        if name.startswith("project.db"):
            (copy / name).write_bytes((project.home / name).read_bytes())
    with opened(copy) as again:
        assert again.snapshot().board.labels == {1: 1}
    assert isinstance(ProjectStore(copy / "project.db").events()[-1].seconds, float | None)
    server.views.close()


# --- names of any kind ----------------------------------------------------------------------------------------------


def test_a_folder_whose_name_is_no_utf8_is_served(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"nb\xe9")
    for i in range(6):
        write(folder / "photos\udce9" / f"{i}.png", encoded(picture(i)))
    with made_or_opened(folder / "photos\udce9", folder / "home", None, ["cat", "dog"], {"budget": 6}) as project:
        made = Server(project)
        try:
            assert made.get("/api/state", annotator="me")["project"]["name"] == "photos\\udce9"
            assert made.post("/api/answers", made.label(1)).status_code == 200
            exported = made.post("/api/export", {"format": "csv"})
            assert exported.status_code == 200
            assert exported.json()["path"].endswith("nb\\udce9/home/exports/csv-1")
        finally:
            made.desk.close()
            made.views.close()
    with opened(folder / "home") as project:
        assert project.images == folder / "photos\udce9"
