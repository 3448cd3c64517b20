"""Who answers in a study: the labeler of each run, and the zero-shot model that some arms start with."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from labelwise.arrays import floored
from labelwise.config import Study, canonical, digest
from labelwise.data.dataset import Dataset
from labelwise.data.images import Progress, unseen
from labelwise.data.subsets import Subset, draw_subset
from labelwise.labelers import Labeler, LabelEvents
from labelwise.labelers.table import build_labeler, labeler_key
from labelwise.metrics import evaluate, plain
from labelwise.parts import Labeling
from labelwise.state import State
from labelwise.study.plan import Embedded, Run, asks_zero_shot, initial_set, tuning_set
from labelwise.zero_shot import Guesses, ZeroShotModel, open_zero_shot
from labelwise.zero_shot.audit import audit


@dataclass(frozen=True)
class Answers:
    """All that answers in a study. keys: what -> what stands for its content, for what was read from elsewhere;
    embedded: the pretrained embeddings, for starts that look at them. Runs in several threads may ask at once.
    """

    study: Study
    dataset: Dataset
    model: ZeroShotModel | None
    keys: dict[str, str]
    embedded: Embedded
    _labelers: dict[str, Labeler] = field(default_factory=dict)
    _guesses: WeakValueDictionary[str, Guesses] = field(default_factory=WeakValueDictionary)
    _latest: list[Guesses] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def labeler(self, run: Run) -> Labeler:
        """Return who answers in a run."""
        labeling = _labeling(run)
        key = f"{canonical(labeling)} {run.seed}"
        with self._lock:
            if key not in self._labelers:
                self._labelers[key] = build_labeler(labeling, self.dataset, run.seed, self.study.leaves_out)
            return self._labelers[key]

    def guesses(self, run: Run, subset: Subset, progress: Progress = unseen) -> Guesses | None:
        """Return what the zero-shot model says of the images that a run may start with; None where it asks nobody.

        Kept as long as a run of the row and seed holds them, and the latest for the next arm.
        """
        if not asks_zero_shot(run.arm):
            return None
        assert self.model is not None
        whole = self.study.zero_shot.pool == "full"
        key = "guesses" if whole else f"guesses {run.row.name} {run.seed}"
        with self._lock:  # one thread asks the model, the others wait for what it says
            found = self._guesses.get(key)
            if found is None:
                found = self.model.predict(self.dataset.pool if whole else subset.indices, progress)
                self._guesses[key] = found
            self._latest[:] = [found]
        return found

    def start(self, run: Run, subset: Subset) -> LabelEvents:
        """Return a run's initial labelled set."""
        guesses = self.guesses(run, subset)
        return self._answered(run, initial_set(self.dataset, self.study, subset, run, self.embedded, guesses), guesses)

    def tuning(self, run: Run, subset: Subset) -> LabelEvents:
        """Return the labels on which a run's learner is tuned: those that it starts with, wrong ones included."""
        guesses = self.guesses(run, subset)
        return self._answered(run, tuning_set(self.dataset, self.study, subset, run, self.embedded, guesses), guesses)

    def _answered(self, run: Run, indices: Any, guesses: Guesses | None) -> LabelEvents:
        if guesses is None or run.arm.start == "zero-shot-true":
            return self.labeler(run).label(indices)
        return LabelEvents(indices, guesses.labels[np.searchsorted(guesses.indices, indices)], "zero-shot")

    def key(self, run: Run) -> str:
        """Return what stands for the answers of a run beside its configuration; "" where all of them are true."""
        zero = [canonical(self.study.zero_shot), self.keys["zero-shot"]] if asks_zero_shot(run.arm) else []
        people = [self.keys[path]] if (path := _labeling(run).path) else []
        return digest(*zero, *people) if zero or people else ""

    def used(self, run: Run) -> dict[str, str]:
        """Return what to record of a run's answers, in words; nothing where all of them are true."""
        labeling = _labeling(run)
        found = {} if labeling.kind == "truth" else {"labels from": labeling.name}
        if asks_zero_shot(run.arm):
            assert self.model is not None
            found["initial images by"] = self.model.title
        return found

    def audited(self, run: Run, subset: Subset, state: State) -> dict[str, Any]:
        """Return what a round's record says of its labels, counted against the truth after the fact.

        wrong: given class -> labels of the labelled set that are wrong; only where labels can be wrong. zero_shot
        (round 0): the model's own errors on the images that it looked at.
        """
        found: dict[str, Any] = {}
        if _labeling(run).kind != "truth" or "zero-shot" in state.sources:
            wrong = state.labels[state.labels != self.dataset.labels[state.indices]]
            classes, counts = np.unique(wrong, return_counts=True)
            found["wrong"] = {str(k): int(count) for k, count in zip(classes, counts, strict=True)}
        if state.round == 0 and (guesses := self.guesses(run, subset)) is not None:
            found["zero_shot"] = audit(guesses, self.dataset.labels)
        return found

    def prepare(self, runs: Iterable[Run], progress: Progress) -> dict[str, Any]:
        """Do all that is long or can fail, before anything is written; return what the study's record says of it.

        Errors: InputError for files and weights that do not fit.
        """
        seen = set()
        for run in runs:
            self.labeler(run)
            if asks_zero_shot(run.arm) and (run.row.name, run.seed) not in seen:
                seen.add((run.row.name, run.seed))
                self.guesses(run, draw_subset(self.dataset, self.study, run.row, run.seed), progress)
        card: dict[str, Any] = {"answers": self.keys} if self.keys else {}
        if self.model is not None:
            card["zero_shot"] = self._alone(self.model, progress)
        return card

    def _alone(self, model: ZeroShotModel, progress: Progress) -> dict[str, Any]:
        """Return the model's name and how good it is alone on the test set, where it answers for it."""
        card: dict[str, Any] = {
            "name": self.study.zero_shot.name, "title": model.title, "note": model.note, "missing": model.missing,
        }  # fmt: skip
        if model.missing:
            return card
        guesses = model.predict(self.dataset.test, progress)
        metrics = evaluate(floored(guesses.probs), self.dataset.labels[self.dataset.test])
        return {
            **card, "known": model.known(metrics.accuracy), "seconds": guesses.seconds,
            **{name: getattr(metrics, name) for name in ("accuracy", "macro_f1", "loss", "ece")},
            "recall": plain(metrics.recall), **audit(guesses, self.dataset.labels),
        }  # fmt: skip


def open_answers(study: Study, dataset: Dataset, embedded: Embedded) -> Answers:
    """Open what a study's arms ask. Errors: InputError for files and weights that cannot be had or do not fit."""
    keys = {labeling.path: labeler_key(labeling) for arm in study.arms if (labeling := arm.labeler) and labeling.path}
    model = None
    if any(asks_zero_shot(arm) for arm in study.arms):
        model = open_zero_shot(study.zero_shot, dataset, study.learner.device, study.leaves_out)
        keys["zero-shot"] = model.key
    return Answers(study, dataset, model, keys, embedded)


def _labeling(run: Run) -> Labeling:
    return run.arm.labeler or Labeling()
