"""From the shell, without a project: which images of a folder to label next, and what an exported model says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Floats, Indices, Labels
from labelwise.config import Learner
from labelwise.data.features import unlabelled
from labelwise.data.images import Progress
from labelwise.data.splits import groups_by, groups_of
from labelwise.errors import InputError
from labelwise.labelling.board import Board
from labelwise.labelling.exchange import model, sheet
from labelwise.labelling.exchange.contents import Answer, Contents
from labelwise.labelling.exchange.incoming import incoming
from labelwise.labelling.exchange.trained import fit, folder_images
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
    with options_named():
        images = replace(images, resize=resize)
        features = embed_dataset(images, load_backbone(learner), progress).values
    assert seen.looks is not None
    groups = groups_of(None, np.asarray(seen.looks))
    notes = [*taken.notes, *seen.notes, *left_out]
    return _ranked(images.names, features, groups, board, taken.test, n, strategy, seed, notes), notes


def pick_rows(
    file: Path, labels: Path | None, n: int, strategy: str, seed: int, progress: Progress
) -> tuple[list[Row], list[str]]:
    """Rank the rows of a file of features, as `pick` does images; labels: a CSV, None: those of the file itself.

    Its split and its groups hold: rows of the test set are neither trained on nor picked, and of a group without an
    answer one is. Errors: InputError.
    """
    check_strategy(strategy)
    table = unlabelled(file, progress)
    found = Contents(list(table.classes), [], []) if labels is None else sheet.read(labels)
    if labels is None:
        given = [(name, label) for name, label in zip(table.names, table.labels, strict=True) if label]
        found.answers.extend(
            Answer(name, "", "label", label, sheet.ANONYMOUS, "", None, None, "import", str(file))
            for name, label in given
        )
    found.test.extend((table.names[i], "") for i in np.flatnonzero(table.test).tolist())
    known = [Image(i, name, 0, 0, "ok") for i, name in enumerate(table.names, 1)]
    taken = incoming(labels or file, found, file.parent, known, Board(len(known)))
    board = Board(len(known), (event.at(i, "") for i, event in enumerate(taken.events, 1)))
    notes = [*taken.notes, *table.notes]
    groups = groups_by(table.groups, table.vectors.equal, len(known))
    rows = _ranked(table.names, table.vectors.values, groups, board, taken.test, n, strategy, seed, notes)
    if not rows:
        notes.append("nothing is left to pick: each row has a label, or is of the test set, or like one of these")
    return rows, notes


def _ranked(
    names: Sequence[str], features: Floats, groups: NDArray[np.int64], board: Board, test: list[int], n: int,
    strategy: str, seed: int, notes: list[str],
) -> list[Row]:  # fmt: skip
    """Fit the probe on the labels, and rank the rows without an answer. Errors: InputError for too few labels."""
    classes = [board.names[klass] for klass in board.classes]
    indices, given = _labels(board, set(test))
    candidates = _candidates(board, test, groups)
    fitted = None
    if len(np.unique(given)) >= 2:
        fitted = fit(features, np.arange(len(names)), indices, given, len(classes), seed)
    if fitted is None and not set(STRATEGIES[strategy].needs) <= {"embeddings"}:
        said = f" ({'; '.join(notes)})" if notes else ""
        raise InputError(
            f"{strategy} needs labels of two classes{said}; pick the first images with --strategy typiclust"
        )
    arrays = _arrays(strategy, features, candidates, fitted, len(names), seed)
    picks = run_strategy(strategy, candidates, n, indices, arrays, {}, seed, classes=len(classes))
    probs = None if fitted is None else fitted.predict(picks.indices).probs
    return [_picked(names[i], rank, probs, classes, strategy) for rank, i in enumerate(picks.indices.tolist(), 1)]


def _labels(board: Board, test: set[int]) -> tuple[Indices, Labels]:
    """Return rows and classes 0..K-1 of the labels to train on, by row."""
    place = {klass: k for k, klass in enumerate(board.classes)}
    given = sorted((i - 1, place[klass]) for i, klass in board.labels.items() if i not in test)
    return np.array([i for i, _ in given], np.int64), np.array([k for _, k in given], np.int64)


def _candidates(board: Board, test: list[int], groups: NDArray[np.int64]) -> Indices:
    """Return rows without any answer, one of each group (near-duplicates, equal rows) that has none."""
    closed = np.array(sorted({*board.stacks, *test}), np.int64) - 1
    free = np.flatnonzero(~np.isin(groups, groups[closed]))
    _, first = np.unique(groups[free], return_index=True)
    candidates: Indices = np.sort(free[first])
    return candidates


def _arrays(
    strategy: str, features: Floats, candidates: Indices, fitted: FittedProbe | None, count: int, seed: int
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
    path: str, rank: int, probs: NDArray[np.float32] | None, names: list[str], strategy: str
) -> Row:  # fmt: skip
    """Return a row of PICKED; why: between which classes the model is, or what the strategy looks for."""
    row: Row = {"rank": rank, "path": path, "label": "", "probability": "", "why": ""}
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
    return rows, [*seen.notes, *left_out]
