"""Functions have to be continuous in the scalars at their limits, and expectations are of functions of coordinates."""

from __future__ import annotations

import pytest
import torch

from tpbench.programs import Program, apply, constant, gaussian, inner, limit, matrix, moment, program
from tpbench.programs.infinite import UnsuitedError

X = gaussian("x")
C, D = constant(1, power=-1), constant(2, power=-1)
MEAN, SQUARE = moment(X), moment(X * X)
JUMPS = {
    "sign of what vanishes": program(v=moment(lambda a, c: torch.sign(c * a) ** 2, X, C)),
    "sign of a mean": program(v=moment(lambda c: torch.sign(c), MEAN)),
    "step at a limit": program(v=moment(lambda c: (c > 1).double(), SQUARE)),
    "two that vanish": program(v=moment(lambda a, b: a / b, C, D)),
}
CONTINUOUS = {
    "root at 0": program(v=moment(lambda c: c.abs().sqrt(), MEAN)),
    "relu at 0": program(v=moment(lambda c: torch.relu(c), MEAN)),
    "norm": program(v=moment(torch.tanh, X / moment(lambda c: c.sqrt(), SQUARE))),
    "step of a vector": program(v=moment(lambda a, c: (a > c).double(), X, MEAN)),
    "sign away from 0": program(v=moment(lambda c: torch.sign(c), SQUARE)),
}


@pytest.mark.parametrize("asked", JUMPS.values(), ids=list(JUMPS))
@pytest.mark.parametrize("method", ["auto", "sobol"])
def test_a_function_that_jumps_at_the_limit_of_a_scalar_is_refused(asked: Program, method: str) -> None:
    """At every width these are other numbers than at the limits of their scalars."""
    with pytest.raises(UnsuitedError, match=r"not continuous in its scalars|not finite"):
        limit(asked, method=method)


@pytest.mark.parametrize("asked", CONTINUOUS.values(), ids=list(CONTINUOUS))
def test_a_function_that_is_continuous_there_is_not(asked: Program) -> None:
    assert limit(asked).scalars["v"].error < 0.05


def test_expectations_are_checked_and_fall_back() -> None:
    W = matrix("W")
    h = apply(torch.tanh, W @ X, name="h")
    found = limit(program(h, m=inner(h, h)))
    with pytest.raises(ValueError, match="mixes coordinates"):
        found.expectation(lambda a: a.mean() ** 2 + 0 * a, "h")
    with pytest.raises(ValueError, match="vector"):
        found.expectation(torch.tanh)
    value = found.expectation(lambda a: torch.floor(7 * a) * torch.floor(5 * a + 0.3), "h")
    draws = torch.randn(
        10**6, generator=torch.Generator(device="cpu").manual_seed(0), dtype=torch.float64, device="cpu"
    )
    tanh = torch.tanh(draws)
    drawn = torch.floor(7 * tanh) * torch.floor(5 * tanh + 0.3)
    assert abs(value.mean - float(drawn.mean())) < 5 * (value.error + float(drawn.std()) / 1e3)
