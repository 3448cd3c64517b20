"""Measures on one GPU, in five minutes at most, and writes gpu.json, benchmarks-gpu.md and a figure to a folder.

Needs PyTorch, timm and scikit-learn, and what labelwise itself needs for studies; labelwise need not be installed. Two
calls, `--only correctness` and `--only speed`, are safer than one where a machine can be taken away in the middle.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import sys
import tempfile
import time
import tomllib
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECTIONS = ("correctness", "speed", "study")
SHARES = {"correctness": 0.31, "speed": 0.44, "study": 0.25}
"""Of the seconds, those that belong to each section; what one leaves goes to the next."""
NEEDED = ("numpy", "scipy", "torch", "timm", "yaml", "pydantic", "platformdirs", "tqdm", "PIL")
NEEDED_BY_STUDIES = ("sklearn", "sqlalchemy", "pandas", "pyarrow", "threadpoolctl", "filelock")
LATE = 60
"""Seconds after the given ones at which the process ends itself, whatever it waits for."""


def prepare(folder: Path) -> None:
    """Let this process and those it starts find labelwise in src/, and its version where it is not installed."""
    paths = [str(ROOT / "src"), str(ROOT)]
    sys.path[:0] = paths
    try:
        version("labelwise")
    except PackageNotFoundError:  # records name the version; a folder such as pip writes is enough
        number = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
        info = folder / f"labelwise-{number}.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: labelwise\nVersion: {number}\n")
        paths.append(str(folder))
        sys.path.append(str(folder))
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ.setdefault("LABELWISE_CACHE", str(folder / "cache"))


def missing(names: tuple[str, ...]) -> list[str]:
    """Return those packages that are not installed."""
    return [name for name in names if find_spec(name) is None]


def main(arguments: list[str] | None = None) -> int:
    """Measure, and return the exit code: 0, 1 where a part failed, 2 where nothing can be measured here."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks-gpu"), help="folder for the page and figures")
    parser.add_argument("--only", choices=(*SECTIONS, "all"), default="all")
    parser.add_argument("--part", action="append", default=[], help="only parts whose names hold these words; repeat")
    parser.add_argument("--seconds", type=float, default=300, help="time that it may take; the rest is left out")
    parser.add_argument("--data", type=Path, help="a folder with the real CIFAR-10, for the study")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes on the CPU: does all parts work?")
    options = parser.parse_args(arguments)
    if lacking := missing(NEEDED):
        print(f"benchmarks.gpu: not installed here: {', '.join(lacking)}", file=sys.stderr)
        return 2
    started = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        prepare(Path(name))
        import torch

        if not options.tiny and not torch.cuda.is_available():
            print("benchmarks.gpu: there is no CUDA GPU here; --tiny tries all parts on the CPU", file=sys.stderr)
            return 2
        faulthandler.dump_traceback_later(options.seconds + LATE, exit=True)
        try:
            return measure(options, started, Path(name))
        finally:
            faulthandler.cancel_dump_traceback_later()


def measure(options: argparse.Namespace, started: float, folder: Path) -> int:
    """Run the sections that were asked for, one after the other."""
    import torch

    from benchmarks.gpu import correctness, page, speed, study
    from benchmarks.gpu.bench import Bench
    from benchmarks.gpu.setups import FULL, TINY

    torch.backends.cudnn.deterministic = True  # as labelwise on a GPU; plain PyTorch chooses for itself
    if options.tiny:
        torch.set_num_threads(1)
    chosen = SECTIONS if options.only == "all" else (options.only,)
    bench = Bench(options.out, TINY if options.tiny else FULL, folder, options.data, only=tuple(options.part))
    total, ends = sum(SHARES[name] for name in chosen), started
    for name in chosen:
        ends += options.seconds * SHARES[name] / total
        bench.begin(name, ends)
        if name == "study" and (lacking := missing(NEEDED_BY_STUDIES)):
            bench.fails("studies", f"not installed here: {', '.join(lacking)}")
            continue
        {"correctness": correctness, "speed": speed, "study": study}[name].run(bench)
    bench.save()
    page.draw(bench.found(), options.out)
    print(f"\n{page.table(bench.rows)}\n\n{time.monotonic() - started:.0f} seconds; written to {options.out}")
    return int(any(row.good is False and row.value == "failed" for row in bench.rows))


if __name__ == "__main__":
    sys.exit(main())
