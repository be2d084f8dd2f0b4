"""From verdicts to causes: which layer is to blame, for what, and what mends it.

A fault is seen far from where it is made: a layer that starts too large makes all later pre-activations large, a
read-out without its multiplier makes every update behind it large. So a layer is blamed only for what is its own
(``own``): a refuted quantity whose own power of n is off. Every other refuted row is a consequence, and is listed as
one. The rules are the table ``RULES``, asked in turn of every layer; layers with the same fault share a finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tpbench.bench.claim import Judged, Verdict
from tpbench.bench.verdict import band
from tpbench.check.fault import Case, Cause, Finding, seen
from tpbench.check.judge import Judgement
from tpbench.check.measurements import Layer, Measurements
from tpbench.check.own import own_exponents
from tpbench.check.rules import RULES, attention
from tpbench.parametrization import Family


def diagnose(judgement: Judgement, measurements: Measurements) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Return the findings, and the names of the layers in which refuted rows are mere consequences of them."""
    cases = _cases(judgement, measurements) if judgement.result.verdict is Verdict.REFUTED else []
    found = _asked(cases) or _asked([replace(case, trusts=False) for case in cases])
    if not found:
        found = [finding for case in cases if (finding := attention(case)) is not None]
    if not found:
        found = [_unknown(case) for case in cases if _is_refuted(case)]
    blamed = {name for finding in found for name in finding.layers}
    others = tuple(case.layer.name for case in cases if _is_refuted(case) and case.layer.name not in blamed)
    return (*_forgotten(measurements), *_merged([*found, *_divergence(judgement)])), others


def _asked(cases: Sequence[Case]) -> list[Finding]:
    return [finding for case in cases for rule in RULES if (finding := rule(case)) is not None]


def _cases(judgement: Judgement, measurements: Measurements) -> list[Case]:
    own, family = own_exponents(judgement, measurements), Family(measurements.family)
    return [
        Case(layer, own.get(layer.number), _off(judgement, layer), judgement, measurements, family)
        for layer in measurements.layers
    ]


def _off(judgement: Judgement, layer: Layer) -> dict[str, Judged]:
    """Return a layer's rows that are off by quantity; of several the refuted one, then that of the earliest step."""
    rows = [row for row in judgement.result.judged if row.estimate.prediction.layer == layer.number and _is_off(row)]
    best_last = sorted(rows, key=lambda row: (row.verdict is Verdict.REFUTED, -row.estimate.prediction.step))
    return {row.estimate.prediction.quantity: row for row in best_last}


def _is_off(row: Judged) -> bool:
    low, high = band(row.estimate)
    return row.verdict is not Verdict.SUPPORTED and not low <= row.estimate.value <= high


def _is_refuted(case: Case) -> bool:
    return any(row.verdict is Verdict.REFUTED for row in case.off.values())


def _unknown(case: Case) -> Finding:
    return Finding(
        Cause.UNKNOWN,
        (case.layer.name,),
        seen(next(iter(case.off.values())), case.layer),
        "no single layer's start, multiplier or learning rate explains it",
        "look at the refuted rows in the order of the forward pass",
    )


def _forgotten(measurements: Measurements) -> tuple[Finding, ...]:
    if not measurements.forgotten:
        return ()
    return (
        Finding(
            Cause.FORGOTTEN,
            measurements.forgotten,
            f"{len(measurements.forgotten)} parameters are trainable, and the optimizer does not have them",
            "they never move, whatever the width: no parametrization is kept by that",
            "give them to the optimizer, or freeze them with requires_grad_(False) where that is meant",
        ),
    )


def _divergence(judgement: Judgement) -> list[Finding]:
    widths = sorted({width for row in judgement.result.judged for width in row.estimate.diverged})
    if not widths:
        return []
    return [
        Finding(
            Cause.DIVERGENCE,
            (),
            f"values are not finite at width {', '.join(map(str, widths))}",
            "training blew up there; those widths are left out",
            "mend the refuted layers, or choose a smaller learning rate for the check",
        )
    ]


def _merged(found: Sequence[Finding]) -> list[Finding]:
    """Return the findings with those of one cause and one text made one."""
    merged: dict[tuple[str, str, str], Finding] = {}
    for finding in found:
        key = (finding.cause, finding.why, finding.fix)
        before = merged.get(key)
        merged[key] = finding if before is None else replace(before, layers=before.layers + finding.layers)
    return list(merged.values())
