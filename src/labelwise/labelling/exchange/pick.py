"""From the shell, without a project: which images of a folder to label next, and what an exported model says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Indices, Labels
from labelwise.config import Learner
from labelwise.data.images import ImageSet, Inspection, Progress
from labelwise.data.splits import groups_of
from labelwise.errors import InputError
from labelwise.labelling.board import Board
from labelwise.labelling.exchange import model, sheet
from labelwise.labelling.exchange.incoming import incoming
from labelwise.labelling.exchange.trained import fit, folder_images, left_out_note
from labelwise.labelling.options import check_strategy, options_named
from labelwise.labelling.store import Image
from labelwise.models.backbone import load_backbone
from labelwise.models.embeddings import embed_dataset
from labelwise.models.learner import Dropout
from labelwise.models.probe import FittedProbe
from labelwise.seeds import integer
from labelwise.strategies import STRATEGIES, run_strategy

PICKED = ("rank", "path", "label", "probability", "why")
PREDICTED = ("path", "label", "probability")
Row = dict[str, Any]


def pick(
    folder: Path, labels: Path, n: int, strategy: str, learner: Learner, seed: int, progress: Progress,
    resize: str = "crop",
) -> tuple[list[Row], list[str]]:  # fmt: skip
    """Rank a folder's images without an answer by a strategy, given a CSV of labels: rows of PICKED, and notes.

    Labels of a test slice (our own CSV says so) are not trained on, and its images are not picked; of near-duplicates
    one is. Errors: InputError for unusable files, and for fewer than two labelled classes where the strategy needs a
    model.
    """
    check_strategy(strategy)
    found = sheet.read(labels)
    images, seen, left_out = folder_images(folder, progress)
    known = [Image(i, str(path), 0, 0, "ok") for i, path in enumerate(images.names, 1)]
    taken = incoming(labels, found, folder, known, Board(len(known)))
    board = Board(len(known), (event.at(i, "") for i, event in enumerate(taken.events, 1)))
    names = [board.names[klass] for klass in board.classes]
    indices, given = _labels(board, set(taken.test))
    with options_named():
        images = replace(images, resize=resize)
        features = embed_dataset(images, load_backbone(learner), progress).values
    candidates = _candidates(board, taken.test, seen)
    fitted = None
    if len(np.unique(given)) >= 2:
        fitted = fit(features, np.arange(len(images)), indices, given, len(names), seed)
    if fitted is None and not set(STRATEGIES[strategy].needs) <= {"embeddings"}:
        said = f" ({'; '.join(taken.notes)})" if taken.notes else ""
        raise InputError(
            f"{strategy} needs labels of two classes{said}; pick the first images with --strategy typiclust"
        )
    arrays = _arrays(strategy, features, candidates, fitted, len(images), seed)
    picks = run_strategy(strategy, candidates, n, indices, arrays, {}, seed, classes=len(names))
    probs = None if fitted is None else fitted.predict(picks.indices).probs
    rows = [_picked(images, i, rank, probs, names, strategy) for rank, i in enumerate(picks.indices.tolist(), 1)]
    return rows, [*taken.notes, *seen.notes, *([left_out_note(left_out)] if left_out else [])]


def _labels(board: Board, test: set[int]) -> tuple[Indices, Labels]:
    """Return rows and classes 0..K-1 of the labels to train on, by row."""
    place = {klass: k for k, klass in enumerate(board.classes)}
    given = sorted((i - 1, place[klass]) for i, klass in board.labels.items() if i not in test)
    return np.array([i for i, _ in given], np.int64), np.array([k for _, k in given], np.int64)


def _candidates(board: Board, test: list[int], seen: Inspection) -> Indices:
    """Return rows without any answer, one of each group of near-duplicates that has none."""
    assert seen.looks is not None
    groups = groups_of(None, np.asarray(seen.looks))
    closed = np.array(sorted({*board.stacks, *test}), np.int64) - 1
    free = np.flatnonzero(~np.isin(groups, groups[closed]))
    _, first = np.unique(groups[free], return_index=True)
    candidates: Indices = np.sort(free[first])
    return candidates


def _arrays(
    strategy: str, features: NDArray[np.float16], candidates: Indices, fitted: FittedProbe | None, count: int, seed: int
) -> dict[str, NDArray[Any]]:
    """Return what the strategy needs, over all images."""
    needs = STRATEGIES[strategy].needs
    arrays: dict[str, NDArray[Any]] = {"embeddings": features} if "embeddings" in needs else {}
    if fitted is None or set(needs) <= {"embeddings"}:
        return arrays
    drawn = STRATEGIES[strategy].dropout
    dropout = Dropout(*drawn, seed=integer(seed, "dropout", 0)) if drawn else None
    said = fitted.predict(candidates, dropout=dropout)
    for name, values in (("probs", said.probs), ("stochastic_probs", said.stochastic)):
        if name in needs and values is not None:
            arrays[name] = np.full((*values.shape[:-2], count, values.shape[-1]), np.nan, np.float32)
            arrays[name][..., candidates, :] = values
    return arrays


def _picked(
    images: ImageSet, index: int, rank: int, probs: NDArray[np.float32] | None, names: list[str], strategy: str
) -> Row:
    """Return a row of PICKED; why: between which classes the model is, or what the strategy looks for."""
    row: Row = {"rank": rank, "path": str(images.names[index]), "label": "", "probability": "", "why": ""}
    if probs is None:
        return {**row, "why": STRATEGIES[strategy].summary}
    first, second = np.argsort(-probs[rank - 1], kind="stable")[:2].tolist()
    best, next_best = (float(probs[rank - 1, k]) for k in (first, second))
    why = f"{names[first]} ({best:.0%}) or {names[second]} ({next_best:.0%})?"
    if "probs" not in STRATEGIES[strategy].needs:
        why = STRATEGIES[strategy].summary
    return {**row, "label": names[first], "probability": round(best, 6), "why": why}


def predict(exported: Path, folder: Path, progress: Progress) -> tuple[list[Row], list[str]]:
    """Return what an exported model says of a folder's images: rows of PREDICTED, and notes. Errors: InputError."""
    trained = model.load(exported)
    images, seen, left_out = folder_images(folder, progress, trained.bits)
    probs = trained.predict(images, progress)
    best = probs.argmax(axis=1)
    rows = [
        {"path": str(path), "label": trained.classes[k], "probability": round(float(row[k]), 6)}
        for path, k, row in zip(images.names, best.tolist(), probs, strict=True)
    ]
    return rows, [*seen.notes, *([left_out_note(left_out)] if left_out else [])]
