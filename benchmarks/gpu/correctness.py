"""Is it right on this GPU? Kernels, packs, and the bits of fits, which are to depend on nothing but the fit."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional

from benchmarks.gpu import setups
from benchmarks.gpu.bench import Bench, fresh_peak, gibibytes
from benchmarks.gpu.fits import bits, bits_of_singles
from benchmarks.gpu.setups import Setup, random_model
from labelwise.models import optimizers
from labelwise.models.depthwise import depthwise, way_for
from labelwise.models.packed import Unpackable, pack
from labelwise.models.training import Part, train

ROUNDED, EXACT = 5e-3, 2e-5
"""Relative differences that are allowed to what is computed in float64: of bfloat16 results, and of float32 ones."""
FIRST_LOSS = 0.05
"""The same of a fit's first validation loss in bfloat16: after some steps, roundings have moved the weights."""


def run(bench: Bench) -> None:
    """Do all checks, the cheapest first."""
    bench.part("depthwise kernels", 15, kernels)
    bench.part("Adam's kernel", 4, adam)
    bench.part("bits of fits", 30, bits)
    bench.part("packed fits against others", 12, other_ways)
    bench.part("bits of fits that are not packed", 15, bits_of_singles)
    bench.part("which models are packed", 15, packable)


Shape = tuple[int, tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]
"""Of a depthwise convolution: channels, map, kernel, stride, padding."""


