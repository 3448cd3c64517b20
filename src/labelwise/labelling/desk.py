"""The desk: takes answers in, hands images out, keeps the processes behind the page at work. One lock, one writer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.data.decode import AwayError, UnreadableImageError
from labelwise.database import now
from labelwise.errors import InputError
from labelwise.labelling.background import Worker, preparation, training
from labelwise.labelling.board import Board
from labelwise.labelling.events import CLASS_CHANGES, Event
from labelwise.labelling.folder import CHANGED, scan
from labelwise.labelling.holds import Holds
from labelwise.labelling.jobs import ask, enough_news, regrouped, training_job
from labelwise.labelling.messages import Embedded, Job, Judged, NewRows, Picked, Work
from labelwise.labelling.offers import TRAINING, Offer, Plan, in_stock, offers
from labelwise.labelling.project import Project, check_budget, random_slice
from labelwise.labelling.snapshot import Snapshot
from labelwise.labelling.store import Image

BUYING = ("test", *TRAINING)
"""Purposes of labels that the budget pays for."""
AT_ONCE = 1000
"""Images that are written in one transaction where all change: an answer waits for no more."""
Answered = tuple[list[str], list[dict[str, str]]]


class Desk:
    """A project at work. Every public method may be called from any thread."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.lock = threading.RLock()
        self.images: list[Image] = project.store.images()
        self.board = Board(len(self.images), project.store.events())
        settings = project.settings
        self.plan = Plan(self.board, settings.budget, settings.overlap, settings.seed)
        self._lay_out()
        self.holds = Holds()
        self.work: dict[str, tuple[int, int]] = {}
        self.problem: str | None = None
        self.full: str | None = None  # the problem of a store that could not write
        self.unsure = False  # whether the store may hold what memory does not
        self.rounds = project.store.rounds()
        in_stock(self.plan, self.rounds)  # until there is a new round, these are the best there are
        self.embedded = Embedded()
        self.probs: NDArray[np.float32] | None = None
        self.columns: tuple[int, ...] = ()
        self.model = ""
        self.trained_at = 0.0
        self.trained_seq = -1
        self.last_job: Job | None = None
        self.version = time.time_ns() // 1000  # differs from a process before, so that a page that was open there looks
        self.prepared = self.asked = False
        self.preparer = Worker("preparation", preparation, self._hear)
        self.trainer = Worker("training", training, self._hear)

    # --- people ---------------------------------------------------------------------------------------------------

    def answer(self, events: Sequence[Event]) -> Answered:
        """Take events in, durably; return the uuids that are on disk, and what was refused and why.

        Sending one again is harmless. Errors: InputError when the store cannot write: then none was taken.
        """
        accepted: list[str] = []
        refused: list[dict[str, str]] = []
        fresh: list[Event] = []
        with self.lock:
            self._read_again()
            known = len(self.board.log)
            for event in events:
                if event.uuid in self.board.uuids:
                    accepted.append(event.uuid)
                    continue
                try:
                    event = self._numbered(event)  # noqa: PLW2901
                    self.board.check(event)
                    self.board.check_decision(event)
                except InputError as error:
                    refused.append({"uuid": event.uuid, "reason": str(error)})
                    continue
                self.board.apply(event)
                fresh.append(event)
                accepted.append(event.uuid)
            try:
                self.project.store.append(fresh)
            except InputError as error:
                self._not_written(error)
                self._replay(self.board.log[:known])
                self.unsure = True
                raise
            if fresh and self.problem == self.full:
                self.problem = None  # there is room again
            self._after(fresh)
        return accepted, refused

    def _read_again(self) -> None:
        """After a write that failed, take what the store holds: a commit may have reached it all the same."""
        if self.unsure:
            self._replay(self.project.store.events())
            self.unsure = False

    def _replay(self, events: Sequence[Event]) -> None:
        before, self.board = self.board, Board(len(self.images), events)
        self.board.spelt = before.spelt | self.board.spelt
        self.plan.board = self.board

    def _not_written(self, error: InputError) -> None:
        self.problem = self.full = str(error)

    def _numbered(self, event: Event) -> Event:
        if event.kind == "class-added" and event.klass is None:
            event = replace(event, klass=len(self.board.names))
        return replace(event, annotator=self.board.person(event.annotator)).at(self.board.seq + 1, now())

    def _after(self, fresh: Sequence[Event]) -> None:
        """Do what follows from new events: free the images, train again where it is time."""
        if not fresh:
            return
        for event in fresh:
            self.holds.free(event.image, event.annotator)
            if event.kind in CLASS_CHANGES:
                self.trained_seq = -1  # the model's classes are not the project's any more
        self.version += 1
        self._train()

    def next(self, annotator: str, count: int, have: Sequence[int], was: str = "") -> list[Offer]:
        """Return images for a person to label next; what they `have` already stays with them and is left out.

        was: the name that they had until now, whose other images are free again.
        """
        with self.lock:
            annotator = self.board.person(annotator)
            if was and was.casefold() != annotator.casefold():
                self.holds.pass_on(have, self.board.person(was), annotator)
            self.holds.keep(have, annotator)
            found: list[Offer] = []
            seen = set(have)
            spent = self._spent(seen | self.holds.all())
            limit = self.plan.limit()
            for offer in offers(self.plan, annotator):
                if len(found) >= count:
                    break
                buys = offer.purpose in BUYING and offer.image not in spent
                if buys and len(spent) >= limit:
                    continue
                if offer.image not in seen and not self._with_others(offer, annotator):
                    seen.add(offer.image)
                    self.holds.take(offer.image, annotator)
                    found.append(offer)
                    if buys:
                        spent.add(offer.image)
            return found

    def _spent(self, have: set[int]) -> set[int]:
        """Return images that take from the budget: labelled, `have`, or in the test slice and not yet seen."""
        coming = {i for i in have if 0 < i <= len(self.images)}
        coming |= {image for image in self.plan.test if not self.board.answers(image)}
        return self.board.bought | {image for image in coming if self.plan.usable[image - 1]}

    def _with_others(self, offer: Offer, annotator: str) -> bool:
        """Return whether enough others are looking at an image: with what is labelled, as many as the overlap."""
        if offer.purpose == "repeat":
            return False
        others = self.holds.others(offer.image, annotator)
        if not others or offer.purpose in ("again", "check"):
            return bool(others)
        labels = sum(e.kind == "label" for e in self.board.answers(offer.image).values())
        return labels + others >= self.plan.overlap

    def suggestion(self, image: int) -> tuple[int, float] | None:
        """Return the class that the model would say, as it is called now, and its probability."""
        with self.lock:
            if self.probs is None or image > len(self.probs) or np.isnan(self.probs[image - 1, 0]):
                return None
            best = int(self.probs[image - 1].argmax())
            return self.board.resolved(self.columns[best]), float(self.probs[image - 1, best])

    def grid(self, annotator: str, klass: int, count: int) -> list[tuple[int, float]]:
        """Return unlabelled images that the model takes for a class, the surest first: near-duplicates once.

        They stay with the person as offers do; what others have is left out, and there are no more than the budget has.
        """
        with self.lock:
            annotator = self.board.person(annotator)
            if self.probs is None:
                return []
            columns = [i for i, k in enumerate(self.columns) if self.board.resolved(k) == klass]
            if not columns:
                return []
            best = np.isin(np.nan_to_num(self.probs).argmax(axis=1), columns) & ~np.isnan(self.probs[:, 0])
            sure = np.nan_to_num(self.probs[:, columns].sum(axis=1))
            others = {image for image in self.holds.all() if self.holds.others(image, annotator)}
            count = min(count, self.plan.limit() - len(self._spent(others)))
            closed = self.plan.test_groups() | {self.plan.group(image) for image in others.union(self.board.stacks)}
            found: list[tuple[int, float]] = []
            for row in np.argsort(-np.where(best, sure, -1), kind="stable").tolist():
                if len(found) >= count or not best[row]:
                    break
                if self.plan.usable[row] and (group := self.plan.group(row + 1)) not in closed:
                    closed.add(group)
                    self.holds.take(row + 1, annotator)
                    found.append((row + 1, float(sure[row])))
            return found

    def path(self, image: int) -> str:
        """Return an image's path below the folder. Errors: InputError when there is none."""
        with self.lock:
            if not 1 <= image <= len(self.images):
                raise InputError(f"there is no image {image}")
            return self.images[image - 1].path

    def check_content(self, image: int, sha256: str) -> None:
        """Refuse to show another picture than the one that was read. Errors: AwayError."""
        with self.lock:
            if self.images[image - 1].sha256 not in ("", sha256):
                raise AwayError(CHANGED)

    def unreadable(self, image: int, error: UnreadableImageError) -> None:
        """Note an image that could not be shown; one whose file is away is tried again when it is back."""
        with self.lock:
            if self.images[image - 1].status in ("new", "ok"):
                status = "missing" if isinstance(error, AwayError) else "unreadable"
                change = {"id": image, "status": status, "reason": str(error)}
                self.project.store.update_images([change])
                self._changed([change])

    # --- the processes behind -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Set the processes to work: read what is new, go on embedding, train."""
        with self.lock:
            if not self.preparer.busy:
                self.prepared = False
                settings = self.project.settings
                root, cache = self.project.images, self.project.cache
                looks = self.project.store.looks()
                made_with = (settings.backbone, settings.weights, settings.device, settings.id)
                way = (settings.bits, settings.resize)
                self.preparer.give(Work(root, cache, self.images, looks, *made_with, *way))

    def rescan(self) -> tuple[int, int]:
        """Take in what was added to the folder, note what is gone; return how many of each."""
        seen = scan(self.project.images, self.project.home)  # it takes its time: nobody waits for it
        with self.lock:
            added, missing = self.project.take_in(seen)
            self.images = self.project.store.images()
            self.board.images = len(self.images)
            self._lay_out()
            self.version += 1
            if added or any(image.status == "new" for image in self.images):
                self.start()
            return added, missing

    def set_budget(self, budget: int) -> None:
        """Change the number of labels that are to be bought. Errors: InputError, and nothing is changed."""
        with self.lock:
            check_budget(budget, len(self.board.bought), "a budget of")
            self.project.set(budget=budget)
            self.plan.budget = budget
            self.version += 1

    def close(self) -> None:
        """Stop the processes."""
        self.preparer.close()
        self.trainer.close()

    def snapshot(self) -> Snapshot:
        """Return the project as it is now: a copy, which later answers do not change."""
        with self.lock:
            board = Board(len(self.images), self.board.uuids.values())
            test = list(self.plan.test)
            return Snapshot(
                self.project.images, list(self.images), board, test, self.probs, self.columns, self.model,
                self.project.settings.bits,
            )  # fmt: skip

    def _hear(self, kind: str, content: Any) -> None:
        """Take a report of a process."""
        if kind == "groups":
            self._grouped(content)
            return
        with self.lock:
            self.version += 1
            hear: dict[str, Callable[[Any], None]] = {
                "work": self._worked, "read": self._read, "embedded": self._embedded,
                "picked": self._picked, "judged": self._judged, "suggested": self._suggested,
                "problem": self._failed, "done": lambda _: self._train(),
                "depth": lambda bits: self.project.set(bits=bits),
            }  # fmt: skip
            try:
                hear[kind](content)
            except InputError as error:  # memory has it; what can be made again is made again at the next start
                self._not_written(error)

    def _failed(self, reason: str) -> None:
        self.problem = reason
        logging.getLogger("labelwise").warning("%s", reason)  # to the terminal, too

    def _worked(self, content: tuple[str, int, int]) -> None:
        what, done, total = content
        self.work.pop(what, None)
        if done < total:
            self.work[what] = (done, total)

    def _read(self, changes: list[dict[str, Any]]) -> None:
        self._changed(changes)
        self.project.store.update_images(changes)

    def _grouped(self, groups: dict[int, int]) -> None:
        with self.lock:
            changes = regrouped(self.images, groups)
            self._changed(changes)
            self.prepared = True
            self._train()
        try:
            for start in range(0, len(changes), AT_ONCE):  # people's requests come in between
                self.project.store.update_images(changes[start : start + AT_ONCE])
        except InputError as error:
            with self.lock:
                self._not_written(error)

    def _changed(self, changes: Sequence[dict[str, Any]]) -> None:
        for change in changes:
            kept = {key: value for key, value in change.items() if key != "look"}
            self.images[change["id"] - 1] = replace(self.images[change["id"] - 1], **kept)
            image = self.images[change["id"] - 1]
            self.plan.usable[image.id - 1] = image.status in ("new", "ok")
            self.plan.groups[image.id - 1] = image.grp or image.id
        if not all(self.plan.usable[image - 1] for image in self.plan.test):
            self.plan.test = self._slice()
        self.version += 1

    def _embedded(self, content: NewRows) -> None:
        self.embedded.add(content, len(self.images))
        self._train()

    def _suggested(self, content: tuple[tuple[int, ...], NDArray[np.float32]]) -> None:
        if not self.model:
            self.columns, self.probs = content

    def _picked(self, found: Picked) -> None:
        if found.probs is not None:
            self.probs, self.columns, self.trained_at = found.probs, found.columns, time.monotonic()
            self.model = f"probe, round {found.number}"
        share = found.correct / found.test if found.test else None
        low, high = found.interval
        result = {
            "labels": found.labels, "kind": found.kind, "accuracy": share, "low": low, "high": high,
            "test": found.test, "strategy": self.project.settings.strategy,
            "picks": [int(row) + 1 for row in found.picks],
        }  # fmt: skip
        self.rounds.append({"round": found.number, "time": now(), **result})
        in_stock(self.plan, self.rounds)
        self.project.store.add_round(found.number, result)

    def _judged(self, found: Judged) -> None:
        self.plan.doubted = {row + 1: (self.columns[column], prob) for row, column, prob in found.doubted}
        last = self.rounds[-1]
        last |= {"advice": asdict(found.advice), "helping": asdict(found.helping)}
        kept = {key: value for key, value in last.items() if key not in ("round", "time")}
        self.project.store.update_round(found.number, kept)

    def _train(self) -> None:
        """Give the trainer its next job, if it is idle and there is something new to learn."""
        if self.trainer.busy or not self.prepared:
            return
        if self.project.settings.suggest and not self.asked and not self.model:
            self.asked = True
            self.trainer.give(ask(self.project, self.board, self.images))
            return
        if self.plan.kind == "picked" and not enough_news(self.board, self.trained_seq, self.plan.budget):
            return
        number = self.rounds[-1]["round"] + 1 if self.rounds else 0
        job = training_job(self.plan, self.embedded, self.project.settings, number)
        if job is not None:
            self.trained_seq = job.seq
            if not job.same_data(self.last_job):
                self.last_job = job
                self.trainer.give(job)

    def _slice(self) -> list[int]:
        return random_slice(self.board, [image.status for image in self.images], self.project.settings.slice)

    def _lay_out(self) -> None:
        self.plan.usable = np.array([image.status in ("new", "ok") for image in self.images], bool)
        self.plan.groups = np.array([image.grp or image.id for image in self.images], np.int64)
        self.plan.test = self._slice()
