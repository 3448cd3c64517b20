"""What the page shows, as plain data: the header, the curve, the advice, and each offer in words."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import numpy as np

from labelwise.errors import printable
from labelwise.labelling.agreement import agreement, consistency
from labelwise.labelling.board import Board
from labelwise.labelling.desk import BUYING, Desk
from labelwise.labelling.events import ANSWERS, Event
from labelwise.labelling.jobs import seconds_per_label
from labelwise.labelling.offers import EVERY, Offer, offers

JUDGING = "There is a first model; what it says of this is being computed."
BLIND = ("test", "repeat")
AGAIN = ("again", "check")
"""Purposes of images that have a label, and are shown with it."""
WHY = {
    "typical": "Typical of many images that look alike and have no label yet: a good start.",
    "random": f"A random one: every {EVERY}th shows whether picking helps here.",
    "again": "The list of classes has changed: please look at this one again.",
}


def state(desk: Desk, annotator: str) -> dict[str, Any]:
    """Return the state of a project for one person: see the server's documentation of /api/state."""
    with desk.lock:
        board, plan, settings = desk.board, desk.plan, desk.project.settings
        annotator = board.person(annotator)
        counts = Counter(board.labels.values())
        took = seconds_per_label(board)
        given = [_labels(board, image) for image in board.bought]
        done = sum(min(labels, settings.overlap) for labels in given)
        goal = plan.limit() * settings.overlap
        models = [r for r in desk.rounds if r["accuracy"] is not None]
        last = models[-1] if models else None
        missing = None if last else _no_model(desk)
        wait = {"say": "cannot tell yet", "why": f"There is no model yet. {missing}" if missing else JUDGING}
        people = Counter(e.annotator for e in board.kept() if e.kind == "label")
        return {
            "project": {
                "id": settings.id, "name": printable(desk.project.images.name), "images": int(plan.usable.sum()),
                "budget": settings.budget,
                "unreadable": sum(image.status == "unreadable" for image in desk.images), "overlap": settings.overlap,
                "strategy": settings.strategy, "backbone": settings.backbone, "not_used": desk.project.not_used,
            },
            "annotator": annotator,
            "classes": [{"id": k, "name": board.names[k], "count": counts[k]} for k in board.classes],
            "merge": _merge(board),
            "phase": phase(desk, annotator),
            "done": done, "goal": settings.budget * settings.overlap,
            "waiting": sum(labels < settings.overlap for labels in given),
            "test": {"done": sum(bool(board.answers(image)) for image in plan.test), "size": len(plan.test),
                     "undecided": sum(image in board.bought and image not in board.labels for image in plan.test)},
            "seconds_per_label": took,
            "minutes_left": max(0, goal - done) * took / 60 if took else None,
            "accuracy": _accuracy(last) if last else None,
            "model": _model(desk, last) if last else None,
            "no_model": missing,
            "work": [{"what": what, "done": d, "total": total} for what, (d, total) in _work(desk).items()],
            "curve": _curve(models),
            "advice": next((r["advice"] for r in reversed(models) if "advice" in r), wait),
            "helping": next((r["helping"] for r in reversed(models) if "helping" in r), wait),
            "people": [{"name": name, "labels": count} for name, count in people.most_common()],
            "agreement": agreement(board), "consistency": consistency(board, annotator),
            "review": len(board.disagreements()),
            "problem": desk.problem, "version": desk.version,
        }  # fmt: skip


def _merge(board: Board) -> dict[str, Any] | None:
    """Return the last merge that can be taken back."""
    last = next(reversed(board.merges.values()), None)
    if last is None or last.klass is None:
        return None
    into = board.resolved(last.klass)
    return {"uuid": last.uuid, "class": last.klass, "name": board.names[last.klass], "into": into,
            "into_name": board.names[into]}  # fmt: skip


def _labels(board: Board, image: int) -> int:
    return sum(event.kind == "label" for event in board.standing(image).values())


