"""What the page may send, checked by pydantic: unknown keys, wrong types and overlong texts are refused."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from labelwise.labelling.events import Event

MOST_EVENTS = 500
LONGEST = 300.0
"""Seconds that an answer may say it took; more is a person who went away."""


class Form(BaseModel):
    """A JSON object without unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _one_class(value: object) -> object:
    if isinstance(value, list):
        raise ValueError("several labels an image are not supported: give one class, or make a class that says both")
    return value


def _uuid(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a uuid is a text such as 123e4567-e89b-42d3-a456-426614174000")
    return str(UUID(value))


Id = Annotated[int, Field(ge=0, le=2**31 - 1)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Uuid = Annotated[str, Field(max_length=36), BeforeValidator(_uuid)]


class Answer(Form):
    """One answer of a person: see Event."""

    uuid: Uuid
    kind: Literal["label", "unsure", "skip", "undo"]
    image: Id | None = None
    klass: Annotated[Id | None, BeforeValidator(_one_class)] = Field(None, alias="class")
    undoes: Uuid | None = None
    purpose: Annotated[str, Field(max_length=20)] = ""
    round: Id | None = None
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    suggested: Id | None = None
    shown: bool = False

    def event(self, annotator: str) -> Event:
        """Return it as an event; only undo has nothing to say of an image."""
        seconds = None if self.seconds is None else min(self.seconds, LONGEST)
        return Event(
            self.uuid, self.kind, annotator, self.image, self.klass, undoes=self.undoes, purpose=self.purpose,
            round=self.round, seconds=seconds, suggested=self.suggested, shown=self.shown,
        )  # fmt: skip


class Answers(Form):
    """What the page sends: some answers of one person."""

    annotator: Name
    events: Annotated[list[Answer], Field(max_length=MOST_EVENTS)]


class ClassChange(Form):
    """A class to add, to rename, or to merge into another; or a merge to take back."""

    annotator: Name
    uuid: Uuid
    kind: Literal["add", "rename", "merge", "unmerge"]
    name: Name | None = None
    klass: Id | None = Field(None, alias="class")
    into: Id | None = None
    undoes: Uuid | None = None
    again: bool = False

    def event(self) -> Event:
        """Return it as an event; the desk gives a new class its id."""
        if self.kind == "unmerge":
            return Event(self.uuid, "class-unmerged", self.annotator, undoes=self.undoes)
        kind = {"add": "class-added", "rename": "class-renamed", "merge": "class-merged"}[self.kind]
        klass = None if self.kind == "add" else self.klass
        name = None if self.kind == "merge" else self.name
        into = self.into if self.kind == "merge" else None
        return Event(self.uuid, kind, self.annotator, klass=klass, into=into, name=name, again=self.again)


class Export(Form):
    """A format to export in."""

    format: Annotated[str, Field(max_length=40)]


class NewSettings(Form):
    """Settings that may change while people label."""

    budget: Annotated[int, Field(ge=1, le=10_000_000)]


class Login(Form):
    """The password of a server that others can reach."""

    password: Annotated[str, Field(max_length=1000)]


class Nothing(Form):
    """An empty object."""


class Problem(BaseModel):
    """Every refusal: one line that says what is wrong."""

    error: str
