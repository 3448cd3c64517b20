"""Ray on a real local cluster of two nodes: equal records, a node that is lost, a driver that is killed, embeddings."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fake
from labelwise.analysis.results import rounds
from labelwise.config import Study
from labelwise.data.images import unseen
from labelwise.data.inspection import from_array
from labelwise.data.sources import open_dataset
from labelwise.errors import InputError
from labelwise.models import embeddings
from labelwise.models.backbone import load_backbone
from labelwise.models.learners import build_learner
from labelwise.records import reading
from labelwise.study import cluster as cluster_module
from labelwise.study.cluster import Cluster
from labelwise.study.deadline import Deadline, OutOfTime
from labelwise.study.executor import run_study
from labelwise.study.node import Parcel, made_with
from labelwise.study.runner import Kept
from labelwise.study.schedule import Answer, Job, Schedule
from labelwise.study_file import load_study

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
TINY = {"backbone": "test_efficientnet", "weights": "scratch", "device": "cpu"}
FINETUNE = [f"learner.{key}={value}" for key, value in {**TINY, "kind": "finetune", "epochs": 2}.items()]
FINETUNE += ["seeds=2", "sizes=[10%]", "arms=[random,margin]", "acquisition=20%", "initial.minimum=30"]
STUDY = load_study(ROOT / "studies" / "digits.yaml", FINETUNE)


class Nodes:
    """A local cluster: one node that has the driver, and one that can be lost, with an empty cache of its own."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster as Local

        self.elsewhere = folder / "cache of the second node"
        size = {"num_cpus": 1, "object_store_memory": 100 << 20}
        self.local = Local(initialize_head=True, head_node_args={**size, "include_dashboard": False})
        self.second = self.local.add_node(**size, env_vars={"LABELWISE_CACHE": str(self.elsewhere)})
        self.address = str(self.local.address)

    def lose_one(self) -> None:
        self.local.remove_node(self.second, allow_graceful=False)


