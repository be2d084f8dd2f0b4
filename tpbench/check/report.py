"""What a check returns: the verdicts, the faults in words, and what else the reader must know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tpbench.bench.claim import Judged, Verdict
from tpbench.check.diagnose import diagnose
from tpbench.check.fault import Finding
from tpbench.check.judge import Judgement, judge_measurements
from tpbench.check.measurements import Measurements, Place
from tpbench.check.resemble import resembled
from tpbench.parametrization import Parametrization


@dataclass(frozen=True)
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

    @property
    def judged(self) -> tuple[Judged, ...]:
        """All judged estimates, in the order of the forward pass."""
        return self.judgement.result.judged

    @property
    def verdict(self) -> Verdict:
        """``refuted`` when any estimate is, ``supported`` when all are, else ``inconclusive``."""
        return self.judgement.result.verdict

    @property
    def counts(self) -> Mapping[Verdict, int]:
        """How many estimates have each verdict."""
        return {verdict: sum(row.verdict is verdict for row in self.judged) for verdict in Verdict}

    @property
    def refuted(self) -> tuple[Judged, ...]:
        """The refuted estimates."""
        return tuple(row for row in self.judged if row.verdict is Verdict.REFUTED)


def report_on(measurements: Measurements, table: Parametrization) -> Report:
    """Return the report on a model's measurements; ``ValueError`` where the table says nothing of such a model."""
    judgement = judge_measurements(measurements, table)
    findings, consequences = diagnose(judgement, measurements)
    return Report(table.name, judgement, measurements, findings, consequences, _notes(judgement, measurements))


def _notes(judgement: Judgement, measurements: Measurements) -> tuple[str, ...]:
    notes = [
        f"taken together, the exponents are those of {table.name} ({table.source})"
        for table in resembled(judgement, measurements)
    ]
    names = {layer.number: layer.name for layer in measurements.layers}
    outputs = {layer.number for layer in measurements.layers if layer.place is Place.OUTPUT}
    last = measurements.record[-1]
    zero = [names[number] for what, number, _ in judgement.silent if what == "preactivation" and number in outputs]
    still = [names[number] for what, number, step in judgement.silent if (what, step) == ("weight-update", last)]
    cancelled = [names[number] for number in judgement.cancelled]
    sentences = (
        (zero, "a read-out that starts at 0: nothing to judge at the start, which is fine"),
        (still, "did not move at all: frozen, or the loss does not depend on it; not judged"),
        (cancelled, "a gradient of rounding only, since a normalisation or softmax cancels it; not judged"),
    )
    return (*notes, *(f"{_listed(found)}: {sentence}" for found, sentence in sentences if found))


def _listed(names: list[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
