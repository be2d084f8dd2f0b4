"""Reports for people and scripts: table, findings, JSON, picture."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import MUP_ADAM, MUP_SGD, changed, measurements

from tpbench.bench.claim import Row, Verdict
from tpbench.bench.plot import encode
from tpbench.check.measurements import Measurements
from tpbench.check.plot import _apart, draw
from tpbench.check.report import Report, report_on
from tpbench.check.show import MOST_ROWS, as_json, text
from tpbench.parametrization import named

BROKEN = report_on(measurements(changed(MUP_ADAM, 1, c=0.0), "adam"), named("mup"))
RIGHT = report_on(measurements(MUP_SGD, "sgd"), named("mup"))


def deep(found: Measurements, copies: int) -> Measurements:
    """Return the measurements of a model with so many more layers like the second."""
    layers, rows = list(found.layers), list(found.rows)
    for copy in range(copies):
        number = len(layers)
        layers.append(replace(found.layers[1], number=number, name=f"blocks.{copy}.a_rather_long_name.projection"))
        rows += [(width, Row(*row[:4], number)) for width, row in found.rows if row.layer == 1]
    return replace(found, layers=tuple(layers), rows=tuple(rows))


@pytest.mark.parametrize("width", [80, 160])
@pytest.mark.parametrize("report", [BROKEN, RIGHT], ids=["broken", "right"])
def test_the_table_fits_and_tells_every_row(report: Report, width: int) -> None:
    written = text(report, every=True, width=width)
    assert max(map(len, written.splitlines())) <= width
    marks = {Verdict.SUPPORTED: "✓", Verdict.REFUTED: "✗", Verdict.INCONCLUSIVE: "?"}
    body = "\n".join(written.splitlines()[2:])
    for verdict, count in report.counts.items():
        assert body.count(marks[verdict]) == count


def test_findings_say_what_was_seen_the_cause_and_the_fix() -> None:
    written = text(BROKEN)
    assert "1. learning rate: fc2" in written
    for word in ("seen:", "cause:", "fix:", "n^-1", "predicted 0", "Refuted rows of fc3, readout follow"):
        assert word in written


def test_supported_rows_of_large_models_are_told_together() -> None:
    report = report_on(deep(measurements(changed(MUP_ADAM, 2, c=0.0), "adam"), 20), named("mup"))
    assert len(report.judged) > MOST_ROWS
    short, whole = text(report), text(report, every=True)
    assert "layers)" in short
    assert len(short.splitlines()) < len(whole.splitlines()) / 2
    assert short.count("✗") == whole.count("✗"), "no refuted row is left out"
    assert max(map(len, text(report, every=True, width=80).splitlines())) <= 80


def test_json_holds_every_estimate_and_is_json_even_where_training_diverged() -> None:
    found = measurements(changed(MUP_ADAM, 1, c=0.0), "adam")
    rows = [
        (width, row._replace(value=math.inf) if row.step == 4 and width > 128 else row) for width, row in found.rows
    ]
    report = report_on(replace(found, rows=tuple(rows)), named("mup"))
    known = json.loads(json.dumps(as_json(report), allow_nan=False))
    assert len(known["estimates"]) == len(report.judged)
    assert {"cause": "learning rate", "layers": ["fc2"]}.items() <= known["findings"][0].items()
    assert any(row["measured"] is None for row in known["estimates"])


def test_the_picture_shows_each_curve_and_names_the_refuted() -> None:
    picture = draw(BROKEN)
    lines = [line for axes in picture.axes for line in axes.lines if line.get_linestyle() != "--"]
    assert len(lines) == len(BROKEN.judged)
    for line in lines:
        assert np.asarray(line.get_ydata())[0] == 1, "every curve begins at one"
    names = [note.get_text() for axes in picture.axes for note in axes.texts]
    assert sum(name.startswith("fc2 ") for name in names) == sum(
        row.estimate.prediction.layer == 1 for row in BROKEN.refuted
    )
    assert not any(name.startswith("fc1 ") for name in names)
    assert encode(picture, "png", dpi=40).startswith(b"\x89PNG")


def test_names_beside_a_panel_keep_apart() -> None:
    for heights in ([], [0.5], [0.5, 0.5, 0.5], [0.97, 0.98, 0.99], [0.0, 0.0]):
        placed = _apart(heights)
        assert all(b - a >= 0.074 for a, b in itertools.pairwise(placed))
        assert all(-1e-9 <= height <= 1 for height in placed)


def test_a_report_on_a_right_model_is_short(tmp_path: Path) -> None:
    written = text(RIGHT)
    assert written.startswith("✓ mup: supported (18 supported)")
    assert "cause:" not in written


def test_a_report_prints_as_its_table() -> None:
    assert str(BROKEN) == repr(BROKEN) == text(BROKEN)
    assert "Measurements(" not in str(BROKEN)


def with_uses(found: Measurements, copies: int) -> Measurements:
    """Return the measurements where the second layer is used so many more times."""
    grown = deep(found, copies)
    count = len(found.layers)
    renamed = (
        replace(layer, name=f"{found.layers[1].name} ({layer.number} th use)".replace(" th", "th"))
        for layer in grown.layers[count:]
    )
    return replace(grown, layers=(*grown.layers[:count], *renamed))


def test_uses_of_one_parameter_are_told_together_refuted_ones_too() -> None:
    report = report_on(with_uses(measurements(changed(MUP_ADAM, 1, c=0.0), "adam"), 4), named("mup"))
    assert "fc2 (5 uses)  hidden  ΔW x" in text(report)
    assert "learning rate: fc2 (5 uses)" in text(report)
    assert text(report, every=True).count("ΔW x      1") == len(report.measurements.layers)


def test_folded_lines_are_of_one_place() -> None:
    """Hidden layers and first layers are predicted the same, and must not be told as one."""
    report = report_on(deep(measurements(MUP_ADAM, "adam"), 20), named("mup"))
    lines = [line.split() for line in text(report).splitlines() if "W₀ x₀" in line]
    assert [(line[0], line[-1]) for line in lines if "input" in line] == [("fc1", "✓")]
    assert [line[:2] for line in lines if "hidden" in line] == [["(22", "layers)"]]
    assert "[" in next(line for line in text(report).splitlines() if line.startswith("fc1"))  # alone: its own interval
