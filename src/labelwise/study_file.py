"""A study's YAML file: read, with overrides, checked, and every complaint in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from labelwise.config import Arm, Initial, Learner, Prices, Row, Study
from labelwise.errors import InputError, nearest
from labelwise.parts import Columns, Labeling, Sides, ZeroShot


def load_study(path: Path, overrides: Iterable[str] = (), data: str | None = None) -> Study:
    """Read a study's YAML file, apply `KEY=VALUE` overrides (dotted key, YAML value) and check everything.

    Errors: InputError with one line that says what is wrong, where, and the nearest known key or value.
    """
    overrides = list(overrides)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is a folder" if path.is_dir() else getattr(error, "strerror", None) or "not a text file"
        raise InputError(f"cannot read the study {path}: {reason}; give the path of a YAML file") from None
    values = _yaml(text, str(path))
    if not isinstance(values, dict):
        raise InputError(f"{path}: a study is a list of `key: value` lines, not {type(values).__name__}")
    return _checked(values, overrides, data, str(path))


def study_of(data: str, overrides: Iterable[str] = ()) -> Study:
    """Return the study of defaults on this data, with `KEY=VALUE` overrides. Errors: as load_study."""
    return _checked({}, list(overrides), data, "the study")


def _checked(values: dict[str, Any], overrides: list[str], data: str | None, path: str) -> Study:
    """Apply overrides and check everything. path: what to call the place of the other values."""
    for item in overrides:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise InputError(f"--set {item}: write KEY=VALUE, for example --set seeds=1")
        _assign(values, key.strip(), _yaml(value, f"--set {item}"), item)
    if data is not None:
        values["data"] = data
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")  # a typo explains most
        raise InputError(f"{_given_in(first['loc'], overrides, path)}: {_explain(first)}") from None


def _given_in(where: tuple[int | str, ...], overrides: Iterable[str], path: str) -> str:
    """Return who gave the value at `where`: the file, or an override in its place."""
    for item in reversed(list(overrides)):  # the last one holds
        key = item.partition("=")[0].strip().split(".")
        if key == [str(part) for part in where[: len(key)]]:
            return f"--set {item}"
    return path


WHOLE = "tag:yaml.org,2002:int"


class _UniqueKeys(yaml.SafeLoader):
    """YAML's safe loader, which would let the last of two equal keys win, and take a class 010 for the number 8."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in first:
                twice = f"the key '{key.value}' stands there twice, first in line {first[key.value]}"
                raise yaml.constructor.ConstructorError(None, None, twice, key.start_mark)
            first[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


_UniqueKeys.yaml_implicit_resolvers = {
    first: [(tag, known) for tag, known in resolvers if tag != WHOLE]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_UniqueKeys.add_implicit_resolver(WHOLE, re.compile(r"[-+]?(0|[1-9][0-9_]*)\Z"), list("-+0123456789"))


def _yaml(text: str, where: str) -> Any:
    try:
        return yaml.load(text, _UniqueKeys)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{where}: broken YAML: {reason}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not valid YAML"
        raise InputError(f"{where}{place}: broken YAML: {problem}") from None


def _assign(values: dict[str, Any], key: str, value: Any, item: str) -> None:
    *path, last = key.split(".")
    for step in path:
        inner = values.setdefault(step, {})
        if not isinstance(inner, dict):
            raise InputError(f"--set {item}: '{step}' is not a group of keys")
        values = inner
    values[last] = value


def _explain(first: ErrorDetails) -> str:
    """Turn a complaint of pydantic's into one line with the nearest known key or value."""
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key '{where}'{nearest(str(first['loc'][-1]), _known_keys(first['loc'][:-1]))}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "literal_error":
        known = [word.strip("' ") for word in first["ctx"]["expected"].replace(" or ", ", ").split(",")]
        message = f"'{first['input']}' is not known{nearest(str(first['input']), known)}"
    elif first["type"] != "value_error":
        message = f"{message[0].lower()}{message[1:]} (it is {_shown(first['input'])})"
    return f"{where}: {message}" if where else message


def _shown(value: object) -> str:
    try:
        text = json.dumps(value, default=str)
    except (ValueError, RecursionError):
        text = "something that holds itself"
    return text if len(text) < 100 else f"{text[:97]}..."


def _known_keys(path: tuple[int | str, ...]) -> list[str]:
    groups: dict[str, type[BaseModel]] = {
        "sizes": Row, "arms": Arm, "initial": Initial, "learner": Learner, "labeler": Labeling, "zero_shot": ZeroShot,
        "prices": Prices, "columns": Columns, "split": Sides,
    }  # fmt: skip
    last = next((step for step in reversed(path) if step in groups), None)
    return list((groups[str(last)] if last else Study).model_fields)
