"""The strategies: one literal table, and the public call `labelwise.select`.

To add one: write `name(ask, *, option=default) -> Picks` beside the others, and one row below. The configuration,
the command line and the contract test take it from there.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import TypeAdapter, ValidationError

from labelwise.arrays import Indices
from labelwise.errors import nearest
from labelwise.seeds import generator
from labelwise.strategies import batches, coverage, probability, probcover, stochastic, typicality, typiclust
from labelwise.strategies.geometry import chunks
from labelwise.strategies.table import NEEDS, Ask, Picks, Strategy

STRATEGIES: dict[str, Strategy] = {
    row.name: row
    for row in (
        Strategy("random", "uniformly at random: the control", "", (), probability.random),
        Strategy("uncertainty", "lowest top-class probability first (least confidence)", "Lewis & Gale 1994",
                 ("probs",), probability.uncertainty),
        Strategy("margin", "smallest difference of the two highest probabilities first", "Scheffer et al. 2001",
                 ("probs",), probability.margin),
        Strategy("entropy", "highest predictive entropy first", "Settles 2009",
                 ("probs",), probability.entropy),
        Strategy("entropy_typicality", "ranks of entropy and of distance to the cluster centre, equally weighted",
                 "the reproduced study's TypiClust", ("probs", "embeddings"), typicality.entropy_typicality),
        Strategy("typiclust", "the most typical image of each large cluster without labels, as published",
                 "Hacohen et al. 2022", ("embeddings",), typiclust.typiclust, "pretrained"),
        Strategy("probcover", "the image whose ball covers the most that is not covered yet",
                 "Yehuda et al. 2022", ("embeddings",), probcover.probcover, "pretrained"),
        Strategy("coreset", "the image farthest from all that is labelled (k-center greedy)",
                 "Sener & Savarese 2018", ("embeddings",), coverage.coreset),
        Strategy("badge", "k-means++ on the gradients of the last layer",
                 "Ash et al. 2020", ("probs", "embeddings"), coverage.badge),
        Strategy("bald", "highest mutual information between prediction and weights (dropout)",
                 "Houlsby et al. 2011; Gal et al. 2017", ("stochastic_probs",), stochastic.bald, dropout=(10, 0.2)),
        Strategy("dropquery", "one near each cluster centre of what dropout predicts otherwise",
                 "Gupte et al. 2024", ("probs", "embeddings", "stochastic_probs"), stochastic.dropquery,
                 dropout=(3, 0.75)),
        Strategy("cluster_margin", "small margins in turn from their clusters, small clusters first",
                 "Citovsky et al. 2021", ("probs", "embeddings"), batches.cluster_margin, "pretrained"),
        Strategy("power_margin", "at random, with probabilities that grow with 1 - margin",
                 "Kirsch et al. 2021", ("probs",), batches.power_margin),
        Strategy("stratified_margin", "the smallest margins of each predicted class, equally many a class",
                 "the reproduced study's open question", ("probs",), batches.stratified_margin),
    )
}  # fmt: skip

EMBEDDINGS = ("current", "pretrained")
"""Whose embeddings a strategy can look at: the model's of this round, or those of the backbone before training."""
BASELINE = "stratified"
"""The baseline arm: no strategy, it trains once on the row's stratified subset (and reads hidden labels to draw it)."""

__all__ = ["BASELINE", "STRATEGIES", "Picks", "Strategy", "check_options", "check_picks", "embeddings_of",
           "needs_scores", "run_strategy", "select"]  # fmt: skip


def check_picks(name: str) -> str | None:
    """Return why a strategy of this name cannot pick images, in words, or None."""
    if name == BASELINE:
        return (
            f"'{name}' is a study's baseline and picks no images: it trains once on a set that is drawn by hidden "
            f"labels; give it to a study's arms, and pick by {', '.join(STRATEGIES)}"
        )
    return None if name in STRATEGIES else f"'{name}' is not a strategy{nearest(name, STRATEGIES)}"


def check_options(name: str, options: dict[str, Any]) -> str | None:
    """Return what is wrong with a strategy's name or its options, in words, or None."""
    if name not in STRATEGIES:
        return f"'{name}' is not a strategy{nearest(name, [*STRATEGIES, BASELINE])}"
    known = STRATEGIES[name].options
    for option in options:
        if option not in known:
            return f"{name} has no option '{option}'" + (nearest(option, known) if known else "; it has none")
    hints = get_type_hints(STRATEGIES[name].select, include_extras=True)
    for option, value in options.items():
        if option == "embeddings":
            if value not in EMBEDDINGS:
                return f"{name}: option embeddings cannot be {value!r}; it is one of {', '.join(EMBEDDINGS)}"
            continue
        if isinstance(value, bool):
            return f"{name}: option {option} cannot be {value!r}"
        try:
            TypeAdapter(hints[option]).validate_python(value, strict=not isinstance(value, int))
        except ValidationError as error:
            return f"{name}: option {option} cannot be {value!r}: {error.errors()[0]['msg'].lower()}"
    return None


