from __future__ import annotations

from pathlib import Path

from tests.labelling.conftest import said
from tests.labelling.test_board import board, tell

from labelwise.labelling.snapshot import Snapshot
from labelwise.labelling.store import Image


def test_what_looks_like_a_test_image_is_on_neither_side() -> None:
    made = board(images=4)
    images = [Image(i, f"{i}.png", 1, 1, "ok", grp=group) for i, group in ((1, 1), (2, 2), (3, 1), (4, None))]
    tell(made, *(said(i, 0) for i in (1, 2, 3)))
    snapshot = Snapshot(Path("/photos"), images, made, [1])
    assert [snapshot.side(i) for i in (1, 2, 3, 4)] == ["test", "train", "", ""]
    assert snapshot.classes == ["cat", "dog"]
    assert [e.image for e in snapshot.answers()] == [1, 2, 3]