def _curve(models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a point a model, by labels: what was measured with as many labels or more before an undo is left out."""
    points: list[dict[str, Any]] = []
    for found in models:
        while points and points[-1]["labels"] >= found["labels"]:
            points.pop()
        points.append({"round": found["round"], "labels": found["labels"], **_interval(found)})
    return points


def _interval(found: dict[str, Any]) -> dict[str, float]:
    return {name: found[name] for name in ("accuracy", "low", "high")}


def _accuracy(last: dict[str, Any]) -> dict[str, Any]:
    return {"value": last["accuracy"], "low": last["low"], "high": last["high"], "n": last["test"]}


def _model(desk: Desk, last: dict[str, Any]) -> dict[str, Any]:
    age = time.monotonic() - desk.trained_at if desk.trained_at else None
    return {"round": last["round"], "labels": last["labels"], "age_seconds": age, "training": desk.trainer.busy}


def _work(desk: Desk) -> dict[str, tuple[int, int]]:
    """Return what is done behind the page, as (done, total); of what has no parts, the total is 0."""
    if desk.work or not desk.preparer.busy or desk.embedded.features:
        return desk.work
    return {"loading the backbone" if desk.prepared else "starting to read the images": (0, 0)}


def _no_model(desk: Desk) -> str:
    """Return why there is no model yet, and what helps."""
    board, plan = desk.board, desk.plan
    training = plan.training()
    if len({board.labels[image] for image in training}) < 2:
        spent = len(board.bought) >= plan.limit()
        hint = "raise the budget in the settings" if spent else "go on labelling"
        return f"It needs labels of two classes to train on, beside the test images: {hint}."
    if left := sum(not board.answers(image) for image in plan.test):
        return f"It is measured on the test images, and {left} of them {'has' if left == 1 else 'have'} no answer yet."
    test = [image for image in plan.test if image in board.labels]
    if not test:
        return "It is measured on the test images, and none of them has a label."
    there = {board.labels[image] for image in training if desk.embedded.has(image)}
    if desk.prepared and len(there) > 1 and any(map(desk.embedded.has, test)):
        return "It is being trained."
    if not desk.preparer.busy:
        return "The images were not prepared to the end; the terminal says why."
    doing = f"embedded ({desk.embedded.there.sum():,} of {len(desk.images):,})" if desk.prepared else "read"
    return f"The images are still being {doing}; it follows by itself."


def phase(desk: Desk, annotator: str, empty: bool = False) -> str:
    """Return what a person is doing: test, train, checks, done, or nothing (others hold what is left).

    empty: they have no image, and none could be offered.
    """
    spent = len(desk.board.bought) >= desk.plan.limit()
    first = _first(desk, annotator)
    if first is not None and empty:
        return "nothing"
    if first is None:
        return "done" if spent or not _anything_left(desk) else "nothing"
    if first.purpose in ("test", "again"):
        return "test" if first.purpose == "test" else "train"
    return "checks" if spent else "train"


def _first(desk: Desk, annotator: str) -> Offer | None:
    """Return what a person would be offered first if nobody else held anything."""
    bought = desk.board.bought
    spent = len(bought) >= desk.plan.limit()
    found = offers(desk.plan, desk.board.person(annotator))
    return next((o for o in found if not spent or o.image in bought or o.purpose not in BUYING), None)


def waiting(desk: Desk, annotator: str) -> dict[str, Any]:
    """Return what a person with nothing to do waits for: who holds how many images; checks: only checks are left."""
    with desk.lock:
        held = desk.holds.of_others(desk.board.person(annotator))
        first = _first(desk, annotator)
        images = set().union(*held.values()) if held else set()
        checks = first is not None and first.purpose == "check"
        return {"people": sorted(held, key=str.casefold), "images": len(images), "checks": checks}


def _anything_left(desk: Desk) -> bool:
    plan = desk.plan
    seen = [plan.group(image) for image in (*desk.board.stacks, *plan.test)]
    unanswered = any(not desk.board.answers(image) for image in plan.test)
    return unanswered or not np.isin(plan.groups[plan.usable], seen).all()


def offered(desk: Desk, offer: Offer) -> dict[str, Any]:
    """Return an offer as the page gets it: why this image, the model's suggestion, the label that it has."""
    with desk.lock:
        blind = offer.purpose in BLIND or offer.image in desk.plan.test  # whatever it is offered for now
        learnt = offer.image in desk.board.bought  # the model would say what somebody has said already
        hint = None if blind or learnt else desk.suggestion(offer.image)
        given = desk.board.labels.get(offer.image) if offer.purpose in AGAIN else None
        return {
            "image": offer.image, "purpose": offer.purpose, "round": offer.round, "why": _why(desk, offer),
            "why_unnamed": _why(desk, offer, named=False),
            "suggestion": {"class": hint[0], "probability": hint[1]} if hint else None,
            "given": _label(given),
        }  # fmt: skip


def _label(klass: int | None) -> dict[str, Any] | None:
    return None if klass is None else {"kind": "label", "class": klass}


def _why(desk: Desk, offer: Offer, named: bool = True) -> str:
    """Return why an image is offered; named: with the classes that models would say, else for who hides them."""
    if offer.purpose == "test":
        count = len(desk.plan.test)
        return f"One of {count} random images that measure the accuracy; suggestions are hidden to keep it honest."
    if offer.purpose == "check":
        if not named:
            return "Models that did not see this label would say another class. Is the label right?"
        klass, sure = desk.plan.doubted[offer.image]
        name = desk.board.names[desk.board.resolved(klass)]
        return f"Models that did not see this label would say {name} ({_sure(sure)}). Is the label right?"
    return WHY.get(offer.purpose) or _picked(desk, offer.image, named)  # a repeat is blind: it looks like any other


def _picked(desk: Desk, image: int, named: bool) -> str:
    from labelwise.strategies import STRATEGIES  # late: it loads scikit-learn, and the first image does not wait

    name = desk.project.settings.strategy
    if desk.probs is None or image > len(desk.probs) or np.isnan(desk.probs[image - 1, 0]):
        return f"Picked by {name}."
    row = desk.probs[image - 1]
    first, second = (desk.board.names[desk.board.resolved(desk.columns[i])] for i in np.argsort(-row)[:2])
    top = np.sort(row)[::-1]
    if "probs" in STRATEGIES[name].needs:
        if not named:
            return "Among those that the model is least sure of."
        return f"Among those that the model is least sure of: {first} ({_sure(top[0])}) or {second} ({_sure(top[1])})."
    return f"Picked by {name}: {STRATEGIES[name].summary}."


def _sure(probability: float) -> str:
    """Return a probability in whole per cent; no model is sure to the last."""
    percent = round(100 * float(probability))
    return "> 99 %" if percent > 99 else "< 1 %" if percent < 1 else f"{percent} %"


def history(desk: Desk, annotator: str, count: int) -> list[dict[str, Any]]:
    """Return a person's last answers that were not taken back, newest first; given: the label that stood before one."""
    with desk.lock:
        kept = [e for e in desk.board.history(desk.board.person(annotator)) if e.kind in ANSWERS][-count:]
        return [
            {
                "uuid": e.uuid,
                "image": e.image,
                "kind": e.kind,
                "class": e.klass,
                "purpose": e.purpose,
                "round": e.round,
                "given": _label(_before(desk.board, e) if e.purpose in AGAIN else None),
            }
            for e in reversed(kept)
        ]


def _before(board: Board, answer: Event) -> int | None:
    """Return the class that was said last of an image before an answer."""
    stacks = board.stacks[answer.image or 0].values()
    earlier = [e for stack in stacks for e in stack if e.seq < answer.seq and e.purpose != "repeat"]
    last = max(earlier, key=lambda e: e.seq, default=None)
    return None if last is None or last.klass is None else board.resolved(last.klass)


def review(desk: Desk) -> list[dict[str, Any]]:
    """Return the images that people labelled differently, with who said what."""
    with desk.lock:
        return [
            {"image": image, "answers": [{"annotator": name, "class": desk.board.resolved(e.klass)}
             for name, e in desk.board.standing(image).items() if e.klass is not None]}
            for image in desk.board.disagreements()
        ]  # fmt: skip
