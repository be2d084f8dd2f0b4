"""Under Adam a layer's own power is known from its settings: advice is exact, and following it mends the model."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction

import pytest
import torch
from models import RATE, STD, initialise, role
from nets import Batch, growth, sentences
from torch import Tensor, nn
from torch.nn import functional

from tpbench.bench.claim import Verdict
from tpbench.check import Report, check
from tpbench.check.fault import Cause, Finding

WIDTHS = (32, 64, 128, 256)
Powers = Mapping[str, float]
HIDDEN = ("blocks.0", "blocks.1", "blocks.2", "blocks.3")


class TiedResidual(nn.Module):
    """A residual network of tokens whose read-out is its embedding: faults of early layers spoil all later inputs."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(32, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(5))
        self.blocks = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(4))
        self.scale = scale

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for norm, block in zip(self.norms, self.blocks, strict=False):
            x = x + functional.gelu(block(norm(x)))
        return self.norms[-1](x) @ self.embed.weight.T * self.scale


def factory(
    rates: Powers, stds: Powers, readout: float = -1.0, decays: Powers | None = None
) -> Callable[[int], tuple[nn.Module, torch.optim.Optimizer, Batch]]:
    """Return a factory with powers of the width for each parameter in place of the right ones."""

    def build(width: int) -> tuple[nn.Module, torch.optim.Optimizer, Batch]:
        model = TiedResidual(width, growth(width, readout))
        initialise(model, width, stds)
        nn.init.normal_(model.embed.weight, std=0.1)
        groups = [
            {
                "params": [one],
                "lr": 0.003 * growth(width, rates.get(name, RATE["adam"][role(name)])),
                "weight_decay": 0.0 if decays is None or one.dim() < 2 else 0.1 * growth(width, decays.get(name, 0.0)),
            }
            for name, one in model.named_parameters()
        ]
        return model, torch.optim.AdamW(groups), sentences()

    return build


def checked(*powers: object) -> Report:
    return check(factory(*powers), "mup", widths=WIDTHS, seeds=3)  # type: ignore[arg-type]


def power_in(text: str, after: str) -> float:
    """Return the power of n that an advice names after some words."""
    found = re.search(re.escape(after) + r" n\^(-?\d+(?:/\d+)?)", text)
    assert found, text
    return float(Fraction(found[1]))


def of(report: Report, cause: Cause) -> Finding:
    (finding,) = (found for found in report.findings if found.cause is cause)
    return finding


CONSTANT = {f"{name}.weight": 0.0 for name in HIDDEN}


def test_hidden_rates_get_one_exact_advice_and_the_right_read_out_none() -> None:
    report = checked(CONSTANT, {})
    (finding,) = report.findings
    assert (finding.cause, finding.layers) == (Cause.LEARNING_RATE, HIDDEN)
    by = power_in(finding.fix, "multiply its learning rate by")
    assert by == power_in(finding.fix, "It has to go like") == -1
    mended = checked({name: power + by for name, power in CONSTANT.items()}, {})
    assert mended.verdict is not Verdict.REFUTED
    assert mended.findings == ()


@pytest.mark.parametrize("excess", [0.5, 1.0])
def test_every_fault_among_several_is_told_by_its_own_power(excess: float) -> None:
    """Rates, starts and a multiplier are off at once; applying each advice once mends all."""
    rates = {f"{name}.weight": excess - 1 for name in HIDDEN[:2]} | {f"{name}.weight": 0.0 for name in HIDDEN[2:]}
    stds = {f"{name}.weight": -0.25 for name in HIDDEN}
    report = checked(rates, stds, excess - 1)
    said = {
        layer: power_in(finding.fix, "multiply its learning rate by")
        for finding in report.findings
        if finding.cause is Cause.LEARNING_RATE
        for layer in finding.layers
    }
    assert said == dict.fromkeys(HIDDEN[:2], -excess) | dict.fromkeys(HIDDEN[2:], -1.0)
    start, multiplier = of(report, Cause.INITIALISATION), of(report, Cause.MULTIPLIER)
    assert (start.layers, multiplier.layers) == (HIDDEN, ("embed (2nd use)",))
    by = power_in(start.fix, "initial standard deviation by"), power_in(multiplier.fix, "by a further")
    assert by == (STD["hidden"] + 0.25, -excess)
    mended = checked(
        {f"{name}.weight": rates[f"{name}.weight"] + power for name, power in said.items()},
        {name: power + by[0] for name, power in stds.items()},
        excess - 1 + by[1],
    )
    assert mended.verdict is not Verdict.REFUTED
    assert mended.findings == ()


def test_a_rate_is_mended_together_with_its_decay() -> None:
    flat = {"embed.weight": 0.0}
    finding = of(checked(CONSTANT, {}, -1.0, flat), Cause.LEARNING_RATE)
    by = power_in(finding.fix, "Multiply its weight decay by")
    assert by == 1
    mended = {name: power - 1 for name, power in CONSTANT.items()}
    assert checked(mended, {}, -1.0, flat).verdict is Verdict.REFUTED  # the rate alone is half of the advice
    assert checked(mended, {}, -1.0, dict.fromkeys(CONSTANT, by)).verdict is not Verdict.REFUTED


class Written(nn.Module):
    """The multiplier n^power of the read-out at one of three places."""

    def __init__(self, width: int, where: str, power: float) -> None:
        super().__init__()
        self.fc1, self.readout = nn.Linear(16, width), nn.Linear(width, 8, bias=False)
        self.where, self.scale = where, growth(width, power)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x).relu()
        weight = self.readout.weight
        if self.where == "weight":
            return functional.linear(x, weight * self.scale)
        return self.readout(x * self.scale) if self.where == "input" else self.readout(x) * self.scale


@pytest.mark.parametrize("where", ["weight", "output"])
def test_a_multiplier_is_known_wherever_it_is_written(where: str) -> None:
    def build(width: int) -> tuple[nn.Module, torch.optim.Optimizer]:
        model = Written(width, where, -0.75)
        return model, torch.optim.Adam(model.parameters(), lr=0.001)

    layers = check(build, "mup", widths=(16, 32, 64), seeds=2).measurements.layers
    found = {layer.name: layer.multiplier for layer in layers}
    assert found["readout"] == pytest.approx(-0.75)
    assert found["fc1"] == found["fc1.bias"] == 0


def test_a_weight_that_is_no_multiple_of_its_parameter_has_no_known_multiplier() -> None:
    def build(width: int) -> tuple[nn.Module, torch.optim.Optimizer]:
        model = nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Linear(16, width)), nn.ReLU(), nn.Linear(width, 8)
        )
        return model, torch.optim.Adam(model.parameters(), lr=0.001)

    layers = check(build, "mup", widths=(16, 32, 64), seeds=2).measurements.layers
    found = {layer.name: layer.multiplier for layer in layers}
    assert math.isnan(next(value for name, value in found.items() if name.startswith("0.param")))
    assert found["2"] == 0
