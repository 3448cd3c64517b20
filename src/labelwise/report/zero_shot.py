"""The section on starts with a model's labels: how wrong they are, whether the model knows, and what they change."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from labelwise.analysis import results
from labelwise.analysis import zero_shot as analysis
from labelwise.analysis.labels import wrong
from labelwise.analysis.results import dicts
from labelwise.analysis.words import NAMES, change, interval, number, p_value
from labelwise.parts import ZERO_SHOT_STARTS
from labelwise.records import Store
from labelwise.report.content import Content
from labelwise.report.figures import curves_figure
from labelwise.report.section import Section, drawn, file_name, styled
from labelwise.report.style import INK, MUTED, SERIES, WIDTH, arm_styles, plain
from labelwise.report.tables import Cell, Table
from labelwise.strategies import BASELINE

EFFECTS = {"both": "labels and images", "images": "images alone", "errors": "wrong labels alone"}
COLUMNS = ("accuracy", "area", "loss", "seconds_train", "epochs")
PUBLISHED = (
    "The published study found, with CLIP and fine-tuned EfficientNet-B0: at 3 % slightly lower accuracy than with "
    "true labels and 40 to 42 % more training time; at 10 % 71.5 to 73.5 % either way, and training time -5 % "
    "(uncertainty), +5 % (its TypiClust), +57 % (margin)."
)


def section(store: Store, content: Content, folder: Path) -> list[Section]:
    """Return the section, or nothing where no arm of the study starts with a model's labels or images."""
    card: dict[str, Any] = content.data.get("zero_shot", {})
    if not card or not content.rounds["start"].isin(ZERO_SHOT_STARTS).any():
        return []
    details = results.details(store)
    reliable = analysis.reliability(details, content.data["classes"])
    on_test = analysis.reliability_on_test(card, content.data["classes"])
    initial = analysis.initial_labels(wrong(details))
    compared = analysis.starts(content.runs)
    lines = [
        *_about(card, content), *_initial(initial), *_accuracy(analysis.by_class(reliable)), *_times(content),
        *_chosen(content),
        *[f"Row {row}. {line}" for row in content.rows for line in analysis.said(compared, row)],
        *([PUBLISHED] if card["title"].startswith("CLIP") else []),
    ]  # fmt: skip
    tables = [
        ("What the start changes at N, paired differences", _differences(compared)),
        ("Confidence and accuracy by predicted class", _classes(pd.concat([reliable, on_test]))),
    ]
    figures = []
    with styled():
        bought = analysis.along_bought(content.rounds)
        for row in content.rows:
            own = reliable[reliable["row"] == row]
            if len(own):
                caption = f"Confidence and accuracy of {card['title']}, row {row}"
                figures.append(drawn(_confidence_figure(row, own), folder, file_name("confidence", row), caption))
            own = bought[bought["row"] == row]
            curve = curves_figure(row, own, "accuracy", arm_styles(content.study), along="labels bought")
            figures.append(drawn(curve, folder, file_name("bought", row), f"Accuracy against labels bought, row {row}"))
    return [Section("pseudo", f"Labels from {card['title']}", lines, tables, figures)]


def _about(card: dict[str, Any], content: Content) -> list[str]:
    """Say what the model is, how it was used, and how good it is alone."""
    where = {"subset": "inside the row's subset", "full": "in the full pool"}[content.study.zero_shot.pool]
    true = "start=zero-shot-true" if card["name"] == "zero-shot" else f"start={card['name']} (true labels)"
    lines = [
        f"{card['note']}",
        f"The initial images are those of highest confidence, equally many a predicted class, {where}. They count "
        "against N and are not bought; later rounds buy labels. The arms "
        f"with {true} start with the same images and buy their labels.",
    ]
    if content.study.zero_shot.pool == "subset":
        lines.append("The subset itself is drawn by hidden labels: with a pool of uneven classes this start has a help "
                     "that nobody has in practice (zero_shot.pool: full does without).")  # fmt: skip
    if card["missing"]:
        lines.append(f"Alone on the test set: not known, since {card['missing']}.")
    else:
        lines.append(
            f"Alone on the test set, without any label: accuracy {number(card['accuracy'], 'accuracy')} %, macro F1 "
            f"{number(card['macro_f1'], 'macro_f1')} %, loss {number(card['loss'], 'loss')}, calibration error "
            f"{number(card['ece'], 'ece')} %. {card['known']}"
        )
    return lines


def _initial(initial: pd.DataFrame) -> list[str]:
    return [
        f"Row {i['row']}: {i['wrong']:.1f} of {i['labels_pseudo']:.0f} initial labels are wrong, mean over "
        f"{i['n']} seeds ({i['share']:.1%}{_shares(i['low'], i['high'])})."
        for i in dicts(initial)
    ]


def _shares(low: float, high: float) -> str:
    return "" if math.isnan(low) else f" [{max(0.0, low):.1%}, {high:.1%}]"


def _accuracy(classes: pd.DataFrame) -> list[str]:
    """Say how right the model is on all images that it looked at, and where its confidence misleads most."""
    lines = []
    for row, part in classes.groupby("row", sort=False):
        whole = part[part["class"] == "all"].iloc[0]
        own = part[part["class"] != "all"].assign(gap=lambda f: f["confidence"] - f["accuracy"])
        ordered = dicts(own.sort_values("gap", kind="stable"))
        high, low = ordered[-1], ordered[0]
        lines.append(
            f"Row {row}: it is right on {whole['accuracy']:.1%} of the {whole['images']:,} images that it looked at "
            f"(all seeds), with a mean confidence of {whole['confidence']:.1%}. Confidence less accuracy is highest "
            f"where it says {high['class']} ({high['gap'] * 100:+.0f} points) and lowest where it says {low['class']} "
            f"({low['gap'] * 100:+.0f} points)."
        )
    return lines


