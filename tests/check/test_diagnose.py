"""Who is to blame: planted faults whose culprit, cause and remedy are known, and nobody else."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from synthetic import MUP_ADAM, MUP_SGD, NTP_SGD, WIDTHS, Dense, changed, measurements

from tpbench.bench.claim import Row
from tpbench.check.fault import Cause
from tpbench.check.measurements import Layer, Measurements, Place
from tpbench.check.own import own_exponents
from tpbench.check.report import Report, report_on
from tpbench.parametrization import named


def reported(net: tuple[Dense, ...], family: str, table: str = "mup") -> Report:
    return report_on(measurements(net, family), named(table))


Fault = tuple[tuple[Dense, ...], str, Cause, str, str]
FAULTS: dict[str, Fault] = {
    "read-out without multiplier, sgd": (changed(MUP_SGD, 3, m=0.0), "sgd", Cause.MULTIPLIER, "readout", "n^-1/2"),
    "read-out without multiplier, adam": (
        changed(MUP_ADAM, 3, s=0.0, c=0.0),
        "adam",
        Cause.MULTIPLIER,
        "readout",
        "further n^-1 ",
    ),
    "read-out starts too large": (changed(MUP_SGD, 3, s=0.0), "sgd", Cause.INITIALISATION, "readout", "by n^-1/2"),
    "read-out's rate": (changed(MUP_SGD, 3, c=1.0), "sgd", Cause.LEARNING_RATE, "readout", "by n^-1"),
    "hidden rate, adam": (changed(MUP_ADAM, 1, c=0.0), "adam", Cause.LEARNING_RATE, "fc2", "has to go like n^-1"),
    "hidden rate, sgd": (changed(MUP_SGD, 2, c=0.5), "sgd", Cause.LEARNING_RATE, "fc3", "by n^-1/2"),
    "hidden start": (changed(MUP_SGD, 1, s=-0.25), "sgd", Cause.INITIALISATION, "fc2", "by n^-1/4"),
    "hidden start, adam": (changed(MUP_ADAM, 2, s=0.0), "adam", Cause.INITIALISATION, "fc3", "by n^-1/2"),
    "first layer's rate": (changed(MUP_SGD, 0, c=-1.0), "sgd", Cause.LEARNING_RATE, "fc1", "by n^1"),
    "first layer like a hidden one": (changed(MUP_ADAM, 0, c=-1.0), "adam", Cause.LEARNING_RATE, "fc1", "by n^1"),
    "first layer times 1/n": (changed(MUP_ADAM, 0, m=-1.0), "adam", Cause.MULTIPLIER, "fc1", "further n^1"),
    "epsilon": (changed(MUP_ADAM, 1, epsilon=0.001), "adam", Cause.EPSILON, "fc2", "epsilon smaller"),
    "decay": (changed(MUP_ADAM, 1, decay=0.0), "adam", Cause.WEIGHT_DECAY, "fc2", "decay of these parameters by n^1"),
}


@pytest.mark.parametrize(("net", "family", "cause", "culprit", "fix"), FAULTS.values(), ids=FAULTS)
def test_the_culprit_is_named_alone(net: tuple[Dense, ...], family: str, cause: Cause, culprit: str, fix: str) -> None:
    report = reported(net, family)
    (finding,) = report.findings
    assert (finding.cause, finding.layers) == (cause, (culprit,))
    assert fix in finding.fix
    assert culprit not in report.consequences


def test_an_innocent_model_has_no_findings() -> None:
    assert reported(MUP_SGD, "sgd").findings == ()
    assert reported(MUP_ADAM, "adam").findings == ()


def test_layers_with_one_fault_share_a_finding() -> None:
    report = reported(changed(changed(MUP_ADAM, 1, c=0.0), 2, c=0.0), "adam")
    (finding,) = report.findings
    assert finding.layers == ("fc2", "fc3")
    assert "scaled like a first layer" in finding.why


def test_what_follows_from_a_fault_is_not_blamed() -> None:
    report = reported(changed(MUP_SGD, 3, m=0.0), "sgd")
    assert set(report.consequences) == {"fc1", "fc2", "fc3"}


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("excess", [0.5, -0.5])
def test_own_exponents_are_what_was_planted_whatever_is_wrong_elsewhere(number: int, excess: float) -> None:
    """Every layer's own excess is its own: read off noiseless measurements it is exact, the others' stay 0."""
    from tpbench.check.judge import judge_measurements

    other = changed(MUP_SGD, (number + 1) % 4, c=0.5)
    found = measurements(changed(other, number, c=other[number].c + excess), "sgd", noise=0.0)
    own = own_exponents(judge_measurements(found, named("mup")), found)
    planted = {number: excess, (number + 1) % 4: 0.5}
    for place, each in own.items():
        assert each.update == pytest.approx(planted.get(place, 0.0), abs=1e-9)
        assert each.rate == pytest.approx(planted.get(place, 0.0), abs=1e-9)


def with_multiplier_on_the_input(found: Measurements, number: int, power: float) -> Measurements:
    """Return what is measured where the layer's multiplier is applied to its input, as MuReadout does it."""
    rows = [
        (width, row._replace(value=row.value * (width / WIDTHS[0]) ** power))
        if (row.quantity, row.layer) == ("input", number)
        else (width, row)
        for width, row in found.rows
    ]
    return replace(found, rows=tuple(rows))


