"""A CLIP model's files: found locally or on the hub, hashed, and checked for the activation that its weights need."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from labelwise.errors import InputError
from labelwise.hub import go_offline, require_hub

OPENAI = "clip-vit-base-patch32"
FILES = ("config.json", "preprocessor_config.json", "tokenizer_config.json", "tokenizer.json", "vocab.json",
         "merges.txt", "special_tokens_map.json")  # fmt: skip
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
HINT = "name a local folder with --set zero_shot.weights=DIR, or probabilities with --set zero_shot.model=file:PATH"


def find_folder(weights: str) -> Path:
    """Return the local folder of the weights, from the hub if need be. Errors: InputError."""
    local = Path(os.path.expanduser(weights))
    if local.is_dir():
        return local
    if weights.startswith((".", "/", "~")) or weights.count("/") != 1:
        raise InputError(f"zero_shot.weights: there is no folder {weights}; {HINT}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    def fetch(patterns: list[str], offline: bool) -> Path:
        return Path(snapshot_download(weights, allow_patterns=patterns, local_files_only=offline))

    try:
        here: Path | None = fetch([*FILES, *WEIGHTS], True)
    except (LocalEntryNotFoundError, ValueError, OSError):
        here = None
    whole = here is not None and any((here / name).is_file() for name in WEIGHTS)
    if here is not None and not require_hub(f"the CLIP model {weights}", cached=whole, otherwise=HINT):
        go_offline()
        return here
    if here is None:
        require_hub(f"the CLIP model {weights}", cached=False, otherwise=HINT)
    try:
        found = fetch([*FILES, WEIGHTS[0]], False)
        return found if (found / WEIGHTS[0]).is_file() else fetch([*FILES, WEIGHTS[1]], False)
    except (HfHubHTTPError, LocalEntryNotFoundError, ValueError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"zero_shot.weights: {weights} cannot be had from the hub: {reason}; {HINT}") from None


def content_key(folder: Path) -> str:
    """Return what stands for the content of a model's files. Errors: InputError where it has no weights."""
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None or not (folder / "config.json").is_file():
        raise InputError(f"zero_shot.weights: {folder} holds no CLIP model (config.json and {WEIGHTS[0]}); {HINT}")
    content = hashlib.sha256()
    for path in (weights, *[folder / name for name in FILES if (folder / name).is_file()]):
        with path.open("rb") as file:
            content.update(hashlib.file_digest(file, "sha256").digest())
    return content.hexdigest()[:16]


def read_config(folder: Path) -> dict[str, Any]:
    """Return size, mean and std of the images, and the activations. Errors: InputError for no CLIP model."""
    from transformers import CLIPConfig

    try:
        kind = json.loads((folder / "config.json").read_text())["model_type"]
        if kind != "clip":
            raise InputError(f"zero_shot.weights: {folder} holds a model of type '{kind}', not clip; {HINT}")
        config = CLIPConfig.from_pretrained(folder, local_files_only=True)
        images = json.loads((folder / "preprocessor_config.json").read_text())
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"zero_shot.weights: {folder} holds no whole CLIP model: {error}") from None
    return {
        "size": int(config.vision_config.image_size), "mean": images["image_mean"], "std": images["image_std"],
        "activations": (config.vision_config.hidden_act, config.text_config.hidden_act),
    }  # fmt: skip


def check_activation(config: dict[str, Any], weights: str) -> str:
    """Return the activation in words. OpenAI's weights want QuickGELU: with GELU CIFAR-10 falls from 89.8 to 85 %."""
    found = config["activations"]
    if OPENAI in weights or weights.startswith("openai/"):
        if set(found) != {"quick_gelu"}:
            raise InputError(f"zero_shot.weights: OpenAI's weights need quick_gelu, and config.json says {found[0]}")
        return "quick_gelu, as OpenAI's weights need"
    return f"{' and '.join(sorted(set(found)))}, as config.json says (weights that OpenAI trained need quick_gelu)"


def short_name(weights: str) -> str:
    """Return what to call weights in a report: a folder's name, or the hub's."""
    return Path(weights).name if Path(os.path.expanduser(weights)).is_dir() else weights


class quiet:  # noqa: N801  a context manager, used like a function
    """transformers without progress bars and warnings: what goes wrong is said once, by us."""

    def __enter__(self) -> None:
        from transformers.utils import logging

        self.before = logging.get_verbosity()
        logging.set_verbosity_error()
        logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        from transformers.utils import logging

        logging.set_verbosity(self.before)
        logging.enable_progress_bar()
