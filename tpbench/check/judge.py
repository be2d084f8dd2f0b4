"""From measurements to verdicts: rows become estimates of exponents, and estimates are judged against theory.

*Silent* is what is exactly 0 at every width and seed: a read-out that starts at 0, a frozen parameter, a layer that the
first step does not reach. It has no exponent and is not judged; the report says so. *Cancelled* is a bias that the loss
does not see, such as one before a batch normalisation or that of an attention's keys: its derivative is rounding.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tpbench.bench.claim import ABSENT, ClaimResult, Estimate
from tpbench.bench.verdict import judge
from tpbench.check.expect import DECAY, EXPECTED_START, Question, Theory, decays, prediction, questions, says, theory_of
from tpbench.check.exponent import Sizes, estimate, size
from tpbench.check.measurements import Layer, Measurements, Place
from tpbench.parametrization import Family, Parametrization

Key = tuple[str, int, int]
"""Quantity, layer and step."""
ROUNDING = 1e-5
"""A derivative that small beside the others' is what float32 leaves of a sum that is 0."""


@dataclass(frozen=True)
class Judgement:
    """The verdicts of a check: what was predicted, all judged estimates, what was left out, and all sizes by key."""

    theory: Theory
    result: ClaimResult
    silent: tuple[Key, ...]
    cancelled: tuple[int, ...]
    sizes: Mapping[Key, Sizes]

    def of(self, quantity: str, layer: int) -> Sizes:
        """Return the sizes of a quantity that is measured once, at whatever step; none where it was not."""
        return next((sizes for key, sizes in self.sizes.items() if key[:2] == (quantity, layer)), {})


def judge_measurements(measurements: Measurements, table: Parametrization) -> Judgement:
    """Return the verdict on every quantity of every layer of which the table says something.

    Raises ``ValueError`` where the table has no exponents for this model: no hidden matrices in the table, or an
    initialisation outside the theory.
    """
    _check_places(measurements, table)
    sizes = by_key(measurements)
    theory = theory_of(table, Family(measurements.family), zero_output=_zero_output(measurements, sizes))
    cancelled = cancelled_layers(measurements, sizes)
    estimates: list[Estimate] = []
    silent: list[Key] = []
    for question in questions(measurements):
        for layer in measurements.layers:
            key = (question.quantity, layer.number, question.step)
            if key not in sizes or layer.number in cancelled or _is_superseded(key, layer, sizes):
                continue
            if is_silent(sizes[key]):
                silent.append(key)
            elif (found := _estimate(question, layer, theory, measurements, sizes[key])) is not None:
                estimates.append(found)
    return Judgement(theory, judge("check", estimates), tuple(silent), cancelled, sizes)


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
    keys = [("preactivation", o.number, 0) for o in measurements.layers if o.place is Place.OUTPUT]
    return bool(keys) and all(key in sizes and is_silent(sizes[key]) for key in keys)


def cancelled_layers(measurements: Measurements, sizes: Mapping[Key, Sizes]) -> tuple[int, ...]:
    """Return the vectors whose derivative is rounding at every width: below ``ROUNDING`` of the median derivative."""
    derivatives = {layer: by_width for (quantity, layer, _), by_width in sizes.items() if quantity == "gradient"}
    return tuple(
        layer.number
        for layer in measurements.layers
        if layer.place is Place.VECTOR
        and layer.number in derivatives
        and all(
            size(own) < ROUNDING * statistics.median(size(other[width]) for other in derivatives.values())
            for width, own in derivatives[layer.number].items()
        )
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
