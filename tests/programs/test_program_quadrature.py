"""Limits by closed forms and quadrature: against fractions, Sobol' points, samples, and integrals known by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from limit_cases import (
    FEW,
    HALF,
    POLYNOMIAL,
    heaviside,
    relu,
    sign,
    step,
    tanh,
    there_and_back,
)
from torch import Tensor
from trained_programs import relu_slope, tanh_slope, training

from tpbench.programs import Program, apply, constant, gaussian, gaussians, inner, matrix, moment, program, sample
from tpbench.programs.infinite import UnsuitedError, Value, integrals, limit
from tpbench.programs.infinite.nodes import nodes

CPU = torch.device("cpu")


def solved(p: Program, **options: Any) -> Mapping[str, Value]:
    return limit(p, method="quadrature", **options).scalars


def close(one: Mapping[str, Value], other: Mapping[str, Value]) -> None:
    assert one.keys() == other.keys()
    assert one
    for name, value in one.items():
        assert value.mean == pytest.approx(other[name].mean, rel=1e-9, abs=1e-10), name


# --- nodes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3])
def test_nodes_integrate_polynomials_against_the_standard_gaussian(count: int) -> None:
    u, w = nodes(np.zeros((0, count + 1)), 9, 12)
    assert float(w.sum()) == pytest.approx(1, abs=1e-12)
    for powers, wanted in (((2, 4, 2), (1, 3, 1)), ((6, 2, 0), (15, 1, 1)), ((1, 2, 2), (0, 1, 1))):
        product = torch.ones_like(w)
        for row, power in zip(u, powers, strict=False):
            product = product * row**power
        assert float(w @ product) == pytest.approx(math.prod(wanted[:count]), abs=1e-9)


def test_panels_end_where_forms_vanish_and_where_two_of_them_meet() -> None:
    """P(a, b, c > 0) = 1/8 + (arcsin ρ_ab + arcsin ρ_ac + arcsin ρ_bc)/(4π): three planes through space."""
    covariance = np.array([[1.0, 0.5, -0.3], [0.5, 2.0, 0.4], [-0.3, 0.4, 1.0]])
    a, b, c = gaussians("a", "b", "c", covariance=covariance.tolist())
    made = program(orthant=moment(heaviside(a) * heaviside(b) * heaviside(c)))
    norm = np.sqrt(np.diag(covariance))
    rho = covariance / np.outer(norm, norm)
    wanted = 0.125 + sum(math.asin(rho[i, j]) for i, j in ((0, 1), (0, 2), (1, 2))) / (4 * math.pi)
    found = solved(made)["orthant"]
    assert found.mean == pytest.approx(wanted, rel=1e-9)
    u, w = nodes(np.zeros((0, 4)), 9, 12)
    x = torch.as_tensor(np.linalg.cholesky(covariance), device=CPU) @ u
    blind = float(w @ (x > 0).all(dim=0).to(torch.float64))
    assert abs(blind - wanted) > 1e-5  # without the panels that end there


def test_shifted_kinks_are_met() -> None:
    """E relu(a − 1/2) relu(b + 1/4) with correlation 0.6, against the same by a long iterated sum."""
    a, b = gaussians("a", "b", covariance=[[1, 0.6], [0.6, 1]])
    found = solved(program(c=moment(relu(a - HALF) * relu(b + 0.25))))["c"]
    at, share = np.polynomial.legendre.leggauss(200)
    u, w = 4.75 * at + 5.25, 4.75 * share  # a in (1/2, 10)
    s, m = 0.8, 0.6 * u + 0.25
    tail = np.array([0.5 * math.erfc(-x / s / math.sqrt(2)) for x in m])
    inside = m * tail + s * np.exp(-((m / s) ** 2) / 2) / math.sqrt(2 * math.pi)
    wanted = float(np.sum(w * (u - 0.5) * inside * np.exp(-(u**2) / 2)) / math.sqrt(2 * math.pi))
    assert found.mean == pytest.approx(wanted, rel=1e-10)
    assert found.error < 1e-9


# --- three roads -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", POLYNOMIAL)
def test_polynomial_programs_have_the_limits_of_fractions(name: str) -> None:
    made = POLYNOMIAL[name]()
    exactly, found = limit(made, method="exact").scalars, solved(made)
    close(found, exactly)
    for key, value in found.items():
        assert abs(value.mean - exactly[key].mean) <= 10 * value.error + 1e-12 * abs(value.mean), key


@pytest.mark.parametrize("name", FEW)
def test_other_programs_agree_with_sobol_points_and_with_sampling(name: str) -> None:
    made, n, seeds = FEW[name](), 2**14, 8
    found, near = solved(made), limit(made, method="sobol", replicates=32).scalars
    values = sample(made, n, seeds, weights="lazy")
    for key, value in found.items():
        assert abs(value.mean - near[key].mean) < 5 * near[key].error + 1e-9, key
        error = float(values[key].std()) / seeds**0.5
        assert abs(float(values[key].mean()) - value.mean) < 8 * error + 40 / n, key
        assert value.error < 1e-8


@pytest.mark.parametrize("name", ["tanh there and back", "layer norm", "relu there and back"])
def test_autograd_and_stein_are_one(name: str) -> None:
    made = FEW[name]()
    close(solved(made, derivatives="autograd"), solved(made, derivatives="stein"))


def test_jumps_need_steins_road_which_is_the_automatic_one() -> None:
    """Autograd sees sign' = 0 and would forget Ż = σ² E sign'(h) v = σ² sqrt(2/π)/σ v."""
    made = there_and_back(sign, variance=2)
    assert solved(made)["vy"].mean == pytest.approx(2 * math.sqrt(2 / math.pi) / math.sqrt(2) / 2, rel=1e-9)
    with pytest.raises(UnsuitedError, match="by autograd and by Stein's lemma differ"):
        solved(made, derivatives="autograd")


@pytest.mark.parametrize("name", ["relu there and back", "erf there and back"])
def test_closed_forms_are_the_integrals(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = solved(FEW[name]())
    monkeypatch.setattr(integrals, "CLOSED", {})
    close(solved(FEW[name]()), closed)


@pytest.mark.parametrize(("phi", "slope"), [(torch.erf, None), (torch.relu, relu_slope), (torch.tanh, tanh_slope)])
def test_networks_on_two_inputs_before_training(phi: Callable[[Tensor], Tensor], slope: Any) -> None:
    """Outputs are Gaussian with the kernel of the last hidden layer; six directions that fall apart in pairs."""
    made = training(phi, slope or torch.cos, steps=0)
    assert solved(made)["f0_0"].mean == pytest.approx(0, abs=1e-12)


# --- how functions fall apart ------------------------------------------------------------------------------------


def test_independent_factors_are_integrated_alone() -> None:
    xs = gaussians(*(f"x{i}" for i in range(6)))
    product: Any = constant(1)
    for x in xs:
        product = product * apply(torch.exp, x)
    assert solved(program(c=moment(product)))["c"].mean == pytest.approx(math.exp(3), rel=1e-10)


def test_a_function_of_two_vectors_is_taken_apart_where_it_is_written_in_torch() -> None:
    """tanh(h) g of four pairs is eight directions as a whole and one at a time in parts."""
    hs, gs = gaussians(*(f"h{i}" for i in range(4))), gaussians(*(f"g{i}" for i in range(4)))

    def product(*arguments: Tensor) -> Tensor:
        total = torch.ones_like(arguments[0])
        for h, g in zip(arguments[:4], arguments[4:], strict=True):
            total = total * torch.tanh(h) ** 2 * torch.square(g)
        return total

    single = solved(program(c=moment(tanh(hs[0]) ** 2)))["c"].mean
    assert solved(program(c=moment(product, *hs, *gs)))["c"].mean == pytest.approx(single**4, rel=1e-10)


def test_gaussian_factors_beside_a_function_are_integrated_by_isserlis() -> None:
    """E tanh(a) b c d with all correlated: Stein three times over; second road on the same as one function."""
    covariance = [[1, 0.5, 0.3, 0.2], [0.5, 1, 0.1, 0.4], [0.3, 0.1, 1, 0.2], [0.2, 0.4, 0.2, 1]]
    a, b, c, d = gaussians("a", "b", "c", "d", covariance=covariance)
    found = solved(program(z=moment(tanh(a) * b * c * d)))["z"].mean
    at, share = np.polynomial.hermite_e.hermegauss(120)
    weight, first, third = share / math.sqrt(2 * math.pi), 0.0, 0.0
    first = float(weight @ (np.tanh(at) * at))
    third = float(weight @ (np.tanh(at) * at**3))
    r = {i: covariance[0][i] for i in (1, 2, 3)}
    rest = {(i, j): covariance[i][j] - r[i] * r[j] for i, j in ((1, 2), (1, 3), (2, 3))}
    wanted = r[1] * r[2] * r[3] * third + first * (r[1] * rest[2, 3] + r[2] * rest[1, 3] + r[3] * rest[1, 2])
    assert found == pytest.approx(wanted, rel=1e-7)


def test_scalars_reach_functions_as_tensors() -> None:
    x = gaussian("x")
    c = inner(x, x)
    made = program(a=moment(lambda v, s: torch.where(v > 0, v * torch.sqrt(s), 0.0 * v), x, c), b=moment(torch.sqrt, c))
    found = solved(made)
    assert found["a"].mean == pytest.approx(1 / math.sqrt(2 * math.pi), rel=1e-12)
    assert found["b"].mean == pytest.approx(1, rel=1e-12)


def test_expectations_over_outputs() -> None:
    x = gaussian("x")
    h = matrix("W", variance=2) @ relu(x)
    found = limit(program(h=h, x=x), method="quadrature")
    assert found.expectation(torch.relu, "h").mean == pytest.approx(1 / math.sqrt(2 * math.pi), rel=1e-12)
    assert found.expectation(lambda a, b: a**2 * b**2, "h", "x").mean == pytest.approx(1, rel=1e-12)
    with pytest.raises(UnsuitedError, match="expectation of 'f'"):
        found.expectation(lambda z: torch.clamp(z, -0.37, 1.1), "h")


def test_small_steps_are_not_lost_beside_what_they_start_from() -> None:
    """A direction of size 1e-8 has a square of 1e-16 beside 1, and still its Ż, and its share of what comes back."""
    rate = Fraction(1, 10**8)
    made = step(lambda h: h, lambda h: 0 * h + 1, rate)
    assert solved(made)["moved"].mean == pytest.approx(5e-16, rel=1e-9)
    assert solved(made)["f1"].mean == pytest.approx(3e-8, rel=1e-9)
    curved = [solved(step(tanh, lambda h: 1 - tanh(h) ** 2, r))["f1"].mean for r in (rate, rate / 100)]
    assert curved[0] == pytest.approx(100 * curved[1], rel=1e-6)


def test_vectors_that_depend_on_each_other_in_law_alone_are_one_direction() -> None:
    """relu(h) − relu(−h) = h, which no algebra sees: the gap is within the stated error."""
    h, w = gaussian("h"), matrix("W")
    one, other = w @ h, w @ (relu(h) - relu(-h))
    back = w.T @ tanh(other)
    found = solved(program(gap=moment((one - other) ** 2), back=inner(back, h), slope=moment(1 - tanh(one) ** 2)))
    assert abs(found["gap"].mean) <= found["gap"].error < 1e-5
    assert abs(found["back"].mean - found["slope"].mean) <= found["back"].error + 1e-9


# --- what is refused ---------------------------------------------------------------------------------------------


def test_four_directions_are_refused_by_name() -> None:
    a, b, c, d = gaussians("a", "b", "c", "d", covariance=(np.eye(4) + 0.1).tolist())
    with pytest.raises(UnsuitedError, match=r"quadrature: 'z'.*4 Gaussian directions"):
        solved(program(z=moment(tanh(a) * tanh(b) * tanh(c) * tanh(d))))


def test_kinks_in_unknown_places_are_refused_and_not_smoothed() -> None:
    h, g = gaussians("h", "g", covariance=[[1, HALF], [HALF, 1]])
    clamp = apply(lambda z: torch.clamp(z, -1.03, 1.03), h)
    with pytest.raises(UnsuitedError, match=r"'c'.*two orders"):
        solved(program(c=moment(clamp * tanh(g))))


def test_auto_says_why_the_methods_before_it_could_not() -> None:
    found = limit(there_and_back(tanh))
    assert found.method == "quadrature"
    assert "tanh" in found.refused["exact"]


# --- faults ------------------------------------------------------------------------------------------------------


def test_forgetting_the_transposes_changes_a_step_of_training() -> None:
    made = step(tanh, lambda h: 1 - tanh(h) ** 2, HALF)
    assert abs(solved(made)["f1"].mean - solved(made, transposes="independent")["f1"].mean) > 1e-2


def test_errors_cover_a_coarse_ladder(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a coarse ladder that still passes, the stated error covers the gap to the fine one."""
    h = gaussian("h", variance=4)
    made = program(c=moment(tanh(h) * tanh(h) * h * h))
    fine = solved(made)["c"]
    monkeypatch.setattr(integrals, "AGREE", 1.0)
    monkeypatch.setattr(integrals, "LADDERS", (((1, 1),), ((5, 5), (7, 6))))
    coarse = solved(made)["c"]
    assert 1e-9 < abs(coarse.mean - fine.mean) <= coarse.error
