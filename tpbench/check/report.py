"""What a check returns: the verdicts, the faults in words, and what else the reader must know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tpbench.bench.claim import Judged, Verdict
from tpbench.check.diagnose import diagnose
from tpbench.check.exponent import power
from tpbench.check.fault import Finding
from tpbench.check.judge import Judgement, judge_measurements
from tpbench.check.measurements import Layer, Measurements, Place
from tpbench.check.phrases import folded_names, grows
from tpbench.check.resemble import resembled
from tpbench.parametrization import Parametrization


@dataclass(frozen=True, repr=False)
class Report:
    """The outcome of a check.

    ``findings`` are the faults, the layer that is to blame first; ``consequences`` names the layers whose refuted rows
    follow from them; ``notes`` say what was not judged and why.
    """

    asked: str
    judgement: Judgement
    measurements: Measurements
    findings: tuple[Finding, ...]
    consequences: tuple[str, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        """Return the report for people: headline, table, findings and notes, as plain text."""
        from tpbench.check.show import text

        return text(self)

    @property
    def judged(self) -> tuple[Judged, ...]:
        """All judged estimates, in the order of the forward pass."""
        return self.judgement.result.judged

    @property
    def verdict(self) -> Verdict:
        """``refuted`` when any estimate is or the optimizer lacks parameters; ``supported`` when all estimates are."""
        if self.measurements.forgotten:
            return Verdict.REFUTED
        return self.judgement.result.verdict

    @property
    def counts(self) -> Mapping[Verdict, int]:
        """How many estimates have each verdict."""
        return {verdict: sum(row.verdict is verdict for row in self.judged) for verdict in Verdict}

    @property
    def refuted(self) -> tuple[Judged, ...]:
        """The refuted estimates."""
        return tuple(row for row in self.judged if row.verdict is Verdict.REFUTED)


def report_on(measurements: Measurements, table: Parametrization, *, decay: bool = True) -> Report:
    """Return the report on a model's measurements; ``ValueError`` where the table says nothing of such a model.

    Without ``decay``, weight decay may fade with the width.
    """
    judgement = judge_measurements(measurements, table, decay=decay)
    findings, consequences = diagnose(judgement, measurements)
    return Report(table.name, judgement, measurements, findings, consequences, _notes(judgement, measurements))


def _notes(judgement: Judgement, measurements: Measurements) -> tuple[str, ...]:
    notes = [
        f"taken together, the exponents are those of {table.name} ({table.source})"
        for table in resembled(judgement, measurements)
    ]
    names = {layer.number: layer.name for layer in measurements.layers}
    outputs = {layer.number for layer in measurements.layers if layer.place is Place.OUTPUT}
    zero = [names[number] for what, number, _ in judgement.silent if what == "preactivation" and number in outputs]
    cancelled = [names[number] for number in judgement.cancelled]
    sentences = (
        (zero, "a read-out that starts at 0: nothing to judge at the start, which is fine"),
        *_still(judgement, measurements),
        ([names[number] for number in measurements.rerouted], REROUTED),
        ([layer.name for layer in measurements.layers if layer.rounded], ROUNDED),
        (cancelled, "a gradient of rounding only, since a normalisation or softmax cancels it; not judged"),
    )
    return (*notes, *_signal_notes(judgement), *(f"{_listed(one)}: {said}" for one, said in sentences if one))


UNKNOWN = (
    "what the loss sends back to the output could not be measured: updates are judged as if it did not depend on the "
    "width. Let the model return its output as a tensor, and the factory a loss"
)
REROUTED = (
    "other examples or tokens at every pass (data-dependent routing): W₀ Δx and the change of its output are not "
    "judged, its own updates are"
)
ROUNDED = "sizes that are not quite proportional to the width, as if rounded to multiples: taken for proportional"


def _still(judgement: Judgement, measurements: Measurements) -> tuple[tuple[list[str], str], ...]:
    """Return the layers of parameters that did not move at any of their uses, apart by why."""
    last = measurements.record[-1]
    silent = {number for what, number, step in judgement.silent if (what, step) == ("weight-update", last)}
    moved = {layer.parameter for layer in measurements.layers if layer.parameter and layer.number not in silent}
    still = [layer for layer in measurements.layers if layer.number in silent and layer.parameter not in moved]
    found: dict[str, list[str]] = {}
    for layer in still:
        found.setdefault(_why_still(layer, measurements), []).append(layer.name)
    return tuple((names, f"did not move: {why}; not judged") for why, names in found.items() if why)


def _why_still(layer: Layer, measurements: Measurements) -> str:
    if layer.parameter in measurements.forgotten:
        return ""  # a finding says so
    if layer.parameter in measurements.frozen:
        return "frozen (requires_grad is False)"
    scaling = measurements.scalings.get(layer.parameter)
    if scaling is not None and not any(scaling.rate.values()):
        return "its learning rate is 0"
    return "its gradient is 0, since the loss does not depend on it or its input is 0"


SLOPE = 0.1
"""From where on the power of what the loss sends back is worth a word."""


def _signal_notes(judgement: Judgement) -> tuple[str, ...]:
    """Return what to know of the derivative of the loss, to which SGD's updates are proportional."""
    if not judgement.theory.rule.law.gradient:
        return ()
    if not judgement.signal:
        return (UNKNOWN,)
    slope = power(judgement.signal)
    if not abs(slope) > SLOPE:
        return ()
    because = ", as |f_0| does under squared error" if slope < 0 else ""
    return (f"the derivative of the loss {grows(slope)}{because}; updates are judged relative to it",)


def _listed(names: Sequence[str], most: int = 4) -> str:
    names = folded_names(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
