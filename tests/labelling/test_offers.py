from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from tests.labelling.conftest import said
from tests.labelling.test_board import change, tell

from labelwise.labelling.board import Board
from labelwise.labelling.events import Event
from labelwise.labelling.offers import CHECKS, EVERY, FAR_BACK, Offer, Plan, in_stock, offers


def plan(images: int = 60, budget: int = 40, test: int = 5, overlap: int = 1, groups: Iterable[int] = ()) -> Plan:
    board = Board(images)
    tell(board, *(change("class-added", klass=k, name=name) for k, name in enumerate(("cat", "dog"))))
    made = Plan(board, budget, overlap, 0, list(range(1, test + 1)))
    made.usable, made.groups = np.ones(images, bool), np.array(list(groups) or range(1, images + 1), np.int64)
    return made


def label(made: Plan, offered: Iterable[Offer], annotator: str = "me") -> None:
    tell(made.board, *(said(o.image, o.image % 2, annotator, purpose=o.purpose, round=o.round) for o in offered))


def work(made: Plan, annotator: str = "me", most: int = 200) -> list[Offer]:
    """Label one image after the other, as the only person, until nothing is offered."""
    done: list[Offer] = []
    while len(done) < most and (offer := next(offers(made, annotator), None)):
        done.append(offer)
        label(made, [offer], annotator)
    return done


def test_the_random_slice_comes_first_and_whole() -> None:
    made = plan()
    assert [(o.image, o.purpose) for o in offers(made, "me")][:5] == [(i, "test") for i in range(1, 6)]
    label(made, [Offer(1, "test")])
    assert [o.purpose for o in offers(made, "me")][:5] == ["test"] * 4 + ["random"], "the page can fetch ahead"


def test_every_fifth_training_label_is_a_random_one() -> None:
    made = plan()
    label(made, [Offer(i, "test") for i in made.test])
    made.picks, made.kind, made.round = list(range(60, 20, -1)), "picked", 0
    training = [o for o in work(made) if o.purpose in ("picked", "random")]
    assert len(training) == 35, "the budget's rest"
    kinds = [o.purpose for o in training]
    assert kinds == ["random" if i % EVERY == EVERY - 1 else "picked" for i in range(35)]
    random = [o.image for o in training if o.purpose == "random"]
    assert random == sorted(random), "ids are in random order: the next ones are a random sample"
    assert len({o.image for o in training}) == 35


def test_without_picks_random_ones_are_offered_and_nobody_waits() -> None:
    made = plan()
    label(made, [Offer(i, "test") for i in made.test])
    assert {o.purpose for o in offers(made, "me")} == {"random"}


def test_where_the_newest_picks_are_used_up_older_ones_fill_in() -> None:
    made = plan()
    label(made, [Offer(i, "test") for i in made.test])
    rounds = [("typical", [50, 51]), ("picked", [40, 41, 42]), ("picked", [44, 40])]
    in_stock(made, [{"round": i, "kind": kind, "picks": picks} for i, (kind, picks) in enumerate(rounds)])
    shown = [(o.image, o.purpose, o.round) for o in work(made)][:4]
    assert shown == [(44, "picked", 2), (40, "picked", 2), (41, "picked", 1), (42, "picked", 1)]


def test_near_duplicates_are_offered_once_and_never_on_both_sides() -> None:
    groups = list(range(1, 61))
    groups[19] = groups[29] = 1  # 20 and 30 look like 1, which is in the test slice
    groups[40] = 40  # 41 looks like 40
    made = plan(groups=groups)
    label(made, [Offer(i, "test") for i in made.test])
    made.picks = [20, 40, 41, 30]
    shown = [o.image for o in work(made)]
    assert not {20, 30} & set(shown)
    assert len({40, 41} & set(shown)) == 1
    tell(made.board, said(20, purpose="grid"))
    assert 20 not in made.training(), "like a test image: never trained on"


def test_near_the_end_a_few_are_asked_again_blind_and_then_the_suspicious_ones() -> None:
    made = plan()
    made.doubted = dict.fromkeys(range(1, 31), (1, 0.9))
    done = work(made)
    purposes = [o.purpose for o in done]
    repeats = [o.image for o in done if o.purpose == "repeat"]
    assert len(repeats) == len(set(repeats)) == 5
    for image in repeats:
        places = [i for i, o in enumerate(done) if o.image == image]
        assert places[1] - places[0] >= FAR_BACK
    assert purposes[-CHECKS:] == ["check"] * CHECKS
    made.doubted = dict.fromkeys(range(31, 41), (1, 0.9))
    assert not list(offers(made, "me")), "newer doubts do not go on for ever"
    assert len(made.board.bought) == 40, "the budget is kept exactly"


def test_what_a_changed_class_touches_comes_first() -> None:
    made = plan()
    label(made, [Offer(i, "test") for i in made.test])
    tell(made.board, change("class-merged", klass=1, into=0, again=True))
    assert [(o.image, o.purpose) for o in offers(made, "me")][:3] == [(i, "again") for i in (1, 3, 5)]


def test_an_image_is_labelled_by_as_many_people_as_asked_for() -> None:
    made = plan(overlap=2, budget=10)
    anna, ben = work(made, "anna", 8), work(made, "ben", 8)
    assert {o.image for o in anna if o.purpose == "test"} == {o.image for o in ben if o.purpose == "test"}
    assert not [o for o in offers(made, "cleo") if o.image in made.test], "two have said it already"


def test_skipped_and_unusable_images_are_left_alone() -> None:
    made = plan()
    tell(made.board, Event("s", "skip", "me", 1, purpose="test"))
    made.usable[1] = False
    assert [o.image for o in offers(made, "me")][:3] == [3, 4, 5]
    assert next(offers(made, "anna")).image == 1, "somebody else may know"


def test_everybody_gets_what_others_labelled_until_enough_have() -> None:
    made = plan(overlap=2, budget=15)
    anna = work(made, "anna")
    ben = work(made, "ben")
    first = {o.image for o in anna if o.purpose in ("test", "random")}
    assert len(first) == 15
    assert first <= {o.image for o in ben}, "the budget is of images, and each of them wants two"
    assert not [o for o in offers(made, "cleo") if o.purpose not in ("repeat", "check")]


def test_fewer_images_than_the_budget_come_to_an_end() -> None:
    made = plan(images=30, budget=100, groups=[*range(1, 21), *range(1, 11)])  # ten are near-duplicates
    made.doubted = {7: (1, 0.9)}
    purposes = [o.purpose for o in work(made)]
    assert len(made.board.bought) == made.limit() == 20
    assert "repeat" in purposes
    assert purposes[-1] == "check"
