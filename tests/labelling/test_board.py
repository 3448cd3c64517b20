from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.labelling.conftest import said

from labelwise.errors import InputError
from labelwise.labelling.board import Board
from labelwise.labelling.events import KINDS, Event


def change(kind: str, **more: object) -> Event:
    return Event(str(uuid4()), kind, "me", **more)  # type: ignore[arg-type]


def board(*names: str, images: int = 9) -> Board:
    made = Board(images)
    for klass, name in enumerate(names or ("cat", "dog")):
        tell(made, change("class-added", klass=klass, name=name))
    return made


def tell(made: Board, *events: Event) -> None:
    for event in events:
        numbered = event.at(made.seq + 1, "2026-01-01T00:00:00+00:00")
        made.check(numbered)
        made.apply(numbered)


def test_the_last_answer_of_a_person_holds_and_undo_brings_the_one_before_back() -> None:
    made = board()
    first, second = said(1, 0), said(1, 1)
    tell(made, first, second)
    assert made.labels == {1: 1}
    tell(made, change("undo", undoes=second.uuid))
    assert made.labels == {1: 0}
    tell(made, change("undo", undoes=first.uuid))
    assert made.labels == {}
    assert made.bought == set()
    assert 1 not in made.stacks


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (said(10), "no image 10"),
        (said(1, 7), "no class 7"),
        (said(1, purpose="fun"), "no purpose"),
        (Event("u", "label", "me", 1, None, purpose="test"), "a label needs one class"),
        (Event("u", "skip", "me", 1, 0, purpose="test"), "what is no label has none"),
        (said(1, annotator=""), "annotator's name"),
        (said(1, annotator="a\nb"), "annotator's name"),
        (change("undo", undoes="nothing"), "no such answer"),
        (change("class-added", klass=2, name="cat"), "a class 'cat' already"),
        (change("class-added", klass=2, name="Cat"), "a class 'cat' already; names must differ in more"),
        (change("class-added", klass=2, name=" x"), "class name"),
        (change("class-added", klass=0, name="x"), "new id"),
        (change("class-merged", klass=0, into=0), "another one"),
        (change("class-renamed", klass=5, name="x"), "no class 5"),
        (change("delete"), "no kind of event"),
    ],
)
def test_what_cannot_hold_is_refused(event: Event, why: str) -> None:
    with pytest.raises(InputError, match=why):
        board().check(event)


def test_nobody_takes_back_what_somebody_else_said() -> None:
    made = board()
    theirs = said(1, annotator="anna")
    tell(made, theirs)
    with pytest.raises(InputError, match="anna's"):
        made.check(change("undo", undoes=theirs.uuid))


def test_people_who_disagree_leave_no_label_until_it_is_settled() -> None:
    made = board()
    tell(made, said(1, 0, "anna"), said(1, 1, "ben"), said(2, 0, "anna"), said(2, 0, "ben"))
    assert made.labels == {2: 0}
    assert made.disagreements() == [1]
    tell(made, said(1, 1, "anna", purpose="review"))
    assert made.labels == {1: 1, 2: 0}
    assert made.disagreements() == []
    tell(made, said(2, 1, "cleo"))
    assert made.labels[2] == 0, "two of three say 0"


def test_a_blind_repeat_replaces_nothing() -> None:
    made = board()
    tell(made, said(1, 0), said(1, 1, purpose="repeat"))
    assert made.labels == {1: 0}
    assert made.answers(1, repeats=True)["me"].klass == 1


def test_changed_classes_carry_labels_along_and_offer_again_what_they_touch() -> None:
    made = board("cat", "dog", "puppy")
    tell(made, said(1, 2), said(2, None), said(3, 1))
    tell(made, change("class-merged", klass=2, into=1, again=True))
    assert made.labels == {1: 1, 3: 1}
    assert made.classes == [0, 1]
    assert set(made.again()) == {1}
    tell(made, change("class-added", klass=3, name="fox"))
    assert set(made.again()) == {1, 2}, "what was unsure may be a fox"
    tell(made, change("class-renamed", klass=1, name="hound"))
    assert set(made.again()) == {1, 2}, "only the name changed"
    again = said(1, 1, purpose="again")
    tell(made, again)
    assert set(made.again()) == {2}
    tell(made, change("undo", undoes=again.uuid))
    assert set(made.again()) == {1, 2}, "the question stands again"


