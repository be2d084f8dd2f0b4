"""Measurements of a multilayer perceptron that was never trained: power laws of the width, with noise.

The exponents are worked out layer by layer from what each layer is given (multiplier n^m, initial standard deviation
n^s, learning rate n^c), forwards and backwards, by counting powers: a second road beside the tables of
``tpbench.parametrization``, and the place to plant faults whose culprit is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tpbench.bench.claim import Row
from tpbench.check.measurements import Layer, Measurements, Place, Scaling

WIDTHS = (64, 128, 256, 512, 1024)
GAUSSIAN = {Place.INPUT: 0.0, Place.HIDDEN: 0.5, Place.OUTPUT: 0.5}  # power of a sum of n independent terms
ALIGNED = {Place.INPUT: 0.0, Place.HIDDEN: 1.0, Place.OUTPUT: 1.0}  # and of n terms of one sign


@dataclass(frozen=True)
class Dense:
    """A matrix with its powers of n: multiplier, initial standard deviation (-inf: it starts at 0), learning rate."""

    place: Place
    m: float
    s: float
    c: float
    decay: float | None = None  # power of the weight decay; None: none
    epsilon: float = 0.0


MUP_SGD = (
    Dense(Place.INPUT, 0.5, -0.5, 0.0),
    Dense(Place.HIDDEN, 0.0, -0.5, 0.0),
    Dense(Place.HIDDEN, 0.0, -0.5, 0.0),
    Dense(Place.OUTPUT, -0.5, -0.5, 0.0),
)
MUP_ADAM = (
    Dense(Place.INPUT, 0.0, 0.0, 0.0),
    Dense(Place.HIDDEN, 0.0, -0.5, -1.0),
    Dense(Place.HIDDEN, 0.0, -0.5, -1.0),
    Dense(Place.OUTPUT, 0.0, -1.0, -1.0),
)
NTP_SGD = (
    Dense(Place.INPUT, 0.0, 0.0, 0.0),
    Dense(Place.HIDDEN, -0.5, 0.0, 0.0),
    Dense(Place.HIDDEN, -0.5, 0.0, 0.0),
    Dense(Place.OUTPUT, -0.5, 0.0, 0.0),
)
NAMES = ("fc1", "fc2", "fc3", "readout")


def changed(net: Sequence[Dense], number: int, **powers: float | None) -> tuple[Dense, ...]:
    """Return the network with some powers of one layer changed."""
    return tuple(replace(layer, **powers) if i == number else layer for i, layer in enumerate(net))  # type: ignore[arg-type]


def exponents(net: Sequence[Dense], family: str, steps: Sequence[int]) -> dict[tuple[str, int, int], float]:
    """Return (quantity, layer, step) -> power of n, -inf for what is 0, for homogeneous activations."""
    found: dict[tuple[str, int, int], float] = {}
    x = [0.0]
    for i, layer in enumerate(net):
        found["input", i, 0] = x[i]
        found["preactivation", i, 0] = x[i] + layer.m + layer.s + GAUSSIAN[layer.place]
        x.append(found["preactivation", i, 0])
    readout = net[-1].m + net[-1].s  # the read-out that the backward pass sees
    for step in steps[1:]:
        delta = _backward(net, readout)
        for i, layer in enumerate(net):
            found.setdefault(("gradient", i, 1), layer.m + delta[i] + x[i])
        readout = max(readout, _move(net, len(net) - 1, x, delta, family, x[-2]) - x[-2] - 1)
        if step > 1:  # later signals have seen the read-out's updates
            delta = _backward(net, readout)
        _after(net, x, delta, family, step, found)
    return found


def _backward(net: Sequence[Dense], readout: float) -> list[float]:
    delta = [0.0] * len(net)
    for i in range(len(net) - 2, -1, -1):
        above = net[i + 1]
        delta[i] = readout if above.place is Place.OUTPUT else delta[i + 1] + above.m + above.s + GAUSSIAN[Place.HIDDEN]
    return delta


def _move(net: Sequence[Dense], i: int, x: Sequence[float], delta: Sequence[float], family: str, now: float) -> float:
    """Return the power of ΔW x of layer i for an input of power ``now``."""
    layer = net[i]
    gradient = layer.m + delta[i] + x[i]
    if math.isinf(gradient):
        return -math.inf
    if family == "adam":
        gradient = min(0.0, gradient - layer.epsilon) if layer.epsilon else 0.0
    return layer.m + layer.c + gradient + now + ALIGNED[layer.place]


def _after(
    net: Sequence[Dense],
    x: Sequence[float],
    delta: Sequence[float],
    family: str,
    step: int,
    found: dict[tuple[str, int, int], float],
) -> None:
    change = -math.inf  # of the layer's input
    for i, layer in enumerate(net):
        found["input", i, step] = max(x[i], change)
        update = _move(net, i, x, delta, family, found["input", i, step])
        aligned = ALIGNED if layer.place is Place.OUTPUT else GAUSSIAN
        carried = change + layer.m + layer.s + aligned[layer.place]
        found["weight-update", i, step] = update
        if i:
            found["initial-weight-on-change", i, step] = carried
        change = max(update, carried)
        found["preactivation-change", i, step] = change


def measurements(
    net: Sequence[Dense],
    family: str,
    *,
    noise: float = 0.05,
    seeds: int = 4,
    widths: Sequence[int] = WIDTHS,
    rng: np.random.Generator | None = None,
    optimizer: str = "",
) -> Measurements:
    """Return what a check of the network would measure: powers of the width times lognormal noise a seed."""
    generator = rng if rng is not None else np.random.default_rng(0)
    record = (0, 1, 4)
    powers = exponents(net, family, record)
    rows = [
        (width, Row(quantity, _value(power, width) * math.exp(noise * generator.standard_normal()), seed, step, layer))
        for (quantity, layer, step), power in powers.items()
        for width in widths
        for seed in range(seeds)
    ]
    scalings = {f"{name}.weight": _scaling(layer, widths) for name, layer in zip(NAMES, net, strict=True)}
    return Measurements(
        widths=tuple(widths),
        seeds=seeds,
        steps=record[-1],
        record=record,
        optimizer=optimizer or {"sgd": "SGD", "adam": "AdamW", "spectral": "Muon"}[family],
        family=family,
        layers=tuple(
            Layer(i, name, layer.place, "linear", f"{name}.weight")
            for i, (name, layer) in enumerate(zip(NAMES, net, strict=True))
        ),
        scalings=scalings,
        rows=tuple(rows),
        seconds=0.0,
    )


def _value(power: float, width: int) -> float:
    return 0.0 if math.isinf(power) else float(width / 64) ** power


def _scaling(layer: Dense, widths: Sequence[int]) -> Scaling:
    def law(power: float | None, size: float) -> Mapping[int, float]:
        return {width: 0.0 if power is None else size * _value(power, width) for width in widths}

    return Scaling(
        law(layer.c, 0.1), law(layer.decay, 0.01), law(layer.epsilon or None, 1.0) if layer.epsilon else law(0.0, 1e-8)
    )
