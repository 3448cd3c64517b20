"""Documents that fail when they are stale: commands, options, keys, columns, code blocks and the README's commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pydantic import BaseModel

import labelwise
from labelwise.analysis import halves
from labelwise.analysis.results import COLUMNS
from labelwise.cli import app
from labelwise.config import Study
from labelwise.data.sources import SOURCES
from labelwise.labelling.exchange import FORMATS, pick, sheet
from labelwise.models.backbone import torch_threads
from labelwise.strategies import STRATEGIES
from labelwise.study_file import load_study
from labelwise.threads import one_thread

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()


def commands() -> dict[str, set[str]]:
    """Return each command's options, with those of the commands below it."""

    def options(command: Any) -> set[str]:
        own = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        return own.union(*map(options, getattr(command, "commands", {}).values()))

    group: Any = typer.main.get_command(app)
    return {name: options(command) for name, command in group.commands.items()}


def test_every_command_and_option_is_documented() -> None:
    documents = "\n".join(path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
    for name, options in commands().items():
        assert f"labelwise {name}" in documents
        for option in options - {"--help"}:
            assert option in documents, f"{name} {option}"


def test_commands_in_documents_exist() -> None:
    known = commands()
    text = "\n".join(path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
    used = re.findall(r"^ {4}labelwise ([a-z-]+)(.*)$", text, re.MULTILINE)
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
        "prices": study.prices, "columns": study.columns,
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


def test_every_exchange_format_and_column_is_documented() -> None:
    text = (ROOT / "docs" / "exchange.md").read_text()
    for name in (*FORMATS, *sheet.COLUMNS, *sheet.STATUSES, *pick.PICKED, *pick.PREDICTED):
        assert f"`{name}`" in text, name


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


def pages() -> list[tuple[str, list[str]]]:
    """Pages with Python, each with its blocks in order: later blocks go on from earlier ones."""
    found: dict[str, list[str]] = {}
    for where, text in blocks("python"):
        found.setdefault(where.rpartition(" ")[0], []).append(text)
    return list(found.items())


@pytest.mark.parametrize(("page", "texts"), pages(), ids=[page for page, _ in pages()])
def test_python_blocks_run(page: str, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if any("out/demo" in text for text in texts):
        import fake
        from labelwise.study.executor import run_study

        fake.install()
        study = load_study(ROOT / "studies" / "digits.yaml", ["seeds=1", "learner.kind=fake"])
        run_study(study, tmp_path / "out" / "demo", fake.Silent())
    monkeypatch.chdir(tmp_path)
    before, names = dict(STRATEGIES), {"__name__": page}
    try:
        with one_thread(), torch_threads(1):  # small work on a shared machine
            for i, text in enumerate(texts):
                exec(compile(text, f"{page} {i}", "exec"), names)
    finally:  # a page may add a strategy
        STRATEGIES.clear()
        STRATEGIES.update(before)


SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


def test_every_page_is_in_the_navigation() -> None:
    def named(part: Any) -> list[str]:
        parts = part if isinstance(part, list) else part.values() if isinstance(part, dict) else ()
        return [part] if isinstance(part, str) else [page for inner in parts for page in named(inner)]

    assert sorted(named(SITE["nav"])) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the site is not built: pip install 'labelwise[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "site" / "reference.html").read_text()
    for name in labelwise.__all__:
        assert f'id="labelwise.{name}"' in reference or name == "__version__", name
    built = list((tmp_path / "site").glob("*.html"))
    assert len(built) > 10
    for path in built:
        text = path.read_text()
        assert not re.search(r'<(script|img|iframe)[^>]+src="?(https?:)?//', text), path.name
        assert not re.search(r'<link[^>]+rel="?(stylesheet|preconnect)"?[^>]+href="?(https?:)?//', text), path.name
        assert not re.search(r'<link[^>]+href="?(https?:)?//[^>]+rel="?(stylesheet|preconnect)', text), path.name


def test_nothing_from_this_workplace_is_named() -> None:
    for path in ROOT.rglob("*.md"):
        if ".venv" not in path.parts:
            assert not re.search(r"/(work|farm|root|home)/", path.read_text()), path