def test_a_merge_that_is_taken_back_leaves_labels_as_they_were_given() -> None:
    made = board("cat", "dog", "puppy")
    tell(made, said(1, 2, "anna"), said(2, 1, "anna"), said(4, 2, "anna"))
    merge = change("class-merged", klass=2, into=1, again=True)
    tell(made, merge, said(3, 1, "anna"), said(4, 0, "anna", purpose="again"))
    back = change("class-unmerged", undoes=merge.uuid)
    tell(made, back)
    assert made.classes == [0, 1, 2]
    assert made.labels == {1: 2, 2: 1, 3: 1, 4: 0}, "what was said after the merge stays"
    assert made.again() == []
    with pytest.raises(InputError, match="taken back already"):
        made.check(change("class-unmerged", undoes=merge.uuid))
    second = change("class-merged", klass=2, into=0)
    tell(made, second, change("class-added", klass=3, name="Puppy"))
    with pytest.raises(InputError, match="a class 'Puppy' already"):
        made.check(change("class-unmerged", undoes=second.uuid))


def test_the_first_of_two_merges_can_be_taken_back_alone() -> None:
    made = board("cat", "dog", "puppy")
    first, second = change("class-merged", klass=2, into=1), change("class-merged", klass=1, into=0)
    tell(made, said(1, 2), said(2, 1), first, second)
    assert made.labels == {1: 0, 2: 0}
    tell(made, change("class-unmerged", undoes=first.uuid))
    assert made.labels == {1: 2, 2: 0}
    assert list(made.merges) == [second.uuid]


def skipped(image: int, annotator: str) -> Event:
    return Event(str(uuid4()), "skip", annotator, image, purpose="test")


def undone(event: Event) -> Event:
    return Event(str(uuid4()), "undo", event.annotator, undoes=event.uuid)


def test_a_changed_class_is_asked_of_everybody_whose_label_it_touches() -> None:
    made = board("cat", "dog")
    tell(made, said(1, 0, "anna"), said(1, 0, "bert"), said(1, 1, "cleo"), said(2, 0, "anna"))
    tell(made, change("class-renamed", klass=0, name="kitten", again=True))
    assert (made.again("anna"), made.again("bert"), made.again("cleo")) == ([1, 2], [1, 2], [2])
    tell(made, said(1, 0, "anna", purpose="again"))
    assert (made.again("anna"), made.again("bert")) == ([2], [1, 2]), "both are asked"
    assert 1 not in made.labels, "cleo's dog was never in question, anna's kitten is new, bert's cat is void"
    tell(made, said(1, 0, "bert", purpose="again"))
    assert made.again("bert") == [2]
    assert made.labels[1] == 0
    instead = said(2, 1, "cleo", purpose="again")
    tell(made, instead)
    assert made.again() == [], "cleo stood in for anna"
    assert made.labels[2] == 1, "anna's cat is no kitten that anybody saw"
    assert set(made.standing(2)) == {"cleo"}
    tell(made, undone(instead))
    assert (made.again("anna"), made.labels[2]) == ([2], 0)
    tell(made, said(2, 0, "anna", purpose="again"))
    assert made.again() == []


def test_who_only_skips_stands_in_for_nobody() -> None:
    made = board("cat", "dog")
    tell(made, said(1, 0, "anna"), change("class-renamed", klass=0, name="kitten", again=True), skipped(1, "cleo"))
    assert (made.labels, made.again()) == ({1: 0}, [1])


