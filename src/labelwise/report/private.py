"""A report to pass on: without pictures, paths and names of files."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from labelwise.report.content import Content

LEFT_OUT = "(left out)"
PATH = re.compile(r"[/\\~]|^[A-Za-z]:|\.(safetensors|pth|parquet|csv|jpe?g|png)\b")
"""What looks like a path or a file; a hub's `owner/name` does too."""


def private(content: Content) -> Content:
    """Return the content without the data's name, its files and paths.

    Notes about the data are cut at the first colon, behind which files are listed.
    """
    data = {**content.data, "source": LEFT_OUT, "notes": [note.partition(":")[0] for note in content.data["notes"]]}
    learner = content.study.learner
    if PATH.search(learner.weights):
        learner = learner.model_copy(update={"weights": LEFT_OUT})
    study = content.study.model_copy(update={"data": LEFT_OUT, "learner": learner})
    used = content.started["used"].map(_without_paths)
    return replace(content, data=data, study=study, started=content.started.assign(used=used))


def _without_paths(used: dict[str, Any]) -> dict[str, Any]:
    return {key: LEFT_OUT if isinstance(value, str) and PATH.search(value) else value for key, value in used.items()}
