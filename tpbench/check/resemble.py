"""Which other named parametrization a model's exponents are those of: a fault of the whole table, not of one layer."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

from tpbench.bench.claim import Judged, Verdict
from tpbench.check.expect import ROLES, Question, Theory, questions, says, theory_of
from tpbench.check.judge import Judgement
from tpbench.check.measurements import Layer, Measurements, Place
from tpbench.parametrization import PARAMETRIZATIONS, Family, Parametrization, Role

CLOSE = 0.25
"""How near every role's typical exponent lies to the other table's prediction: half of what tells tables apart."""
Telling = tuple[Role, str, int]


def resembled(judgement: Judgement, measurements: Measurements) -> tuple[Parametrization, ...]:
    """Return the named tables that predict what was measured of every role, where the one asked for is refuted."""
    if judgement.result.verdict is not Verdict.REFUTED:
        return ()
    measured = _by_role(judgement, measurements)
    others = (table for table in PARAMETRIZATIONS.values() if table.name != judgement.theory.table.name)
    return tuple(table for table in others if _fits(table, judgement, measurements, measured))


def _by_role(judgement: Judgement, measurements: Measurements) -> Mapping[Telling, tuple[Layer, Question, float]]:
    """Return a layer, the question and the median exponent of every role's update, and of the output at the start."""
    layers = {layer.number: layer for layer in measurements.layers}
    asked = {(question.quantity, question.step): question for question in questions(measurements)}
    groups: dict[Telling, list[Judged]] = {}
    for row in judgement.result.judged:
        prediction = row.estimate.prediction
        layer = layers[prediction.layer]
        if math.isfinite(row.estimate.value) and _tells(layer, prediction.quantity):
            groups.setdefault((ROLES[layer.place], prediction.quantity, prediction.step), []).append(row)
    return {
        key: (
            layers[rows[0].estimate.prediction.layer],
            asked[key[1], key[2]],
            statistics.median(row.estimate.value for row in rows),
        )
        for key, rows in groups.items()
    }


def _tells(layer: Layer, quantity: str) -> bool:
    if layer.place in (Place.LOGITS, Place.FIXED) or layer.tied or layer.inner:
        return False
    return quantity == "weight-update" or (quantity == "preactivation" and layer.place is Place.OUTPUT)


def _fits(
    table: Parametrization,
    judgement: Judgement,
    measurements: Measurements,
    measured: Mapping[Telling, tuple[Layer, Question, float]],
) -> bool:
    if {Role.INPUT, Role.OUTPUT} - {role for role, _, _ in measured}:
        return False
    try:
        theory = theory_of(table, Family(measurements.family), zero_output=judgement.theory.rule.zero_output)
        return all(_agrees(theory, *found, measurements) for found in measured.values())
    except ValueError:  # the table says nothing of hidden matrices, or starts outside the theory
        return False


def _agrees(theory: Theory, layer: Layer, question: Question, value: float, measurements: Measurements) -> bool:
    saying = says(theory, layer, question, measurements)
    return saying is not None and abs(value - float(saying.power)) < CLOSE
