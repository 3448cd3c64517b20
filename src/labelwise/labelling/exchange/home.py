"""A project's own folder as a source of exports: read only, so that its page may be open at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelwise.cache import Rows
from labelwise.config import Learner
from labelwise.errors import InputError
from labelwise.labelling.exchange.trained import OPEN_THE_PAGE, Trained, fit, training_labels
from labelwise.labelling.preparation import decided_small, image_set, project_embeddings
from labelwise.labelling.project import Project, Settings
from labelwise.labelling.snapshot import Snapshot
from labelwise.labelling.store import ProjectStore
from labelwise.models.backbone import Backbone, load_backbone


@contextmanager
def read_only(home: Path, db: str | None = None) -> Iterator[Project]:
    """Open a project for reading alone, also while its page is open. Errors: InputError when there is none."""
    if db is None and not (home / "project.db").is_file():
        raise InputError(f"there is no labelling project in {home}; give the folder that labelwise label made")
    store = ProjectStore(home / "project.db", read_only=True) if db is None else ProjectStore(db)
    try:
        if not store.exists():
            raise InputError(f"there is no labelling project in {store.name}; give the one that labelwise label made")
        row = store.project()
        yield Project(Path(row["folder"]), home, store, Settings(**row["settings"]))
    finally:
        store.engine.dispose()


def fit_project(snapshot: Snapshot, cache: Path, settings: Settings) -> Trained:
    """Train on a project's labels outside of the test slice, on the embeddings that its page has made.

    cache: the project's. Errors: InputError for too few labels, and where labelled images are not embedded yet.
    """
    return _fitted(snapshot, cache, settings)[0]


def _fitted(
    snapshot: Snapshot, cache: Path, settings: Settings
) -> tuple[Trained, NDArray[np.float16], NDArray[np.bool_]]:
    indices, labels = training_labels(snapshot)
    learner = Learner.model_validate(
        {"kind": "probe", "backbone": settings.backbone, "weights": settings.weights, "device": settings.device}
    )
    backbone = load_backbone(learner)
    features, there, small = _embeddings(snapshot, cache, backbone, settings)
    missing = int((~there[indices]).sum())
    if missing:
        raise InputError(f"{missing:,} labelled images are not embedded yet; {OPEN_THE_PAGE}")
    fitted = fit(features, np.flatnonzero(there), indices, labels, len(snapshot.classes), settings.seed)
    name = f"probe on {len(indices):,} labels"
    classes = tuple(snapshot.classes)
    return Trained(
        backbone, learner, classes, fitted.weights, fitted.bias, small, len(indices), name, settings.bits,
        settings.resize,
    ), features, there  # fmt: skip


def _embeddings(
    snapshot: Snapshot, cache: Path, backbone: Backbone, settings: Settings
) -> tuple[NDArray[np.float16], NDArray[np.bool_], bool]:
    """Return (N, D) embeddings by id - 1; which are there, of readable images, (N,); and whether images are small."""
    small = decided_small(cache, settings.id) or False
    way = settings.bits, settings.resize
    hashes = image_set(snapshot.folder, snapshot.images, small, *way).hashes
    ready = np.array([i.id - 1 for i in snapshot.images if i.status == "ok"], np.int64)
    places = np.full(len(snapshot.images), -1, np.int64)
    with Rows(project_embeddings(cache, backbone, small, *way), backbone.features, write=False) as store:
        rows, sound = store.find(hashes[ready])
        places[ready[sound]] = rows[sound]
        return store.gather(places), places >= 0, small


def with_predictions(snapshot: Snapshot, cache: Path, settings: Settings) -> tuple[Snapshot, str]:
    """Return the snapshot with a model's predictions of what is embedded, or as it is, and why there are none."""
    try:
        trained, features, there = _fitted(snapshot, cache, settings)
    except InputError as error:
        return snapshot, f"no predictions: {error}"
    probs = np.full((len(snapshot.images), len(trained.classes)), np.nan, np.float32)
    probs[there] = trained.probs(features[there])
    return replace(snapshot, probs=probs, columns=tuple(snapshot.board.classes), model=trained.name), ""
