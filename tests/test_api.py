"""Studies from Python: the public names, cheap to import, and what they return."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fake
import labelwise
from labelwise.analysis import halves
from labelwise.analysis.results import COLUMNS


def test_every_public_name_is_there_and_cheap_until_used() -> None:
    code = (
        "import sys, labelwise\n"
        "assert dir(labelwise) == sorted(labelwise.__all__)\n"
        "print([m for m in ('torch', 'sklearn', 'pandas', 'pydantic', 'sqlalchemy') if m in sys.modules])\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    for name in labelwise.__all__:
        assert getattr(labelwise, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = labelwise.nothing  # type: ignore[attr-defined]


def test_a_study_from_python(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake.install()
    (tmp_path / "study.yaml").write_text("{data: digits, sizes: [60], arms: [random, margin]}")
    changes = ["initial.minimum=30", "learner.kind=fake", "seeds=2"]
    study = labelwise.load_study(str(tmp_path / "study.yaml"), changes)
    listener = fake.Silent()
    labelwise.run(study, str(tmp_path / "out"), listener=listener)
    assert capsys.readouterr().err == ""
    frame, picks = labelwise.results(tmp_path / "out"), labelwise.picks(tmp_path / "out")
    assert tuple(frame.columns) == (*COLUMNS, *halves.COLUMNS)
    assert len(frame) == len(listener.rounds) > 20
    assert len(picks) == 4 * 60
    assert any("margin" in line for line in labelwise.verdict(tmp_path / "out"))
    labelwise.run(study, tmp_path / "out")  # draws its progress by default
    assert frame.equals(labelwise.results(tmp_path / "out"))
    with pytest.raises(labelwise.InputError, match="no study"):
        labelwise.results(tmp_path)
