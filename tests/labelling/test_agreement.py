from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.inter_rater import fleiss_kappa as published
from tests.labelling.conftest import said
from tests.labelling.test_board import board, tell

from labelwise.labelling.agreement import agreement, consistency, fleiss_kappa


def test_fleiss_kappa_is_statsmodels() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        counts = rng.multinomial(4, (0.5, 0.3, 0.2), size=12)
        assert fleiss_kappa(counts) == pytest.approx(published(counts))
    assert fleiss_kappa(np.array([[3, 0], [3, 0]])) is None, "one class only: 0 / 0"


def test_two_people_have_cohens_kappa() -> None:
    made = board(images=20)
    # Cohen 1960's form: 20 images, both say 0 on 8, both say 1 on 7, they differ on 5
    for image in range(1, 21):
        one = int(image > 8)
        other = one if image <= 15 else 1 - one
        tell(made, said(image, one, "anna"), said(image, other, "ben"))
    found = agreement(made)
    assert found is not None
    by_chance = 8 / 20 * 13 / 20 + 12 / 20 * 7 / 20
    assert found["cohen"] == pytest.approx((15 / 20 - by_chance) / (1 - by_chance))
    assert found["fleiss"] is None
    assert found["images"] == 20


def test_one_person_agrees_with_nobody() -> None:
    made = board()
    tell(made, said(1, 0), said(2, 1))
    assert agreement(made) is None
    assert consistency(made, "me") is None


def test_three_people_have_fleiss_kappa_too() -> None:
    made = board()
    for image in range(1, 7):
        for name in ("a", "b", "c"):
            tell(made, said(image, image % 2, name))
    found = agreement(made)
    assert found is not None
    assert found["fleiss"] == pytest.approx(1)


def test_blind_repeats_measure_a_persons_consistency() -> None:
    made = board()
    tell(made, said(1, 0), said(2, 1), said(3, None))
    tell(made, said(1, 0, purpose="repeat"), said(2, 0, purpose="repeat"), said(3, 0, purpose="repeat"))
    assert consistency(made, "me") == {"asked": 2, "same": 1}


def test_what_people_say_later_is_no_first_opinion() -> None:
    made = board()
    tell(made, said(1, 0, "anna"), said(1, 1, "ben"), said(2, 1, "anna"), said(2, 1, "ben"))
    before = agreement(made)
    tell(made, said(1, 1, "anna", purpose="review"), said(2, 0, "ben", purpose="check"))
    assert agreement(made) == before
    tell(made, said(1, 0, "anna", purpose="repeat"))
    assert consistency(made, "anna") == {"asked": 1, "same": 1}
    assert consistency(made, "ben") is None
