"""A report for people and for scripts: table, findings and notes on a terminal, or JSON."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tpbench.bench.claim import Judged, Side, Verdict
from tpbench.bench.words import MARKS, duration, theory
from tpbench.check.fault import Finding
from tpbench.check.measurements import Layer, Measurements
from tpbench.check.phrases import folded_names, measured_text, symbol_text
from tpbench.check.report import Report

STYLES = {Verdict.SUPPORTED: "green", Verdict.INCONCLUSIVE: "yellow", Verdict.REFUTED: "bold red"}
MOST_ROWS = 40
"""Rows of a table above which supported ones are told together, a line a place, quantity, step and prediction."""
PLAIN_WIDTH = 100


def text(report: Report, *, every: bool = False, width: int = PLAIN_WIDTH) -> str:
    """Return the report as plain text without colours."""
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    console.print(shown(report, every=every))
    written = console.file
    assert isinstance(written, io.StringIO)
    return written.getvalue()


def shown(report: Report, *, every: bool = False) -> RenderableType:
    """Return what a terminal shows: headline, table, findings, notes. ``every``: each supported row by itself."""
    parts: list[RenderableType] = [_headline(report), _table(report, every=every)]
    parts += [_finding(place, finding) for place, finding in enumerate(report.findings, 1)]
    if report.consequences and report.findings:
        parts.append(Text(f"Refuted rows of {_listed(report.consequences)} follow from this, or are too near to tell."))
    parts += [Text(f"note: {note}") for note in (*report.notes, *_advice(report))]
    return Group(*parts)


def _advice(report: Report) -> list[str]:
    """Return what would decide inconclusive estimates."""
    if report.verdict is not Verdict.INCONCLUSIVE:
        return []
    return ["more seeds, or more widths, would decide what is inconclusive"]


def _headline(report: Report) -> Text:
    m, counts = report.measurements, report.counts
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) or "nothing to judge"
    return Text.assemble(
        (f"{MARKS[report.verdict]} {report.asked}: {report.verdict}", STYLES[report.verdict]),
        f" ({told})\n",
        f"{m.optimizer} ({m.family}), widths {_widths(m)}, {m.steps} steps, "
        f"{duration(m.seconds)}; numbers are powers p of sizes n^p at width n",
    )


def _widths(m: Measurements) -> str:
    dense = f"{', '.join(str(width) for width in m.widths if width not in m.wide)}, {m.seeds} seeds"
    return f"{dense}, lazy {', '.join(map(str, m.wide))}, {m.wide_seeds} seeds" if m.wide else dense


def _table(report: Report, *, every: bool) -> Table:
    table = Table("layer", "place", "quantity", "step", "theory", "measured [95%]", "", box=None, pad_edge=False)
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.no_wrap = True
    layers = {layer.number: layer for layer in report.measurements.layers}
    rows = sorted(report.judged, key=lambda row: (row.estimate.prediction.layer, row.estimate.prediction.step))
    fold = not every and len(rows) > MOST_ROWS
    groups: dict[tuple[object, ...], list[Judged]] = {}
    for row in rows:
        groups.setdefault(_group(row, layers[row.estimate.prediction.layer], fold=fold, every=every), []).append(row)
    for group in sorted(groups.values(), key=lambda each: fold and each[0].verdict is Verdict.SUPPORTED):
        members = [layers[row.estimate.prediction.layer] for row in group]
        table.add_row(_named(members), *_cells(group[0], members[0]), _measured(group), _mark(group[0].verdict))
    return table


def _group(row: Judged, layer: Layer, *, fold: bool, every: bool) -> tuple[object, ...]:
    """Return what rows of one line have in common: all that the line says of them, and the layer or parameter.

    Uses of one parameter are told together where they agree; in large tables, so are supported rows of all layers.
    """
    predicted = row.estimate.prediction
    said = (layer.place, predicted.quantity, predicted.step, predicted.predicted, predicted.side, row.verdict)
    if fold and row.verdict is Verdict.SUPPORTED:
        return said
    return (*said, layer.number if every or not layer.parameter else layer.parameter)


def _named(layers: Sequence[Layer]) -> str:
    names = folded_names([layer.name for layer in layers])
    return names[0] if len(names) == 1 else f"({len(names)} layers)"


def _measured(rows: Sequence[Judged]) -> str:
    if len(rows) == 1:
        return measured_text(rows[0].estimate)
    values = [row.estimate.value for row in rows]
    least, most = (f"{0.0 if abs(one) < 0.005 else one:.2f}".replace("-", "−") for one in (min(values), max(values)))
    return least if least == most else f"{least} to {most}"


def _cells(row: Judged, layer: Layer) -> tuple[str, str, str, str]:
    predicted = row.estimate.prediction
    step = "" if predicted.step < 0 else str(predicted.step)
    return str(layer.place), symbol_text(predicted.quantity, layer), step, theory(predicted)


def _mark(verdict: Verdict) -> Text:
    return Text(MARKS[verdict], style=STYLES[verdict])


def _finding(place: int, finding: Finding) -> RenderableType:
    title = Text.assemble(
        (f"{place}. {finding.cause}", "bold"), f": {_listed(finding.layers)}" if finding.layers else ""
    )
    body = Text(f"seen:  {finding.seen}\ncause: {finding.why}\nfix:   {finding.fix}")
    return Group(title, Padding(body, (0, 0, 0, 3)))


def _listed(names: Sequence[str], most: int = 6) -> str:
    names = folded_names(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


# -- JSON -------------------------------------------------------------------------------------------------------------


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as a JSON object; numbers that are not finite are null."""
    m = report.measurements
    layers = {layer.number: layer for layer in m.layers}
    return {
        "parametrization": report.judgement.theory.table.as_config(),
        "verdict": str(report.verdict),
        "counts": {str(verdict): count for verdict, count in report.counts.items()},
        "optimizer": m.optimizer,
        "family": m.family,
        "widths": list(m.widths),
        "seeds": m.seeds,
        "wide": list(m.wide),
        "wide_seeds": m.wide_seeds,
        "steps": m.steps,
        "seconds": m.seconds,
        "estimates": [_estimate_json(row, layers[row.estimate.prediction.layer]) for row in report.judged],
        "findings": [
            {
                "cause": str(finding.cause),
                "layers": list(finding.layers),
                "seen": finding.seen,
                "why": finding.why,
                "fix": finding.fix,
            }
            for finding in report.findings
        ],
        "consequences": list(report.consequences),
        "notes": list(report.notes),
    }


def _estimate_json(row: Judged, layer: Layer) -> dict[str, Any]:
    found, predicted = row.estimate, row.estimate.prediction
    return {
        "layer": layer.name,
        "place": str(layer.place),
        "quantity": predicted.quantity,
        "step": None if predicted.step < 0 else predicted.step,
        "predicted": predicted.predicted,
        "bound": predicted.side is Side.AT_MOST,
        "tolerance": predicted.tolerance,
        "measured": _finite(found.value),
        "low": _finite(found.low),
        "high": _finite(found.high),
        "verdict": str(row.verdict),
        "note": found.note,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
