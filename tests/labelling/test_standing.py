from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.labelling.conftest import said

from labelwise.labelling.events import Event
from labelwise.labelling.standing import Change, standing

answers = st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 2)), max_size=8)
changes = st.lists(st.tuples(st.integers(0, 16), st.sets(st.none() | st.integers(0, 2), min_size=1)), max_size=3)


def numbered(given: list[tuple[str, int | None]]) -> list[Event]:
    """Answers of one image at even places of the order: changes can be between any two."""
    return [said(1, klass, name).at(2 * i + 2, "") for i, (name, klass) in enumerate(given)]


@given(answers, changes)
def test_answers_stand_until_somebody_labelled_after_a_change(
    given: list[tuple[str, int | None]], changed: list[tuple[int, set[int | None]]]
) -> None:
    events = numbered(given)
    last = {event.annotator: event for event in events}
    made = sorted((Change(2 * (at // 2) + 1, frozenset(classes)) for at, classes in changed), key=lambda c: c.seq)
    found, asked = standing(events, made)
    assert found.items() <= last.items()
    assert asked <= last.keys()
    for name in asked:  # who is asked gave an answer that a later change touched
        assert any(change.seq > last[name].seq and last[name].klass in change.classes for change in made)
    if not made:
        assert (found, asked) == (last, set())
    if last:
        newest = max(last.values(), key=lambda event: event.seq)
        assert newest.annotator in found, "what was said last stands"
