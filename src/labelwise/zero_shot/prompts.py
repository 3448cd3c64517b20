"""Prompts for CLIP. Source of the 18: OpenAI's repository CLIP, data/prompts.md, the section on CIFAR-10."""

from __future__ import annotations

from typing import Literal

SIMPLE = ("a photo of a {}.",)
CIFAR10 = tuple(
    pattern.format(article)
    for article in ("a", "the")
    for pattern in (
        "a photo of {} {{}}.", "a blurry photo of {} {{}}.", "a black and white photo of {} {{}}.",
        "a low contrast photo of {} {{}}.", "a high contrast photo of {} {{}}.", "a bad photo of {} {{}}.",
        "a good photo of {} {{}}.", "a photo of {} small {{}}.", "a photo of {} big {{}}.",
    )
)  # fmt: skip
TEMPLATES: dict[Literal["simple", "cifar10"], tuple[str, ...]] = {"simple": SIMPLE, "cifar10": CIFAR10}
SAID = {"simple": "the prompt 'a photo of a {}.'", "cifar10": "OpenAI's 18 templates for CIFAR-10"}
