"""A whole study, timed, and one that is killed in the middle: `python -m benchmarks.gpu.study FOLDER` is its victim."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.gpu import setups, speed
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.setups import random_images, random_model

if TYPE_CHECKING:
    from labelwise.config import Study
    from labelwise.loop import Round
    from labelwise.study.plan import Run

SHARE = 60
"""Of a pack's own speed, what a study is to reach, in %."""
ARMS = ["stratified", "random", "uncertainty", "margin", "entropy_typicality"]
ROOT = Path(__file__).parents[2]
FILES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
SPARE = 5
"""Seconds before the end of the section at which a study ends."""
AFTER = 3
"""Recorded rounds after which a study is killed."""


class Listener:
    """Notes when runs begin, and counts their rounds. say: print a line for each."""

    def __init__(self, say: bool = False) -> None:
        self.say, self.began, self.rounds = say, 0.0, 0

    def work(self, what: str, done: int, total: int) -> None:
        """Long work before the first run."""

    def planned(self, runs: list[Run]) -> None:
        """The learner is there."""
        self.began = time.monotonic()

    def recorded(self, run: Run, done: Round) -> None:
        """A round was recorded."""
        self.rounds += 1
        if self.say:
            print("round", flush=True)

    def skipped(self, run: Run, rounds: int) -> None:
        """Rounds were recorded before."""


def run(bench: Bench) -> None:
    """Kill one study, and time another."""
    bench.part("kill -9 and resume", 25, killed)
    bench.part("a study", 35, timed_study)


def data(folder: Path, pool: int, test: int) -> Path:
    """Write random images of 32x32 pixels in the form of CIFAR-10's official files."""
    images, labels = random_images(pool + test, 32)
    flat = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    cuts = [*(pool * i // 5 for i in range(6)), pool + test]
    folder.mkdir(parents=True, exist_ok=True)
    for name, start, end in zip(FILES, cuts, cuts[1:], strict=False):
        names = [f"{i}.png".encode() for i in range(start, end)]
        part = {b"data": flat[start:end], b"labels": labels[start:end].tolist(), b"filenames": names}
        (folder / name).write_bytes(pickle.dumps(part, 2))
    classes = [f"class {k}".encode() for k in range(setups.CLASSES)]
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": classes}, 2))
    return folder


def weights(name: str, folder: Path) -> Path:
    """Write random weights, which a study then begins with as with pretrained ones."""
    import timm

    path = folder / f"{name}.pth"
    if not path.exists():
        random_model(name, 32)  # seeds torch
        torch.save(timm.create_model(name).state_dict(), path)
    return path


def values(bench: Bench, name: str, images: Path, labels: int | str, **changes: Any) -> dict[str, Any]:
    """Return a study of a backbone with random weights."""
    learner = {
        "backbone": name,
        "weights": str(weights(name, bench.folder)),
        "device": bench.sizes.device,
        "batch": bench.sizes.batch,
        "patience": setups.FOREVER,
        "epochs": bench.sizes.study[4],
    }
    return {"data": str(images), "sizes": [labels], "arms": ARMS, "learner": learner, **changes}


def workers(bench: Bench) -> int | None:
    """Return how many runs go on at once: on a GPU as many as its learner takes; on the CPU one, without processes."""
    return None if bench.sizes.device == "cuda" else 1


def timed_study(bench: Bench) -> None:
    """Time a study from the first fit to the last record, or to the end of the time."""
    from labelwise.analysis.results import rounds
    from labelwise.config import Study
    from labelwise.records import reading
    from labelwise.study.deadline import Deadline, OutOfTime
    from labelwise.study.executor import run_study

    own = speed.pack_speed(bench)
    pool, test, labels, seeds, _ = bench.sizes.study
    images = bench.data or data(bench.folder / "images", pool, test)
    chosen = values(
        bench,
        bench.sizes.backbone,
        images,
        "1%" if bench.data else labels,
        seeds=seeds,
        acquisition=0.14,
        initial={"minimum": round(0.3 * labels)},
    )
    listener, out, started = Listener(), bench.folder / "study", time.monotonic()
    whole = "all of it"
    try:
        run_study(Study.model_validate(chosen), out, listener, workers(bench), deadline=Deadline(bench.ends - SPARE))
    except OutOfTime:
        whole = "broken off when the time was over"
    ended = time.monotonic()
    frame = rounds(reading(out))
    fits = frame.drop_duplicates("fit_key")
    backward, seconds = int(fits["images_backward"].sum()), ended - listener.began
    fitted = f"{len(fits)} fits in {frame.groupby(['arm', 'seed']).ngroups} runs, {seconds:.1f} s, {whole}"
    what = "the real CIFAR-10, row 1 %" if bench.data else f"{pool:,} random images, {labels} labels"
    bench.rate(f"study, {bench.sizes.backbone}: images backward", backward / seconds, note=f"{what}; {fitted}")
    bench.rate("the study, of one pack's own speed", 100 * backward / seconds / own, "%", SHARE)
    forward = int(frame["images_forward"].sum())
    bench.rate("the study: images through the network in any way", forward / seconds, note="as charged to its runs")
    bench.rate("before the first fit: images, learner, graphs", listener.began - started, "s")
    for column in ("seconds_train", "seconds_score", "seconds_evaluate", "seconds_select"):
        each = f"{column.removeprefix('seconds_')}: mean of a round"
        bench.rate(
            each,
            float(frame[column].mean()),
            "s",
            note="fits share the GPU, so each is charged its share"
            if column == "seconds_train"
            else "from call to result, with what waits for others",
        )


def killed(bench: Bench) -> None:
    """Kill a study in the middle, resume it, and compare its records with those of one that nobody killed."""
    from labelwise.config import Study
    from labelwise.records import reading
    from labelwise.study.executor import run_study

    images, seeds = data(bench.folder / "small", 150, 50), 3 if bench.sizes.device == "cuda" else 1
    more = {"seeds": seeds, "arms": ARMS[1:4], "acquisition": 0.25, "initial": {"minimum": 15}}
    chosen = values(bench, setups.TINY.backbone, images, 40, **more)
    study: Study = Study.model_validate(chosen)
    run_study(study, bench.folder / "whole", Listener(), workers(bench))
    request = bench.folder / "victim.json"
    request.write_text(json.dumps({"study": chosen, "workers": workers(bench)}))
    command = [sys.executable, "-m", "benchmarks.gpu.study", str(request), str(bench.folder / "killed")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            seen = 0
            for line in process.stdout:
                seen += line == "round\n"
                if seen == AFTER:
                    break
        finally:
            process.kill()
    listener = Listener()
    run_study(study, bench.folder / "killed", listener, workers(bench))
    same = reading(bench.folder / "whole").digest() == reading(bench.folder / "killed").digest()
    note = f"killed after {seen} rounds, {listener.rounds} more when it was resumed"
    bench.same("a study that was killed and resumed: its records", same and seen == AFTER and listener.rounds > 0, note)


def victim() -> None:
    """Run the study that a file describes, and say each round."""
    from labelwise.config import Study
    from labelwise.study.executor import run_study

    request = json.loads(Path(sys.argv[1]).read_text())
    run_study(Study.model_validate(request["study"]), Path(sys.argv[2]), Listener(say=True), request["workers"])


if __name__ == "__main__":
    victim()