def _chosen(content: Content) -> list[str]:
    """Say where a probe's penalty, chosen on each arm's own initial labels, differs between the starts."""
    asking = content.rounds[content.rounds["strategy"] != BASELINE]
    starts = asking.drop_duplicates("arm").set_index("arm")["start"]
    found: dict[str, set[float]] = {}
    for arm, chosen in zip(content.started["arm"], content.started["chosen"], strict=True):
        if arm in starts.index and "penalty" in chosen:
            kind = "the model's images" if starts[arm] in ZERO_SHOT_STARTS else "the usual start"
            found.setdefault(kind, set()).add(float(chosen["penalty"]))
    if len({frozenset(values) for values in found.values()}) < 2:
        return []
    said = "; ".join(f"{kind}: {', '.join(f'{p:g}' for p in sorted(values))}" for kind, values in found.items())
    return [
        f"The probe's penalty is chosen on each arm's own initial labels, and differs ({said}): some of what "
        "the starts change, above all in loss, may come from this choice and not from the labels."
    ]


def _times(content: Content) -> list[str]:
    found = analysis.seconds(content.rounds)
    if not found["seconds_zero_shot"].any():
        return ["The time that the model took is not in the records: 0 s are charged."]
    return [
        f"Row {row}: the model took {number(part['seconds_zero_shot'].mean(), 'seconds')} s a run, training "
        f"{number(part['seconds_train'].mean(), 'seconds')} s (mean of these arms)."
        for row, part in found.groupby("row", sort=False)
    ]


def _differences(compared: pd.DataFrame) -> Table:
    """Return a row a comparison of two starts, with the differences of what matters side by side."""
    rows = []
    for (row, strategy, effect, arm, reference), part in compared.groupby(
        ["row", "strategy", "effect", "arm", "reference"], sort=False
    ):
        by = {c["column"]: c for c in dicts(part)}
        cells = [_cell(by[column], column) for column in COLUMNS]
        names = [Cell(str(row)), Cell(str(strategy)), Cell(EFFECTS[str(effect)], f"{arm} – {reference}")]
        rows.append([*names, *cells, Cell(str(by["accuracy"]["n_pairs"]))])
    heads = [f"{NAMES[c]}, points" for c in COLUMNS[:2]]
    return Table(["row", "strategy", "what differs", *heads, "loss", "training seconds", "epochs", "pairs"], rows, 3)


def _cell(c: dict[str, Any], column: str) -> Cell:
    between = interval(c["low"], c["high"], column).strip()
    share = ""
    if column in ("seconds_train", "epochs") and c["reference_mean"]:
        share = f" ({c['difference'] / c['reference_mean']:+.0%})"
    p = "" if math.isnan(c["p_holm"]) else f" {p_value(c['p_holm'])}"
    return Cell(change(c["difference"], column) + share, f"{between}{p}".strip())


def _classes(reliable: pd.DataFrame) -> Table:
    rows = [
        [Cell(c["row"]), Cell(c["class"]), Cell(f"{c['images']:,}"), Cell(f"{c['confidence'] * 100:.1f}"),
         Cell(f"{c['accuracy'] * 100:.1f}"), Cell(f"{(c['confidence'] - c['accuracy']) * 100:+.1f}")]
        for c in dicts(analysis.by_class(reliable))
    ]  # fmt: skip
    return Table(["row", "predicted class", "images", "confidence, %", "accuracy, %", "difference, points"], rows)


def _confidence_figure(row: str, reliable: pd.DataFrame) -> Figure:
    """Draw accuracy against confidence: all images by bins, and each predicted class as one point."""
    figure = Figure(figsize=(WIDTH, 3.3), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 100], [0, 100], color=MUTED, lw=1, label="as confident as right")
    bins = reliable.assign(c=lambda f: f["confidence"] * f["images"], a=lambda f: f["accuracy"] * f["images"])
    summed = bins.groupby("bin")[["c", "a", "images"]].sum()
    axes.plot(summed["c"] / summed["images"] * 100, summed["a"] / summed["images"] * 100, color=INK, marker="o", ms=4,
              label="all images, by tenths of confidence")  # fmt: skip
    classes = analysis.by_class(reliable).query("`class` != 'all'")
    axes.plot(classes["confidence"] * 100, classes["accuracy"] * 100, ls="", marker="s", ms=3.5, color=SERIES[1],
              label="one predicted class, the two ends named")  # fmt: skip
    ordered = dicts(classes.assign(gap=classes["confidence"] - classes["accuracy"]).sort_values("gap", kind="stable"))
    for c, side in ((ordered[0], "right"), (ordered[-1], "left")):
        axes.annotate(plain(c["class"], 14), (c["confidence"] * 100, c["accuracy"] * 100), ha=side, va="center",
                      xytext=(-5 if side == "right" else 5, 0), textcoords="offset points", size=7)  # fmt: skip
    axes.set(xlabel="confidence, %", ylabel="accuracy, %", title=f"Row {row}", xlim=(0, 100), ylim=(0, 102))
    axes.set_xticks(np.arange(0, 101, 20))
    figure.legend(loc="outside lower left", ncols=1)
    return figure
