"""Files of other tools, and bad ones: every trap once, and one clear line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.labelling.exchange.projects import Project

from labelwise.errors import InputError
from labelwise.labelling.exchange import Imported, import_file
from labelwise.labelling.exchange.studio_config import parse_config
from labelwise.labelling.snapshot import Snapshot
from pictures import encoded, picture

CONFIG = """<View><Header value="x"/><Image name="photo" value="$img"/>
<Choices name="animal" toName="photo"><Choice value="cat" alias="c"/><Choice value="dog"/></Choices></View>"""
IMAGE = '<Image name="i" value="$i"/>'
TWICE = '<Choice value="x"/><Choice value="x"/>'


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    blobs = {path: encoded(picture(i)) for i, path in enumerate(["a.png", "sub/b.png", "sub/c d.png", "other/b.png"])}
    return Project(tmp_path / "photos", blobs).snapshot(model=False)


def take(tmp_path: Path, snapshot: Snapshot, content: Any, config: str = CONFIG, name: str = "export.json") -> Imported:
    (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    (tmp_path / "config.xml").write_text(config)
    return import_file(tmp_path / name, snapshot)


def chosen(*names: str, **more: Any) -> dict[str, Any]:
    result = {"from_name": "animal", "to_name": "photo", "type": "choices", "value": {"choices": list(names)}}
    return {"id": 1, "completed_by": 7, "was_cancelled": False, "result": [result] if names else [], **more}


def task(img: str, *annotations: Any, **more: Any) -> dict[str, Any]:
    return {"id": 5, "data": {"img": img, **more}, "annotations": list(annotations), "predictions": [12, 13]}


def said(found: Imported) -> list[tuple[Any, ...]]:
    return [(e.image, e.annotator, e.kind, e.klass) for e in found.events if e.image]


def test_names_come_from_the_configuration_and_aliases_are_undone(tmp_path: Path, snapshot: Snapshot) -> None:
    other = {"from_name": "box", "to_name": "photo", "type": "rectanglelabels", "value": {"x": 1}}
    first = chosen("c", created_at="2026-01-31T12:00:00.5Z", lead_time=2.5)
    first["result"].insert(0, other)
    found = take(tmp_path, snapshot, [task("a.png", first)])
    assert said(found) == [(1, "label studio 7", "label", 0)]
    assert (found.events[0].time, found.events[0].seconds, found.events[0].purpose) == (
        "2026-01-31T12:00:00.5Z", 2.5, "import",
    )  # fmt: skip


@pytest.mark.parametrize(("address", "image"), [
    ("/data/local-files/?d=photos/sub/c%20d.png", 3), ("/data/local-files/?d=x/photos/other/b.png", 4),
    ("/data/upload/3/1a2b3c4d-a.png", 1), ("http://host:8080/data/upload/a.png?x=1", 1), ("sub\\b.png", 2),
    ("./a.png", 1),
])  # fmt: skip
def test_images_are_found_by_their_address(tmp_path: Path, snapshot: Snapshot, address: str, image: int) -> None:
    found = take(tmp_path, snapshot, [task(address, chosen("dog"))])
    assert [event.image for event in found.events] == [image]


def test_a_name_that_two_images_have_is_not_guessed(tmp_path: Path, snapshot: Snapshot) -> None:
    tasks = [task("/data/upload/3/1a2b3c4d-b.png", chosen("dog")), task("b.png", chosen("dog"))]
    with pytest.raises(
        InputError, match=r"n: 2 names are of several images: .*4d-b.png \(sub/b.png or other/b.png\), b"
    ):
        take(tmp_path, snapshot, tasks)
    found = take(tmp_path, snapshot, [task("/u/b.png", chosen("dog")), task("1a2b3c4d-a.png", chosen("dog"))])
    assert [event.image for event in found.events] == [1]
    assert "1 images of the file are not in the project, or have another content: /u/b.png" in found.notes
    assert "1 images were found by their file name alone: 1a2b3c4d-a.png" in found.notes


@pytest.mark.parametrize("path", ["dogs/a.png", "?d=dogs/c d.png", "dogs\\c d.png", "/x/dogs/c%20d.png"])
def test_another_folders_image_is_not_taken(tmp_path: Path, snapshot: Snapshot, path: str) -> None:
    found = take(tmp_path, snapshot, [task(path, chosen("dog")), task("sub/b.png", chosen("dog"))])
    assert [event.image for event in found.events] == [2]
    assert found.notes[0].startswith("1 images of the file are not in the project, or have another content: ")
    with pytest.raises(InputError, match=r"no row is of an image of the project \(.*png lies in another folder\); is"):
        take(tmp_path, snapshot, [task(path, chosen("dog"))])


def test_content_decides_before_the_path(tmp_path: Path, snapshot: Snapshot) -> None:
    sha256 = snapshot.images[2].sha256
    found = take(tmp_path, snapshot, [task("upload/zzz.png", chosen("dog"), labelwise_id=f"sha256:{sha256}")])
    assert [event.image for event in found.events] == [3]
    with pytest.raises(InputError, match="no row is of an image"):  # the picture at that path is another one
        take(tmp_path, snapshot, [task("a.png", chosen("dog"), labelwise_id="sha256:" + "0" * 64)])


def test_people_skips_and_changes_of_mind(tmp_path: Path, snapshot: Snapshot) -> None:
    email = {"id": 3, "email": "anna@example.org", "first_name": "", "last_name": ""}
    found = take(tmp_path, snapshot, [
        task("a.png", chosen("dog", completed_by=email, created_at="2026-02-02T00:00:00Z"),
             chosen("c", completed_by=email, created_at="2026-02-01T00:00:00Z")),
        task("sub/b.png", chosen(was_cancelled=True), chosen("dog", completed_by=None), chosen()),
    ])  # fmt: skip
    assert said(found) == [
        (1, "anna@example.org", "label", 0), (1, "anna@example.org", "label", 1), (2, "label studio 7", "skip", None),
        (2, "label studio", "label", 1),
    ]  # fmt: skip
    assert found.notes == ["1 annotations choose nothing, and were passed over"]


def test_json_min(tmp_path: Path, snapshot: Snapshot) -> None:
    records = [
        {"img": "a.png", "id": 1, "animal": "c", "annotator": 2, "annotation_id": 4, "lead_time": 3.5,
         "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z"},
        {"img": "sub/b.png", "id": 2, "animal": "dog", "annotator": "ben@example.org"}, {"img": "sub/c d.png", "id": 3},
    ]  # fmt: skip
    found = take(tmp_path, snapshot, records)
    assert said(found) == [(1, "label studio 2", "label", 0), (2, "ben@example.org", "label", 1)]
    assert found.events[0].time == "2026-01-02T00:00:00Z"
    with pytest.raises(InputError, match="several classes in one annotation"):
        take(tmp_path, snapshot, [{"img": "a.png", "animal": {"choices": ["c", "dog"]}, "annotator": 1}])


def test_without_a_configuration_the_only_control_is_taken(tmp_path: Path, snapshot: Snapshot) -> None:
    file = tmp_path / "alone.json"
    file.write_text(json.dumps([task("a.png", chosen("wolf"))]))
    found = import_file(file, snapshot)
    assert [(e.kind, e.name) for e in found.events][:1] == [("class-added", "wolf")]
    assert said(found) == [(1, "label studio 7", "label", 2)]
    other = chosen("dog")
    other["result"][0]["from_name"] = "mood"
    file.write_text(json.dumps([task("a.png", chosen("dog"), other)]))
    with pytest.raises(InputError, match="one control are needed, found: animal, mood; give its configuration"):
        import_file(file, snapshot)


@pytest.mark.parametrize(("tasks", "message"), [
    ({"tasks": []}, "not a list of tasks"), ([1], "not a list of tasks"), ("[", "not JSON"),
    ("[" * 100_000, "nested too deeply"),
    ([task("a.png", chosen("c", "dog"))], r"task 5: several classes in one annotation \(cat, dog\)"),
    ([task("a.png", chosen("bird"))], "the configuration has no choice 'bird'"),
    ([task("a.png", chosen("dog", created_at="yesterday"))], "the time 'yesterday' is not ISO 8601"),
    ([task("a.png", chosen("dog", lead_time="x"))], "'x' is no number of seconds"),
    ([task("a.png", 3)], "its annotations are no list of objects"), ([{"data": 3}], "its data are no object"),
    ([{"data": {"x": 1}, "annotations": []}], "no image in 'img'"),
    ([task("a.png", {"result": 3})], "an annotation's result is no list"),
    ([task("a.png", chosen("dog", completed_by="x" * 101))], "an annotator's name has 1 to 100 characters"),
    ([task("nowhere.png", chosen("dog"))], "no row is of an image of the project"),
])  # fmt: skip
def test_bad_exports_are_one_line(tmp_path: Path, snapshot: Snapshot, tasks: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        take(tmp_path, snapshot, tasks)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("config", "message"), [
    ("<View>", "broken XML"), ('<!DOCTYPE x [<!ENTITY a "b">]><View/>', "DOCTYPE"), ("<View/>", "found: none"),
    (f'<View>{IMAGE}<Choices name="a" toName="i"/><Choices name="b" toName="i"/></View>', "found: a, b"),
    ('<View><Text name="t" value="$t"/><Choices name="a" toName="t"/></View>', "found: none"),
    (f'<View>{IMAGE}<Choices name="a" toName="i">{TWICE}</Choices></View>', "'x' is empty or stands"),
])  # fmt: skip
def test_bad_configurations_are_one_line(config: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_config(config, "config.xml")


def test_a_plain_csv_of_paths_and_labels(tmp_path: Path, snapshot: Snapshot) -> None:
    found = take(tmp_path, snapshot, "﻿path, label,extra\na.png,dog,1\nsub/b.png,wolf,2\n", name="labels.csv")
    assert said(found) == [(1, "import", "label", 1), (2, "import", "label", 2)]
    assert [e.name for e in found.events if e.kind == "class-added"] == ["wolf"]


@pytest.mark.parametrize(("text", "message"), [
    ("", "no column 'path'"), ("path,lable\n", "no column 'label'; did you mean 'lable'"),
    ("path,label\na.png,\n", "line 2: the label is empty; give a class, or write unlabelled"),
    ("path,label\na.png,None\n", "line 2: the label is 'None', which reads like none; give a class, or write unlabel"),
    ("path,label\na.png,-1\n", "line 2: the label is '-1', which reads like none"),
    ("path,label\n,cat\n", "line 2: neither path nor sha256"),
    ("path,label,path\n", "two columns 'path'"), ("path,label\na.png,cat,more\n", "line 2: more cells than columns"),
    ("path,label,status\na.png,cat,labeled\n", "'labeled' is no status; did you mean 'label'"),
    ("path,label,time\na.png,cat,1/2/2026\n", "is not ISO 8601"), ("path,label,round\na.png,cat,-1\n", "of a round"),
    ("path,label,seconds\na.png,cat,nan\n", "no number of seconds"), ('path,label\n"a.png,cat\n', "broken CSV"),
    ("path,label\na.png," + "x" * 101, "a class name has 1 to 100 characters"),
    ("path,label\na.png,\"x\ny\"\n", "a class name has 1 to 100 characters on one line"),
    ("path,label\nx.png,cat\n", "no row is of an image of the project"),
])  # fmt: skip
def test_bad_csv_is_one_line(tmp_path: Path, snapshot: Snapshot, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        take(tmp_path, snapshot, text, name="labels.csv")
    assert "\n" not in str(error.value)


def test_other_files_are_refused(tmp_path: Path, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"neither \.csv nor \.json"):
        import_file(tmp_path / "labels.pkl", snapshot)
    with pytest.raises(InputError, match="there is no such file"):
        import_file(tmp_path / "none.csv", snapshot)
    (tmp_path / "latin.csv").write_bytes(b"path,label\n\xe4.png,cat\n")
    with pytest.raises(InputError, match="not UTF-8"):
        import_file(tmp_path / "latin.csv", snapshot)
    monkeypatch.setattr("labelwise.labelling.exchange.reading.MAX_BYTES", 10)
    with pytest.raises(InputError, match="at most 0 are read: split the file"):
        import_file(tmp_path / "latin.csv", snapshot)


def test_an_older_answer_does_not_undo_a_newer_one(tmp_path: Path) -> None:
    project = Project(tmp_path / "photos", {"a.png": encoded(picture(1)), "b.png": encoded(picture(2))})
    project.say(1, "anna", "cat")
    project.say(2, "anna", "cat")
    snapshot = project.snapshot(model=False)
    rows = "a.png,dog,anna,2020-01-01T00:00:00Z\nb.png,dog,anna,2030-01-01T00:00:00Z\na.png,cat,anna,\n"
    found = take(tmp_path, snapshot, "path,label,annotator,time\n" + rows, name="labels.csv")
    assert said(found) == [(2, "anna", "label", 1)]
    assert found.notes == ["1 answers are older than what the same person says in the project, and were passed over"]


def test_renamed_and_merged_classes_are_still_known(tmp_path: Path) -> None:
    from labelwise.labelling.events import Event

    project = Project(tmp_path / "photos", {"a.png": encoded(picture(1)), "b.png": encoded(picture(2))})
    text = "path,label\na.png,wolf\nb.png,dog\n"
    for event in take(tmp_path, project.snapshot(model=False), text, name="labels.csv").events:
        project.add(event)
    project.add(Event("rename", "class-renamed", "anna", klass=2, name="Wolf"))
    project.add(Event("merge", "class-merged", "anna", klass=1, into=0))
    assert take(tmp_path, project.snapshot(model=False), text, name="labels.csv").events == []
    new = take(
        tmp_path,
        project.snapshot(model=False),
        "path,label,annotator\na.png,dog,ben\nb.png,wolf,ben\n",
        name="labels.csv",
    )
    assert said(new) == [(1, "ben", "label", 0), (2, "ben", "label", 2)]


def test_the_test_side_comes_back_only_for_images_without_answers(tmp_path: Path) -> None:
    project = Project(tmp_path / "photos", {"a.png": encoded(picture(1)), "b.png": encoded(picture(2))})
    project.say(1, "anna", "cat")
    text = "path,label,annotator,source\na.png,dog,ben,test\nb.png,dog,ben,test review\n,,,\n".replace(",,,\n", "")
    found = take(tmp_path, project.snapshot(model=False), text, name="labels.csv")
    assert found.test == [1, 2]
    assert [event.purpose for event in found.events] == ["import", "test"]  # the review says what b.png is


def test_a_name_in_another_spelling_means_the_same_class(tmp_path: Path, snapshot: Snapshot) -> None:
    text = "path,label\na.png,cafe\u0301\nsub/b.png,caf\u00e9\nother/b.png,10\nsub/c d.png,2\n"
    found = take(tmp_path, snapshot, text, name="labels.csv")
    added = {event.klass: event.name for event in found.events if event.kind == "class-added"}
    assert list(added.values()) == ["cafe\u0301", "10", "2"]
    assert [added[klass] for *_, klass in said(found)] == ["cafe\u0301", "cafe\u0301", "10", "2"]
    assert any(note.startswith("1 class names differ from the project's in spaces or Unicode") for note in found.notes)


def test_rows_without_a_label_and_declared_names(tmp_path: Path, snapshot: Snapshot) -> None:
    text = "path,label,status\n,NA,class\na.png,NA,label\nsub/b.png,,unlabelled\n"
    found = take(tmp_path, snapshot, text, name="labels.csv")
    assert [event.name for event in found.events if event.kind == "class-added"] == ["NA"]
    assert found.answers == 1


def test_different_labels_of_one_person_are_refused_unless_a_time_says_which_is_the_last(
    tmp_path: Path, snapshot: Snapshot
) -> None:
    rows = "path,label\na.png,cat\nsub/b.png,dog\na.png,dog\n"
    with pytest.raises(
        InputError, match=r"1 images have different labels of one person: a.png \(cat and dog\); keep one"
    ):
        take(tmp_path, snapshot, rows, name="labels.csv")
    assert take(tmp_path, snapshot, rows.replace("a.png,dog", "a.png,cat"), name="labels.csv").answers == 2
    two = "path,label,annotator\na.png,cat,anna\na.png,dog,ben\n"
    assert take(tmp_path, snapshot, two, name="labels.csv").answers == 2