@pytest.mark.parametrize(("net", "family"), [(MUP_SGD, "sgd"), (MUP_ADAM, "adam")])
def test_it_does_not_matter_where_a_multiplier_is_applied(net: tuple[Dense, ...], family: str) -> None:
    plain = measurements(changed(net, 3, m=0.5), family)
    (one,), (other,) = (
        report_on(each, named("mup")).findings for each in (plain, with_multiplier_on_the_input(plain, 3, 0.5))
    )
    assert one == other
    assert one.cause is Cause.MULTIPLIER


def test_no_layer_is_blamed_against_what_was_seen() -> None:
    """A read-out that is much too small hides a hidden rate that is too large: what was seen falls."""
    report = reported(changed(changed(NTP_SGD, 3, m=-2.0), 2, c=0.75), "sgd", "ntp")
    assert [finding.layers for finding in report.findings] == [("readout",)]
    assert "fc3" in report.consequences


def test_the_parametrization_that_a_model_follows_is_recognised() -> None:
    report = reported(NTP_SGD, "sgd")
    assert any("those of ntp" in note for note in report.notes)
    assert not any("those of" in note for note in reported(changed(MUP_ADAM, 1, c=0.0), "adam").notes)


def with_logits(found: Measurements, quantity: str, step: int, power: float) -> Measurements:
    number = len(found.layers)
    rng = np.random.default_rng(0)
    rows = [
        (width, Row(quantity, width**power * math.exp(0.02 * rng.standard_normal()), seed, step, number))
        for width in WIDTHS
        for seed in range(found.seeds)
    ]
    layer = Layer(number, "attention logits", Place.LOGITS, "attention")
    return replace(found, layers=(*found.layers, layer), rows=(*found.rows, *rows))


def test_attention_is_blamed_for_its_scale_and_for_growing_logits_when_nobody_else_is() -> None:
    right, wrong = measurements(MUP_ADAM, "adam"), measurements(changed(MUP_ADAM, 1, c=0.0), "adam")
    for found in (with_logits(right, "attention-scale", 0, 0.5), with_logits(right, "preactivation-change", 1, 0.5)):
        (finding,) = report_on(found, named("mup")).findings
        assert (finding.cause, finding.layers) == (Cause.ATTENTION, ("attention logits",))
        assert "1/d" in finding.fix
    report = report_on(with_logits(wrong, "preactivation-change", 1, 1.0), named("mup"))
    assert [finding.layers for finding in report.findings] == [("fc2",)]
    assert "attention logits" in report.consequences


def test_a_tied_readout_is_told_to_take_a_multiplier() -> None:
    found = measurements(changed(MUP_ADAM, 3, c=0.0, s=0.0), "adam")
    tied = replace(found.layers[3], tied=("fc1",))
    report = report_on(replace(found, layers=(*found.layers[:3], tied)), named("mup"))
    assert report.findings[0].cause is Cause.MULTIPLIER
    assert "only a multiplier" in report.findings[0].why


def test_divergence_is_told() -> None:
    found = measurements(MUP_SGD, "sgd")
    rows = [
        (width, row._replace(value=math.nan) if width == 1024 and row.step == 4 else row) for width, row in found.rows
    ]
    report = report_on(replace(found, rows=tuple(rows)), named("mup"))
    assert [finding.cause for finding in report.findings] == [Cause.DIVERGENCE]
    assert "1024" in report.findings[0].seen
