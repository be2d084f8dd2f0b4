"""Exponents along a family: every measured one at its place, with its interval, theory and rival as lines."""

from __future__ import annotations

from dataclasses import replace

import pytest
from drawings import data, judge, make_claim, rows_of

from tpbench.bench.claim import Axis, ClaimResult, Figure, Kind
from tpbench.bench.plot import draw, encode

AXIS = Axis("place s", {"one": 0.0, "half": 0.5, "two": 1.0}, {0.0: "NTP"})


def test_every_parametrization_stands_at_its_place() -> None:
    judged = [judge(name, "output", Kind.EXPONENT, value) for name, value in (("two", 0.0), ("one", -0.5))]
    judged += [judge("half", "output", Kind.EXPONENT, -0.25), judge("elsewhere", "output", Kind.EXPONENT, 3.0)]
    claim = replace(make_claim(Figure.FAMILY), axis=AXIS)
    [drawn] = draw(claim, ClaimResult(claim.name, tuple(judged)), rows_of([])).values()
    encode(drawn)
    [panel] = drawn.axes
    theory, rival, *points = panel.get_lines()
    assert list(data(theory)[0]) == list(data(rival)[0]) == [0.0, 0.5, 1.0]
    measured = {tuple(round(float(part[0]), 6) for part in data(point)) for point in points if len(data(point)[0]) == 1}
    assert {(0.0, -0.49), (0.5, -0.24), (1.0, 0.01)} <= measured
    assert not any(y == pytest.approx(3.01) for _, y in measured), "what is not of the family is not drawn"
    assert "0\nNTP" in [label.get_text() for label in panel.get_xticklabels()]
    assert panel.get_xlabel() == "place s"
