"""What the API's own description allows, and much that it does not: only described answers, and no crash."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.labelling.served import TOKEN, app

from labelwise.labelling.project import Project

HOST = "127.0.0.1:80"
SIGNED = {"host": HOST, "origin": f"http://{HOST}", "cookie": f"labelwise-80={TOKEN}"}
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


READS = ("/api/state", "/api/next", "/api/images/{image}/{size}", "/api/grid", "/api/history", "/api/review",
         "/api/unreadable")  # fmt: skip
WRITES = ("/api/answers", "/api/classes", "/api/rescan", "/api/settings", "/api/login", "/api/export")
OPERATIONS = {**dict.fromkeys(READS, "GET"), **dict.fromkeys(WRITES, "POST")}


@pytest.fixture
def api(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[schemathesis.BaseSchema]:
    made, desk, views = app(project)
    monkeypatch.setattr(desk, "start", lambda: None)  # no processes behind
    monkeypatch.setattr("labelwise.labelling.server.app.SLOW", 0.0)
    yield schemathesis.openapi.from_asgi("/api/openapi.json", made, headers=SIGNED)
    views.close()


def test_every_operation_is_tried(api: schemathesis.BaseSchema) -> None:
    assert set(api.raw_schema["paths"]) == set(OPERATIONS)


@pytest.mark.parametrize("path", OPERATIONS)
def test_the_api_is_what_it_says(api: schemathesis.BaseSchema, path: str) -> None:
    operation = api[path][OPERATIONS[path]]
    for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=20, deadline=None, database=None, derandomize=True,
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        def tried(case: schemathesis.Case) -> None:
            # FastAPI describes a picture's refusals as pictures; they are JSON like all others
            picture = path.startswith("/api/images")
            checks = [check for check in CHECKS if not (picture and check is content_type_conformance)]
            case.call_and_validate(headers=SIGNED, checks=checks)

        with contextlib.suppress(Unsatisfiable):  # nothing can be wrong with what takes nothing
            tried()
