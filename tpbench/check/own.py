"""What each layer does wrong by itself, apart from what it inherits from the layers before and after it.

All in powers of n. With x the layer's input, delta = dL/dh the signal that comes back to it, m its multiplier and c the
learning rate's power, the derivative of its parameter is ``m delta x``, and one step moves the pre-activation by

* SGD: ``c + 2 m + delta + 2 x + contraction``; so from the measured update u and derivative g, ``m = u - c - g - x -
  contraction``, and what is the layer's own is ``c + 2 m``, wherever delta comes from;
* sign-like and normalising optimizers: ``c + m + x + contraction``: nothing comes from behind.

What the table asks of ``c + 2 m`` or ``c + m`` is known (``Theory.step_size``); the difference is the layer's own.
Where the gradient's size does not count, c and m are known as well: c from the optimizer, m from the model's code
(``Layer.multiplier``). So that is ``known`` without any measurement, which matters, since a layer whose input or whose
signal other layers have spoiled is less aligned with it, and moves by another power than its own.
Derived here. Exponents are read off as plain slopes: they choose words, and decide no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tpbench.check.expect import EXPECTED_START, HALF, ROLES, Theory
from tpbench.check.exponent import power
from tpbench.check.judge import Judgement, Key
from tpbench.check.measurements import Layer, Measurements, Place
from tpbench.parametrization import Role

NAN = math.nan
OFF_START, OFF_UPDATE = 0.15, 0.3
"""From where on a layer's own power of n is a fault of its own: sharp at the start, half of n^(1/2) and more after."""
NOISE = 0.1
"""Growth of an input that is taken for none: it would count twice in what is the layer's own."""


@dataclass(frozen=True)
class Own:
    """A layer's own powers of n beyond what the table asks: of its start and of its update; NaN where unknown.

    ``known`` is that of its update by the settings alone, NaN where these do not tell it.

    ``rate`` is the power of its learning rate as the optimizer has it, ``update_step`` the step of the update that was
    looked at.
    """

    layer: Layer
    start: float
    update: float
    rate: float
    update_step: int
    known: float = NAN


def own_exponents(judgement: Judgement, measurements: Measurements) -> Mapping[int, Own]:
    """Return what every layer that has a parameter does by itself, by number."""
    powers = {key: power(sizes) for key, sizes in judgement.measured.items()}
    last_first = sorted(powers.items(), key=lambda one: -one[0][2])
    powers |= {("gradient", layer, 0): found for (name, layer, _), found in last_first if name == "gradient"}
    return {
        layer.number: _own(layer, powers, judgement, measurements)
        for layer in measurements.layers
        if layer.place is not Place.LOGITS
    }


def rate_power(layer: Layer, measurements: Measurements) -> float:
    """Return the power of n of a parameter's learning rate; NaN where it is not trained."""
    scaling = measurements.scalings.get(layer.parameter)
    return NAN if scaling is None else power({width: np.array([rate]) for width, rate in scaling.rate.items()})


def _own(layer: Layer, powers: Mapping[Key, float], judgement: Judgement, measurements: Measurements) -> Own:
    theory = judgement.theory
    inherits = _inherits(layer, powers, measurements)
    x_before = _inherited(layer, powers, 0, inherits)
    start = _started(layer, powers) - x_before - _start(layer, theory)
    rate = rate_power(layer, measurements)
    step = next((s for s in (1, measurements.record[-1]) if _is_known(powers, layer, s)), 0)
    moved = powers.get(("weight-update", layer.number, step), NAN)
    asked = float(theory.step_size(layer.place))
    contraction = float(theory.rule.law.contraction[ROLES[layer.place]])
    x = _inherited(layer, powers, step, inherits)
    if not theory.rule.law.gradient:
        known = rate + layer.multiplier + _on_the_input(layer, powers, inherits) - asked
        return Own(layer, start, moved - x - contraction - asked, rate, step, known)
    derivative = powers.get(("gradient", layer.number, 0), NAN)
    multiplier = moved - rate - derivative - x - contraction
    if step == 1 and not math.isnan(multiplier):
        return Own(layer, start, rate + 2 * multiplier - asked, rate, step)
    # Nothing moved at the first step (the read-out started at 0): of what comes from behind only the loss's is known.
    said = theory.late.get((ROLES[layer.place], "weight-update"))
    relative = moved - (power(judgement.signal) if judgement.signal and step == measurements.record[-1] else 0.0)
    return Own(layer, start, NAN if said is None else relative - x - x_before - float(said), rate, step)


def _inherits(layer: Layer, powers: Mapping[Key, float], measurements: Measurements) -> bool:
    """Return whether a layer before this one starts off, so that this one's input is another than it should be.

    Otherwise an input that is no power 0 of n has a multiplier, as that of mup's MuReadout: the layer's own.
    """
    before = (o for o in measurements.layers[: layer.number] if o.place in (Place.INPUT, Place.HIDDEN))
    return any(abs(powers.get(("preactivation", other.number, 0), 0.0)) > OFF_START for other in before)


def _inherited(layer: Layer, powers: Mapping[Key, float], step: int, inherits: bool) -> float:
    """Return the power of n that a layer's input has too much: at the start, and what training added to it."""
    if layer.place in (Place.VECTOR, Place.FIXED):
        return 0.0
    start = _or(powers.get(("input", layer.number, 0), NAN), 0.0)
    now = _or(powers.get(("input", layer.number, step), NAN), start)
    grown = now - start if abs(now - start) > NOISE else 0.0
    return grown + (start if inherits else 0.0)


def _on_the_input(layer: Layer, powers: Mapping[Key, float], inherits: bool) -> float:
    """Return the power of the multiplier on a layer's input; NaN of a read-out whose input has it from others."""
    x = near_half(_or(powers.get(("input", layer.number, 0), NAN), 0.0))
    if layer.place in (Place.VECTOR, Place.FIXED) or not x:
        return 0.0
    if inherits:
        return NAN if layer.place is Place.OUTPUT else 0.0
    return x


def near_half(power: float) -> float:
    """Return the multiple of 1/2 that a power is within 0.2 of, or else the power."""
    half = round(2 * power) / 2
    return half if abs(half - power) <= 0.2 else power


def _or(value: float, instead: float) -> float:
    return instead if math.isnan(value) else value


def _started(layer: Layer, powers: Mapping[Key, float]) -> float:
    expected = powers.get((EXPECTED_START, layer.number, 0), NAN)
    if math.isnan(expected) or layer.tied or layer.place not in (Place.HIDDEN, Place.OUTPUT):
        return powers.get(("preactivation", layer.number, 0), NAN)
    return expected


def _is_known(powers: Mapping[Key, float], layer: Layer, step: int) -> bool:
    return not math.isnan(powers.get(("weight-update", layer.number, step), NAN))


def _start(layer: Layer, theory: Theory) -> float:
    """Return what the table asks of W x at the start, for an input of size 1; NaN where nothing is asked."""
    if layer.place in (Place.INPUT, Place.HIDDEN) or layer.inner:
        return 0.0
    said = theory.first.get((Role.OUTPUT, "output-initial")) if layer.place is Place.OUTPUT else None
    return NAN if said is None else float(said + (HALF if layer.tied else 0))
