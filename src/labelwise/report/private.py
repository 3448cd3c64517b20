"""A report to pass on: without pictures, paths and names of files, also where arms are named after files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from labelwise.config import Study
from labelwise.parts import Labeling, ZeroShot
from labelwise.records import RUNS, Store
from labelwise.report.content import Content

LEFT_OUT = "(left out)"
PATH = re.compile(r"[/\\~]|^[A-Za-z]:|\.(safetensors|pth?|parquet|csv|tsv|json|np[yz]|jpe?g|png)\b")
"""What looks like a path or a file; a hub's `owner/name` does too."""
NAMED_WEIGHTS = ("hub", "wheel", "scratch", ZeroShot().weights)
"""Weights that tell nothing of whose they are: any other text names a file or a folder."""


class PrivateStore(Store):
    """A store whose study and arms name no files: `margin labeler=file 1` for `margin labeler=anna.csv first`."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.path, read_only=True)
        self.given = Study.model_validate(store.study()["config"])
        self.shown = without_paths(self.given)
        arms = {
            self.given.arm_name(old): self.shown.arm_name(new)
            for old, new in zip(self.given.arms, self.shown.arms, strict=True)
        }
        sa.event.listen(self.engine, "connect", partial(_rename, arms))

    def study(self) -> dict[str, Any]:
        """Return the study's row without paths; notes are cut at the first colon, behind which files are listed."""
        found = super().study()
        data = {**found["data"], "source": LEFT_OUT}
        data.pop("seen", None)  # it names files
        data["notes"] = [note.partition(":")[0] for note in data["notes"]]
        if "zero_shot" in data:
            data["zero_shot"] = _each_text(data["zero_shot"], self.said)
        return {**found, "config": self.shown.model_dump(mode="json"), "data": data}

    def said(self, text: str) -> str:
        """Return a text with the names of files that it has replaced."""
        _, _, file = self.given.zero_shot.model.partition(":")
        names = {old.name: new.name for old, new in zip(_labelers(self.given), _labelers(self.shown), strict=True)}
        names |= {name: self.shown.zero_shot.name for name in (file, self.given.zero_shot.name) if file}
        for weights in (self.given.learner.weights, self.given.zero_shot.weights):
            if weights not in NAMED_WEIGHTS:
                names |= {name: LEFT_OUT for name in (weights, Path(weights).name) if name}
        for name in sorted(names, key=len, reverse=True):  # the path before the name that it ends with
            text = text.replace(name, names[name])
        return text


def private(content: Content, store: PrivateStore) -> Content:
    """Return the content of a private store without paths in what its runs were made with."""
    used = content.started["used"].map(lambda found: _each_text(found, lambda text: _unless_path(store.said(text))))
    return replace(content, started=content.started.assign(used=used))


def without_paths(study: Study) -> Study:
    """Return a study's configuration without paths, names and columns of files, and without the data's name."""
    learner, zero = study.learner, study.zero_shot
    kind, _, file = zero.model.partition(":")
    zero = zero.model_copy(update={
        "model": f"{kind}:probabilities" if file else kind, "weights": _weights(zero.weights),
    })  # fmt: skip
    files: dict[tuple[str, tuple[str, ...]], str] = {}
    for labeler in _labelers(study):
        if labeler.path:
            files.setdefault((labeler.path, labeler.columns), f"file {len(files) + 1}")
    arms = [arm.model_copy(update={"labeler": arm.labeler and _labeler(arm.labeler, files)}) for arm in study.arms]
    return study.model_copy(update={
        "data": LEFT_OUT, "learner": learner.model_copy(update={"weights": _weights(learner.weights)}),
        "zero_shot": zero, "labeler": _labeler(study.labeler, files), "arms": tuple(arms),
    })  # fmt: skip


def _labelers(study: Study) -> list[Labeling]:
    return [study.labeler, *[arm.labeler for arm in study.arms if arm.labeler]]


def _labeler(labeler: Labeling, files: dict[tuple[str, tuple[str, ...]], str]) -> Labeling:
    if not labeler.path:
        return labeler
    return labeler.model_copy(update={"path": files[labeler.path, labeler.columns], "columns": ()})


def _weights(text: str) -> str:
    return text if text in NAMED_WEIGHTS else LEFT_OUT


def _unless_path(text: str) -> str:
    return LEFT_OUT if PATH.search(text) else text


def _each_text(found: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    return {key: change(value) if isinstance(value, str) else value for key, value in found.items()}


def _rename(arms: dict[str, str], connection: Any, _: Any) -> None:
    """Have queries read runs with other names of arms: a view of this connection alone stands before the table."""
    columns = ", ".join("coalesce(shown, runs.arm) AS arm" if c.name == "arm" else f'runs."{c.name}"' for c in RUNS.c)
    connection.execute("CREATE TEMP TABLE arms (given TEXT PRIMARY KEY, shown TEXT)")
    connection.executemany("INSERT INTO arms VALUES (?, ?)", arms.items())
    connection.execute(
        f"CREATE TEMP VIEW runs AS SELECT {columns} FROM main.runs AS runs LEFT JOIN temp.arms ON given = runs.arm"
    )
