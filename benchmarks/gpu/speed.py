"""How fast it is, beside plain PyTorch on the same GPU."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import torch

from benchmarks.gpu import plain, setups, whole
from benchmarks.gpu.bench import Bench, fresh_peak, gibibytes, timed, waited
from benchmarks.gpu.profile import profile
from benchmarks.gpu.setups import Setup
from labelwise.models.graphs import on, own_stream
from labelwise.models.places import Trainer
from labelwise.models.unpacked import Unpacked

AIM, HOPE = 30_000, 100_000
TIMES = 10


def run(bench: Bench) -> None:
    """Time everything: plain PyTorch first, then what matters most."""
    bench.part("plain PyTorch", 6, alone)
    packs = bench.sizes.packs
    bench.part(f"pack of {packs[0]}", 12, lambda bench: packed(bench, packs[0]))
    bench.part("two packs", 8, two)
    bench.part("where the time goes", 8, profile)
    bench.part("engine", 25, whole.engine)
    bench.part("scoring", 12, whole.scoring)
    bench.part("one graph", 5, one_graph)
    bench.part("a convolutional network of another family", 12, convolutional)
    bench.part("a transformer", 20, transformer)
    for count in packs[1:]:
        bench.part(f"pack of {count}", 8, lambda bench, count=count: packed(bench, count))  # type: ignore[misc]
    bench.part("plain", 8, shifted)
    bench.part("larger images", 25, larger)
    if ours := [value for name, value in bench.figures.items() if name.startswith("ours")]:
        bench.rate(f"{bench.sizes.backbone}, the fastest way", max(ours), aim=AIM, note=f"hoped for: {HOPE:,}")


def plainly(bench: Bench, made: Setup) -> float:
    """Return the images a second of plain PyTorch, with the settings that a good user chooses."""
    pixels = made.source.kept if made.source.kept is not None else torch.from_numpy(made.source.pixels)
    labels, batch = torch.from_numpy(made.labels).to(pixels.device), made.recipe.batch
    model = torch.nn.Sequential(made.model.backbone, made.model.head)
    # without cuDNN's search for the fastest: for depthwise convolutions it takes most of a minute
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False):
        step = plain.step(model, pixels, labels, batch, bench.device)
        for _ in range(3):
            step()
        return batch / timed(bench, step)


def alone(bench: Bench) -> None:
    """Time plain PyTorch."""
    bench.figures["plain"] = plainly(bench, setups.setup(bench))
    bench.rate(f"training, {bench.sizes.backbone}, plain PyTorch", bench.figures["plain"])


def stepping(bench: Bench, trainer: Trainer, made: Setup, count: int) -> Callable[[], None]:
    """Return what does as many steps of so many models as an engine asks for at once, at least."""
    order, rates = setups.orders(made, count, bench.sizes.steps)
    return lambda: trainer.steps(order.copy(), rates)


def timed_pack(bench: Bench, made: Setup, count: int, what: str, way: str | None = None) -> float:
    """Time a pack's steps and add the row; return the images a second."""
    fresh_peak(bench.device)
    started = time.perf_counter()
    trainer = setups.trainer(made, count, way)  # type: ignore[arg-type]
    waited(bench.device)
    ready = time.perf_counter() - started
    seconds = timed(bench, stepping(bench, trainer, made, count)) / bench.sizes.steps
    rate = count * made.recipe.batch / seconds
    note = f"{1000 * seconds:.2f} ms a step, {gibibytes(bench.device):.1f} GiB, ready after {ready:.1f} s"
    if why := "; ".join(filter(None, trainer.failures)):
        note += f"; not captured: {why}"
    bench.rate(f"training, {what}", rate, note=note)
    return rate


def packed(bench: Bench, count: int) -> None:
    """Time one pack of so many models."""
    made = setups.setup(bench)
    rate = timed_pack(bench, made, count, f"{bench.sizes.backbone}, {count} packed")
    bench.figures[f"ours, {count} packed"] = rate
    if count == bench.sizes.count:
        bench.figures["pack"] = rate


