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
    LearnerInfo("finetune", "a backbone fine-tuned from its pretrained weights",
                "labelwise.models.finetune", images=True),
    LearnerInfo("probe", "multinomial logistic regression on frozen embeddings", "labelwise.models.probe"),
    LearnerInfo("sklearn", "any scikit-learn classifier on frozen embeddings, by import path",
                "labelwise.models.estimator", keys=("estimator", "options")),
)  # fmt: skip


def check_learner(study: Study) -> None:
    """Raise InputError if the study's kind of learner does not exist, or has no such keys."""
    names = [info.name for info in LEARNERS]
    if study.learner.kind not in names:
        raise InputError(
            f"learner.kind: '{study.learner.kind}' is not available{nearest(study.learner.kind, names)} "
            "(--set learner.kind=probe --set learner.backbone=efficientnet_lite0 runs anywhere)"
        )
    info = _info(study)
    for key in ("estimator", "options"):
        if getattr(study.learner, key) and key not in info.keys:
            raise InputError(f"learner.{key}: {info.name} takes none; it is of kind sklearn")
    if info.keys:
        import_module(info.module).check(study.learner)


def build_learner(dataset: Dataset, study: Study, progress: Progress) -> Learner:
    """Build the study's learner on a data set. Errors: InputError, also for weights that cannot be had."""
    learner: Learner = _module(study, dataset).build(dataset, study, progress)
    return learner


def calibrate(dataset: Dataset, study: Study) -> Calibration:
    """Measure in a few seconds how fast the study's learner is on this machine. Errors: as build_learner."""
    measured: Calibration = _module(study, dataset).calibrate(dataset, study)
    return measured


def _module(study: Study, dataset: Dataset) -> Any:
    """Return the module of the study's learner. Errors: InputError where it needs images, and the data have none."""
    check_learner(study)
    info = _info(study)
    if info.images and not dataset.images.there:
        able = " or ".join(info.name for info in LEARNERS if not info.images)
        raise InputError(
            f"learner.kind: {info.name} trains on images, and {dataset.source} holds features without images; "
            f"use {able} (--set learner.kind=probe)"
        )
    return import_module(info.module)


def _info(study: Study) -> LearnerInfo:
    return next(info for info in LEARNERS if info.name == study.learner.kind)
