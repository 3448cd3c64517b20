"""What holds now: the events replayed in their order into classes and answers. Pure memory, rebuilt at any time."""

from __future__ import annotations

from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace

from labelwise.errors import InputError, printable
from labelwise.labelling.events import ANSWERS, CLASS_CHANGES, KINDS, PURPOSES, Event
from labelwise.labelling.standing import Change, standing

LONGEST_NAME = 100


def check_name(name: str) -> None:
    """Refuse a text that cannot be a class's name. Errors: InputError."""
    if not name.strip() or name != name.strip() or printable(name) != name or len(name) > LONGEST_NAME:
        shown = printable(name[:40]) + ("..." if len(name) > 40 else "")
        raise InputError(
            f"'{shown}': a class name has 1 to {LONGEST_NAME} characters on one line, no space at its ends"
        )


class Board:
    """Classes and answers after a sequence of events. images: how many there are, ids 1..N."""

    def __init__(self, images: int, events: Iterable[Event] = ()) -> None:
        self.images = images
        self.names: dict[int, str] = {}
        self.merged: dict[int, int] = {}
        self.merges: dict[str, Event] = {}  # by uuid, in their order: those that were not taken back
        self.uuids: dict[str, Event] = {}
        self.undone: set[str] = set()
        self.stacks: dict[int, dict[str, list[Event]]] = defaultdict(dict)
        self.labels: dict[int, int] = {}  # image -> the class that holds, a class id that was not merged away
        self.bought: set[int] = set()  # images that somebody labelled, agreed on or not
        self.log: list[Event] = []
        self.spelt: dict[str, str] = {}  # a name in small letters -> as it was spelt first
        self.people: dict[str, list[Event]] = defaultdict(list)  # each one's answers in their order, undone ones too
        self.changes: list[Change] = []
        self.asked: dict[int, set[str]] = {}  # image -> people whom a change of classes asks for it again
        self.seq = 0
        for event in events:
            self.apply(event)

    @property
    def classes(self) -> list[int]:
        """Class ids in their order, without those that were merged into others."""
        return [klass for klass in self.names if klass not in self.merged]

    def person(self, name: str) -> str:
        """Return the spelling that a person appeared with first: names that differ only in capitals are one person."""
        return self.spelt.setdefault(name.casefold(), name)

    def resolved(self, klass: int) -> int:
        """Return the class that a class id means now."""
        while klass in self.merged:
            klass = self.merged[klass]
        return klass

    def answers(self, image: int, repeats: bool = False) -> dict[str, Event]:
        """Return each annotator's answer that holds for an image; blind repeats do not replace what was said first."""
        found = {}
        for annotator, stack in self.stacks.get(image, {}).items():
            kept = [e for e in stack if (e.purpose == "repeat") == repeats]
            if kept:
                found[annotator] = kept[-1]
        return found

    def history(self, annotator: str) -> list[Event]:
        """Return a person's answers that were not taken back, in their order."""
        return [e for e in self.people.get(annotator, ()) if e.uuid not in self.undone]

    def kept(self) -> list[Event]:
        """Return all answers that were not taken back, in their order."""
        return [e for e in self.log if e.kind in ANSWERS and e.uuid not in self.undone]

    def disagreements(self) -> list[int]:
        """Return images that people labelled differently and nobody has settled."""
        return [image for image in self.stacks if image not in self.labels and self._said(self.standing(image))]

    def standing(self, image: int) -> dict[str, Event]:
        """Return each annotator's answer that counts: not what a class that has changed since has made void."""
        return self._standing(image)[0]

    def again(self, annotator: str | None = None) -> list[int]:
        """Return images that a change of classes asks for again: of anybody, or of one person, who may stand in."""
        return [
            image
            for image, people in sorted(self.asked.items())
            if annotator is None or annotator in people or annotator not in self.stacks[image]
        ]

    def check(self, event: Event) -> None:
        """Refuse what cannot hold. Errors: InputError that says why."""
        if event.kind not in KINDS:
            raise InputError(f"'{event.kind}' is no kind of event; known: {', '.join(KINDS)}")
        if (
            not event.annotator.strip()
            or len(event.annotator) > LONGEST_NAME
            or printable(event.annotator) != event.annotator
        ):
            raise InputError(f"an annotator's name has 1 to {LONGEST_NAME} characters on one line")
        if event.kind in CLASS_CHANGES:
            self._check_classes(event)
        elif event.kind == "undo":
            self._check_undo(event)
        else:
            self._check_answer(event)

    def check_decision(self, event: Event) -> None:
        """Refuse a review of what somebody else has decided otherwise, unless it says that it replaces that decision.

        It is no part of `check`: a file may bring several decisions. Errors: InputError that says who decided what.
        """
        if event.purpose != "review" or event.image is None:
            return
        answers, asked = self._standing(event.image)
        decided = [e for e in answers.values() if e.purpose == "review" and e.klass is not None]
        last = max(decided, key=lambda e: e.seq, default=None)
        if last is None or last.klass is None or last.annotator in {*asked, self.person(event.annotator)}:
            return
        klass = self.resolved(last.klass)
        if event.undoes != last.uuid and (event.klass is None or self.resolved(event.klass) != klass):
            name = self.names[klass]
            raise InputError(f"{last.annotator} has decided it already, as {name}; nothing was changed")

    def _check_answer(self, event: Event) -> None:
        if event.image is None or not 1 <= event.image <= self.images:
            raise InputError(f"there is no image {event.image}")
        if event.purpose not in PURPOSES:
            raise InputError(f"'{event.purpose}' is no purpose; known: {', '.join(PURPOSES)}")
        if (event.klass is not None) != (event.kind == "label"):
            raise InputError("a label needs one class, and what is no label has none")
        if event.klass is not None and event.klass not in self.names:
            raise InputError(f"there is no class {event.klass}")

    def _check_undo(self, event: Event) -> None:
        target = self.uuids.get(event.undoes or "")
        if target is None or target.kind not in ANSWERS:
            raise InputError("there is no such answer to take back")
        if target.annotator.casefold() != event.annotator.casefold():
            raise InputError(f"that answer is {target.annotator}'s; only they can take it back")
        if target.uuid in self.undone:
            raise InputError("that answer was taken back already")

    def _check_classes(self, event: Event) -> None:
        if event.kind == "class-unmerged":
            self._check_unmerge(event)
            return
        if event.kind == "class-added":
            if event.klass is None or event.klass in self.names:
                raise InputError("a new class needs a new id")
        elif event.klass not in self.classes:
            raise InputError(f"there is no class {event.klass}")
        if event.kind == "class-merged":
            if event.into not in self.classes or event.into == event.klass:
                raise InputError("merge a class into another one that is there")
            return
        name = event.name or ""
        check_name(name)
        self._check_free(name, event.klass)

    def _check_unmerge(self, event: Event) -> None:
        merge = self.merges.get(event.undoes or "")
        if merge is None or merge.klass is None:
            raise InputError("there is no such merge to take back, or it was taken back already")
        self._check_free(self.names[merge.klass], merge.klass)

    def _check_free(self, name: str, klass: int | None) -> None:
        """Refuse a name that another class has."""
        for other in (self.names[k] for k in self.classes if k != klass):
            if name.casefold() == other.casefold():  # folders of both would be one on many disks
                only_case = "" if name == other else "; names must differ in more than capital letters"
                raise InputError(f"there is a class '{other}' already{only_case}")

    def apply(self, event: Event) -> None:
        """Take an event in; it was checked."""
        if (name := self.person(event.annotator)) != event.annotator:  # from a file, or of an older version
            event = replace(event, annotator=name)
        self.seq = max(self.seq, event.seq)
        self.uuids[event.uuid] = event
        self.log.append(event)
        if event.kind in ANSWERS:
            assert event.image is not None
            self.people[event.annotator].append(event)
            self.stacks[event.image].setdefault(event.annotator, []).append(event)
            self._settle(event.image)
        elif event.kind == "undo":
            self._undo(self.uuids[event.undoes or ""])
        else:
            self._change_classes(event)

    def _undo(self, target: Event) -> None:
        assert target.image is not None
        self.undone.add(target.uuid)
        stacks = self.stacks[target.image]
        stacks[target.annotator] = [e for e in stacks[target.annotator] if e.uuid != target.uuid]
        if not stacks[target.annotator]:
            del stacks[target.annotator]
        if not stacks:
            del self.stacks[target.image]
        self._settle(target.image)

    def _change_classes(self, event: Event) -> None:
        if event.kind == "class-unmerged":
            self._unmerge(self.merges.pop(event.undoes or ""))
            return
        assert event.klass is not None
        if event.kind == "class-added":  # what fitted no class may fit the new one
            self._ask_again(Change(event.seq, frozenset({None})))
        elif event.again:
            named = frozenset(klass for klass in self.names if self.resolved(klass) == event.klass)
            self._ask_again(Change(event.seq, named))
        if event.kind != "class-merged":
            self.names[event.klass] = event.name or ""
            return
        assert event.into is not None
        self.merged[event.klass] = event.into
        self.merges[event.uuid] = event
        for image in list(self.stacks):
            self._settle(image)

    def _unmerge(self, merge: Event) -> None:
        """Bring a class back with the labels that named it, and ask no more what its merge asked."""
        assert merge.klass is not None
        del self.merged[merge.klass]
        self.changes = [change for change in self.changes if change.seq != merge.seq]
        for image in list(self.stacks):
            self._settle(image)

    def _ask_again(self, change: Change) -> None:
        self.changes.append(change)
        for image, stacks in list(self.stacks.items()):
            if any(event.klass in change.classes for stack in stacks.values() for event in stack):
                self._settle(image)

    def _standing(self, image: int) -> tuple[dict[str, Event], set[str]]:
        """Return the answers that count, and who is asked again."""
        stacks = self.stacks.get(image, {})
        said = sorted((e for s in stacks.values() for e in s if e.purpose != "repeat"), key=lambda event: event.seq)
        since = bisect(self.changes, said[0].seq, key=lambda change: change.seq) if said else 0
        return standing(said, self.changes[since:])

    def _said(self, answers: dict[str, Event]) -> Counter[int]:
        """Count what the standing answers for an image say; a review's decision stands alone."""
        labels = [event for event in answers.values() if event.kind == "label"]
        decided = [e for e in labels if e.purpose == "review"]
        if decided:
            labels = [max(decided, key=lambda e: e.seq)]
        return Counter(self.resolved(e.klass) for e in labels if e.klass is not None)

    def _settle(self, image: int) -> None:
        """Note the class that most people say, if one has more than each other, and who is asked again."""
        answers, asked = self._standing(image)
        if asked:
            self.asked[image] = asked
        else:
            self.asked.pop(image, None)
        said = self._said(answers).most_common(2)
        (self.bought.add if said else self.bought.discard)(image)
        if said and (len(said) == 1 or said[0][1] > said[1][1]):
            self.labels[image] = said[0][0]
        else:
            self.labels.pop(image, None)
