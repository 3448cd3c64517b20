"""The engine and the scorer as a study uses them: fits that come and go, and a whole pool scored."""

from __future__ import annotations

import time

import numpy as np
import torch

from benchmarks.gpu import setups, speed
from benchmarks.gpu.bench import Bench, timed
from labelwise.models import scoring as library
from labelwise.models.learner import Dropout
from labelwise.models.scoring import Scorer, stochastic

SCORED = 300_000
RATE = 0.5


def engine(bench: Bench) -> None:
    """Time fits of two lengths in continuous batches, with their validations."""
    few, many, epochs = bench.sizes.whole
    made = setups.setup(bench)
    used = setups.engine(made, setups.packs(made, bench.sizes.count), bench.sizes.lanes)
    held = (few * 15 // 100, many * 15 // 100)
    used.fit(made.fit(few - held[0], held[0], 1, 0))
    count = 2 * sum(len(lane.places) for lane in used.lanes)
    fits = [made.fit((few, many)[i % 2] - held[i % 2], held[i % 2], epochs, i) for i in range(count)]
    started = time.perf_counter()
    done = setups.trained(used, fits)
    seconds = time.perf_counter() - started
    used.stop()
    rate = sum(fit.course.steps for fit in done) * made.recipe.batch / seconds
    own = speed.pack_speed(bench)
    note = f"{count} fits of {few} and {many} labels, {epochs} epochs, {bench.sizes.lanes} packs; {seconds:.1f} s"
    bench.figures["ours, engine"] = rate
    bench.rate(f"training, {bench.sizes.backbone}, the engine with validations", rate, note=note)
    bench.rate("the engine, of one pack's own speed", 100 * rate / own, "%")


def scoring(bench: Bench) -> None:
    """Time the scoring of a whole pool with one fit's weights, as results come to the host."""
    made = setups.setup(bench)
    library.BATCH = bench.sizes.scored
    scorer = Scorer(made.model, made.source)
    state = {name: value.cpu().numpy() for name, value in made.model.state_dict().items()}
    pool = np.arange(len(made.labels))
    width = made.model.head.in_features
    rows = np.zeros((len(pool), width), np.float16)

    def score(embeddings: bool, passes: int) -> None:
        dropout = Dropout(passes, RATE, 0)
        with scorer.using(state) as scores:
            for start in range(0, len(pool), scorer.batch):
                part = pool[start : start + scorer.batch]
                features, logits = scores(part)
                logits.cpu()
                if embeddings:
                    rows[part] = features.half().cpu().numpy()
                if passes:
                    stochastic(features, dropout, start, state)

    passes = bench.sizes.passes
    for what, embeddings, drawn, aim in (
        ("logits", False, 0, SCORED),
        (f"logits and embeddings of {width}", True, 0, None),
        (f"logits and {passes} passes with dropout", False, passes, None),
    ):
        rate = len(pool) / timed(bench, lambda: score(embeddings, drawn))  # noqa: B023  called before the next one
        bench.rate(f"scoring, {bench.sizes.backbone}: {what}", rate, aim=aim, note=f"batches of {scorer.batch}")
    if bench.device.type == "cuda":
        whole = torch.cuda.mem_get_info()[1] / 2**30
        bench.rate("memory of this GPU", whole, "GiB")
