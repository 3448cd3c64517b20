"""Exports a finished study into this folder: its rounds, its report, and a page that says what they show.

    python results/export.py OUT NAME

OUT is the folder that the study was run into. Everything under results/NAME/ is made from its records, nothing by hand.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from labelwise.analysis.results import problems
from labelwise.records import reading
from labelwise.report import write_report
from labelwise.report.content import Content, read
from labelwise.report.published import beside, comparability
from labelwise.report.used import facts

HERE = Path(__file__).parent
POSTER = ("EfficientNet-B0 with ImageNet weights", "CIFAR-10 without loss", "5 seeds")


def main() -> None:
    """Export one study; see above."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    export(Path(sys.argv[1]), HERE / sys.argv[2])


def export(out: Path, folder: Path) -> None:
    """Write the report with its tables and figures, and README.md, of the study in `out` into `folder`."""
    store = reading(out)
    write_report(store, folder)
    html = folder / "report.html"
    html.write_text(re.sub(r'file:/[^\s<"]*/', "file:", html.read_text(encoding="utf-8")), encoding="utf-8")
    for figure in (folder / "figures").glob("*.pdf"):
        figure.unlink()  # the same as the SVG beside it
    (folder / "README.md").write_text(page(read(store), store.digest()), encoding="utf-8")


def page(content: Content, digest: str) -> str:
    """Return the study's page in Markdown: verdict, the published figures beside it, what differs, how sure it is."""
    study, done = content.study, len(content.runs)
    table = content.verdict.table.fillna("").astype(str)
    parts = [
        f"# {study.name}", study.question,
        f"{done} of {content.planned} runs are finished; records {digest}. Everything here is written by "
        "`results/export.py` from the records. [The report](report.html) opens offline; every round is in "
        "[rounds.csv](tables/rounds.csv).",
        "## What it shows", "\n".join(f"- {line}" for line in content.verdict.overall),
        _table(list(table.columns), table.to_numpy().tolist()),
    ]  # fmt: skip
    for heading, lines in content.verdict.rows.items():
        parts += [f"### {heading}", "\n".join(f"- {line}" for line in lines)]
    if why_not := comparability(content):
        parts += ["## Beside the published study", why_not]
    else:
        claims = beside(content)
        parts += [
            "## Beside the published study", _table(claims.head, [[c.text for c in row] for row in claims.rows]),
            "What differs from it:", _differences(content),
        ]  # fmt: skip
    said = problems(content.rounds)
    parts += ["## How sure", _certainty(content) + (f" Fits with a problem: {said}." if said else " No fit was stuck.")]
    parts += ["## Made with", _table(["what", "value"], [[key, str(value)] for key, value in facts(content).items()])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _differences(content: Content) -> str:
    used = content.started["used"].iloc[0]
    here = (
        f"{used.get('backbone')}, weights: {used.get('weights')}",
        "; ".join([content.data["source"], *content.data["notes"]]),
        f"{len(content.study.seeds)} seeds",
    )
    return _table(["there", "here"], [list(pair) for pair in zip(POSTER, here, strict=True)])


def _certainty(content: Content) -> str:
    seeds = len(content.study.seeds)
    return (
        f"Intervals are 95 % t intervals over {seeds} paired seeds. With so few, only differences larger than about "
        "the width of these intervals can be seen: where no difference is called, none was shown, which is not "
        f"equality. A sign test over {seeds} seeds cannot go below p = {2 / 2**seeds:.4g}."
    )


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    main()
