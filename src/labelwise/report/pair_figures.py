"""Square figures, an arm against an arm: who wins how often, and how far two arms pick the same images."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from labelwise.report.style import INK, plain

LIMIT = 24
"""More arms than this are not readable; the table has all."""


def square_figure(title: str, values: pd.DataFrame, said: str) -> Figure:
    """Draw shares of 1 as a square of cells with their per cent. values: (A, A), indexed by arms' names, NaN empty."""
    names = [plain(str(name), 30) for name in values.index]
    side, margin = 0.27 * len(names), 0.06 * max(map(len, names)) + 0.35
    figure = Figure(figsize=(max(3.8, side + margin + 0.2), side + margin + 0.4))
    width, height = figure.get_size_inches()
    axes = figure.add_axes((margin / width, 0.1 / height, side / width, side / height))
    cells = values.to_numpy(dtype=float)
    axes.imshow(np.nan_to_num(cells), cmap="viridis", vmin=0, vmax=1, aspect="auto", interpolation="none")
    for i, line in enumerate(cells):
        for j, share in enumerate(line):
            if not np.isnan(share):
                axes.text(j, i, f"{share * 100:.0f}", ha="center", va="center", size=6.5,
                          color="#ffffff" if share < 0.6 else "#000000")  # fmt: skip
    axes.set_yticks(range(len(names)), names, size=7, color=INK)
    axes.set_xticks(range(len(names)), names, size=7, color=INK, rotation=90)
    axes.xaxis.tick_top()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    figure.text(0.06 / width, 1 - 0.16 / height, title, size=8.5, weight="bold")
    figure.text(0.06 / width, 1 - 0.31 / height, said, size=7.5)
    return figure


def win_square(wins: pd.DataFrame) -> pd.DataFrame:
    """Return one row's wins as a square: a line the winner, a column the loser."""
    return _square(wins, "arm", "loser", "share")


def overlap_square(overlaps: pd.DataFrame) -> pd.DataFrame:
    """Return one row's overlaps as a square, the same both ways."""
    other = overlaps.rename(columns={"arm": "other", "other": "arm"})
    return _square(pd.concat([overlaps, other]), "arm", "other", "share")


def _square(pairs: pd.DataFrame, line: str, column: str, value: str) -> pd.DataFrame:
    names = list(dict.fromkeys([*pairs[line], *pairs[column]]))
    return pairs.pivot(index=line, columns=column, values=value).reindex(index=names, columns=names)
