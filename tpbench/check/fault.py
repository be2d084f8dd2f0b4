"""The nouns of a diagnosis: a cause, a finding, and the case of one layer that rules look at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tpbench.bench.claim import Judged
from tpbench.bench.words import theory
from tpbench.check.expect import EXPECTED_START
from tpbench.check.judge import Judgement
from tpbench.check.measurements import Layer, Measurements
from tpbench.check.own import OFF_START, OFF_UPDATE, Own, near_half
from tpbench.check.phrases import grows, measured_text, quantity_text
from tpbench.parametrization import Family


class Cause(StrEnum):
    """What is wrong with a layer."""

    MULTIPLIER = "multiplier"
    INITIALISATION = "initialisation"
    LEARNING_RATE = "learning rate"
    EPSILON = "epsilon"
    WEIGHT_DECAY = "weight decay"
    ATTENTION = "attention"
    DIVERGENCE = "divergence"
    FORGOTTEN = "not in the optimizer"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """A fault in words: the layers at fault, what was seen of the first of them, the cause and what mends it."""

    cause: Cause
    layers: tuple[str, ...]
    seen: str
    why: str
    fix: str


@dataclass(frozen=True)
class Case:
    """All that the rules may look at, of one layer.

    ``off`` are its rows that are refuted, or inconclusive and estimated outside the tolerance, by quantity: once a
    model is refuted, what is most likely at fault may be a row that noise keeps from being refuted by itself.
    ``trusts``: the settings, where they tell a layer's own power, decide what is its own, not what was measured.
    """

    layer: Layer
    own: Own | None
    off: Mapping[str, Judged]
    judgement: Judgement
    measurements: Measurements
    family: Family
    trusts: bool = True

    @property
    def gauge(self) -> int:
        return self.judgement.theory.rule.law.gauge

    @property
    def start_row(self) -> Judged | None:
        """The row of the layer's start that is off."""
        return self.off.get(EXPECTED_START) or self.off.get("preactivation")

    @property
    def starts_off(self) -> float:
        """The layer's own excess at the start, 0 where the start is not refuted or is inherited."""
        start = self.own.start if self.own and self.start_row else 0.0
        return start if abs(start) > OFF_START else 0.0

    @property
    def updates_off(self) -> float:
        """The own excess of the layer's update, 0 where no update is off or it is inherited.

        A power that is near a half is taken for that half, as the theory's powers are. An excess of another sign than
        what was seen would be advice against one's eyes: it is taken for inherited.
        """
        if self.own is None or not self.knows:
            return self.measured_off
        return self._seen(self.own.known, OFF_START)

    @property
    def knows(self) -> bool:
        """Whether the settings tell what the update is."""
        return self.trusts and self.own is not None and not math.isnan(self.own.known)

    @property
    def measured_off(self) -> float:
        """The same by what was measured alone."""
        return 0.0 if self.own is None else self._seen(self.own.update, OFF_UPDATE)

    def _seen(self, power: float, least: float) -> float:
        row = self.off.get("weight-update")
        if row is None or not abs(power) > least:
            return 0.0
        away = row.estimate.value - row.estimate.prediction.predicted
        return near_half(power) if away * power > 0 else 0.0


def seen(row: Judged, layer: Layer) -> str:
    """Return what was measured as a sentence's half: quantity, power of n with its interval, and the prediction."""
    predicted = row.estimate.prediction
    what = quantity_text(predicted.quantity, predicted.step, layer)
    return f"{what} {grows(row.estimate.value)} ({measured_text(row.estimate)}), predicted {theory(predicted)}"
