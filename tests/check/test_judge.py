"""Verdicts on synthetic measurements: right models pass, every half power too much or too little is refuted."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from synthetic import MUP_ADAM, MUP_SGD, NTP_SGD, WIDTHS, Dense, changed, measurements

from tpbench.bench.claim import Row, Verdict
from tpbench.check.judge import judge_measurements
from tpbench.check.measurements import Layer, Measurements, Place
from tpbench.parametrization import named

NETS = {"mup sgd": (MUP_SGD, "sgd", "mup"), "mup adam": (MUP_ADAM, "adam", "mup"), "ntp": (NTP_SGD, "sgd", "ntp")}


def verdict(found: Measurements, table: str = "mup") -> Verdict:
    return judge_measurements(found, named(table)).result.verdict


@pytest.mark.parametrize(("net", "family", "table"), NETS.values(), ids=NETS)
def test_a_right_model_is_supported(net: tuple[Dense, ...], family: str, table: str) -> None:
    for seed in range(20):
        found = measurements(net, family, rng=np.random.default_rng(seed))
        assert verdict(found, table) is Verdict.SUPPORTED


@pytest.mark.parametrize("noise", [0.05, 0.3])
def test_noise_refutes_no_right_model(noise: float) -> None:
    verdicts = [verdict(measurements(MUP_SGD, "sgd", noise=noise, rng=np.random.default_rng(i))) for i in range(100)]
    assert Verdict.REFUTED not in verdicts


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("excess", [-0.5, 0.5])
@pytest.mark.parametrize(("net", "family"), [(MUP_SGD, "sgd"), (MUP_ADAM, "adam")])
def test_every_learning_rate_off_by_a_half_power_is_refuted(
    net: tuple[Dense, ...], family: str, number: int, excess: float
) -> None:
    assert verdict(measurements(changed(net, number, c=net[number].c + excess), family)) is Verdict.REFUTED


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("excess", [-0.5, 0.5])
def test_every_start_off_by_a_half_power_is_refuted_but_a_small_readout(number: int, excess: float) -> None:
    found = verdict(measurements(changed(MUP_ADAM, number, s=MUP_ADAM[number].s + excess), "adam"))
    harmless = number == 3 and excess < 0
    assert found is (Verdict.SUPPORTED if harmless else Verdict.REFUTED)


def test_one_table_is_not_the_other() -> None:
    assert verdict(measurements(NTP_SGD, "sgd"), "mup") is Verdict.REFUTED
    assert verdict(measurements(MUP_SGD, "sgd"), "ntp") is Verdict.REFUTED


def test_what_is_exactly_zero_is_not_judged() -> None:
    found = judge_measurements(measurements(changed(MUP_SGD, 3, s=-math.inf), "sgd"), named("mup"))
    assert found.theory.rule.zero_output
    assert ("preactivation", 3, 0) in found.silent
    assert ("weight-update", 1, 1) in found.silent
    assert found.result.verdict is Verdict.SUPPORTED


def with_bias(found: Measurements, gradient: float, update: float) -> Measurements:
    """Add a bias whose derivative has one size at every width, and whose update is n^update."""
    number = len(found.layers)
    rows = [
        (width, Row(quantity, value * (1 + 0.01 * seed), seed, step, number))
        for width in WIDTHS
        for seed in range(found.seeds)
        for quantity, step, value in (
            ("gradient", 1, gradient),
            ("weight-update", 1, width**update),
            ("weight-update", 4, width**update),
        )
    ]
    layer = Layer(number, "fc1.bias", Place.VECTOR, "bias", "fc1.bias")
    return replace(found, layers=(*found.layers, layer), rows=(*found.rows, *rows))


def test_a_bias_that_the_loss_does_not_see_is_not_judged() -> None:
    found = measurements(MUP_ADAM, "adam")
    cancelled = judge_measurements(with_bias(found, 1e-9, -1.0), named("mup"))
    assert cancelled.cancelled == (4,)
    assert cancelled.result.verdict is Verdict.SUPPORTED
    assert verdict(with_bias(found, 1e-2, -1.0)) is Verdict.REFUTED, "this one has a derivative"


@pytest.mark.parametrize(("late", "cancelled"), [(1e-9, (4,)), (1e-2, ())])
def test_with_a_readout_from_zero_a_later_step_tells_what_is_cancelled(late: float, cancelled: tuple[int, ...]) -> None:
    """The first gradient is 0 of everything but the read-out, whether or not a softmax cancels it later."""
    found = with_bias(measurements(MUP_ADAM, "adam"), 0.0, -1.0)
    silent = [
        (width, row._replace(value=0.0) if row.quantity == "gradient" and row.layer != 3 else row)
        for width, row in found.rows
    ]
    second = [
        (width, Row("gradient", late if layer == 4 else 1.0, seed, 2, layer))
        for width in WIDTHS
        for seed in range(found.seeds)
        for layer in range(5)
    ]
    judged = judge_measurements(replace(found, rows=(*silent, *second)), named("mup"))
    assert judged.cancelled == cancelled


def test_decay_must_not_depend_on_the_width() -> None:
    right = [replace(layer, decay=-layer.c) for layer in MUP_ADAM]
    wrong = [replace(layer, decay=0.0) for layer in MUP_ADAM]
    assert verdict(measurements(right, "adam")) is Verdict.SUPPORTED
    assert verdict(measurements(wrong, "adam")) is Verdict.REFUTED
    waived = judge_measurements(measurements(wrong, "adam"), named("mup"), decay=False)
    assert waived.result.verdict is Verdict.SUPPORTED, "the limit exists, though decay fades"
    growing = [replace(layer, decay=0.5 - layer.c) for layer in MUP_ADAM]
    grown = judge_measurements(measurements(growing, "adam"), named("mup"), decay=False)
    assert grown.result.verdict is Verdict.REFUTED, "growth is judged all the same"
    coupled = judge_measurements(measurements(wrong, "adam", optimizer="Adam"), named("mup"))
    assert coupled.result.verdict is Verdict.SUPPORTED, "an L2 term under Adam is no share of the weights"


def test_a_table_without_hidden_matrices_is_refused() -> None:
    with pytest.raises(ValueError, match=r"says nothing of hidden matrices.*fc2, fc3"):
        judge_measurements(measurements(MUP_SGD, "sgd"), named("mean-field"))
