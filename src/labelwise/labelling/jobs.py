"""What the processes behind the page are to do next, made from what holds now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.labelling.board import Board
from labelwise.labelling.messages import Ask, Embedded, Job
from labelwise.labelling.offers import Plan
from labelwise.labelling.project import Project, Settings
from labelwise.labelling.store import Image

RETRAIN = 5
"""New events after which the model is trained again, as soon as it is idle."""
PICKS = 40
"""Picks in stock: people never wait for the next training."""
AHEAD = 20
"""Labels whose gain the stop advice is about, at most."""
RECENT = 50


def enough_news(board: Board, trained_seq: int, budget: int) -> bool:
    """Return whether enough was said since the last training; trained_seq: the last event that it saw, -1 for none."""
    fresh = board.seq - trained_seq
    return trained_seq < 0 or fresh >= RETRAIN or (len(board.bought) >= budget and fresh > 0)


def seconds_per_label(board: Board) -> float | None:
    """Return the median seconds of the last labels, or None before the third."""
    took: list[float] = []
    for event in reversed(board.log):
        if event.kind == "label" and event.seconds:
            took.append(event.seconds)
        if len(took) == RECENT:
            break
    return float(np.median(took)) if len(took) >= 3 else None


def training_job(plan: Plan, embedded: Embedded, settings: Settings, number: int) -> Job | None:
    """Return the next round, or None where there is nothing to train on and picks of the cold start are left.

    embedded: what is there; number: of the round. Before the test slice is answered
    nothing is trained, since nothing could be measured; nor while all labels are of one class: it would be sure of it.
    Until then the cold start picks, again where its picks are used up.
    """
    there = np.zeros(len(plan.usable), bool)
    there[: len(embedded.hashes)] = embedded.there
    rows = int(np.max(np.flatnonzero(there), initial=-1)) + 1
    board = plan.board
    labelled = [image for image in plan.training() if there[image - 1]]
    test = [image for image in plan.test if image in board.labels and there[image - 1]]
    differ = len({board.labels[image] for image in labelled}) > 1
    ready = bool(test) and differ and all(board.answers(image) for image in plan.test)
    seen = {plan.group(image) for image in board.stacks} | plan.test_groups()
    left = any(plan.usable[image - 1] and plan.group(image) not in seen for image in plan.picks)
    if not rows or not (ready or not left):
        return None
    pool = _pool(plan, there)
    if not ready and not len(pool):
        return None
    columns = tuple(board.classes)
    place = {klass: i for i, klass in enumerate(columns)}
    # the first answer says why an image was offered; a later one may be a check of it
    first = {image: min(chain(*board.stacks[image].values()), key=lambda e: e.seq) for image in labelled}
    order = sorted(labelled, key=lambda image: first[image].seq)
    offered = [first[image].round for image in order]
    return Job(
        number, embedded.folder, embedded.hashes[:rows], embedded.features, columns,
        _rows(order), np.array([place[board.labels[image]] for image in order], np.int64),
        np.array([-1 if asked is None else asked for asked in offered], np.int64),
        np.array([first[image].purpose == "random" for image in order], bool),
        np.array([first[image].purpose == "picked" for image in order], bool),
        _rows(test), np.array([place[board.labels[image]] for image in test], np.int64),
        pool, settings.strategy, settings.options, PICKS,
        min(AHEAD, plan.limit() - len(board.bought)), settings.seed,
        seconds_per_label(board), board.seq, not ready,
    )  # fmt: skip


def regrouped(images: Sequence[Image], groups: dict[int, int]) -> list[dict[str, Any]]:
    """Return the changes that groups (id -> group) bring; most images have no near-duplicate, and nothing to write."""
    sizes = Counter(groups.values())
    return [
        {"id": i, "grp": group}
        for i, group in groups.items()
        if images[i - 1].grp != group and (sizes[group] > 1 or images[i - 1].grp is not None)
    ]


def _rows(images: Sequence[int]) -> Any:
    return np.array(images, np.int64) - 1


def _pool(plan: Plan, there: NDArray[np.bool_]) -> Any:
    """Return rows that may be picked: one of each group of near-duplicates that nobody has seen."""
    closed = [plan.group(image) for image in plan.board.stacks] + [plan.group(image) for image in plan.test]
    free = np.flatnonzero(plan.usable & there & ~np.isin(plan.groups, closed))
    _, first = np.unique(plan.groups[free], return_index=True)
    return np.sort(free[first])


def ask(project: Project, board: Board, images: Sequence[Image]) -> Ask:
    """Return the question to a zero-shot model for the first suggestions."""
    names = tuple(board.names[klass] for klass in board.classes)
    settings = project.settings
    model = (settings.suggest, settings.device, settings.bits, settings.resize)
    return Ask(project.images, list(images), names, tuple(board.classes), *model)
