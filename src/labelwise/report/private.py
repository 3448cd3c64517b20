"""A report to pass on: without pictures, paths and names of files."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from labelwise.config import Study
from labelwise.parts import Labeling
from labelwise.report.content import Content

LEFT_OUT = "(left out)"
PATH = re.compile(r"[/\\~]|^[A-Za-z]:|\.(safetensors|pth|parquet|csv|jpe?g|png)\b")
"""What looks like a path or a file; a hub's `owner/name` does too."""


def private(content: Content) -> Content:
    """Return the content without the data's name, its files and paths.

    Notes about the data are cut at the first colon, behind which files are listed.
    """
    data = {**content.data, "source": LEFT_OUT, "notes": [note.partition(":")[0] for note in content.data["notes"]]}
    study = without_paths(content.study)
    used = content.started["used"].map(_without_paths)
    return replace(content, data=data, study=study, started=content.started.assign(used=used))


def without_paths(study: Study) -> Study:
    """Return a study's configuration with files by their names alone, and without the data's name."""
    learner, zero = study.learner, study.zero_shot
    kind, _, file = zero.model.partition(":")
    zero = zero.model_copy(update={
        "model": f"{kind}:{_name(file)}" if file else kind, "weights": _unless_path(zero.weights),
    })  # fmt: skip
    arms = [arm.model_copy(update={"labeler": _labeler(arm.labeler)}) if arm.labeler else arm for arm in study.arms]
    return study.model_copy(update={
        "data": LEFT_OUT, "learner": learner.model_copy(update={"weights": _unless_path(learner.weights)}),
        "zero_shot": zero, "labeler": _labeler(study.labeler), "arms": tuple(arms),
    })  # fmt: skip


def _unless_path(text: str) -> str:
    return LEFT_OUT if PATH.search(text) else text


def _labeler(labeler: Labeling) -> Labeling:
    return labeler.model_copy(update={"path": _name(labeler.path)})


def _name(path: str) -> str:
    """Return a file's name, which arms and titles have too, without where it lies."""
    return re.split(r"[/\\\\]", path)[-1]


def _without_paths(used: dict[str, Any]) -> dict[str, Any]:
    return {key: _unless_path(value) if isinstance(value, str) else value for key, value in used.items()}
