"""Makes people's own estimators: by import path and options, with the run's seed, on one core."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any

from labelwise.config import Learner
from labelwise.errors import InputError
from labelwise.imports import import_object, module_of
from labelwise.seeds import integer

WANTED = "a scikit-learn classifier with predict_proba (a class, a function that makes one, or an object)"


def maker(learner: Learner) -> Callable[[], Any]:
    """Return what makes a new estimator: a class or function that is called with the options, or an object's clone.

    Errors: InputError of one line for what is not there, or is no classifier with `predict_proba`.
    """
    from sklearn.base import clone

    if not learner.estimator:
        raise InputError(f"learner.estimator: none is given; kind sklearn needs the import path of {WANTED}")
    found = import_object(learner.estimator, "learner.estimator", WANTED)
    where = f"learner.estimator: {learner.estimator}"
    options = dict(learner.options)
    if not (callable(found) or hasattr(found, "fit")):
        raise InputError(f"{where} is {type(found).__name__}; it has to be {WANTED}")

    def make() -> Any:
        if isinstance(found, type) or not hasattr(found, "fit"):
            return _one_core(found(**options))
        return _one_core(clone(found).set_params(**options))

    try:
        made = make()
    except Exception as error:  # of people's own code
        said = _options_of(found) if isinstance(error, TypeError) else ""
        raise InputError(f"{where} cannot be made with learner.options: {first_line(str(error))}{said}") from None
    if not (hasattr(made, "fit") and hasattr(made, "get_params")):
        raise InputError(f"{where} gives {type(made).__name__}; it has to be {WANTED}")
    if not hasattr(made, "predict_proba"):
        raise InputError(
            f"{where} has no predict_proba as it is; a study needs class probabilities: choose options that give them, "
            "or wrap it in sklearn.calibration.CalibratedClassifierCV"
        )
    return make


def _options_of(found: Any) -> str:
    """Return the options that there are, for an error about them."""
    try:
        names = [name for name in inspect.signature(found).parameters if name != "self"]
    except (TypeError, ValueError):
        return ""
    return f"; its options: {', '.join(names)}" if names else "; it takes no options"


def _one_core(estimator: Any) -> Any:
    """Return it with `n_jobs` 1 wherever it has one: threads that add up as they finish change the last bits."""
    if hasattr(estimator, "get_params"):
        several = {name: 1 for name, value in estimator.get_params().items()
                   if name.rpartition("__")[2] == "n_jobs" and value not in (None, 1)}  # fmt: skip
        if several:
            estimator.set_params(**several)
    return estimator


def with_seed(estimator: Any, seed: int) -> Any:
    """Return it with `random_state` from the seed wherever it has one that is not given."""
    wanted = {
        name: integer(seed, "estimator", name)
        for name, value in sorted(estimator.get_params().items())
        if name.rpartition("__")[2] == "random_state" and value is None
    }
    return estimator.set_params(**wanted) if wanted else estimator


def weight_parameter(estimator: Any, path: str) -> str:
    """Return the parameter of fit that takes a weight a label; in a pipeline, that of its last step.

    Errors: InputError where there is none.
    """
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import has_fit_parameter

    prefix = ""
    while isinstance(estimator, Pipeline):
        prefix, estimator = f"{prefix}{estimator.steps[-1][0]}__", estimator.steps[-1][1]
    if not has_fit_parameter(estimator, "sample_weight"):
        raise InputError(
            f"weighting: inverse needs an estimator whose fit takes sample_weight, and that of {path} "
            f"({type(estimator).__name__}) does not; choose weighting: none"
        )
    return f"{prefix}sample_weight"


def first_line(text: str) -> str:
    """Return an error's first line."""
    return (text.strip().splitlines() or ["no reason given"])[0].rstrip(".")


def made_of(path: str) -> str:
    """Return what stands for an estimator's code: its package and version, or its own file's content."""
    module = module_of(path)
    top = module.__name__.partition(".")[0]
    for name in packages_distributions().get(top, []):
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    file = getattr(module, "__file__", None)
    if file is None:
        return top
    with open(file, "rb") as source:
        return f"{module.__name__}, sha256 {hashlib.sha256(source.read()).hexdigest()[:16]}"
