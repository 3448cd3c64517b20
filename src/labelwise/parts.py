"""Parts of a configuration that concern labels before and beside the truth: who answers, and zero-shot models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def as_share(value: object) -> object:
    """Read `3%` or `0.03` as the share 0.03."""
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            value = float(value.strip()[:-1]) / 100
        except ValueError:
            raise ValueError(f"'{value}' is not a percentage; write for example 3%") from None
    return value


Share = Annotated[float, BeforeValidator(as_share), Field(gt=0, le=1)]


def as_list(value: object) -> object:
    """Read a single row or arm as a list of one."""
    return [value] if isinstance(value, str | int | float | dict) and not isinstance(value, bool) else value


def as_names(value: object) -> object:
    """Read names that YAML takes for numbers, as `[3, 5]`; a single one is a list of one."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        return value
    if odd := [name for name in value if isinstance(name, bool) or not isinstance(name, str | int)]:
        raise ValueError(f"YAML takes a name for {odd[0]!r} (as it does with yes, no, on and off); put it into quotes")
    return [str(name) for name in value]


class Part(BaseModel):
    """Base of every part of a configuration: frozen, and strict about keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Columns(Part):
    """Which columns of a table (CSV, Parquet, hub) are meant, where their names do not say it, and where files lie."""

    image: str = Field(default="", description="the column that names or holds the image")
    label: str = Field(default="", description="the column of the class")
    group: str = Field(
        default="", description="the column of groups (scenes, patients) that stay on one side of a split"
    )
    split: str = Field(default="", description="the column that says train or test")
    separator: str = Field(default="", description="of a CSV file: ',' ';' or 'tab'; by default a comma")
    folder: str = Field(default="", description="where the image files lie, relative to the table")
    extension: str = Field(default="", description="what to add to names of files, such as .jpg")
    minus_one: Literal["", "class", "unlabelled"] = Field(
        default="",
        description="what a label -1 means: a class of that name, or an image without a label, which is left out",
    )


class Sides(Part):
    """Names of splits (folders, files, values of a column), one or several a side. Short form: train or test alone."""

    train: Annotated[tuple[str, ...], BeforeValidator(as_names)] = ()
    test: Annotated[tuple[str, ...], BeforeValidator(as_names)] = ()


Start = Literal["stratified", "random", "typical", "zero-shot", "zero-shot-true"]
"""How the initial set is drawn: by class shares (reads hidden labels), at random, the typical images, or a model's."""
ZERO_SHOT_STARTS = ("zero-shot", "zero-shot-true")
"""Starts from the images of which a zero-shot model is most confident: with its labels, or with true ones."""


class Labeling(Part):
    """Who answers when a label is bought. Short form: the kind."""

    kind: str = Field(default="truth", description="a row of LABELERS: truth, error, confusion, file")
    rate: Annotated[float, BeforeValidator(as_share), Field(ge=0, le=1)] | None = Field(
        default=None, description="error: share of wrong answers"
    )
    matrix: tuple[tuple[float, ...], ...] = Field(default=(), description="confusion: a row a true class, or `path`")
    path: str = Field(default="", description="file: the answers, confusion: the matrix")
    columns: Annotated[tuple[str, ...], BeforeValidator(as_list)] = Field(
        default=(), description="file: an annotator each"
    )
    overlap: Annotated[int, Field(ge=1, le=99, description="answers bought for each image; the majority counts")] = 1

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return {"kind": value} if isinstance(value, str) else value

    @property
    def name(self) -> str:
        """Short name: `truth`, `error 10%`, `error 10% x3`, `cifar10n.npz worse_label`."""
        where = Path(self.path).name or f"{len(self.matrix)}x{len(self.matrix)}"
        name = {
            "error": f"error {(self.rate or 0) * 100:g}%", "confusion": f"confusion {where}",
            "file": " ".join([where, *self.columns]),
        }.get(self.kind, self.kind)  # fmt: skip
        return f"{name} x{self.overlap}" if self.overlap > 1 else name


class ZeroShot(Part):
    """Which zero-shot model labels images before any label is bought, and how it is asked."""

    model: str = Field(default="clip", description="a row of ZERO_SHOT: clip, or file:PATH of class probabilities")
    pool: Literal["subset", "full"] = Field(default="subset", description="where the initial images are looked for")
    weights: str = Field(default="openai/clip-vit-base-patch32", description="clip: a hub name or a local folder")
    prompts: Literal["simple", "cifar10"] = Field(
        default="simple", description="clip: one prompt, or OpenAI's 18 templates"
    )
    classes: Annotated[tuple[str, ...], BeforeValidator(as_names)] = Field(
        default=(), description="clip: what to call the classes in prompts; by default the data's own names"
    )
    batch: Annotated[int, Field(ge=1, le=4096, description="clip: images a step")] = 32

    @property
    def name(self) -> str:
        """Short name: `zero-shot` of a model that is asked here; the file's name of probabilities in a file."""
        return Path(self.model.removeprefix("file:")).name if self.model.startswith("file:") else "zero-shot"
