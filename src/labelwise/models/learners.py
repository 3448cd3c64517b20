"""The table of learners. A new one is a module with `build(dataset, study, progress)` and one row here."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from labelwise.config import Study
from labelwise.data.dataset import Dataset
from labelwise.data.images import Progress
from labelwise.errors import InputError, nearest
from labelwise.models.learner import Calibration, Learner, LearnerInfo

LEARNERS: tuple[LearnerInfo, ...] = (
    LearnerInfo("finetune", "a backbone fine-tuned from its pretrained weights", "labelwise.models.finetune"),
    LearnerInfo("probe", "multinomial logistic regression on frozen embeddings", "labelwise.models.probe"),
)


def check_learner(study: Study) -> None:
    """Raise InputError if the study's kind of learner does not exist."""
    names = [info.name for info in LEARNERS]
    if study.learner.kind not in names:
        raise InputError(
            f"learner.kind: '{study.learner.kind}' is not available{nearest(study.learner.kind, names)} "
            "(--set learner.kind=probe --set learner.backbone=efficientnet_lite0 runs anywhere)"
        )


def build_learner(dataset: Dataset, study: Study, progress: Progress) -> Learner:
    """Build the study's learner on a data set. Errors: InputError, also for weights that cannot be had."""
    learner: Learner = _module(study).build(dataset, study, progress)
    return learner


def calibrate(dataset: Dataset, study: Study) -> Calibration:
    """Measure in a few seconds how fast the study's learner is on this machine. Errors: as build_learner."""
    measured: Calibration = _module(study).calibrate(dataset, study)
    return measured


def _module(study: Study) -> Any:
    check_learner(study)
    return import_module(next(info.module for info in LEARNERS if info.name == study.learner.kind))
