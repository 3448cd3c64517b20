"""Which image a name means: folders that differ never match, and what is unclear is refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.data.meant import Finder
from labelwise.errors import InputError

NAMES = ["cats/000.png", "cats/001.png", "birds/000.png", "birds/old/7.png", "a b/ä.png", "100%25.png", "top.png"]


def meant(name: str, names: list[str] | None = None, root: str = "/srv/photos") -> str | list[str] | None:
    names = NAMES if names is None else names
    found = Finder(names, root).find(name)
    if found.candidates:
        return [names[i] for i in found.candidates]
    return None if found.index < 0 else names[found.index]


@pytest.mark.parametrize(("name", "image"), [
    ("cats/000.png", "cats/000.png"),
    ("./cats//000.png", "cats/000.png"),
    ("cats/old/../000.png", "cats/000.png"),
    ("cats\\000.png", "cats/000.png"),
    ("C:\\Users\\ann\\photos\\cats\\000.png", "cats/000.png"),
    ("/home/ann/pictures/birds/000.png", "birds/000.png"),
    ("/srv/photos/cats/000.png", "cats/000.png"),
    ("photos/cats/000.png", "cats/000.png"),
    ("../anywhere/cats/000.png", "cats/000.png"),
    ("s3://bucket/set/cats/000.png", "cats/000.png"),
    ("a%20b/%C3%A4.png", "a b/ä.png"),
    ("a b/a\u0308.png", "a b/ä.png"),
    ("100%25.png", "100%25.png"),
    ("001.png", "cats/001.png"),
    ("old/7.png", "birds/old/7.png"),
    ("/data/upload/12/1a2b3c4d-001.png", "cats/001.png"),
    ("1a2b3c4d-top.png", "top.png"),
    ("photos/top.png", "top.png"),
    ("/elsewhere/top.png", "top.png"),
])  # fmt: skip
def test_what_is_meant(name: str, image: str) -> None:
    assert meant(name) == image


@pytest.mark.parametrize("name", [
    "dogs/000.png",  # whose file name two images have
    "dogs/001.png",  # whose file name one image has, in another folder
    "/home/ann/dogs/001.png",
    "cats/7.png",
    "dogs/old/7.png",
    "/srv/photos/more/cats/000.png",  # in the images' own folder, where there is none
    "dogs/top.png",  # not the name of the folder that `top.png` lies in
    "0.png",
    "00.png",
    "1a2b3c4d-nothing.png",
    "dogs/1a2b3c4d-001.png",  # no upload: its folder says something
    "cats",
    "",
    "/",
    ".",
])  # fmt: skip
def test_other_folders_and_files_are_none(name: str) -> None:
    assert meant(name) is None


@pytest.mark.parametrize(("name", "candidates"), [
    ("000.png", ["birds/000.png", "cats/000.png"]),
    ("upload/1/1a2b3c4d-000.png", ["birds/000.png", "cats/000.png"]),
])  # fmt: skip
def test_several_are_candidates(name: str, candidates: list[str]) -> None:
    found = meant(name)
    assert isinstance(found, list)
    assert sorted(found) == candidates


def test_a_folder_of_the_roots_own_name() -> None:
    names = ["1.png", "photos/1.png"]
    assert meant("/srv/photos/1.png", names) == "1.png"  # it is inside
    assert meant("photos/1.png", names) == "photos/1.png"
    assert meant("/home/ann/photos/1.png", names) == ["1.png", "photos/1.png"]  # another machine's root, or not


def test_names_that_a_source_has_twice() -> None:
    assert meant("a.png", ["a.png", "b.png", "a.png"], "") == ["a.png", "a.png"]


def test_a_name_that_is_written_so_comes_first() -> None:
    names = ["a\\b.png", "a/b.png", "a%20b.png", "a b.png"]
    assert [meant(name, names) for name in names] == names


def test_all_that_is_unclear_is_said_at_once() -> None:
    finder = Finder(NAMES, "/srv/photos")
    found = finder.find_all(["cats/000.png", "x.png", "001.png", "cats/000.png"], "f.csv")
    assert {name: meant.index for name, meant in found.items()} == {"cats/000.png": 0, "x.png": -1, "001.png": 1}
    assert [found[name].by_name for name in ("cats/000.png", "001.png")] == [False, True]
    names = [f"{n}/{i}.png" for n in "abcd" for i in range(5)]
    with pytest.raises(InputError) as error:
        Finder(names).find_all([f"{i}.png" for i in range(5)], "f.csv")
    assert str(error.value) == (
        "f.csv: 5 names are of several images: 0.png (a/0.png or b/0.png or c/0.png or 1 more), 1.png (a/1.png or "
        "b/1.png or c/1.png or 1 more), 2.png (a/2.png or b/2.png or c/2.png or 1 more), ...; give their paths in the "
        "images' folder"
    )


def test_two_names_of_one_image() -> None:
    finder = Finder(["000.png", "b/1.png"], "/srv/photos")
    with pytest.raises(InputError, match=r"^f: /x/dogs/000.png and /x/cats/000.png would both be 000.png; give paths"):
        finder.find_all(["/x/dogs/000.png", "/x/cats/000.png"], "f")
    for names in (["000.png", "/x/dogs/000.png"], ["/x/dogs/000.png", "000.png"]):  # the path itself is no guess
        found = finder.find_all(names, "f")
        assert (found["000.png"].index, found["/x/dogs/000.png"].index) == (0, -1)
    assert {m.index for m in finder.find_all(["b/1.png", "./b/1.png", "b\\1.png"], "f").values()} == {1}


PARTS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4)


@given(st.lists(PARTS, min_size=1, max_size=12), PARTS, st.booleans())
def test_one_is_always_the_tail_of_the_other(paths: list[list[str]], asked: list[str], absolute: bool) -> None:
    names = list(dict.fromkeys("/".join(parts) for parts in paths))
    name = ("/" if absolute else "") + "/".join(asked)
    found = Finder(names).find(name)
    given_parts = name.split("/")

    def fits(path: str) -> bool:
        parts = path.split("/")
        n = min(len(parts), len(given_parts))
        return parts[-n:] == given_parts[-n:]

    fitting = [i for i, path in enumerate(names) if fits(path)]
    longest = max((min(len(names[i].split("/")), len(given_parts)) for i in fitting), default=0)
    best = [i for i in fitting if min(len(names[i].split("/")), len(given_parts)) == longest]
    if name in names:
        assert names[found.index] == name
    elif len(best) == 1:
        assert found.index == best[0]
    else:
        assert sorted(found.candidates) == best
        assert found.index == -1


@given(st.lists(PARTS, min_size=1, max_size=12), st.sampled_from(["", "./", "/mnt/x/", "D:\\x\\", "//h//"]))
def test_every_image_is_found_below_any_root(paths: list[list[str]], root: str) -> None:
    names = list(dict.fromkeys("in/" + "/".join(parts) + ".png" for parts in paths))
    finder = Finder(names)
    assert [finder.find(root + name).index for name in names] == list(range(len(names)))


@pytest.mark.slow
def test_many_names() -> None:
    names = [f"{i // 1000:03d}/{i % 1000:03d}.png" for i in range(200_000)]
    started = time.monotonic()
    finder = Finder(names, Path("/srv/photos"))
    found = finder.find_all([f"/x/{name}" for name in names], "f")
    assert [meant.index for meant in found.values()] == list(range(len(names)))
    assert len(finder.find("500.png").candidates) == 200
    assert time.monotonic() - started < 60
