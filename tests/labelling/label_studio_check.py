"""Run by the Python that has label-studio-sdk: does Label Studio's own code take our tasks, and give our labels back?

    PYTHON tests/labelling/label_studio_check.py tasks.json OUT

config.xml lies beside tasks.json. Writes OUT/JSON, OUT/JSON_MIN and OUT/CSV by the SDK's converter; what does not hold
is an AssertionError. Knows nothing of labelwise.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

from label_studio_sdk.converter import Converter
from label_studio_sdk.label_interface import LabelInterface


def check(tasks_file: Path, out: Path) -> str:
    config = tasks_file.with_name("config.xml").read_text(encoding="utf-8")
    tasks = json.loads(tasks_file.read_text(encoding="utf-8"))
    interface = LabelInterface(config)
    interface.validate()
    for task in tasks:
        assert interface.validate_task({"data": task["data"]}), task["id"]
        for annotation in task["annotations"]:
            assert interface.validate_annotation(annotation), annotation
        for prediction in task["predictions"]:
            assert interface.validate_prediction(prediction, return_errors=True) == [], prediction
    converter = Converter(config, str(tasks_file.parent), upload_dir=str(out))
    converter.convert_to_json(str(tasks_file), str(out / "JSON"), is_dir=False)
    converter.convert_to_json_min(str(tasks_file), str(out / "JSON_MIN"), is_dir=False)
    converter.convert_to_csv(str(tasks_file), str(out / "CSV"), is_dir=False, sep=",", header=True)
    control = interface.get_control()
    ours = sorted((t["id"], label) for t in tasks for a in t["annotations"] for label in labels(a))
    records = json.loads((out / "JSON_MIN" / "result.json").read_text(encoding="utf-8"))
    assert sorted((r["id"], r[control.name]) for r in records if control.name in r) == ours
    with next((out / "CSV").glob("*.csv")).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sorted((int(r["id"]), r[control.name]) for r in rows if r.get(control.name)) == ours
    return f"{len(tasks)} tasks, {len(ours)} labels, classes: {json.dumps(list(control.labels))}"


def labels(annotation: dict) -> list[str]:
    return [label for region in annotation["result"] for label in region["value"]["choices"]]


if __name__ == "__main__":
    print(check(Path(sys.argv[1]), Path(sys.argv[2])))
