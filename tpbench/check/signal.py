"""What the loss sends back to a network's output, to which SGD's updates are proportional.

Theory takes dL/df for a number of size 1. Under squared error it is f_0 - y, and f_0 falls like n^(-1/2) under muP:
wherever f_0 is not small beside y the derivative falls with the width, and all of SGD's updates with it, of a
correct model, too. So they are judged relative to its size.

Of dL/df only that part counts which examples do not cancel among each other. A read-out's gradient is
m Σ_b (dL/df)_b x_b, with b an example, m its multiplier and x its input; so its size over m rms(x) is the root of
D K D, for D = dL/df and K the read-out's own kernel x x' / rms(x)². This has the power of the updates of all layers,
up to what their kernels differ from K. m rms(x) is told by the expected start, m rms(W_0) sqrt(fan-in) rms(x_0).
Where a read-out starts at 0 or shares its matrix, rms(D) is taken. A signal that grows above that of the first step
is training that blows up, which excuses nothing: it counts as that of the first. Derived here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

from tpbench.bench.claim import ABSENT
from tpbench.check.measurements import Measurements, Place

Network = tuple[int, int]
"""Width and seed."""
Numbers = Mapping[tuple[str, int, int], float]
"""Quantity, layer and step -> value, of one network."""
Signals = Mapping[tuple[int, int, int], float]
"""Width, seed and step s -> the mean size of the signal over the s steps taken."""


def signals_of(measurements: Measurements) -> Signals:
    """Return the size of what the loss sent back; empty where it is not known, NaN of steps that were not taken."""
    networks = _by_network(measurements)
    steps = range(measurements.record[-1])
    outputs = _readouts(measurements, networks)
    if outputs:
        sizes = {one: [_sent(known, one[0], outputs, s, measurements.record) for s in steps] for one, known in networks}
    elif any(("loss-derivative", ABSENT, 0) in known for _, known in networks):
        sizes = {one: [known.get(("loss-derivative", ABSENT, s), math.nan) for s in steps] for one, known in networks}
    else:
        return {}
    return {
        (*one, taken): total / taken
        for one, each in sizes.items()
        for taken, total in enumerate(accumulate(_capped(each)), 1)
    }


def _capped(sizes: Sequence[float]) -> list[float]:
    """Return the sizes, none above the first; NaN where not known."""
    return [each if math.isnan(each) else min(each, sizes[0]) for each in sizes]


def _by_network(measurements: Measurements) -> list[tuple[Network, Numbers]]:
    found: dict[Network, dict[tuple[str, int, int], float]] = {}
    for width, row in measurements.rows:
        found.setdefault((width, row.seed), {})[row.quantity, row.layer, row.step] = row.value
    return list(found.items())


def _readouts(measurements: Measurements, networks: Sequence[tuple[Network, Numbers]]) -> tuple[int, ...]:
    """Return the trained read-outs, where the kernel's size can be told of all of them in every network; else none."""
    trained = [
        layer
        for layer in measurements.layers
        if layer.place is Place.OUTPUT
        and not layer.inner
        and any(("gradient", layer.number, 0) in known for _, known in networks)
    ]
    needed = [
        known.get((quantity, layer.number, 0), 0.0)
        for layer in trained
        for _, known in networks
        for quantity in ("expected-preactivation", "initial-weight", "input")
    ]
    told = all(value > 0 for value in needed) and not any(layer.tied for layer in trained)
    return tuple(layer.number for layer in trained) if told else ()


def _sent(known: Numbers, width: int, outputs: Sequence[int], step: int, record: Sequence[int]) -> float:
    """Return sqrt(D K D) at a step, up to a factor that is the same at every width, over all read-outs.

    Between recorded steps, where x is not known, it goes on like rms(D), where that is known: a gradient over an input
    of another step would take the growth of x, where training is about to blow up, for a signal.
    """
    seen = max(each for each in record if each <= step)
    derivatives = [known.get(("loss-derivative", ABSENT, s), math.nan) for s in (seen, step)]
    at, since = (seen, derivatives[1] / derivatives[0]) if derivatives[0] > 0 else (step, 1.0)
    squares = 0.0
    for number in outputs:
        gradient = known.get(("gradient", number, at), math.nan)
        weights = known["initial-weight", number, 0] * math.sqrt(width)
        start, x_0 = known["expected-preactivation", number, 0], known["input", number, 0]
        squares += (gradient * weights / start * x_0 / (known["input", number, seen] or math.nan)) ** 2
    return math.sqrt(squares) * since