def select(
    strategy: str,
    *,
    candidates: ArrayLike,
    n: int,
    probs: ArrayLike | None = None,
    embeddings: ArrayLike | None = None,
    labelled: ArrayLike | None = None,
    stochastic_probs: ArrayLike | None = None,
    classes: int | None = None,
    seed: int = 0,
    **options: Any,
) -> NDArray[np.int64]:
    """Pick the next images to label: the public call for people with their own training loop.

    candidates: (M,) and labelled: (L,) row numbers of the whole data set; probs: (N, K), rows sum to 1;
    embeddings: (N, D); stochastic_probs: (T, N, K); classes: K, where no probabilities say it (only probcover asks, for
    its number of clusters). What the strategy does not need is ignored. Returns
    min(n, M) distinct row numbers out of `candidates`, best first, the same for the same arguments and seed.
    Errors: ValueError that names what is wrong or missing.
    """
    if problem := check_picks(strategy) or check_options(strategy, options):
        raise ValueError(problem)
    given = {"probs": probs, "embeddings": embeddings, "stochastic_probs": stochastic_probs}
    pool, done = _row_numbers("candidates", candidates), _row_numbers("labelled", [] if labelled is None else labelled)
    n = operator.index(n)
    if n < 0:
        raise ValueError(f"n is {n}; ask for 0 or more")
    if both := len(np.intersect1d(pool, done)):
        raise ValueError(f"{both} of the candidates are labelled already; take them out of `candidates`")
    arrays: dict[str, NDArray[Any]] = {}
    for need in STRATEGIES[strategy].needs:
        if given[need] is None:
            raise ValueError(f"{strategy} needs {need}, which was not given")
        arrays[need] = _checked(need, np.asarray(given[need]), pool, done)
    known = [np.shape(values)[-1] for values in (probs, stochastic_probs) if values is not None]
    count = classes or max(known, default=0)
    return run_strategy(strategy, pool, n, done, arrays, options, seed, classes=count).indices


def run_strategy(
    name: str,
    candidates: Indices,
    n: int,
    labelled: Indices,
    arrays: dict[str, NDArray[Any]],
    options: dict[str, Any],
    seed: int,
    round_: int = 0,
    memory: dict[str, Any] | None = None,
    *,
    classes: int,
) -> Picks:
    """Ask a strategy; arguments are taken as valid.

    classes: K; memory: keeps what depends on the embeddings, the pool and the seed alone from round to round; give it
    only where the embeddings stay the same.
    """
    n = min(n, len(candidates))
    if n == 0:
        return Picks(np.empty(0, np.int64), np.empty(0))
    candidates, labelled = np.sort(candidates), np.sort(labelled)
    rng = generator(seed, "select", name, round_)
    pool = np.sort(np.concatenate([candidates, labelled]))
    key = hashlib.sha256(f"{name} {sorted(options.items())} {seed}".encode() + pool.tobytes()).hexdigest()

    def once(what: str, make: Callable[[], Any]) -> Any:
        if memory is None:
            return make()
        if key + what not in memory:
            memory[key + what] = make()
        return memory[key + what]

    ask = Ask(
        rng.permutation(candidates), n, rng, labelled, classes,
        lambda: generator(seed, "select", name, "fixed"), once, **{k: v for k, v in arrays.items() if k in NEEDS},
    )  # fmt: skip
    return STRATEGIES[name].select(ask, **{k: v for k, v in options.items() if k != "embeddings"})


def needs_scores(name: str, options: dict[str, Any]) -> bool:
    """Return whether the current model has to look at the candidates before a strategy can pick."""
    return bool({*STRATEGIES[name].needs} - {"embeddings"}) or embeddings_of(name, options) == "current"


def embeddings_of(name: str, options: dict[str, Any]) -> str:
    """Return whose embeddings a strategy with these options looks at: current, pretrained, or nobody's ("")."""
    row = STRATEGIES[name]
    return str(options.get("embeddings", row.embeddings)) if "embeddings" in row.needs else ""


def _row_numbers(what: str, values: ArrayLike) -> Indices:
    array = np.asarray(values)
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(f"{what} must be one-dimensional row numbers (integers), not {array.dtype} {array.shape}")
    if array.min() < 0:
        raise ValueError(f"{what} holds {array.min()}; row numbers start at 0")
    if len(np.unique(array)) < len(array):
        raise ValueError(f"{what} holds some row numbers twice")
    return array.astype(np.int64)


def _checked(need: str, array: NDArray[Any], candidates: Indices, labelled: Indices) -> NDArray[Any]:
    """Check an array over the whole data set, its values at the candidates only; return it unchanged."""
    shape = {"probs": "(N, K)", "embeddings": "(N, D)", "stochastic_probs": "(T, N, K)"}[need]
    if array.ndim != shape.count(",") + 1 or array.dtype.kind not in "fiu":
        raise ValueError(f"{need} must be numbers of shape {shape}, not {array.dtype} {array.shape}")
    rows = array.shape[-2]
    largest = max((int(part.max()) for part in (candidates, labelled) if len(part)), default=-1)
    if largest >= rows:
        raise ValueError(f"{need} has {rows} rows, but row {largest} was given; it must cover the whole data set")
    read = candidates if need != "embeddings" else np.concatenate([candidates, labelled])  # clusters hold both
    if need != "embeddings" and array.shape[-1] < 2:
        raise ValueError(f"{need} has {array.shape[-1]} class; at least 2 are needed")
    for part in chunks(len(read)):  # a large pool may be mapped: it is not held at once
        values = array[..., read[part], :]
        if not np.isfinite(values).all():
            raise ValueError(f"{need} holds NaN or infinite values at rows that were given")
        if need != "embeddings" and (values.min() < -1e-6 or np.abs(values.sum(axis=-1) - 1).max() > 1e-2):
            raise ValueError(f"{need} holds rows that are not probabilities (they must be >= 0 and sum to 1)")
    return array
