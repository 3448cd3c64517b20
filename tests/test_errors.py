from __future__ import annotations

from labelwise.errors import nearest


def test_a_known_word_is_never_suggested_for_itself() -> None:
    assert nearest("margin", ["margin", "power_margin"]) == "; did you mean 'power_margin'?"
    assert nearest("margin", ["margin", "random"]) == "; known: random"
    assert nearest("margn", ["margin", "random"]) == "; did you mean 'margin'?"
