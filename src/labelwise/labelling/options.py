"""The options of commands that have no study: what they can be, and a study's keys in errors said as these."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from labelwise.errors import InputError
from labelwise.zero_shot.weights import HINT

WORDS = (
    (HINT, "give class probabilities with --suggest file:PATH, or none"),
    ("zero_shot.weights", "--suggest clip"),
    ("zero_shot.model", "--suggest"),
    ("--set learner.backbone=", "--backbone "),
    ("learner.weights=", "--weights "),
    ("learner.backbone", "--backbone"),
    ("learner.weights", "--weights"),
)


def check_strategy(name: str) -> None:
    """Refuse what cannot pick images for people to label. Errors: InputError."""
    from labelwise.strategies import check_picks  # late: it loads scikit-learn

    if problem := check_picks(name):
        raise InputError(f"--strategy: {problem}")


@contextmanager
def options_named() -> Iterator[None]:
    """Raise InputErrors again with `--backbone` for `learner.backbone`, and the like."""
    try:
        yield
    except InputError as error:
        text = str(error)
        for key, option in WORDS:
            text = text.replace(key, option)
        raise InputError(text) from None
