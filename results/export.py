"""Exports a study: its tables, compressed, and a page that says what they show.

    python results/export.py OUT NAME
    python results/export.py --whole OUT FOLDER

OUT is the folder that the study was run into. The first form writes into results/NAME: `README.md`, and each table as
`tables/*.csv.gz`. The second writes everything into FOLDER, which should be outside the repository: the report, all
figures and the tables as plain CSV. Both make every file from the study's records, nothing by hand.
"""

from __future__ import annotations

import argparse
import gzip
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from labelwise.analysis.results import problems
from labelwise.errors import InputError
from labelwise.records import reading
from labelwise.report import write_report
from labelwise.report.content import Content, read
from labelwise.report.published import beside, comparability
from labelwise.report.tables import write_tables
from labelwise.report.used import PROTOCOL, facts

HERE = Path(__file__).parent
KEPT = (
    "Every round is in [rounds.csv.gz](tables/rounds.csv.gz), and what follows from it in the tables beside it. "
    "Where the study itself is at hand, `--whole` makes the report and the figures."
)
WHOLE = "[The report](report.html) opens offline; every round is in [rounds.csv](tables/rounds.csv)."
POSTER = ("EfficientNet-B0 with ImageNet weights", "CIFAR-10 without loss", "5 seeds")


def main() -> None:
    """Export one study; see above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--whole", action="store_true", help="the report and all figures too, into any folder")
    parser.add_argument("out", metavar="OUT", type=Path)
    parser.add_argument("name", metavar="NAME", help="a folder under results/, or any folder with --whole")
    given = parser.parse_args()
    try:
        if not given.whole:
            export(given.out, HERE / given.name)
        elif (folder := Path(given.name)).exists() and any(folder.iterdir()):
            parser.error(f"{folder} is not empty; name a new folder")
        else:
            export_whole(given.out, folder)
    except InputError as error:
        parser.error(str(error))


def export(out: Path, folder: Path) -> None:
    """Write README.md and the compressed tables of the study in `out` into `folder`. Equal records, equal bytes."""
    store = reading(out)
    content = read(store)
    tables = folder / "tables"
    tables.mkdir(parents=True, exist_ok=True)
    for older in tables.glob("*.csv*"):
        older.unlink()
    with TemporaryDirectory() as plain:
        for name in write_tables(content, Path(plain)):
            compress(Path(plain) / name, tables / f"{name}.gz")
    (folder / "README.md").write_text(page(content, store.digest(), KEPT), encoding="utf-8")


def compress(table: Path, to: Path) -> None:
    """Write a file compressed by gzip, without its name and time, so that equal files give equal bytes."""
    to.write_bytes(gzip.compress(table.read_bytes(), 9, mtime=0))


def export_whole(out: Path, folder: Path) -> None:
    """Write the report with its tables and figures, and README.md, of the study in `out` into `folder`."""
    store = reading(out)
    html = write_report(store, folder)
    html.write_text(re.sub(r'file:/[^\s<"]*/', "file:", html.read_text(encoding="utf-8")), encoding="utf-8")
    (folder / "README.md").write_text(page(read(store), store.digest(), WHOLE), encoding="utf-8")


def page(content: Content, digest: str, said: str) -> str:
    """Return the study's page in Markdown: verdict, the published figures beside it, what differs, how sure it is.

    said: where the numbers are, KEPT or WHOLE.
    """
    study, done, made = content.study, len(content.runs), facts(content)
    table = content.verdict.table.fillna("").astype(str)
    parts = [
        f"# {study.name}", study.question, fine_tuned(made.get(PROTOCOL)),
        f"{done} of {content.planned} runs are finished; records {digest}. Everything here is written by "
        f"`results/export.py` from the records. {said}",
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
    stuck = problems(content.rounds)
    fits = f"Fits with a problem: {stuck}." if stuck else "No fit was stuck."
    parts += ["## How sure", f"{_certainty(content)} {fits}"]
    parts += ["## Made with", _table(["what", "value"], [list(pair) for pair in made.items()])]
    return "\n\n".join(part for part in parts if part) + "\n"


def fine_tuned(protocol: str | None) -> str:
    """Return the line that names the fine-tuning protocol; nothing for another learner."""
    return f"Fine-tuned with protocol {protocol}: docs/fine-tuning.md says what that is." if protocol else ""


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
