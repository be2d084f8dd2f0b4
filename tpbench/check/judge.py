"""From measurements to verdicts: rows become estimates of exponents, and estimates are judged against theory.

*Silent* is what is exactly 0 at every width and seed: a read-out that starts at 0, a frozen parameter, a layer that the
first step does not reach. It has no exponent and is not judged; the report says so. *Cancelled* is a bias that the loss
does not see, such as one before a batch normalisation or that of an attention's keys: its derivative is rounding.

SGD's updates are judged relative to what the loss sends back (``signal``); bounds on what must not grow are not.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tpbench.bench.claim import ABSENT, ClaimResult, Estimate
from tpbench.bench.verdict import judge
from tpbench.check.expect import DECAY, EXPECTED_START, Question, Theory, decays, prediction, questions, says, theory_of
from tpbench.check.exponent import Sizes, estimate, size
from tpbench.check.measurements import Layer, Measurements, Place
from tpbench.check.signal import Signals, signals_of
from tpbench.parametrization import Family, Parametrization

Key = tuple[str, int, int]
"""Quantity, layer and step."""
ROUNDING = 1e-5
"""A derivative that small beside the others' is what float32 leaves of a sum that is 0."""


@dataclass(frozen=True)
class Judgement:
    """The verdicts of a check: what was predicted, all judged estimates, what was left out, and all sizes by key.

    ``sizes`` are those that were judged; ``measured`` the same with SGD's updates as they are, not relative to the
    signal; ``signal`` is the size of that at the last step, empty where updates were not divided by it.
    """

    theory: Theory
    result: ClaimResult
    silent: tuple[Key, ...]
    cancelled: tuple[int, ...]
    sizes: Mapping[Key, Sizes]
    measured: Mapping[Key, Sizes]
    signal: Sizes

    def of(self, quantity: str, layer: int) -> Sizes:
        """Return the sizes of a quantity that is measured once, at whatever step; none where it was not."""
        return next((sizes for key, sizes in self.sizes.items() if key[:2] == (quantity, layer)), {})


def judge_measurements(measurements: Measurements, table: Parametrization, *, decay: bool = True) -> Judgement:
    """Return the verdict on every quantity of every layer of which the table says something.

    Without ``decay``, weight decay may fade with the width, and must only not grow. Raises ``ValueError`` where the
    table has no exponents for this model: no hidden matrices in the table, or an initialisation outside the theory.
    """
    _check_places(measurements, table)
    measured = by_key(measurements)
    theory = theory_of(table, Family(measurements.family), zero_output=_zero_output(measurements, measured))
    signals = signals_of(measurements) if theory.rule.law.gradient else {}
    sizes = by_key(_relative(measurements, signals))
    cancelled = cancelled_layers(measurements, sizes)
    estimates: list[Estimate] = []
    silent: list[Key] = []
    for question in questions(measurements, decay=decay):
        for layer in measurements.layers:
            key = (question.quantity, layer.number, question.step)
            if key not in sizes or layer.number in cancelled or _is_superseded(key, layer, sizes):
                continue
            if is_silent(sizes[key]):
                silent.append(key)
            elif (found := _estimate(question, layer, theory, measurements, sizes[key])) is not None:
                estimates.append(found)
    signal = _at(signals, measurements.record[-1])
    return Judgement(theory, judge("check", estimates), tuple(silent), cancelled, sizes, measured, signal)


def _relative(measurements: Measurements, signals: Signals) -> Measurements:
    """Return the measurements with all updates over the signal of their network; as they are where it is 0."""
    rows = tuple(
        (width, row._replace(value=row.value / (signals.get((width, row.seed, row.step), 1.0) or 1.0)))
        if row.quantity == "weight-update"
        else (width, row)
        for width, row in measurements.rows
    )
    return replace(measurements, rows=rows)


