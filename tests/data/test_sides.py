from __future__ import annotations

import pytest
import yaml
from hypothesis import given as drawn
from hypothesis import strategies as st

from labelwise.config import Study
from labelwise.data.sides import WORDS, Chosen, choose, example, is_fold, side_of, without_shard
from labelwise.errors import InputError
from labelwise.parts import Sides

SAID = {
    "train": "train Training TRAIN train_set trainset TrainSet training_set train1 train-2 cifar_train mnist-train "
    "2020train train_images training_data x_train trainval train_val",
    "test": "test Test TEST testing test_set TestSet test1 mnist-test cifar_test eval evaluation test-data hold-out",
    "validation": "val valid Validation validation_set dev val2 cifar-val DevSet",
    None: "cat contest valley trainer testify retrain tested train_test attest devil fold1 part-0 data.v2",
}


@pytest.mark.parametrize(("side", "name"), [(side, name) for side, names in SAID.items() for name in names.split()])
def test_what_a_name_says(side: str | None, name: str) -> None:
    assert side_of(name) == side


@drawn(
    st.sampled_from(sorted(WORDS)), st.sampled_from([str.upper, str.lower, str.title]),
    st.sampled_from(["{}", "{}_set", "{} 1", "{}-data", "cifar_{}", "2020_{}", "{}.images"]),
)  # fmt: skip
def test_a_known_word_says_its_side_in_any_case_and_company(word: str, case: object, form: str) -> None:
    assert side_of(form.format(case(word))) == WORDS[word]  # type: ignore[operator]


@pytest.mark.parametrize(
    "name", ["fold1", "fold_2", "Fold 3", "cv3", "k-fold", "kfold_1", "k-fold-2", "split0", "1-fold"]
)
def test_folds(name: str) -> None:
    assert is_fold(name)


@pytest.mark.parametrize("name", ["fold", "folder1", "train1", "split", "manifold2", "scene 0", "fold_line_1"])
def test_no_folds(name: str) -> None:
    assert not is_fold(name)


def test_shards() -> None:
    assert without_shard("train-00000-of-00002") == "train"
    assert without_shard("my-train-00000-of-00001-1359597a978bc4fa") == "my-train"
    assert without_shard("train-1") == "train-1"


@pytest.mark.parametrize(
    ("names", "train", "test"),
    [
        ("train test", "train", "test"),
        ("Training Testing", "Training", "Testing"),
        ("train eval", "train", "eval"),
        ("train_set test_set", "train_set", "test_set"),
        ("train test1", "train", "test1"),
        ("mnist-train mnist-test", "mnist-train", "mnist-test"),
        ("cifar_train cifar_test", "cifar_train", "cifar_test"),
        ("train1 train2 test", "train1 train2", "test"),
        ("train val test", "train", "test"),
        ("train eval test", "train", "test"),
        ("train test extra", "train", "test"),
        ("trainval test", "trainval", "test"),
        ("test", "test", ""),
        ("part-0 part-1", "part-0 part-1", ""),
        ("a b", "a b", ""),
        ("train extra", "train", ""),
    ],
)
def test_clear_names(names: str, train: str, test: str) -> None:
    chosen = choose(names.split(), "auto", "here")
    assert (chosen.train, chosen.test) == (tuple(train.split()), tuple(test.split()))
    assert set(chosen.unused) == set(names.split()) - {*chosen.train, *chosen.test}
    assert choose(names.split(), "none", "here") == Chosen(tuple(names.split()))


def test_a_third_part_is_said() -> None:
    chosen = choose(["train", "val", "test"], "auto", "here")
    assert chosen.unused == {"val": "a validation set"}
    assert chosen.notes == (
        "val (validation) is not used; --set 'split={train: [train, val], test: test}' adds it to the training set",
    )
    assert choose(["train", "test"], "auto", "here").notes == ()
    assert choose(["Train", "TEST"], "auto", "here").notes == ()
    assert choose(["Training", "eval"], "auto", "here").notes == ("training set: Training; test set: eval",)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ("train val", "there are train and val, but there is no test set; say which is which, as in --set "
         "'split={train: train, test: val}', or set split=none"),
        ("fold1 fold2 fold3", "fold1, fold2, fold3 look like folds; say which is which, as in --set "
         "'split={train: [fold1, fold2], test: fold3}'"),
        ("test extra", "there is no training set among test, extra"),
        ("val test", "there is no training set among val, test"),
        ("bullet_train test_tube", "it is not clear whether bullet_train, test_tube are splits"),
        ("mnist-train mnist-test fashion-train fashion-test", "are several sets"),
        ("mnist-train fashion-train mnist-test", "it is not clear whether"),
        ("train1 train2 test1 test2", "train1, train2, test1, test2 are several sets"),
        ("train trainval test", "train, trainval may hold the same images"),
        ("train_test val", "train_test says neither train nor test"),
    ],
)  # fmt: skip
def test_names_that_are_not_clear(names: str, why: str) -> None:
    with pytest.raises(InputError) as raised:
        choose(names.split(), "auto", "here")
    assert str(raised.value).startswith("here: ")
    assert why in str(raised.value)


def test_every_value_of_a_column_has_to_say_a_side() -> None:
    assert choose(["train", "test"], "auto", "here", every=True).test == ("test",)
    with pytest.raises(InputError, match="here: unknown says neither train nor test"):
        choose(["train", "test", "unknown"], "auto", "here", every=True)


def test_what_the_configuration_gives_holds() -> None:
    names = ["fold1", "fold2", "fold3"]
    assert choose(names, Sides(test=("fold3",)), "here").train == ("fold1", "fold2")
    chosen = choose(names, Sides(train=("fold1",)), "here")
    assert (chosen.train, chosen.test, set(chosen.unused)) == (("fold1",), (), {"fold2", "fold3"})
    assert choose(names, Sides(train=("fold1", "fold2"), test=("fold3",)), "here").notes == (
        "training set: fold1, fold2; test set: fold3",
    )


@pytest.mark.parametrize(
    ("sides", "why"),
    [
        (Sides(), "neither train nor test is given"),
        (Sides(train=("Train",)), "names 'Train', which is not there; did you mean 'train'"),
        (Sides(train=("train",), test=("train",)), "train stands under train and under test"),
        (Sides(test=("test", "train")), "test takes everything"),
    ],
)
def test_what_cannot_be_given(sides: Sides, why: str) -> None:
    with pytest.raises(InputError, match=why):
        choose(["train", "test"], sides, "here")


@drawn(
    st.lists(st.text(st.characters(codec="ascii", exclude_characters="'\"\\\n"), min_size=1), min_size=2, unique=True)
)
def test_an_example_is_read_as_it_is_meant(names: list[str]) -> None:
    names = [name for name in names if name.isprintable()]
    if len(names) < 2:
        return
    option = example(names[1:], names[:1]).removeprefix("--set 'split=").removesuffix("'")
    assert Study(split=yaml.safe_load(option)).split == Sides(train=tuple(names[1:]), test=tuple(names[:1]))
