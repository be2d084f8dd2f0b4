"""Laws of the optimizers: the abc shift of those that forget the gradient's size, and U Vᵀ of spectral descent."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from optimizer_cases import BASE, CPU, EVERY, MUP, Agree, Normal, build, task, trained
from plain_twin import polar

from tpbench.networks.factors import Optimizer
from tpbench.networks.optimizers import Adam, polar_factors
from tpbench.parametrization import Parametrization, Role


def moved(table: Parametrization, role: Role, theta: Fraction, rate: int) -> Parametrization:
    e = table.of(role)
    return table.replacing(role, a=e.a + theta, b=e.b - theta, c=e.c - rate * theta)


def follows(optimizer: Optimizer, role: Role, theta: Fraction) -> Optimizer:
    """Return the optimizer whose epsilon, and decay as torch couples it, follow a shifted gradient and rate."""
    if not isinstance(optimizer, Adam):
        return optimizer
    epsilon = dict(optimizer.epsilon_powers or {})
    epsilon[role] = epsilon.get(role, Fraction(0)) + theta
    if optimizer.decay_powers is None:
        return replace(optimizer, epsilon_powers=epsilon, base_width=BASE)
    decay = dict(optimizer.decay_powers)
    decay[role] = decay.get(role, Fraction(0)) + (1 if optimizer.decoupled else 2) * theta
    return replace(optimizer, epsilon_powers=epsilon, decay_powers=decay, base_width=BASE)


ADAPTIVE = [name for name in EVERY if name != "sgd"]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", ADAPTIVE)
def test_the_abc_shift_of_a_role_changes_no_trained_network(
    normal: Normal, agree: Agree, name: str, role: Role
) -> None:
    given, optimizer = task(normal), EVERY[name]
    expected = trained(build(), given, optimizer)
    for theta in (Fraction(-1, 2), Fraction(1, 3)):
        shifted = moved(MUP, role, theta, rate=1)
        agree(trained(build(table=shifted), given, follows(optimizer, role, theta)), expected, 1e-8)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", ADAPTIVE)
def test_the_shift_of_gradient_descent_is_another_network(normal: Normal, agree: Agree, name: str, role: Role) -> None:
    given, optimizer, theta = task(normal), EVERY[name], Fraction(1, 2)
    expected = trained(build(), given, optimizer)
    shifted = MUP.shifted(role, theta)
    with pytest.raises(AssertionError, match="differs by"):
        agree(trained(build(table=shifted), given, follows(optimizer, role, theta)), expected, 1e-8)


def test_an_epsilon_that_stays_behind_is_another_network(normal: Normal, agree: Agree) -> None:
    given, optimizer = task(normal), EVERY["adamw"]
    shifted = moved(MUP, Role.HIDDEN, Fraction(1, 2), rate=1)
    with pytest.raises(AssertionError, match="differs by"):
        agree(trained(build(table=shifted), given, optimizer), trained(build(), given, optimizer), 1e-8)


@pytest.mark.parametrize(("batch", "out", "into"), [(1, 6, 5), (3, 40, 7), (7, 4, 9), (4, 1, 9), (5, 8, 1)])
def test_the_polar_factor_has_singular_values_one(
    normal: Normal, agree: Agree, batch: int, out: int, into: int
) -> None:
    y, x = normal(2, batch, out), normal(2, batch, into, seed=1)
    u, v = polar_factors(y, x)
    whole = u.mT @ v
    rank = min(batch, out, into)
    values = torch.linalg.svdvals(whole)
    agree(values[:, :rank], torch.ones(2, rank, dtype=torch.float64, device=CPU), 1e-12)
    agree(values, torch.nn.functional.pad(values[:, :rank], (0, values.shape[1] - rank)), 1e-12)
    agree(whole, torch.stack([polar(g) for g in y.mT @ x]), 1e-11)


def test_ranks_may_differ_between_seeds_and_scale_does_not_matter(normal: Normal, agree: Agree) -> None:
    y, x = normal(4, 3, 8), normal(4, 3, 9, seed=1)
    y[1, 2] = y[1, 0] - 2 * y[1, 1]  # rank 2
    x[2, 1] = 0.0
    y[3] = 0.0
    u, v = polar_factors(y, x)
    ranks = (torch.linalg.svdvals(u.mT @ v) > 0.5).sum(-1)
    assert ranks.tolist() == [3, 2, 2, 0]
    agree(u.mT @ v, torch.stack([polar(g) for g in y.mT @ x]), 1e-11)
    small, same = polar_factors(1e-120 * y, 1e-20 * x)
    agree(small.mT @ same, u.mT @ v, 1e-11)


def test_a_seed_that_diverged_spoils_no_other(normal: Normal) -> None:
    y, x = normal(3, 2, 8), normal(3, 2, 9, seed=1)
    expected = torch.stack([polar(g) for g in y.mT @ x])
    y[1, 0, 3] = torch.inf
    u, v = polar_factors(y, x)
    whole = u.mT @ v
    assert whole[1].isnan().all()
    torch.testing.assert_close(whole[[0, 2]], expected[[0, 2]], rtol=0, atol=1e-12)
