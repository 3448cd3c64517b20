"""A project from its first image to its last with the real processes behind it, and a person who knows the classes."""

from __future__ import annotations

import time
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from labelwise.errors import InputError
from labelwise.labelling import status
from labelwise.labelling.desk import Desk
from labelwise.labelling.events import Event
from labelwise.labelling.offers import Offer
from labelwise.labelling.project import made_or_opened
from pictures import encoded, picture, write

IMAGES, BUDGET = 80, 44


def two_kinds(folder: Path) -> Path:
    """Dark and bright pictures; every tenth has a near-duplicate."""
    for i in range(IMAGES):
        pixels = picture(3, i, size=(48, 48)) // 2 + (120 if i % 2 else 0)
        write(folder / f"{'bright' if i % 2 else 'dark'}-{i}.png", encoded(pixels.astype(np.uint8)))
        if i % 10 == 0:
            write(folder / f"dark-{i}-copy.jpg", encoded(pixels.astype(np.uint8), "JPEG", quality=92))
    write(folder / "broken.png", b"no picture")
    return folder


def work(desk: Desk, most: int = 1000) -> list[Offer]:
    """Label by the file's name until nothing is offered; wait where the processes have to."""
    done: list[Offer] = []
    until = time.monotonic() + 120
    while len(done) < most and time.monotonic() < until:
        found = desk.next("me", 1, [])
        if not found:
            if status.phase(desk, "me") == "done":
                break
            time.sleep(0.05)
            continue
        offer, klass = found[0], int(desk.path(found[0].image).startswith("bright"))
        event = Event(
            str(uuid4()), "label", "me", offer.image, klass, purpose=offer.purpose, round=offer.round, seconds=1
        )
        assert desk.answer([event])[1] == []
        done.append(offer)
        time.sleep(0.02)
    return done


def settled(desk: Desk) -> None:
    until = time.monotonic() + 120
    while (desk.trainer.busy or desk.preparer.busy or not desk.prepared) and time.monotonic() < until:
        time.sleep(0.05)
    assert time.monotonic() < until


@pytest.mark.slow
def test_a_project_from_the_first_image_to_the_last(tmp_path: Path) -> None:
    folder, home = two_kinds(tmp_path / "photos"), tmp_path / "home"
    with made_or_opened(folder, home, None, ["dark", "bright"], {"budget": BUDGET}) as project:
        desk = Desk(project)
        desk.start()
        first = work(desk, project.settings.slice)
        assert {offer.purpose for offer in first} == {"test"}
        settled(desk)  # the cold start is picked while people label the slice
        assert desk.plan.kind == "typical"
        rest = work(desk)
        settled(desk)
        rest += work(desk)  # what the last model doubts
        settled(desk)
        desk.close()
        state = status.state(desk, "me")
        assert (state["phase"], state["done"], state["problem"]) == ("done", BUDGET, None)
        assert {"typical", "random"} <= {offer.purpose for offer in rest}
        assert state["accuracy"]["n"] == project.settings.slice
        assert state["accuracy"]["value"] >= 0.8
        assert state["consistency"]["asked"] == state["consistency"]["same"] > 0
        assert state["advice"]["say"] == "done", "the budget is spent: there is no next batch"
        assert [row["round"] for row in project.store.rounds()] == list(range(len(project.store.rounds())))
        groups = desk.plan.groups
        assert len(set(groups)) < len(groups), "near-duplicates were found"
        test = {desk.plan.group(image) for image in desk.plan.test}
        assert not test & {desk.plan.group(image) for image in desk.plan.training()}
        labelled = [desk.plan.group(image) for image in desk.plan.training()]
        assert len(set(labelled)) == len(labelled), "no near-duplicate was asked twice"
        bad = [image for image in desk.images if image.status == "unreadable"]
        assert [image.path for image in bad] == ["broken.png"]
        assert desk.probs is not None
    with made_or_opened(folder, home, None, [], {}) as project:
        again = Desk(project)
        assert again.board.labels == desk.board.labels
        again.start()
        settled(again)
        again.close()
        assert again.probs is not None
        np.testing.assert_array_equal(again.probs, desk.probs, "the same labels give the same model")


@pytest.mark.slow
def test_the_depth_of_16_bit_images_is_kept_and_stays(tmp_path: Path) -> None:
    for i in range(3):
        values = np.linspace(0, 1000 + 1000 * i, 2304).reshape(48, 48).astype(np.uint16)
        write(tmp_path / "photos" / f"{i}.png", encoded(values))
    for more in (60_000, None):
        with made_or_opened(tmp_path / "photos", tmp_path / "home", None, ["a", "b"], {"budget": 3}) as project:
            desk = Desk(project)
            desk.start()
            try:
                settled(desk)
                assert (project.settings.bits, desk.snapshot().bits, project.snapshot().bits) == (12, 12, 12)
                assert [image.status for image in desk.images][:3] == ["ok"] * 3
            finally:
                desk.close()
        if more:
            write(tmp_path / "photos" / "bright.png", encoded(np.full((48, 48), more, np.uint16)))
    with made_or_opened(tmp_path / "photos", tmp_path / "home", None, [], {}) as project:
        assert [(i.path, i.status) for i in project.store.images() if i.status != "ok"] == [
            ("bright.png", "unreadable")
        ]
    with (
        pytest.raises(InputError, match="--resize: the project was made with crop, and that cannot change"),
        made_or_opened(tmp_path / "photos", tmp_path / "home", None, [], {"resize": "pad"}),
    ):
        pass
