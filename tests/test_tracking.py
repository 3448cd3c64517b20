"""MLflow's copy of a study, read back from a real store: whole, never doubled, and never in the study's way."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from typer.testing import CliRunner

import fake
from labelwise.analysis.results import rounds
from labelwise.cli import app
from labelwise.config import Study
from labelwise.errors import InputError
from labelwise.records import reading
from labelwise.study.executor import run_study
from labelwise.tracking import METRICS, Tracker

STUDY = Study.model_validate(
    {
        "name": "tracked",
        "data": "digits",
        "sizes": [90],
        "seeds": 1,
        "initial": {"minimum": 30},
        "acquisition": "30%",
        "learner": {"kind": "fake"},
        "arms": ["stratified", "random", "margin"],
    }
)


@pytest.fixture(autouse=True)
def _fake() -> None:
    fake.install()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables, which take seconds to make."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def uri(tmp_path: Path, empty: Path) -> str:
    return f"sqlite:///{shutil.copy(empty, tmp_path)}"


def copies(uri: str, name: str = "tracked") -> tuple[MlflowClient, list[Any]]:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    return client, list(client.search_runs([experiment.experiment_id]))


def assert_equals_the_records(uri: str, out: Path) -> None:
    """Every run once, and every metric of every round once, with the record's value at its number of labels."""
    frame = rounds(reading(out))
    client, runs = copies(uri)
    assert sorted(run.data.tags["arm"] for run in runs) == ["margin", "random", "stratified"]
    for run in runs:
        own = frame[frame["arm"] == run.data.tags["arm"]]
        assert run.info.status == "FINISHED"
        for name in METRICS:
            history = sorted(client.get_metric_history(run.info.run_id, name), key=lambda metric: metric.step)
            assert [metric.step for metric in history] == own["labels"].tolist()
            assert [metric.value for metric in history] == pytest.approx(own[name].tolist())


def test_a_study_is_copied(tmp_path: Path, uri: str) -> None:
    run_study(STUDY, tmp_path / "out", Tracker(uri, STUDY, tmp_path / "out", fake.Silent()))
    assert_equals_the_records(uri, tmp_path / "out")
    assert {"accuracy", "macro_f1", "loss", "labels_bought", "seconds_train", "images_forward", "labels_twice"} <= {
        *METRICS
    }
    margin = next(run for run in copies(uri)[1] if run.data.tags["arm"] == "margin")
    tags, params = margin.data.tags, margin.data.params
    assert {tags[key] for key in ("study", "row", "seed", "status")} == {"tracked", "90", "0", "done"}
    assert len(tags["identity"]) == 16
    assert tags["problems"] == "none"
    assert tags["used.learner"] == "fake"
    assert tags["mlflow.runName"] == "90 margin seed 0"
    expected = {"strategy": "margin", "start": "stratified", "learner.kind": "fake", "initial.minimum": "30",
                "acquisition": "0.3", "row.labels": "90", "budget": "90", "batch": "27", "data": "digits"}  # fmt: skip
    assert expected.items() <= params.items()
    assert not {"arms", "sizes", "seeds", "name"} & params.keys()


@pytest.mark.parametrize("stop_after", [3, 5])
def test_a_study_that_goes_on_doubles_nothing(tmp_path: Path, uri: str, stop_after: int) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run_study(STUDY, out, Tracker(uri, STUDY, out, fake.Silent(stop_after)))
    assert "RUNNING" in {run.info.status for run in copies(uri)[1]}
    run_study(STUDY, out, Tracker(uri, STUDY, out, fake.Silent()))
    assert_equals_the_records(uri, out)
    run_study(STUDY, out, Tracker(uri, STUDY, out, fake.Silent()))
    assert_equals_the_records(uri, out)


def test_a_study_without_mlflow_is_copied_afterwards_into_a_folder(tmp_path: Path) -> None:
    out, uri = tmp_path / "out", (tmp_path / "mlruns").as_uri()
    run_study(STUDY, out, fake.Silent())
    run_study(STUDY, out, Tracker(uri, STUDY, out, fake.Silent()))
    assert_equals_the_records(uri, out)


def failing(call: Callable[..., Any], after: int) -> Callable[..., Any]:
    """Return a call that works so many times."""
    left = iter(range(after))

    def maybe(*arguments: Any, **named: Any) -> Any:
        if next(left, None) is None:
            raise ConnectionError("the server\nis gone")
        return call(*arguments, **named)

    return maybe


@pytest.mark.parametrize(("name", "after"), [("log_batch", 5), ("create_run", 1), ("search_runs", 0)])
def test_a_lost_server_costs_one_line(
    tmp_path: Path, uri: str, name: str, after: int, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    tracker = Tracker(uri, STUDY, out, fake.Silent())
    setattr(tracker.client, name, failing(getattr(tracker.client, name), after))
    run_study(STUDY, out, tracker)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"warning: MLflow at {uri} failed (the server is gone); ")
    assert not list(out.glob("study.db-*"))  # reading along leaves nothing open
    assert (rounds(reading(out))["status"] == "done").all()
    run_study(STUDY, out, Tracker(uri, STUDY, out, fake.Silent()))
    assert_equals_the_records(uri, out)


def test_what_cannot_work_is_one_line(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(uri: str) -> str:
        with pytest.raises(InputError) as caught:
            Tracker(uri, STUDY, tmp_path, fake.Silent())
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert refused("http://127.0.0.1:9").startswith("--mlflow http://127.0.0.1:9: ")
    assert "sqlite:///mlflow.db" in refused("nosuch://place")
    assert f"there is no folder {tmp_path}/nodir/deep; make it" in refused(f"sqlite:///{tmp_path}/nodir/deep/x.db")
    assert not (tmp_path / "nodir").exists()
    client = MlflowClient(tracking_uri=uri)
    client.delete_experiment(client.create_experiment("tracked"))
    assert "'tracked' was deleted" in refused(uri)
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    assert refused(uri).endswith("install it with: pip install 'labelwise[mlflow]'")


def test_the_option(tmp_path: Path, uri: str) -> None:
    (tmp_path / "study.yaml").write_text("{name: tracked, data: digits, sizes: [40], seeds: 1, arms: [random]}")
    changes = ["--set", "initial.minimum=30", "--set", "learner.kind=fake"]
    arguments = ["run", str(tmp_path / "study.yaml"), *changes, "--out", str(tmp_path / "out"), "--mlflow", uri]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert [run.data.tags["arm"] for run in copies(uri)[1]] == ["random"]
