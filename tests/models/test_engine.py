"""Fits that share a device: their numbers are their own, whoever is beside them and wherever they have a place."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from labelwise.errors import InputError
from labelwise.models.engine import Fit, Lane
from labelwise.models.learner import Stopped
from models.shared_device import Shared

ME = (0, 30)
OTHERS = ((1, 90), (2, 50), (3, 17), (4, 64), (5, 9), (6, 40))


@pytest.fixture(scope="module")
def shared() -> Shared:
    return Shared.of("test_efficientnet")


@pytest.fixture(scope="module")
def alone(shared: Shared) -> Fit:
    return shared.together(ME)[ME]


def same(one: Fit, other: Fit) -> bool:
    """Return whether two fits are equal to the last bit."""
    return (
        torch.equal(one.weights, other.weights)
        and torch.equal(one.statistics, other.statistics)
        and one.course.losses == other.course.losses
        and one.images_checked == other.images_checked
    )


def test_a_fit_is_the_same_alone_with_others_and_in_another_place(shared: Shared, alone: Fit) -> None:
    """More fits than places, so that they come and go: bits are equal in float32."""
    for order in ((ME, *OTHERS), (*OTHERS, ME)):
        assert same(shared.together(*order)[ME], alone)
    assert same(shared.together(ME, *OTHERS[:3], lanes=2)[ME], alone)


@pytest.mark.slow
def test_the_studys_own_backbone_is_its_own_in_a_pack_too() -> None:
    shared = Shared.of("tf_efficientnet_lite0", batch=32, epochs=1)
    others = [(seed, 60) for seed in range(1, 4)]
    assert same(shared.together(*others, (0, 70), places=4)[0, 70], shared.together((0, 70), places=4)[0, 70])


@pytest.mark.parametrize("changes", [{}, {"optimizer": "sgd"}, {"schedule": "cosine"}])
def test_a_fit_in_a_pack_is_close_to_the_model_alone(changes: dict[str, Any]) -> None:
    shared = Shared.of("test_efficientnet", **changes)
    found = shared.together(ME, OTHERS[0])
    for spec, fit in found.items():
        expected = shared.single(*spec)
        assert [step for step, _ in fit.course.losses] == [step for step, _ in expected.losses]
        ours, theirs = (np.array([loss for _, loss in losses]) for losses in (fit.course.losses, expected.losses))
        assert ours == pytest.approx(theirs, rel=5e-3)
        assert ours[0] == pytest.approx(theirs[0], rel=1e-4)
        trained = fit.course.steps * shared.recipe.batch
        assert (trained + fit.images_checked, trained) == (expected.images_forward, expected.images_backward)
        state = shared.engine().lanes[0].trainer.numbers.layout.tensors(fit.weights)
        first = next(iter(state))
        assert torch.allclose(state[first], expected.state[first], atol=2e-2)


@pytest.mark.slow
def test_a_model_that_is_not_packed_is_trained_by_the_same_engine(shared: Shared, alone: Fit) -> None:
    found = shared.together(ME, OTHERS[0], alone=True, lanes=2)
    losses = [loss for _, loss in found[ME].course.losses]
    assert losses == pytest.approx([loss for _, loss in alone.course.losses], rel=5e-3)
    assert same(found[ME], shared.together(ME, alone=True)[ME])


def test_images_that_the_device_does_not_hold_are_brought(shared: Shared, alone: Fit) -> None:
    assert same(Shared.of("test_efficientnet", kept=False).together(ME, OTHERS[1])[ME], alone)


def test_a_fit_that_diverges_ends_alone(shared: Shared, alone: Fit) -> None:
    """What is left of it in its place must not reach the next fit, nor its neighbours."""
    engine = shared.engine()
    broken = [shared.fit(seed, 20) for seed in range(3)]
    for fit in broken:
        fit.weights = torch.full_like(fit.weights, float("nan"))
    results: list[Fit] = []
    threads = [threading.Thread(target=lambda fit=fit: results.append(engine.fit(fit))) for fit in broken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {fit.course.stopped for fit in results} == {"diverged"}
    assert same(engine.fit(shared.fit(*ME)), alone)
    engine.stop()


@pytest.mark.slow
def test_every_fit_is_charged_its_share(shared: Shared) -> None:
    """The seconds of all fits add up to the time that the device was busy for them."""
    engine = shared.engine()
    started = time.perf_counter()
    with ThreadPoolExecutor(7) as pool:
        seconds = [fit.seconds for fit in pool.map(lambda spec: engine.fit(shared.fit(*spec)), (ME, *OTHERS))]
    wall = time.perf_counter() - started
    engine.stop()
    assert min(seconds) > 0
    assert 0.8 * wall < sum(seconds) <= wall


def test_a_fit_that_ends_as_the_device_fails_is_not_lost(shared: Shared) -> None:
    engine = shared.engine()

    def fails() -> None:
        raise RuntimeError("CUDA error: unspecified launch failure")

    check = engine.lanes[0]._check

    def checked() -> None:
        check()
        engine.lanes[0]._event = fails  # type: ignore[method-assign]

    engine.lanes[0]._check = checked  # type: ignore[method-assign]
    with pytest.raises(InputError, match="the GPU failed"):
        engine.fit(shared.fit(*ME))


def test_stop_releases_those_who_wait(shared: Shared) -> None:
    engine = shared.engine()
    told: list[Exception] = []

    def ask(seed: int) -> None:
        try:
            engine.fit(shared.fit(seed, 250))
        except Stopped as stopped:
            told.append(stopped)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(12)]  # more than are on the device
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    engine.stop()
    engine.stop()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert len(told) == 12
    with pytest.raises(Stopped):
        engine.fit(shared.fit(0, 20))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("CUDA error: an illegal memory access\nmore"), "the GPU failed .CUDA error: an illegal"),
        (torch.cuda.OutOfMemoryError("Tried to allocate 2 GiB"), "the GPU has too little memory left .Tried"),
    ],
)
def test_a_device_that_fails_is_one_line_for_every_run(shared: Shared, error: Exception, expected: str) -> None:
    engine = shared.engine()

    def fails(*_: object) -> None:
        raise error

    engine.lanes[0].trainer.steps = fails  # type: ignore[method-assign]
    told = []

    def ask(seed: int) -> None:
        with pytest.raises(InputError, match=expected) as caught:
            engine.fit(shared.fit(seed, 20))
        told.append(str(caught.value))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(told) == 6
    assert all("run the same command again" in line and "\n" not in line for line in told)


def test_a_second_pack_is_used_when_the_first_is_full(shared: Shared) -> None:
    engine = shared.engine(lanes=2)
    given = []
    for _ in range(8):
        lane = engine._lane()
        lane.asked += 1
        given.append(engine.lanes.index(lane))
    assert given == [0, 0, 0, 0, 0, 1, 1, 1]  # three places each: two are full with six fits
    assert [lane.asked for lane in engine.lanes] == [5, 3]


def test_places_are_filled_while_others_are_validated(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more fits than places, a step never runs with an empty place until the last fits are there."""
    filled: list[tuple[int, int]] = []
    train = Lane._train

    def counting(lane: Lane) -> None:
        filled.append((len(lane.fits), sum(fit is not None for fit in lane.places)))
        train(lane)

    monkeypatch.setattr(Lane, "_train", counting)
    engine = shared.engine()
    for fit in [shared.fit(seed, 40) for seed in range(7)]:
        engine.lanes[0].waiting.put(fit)
    engine.fit(shared.fit(7, 40))
    engine.stop()
    assert max(fits for fits, _ in filled) == 7
    assert {placed for fits, placed in filled if fits > 3} == {3}
