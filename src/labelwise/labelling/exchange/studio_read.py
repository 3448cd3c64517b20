"""Label Studio's exports, JSON and JSON_MIN, whoever made the tasks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from labelwise.errors import InputError
from labelwise.labelling.events import ANSWERS, PURPOSES
from labelwise.labelling.exchange.contents import Answer, Contents
from labelwise.labelling.exchange.reading import as_round, as_seconds, as_time, moment, read_json, read_text
from labelwise.labelling.exchange.studio import CONFIG, ID, META, PATH, SPLIT, TASKS
from labelwise.labelling.exchange.studio_config import FROM, KEY, TO, Control, parse_config

MANY = "labelwise gives an image one class"


def read(path: Path, config: Path | None = None) -> Contents:
    """Read an export, or a folder with tasks.json. config: by default config.xml beside the file, if there is one.

    Errors: InputError for what is no export, several classes in one annotation, and results of no or several controls.
    """
    path = path / TASKS if path.is_dir() else path
    beside = path.with_name(CONFIG)
    config = beside if config is None and beside.is_file() else config
    tasks = read_json(path, "Label Studio's JSON or JSON_MIN export")
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise InputError(f"{path}: not a list of tasks; give Label Studio's JSON or JSON_MIN export")
    if config is None:
        control = _control_used(path, tasks)
    else:
        control = parse_config(read_text(config, "Label Studio's labelling configuration"), str(config))
    answers: list[Answer] = []
    test: dict[tuple[str, str], None] = {}
    unanswered = 0
    for number, task in enumerate(tasks, 1):
        where = f"{path}, task {task.get('id', number)}"
        data = task.get("data", task)
        if not isinstance(data, dict):
            raise InputError(f"{where}: its data are no object; give Label Studio's JSON or JSON_MIN export")
        key = image_of(data, control, where)
        if data.get(SPLIT) == "test":
            test[key] = None
        read = _flat if data is task else _answers
        for answer in read(task, control, Answer(*key, "skip", "", "", where=where)):
            unanswered += answer is None
            answers += [] if answer is None else [answer]
    classes = dict.fromkeys([*control.names.values(), *(a.label for a in answers if a.kind == "label")])
    notes = [f"{unanswered:,} annotations choose nothing, and were passed over"] if unanswered else []
    return Contents(list(classes), answers, list(test), notes)


def image_of(data: dict[str, Any], control: Control, where: str) -> tuple[str, str]:
    """Return (path, sha256): ours where the task has them, else what the image's address says."""
    sha256 = str(data.get(ID) or "").removeprefix("sha256:").lower()
    path = str(data.get(PATH) or "")
    if not path:
        address = data.get(control.key)
        if not isinstance(address, str) and not sha256:
            raise InputError(f"{where}: no image in '{control.key}'; is it the right configuration?")
        parts = urlsplit(str(address or ""))
        path = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    return path, sha256


def _answers(task: dict[str, Any], control: Control, blank: Answer) -> Iterator[Answer | None]:
    """Yield a task's answers, oldest first; None for an annotation that chooses nothing."""
    annotations = task.get("annotations") or []
    if not isinstance(annotations, list) or not all(isinstance(a, dict) for a in annotations):
        raise InputError(f"{blank.where}: its annotations are no list of objects; export it as JSON, with annotations")
    found = [(a, *_chosen(a, control, blank.where)) for a in annotations]
    times = [_time(a, blank.where) for a in annotations]
    if all(times) and not any(meta for *_, meta in found):  # ours stand in the order in which they were given
        found = [found[i] for i in sorted(range(len(found)), key=lambda i: moment(times[i]))]
    for annotation, chosen, meta in found:
        yield _answer(annotation, chosen, meta, blank)


def _chosen(annotation: dict[str, Any], control: Control, where: str) -> tuple[str | None, dict[str, Any]]:
    """Return the class of an annotation and our own meta, if there are any."""
    regions = annotation.get("result") or []
    if not isinstance(regions, list):
        raise InputError(f"{where}: an annotation's result is no list")
    chosen: list[str] = []
    meta: dict[str, Any] = {}
    for region in regions:
        if not isinstance(region, dict) or region.get("from_name") != control.from_name:
            continue  # another control of the same page: text, boxes
        value = region.get("value")
        chosen += _names(value.get("choices") if isinstance(value, dict) else None, control, where)
        ours = region.get("meta")
        ours = ours.get(META) if isinstance(ours, dict) else None
        meta = ours if isinstance(ours, dict) else meta
    return _one(chosen, where), meta


