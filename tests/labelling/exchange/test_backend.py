"""Label Studio's ML backend: its protocol, and what it must not do."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from tests.labelling.exchange.projects import photos
from tests.labelling.exchange.test_formats import tiny

from labelwise.errors import InputError
from labelwise.labelling.exchange.backend import LARGEST, WAITING, Backend, Source, make_app
from labelwise.labelling.exchange.serving import sources
from labelwise.labelling.exchange.trained import Trained
from labelwise.labelling.store import Image

CONFIG = """<View><Image name="photo" value="$img"/><Choices name="animal" toName="photo">
<Choice value="dog"/><Choice value="=cmd|'/c calc'!A1" alias="calc"/><Choice value="cat"/></Choices></View>"""


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    project = photos(tmp_path / "photos")
    listed = [Image(image.id, image.path, 0, 0) for image in project.images]  # nothing is hashed yet
    return Backend(Source(project.folder, listed), tiny)


@pytest.fixture
def client(backend: Backend) -> TestClient:
    return TestClient(make_app(backend, frozenset({"127.0.0.1:9090"})), base_url="http://127.0.0.1:9090")


def asked(client: TestClient, *data: dict[str, Any], **more: Any) -> Any:
    tasks = [{"id": i, "data": one} for i, one in enumerate(data)]
    answer = client.post("/predict", json={"tasks": tasks, "label_config": CONFIG, "project": "1.2", **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def test_health_and_setup(client: TestClient) -> None:
    assert client.get("/health").json()["status"] == "UP"
    answer = client.post("/setup", json={"project": "1.2", "schema": CONFIG, "hostname": "x", "access_token": "T0KEN"})
    assert answer.json() == {"model_version": "probe 3"}
    assert client.post("/setup", json={"schema": "<View/>"}).status_code == 400
    tasks = [{"id": 1, "data": {"img": "a.jpg"}}]
    assert client.post("/predict", json={"tasks": tasks}).json()["results"][0]["result"]  # the configuration is kept


def test_results_are_one_a_task_in_order(client: TestClient, backend: Backend) -> None:
    sha256 = hashlib.sha256((backend.source.folder / "g.bmp").read_bytes()).hexdigest()
    results = asked(
        client, {"img": "/data/local-files/?d=photos/a.jpg"}, {"img": "nowhere.jpg"},
        {"img": "upload/zz.bmp", "labelwise_id": f"sha256:{sha256}"},
        {"img": "a.jpg", "labelwise_id": "sha256:" + "0" * 64}, {"img": "/data/local-files/?d=dogs/a.jpg"},
    )  # fmt: skip
    assert [bool(one["result"]) for one in results] == [True, False, True, False, False]
    trained = backend.single.trained
    for one, name in ((results[0], "a.jpg"), (results[2], "g.bmp")):
        probs = backend.single.predict((backend.source.folder / name).read_bytes())
        said = {"dog": "dog", "cat": "cat"}.get(trained.classes[int(probs.argmax())], "calc")  # the alias is sent
        assert one["result"] == [
            {"from_name": "animal", "to_name": "photo", "type": "choices", "value": {"choices": [said]}}
        ]
        assert one["score"] == pytest.approx(float(probs.max()), abs=1e-6)
        assert one["model_version"] == "probe 3"


@pytest.mark.parametrize(
    "image", ["../../etc/passwd", "/etc/passwd", "http://example.org/x.jpg", "file:///etc/passwd", ""]
)
def test_only_the_folder_is_read(client: TestClient, image: str) -> None:
    assert asked(client, {"img": image})[0]["result"] == []


def test_one_bad_task_takes_nothing_from_the_others(
    client: TestClient, backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    (backend.source.folder / "b" / "a.jpg").write_bytes(b"\xff\xd8 broken")
    (backend.source.folder / "f.tif").unlink()
    bad: list[Any] = [
        {"id": 1, "data": {"img": "b/a.jpg"}}, {"id": 2, "data": {"img": "f.tif"}}, {"id": 3, "data": {"img": 7}},
        {"id": 4, "data": {}}, {"id": 5}, 6, None, {"id": "<\n>", "data": {"img": "http://[bad/x.jpg"}},
        {"id": 9, "data": {"img": "https://example.org/x.jpg?signature=S3CRET"}},
    ]  # fmt: skip
    good = {"id": 10, "data": {"img": "a.jpg"}}
    for tasks in ([good, *bad], [*bad, good], *([one, good] for one in bad)):
        answer = client.post("/predict", json={"tasks": tasks, "label_config": CONFIG})
        assert answer.status_code == 200, answer.text
        results = answer.json()["results"]
        assert [bool(one["result"]) for one in results] == [task is good for task in tasks]
        assert all(one["model_version"] == "probe 3" for one in results)
    said = capsys.readouterr().err
    lines = said.splitlines()
    assert len(lines) == 2 + len(bad)  # one a request
    assert lines[0].startswith("no prediction for 9 of 10 tasks: task 1: ")
    assert "task 2: there is no such file; task 3: its data: no image in 'img'" in lines[0]
    assert "S3CRET" not in said


def test_a_class_that_the_configuration_lacks_is_not_sent(client: TestClient) -> None:
    config = CONFIG.replace('<Choice value="dog"/>', "").replace('<Choice value="cat"/>', '<Choice value="bird"/>')
    config = config.replace("""<Choice value="=cmd|'/c calc'!A1" alias="calc"/>""", "")
    assert asked(client, {"img": "a.jpg"}, label_config=config)[0]["result"] == []


@pytest.mark.parametrize(("send", "status"), [
    (lambda c: c.post("/predict", content=b"{", headers={"content-type": "application/json"}), 400),
    (lambda c: c.post("/predict", json=[1]), 400), (lambda c: c.post("/predict", json={"tasks": 3}), 400),
    (lambda c: c.post("/predict", json={"tasks": [{"data": {}}] * 1001, "label_config": CONFIG}), 400),
    (lambda c: c.post("/predict", content="{}", headers={"content-type": "text/plain"}), 400),
    (lambda c: c.post("/setup", json={"x": "y" * (LARGEST + 1)}), 400),
    (lambda c: c.get("/health", headers={"host": "evil.example"}), 421), (lambda c: c.get("/docs"), 404),
])  # fmt: skip
def test_bad_requests(client: TestClient, send: Callable[[TestClient], Any], status: int) -> None:
    assert send(client).status_code == status


def test_reports_are_queued_and_the_model_is_loaded_again(backend: Backend, client: TestClient) -> None:
    for _ in range(WAITING):
        assert client.post("/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 202
    assert client.post("/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 503  # at once, and bounded
    before, loads = backend.single, [0]

    def load() -> Trained:
        loads[0] += 1
        if loads[0] > 1:
            raise InputError("no labels")
        return tiny()

    backend.load = load
    worker = threading.Thread(target=backend.work, daemon=True)
    worker.start()
    deadline = time.monotonic() + 10
    while backend.single is before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert backend.single is not before
    assert loads == [1]  # once for all that waited
    backend.close()
    worker.join(10)
    assert not worker.is_alive()


def test_no_secret_is_kept_or_printed(backend: Backend, client: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    secret = {"access_token": "T0KEN", "extra_params": "T0KEN", "params": {"login": "T0KEN", "password": "T0KEN"}}
    client.post("/setup", json={"schema": CONFIG, **secret})
    client.post("/predict", json={"tasks": [{"data": {"img": "a.jpg"}}], "label_config": CONFIG, **secret})
    client.post("/webhook", json={"action": "PROJECT_UPDATED", **secret})
    kept = [str(vars(backend)), str(vars(backend.single)), str(list(backend.news.queue)), *capsys.readouterr()]
    assert not any("T0KEN" in text for text in kept)


def test_others_need_the_password(backend: Backend) -> None:
    client = TestClient(make_app(backend, None, "correct horse"))
    assert client.get("/health").status_code == 401
    for given, status in (("correct horse", 200), ("wrong", 401), ("", 401)):
        code = base64.b64encode(f"user:{given}".encode()).decode()
        assert client.get("/health", headers={"authorization": f"Basic {code}"}).status_code == status
    assert client.get("/health", headers={"authorization": "Basic %%%"}).status_code == 401


def test_what_can_be_served(tmp_path: Path) -> None:
    from labelwise.labelling.exchange import model

    photos(tmp_path / "photos")
    (tmp_path / "model").mkdir()
    model.save(tiny(), tmp_path / "model")
    with pytest.raises(InputError, match="an exported model needs the folder of the images"):
        sources(tmp_path / "model", None, None)
    source, _ = sources(tmp_path / "model", tmp_path / "photos", None)
    assert len(source.images) == 8
    with pytest.raises(InputError, match="there is no labelling project"):
        sources(tmp_path / "nothing", None, None)
    assert np.isfinite(tiny().weights).all()
