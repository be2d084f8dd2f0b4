"""The catalogue: every correct model passes, every broken one is refuted with the layer at fault and why."""

from __future__ import annotations

import re

import pytest
import torch
from broken import BROKEN, Broken
from models import MUP, OTHERS, RATE, REGRESSION, STD, Factory
from torch.nn import functional

from tpbench.bench.claim import Verdict
from tpbench.check import Report, assert_parametrization, check
from tpbench.check.diagnose import Cause
from tpbench.parametrization import Family, Parametrization, Role, Rule, named, with_maximal_rates

WIDTHS = (32, 64, 128, 256, 512)
SEEDS = 4


def checked(factory: Factory, table: str = "mup") -> Report:
    return check(factory, table, widths=WIDTHS, seeds=SEEDS)


def told(report: Report) -> str:
    """Return what a failing test shows: faults, and the refuted rows."""
    names = {layer.number: layer.name for layer in report.measurements.layers}
    rows = [
        f"{names[row.estimate.prediction.layer]} {row.estimate.prediction.quantity} "
        f"{row.estimate.value:.2f} for {row.estimate.prediction.predicted}"
        for row in report.refuted
    ]
    return "\n".join([*map(str, report.findings), *rows])


@pytest.mark.parametrize("factory", MUP.values(), ids=MUP.keys())
def test_a_correct_model_passes(factory: Factory) -> None:
    report = checked(factory)
    assert report.verdict is not Verdict.REFUTED, told(report)
    assert report.findings == ()
    assert report.counts[Verdict.SUPPORTED] >= 0.6 * len(report.judged)


@pytest.mark.parametrize("factory", REGRESSION.values(), ids=REGRESSION.keys())
def test_a_correct_model_whose_loss_derivative_falls_passes(factory: Factory) -> None:
    report = checked(factory)
    assert report.verdict is not Verdict.REFUTED, told(report)
    assert report.findings == ()
    assert any("derivative of the loss falls" in note for note in report.notes)


@pytest.mark.parametrize("table", OTHERS)
def test_a_model_of_another_table_follows_that_one(table: str) -> None:
    report = checked(OTHERS[table], table)
    assert report.verdict is not Verdict.REFUTED, told(report)
    assert report.counts[Verdict.SUPPORTED] >= 0.6 * len(report.judged)


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_model_is_refuted_and_the_culprit_named(broken: Broken) -> None:
    report = checked(broken.factory)
    assert report.verdict is Verdict.REFUTED
    first = report.findings[0]
    assert re.search(broken.culprit, first.layers[0]), told(report)
    assert first.cause is not Cause.UNKNOWN, told(report)
    assert re.search(broken.word, f"{first.cause} {first.why} {first.fix}", re.IGNORECASE), told(report)
    assert re.search(re.escape(broken.factor) + r"(?![\d/.])", first.fix), told(report)


def test_the_assertion_says_layer_and_cause() -> None:
    with pytest.raises(AssertionError, match=r"(?s)fc2.*learning rate"):
        assert_parametrization(BROKEN["hidden rate, adam"].factory, "mup", widths=WIDTHS, seeds=SEEDS)
    assert_parametrization(MUP["mlp adam"], "mup", widths=WIDTHS, seeds=SEEDS)


@pytest.mark.parametrize("family", RATE)
def test_the_tables_written_out_are_those_of_the_package(family: str) -> None:
    """A second road to the powers in ``models``: the gauge without multipliers of muP's table."""
    table = with_maximal_rates(named("mup"), 2, Rule(Family(family)))
    for role in (Role.INPUT, Role.HIDDEN, Role.OUTPUT):
        assert STD[role] == -_deviation(table, role)
        assert RATE[family][role] == -_rate(table, role, Rule(Family(family)))


def _deviation(table: Parametrization, role: Role) -> float:
    return float(table.of(role).a + table.of(role).b)


def _rate(table: Parametrization, role: Role, rule: Rule) -> float:
    return float(table.of(role).c + rule.law.gauge * table.of(role).a)


@pytest.mark.parametrize("factory", [*MUP.values(), *OTHERS.values()], ids=[*MUP, *OTHERS])
def test_a_correct_model_learns_at_every_width(factory: Factory) -> None:
    """Not refuted because nothing moves would prove nothing."""
    for width in (WIDTHS[0], WIDTHS[-1]):
        losses = _losses(factory, width)
        assert losses[-1] < losses[0]


def _losses(factory: Factory, width: int, steps: int = 4) -> list[float]:
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, optimizer, (inputs, targets) = factory(width)
        for _ in range(steps + 1):
            loss = functional.cross_entropy(model(inputs).flatten(0, -2), targets.flatten())
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return losses
