from __future__ import annotations

import pytest

from labelwise.cli.options import names_of
from labelwise.errors import InputError


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cat,dog", ["cat", "dog"]),
        (" cat , dog ,, ", ["cat", "dog"]),
        ('"red, ripe",green', ["red, ripe", "green"]),
        ('green, "red, ripe"', ["green", "red, ripe"]),
        ('"6"" pipe, steel",5" pipe', ['6" pipe, steel', '5" pipe']),
        ('""', []),
        ("", []),
    ],
)
def test_a_list_of_names_goes_by_the_rules_of_csv(text: str, names: list[str]) -> None:
    assert names_of(text, "--classes") == names


@pytest.mark.parametrize("text", ['"red, ripe', '"red" ripe,green', "red\nripe,green"])
def test_a_broken_list_is_one_line_that_names_the_option(text: str) -> None:
    with pytest.raises(InputError, match=r"^--classes: .*; quote a name that holds a comma") as found:
        names_of(text, "--classes")
    assert "\n" not in str(found.value)
