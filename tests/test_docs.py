"""Documents that fail when they are stale: commands, options, keys, columns, code blocks and the README's commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
import yaml
from pydantic import BaseModel

from labelwise.analysis import halves
from labelwise.analysis.results import COLUMNS
from labelwise.cli import app
from labelwise.config import Study, load_study
from labelwise.data.sources import SOURCES
from labelwise.strategies import STRATEGIES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()


def commands() -> dict[str, set[str]]:
    group = typer.main.get_command(app)
    return {
        name: {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }


def test_every_command_and_option_is_documented() -> None:
    for name, options in commands().items():
        assert f"labelwise {name}" in README
        for option in options - {"--help"}:
            assert option in README, f"{name} {option}"


def test_commands_in_documents_exist() -> None:
    known = commands()
    text = "\n".join(path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
    used = re.findall(r"^ {4}labelwise ([a-z]+)(.*)$", text, re.MULTILINE)
    assert used
    for name, rest in used:
        assert name in known
        assert set(re.findall(r"--[a-z-]+", rest)) <= known[name]


def test_every_key_is_documented() -> None:
    def keys(part: type[BaseModel], prefix: str = "") -> list[str]:
        found: list[str] = []
        for name, field in part.model_fields.items():
            inner = field.annotation
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                found += keys(inner, f"{prefix}{name}.")
            else:
                found.append(prefix + name)
        return found

    assert len(keys(Study)) > 15
    for key in keys(Study):
        assert f"`{key}`" in CONFIGURATION, key


def test_documented_keys_exist() -> None:
    study = Study()
    group = {
        "initial": study.initial, "learner": study.learner, "labeler": study.labeler, "zero_shot": study.zero_shot,
        "prices": study.prices,
    }  # fmt: skip
    for line in CONFIGURATION.splitlines():
        if line.startswith("| `"):
            for key in re.findall(r"`([a-z_.]+)`", line.split("|")[1]):
                first, _, last = key.partition(".")
                assert hasattr(group[first], last) if last else hasattr(Study(), first), key


def test_every_column_strategy_and_source_is_documented() -> None:
    results = (ROOT / "docs" / "results.md").read_text()
    for column in (*COLUMNS, *halves.COLUMNS):
        assert f"`{column}`" in results, column
    for name in STRATEGIES:
        assert f"`{name}`" in README, name
    assert len(SOURCES) >= 7


def blocks(language: str) -> list[tuple[str, str]]:
    found = []
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for i, text in enumerate(re.findall(rf"```{language}\n(.*?)```", path.read_text(), re.DOTALL)):
            found.append((f"{path.name} {i}", text))
    return found


@pytest.mark.parametrize(("where", "text"), blocks("yaml"))
def test_yaml_blocks_load(where: str, text: str, tmp_path: Path) -> None:
    assert isinstance(yaml.safe_load(text), dict)
    (tmp_path / "study.yaml").write_text(text)
    load_study(tmp_path / "study.yaml")


@pytest.mark.parametrize(("where", "text"), blocks("python"))
def test_python_blocks_run(where: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "out/demo" in text:
        import fake
        from labelwise.study.executor import run_study

        fake.install()
        study = load_study(ROOT / "studies" / "digits.yaml", ["seeds=1", "learner.kind=fake"])
        run_study(study, tmp_path / "out" / "demo", fake.Silent())
    monkeypatch.chdir(tmp_path)
    exec(compile(text, where, "exec"), {})


def test_nothing_from_this_workplace_is_named() -> None:
    for path in ROOT.rglob("*.md"):
        if ".venv" not in path.parts:
            assert not re.search(r"/(work|farm|root|home)/", path.read_text()), path
