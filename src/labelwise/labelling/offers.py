"""Which image whom next, and why: the test slice first, then what the model picks beside a random control."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.labelling.board import Board
from labelwise.seeds import generator

TRAINING = ("typical", "picked", "random")
"""Purposes of the images that are offered to be trained on."""
EVERY = 5
"""Every fifth training label is a random one."""
REPEATS_SHARE, LEAST_REPEATS, MOST_REPEATS, REPEAT_EVERY = 0.05, 5, 20, 6
"""Blind repeats: so many of the budget's labels, one in six images of its last third."""
FAR_BACK = 10
"""A repeat was labelled at least so many answers ago."""
CHECKS = 10
"""So many of the most suspicious labels are shown again at the end."""


@dataclass(frozen=True)
class Offer:
    """An image for somebody. purpose: see events.PURPOSES; round: of the model that picked it, or None."""

    image: int
    purpose: str
    round: int | None = None


@dataclass
class Plan:
    """What offers are made from.

    test: ids of the slice; picks: ids, best first, of one `kind`, by the model of `round`, or of a round before it as
    `older` says; doubted: id -> class that models without its label give, and its probability, the most suspicious
    first; usable: (N,) by id - 1, can it be shown; groups: (N,) by id - 1, the smallest id among an image's
    near-duplicates.
    """

    board: Board
    budget: int
    overlap: int
    seed: int
    test: list[int] = field(default_factory=list)
    picks: list[int] = field(default_factory=list)
    kind: str = "picked"
    round: int | None = None
    older: dict[int, int] = field(default_factory=dict)
    doubted: dict[int, tuple[int, float]] = field(default_factory=dict)
    usable: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, bool))
    groups: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def group(self, image: int) -> int:
        """Return the id that stands for an image's near-duplicates."""
        return int(self.groups[image - 1])

    def limit(self) -> int:
        """Return how many labels can be bought: the budget, or fewer where there are not so many images that differ."""
        usable = self.groups[self.usable]
        answered = {self.group(image) for image in self.board.stacks if image not in self.board.bought}  # skip, unsure
        there = len(np.union1d(usable, self.groups[[image - 1 for image in self.board.bought]])) - len(answered)
        extra = len(self.test) - len(self.test_groups())  # the slice may hold images that look alike
        return max(len(self.board.bought), min(self.budget, there + extra))

    def test_groups(self) -> set[int]:
        """Groups of the test slice: nothing in them is trained on."""
        return {self.group(image) for image in self.test}

    def training(self) -> list[int]:
        """Return the ids that are trained on: labelled, and neither in the test slice nor like an image of it."""
        closed = self.test_groups()
        return [image for image in self.board.labels if self.group(image) not in closed]


def in_stock(plan: Plan, rounds: Sequence[dict[str, Any]]) -> None:
    """Take the last round's picks, then what rounds before it picked: better than random ones where those are used up.

    rounds: as the store has them, in their order. Only picks of the last round's kind are taken.
    """
    if not rounds:
        return
    plan.kind, plan.round = rounds[-1]["kind"], rounds[-1]["round"]
    found: dict[int, int] = {}
    for row in reversed(rounds):
        for image in row["picks"] if row["kind"] == plan.kind else ():
            found.setdefault(image, row["round"])
    plan.picks, plan.older = list(found), found


def offers(plan: Plan, annotator: str) -> Iterator[Offer]:
    """Yield what to offer a person, in order; what others hold is for the caller to leave out."""
    yield from (Offer(image, "again") for image in plan.board.again(annotator) if plan.usable[image - 1])
    yield from [Offer(image, "test") for image in plan.test if _open(plan, image, annotator)]
    if plan.overlap > 1:
        yield from _shared(plan, annotator)
    more = False
    for offer in _mixed(plan, annotator):
        more = True
        yield offer
    if not more:  # the budget is spent, or nothing is left
        yield from repeats(plan, annotator)
        yield from checks(plan)


def _open(plan: Plan, image: int, annotator: str) -> bool:
    """Return whether a person may be asked for an image: nobody enough has labelled it, and they said nothing yet."""
    answers = plan.board.answers(image)
    labels = sum(event.kind == "label" for event in answers.values())
    return plan.usable[image - 1] and annotator not in answers and labels < plan.overlap


def _shared(plan: Plan, annotator: str) -> Iterator[Offer]:
    """Yield training images that others have labelled, and that more people are to label."""
    test = set(plan.test)
    for image in sorted(plan.board.bought):
        if image not in test and _open(plan, image, annotator):
            first = min(chain(*plan.board.stacks[image].values()), key=lambda e: e.seq)
            yield Offer(image, first.purpose if first.purpose in TRAINING else "picked", first.round)


def _mixed(plan: Plan, annotator: str) -> Iterator[Offer]:
    """Yield training images up to the budget: picks, every fifth a random one, and blind repeats near the end."""
    limit, bought = plan.limit(), len(plan.board.bought)
    given = sum(e.purpose in TRAINING for e in plan.board.kept())
    closed = {plan.group(image) for image in plan.board.stacks if annotator in plan.board.answers(image)}
    closed |= {plan.group(i) for i in plan.board.labels if not _open(plan, i, annotator)} | plan.test_groups()
    open_picks = (image for image in plan.picks if _open(plan, image, annotator))
    picks = (Offer(image, plan.kind, plan.older.get(image, plan.round)) for image in open_picks)
    control = (
        Offer(image, "random", plan.round)
        for image in range(1, len(plan.usable) + 1)  # ids are in random order
        if plan.usable[image - 1] and plan.group(image) not in closed and _open(plan, image, annotator)
    )
    again = repeats(plan, annotator)
    for turn in range(limit - bought):
        if bought + turn >= limit * 2 / 3 and (given + turn) % REPEAT_EVERY == REPEAT_EVERY - 1:
            yield from [offer for offer in [next(again, None)] if offer]
        first, second = (control, picks) if (given + turn) % EVERY == EVERY - 1 else (picks, control)
        offer = _next_open(first, closed, plan) or _next_open(second, closed, plan)
        if offer is None:
            return
        closed.add(plan.group(offer.image))
        yield offer


def _next_open(source: Iterator[Offer], closed: set[int], plan: Plan) -> Offer | None:
    return next((offer for offer in source if plan.group(offer.image) not in closed), None)


def repeats(plan: Plan, annotator: str) -> Iterator[Offer]:
    """Yield a few images that a person labelled a while ago, to see whether they say the same again."""
    history = plan.board.history(annotator)
    done = {event.image for event in history if event.purpose == "repeat"}
    first = [e.image for e in history if e.kind == "label" and e.purpose not in ("repeat", "check", "again", "import")]
    wanted = min(MOST_REPEATS, max(LEAST_REPEATS, round(plan.budget * REPEATS_SHARE))) - len(done)
    old = [image for image in dict.fromkeys(first[:-FAR_BACK]) if image and plan.usable[image - 1]]
    order = generator(plan.seed, "repeats", annotator).random(len(plan.usable) + 1)  # by image: it stays as it is
    old.sort(key=lambda image: order[image])
    chosen = [image for image in old if image not in done][: max(0, wanted)]
    yield from (Offer(image, "repeat") for image in chosen)


def checks(plan: Plan) -> Iterator[Offer]:
    """Yield the most suspicious labels that nobody looked at again."""
    seen = {e.image for e in plan.board.kept() if e.purpose == "check"}
    fresh = [image for image in plan.doubted if image in plan.board.labels and image not in seen]
    yield from (Offer(image, "check") for image in fresh[: max(0, CHECKS - len(seen))])