def pack_speed(bench: Bench) -> float:
    """Return the speed of a pack of the default size, measured where it has not been."""
    if "pack" not in bench.figures:
        packed(bench, bench.sizes.count)
    return bench.figures["pack"]


def one_graph(bench: Bench) -> None:
    """Time one model's step as a graph."""
    made = setups.setup(bench)
    trainer = Trainer(Unpacked(made.model, 3), made.source, made.recipe)
    rate = made.recipe.batch * bench.sizes.steps / timed(bench, stepping(bench, trainer, made, 1))
    bench.rate(f"training, {bench.sizes.backbone}, one model as a graph", rate, note="; ".join(trainer.failures))


def side_by_side(bench: Bench, trainers: list[Trainer], made: Setup, count: int) -> float:
    """Return the images a second of several trainers, a thread and a stream each."""
    steps = [stepping(bench, trainer, made, count) for trainer in trainers]
    streams = [own_stream(bench.device) for _ in trainers]

    def work(place: int, repeats: int) -> None:
        with on(streams[place]):
            for _ in range(repeats):
                steps[place]()

    def together(repeats: int) -> float:
        threads = [threading.Thread(target=work, args=(place, repeats)) for place in range(len(trainers))]
        waited(bench.device)
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        waited(bench.device)
        return time.perf_counter() - started

    together(1)
    repeats = max(1, round(bench.sizes.seconds / together(1)))
    return len(trainers) * count * made.recipe.batch * bench.sizes.steps * repeats / together(repeats)


def two(bench: Bench) -> None:
    """Time two packs at once."""
    made, count = setups.setup(bench), bench.sizes.count
    trainers = [setups.trainer(made, count) for _ in range(2)]
    rate = side_by_side(bench, trainers, made, count)
    bench.figures["ours, two packs"] = rate
    bench.rate(f"training, {bench.sizes.backbone}, 2 packs of {count} on 2 streams", rate)


def shifted(bench: Bench) -> None:
    """Time a pack without Triton's kernels."""
    count = bench.sizes.count
    timed_pack(bench, setups.setup(bench), count, f"{bench.sizes.backbone}, {count} packed, without Triton", "plain")


def convolutional(bench: Bench) -> None:
    """Time a network of another family, packed, beside plain PyTorch."""
    name, count = bench.sizes.others[0], bench.sizes.count
    made = setups.setup(bench, name, pool=5000)
    beside = plainly(bench, made)
    bench.rate(f"training, {name}, plain PyTorch", beside)
    rate = timed_pack(bench, made, count, f"{name}, {count} packed")
    bench.rate(f"{name}, packed, times plain PyTorch", rate / beside, "times", TIMES)


def transformer(bench: Bench) -> None:
    """Time a transformer, which is not packed, on lanes of single models beside plain PyTorch."""
    name, lanes = bench.sizes.others[1], bench.sizes.singles
    made = setups.setup(bench, name, pool=5000, options=bench.sizes.options)
    beside = plainly(bench, made)
    bench.rate(f"training, {name}, plain PyTorch", beside)
    trainers = []
    for _ in range(lanes):
        with on(own_stream(bench.device)):
            trainers.append(Trainer(Unpacked(made.model, 3), made.source, made.recipe))
    rate = side_by_side(bench, trainers, made, 1)
    bench.rate(f"training, {name}, {lanes} models as graphs", rate, note="; ".join(trainers[0].failures))
    bench.rate(f"{name}, as graphs, times plain PyTorch", rate / beside, "times", TIMES)


def larger(bench: Bench) -> None:
    """Time large images that are brought from the host's memory, in the largest pack that there is memory for."""
    side, images, counts = bench.sizes.large
    made = setups.setup(bench, side=side, pool=images, resident=False)
    name = f"{bench.sizes.backbone}, {side}x{side}, from the host"
    bench.rate(f"training, {name}, plain PyTorch", plainly(bench, made))
    for count in counts:
        try:
            timed_pack(bench, made, count, f"{name}, {count} packed")
            return
        except (torch.cuda.OutOfMemoryError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            bench.says(f"{name}, {count} packed", "too large", note=reason)
        torch.cuda.empty_cache()