def _at(signals: Signals, step: int) -> Sizes:
    found: dict[int, list[float]] = {}
    for (width, _, taken), value in sorted(signals.items(), key=lambda one: one[0]):
        if taken == step:
            found.setdefault(width, []).append(value)
    return {width: np.array(values, np.float64) for width, values in found.items()}


def _is_superseded(key: Key, layer: Layer, sizes: Mapping[Key, Sizes]) -> bool:
    """Return whether a read-out's start is judged by its expected size, which has less noise."""
    if key[0] != "preactivation" or layer.place is not Place.OUTPUT or layer.tied or is_silent(sizes[key]):
        return False
    return (EXPECTED_START, *key[1:]) in sizes


def _estimate(
    question: Question, layer: Layer, theory: Theory, measurements: Measurements, sizes: Sizes
) -> Estimate | None:
    saying = says(theory, layer, question, measurements)
    return None if saying is None else estimate(prediction(theory.table.name, question, layer, saying), sizes)


def by_key(measurements: Measurements) -> dict[Key, Sizes]:
    """Return the measured sizes, and the optimizer's settings, by quantity, layer and step."""
    found: dict[Key, dict[int, list[float]]] = {}
    for width, row in measurements.rows:
        found.setdefault((row.quantity, row.layer, row.step), {}).setdefault(width, []).append(row.value)
    for layer in measurements.layers:
        if decays(layer, measurements):
            scaling = measurements.scalings[layer.parameter]
            # Settings have no noise: two equal seeds say so.
            found[DECAY, layer.number, ABSENT] = {n: [scaling.rate[n] * scaling.decay[n]] * 2 for n in scaling.rate}
    return {
        key: {width: np.array(values, np.float64) for width, values in sorted(by_width.items())}
        for key, by_width in found.items()
    }


def _zero_output(measurements: Measurements, sizes: Mapping[Key, Sizes]) -> bool:
    """Return whether every read-out starts at exactly 0."""
    keys = [("preactivation", o.number, 0) for o in measurements.layers if o.place is Place.OUTPUT and not o.inner]
    return bool(keys) and all(key in sizes and is_silent(sizes[key]) for key in keys)


def cancelled_layers(measurements: Measurements, sizes: Mapping[Key, Sizes]) -> tuple[int, ...]:
    """Return the vectors whose derivative is rounding at every width: below ``ROUNDING`` of the median derivative.

    That of the first step counts, or of the first at which it is not exactly 0: a read-out that starts at 0 sends
    nothing back at first, whatever cancels later.
    """
    steps = sorted({step for quantity, _, step in sizes if quantity == "gradient"})
    derivatives = [
        {layer: found for (quantity, layer, at), found in sizes.items() if (quantity, at) == ("gradient", step)}
        for step in steps
    ]
    return tuple(
        layer.number
        for layer in measurements.layers
        if layer.place is Place.VECTOR and _is_rounding(layer.number, derivatives)
    )


def _is_rounding(number: int, derivatives: Sequence[Mapping[int, Sizes]]) -> bool:
    told = [of_step for of_step in derivatives if number in of_step]
    if not told:
        return False
    of_step = next((each for each in told if not is_silent(each[number])), told[0])
    return all(
        size(own) < ROUNDING * statistics.median(size(other[width]) for other in of_step.values() if width in other)
        for width, own in of_step[number].items()
    )


def is_silent(sizes: Sizes) -> bool:
    """Return whether a quantity is exactly 0 at every width and seed."""
    return not any(values.any() for values in sizes.values())


def _check_places(measurements: Measurements, table: Parametrization) -> None:
    hidden = [layer.name for layer in measurements.layers if layer.place is Place.HIDDEN]
    if hidden and table.hidden is None:
        raise ValueError(
            f"parametrization {table.name!r} says nothing of hidden matrices, and this model has {len(hidden)} "
            f"({', '.join(hidden[:3])}): check it against a table with a [hidden] section"
        )
