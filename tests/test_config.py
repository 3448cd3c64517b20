"""Configurations: every shipped one loads, differences only, and errors in one line with the nearest known word."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from labelwise.config import Arm, Row, Study, canonical
from labelwise.errors import InputError
from labelwise.study.plan import check_study, schedule
from labelwise.study_file import load_study

STUDIES = sorted((Path(__file__).parents[1] / "studies").rglob("*.yaml"))
PROBE = ["learner.kind=probe", "learner.backbone=efficientnet_lite0"]


def test_there_are_studies() -> None:
    assert {path.stem for path in STUDIES} >= {"balanced", "digits"}


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_shipped_study_loads_and_says_only_differences(path: Path) -> None:
    study = load_study(path, PROBE)
    check_study(study)
    default = Study(learner=load_study(path).learner)
    for key, value in yaml.safe_load(path.read_text()).items():
        if key not in ("name", "question", "data", "learner"):
            loaded = getattr(load_study(path), key)
            assert loaded != getattr(default, key), f"{key}: {value} is the default already"


def test_the_published_study_is_the_default() -> None:
    study = Study()
    assert (study.data, study.start, study.pool, study.weighting) == ("cifar10", "stratified", "full", "none")
    assert (study.initial.share, study.initial.minimum, study.acquisition) == (0.10, 150, 0.05)
    assert (study.learner.kind, study.learner.backbone, study.learner.weights) == ("finetune", "efficientnet_b0", "hub")
    assert len(study.seeds) == 5
    assert len(Study.model_validate({"learner": {"kind": "probe"}}).seeds) == 10


def test_overrides_of_the_command_line() -> None:
    items = ["sizes=[3%]", "seeds=1", "arms=[stratified,margin]", *PROBE]
    study = load_study(STUDIES[[p.stem for p in STUDIES].index("balanced")], items, "some/folder")
    assert [row.name for row in study.sizes] == ["3%"]
    assert study.seeds == (0,)
    assert [arm.strategy for arm in study.arms] == ["stratified", "margin"]
    assert (study.learner.kind, study.learner.weights, study.data) == ("probe", "wheel", "some/folder")


@pytest.mark.parametrize(
    ("budget", "labels"),
    [(1_500, [150, *range(225, 1_501, 75)]), (500, [150, *range(175, 501, 25)]),
     (1_300, [150, *range(215, 1_300, 65), 1_300]), (50_000, list(range(5_000, 50_001, 2_500)))],
)  # fmt: skip
def test_schedule(budget: int, labels: list[int]) -> None:
    assert list(schedule(budget, Study())) == labels


@pytest.mark.parametrize(("text", "name"), [("3%", "3%"), ("10%/1%", "10%/1%"), (500, "500"), (0.5, "50%")])
def test_row_names(text: object, name: str) -> None:
    assert Row.model_validate(text).name == name


def test_arm_names_say_what_differs() -> None:
    study = Study(arms=(Arm(strategy="margin"), Arm(strategy="margin", start="random", options={"k": 2})))
    assert [study.arm_name(arm) for arm in study.arms] == ["margin", "margin start=random k=2"]


def test_canonical_text_does_not_depend_on_the_way_it_was_written() -> None:
    short = Study.model_validate({"seeds": 2, "arms": ["margin"], "sizes": "3%"})
    long = Study.model_validate(
        {"sizes": [{"share": 0.03}], "arms": [{"strategy": "margin", "pool": "full"}], "seeds": [0, 1]}
    )
    assert canonical(short) == canonical(long)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("siezs=[3%]", "unknown key 'siezs'; did you mean 'sizes'?"),
        ("learner.kin=probe", "unknown key 'learner.kin'; did you mean 'kind'?"),
        ("arms=[{strategi: margin}]", "unknown key 'arms.0.strategi'; did you mean 'strategy'?"),
        ("start=strat", "start: 'strat' is not known; did you mean 'stratified'?"),
        ("seeds=0", "seeds: at least one seed is needed"),
        ("seeds=[]", "seeds: at least one seed is needed"),
        ("seeds=[1,1]", "seeds: 1 stands there twice"),
        ("arms=[margin,margin]", "arms: margin stands there twice"),
        ("sizes=[3%,0.03]", "sizes: 3% stands there twice"),
        ("sizes=[3]%", "broken YAML"),
        ("sizes=[x]", "'x' is no row"),
        ("sizes=[120%]", "less than or equal to 1"),
        ("sizes=[]", "at least 1 item"),
        ("acquisition=many", "acquisition: input should be a valid number"),
        ("seeds", "write KEY=VALUE"),
        ("name=../escaped", "name: string should match pattern"),
        ("data=nb\udce9", "broken YAML: special characters are not allowed"),
        ("data=2020-13-45", "broken YAML: month must be in 1..12"),
        ("arms=&a [*a]", "arms.0"),
        ("seeds=[99999999999999999999]", "less than 2147483648"),
        ("learner={kind: probe, kind: finetune}", "the key 'kind' stands there twice, first in line 1"),
        ("data.x=1", "'data' is not a group of keys"),
    ],
)
def test_errors_are_one_line_with_what_and_where(tmp_path: Path, item: str, message: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("data: digits\n")
    with pytest.raises(InputError) as error:
        load_study(path, [item])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["a: [", "- 1", "\x00", "data: !!python/object/apply:os.system [ls]"])
def test_broken_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"study\.yaml"):
        load_study(path)


@pytest.mark.parametrize(("text", "line"), [
    ("data: digits\nseeds: 2\n\nseeds: 3\n", "line 4, column 1: .* key 'seeds' stands there twice, first in line 2"),
    ("learner:\n  lr: 1\n  lr: 2\n", "line 3, column 3: .* key 'lr' stands there twice, first in line 2"),
])  # fmt: skip
def test_a_key_that_stands_there_twice_is_named_with_its_lines(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(InputError, match=line):
        load_study(tmp_path / "study.yaml")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(InputError, match="cannot read the study"):
            load_study(path)


def test_every_field_has_a_check_beside_it() -> None:
    def fields(part: type[BaseModel]) -> list[str]:
        return [name for name, field in part.model_fields.items() if field.annotation is object]

    assert not any(fields(part) for part in (Study, Arm, Row))


def test_an_override_that_is_wrong_is_named_in_the_files_place(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("sizes: [3%]\n")
    with pytest.raises(InputError, match=r"^--set learner\.lr=-1: learner\.lr: "):
        load_study(file, ["seeds=2", "learner.lr=-1"])
    with pytest.raises(InputError, match=r"^--set seeds=0: seeds: at least one seed"):
        load_study(file, ["seeds=1", "seeds=0"])
    file.write_text("learner: {lr: -1}\n")
    with pytest.raises(InputError, match=f"^{file}: learner.lr: "):
        load_study(file, ["seeds=2"])


def test_names_of_classes_are_not_made_into_other_values(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("minority: [010, 001, 7]\nseeds: [3]\nmax_pixels: 64_000_000\n")
    study = load_study(path)
    assert study.minority == ("010", "001", "7")
    assert (study.seeds, study.max_pixels) == ((3,), 64_000_000)
    for names in ("[yes, a]", "[1.50, a]", "[a, ~]"):
        path.write_text(f"minority: {names}\n")
        with pytest.raises(InputError, match=r"minority: YAML takes a name for .*; put it into quotes"):
            load_study(path)


def test_an_unknown_key_of_the_columns_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown key 'columns.lable'; did you mean 'label'"):
        load_study(STUDIES[0], ["columns.lable=x"])
