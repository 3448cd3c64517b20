"""A study's keys in errors, said as the options of commands that have no study."""

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
