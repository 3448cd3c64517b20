"""Imports by path: both ways of writing, the current folder, and every way in which it can fail, in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from labelwise.errors import InputError
from labelwise.imports import import_object, module_of


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder; what is imported from it is forgotten after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path  # type: ignore[misc]
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize(
    "path",
    [
        "collections.OrderedDict",
        "collections:OrderedDict",
    ],
)
def test_an_object_by_its_path(path: str) -> None:
    from collections import OrderedDict

    assert import_object(path, "key", "a class") is OrderedDict


def test_modules_inside_packages_and_names_inside_classes() -> None:
    import importlib.metadata as metadata

    assert import_object("importlib.metadata.version", "key", "a function") is metadata.version
    assert import_object("importlib.metadata.Distribution.from_name", "key", "it") == metadata.Distribution.from_name
    assert import_object("importlib.metadata:Distribution.from_name", "key", "it") == metadata.Distribution.from_name
    assert module_of("importlib.metadata:Distribution.from_name") is metadata
    assert module_of("importlib.metadata.version") is metadata


def test_a_file_of_the_current_folder(here: Path) -> None:
    (here / "my_own_model.py").write_text("import my_helper_of_it\nclass Mine:\n    value = my_helper_of_it.VALUE\n")
    (here / "my_helper_of_it.py").write_text("VALUE = 7\n")
    assert import_object("my_own_model:Mine", "key", "a class").value == 7
    assert import_object("my_own_model.Mine.value", "key", "a value") == 7
    assert sys.path[-1] == str(here)
    assert module_of("my_own_model.Mine.value").__file__ == str(here / "my_own_model.py")


def test_what_is_installed_is_never_hidden_by_a_file_that_lies_here(here: Path) -> None:
    (here / "colorsys.py").write_text("rgb_to_hsv = 1\n")
    sys.modules.pop("colorsys", None)
    assert callable(import_object("colorsys.rgb_to_hsv", "key", "a function"))
    assert str(here) not in sys.path


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("sklearn.ensemble.RandomForestClasifier",
         "has no 'RandomForestClasifier'; did you mean 'RandomForestClassifier'?; a class is needed"),
        ("sklearn.ensembel.RandomForestClassifier", "has no 'ensembel'; did you mean 'ensemble'?"),
        ("sklearn.ensembel:RandomForestClassifier", "no module 'sklearn.ensembel' (did you mean sklearn.ensemble?)"),
        ("sklaern.ensemble.X", "there is no module 'sklaern' (did you mean sklearn?), neither installed nor in"),
        ("qzxqzx:X", "there is no module 'qzxqzx', neither installed nor in"),
        ("RandomForestClassifier", "is no import path; write package.module.name or package.module:name of a class"),
        ("", "is no import path"),
        ("a b.c", "is no import path"),
        ("os; import evil", "is no import path"),
        ("../x.py:Y", "is no import path"),
        ("os.", "is no import path"),
        ("os:", "is no import path"),
        ("needs_another:X", "needs_another needs the module 'qzxqzx', which is not installed"),
        ("is_broken:X", "is_broken cannot be imported: SyntaxError"),
        ("has_an_end:X", "has_an_end cannot be imported: SystemExit: 3"),
        ("is_empty.Some", "has no 'Some'"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_said_in_one_line(here: Path, path: str, message: str) -> None:
    (here / "needs_another.py").write_text("import qzxqzx\n")
    (here / "is_broken.py").write_text("def f(:\n")
    (here / "has_an_end.py").write_text("import sys\nsys.exit(3)\n")
    (here / "is_empty.py").write_text("")
    with pytest.raises(InputError) as raised:
        import_object(path, "learner.estimator", "a class")
    assert message in str(raised.value)
    assert str(raised.value).startswith("learner.estimator: ")
    assert str(raised.value).isprintable()
