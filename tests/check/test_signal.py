"""What the loss sends back: sqrt(D K D) by hand, what stands in for it, and verdicts that do not depend on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from by_hand import WIDTHS as TWO
from by_hand import normal
from synthetic import MUP_ADAM, MUP_SGD, WIDTHS, Dense, changed, measurements
from torch import Tensor, nn

from tpbench.bench.claim import ABSENT, Row, Verdict
from tpbench.check.exponent import power
from tpbench.check.judge import judge_measurements
from tpbench.check.measure import measure
from tpbench.check.measurements import Measurements
from tpbench.check.report import report_on
from tpbench.check.signal import signals_of
from tpbench.parametrization import named

X, Y = normal(12, 5), normal(12, 3, seed=1)
RATE = 0.3


class Net(nn.Module):
    """One hidden layer; the read-out has a multiplier, in front or behind."""

    def __init__(self, width: int, before: float, after: float) -> None:
        super().__init__()
        self.read, self.out = nn.Linear(5, width, bias=False), nn.Linear(width, 3, bias=False)
        self.before, self.after = before, after

    def forward(self, x: Tensor) -> Tensor:
        """Return the output."""
        out: Tensor = self.out(torch.tanh(self.read(x)) * self.before) * self.after
        return out


def factory(before: float = 1.0, after: float = 1.0, start: float = 1.0) -> Callable[[int], Any]:
    def build(width: int) -> tuple[Any, ...]:
        model = Net(width, before, after).double()
        with torch.no_grad():
            model.out.weight.mul_(start)
        return model, torch.optim.SGD(model.parameters(), lr=RATE), (X, Y)

    return build


def sent_by_hand(build: Callable[[int], Any], width: int, steps: int) -> list[float]:
    """Return rms over entries of Σ_b D_b x_b over rms(x_0), for every step, with x the neurons without multiplier."""
    sent = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, optimizer, (inputs, targets) = build(width)
    for _ in range(steps):
        x = torch.tanh(model.read(inputs)).detach()
        output = model(inputs)
        derivative = ((output - targets) / targets.numel()).detach()
        sent.append(((derivative.T @ x).square().mean().sqrt() / x.square().mean().sqrt()).item())
        optimizer.zero_grad()
        ((output - targets).square().mean() / 2).backward()
        optimizer.step()
    return sent


@pytest.mark.parametrize(("before", "after"), [(1.0, 1.0), (0.25, 1.0), (1.0, 0.25), (3.0, 0.5)])
def test_the_signal_is_the_root_of_d_k_d_wherever_a_multiplier_is(before: float, after: float) -> None:
    build = factory(before, after)
    found = signals_of(measure(build, widths=TWO, seeds=1, steps=2, record=(0, 1, 2)))
    for width in TWO:
        sent = sent_by_hand(build, width, 2)
        assert found[width, 0, 1] == pytest.approx(sent[0], rel=1e-6)
        assert found[width, 0, 2] == pytest.approx((sent[0] + min(sent)) / 2, rel=1e-6)


def test_a_readout_from_zero_leaves_the_loss_derivative() -> None:
    measured = measure(factory(start=0.0), widths=TWO, seeds=2, steps=1)
    found = signals_of(measured)
    for width in TWO:
        for seed in (0, 1):
            assert found[width, seed, 1] == pytest.approx((Y / Y.numel()).square().mean().sqrt().item(), rel=1e-6)
    without = tuple(pair for pair in measured.rows if pair[1].quantity != "loss-derivative")
    assert signals_of(replace(measured, rows=without)) == {}


PROPORTIONAL = ("weight-update", "gradient")


def falling(found: Measurements, by: float, told: bool = True) -> Measurements:
    """Return the measurements of the same model where dL/df, and with it each gradient and update, goes like n^by."""
    rows = [
        (width, row._replace(value=row.value * float(width / 64) ** by) if row.quantity in PROPORTIONAL else row)
        for width, row in found.rows
    ]
    rows += [
        (width, Row("loss-derivative", float(width / 64) ** by, seed, step, ABSENT))
        for width in WIDTHS
        for seed in range(found.seeds)
        for step in range(found.steps)
        if told
    ]
    return replace(found, rows=tuple(rows))


def verdict(found: Measurements) -> Verdict:
    return judge_measurements(found, named("mup")).result.verdict


def test_a_signal_that_grows_in_training_excuses_nothing() -> None:
    found = falling(measurements(MUP_SGD, "sgd"), 0.0)
    rows = [
        (width, row._replace(value=float(width) ** row.step) if row.quantity == "loss-derivative" else row)
        for width, row in found.rows
    ]
    assert set(signals_of(replace(found, rows=tuple(rows))).values()) == {1.0}


def test_updates_are_judged_relative_to_the_derivative_under_sgd_alone() -> None:
    right = measurements(MUP_SGD, "sgd")
    assert verdict(falling(right, -0.5)) is Verdict.SUPPORTED
    assert verdict(falling(right, -0.5, told=False)) is Verdict.REFUTED, "the derivative is what saves it"
    assert verdict(falling(measurements(MUP_ADAM, "adam"), -0.5)) is Verdict.REFUTED, "Adam's steps do not fall with it"


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("excess", [-0.5, 0.5])
def test_faults_are_seen_and_blamed_beside_a_falling_derivative(number: int, excess: float) -> None:
    net: tuple[Dense, ...] = changed(MUP_SGD, number, c=MUP_SGD[number].c + excess)
    report = report_on(falling(measurements(net, "sgd"), -0.3), named("mup"))
    assert report.verdict is Verdict.REFUTED
    assert [finding.layers for finding in report.findings] == [(report.measurements.layers[number].name,)]


def test_the_note_says_that_the_derivative_falls() -> None:
    right = measurements(MUP_SGD, "sgd")
    (note,) = report_on(falling(right, -0.5), named("mup")).notes
    assert "falls like n^-1/2, as |f_0| does" in note
    assert report_on(falling(right, 0.0), named("mup")).notes == ()
    (unknown,) = report_on(right, named("mup")).notes
    assert "could not be measured" in unknown


def test_bounds_are_not_divided() -> None:
    right = judge_measurements(falling(measurements(MUP_SGD, "sgd"), 0.5), named("mup"))
    for key, sizes in right.sizes.items():
        same = power(sizes) == pytest.approx(power(right.measured[key]), nan_ok=True)
        assert same is (key[0] != "weight-update"), key
    assert np.isclose(power(right.signal), 0.5)
