"""What a report without pictures leaves out of the configuration that it shows."""

from __future__ import annotations

from labelwise.config import Study
from labelwise.report.private import without_paths


def test_no_path_of_a_file_that_answers_is_shown() -> None:
    people = {"kind": "file", "path": "/home/anna/people.csv"}
    arms = ["stratified", {"strategy": "margin", "labeler": people}, {"strategy": "margin", "start": "zero-shot"}]
    zero = {"model": "file:/home/anna/guesses.csv", "weights": "/home/anna/clip"}
    study = Study.model_validate({"data": "/home/anna/photos", "arms": arms, "labeler": people, "zero_shot": zero})
    found = without_paths(study)
    assert "anna" not in found.model_dump_json()
    assert found.zero_shot.model == "file:guesses.csv"
    assert [found.arm_name(arm) for arm in found.arms] == [study.arm_name(arm) for arm in study.arms]
    assert found.arm_name(found.arms[2]) == "margin start=guesses.csv", "the same with and without a folder"
