"""Rules of random draws: matrices, initial vectors, and small random scalars.

A uniform width × width matrix stands for a Gaussian one of its variance, which has the same limit (universality); a
uniform vector is exactly a function of a Gaussian one. A random scalar of order n^(-1/2), such as the default bias of a
read-out, is the mean of an initial vector.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from scipy.special import ndtri

from tpbench.programs.functions import IDENTITY
from tpbench.programs.tracing.axes import Table, filled, wide
from tpbench.programs.tracing.call import Call, Rule
from tpbench.programs.tracing.formulas import UNIFORM, bounded_neuron
from tpbench.programs.tracing.noun import Array, TraceError
from tpbench.programs.tracing.numbers import Monomial, exactly, tidy
from tpbench.programs.tracing.values import ONE, ONES, Base, Gauss, Sum, Unknown, add, number, scaled

HALF = Fraction(1, 2)
RANDOM_SCALAR = (
    "a finite random number of order n^({power}) is random at infinite width, too, and programs have numbers only: "
    "initialise it at a constant, or draw it before (outside make and run), or with a generator of your own whose "
    "seed is the same at every width"
)


def _draws(call: Call) -> list[Array]:
    found = call.values()
    if found is None:
        raise TraceError("the numbers that were drawn were not kept")
    return found


def _cell(values: Sequence[Array], call: Call, place: tuple[int, ...]) -> list[Array]:
    """Return what was drawn for one cell at every width."""
    steps = iter(place)
    pick = tuple(slice(None) if isinstance(axis, Fraction) else next(steps) for axis in call.axes())
    return [np.asarray(value[pick], dtype=np.float64) for value in values]


def _constants(call: Call) -> Table | None:
    """Return a finite draw that is the same at every width, because the code seeds it, as constants."""
    values = _draws(call)
    if wide(call.axes()) or not call.own or not all(np.array_equal(values[0], value) for value in values):
        return None
    return call.compared.constants(values, call.axes())


def _drawn(call: Call, mean: Monomial, spread: Monomial, function: bool) -> Table:
    """Return draws ``mean + spread · z``: z standard Gaussian, or uniform on (−1, 1) where ``function``."""
    known = _constants(call)
    if known is not None:
        return known
    values, ratios = _draws(call), wide(call.axes())
    base: Base = (None, ONE, ONES)[len(ratios)] if len(ratios) < 3 else None
    makers = (_scalar, _vector, _matrix)
    if len(ratios) > 2:
        raise TraceError(f"a tensor with {len(ratios)} width axes is drawn: programs have vectors and matrices")

    def cell(place: tuple[int, ...]) -> Sum:
        drawn = [
            (each - float(mean.number) * n ** float(mean.power)) / (float(spread.number) * n ** float(spread.power))
            for each, n in zip(_cell(values, call, place), call.compared.widths, strict=True)
        ]
        part = makers[len(ratios)](call, drawn, ratios, spread, function)
        return part if isinstance(part, Unknown) else add(number(mean, base), part)

    if not spread.number:
        return filled(call.axes(), lambda _: number(mean, base))
    return filled(call.axes(), cell)


def _scalar(call: Call, drawn: list[Array], ratios: tuple[Fraction, ...], spread: Monomial, function: bool) -> Sum:
    if spread.power > -HALF:
        return Unknown(RANDOM_SCALAR.format(power=spread.power))
    third: float | Fraction = math.sqrt(1 / 3) if function else Fraction(1)
    # The mean of n standard Gaussians is N(0, 1/n).
    spreads = [
        np.full(n, float(value) / float(third) / math.sqrt(n))
        for n, value in zip(call.compared.widths, drawn, strict=True)
    ]
    name = call.build.gaussian(Fraction(1), spreads)
    mean = call.build.moment(IDENTITY, (name,))
    return {(None, (mean,), spread.power + HALF): spread.number * third}


def _vector(call: Call, drawn: list[Array], ratios: tuple[Fraction, ...], spread: Monomial, function: bool) -> Sum:
    if not function:
        return {(call.build.gaussian(ratios[0], drawn), (), spread.power): spread.number}
    standard = [ndtri(np.clip((value + 1) / 2, 1e-12, 1 - 1e-12)) for value in drawn]
    name = call.build.gaussian(ratios[0], standard)
    return {(call.build.nonlin(UNIFORM, (name,)), (), spread.power): spread.number}


def _matrix(call: Call, drawn: list[Array], ratios: tuple[Fraction, ...], spread: Monomial, function: bool) -> Sum:
    """N(0, c² n^(2p)) entries are n^(p + 1/2) times those of a matrix of variance c² ratio / n_columns."""
    square = spread.number**2 * (Fraction(1, 3) if function else 1)
    variance = tidy(float(square * ratios[1]))
    made = [value * float(spread.number) / math.sqrt(n) for n, value in zip(call.compared.widths, drawn, strict=True)]
    name = call.build.matrix(variance, ratios[0], ratios[1], made)
    return scaled({(Gauss(name), (), Fraction(0)): Fraction(1)}, Fraction(1), spread.power + HALF)


def _normal(call: Call) -> Table:
    return _drawn(call, call.number("mean", 0.0), call.number("std", 1.0), False)


def _uniform(call: Call) -> Table:
    low, high = (call.number(name, default) for name, default in (("from", 0.0), ("to", 1.0)))
    half = _half_difference(low, high)
    return _drawn(call, _sum(low, half), half, True)


def _half_difference(low: Monomial, high: Monomial) -> Monomial:
    if low.number and low.power != high.power:
        raise TraceError("uniform draws whose bounds depend on the width in different ways")
    return Monomial((high.number - low.number) / 2, high.power)


def _sum(low: Monomial, half: Monomial) -> Monomial:
    total = low.number + half.number
    return Monomial(total, half.power if total else Fraction(0))


def _bernoulli(call: Call) -> Table:
    known = _constants(call)
    if known is not None:
        return known
    # torch.bernoulli(p) has its probabilities as the tensor itself, bernoulli_(p) as a number.
    probability, ratios = call.plain("p" if "p" in call.op.arguments else "self"), wide(call.axes())
    if len(ratios) != 1:
        raise TraceError("a random mask is drawn that is no vector over neurons: programs have numbers, no random ones")
    function = bounded_neuron(probability)

    def cell(place: tuple[int, ...]) -> Sum:
        # Any Gaussian on the right side of the bound will do to repeat the mask.
        inside, outside = ndtri(probability / 2), ndtri((1 + probability) / 2)
        drawn = [np.where(value > 0, inside, outside) for value in _cell(_draws(call), call, place)]
        name = call.build.gaussian(ratios[0], drawn, new=True)
        return {(call.build.nonlin(function, (name,)), (), Fraction(0)): Fraction(1)}

    return filled(call.axes(), cell)


def _standard_uniform(call: Call) -> Table:
    half = Monomial(exactly(0.5))
    return _drawn(call, half, half, True)


RANDOMS: Mapping[str, Rule] = {
    "normal": _normal,
    **dict.fromkeys(("randn", "randn_like"), _normal),
    "uniform": _uniform,
    **dict.fromkeys(("rand", "rand_like"), _standard_uniform),
    "bernoulli": _bernoulli,
}