def _started(folder: Path) -> Nodes:
    """Start the cluster; on a busy machine one of Ray's processes gives up waiting for another after 15 seconds."""
    for attempt in range(5):
        try:
            return Nodes(folder)
        except Exception as error:
            if attempt == 4 or "timed out during startup" not in str(error):
                raise
    raise AssertionError


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'labelwise[ray]'")
    made = _started(tmp_path_factory.mktemp("cluster"))
    ray.init(made.address, log_to_driver=False, logging_level=logging.ERROR)  # once: its processes are kept
    yield made
    ray.shutdown()
    made.local.shutdown()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the fine-tuned study, computed in one process."""
    out = tmp_path_factory.mktemp("alone")
    run_study(STUDY, out, fake.Silent(), workers=1)
    return reading(out).digest()


def test_embeddings_and_records_of_a_probe_are_equal(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "CHUNK", 256)
    probe = {"data": "digits", "sizes": ["10%"], "seeds": 2, "initial": {"minimum": 30}, "acquisition": 0.2,
             "arms": ["stratified", "random", "margin"], "learner": {**TINY, "kind": "probe"}}  # fmt: skip
    study, found = Study.model_validate(probe), []
    for name in ("here", "there"):
        monkeypatch.setenv("LABELWISE_CACHE", str(tmp_path / name))
        if name == "here":
            run_study(study, tmp_path / "records here", fake.Silent(), workers=1)
        else:
            with Cluster(study, nodes.address) as cluster:
                run_study(study, tmp_path / "records there", fake.Silent(), cluster=cluster)
        values = next((tmp_path / name).glob("embeddings/*/values.f16")).read_bytes()
        found.append((reading(tmp_path / f"records {name}").digest(), values))
    assert found[0] == found[1]
    assert not nodes.elsewhere.exists()  # the second node got all from the driver


def test_a_killed_driver_goes_on_with_equal_records(nodes: Nodes, alone: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "labelwise", "run", "studies/digits.yaml", "--out", str(tmp_path / "out")]
    for setting in FINETUNE:
        command += ["--set", setting]
    process = subprocess.Popen([*command, "--ray", nodes.address], cwd=ROOT, stdout=subprocess.DEVNULL)
    while process.poll() is None and _recorded(tmp_path / "out") < 2:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 2 <= _recorded(tmp_path / "out") < 20
    with Cluster(STUDY, nodes.address) as cluster:
        run_study(STUDY, tmp_path / "out", fake.Silent(), cluster=cluster)
    assert reading(tmp_path / "out").digest() == alone


def test_stopped_after_a_time_goes_on_with_equal_records(
    nodes: Nodes, alone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = fake.Silent()
    monkeypatch.setattr(Deadline, "over", lambda _: len(listener.rounds) == 3)
    with pytest.raises(OutOfTime, match="3 of 20 rounds"), Cluster(STUDY, nodes.address) as cluster:
        run_study(STUDY, tmp_path, listener, cluster=cluster)
    monkeypatch.undo()
    with Cluster(STUDY, nodes.address) as cluster:
        run_study(STUDY, tmp_path, fake.Silent(), cluster=cluster)
    assert reading(tmp_path).digest() == alone


def test_more_than_any_node_has_is_refused(nodes: Nodes) -> None:
    with pytest.raises(InputError, match="no node of the cluster has 64 CPUS and 2 GPUS; give less"):
        Cluster(STUDY, nodes.address, 64, 2).__enter__()


def test_a_node_lost_in_the_middle_changes_nothing(nodes: Nodes, alone: str, tmp_path: Path) -> None:
    class Losing(fake.Silent):
        def recorded(self, run: Any, done: Any) -> None:
            super().recorded(run, done)
            if len(self.rounds) == 3:
                nodes.lose_one()

    listener = Losing()
    with Cluster(STUDY, nodes.address) as cluster:
        run_study(STUDY, tmp_path, listener, cluster=cluster)
    assert len(listener.rounds) == len(set(listener.rounds)) == len(rounds(reading(tmp_path)))
    assert reading(tmp_path).digest() == alone


def _recorded(folder: Path) -> int:
    try:
        return len(rounds(reading(folder)))
    except InputError:
        return 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ray://host:10001",), "run the command on a node of the cluster with --ray auto"),
        (("nowhere",), "give auto .* local .* or host:port"),
        (("auto", 0.0), "--num-cpus 0: a task takes more than 0"),
        (("auto", 1.0, 1.5), "--num-gpus 1.5: give a part of one GPU such as 0.25, or a whole number"),
        (("auto", 1.0, -1.0), "--num-gpus -1"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'labelwise[ray]'")
    with pytest.raises(InputError, match=message):
        Cluster(STUDY, *arguments)


def test_an_address_where_nothing_answers_is_refused_at_once() -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'labelwise[ray]'")
    with pytest.raises(InputError, match="nothing answers there"):
        cluster_module._check_answers("127.0.0.1:9")


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'labelwise\[ray\]'"):
        Cluster(STUDY, "auto")


def test_a_node_that_would_compute_otherwise_is_refused() -> None:
    dataset = open_dataset(STUDY)
    learner = build_learner(dataset, STUDY, unseen)
    same = Parcel(STUDY, dataset, {}, learner.key, made_with(learner.used))
    assert same.runner().learner.key == learner.key
    older = replace(same, made_with={**same.made_with, "torch": "1.0"})
    with pytest.raises(InputError, match=r"would not be comparable: torch \S+ instead of 1\.0; every node needs"):
        older.runner()
    with pytest.raises(InputError, match="other weights"):
        replace(same, key="another").runner()


@pytest.mark.parametrize("encoded", [False, True])
def test_images_that_are_sent_embed_to_equal_bits(encoded: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype(np.uint8)
    images = from_array(pixels, [str(i) for i in range(40)])[0]
    if encoded:
        from io import BytesIO

        from PIL import Image

        blobs = []
        for image in pixels:
            Image.fromarray(image).save(blob := BytesIO(), "png")
            blobs.append(blob.getvalue())
        images = replace(images, pixels=None, blob=blobs.__getitem__, max_pixels=10_000)
    backbone, chosen = load_backbone(STUDY.learner), np.arange(5, 25)
    module = embeddings.scoring_module(backbone, 128)
    sent = images.part(chosen)
    assert len(sent) == 20
    assert sent.names[0] == "5"
    assert (
        embeddings.embed(sent, np.arange(20), backbone, module) == embeddings.embed(images, chosen, backbone, module)
    ).all()


def test_what_was_lost_is_given_out_first_and_its_first_fit_is_made_again() -> None:
    from labelwise.study.plan import plan_runs

    runs = plan_runs(STUDY, open_dataset(STUDY))
    schedule = Schedule([Job(run, f"{run.name} {run.seed}") for run in runs], lambda _: None)
    job, order = schedule.take() or pytest.fail("nothing to do")
    other = schedule.take() or pytest.fail("the other seed waits for nothing")
    assert other[0].run.seed != job.run.seed
    assert schedule.take() is None  # both margins wait for the first fits that the randoms make
    schedule.put_back(job)
    assert schedule.take() == (job, order)
    schedule.receive(job, Answer(None, Kept()))
    follower = schedule.take() or pytest.fail("the first fit is there")
    assert follower[0].run.name == "margin"
    assert isinstance(follower[1].kept, Kept)
