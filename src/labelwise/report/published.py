"""The published study's figures on balanced CIFAR-10, beside a study that can be held against them."""

from __future__ import annotations

from labelwise.analysis.results import dicts
from labelwise.analysis.words import interval, number
from labelwise.report.content import Content
from labelwise.report.tables import Cell, Table
from labelwise.strategies import BASELINE

CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
STRATEGIES = ("uncertainty", "margin", "entropy_typicality")
"""The three that the published study compares; it calls the third TypiClust."""


def comparability(content: Content) -> str:
    """Return why a study cannot be held against the published figures, or nothing if it can."""
    learner = content.study.learner
    published = "the published figures (EfficientNet-B0, fine-tuned on CIFAR-10)"
    if learner.kind == "probe":
        return (
            f"The learner here is a linear probe on frozen embeddings: another learner, not comparable to {published}."
        )
    if learner.kind != "finetune" or not learner.backbone.startswith("efficientnet"):
        return f"The learner here is another one, not comparable to {published}."
    if content.data["classes"] != CIFAR10 or content.data["pool"] != 50_000:
        return f"The data here are others, not comparable to {published}."
    return ""


def beside(content: Content) -> Table:
    """Return the published claims on balanced rows, and what this study's records say to each."""
    return Table(
        ["claim", "published", "here"],
        [
            [Cell("active learning at 10 % of the labels, balanced"), Cell("about 73 %"), Cell(_at_ten(content))],
            [Cell("the stratified baseline there"), Cell("67.1 %"), Cell(_accuracy(content, "10%", BASELINE))],
            [Cell("rows with an advantage over the baseline"), Cell("every balanced row down to 3 %; none at 1 %"),
             Cell(_advantage(content))],
            [Cell("training time of TypiClust as the study defines it"), Cell("1.5 times that of the others"),
             Cell(_time(content))],
        ],
        3,
    )  # fmt: skip


def _at_ten(content: Content) -> str:
    found = [f"{name} {_accuracy(content, '10%', name)}" for name in STRATEGIES]
    return "; ".join(text for text in found if not text.endswith("not run")) or "not run"


def _accuracy(content: Content, row: str, arm: str) -> str:
    curves = content.curves["accuracy"]
    own = dicts(curves[(curves["row"] == row) & (curves["arm"] == arm)])
    if not own:
        return "not run"
    return f"{number(own[-1]['mean'], 'accuracy')} %{interval(own[-1]['low'], own[-1]['high'], 'accuracy')}"


def _advantage(content: Content) -> str:
    compared = content.compared["accuracy"]
    balanced = [row.name for row in content.study.sizes if row.minority_share is None]
    own = compared[
        (compared["against"] == BASELINE) & compared["arm"].isin(STRATEGIES) & compared["row"].isin(balanced)
    ]
    rows = [
        f"{row}: {', '.join(part['arm'][part['call'] == 'higher']) or 'no advantage shown'}"
        for row, part in own.groupby("row", sort=False)
    ]
    return "; ".join(rows) or "not run"


def _time(content: Content) -> str:
    times = content.costs.assign(time=content.costs["seconds_train"] + content.costs["seconds_select"])
    wide = times.pivot(index="row", columns="arm", values="time").reindex(columns=[*STRATEGIES])
    ratio = (wide[STRATEGIES[2]] / wide[[*STRATEGIES[:2]]].mean(axis=1)).dropna()
    rows = [f"{row}: {ratio[row]:.2f} times" for row in content.rows if row in ratio.index]
    return "; ".join(rows) + " (training and selection)" if rows else "not run"