def test_who_had_answered_before_stands_in_for_nobody() -> None:
    made = board("cat", "dog")
    tell(made, said(1, 0, "anna"), said(1, 1, "cleo"), change("class-renamed", klass=0, name="kitten", again=True))
    tell(made, said(1, 1, "cleo", purpose="check"))
    assert made.again("anna") == [1]
    assert made.labels == {}, "anna's label stands until it is her turn"


def test_who_was_stood_in_for_is_not_asked_when_the_class_changes_once_more() -> None:
    made = board("cat", "dog")
    tell(made, said(1, 0, "anna"), change("class-renamed", klass=0, name="kitten", again=True), said(1, 0, "cleo"))
    tell(made, change("class-renamed", klass=0, name="tom", again=True))
    assert made.asked == {1: {"cleo"}}
    tell(made, said(1, 1, "cleo", purpose="again"))
    assert (made.again(), made.labels) == ([], {1: 1})


def test_an_undo_brings_an_old_label_back_with_its_question() -> None:
    made = board("cat", "dog", "owl")
    tell(made, said(1, 0, "anna"), change("class-renamed", klass=0, name="kitten", again=True))
    second = said(1, 2, "anna", purpose="again")
    tell(made, second, said(1, 1, "bert"), change("class-renamed", klass=1, name="hound", again=True))
    assert made.asked == {1: {"bert"}}
    tell(made, undone(second))
    assert made.asked == {1: {"bert"}}, "bert's label came after the first change: he stands in for anna"
    assert made.labels == {1: 1}


def test_a_decision_asks_nobody_any_more() -> None:
    made = board("cat", "dog")
    tell(made, said(1, 0, "anna"), said(1, 0, "bert"), change("class-renamed", klass=0, name="kitten", again=True))
    tell(made, said(1, 1, "cleo", purpose="review"))
    assert (made.again(), made.labels) == ([], {1: 1})


kinds = st.sampled_from(KINDS)


@given(
    st.lists(
        st.tuples(kinds, st.sampled_from("ab"), st.integers(1, 5), st.integers(0, 4), st.integers(0, 4)), max_size=40
    )
)
def test_a_board_is_what_its_log_replays_to(steps: list[tuple[str, str, int, int, int]]) -> None:
    made = board()
    for kind, person, image, klass, other in steps:
        earlier = [e.uuid for e in made.history(person)]
        make: dict[str, Callable[[], Event]] = {
            "label": lambda p=person, i=image, k=klass: said(i, k, p),  # type: ignore[misc]
            "unsure": lambda p=person, i=image: said(i, None, p),  # type: ignore[misc]
            "skip": lambda p=person, i=image: Event(str(uuid4()), "skip", p, i, purpose="test"),  # type: ignore[misc]
            "undo": lambda p=person, u=earlier, i=image: Event(
                str(uuid4()), "undo", p, undoes=u[i % len(u)] if u else "x"
            ),  # type: ignore[misc]
            "class-added": lambda o=other: change("class-added", klass=len(made.names), name=f"n{o}"),  # type: ignore[misc]
            "class-renamed": lambda k=klass, o=other: change("class-renamed", klass=k, name=f"n{o}", again=bool(o % 2)),  # type: ignore[misc]
            "class-merged": lambda k=klass, o=other: change("class-merged", klass=k, into=o, again=bool(k % 2)),  # type: ignore[misc]
            "class-unmerged": lambda: change("class-unmerged", undoes=next(iter(made.merges), "x")),
        }
        event = make[kind]()
        try:
            tell(made, event)
        except InputError:
            continue
    again = Board(9, made.log)
    for name in ("names", "merged", "merges", "labels", "asked", "bought", "seq", "undone"):
        assert getattr(again, name) == getattr(made, name)
    assert made.bought >= set(made.labels)
    assert all(klass in made.classes for klass in made.labels.values())
    for image in made.stacks:
        held = {made.resolved(e.klass) for e in made.answers(image).values() if e.klass is not None}
        assert (image in made.labels) or len(held) != 1
