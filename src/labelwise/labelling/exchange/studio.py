"""Label Studio: tasks with every annotator's answer and the model's predictions as JSON, and the configuration.

Label Studio has no "unsure", and replaces annotators and times by its own on import. So each result carries ours in its
`meta`, which Label Studio keeps; skip and unsure are cancelled annotations whose result chooses nothing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from labelwise.labelling.exchange.contents import Answer, answers_for, by_path, predicted
from labelwise.labelling.exchange.job import Job
from labelwise.labelling.exchange.studio_config import FROM, KEY, TO, config_of
from labelwise.labelling.snapshot import Snapshot
from labelwise.labelling.store import Image

TASKS, CONFIG = "tasks.json", "config.xml"
LOCAL = "/data/local-files/?d="
"""How Label Studio names a file below its LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT: ours is the folder's parent."""
ID, PATH, SPLIT = "labelwise_id", "labelwise_path", "labelwise_split"
"""Keys in a task's data. Label Studio renames what is uploaded, so the content's hash is the key."""
META = "labelwise"


def write(job: Job, folder: Path) -> str:
    """Write tasks.json and config.xml, without files that nobody can see, unless somebody answered for them once."""
    snapshot = job.snapshot
    test = set(snapshot.test)
    images = by_path(snapshot)
    shown = [image for image in images if image.status in ("new", "ok") or answers_for(snapshot, image)]
    tasks = [_task(snapshot, test, number, image) for number, image in enumerate(shown, 1)]
    (folder / CONFIG).write_text(config_of(snapshot.classes), encoding="utf-8")
    with (folder / TASKS).open("w", encoding="utf-8") as file:
        json.dump(tasks, file, ensure_ascii=False, indent=1)
    answers, guesses = (sum(len(task[key]) for task in tasks) for key in ("annotations", "predictions"))
    gone = len(images) - len(shown)
    left_out = f"; {gone:,} files that cannot be read or are missing were left out" if gone else ""
    return (
        f"{TASKS} and {CONFIG}: {len(tasks):,} tasks, {answers:,} annotations, {guesses:,} predictions{left_out}; "
        "Label Studio reads the images themselves as local files, from a document root that is the parent of "
        f"{snapshot.folder.name}"
    )


def _task(snapshot: Snapshot, test: set[int], number: int, image: Image) -> dict[str, Any]:
    data = {
        KEY: LOCAL + quote(os.fsencode(f"{snapshot.folder.name}/{image.path}")),
        ID: f"sha256:{image.sha256}" if image.sha256 else "",
        PATH: image.path,
        SPLIT: "test" if image.id in test else "train" if image.id in snapshot.board.labels else "",
    }
    answers = answers_for(snapshot, image)
    guess = predicted(snapshot, image)
    return {
        "id": number,
        "data": data,
        "annotations": [_annotation(answer) for answer in answers],
        "predictions": [] if guess is None else [prediction(*guess, model=snapshot.model, control=(FROM, TO))],
    }


def _annotation(answer: Answer) -> dict[str, Any]:
    """Return an annotation. completed_by is empty: a name that Label Studio does not know would fail the import."""
    meta = {
        "annotator": answer.annotator, "status": answer.kind, "label": answer.label, "time": answer.time,
        "seconds": answer.seconds, "round": answer.round, "source": answer.purpose,
    }  # fmt: skip
    chosen = [answer.label] if answer.kind == "label" else []
    return {
        "completed_by": None,
        "was_cancelled": answer.kind != "label",
        "ground_truth": False,
        "lead_time": answer.seconds,
        "created_at": answer.time,
        "result": [{**result(chosen, (FROM, TO)), "meta": {META: meta}}],
    }


def prediction(label: str, probability: float, model: str, control: tuple[str, str]) -> dict[str, Any]:
    """Return a prediction of one class. control: from_name and to_name."""
    return {"model_version": model or "labelwise", "score": probability, "result": [result([label], control)]}


def result(chosen: list[str], control: tuple[str, str]) -> dict[str, Any]:
    """Return a region of the result that chooses these."""
    return {"from_name": control[0], "to_name": control[1], "type": "choices", "value": {"choices": chosen}}
