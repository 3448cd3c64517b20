"""A tiny CLIP, made from its configuration with a real tokenizer, saved to a folder: for tests without weights."""

from __future__ import annotations

import json
from pathlib import Path


def save_tiny_clip(folder: Path, activation: str = "quick_gelu", seed: int = 0) -> Path:
    """Write config, weights, preprocessor and tokenizer (bytes, a few merges) of a CLIP of a few thousand weights."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _tokenizer(folder)
    small = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
             "hidden_act": activation}  # fmt: skip
    ids = {"bos_token_id": vocabulary["<|startoftext|>"], "eos_token_id": vocabulary["<|endoftext|>"],
           "pad_token_id": vocabulary["<|endoftext|>"]}  # fmt: skip
    config = CLIPConfig(
        text_config={**small, **ids, "vocab_size": len(vocabulary), "max_position_embeddings": 20},
        vision_config={**small, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(config)
    for parameter in model.parameters():  # the initial weights are so small that all images look alike
        if parameter.ndim > 1:
            parameter.data.mul_(8)
    model.save_pretrained(folder)
    sizes = {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28], "size": {"shortest_edge": 16}}
    (folder / "preprocessor_config.json").write_text(json.dumps(sizes))
    return folder


def _tokenizer(folder: Path) -> dict[str, int]:
    """Write vocab.json and merges.txt of a byte-level BPE as CLIP's: every byte, with and without the end of a word."""
    from transformers import CLIPTokenizer

    letters = [chr(c) for c in [*range(33, 127), *range(161, 173), *range(174, 256)]]
    letters += [chr(256 + i) for i in range(256 - len(letters))]
    merges = ["p h", "o t", "ph ot", "phot o</w>", "o f</w>"]
    tokens = [*letters, *[f"{letter}</w>" for letter in letters], *["".join(merge.split()) for merge in merges],
              "<|startoftext|>", "<|endoftext|>"]  # fmt: skip
    vocabulary = {token: i for i, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    CLIPTokenizer.from_pretrained(folder).save_pretrained(folder)
    return vocabulary