def _names(choices: Any, control: Control, where: str) -> list[str]:
    """Return class names of what a result says: a string, or a list of strings."""
    listed: Any = [choices] if isinstance(choices, str) else choices or []
    if not isinstance(listed, list) or not all(isinstance(said, str) for said in listed):
        raise InputError(f"{where}: its choices are no list of names; {MANY}")
    for said in listed:
        if control.names and said not in control.names and said not in control.names.values():
            raise InputError(f"{where}: the configuration has no choice '{said[:100]}'; give the one it was made with")
    return [str(control.names.get(said, said)) for said in listed]


def _one(chosen: list[str], where: str) -> str | None:
    names = list(dict.fromkeys(chosen))
    if len(names) > 1:
        raise InputError(f"{where}: several classes in one annotation ({', '.join(names[:5])}); {MANY}")
    return names[0] if names else None


def _answer(annotation: dict[str, Any], chosen: str | None, meta: dict[str, Any], blank: Answer) -> Answer | None:
    """Return what an annotation says now; our meta adds what Label Studio does not keep, unless it was changed."""
    where, ours = blank.where, str(meta.get("status", ""))
    if annotation.get("was_cancelled") is True:
        kind, label = ours if ours in ANSWERS and ours != "label" else "skip", ""
    elif chosen is None:
        return None
    else:
        kind, label = "label", chosen
    named = meta.get("annotator")
    annotator = named if isinstance(named, str) and named else _annotator(annotation.get("completed_by"))
    said = replace(blank, kind=kind, label=label, annotator=annotator)
    if not meta or (kind, label) != (ours, meta.get("label")):
        seconds = as_seconds(annotation.get("lead_time"), where)
        return replace(said, time=_time(annotation, where), seconds=seconds)
    return replace(
        said, time=as_time(str(meta.get("time") or ""), where), seconds=as_seconds(meta.get("seconds"), where),
        round=as_round(meta.get("round"), where),
        purpose=str(meta["source"]) if meta.get("source") in PURPOSES else "import",
    )  # fmt: skip


def _time(annotation: dict[str, Any], where: str) -> str:
    return as_time(str(annotation.get("updated_at") or annotation.get("created_at") or ""), where)


def _annotator(value: Any) -> str:
    """Return a name for who completed it: an email, or Label Studio's number."""
    if isinstance(value, dict):
        value = value.get("email") or value.get("id")
    if value in (None, "", "None"):  # JSON_MIN writes a missing one so
        return "label studio"
    return value if isinstance(value, str) else f"label studio {value}"


def _flat(record: dict[str, Any], control: Control, blank: Answer) -> Iterator[Answer | None]:
    """Yield the answer of a record of JSON_MIN: one annotation, its choice under the control's name."""
    if control.from_name in record:
        value = record[control.from_name]
        choices = value.get("choices") if isinstance(value, dict) else value
        chosen = _one(_names(choices, control, blank.where), blank.where)
        yield _answer({**record, "completed_by": record.get("annotator")}, chosen, {}, blank)


def _control_used(path: Path, tasks: list[dict[str, Any]]) -> Control:
    """Return the only control that the results name. Errors: InputError for several, or none."""
    used: dict[tuple[str, str], None] = {}
    for region in (r for task in tasks if "data" in task for r in _regions(task)):
        if isinstance(region, dict) and region.get("type") == "choices":
            used[str(region.get("from_name")), str(region.get("to_name"))] = None
    flat = any("data" not in task for task in tasks)
    if flat and not used and any(FROM in task for task in tasks):
        used[FROM, TO] = None
    if len(used) != 1:
        found = ", ".join(name for name, _ in used) or "none"
        raise InputError(f"{path}: choices of one control are needed, found: {found}; give its configuration: --config")
    from_name, to_name = next(iter(used))
    keys = [k for task in tasks if isinstance(data := task.get("data", task), dict) for k in data if k == KEY]
    return Control(from_name, to_name, KEY if keys else _only_key(path, tasks), {})


def _regions(task: dict[str, Any]) -> Iterator[Any]:
    annotations = task.get("annotations")
    for annotation in annotations if isinstance(annotations, list) else []:
        regions = annotation.get("result") if isinstance(annotation, dict) else None
        yield from regions if isinstance(regions, list) else []


def _only_key(path: Path, tasks: list[dict[str, Any]]) -> str:
    first = tasks[0].get("data", tasks[0])
    if isinstance(first, dict) and len(first) == 1:
        return str(next(iter(first)))
    raise InputError(f"{path}: which key of the tasks is the image? give --config with Label Studio's configuration")
