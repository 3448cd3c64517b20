"""A small active-learning run with Baal 2.1, as its own guides write it: ModelWrapper, ActiveLearningLoop, Margin."""

from __future__ import annotations

import logging
import time
import warnings

import numpy as np
import structlog
import torch
from baal.active import ActiveLearningDataset
from baal.active.active_loop import ActiveLearningLoop
from baal.active.heuristics import Margin
from baal.modelwrapper import ModelWrapper, TrainingArgs
from torch import nn

from benchmarks.plain import BATCH, LR, Images


def run(
    model: nn.Module, pool: Images, test: Images, still: object, initial: int, batch: int, rounds: int, epochs: int
) -> tuple[float, int, int]:
    """Train, test and pick for so many rounds; return seconds, and images through the network forward and backward.

    pool: with the training's transform, `still` is the one for scoring; each round trains from the same weights.
    """
    warnings.filterwarnings("ignore", category=UserWarning, module="baal")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    start = np.zeros(len(pool), bool)
    start[np.random.default_rng(0).choice(len(pool), initial, replace=False)] = True
    active = ActiveLearningDataset(pool, labelled=start, pool_specifics={"transform": still})
    args = TrainingArgs(batch_size=BATCH, epoch=epochs, use_cuda=False, workers=0, criterion=nn.CrossEntropyLoss())
    wrapper = ModelWrapper(model, args)
    loop = ActiveLearningLoop(
        active, wrapper.predict_on_dataset, Margin(), query_size=batch, iterations=1, verbose=False
    )  # fmt: skip
    forward = backward = 0
    started = time.perf_counter()
    for done in range(1, rounds + 1):
        wrapper.load_state_dict(weights)
        args.optimizer = torch.optim.Adam(model.parameters(), LR)
        wrapper.train_on_dataset(active)
        wrapper.test_on_dataset(test)
        backward += epochs * len(active)
        forward += epochs * len(active) + len(test)
        if done < rounds:
            forward += len(pool) - len(active)
            loop.step()
    return time.perf_counter() - started, forward, backward