def shapes(bench: Bench) -> list[Shape]:
    """Return the shapes of the backbone's depthwise convolutions, each once."""
    model, _ = random_model(bench.sizes.backbone, bench.sizes.side)
    found: dict[Shape, None] = {}

    def look(conv: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(conv, torch.nn.Conv2d)
        height, width = inputs[0].shape[2:]
        kernel, stride, padding = (tuple(map(int, pair)) for pair in (conv.kernel_size, conv.stride, conv.padding))
        found[conv.groups, (height, width), kernel, stride, padding] = None  # type: ignore[index]

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.groups > 1:
            module.register_forward_pre_hook(look)
    with torch.inference_mode():
        model(torch.zeros(1, 3, bench.sizes.side, bench.sizes.side))
    return list(found)


def computed(
    x: torch.Tensor, weight: torch.Tensor, shape: Shape, grad: torch.Tensor, way: str
) -> tuple[torch.Tensor, ...]:
    """Return a convolution's output and both gradients, by one of our ways or by `conv2d`."""
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    _, _, _, stride, (tall, wide) = shape
    if way == "conv2d":
        y = functional.conv2d(x, weight, None, stride, (tall, wide), groups=len(weight))
    else:
        y = depthwise(x, weight, stride, (tall, tall, wide, wide), way)  # type: ignore[arg-type]
    return (y.detach(), *torch.autograd.grad(y, (x, weight), grad))


def drawn(bench: Bench, shape: Shape, models: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Return random maps, weights and a gradient of the output, of so many models."""
    channels, (height, width), kernel, stride, padding = shape
    size = [(edge + 2 * padding[i] - kernel[i]) // stride[i] + 1 for i, edge in enumerate((height, width))]
    rng = torch.Generator(bench.device).manual_seed(channels * models)

    def normal(*sizes: int) -> torch.Tensor:
        values = torch.randn(sizes, generator=rng, device=bench.device)
        return values.contiguous(memory_format=torch.channels_last)

    every = models * channels
    maps, grad = normal(bench.sizes.batch, every, height, width), normal(bench.sizes.batch, every, *size)
    return maps.to(dtype), normal(every, 1, *kernel), grad.to(dtype)


def kernels(bench: Bench) -> None:
    """Compare depthwise convolutions of all the backbone's shapes with `conv2d` in float64, and with themselves."""
    way, every = way_for(bench.device), shapes(bench)
    for dtype, limit in ((torch.float32, EXACT), (torch.bfloat16, ROUNDED)):
        worst = [0.0, 0.0, 0.0]
        for shape in every:
            x, weight, grad = drawn(bench, shape, 2, dtype)
            wanted = computed(x.double(), weight.double(), shape, grad.double(), "conv2d")
            differences = far_of(computed(x, weight, shape, grad, way), wanted)
            worst = [max(pair) for pair in zip(worst, differences, strict=True)]
        note = f"{len(every)} shapes of {bench.sizes.backbone}, {way}"
        for what, far in zip(("output", "input's gradient", "weight's gradient"), worst, strict=True):
            bound = EXACT if what.startswith("weight") else limit
            bench.near(f"depthwise, {str(dtype).removeprefix('torch.')}: {what}", far, bound, note)
    moved = [
        shape for shape in every for dtype in (torch.float32, torch.bfloat16) if not placeless(bench, shape, dtype)
    ]
    bench.same("depthwise: a model's bits in another place, among others", not moved, f"{len(every)} shapes")


def far_of(found: tuple[torch.Tensor, ...], wanted: tuple[torch.Tensor, ...]) -> Iterator[float]:
    """Yield the relative differences; one that is not finite is infinite."""
    for one, other in zip(found, wanted, strict=True):
        far = float((one.double() - other).norm() / other.norm().clamp(min=1e-30))
        yield far if np.isfinite(far) else float("inf")


def placeless(bench: Bench, shape: Shape, dtype: torch.dtype) -> bool:
    """Return whether a model's results are the same alone and as the last of three."""
    way, own = way_for(bench.device), drawn(bench, shape, 1, dtype)
    axes = (1, 0, 1)  # of the channels in maps, weights and the output's gradient
    others = [part.chunk(3, axis)[:2] for part, axis in zip(drawn(bench, shape, 3, dtype), axes, strict=True)]
    together = [torch.cat([*parts, mine], axis) for parts, mine, axis in zip(others, own, axes, strict=True)]
    alone = computed(own[0], own[1], shape, own[2], way)
    many = computed(together[0], together[1], shape, together[2], way)
    last = (part.chunk(3, axis)[2] for part, axis in zip(many, (1, 1, 0), strict=True))
    return all(torch.equal(one, other) for one, other in zip(alone, last, strict=True))


def adam(bench: Bench) -> None:
    """Compare ten steps over the flat buffers of two models with torch's Adam on each."""
    count, device, way = 100_003, bench.device, way_for(bench.device)
    rng = torch.Generator(device).manual_seed(0)
    values, first, second = torch.randn((3, 2 * count), generator=rng, device=device) * torch.tensor(
        [[0.1], [0.0], [0.0]], device=device
    )
    place = torch.arange(2, dtype=torch.uint8, device=device).repeat_interleave(count)
    alone = [part.clone().requires_grad_() for part in values.chunk(2)]
    theirs = [torch.optim.Adam([part], lr) for part, lr in zip(alone, (1e-3, 3e-4), strict=True)]
    lr = torch.tensor([1e-3, 3e-4], device=device)
    for step in range(1, 11):
        grads = torch.randn(2 * count, generator=rng, device=device) * 10.0 ** -(step % 4)
        rates = optimizers.adam_rates(lr, torch.full((2,), step, device=device))
        optimizers.adam(values, grads, first, second, place, rates, way)
        for part, grad, optimizer in zip(alone, grads.chunk(2), theirs, strict=True):
            part.grad = grad
            optimizer.step()
    far = max(far_of(tuple(values.chunk(2)), tuple(part.detach() for part in alone)))
    bench.near("Adam, ten steps, against torch.optim.Adam", far, 1e-6, way)


def packable(bench: Bench) -> None:
    """Pack models of several families, each of which is checked against single models."""
    for name in bench.sizes.checked:
        made = setups.setup(bench, name, pool=64)
        try:
            pack(made.model, 4 if bench.device.type == "cuda" else 2, way_for(bench.device), made.example)
            bench.says(f"pack of {name}", "packed", True)
        except Unpackable as error:
            bench.says(f"pack of {name}", "not packed", note=str(error))


def other_ways(bench: Bench) -> None:
    """Compare a packed fit with a model alone on this device, and with one on the CPU in float32."""
    count, held, epochs = bench.sizes.fit
    made = setups.setup(bench, pool=2000 if bench.device.type == "cuda" else 0)
    fresh_peak(bench.device)
    engine = setups.engine(made, setups.packs(made, bench.sizes.count), 1)
    ours = engine.fit(made.fit(count, held, epochs, 0)).course.losses
    engine.stop()
    alone = [loss for _, loss in single(made, count, held, epochs)]
    far = [abs(one - other) / other for (_, one), other in zip(ours, alone, strict=True)]
    bench.near("first validation loss, packed and alone", far[0], FIRST_LOSS, f"{ours[0][1]:.4f} and {alone[0]:.4f}")
    bench.says("largest difference of the later ones", f"{max(far):.2g}", note=f"{len(far)} validations")
    if bench.device.type == "cuda":
        what = f"memory of a pack of {bench.sizes.count}, with {max(1, bench.sizes.count // 4)} in validation"
        bench.rate(what, gibibytes(bench.device), "GiB")
    exact = setups.in_float32(made)
    engine = setups.engine(exact, setups.packs(exact, bench.sizes.count), 1)
    here = engine.fit(exact.fit(count, held, 1, 0)).course.losses[0][1]
    engine.stop()
    cpu = setups.setup(bench, pool=len(made.labels), device=torch.device("cpu"))
    loss = single(cpu, count, held, 1, first=True)[0][1]
    what = "first validation loss in float32, packed here and alone on the CPU"
    bench.near(what, abs(here - loss) / loss, FIRST_LOSS, f"{here:.4f} and {loss:.4f}")


def single(made: Setup, count: int, held: int, epochs: int, first: bool = False) -> list[tuple[int, float]]:
    """Return the validation losses of the same fit by the way of a model alone. first: stop after the first one."""
    fit, device, images = made.fit(count, held, epochs, 0), made.source.device, made.source.kept
    assert images is not None
    if first:
        fit.course._most = fit.course.between
    fitting, checked = (
        Part(images[torch.from_numpy(rows).to(device)], torch.from_numpy(labels).to(device))
        for rows, labels in (fit.fitting, fit.held)
    )
    balance = torch.from_numpy(fit.balance).to(device)
    return train(copy.deepcopy(made.model), made.source.scale, fitting, checked, balance, fit.course).losses
