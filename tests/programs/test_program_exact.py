"""Limits in fractions: Isserlis and its derivatives, what is refused, and laws that any limit has."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, cast

import numpy as np
import pytest
import torch
from limit_cases import HALF, POLYNOMIAL, M, square, there_and_back, walk

from tpbench.programs import (
    Program,
    apply,
    constant,
    gaussian,
    gaussians,
    inner,
    matrix,
    moment,
    program,
    sample,
)
from tpbench.programs.infinite import UnsuitedError, exact, limit, polynomial
from tpbench.programs.infinite.isserlis import mean, mean_derivatives, mean_product
from tpbench.programs.infinite.polynomial import Polynomial, number, rational, variable

MANY = 4.8
"""Standard errors that count as a difference."""


def solved(p: Program, **options: Any) -> Mapping[str, Fraction]:
    found = {name: value.exact for name, value in limit(p, method="exact", **options).scalars.items()}
    return {name: value for name, value in found.items() if value is not None}


def some_polynomial(seed: int, variables: int = 3) -> Polynomial:
    draw = random.Random(seed)
    total = number(draw.randint(-3, 3))
    for _ in range(6):
        term = number(Fraction(draw.randint(-5, 5), draw.randint(1, 4)))
        for _ in range(draw.randint(1, 4)):
            term = term * variable(draw.randrange(variables))
        total = total + term
    return total


def at(p: Polynomial, values: tuple[Fraction, ...]) -> Fraction:
    return sum((c * math.prod(values[i] ** k for i, k in m) for m, c in p.terms.items()), Fraction(0))


# --- polynomials and their expectations --------------------------------------------------------------------------


def test_operators_and_torch_functions_mean_for_polynomials_what_they_mean_for_numbers() -> None:
    values, functions = (Fraction(2, 3), Fraction(-5, 2), Fraction(3)), cast(Any, torch)
    for seed in range(6):
        p, q = some_polynomial(seed), some_polynomial(seed + 50)
        a, b = at(p, values), at(q, values)
        for found, wanted in (
            (p + q, a + b),
            (p - q, a - b),
            (p * q, a * b),
            (2 - p, 2 - a),
            (p / 7 - 0.5, a / 7 - HALF),
            (-p, -a),
            (p**3, a**3),
            (p**0, 1),
            (functions.square(p), a * a),
            (functions.mul(p, 3), 3 * a),
            (functions.sub(p, q), a - b),
            (functions.pow(p, 2), a * a),
        ):
            assert at(found, values) == wanted


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x > 0,
        lambda x: x == 0,
        lambda x: x != 0,
        abs,
        lambda x: 1 / x,
        lambda x: 2**x,
        lambda x: x**0.5,
        lambda x: x**-1,
        lambda x: x % 2,
        torch.relu,
        torch.tanh,
        lambda x: x.clamp(min=0),
        lambda x: x if x else 1,
        lambda x: torch.where(x > 0, x, 0.0),
        np.sqrt,
        max,
        lambda x: x * torch.ones(1, dtype=torch.float64, device="cpu"),
    ],
)
def test_whatever_is_no_polynomial_is_refused_and_not_guessed(call: Callable[[Any], Any]) -> None:
    with pytest.raises((TypeError, AttributeError)):
        call(variable(0) + 1)


def test_isserlis_against_the_tensor_product_of_gauss_hermite() -> None:
    """Second road: nodes that are exact for these degrees."""
    variances = [Fraction(1, 2), Fraction(2), Fraction(3)]
    u, w = np.polynomial.hermite_e.hermegauss(8)
    w = w / w.sum()
    for seed in range(5):
        p, q = some_polynomial(seed), some_polynomial(seed + 90)
        for made, found in ((p, mean(p, variances)), (p * q, mean_product(p, q, variances))):
            wanted = 0.0
            for places in itertools.product(range(8), repeat=3):
                xs = [float(v) ** 0.5 * u[i] for v, i in zip(variances, places, strict=True)]
                value = sum(float(c) * math.prod(xs[i] ** k for i, k in m) for m, c in made.terms.items())
                wanted += math.prod(w[i] for i in places) * value
            assert float(found) == pytest.approx(wanted, rel=1e-11, abs=1e-9)


def test_mean_derivatives_are_steins() -> None:
    """E ∂p/∂ξ = E ξ p / E ξ²."""
    variances = [Fraction(1, 2), Fraction(2), Fraction(3)]
    for seed in range(12):
        p = some_polynomial(seed)
        slopes = mean_derivatives(p, variances)
        for index in range(3):
            stein = mean(variable(index) * p, variances) / variances[index]
            assert slopes.get(index, 0) == stein
    assert any(mean_derivatives(some_polynomial(seed), variances) for seed in range(12))


def test_correlated_vectors_with_means_have_the_moments_of_their_covariance() -> None:
    """Isserlis by hand: E a² b² = E a² E b² + 2 (E a b)² for means 0, and E (a + μ)³ = 3 μ E a² + μ³."""
    covariance: list[list[int | Fraction]] = [[2, HALF, 1], [HALF, 1, Fraction(1, 3)], [1, Fraction(1, 3), 1]]
    a, b, c = gaussians("a", "b", "c", covariance=covariance)
    d = gaussian("d", mean=Fraction(1, 2), variance=3)
    found = solved(program(ab=moment(a**2 * b**2), abc=moment(a**2 * b * c), third=moment(d**3), odd=moment(a * b * c)))
    assert found["ab"] == 2 * 1 + 2 * HALF**2
    assert found["abc"] == 2 * Fraction(1, 3) + 2 * HALF * 1
    assert found["third"] == 3 * HALF * 3 + HALF**3
    assert found["odd"] == 0


def test_singular_covariances_are_exact_and_indefinite_ones_are_refused() -> None:
    third = Fraction(1, 3)
    x, y, z = gaussians("x", "y", "z", covariance=[[1, third, 0], [third, third**2, 0], [0, 0, 0]])
    assert solved(program(gap=moment((x - 3 * y) ** 2), zz=moment(z * z), fourth=moment(y**4))) == {
        "gap": 0,
        "zz": 0,
        "fourth": 3 * third**4,
    }
    just = Fraction(1) + Fraction(1, 10**12)  # an eigenvalue of -1e-12, which floats forgive
    p, q = gaussians("p", "q", covariance=[[1, just], [just, 1]])
    with pytest.raises(UnsuitedError, match=r"'p'.*positive semidefinite"):
        solved(program(c=moment(p * q)))


# --- what is refused ---------------------------------------------------------------------------------------------


def test_a_refusal_names_the_binding_and_the_function() -> None:
    h = gaussian("h")
    with pytest.raises(UnsuitedError, match=r"exact: 'bent'.*'relu'"):
        solved(program(c=moment(apply(torch.relu, h, name="bent"))))
    with pytest.raises(UnsuitedError, match=r"'c'.*'f'"):
        solved(program(c=moment(lambda x: torch.where(x > 0, x, -x), h)))


def test_decimals_are_refused_with_the_remedy_unless_they_are_what_they_look_like() -> None:
    x = gaussian("x")
    assert solved(program(c=moment((0.5 * x) ** 2))) == {"c": Fraction(1, 4)}
    assert solved(program(c=moment((Fraction(1, 10) * x) ** 2))) == {"c": Fraction(1, 100)}
    for made in (
        program(c=moment(0.1 * x * x)),
        program(c=moment(gaussian("y", variance=0.1))),
        program(c=inner(matrix("W", variance=0.1) @ x, x)),
        program(c=inner(x * constant(0.1), x)),
    ):
        with pytest.raises(UnsuitedError, match=r"Fraction\('0.1'\)"):
            solved(made)
    assert rational(3) == 3
    with pytest.raises(TypeError):
        rational(float("nan"))


def test_scalars_that_meet_decimals_are_not_rounded() -> None:
    """A fraction plus a float is a float: 1 + 1e-30 would be 1."""
    tiny = Fraction(1, 10**30)
    s = constant(tiny)
    made = program(a=s + 1.0, b=moment(lambda c: 2.0 * c - 0.5, s), c=moment(lambda c: 0.5 / c, s), d=s * s)
    assert solved(made) == {"a": 1 + tiny, "b": 2 * tiny - HALF, "c": 1 / (2 * tiny), "d": tiny**2}


def test_polynomials_that_grow_too_large_are_refused_by_name_and_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    xs = gaussians(*(f"x{i}" for i in range(12)))
    total = sum(xs[1:], xs[0])
    start = time.perf_counter()
    with pytest.raises(UnsuitedError, match=r"'x\d+'.*more than 5000"):
        solved(program(large=moment(total**9)))
    assert time.perf_counter() - start < 20
    monkeypatch.setattr(polynomial, "TERMS", 10)
    with pytest.raises(UnsuitedError, match="terms, more than 10"):
        solved(program(large=moment(total**2)))
    monkeypatch.setattr(polynomial, "BITS", 8)
    with pytest.raises(UnsuitedError, match="more than 8 bits"):
        solved(program(large=moment((1000 * xs[0]) ** 2)))


def test_scalars_that_vanish_with_n_vanish_and_division_by_them_is_refused() -> None:
    x, small = gaussian("x"), constant(5, power=-HALF)
    assert solved(program(c=moment(x * x + small * x * x))) == {"c": 1}
    with pytest.raises(UnsuitedError, match="'c'"):
        solved(program(c=moment(lambda s: 1 / s, small)))


# --- expectations over outputs -----------------------------------------------------------------------------------


def test_expectations_are_exact_for_polynomials_and_by_quadrature_for_others() -> None:
    x, w = gaussian("x"), matrix("W", variance=2)
    h = w @ (x + w.T @ x)
    found = limit(program(h=h), method="exact")
    square_of = found.expectation(lambda z: z * z, "h")
    assert square_of.exact == 2 * (1 + 2) + 4  # Ẑ has 2 E (x + Wᵀx)², Ż = 2 x
    bent = found.expectation(torch.relu, "h")
    assert bent.exact is None
    assert bent.mean == pytest.approx(math.sqrt(10 / (2 * math.pi)), rel=1e-12)
    with pytest.raises(ValueError, match="no vector"):
        found.expectation(torch.relu, "x")


# --- laws --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", POLYNOMIAL)
def test_polynomial_programs_agree_with_sampling(name: str) -> None:
    """At n = 2^15, with lazy matrices, within what the seeds say and a correction of order 1/n."""
    made = POLYNOMIAL[name]()
    n, seeds = 2**15, 8
    values, wanted = sample(made, n, seeds, weights="lazy"), solved(made)
    assert wanted
    for key, exactly in wanted.items():
        found = values[key]
        error = float(found.std()) / seeds**0.5
        allowed = 8 * error + 100 * abs(float(exactly)) / n + 1e-12  # the error itself is known from 8 seeds
        assert abs(float(found.mean()) - float(exactly)) < allowed, key


def test_dense_matrices_at_small_width_agree_up_to_one_over_n() -> None:
    made, n, seeds = walk(2), 96, 500
    values, wanted = sample(made, n, seeds), solved(made)
    for key, exactly in wanted.items():
        error = float(values[key].std()) / seeds**0.5
        assert abs(float(values[key].mean()) - float(exactly)) < MANY * error + 6 / n, key


def test_a_symmetric_walk_has_even_moments_only_and_scales_with_the_standard_deviation() -> None:
    one, four = solved(walk(3)), solved(walk(3, variance=2 * Fraction(1)))
    for k in range(1, 7):
        assert four[f"m{k}"] == 2**k * one[f"m{k}"]
        assert (one[f"m{k}"] == 0) == (k % 2 == 1)


def test_long_walks_take_no_time() -> None:
    start = time.perf_counter()
    found = solved(walk(8))
    assert time.perf_counter() - start < 5
    assert found["m16"] == math.comb(16, 8) // 9


def test_a_square_matrix_and_its_transpose_have_one_law() -> None:
    """Swapping W and Wᵀ everywhere changes nothing at square widths, and something at others."""

    def made(flip: bool, **shape: Any) -> Mapping[str, Fraction]:
        w = matrix("W", variance=Fraction(3, 2), **shape)
        w = w.T if flip else w
        x = gaussian("x", mean=1)
        h = w.T @ (w @ x) + x
        back = w.T @ (w @ (h * h) + w @ x)
        return solved(program(a=inner(back, back), b=inner(h, back), c=moment(back**3)))

    assert made(False) == made(True)


def test_names_and_the_order_of_independent_lines_do_not_matter() -> None:
    def made(order: tuple[int, int]) -> Fraction:
        w = matrix("W")
        pair = gaussians("x", "y")
        x, y = (pair[i] for i in order)
        first = w @ (x * x)
        second = w @ (x * y + x)
        back = w.T @ (first * second + second)
        return solved(program(c=inner(back, back * back + x)))["c"]

    assert made((0, 1)) == made((1, 0)) != 0


def test_products_are_linear() -> None:
    """W(a x + b y) = a W x + b W y, in the limit as at every width: the gap is 0 exactly, also among other products."""
    x, y = gaussians("x", "y", covariance=[[1, HALF], [HALF, 1]])
    w = matrix("W", rows=M)
    back = w.T @ (w @ x + (w @ y) ** 2)
    whole = w @ (3 * x * y - Fraction(2, 5) * back)
    parts = 3 * (w @ (x * y)) - Fraction(2, 5) * (w @ back)
    other = w.T @ (whole - parts)
    found = solved(program(a=moment((whole - parts) ** 2), b=inner(other, other), c=inner(whole, whole)))
    assert found["a"] == found["b"] == 0
    assert found["c"] > 0


def test_inner_products_move_matrices_across() -> None:
    """⟨y, W x⟩ n_rows = ⟨Wᵀ y, x⟩ n_columns, at infinite width too: it ties Ẑ and Ż of both sides."""
    x = gaussian("x", mean=HALF)
    y = gaussian("y", mean=1, width=M)
    w = matrix("W", rows=M, variance=3)
    u = w.T @ ((w @ x) ** 2 * y + y)
    z = w @ (u * x + x * x)
    g = w.T @ (z * y)
    found = solved(program(left=inner(z * y, w @ (u * x)), right=inner(g, u * x), size=inner(u, u)))
    assert found["left"] * M.ratio == found["right"] != 0


def test_forgetting_the_transposes_changes_the_numbers_where_there_are_both() -> None:
    both, forgotten = solved(walk(2)), solved(walk(2), transposes="independent")
    assert both["m4"] == 2
    assert forgotten["m4"] == 1
    only = program(c=inner(matrix("V") @ gaussian("x"), gaussian("y")))
    assert solved(only) == solved(only, transposes="independent")


def test_a_wrong_constant_for_rectangular_matrices_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: Ẑ of a transpose without n_rows/n_columns."""
    wanted = solved(there_and_back(square))
    true_hat = exact._hat
    monkeypatch.setattr(exact, "_hat", lambda run, side, x, scale: true_hat(run, side, x, Fraction(2)))
    assert solved(there_and_back(square)) != wanted


def test_moments_are_values_with_a_fraction_and_no_error() -> None:
    value = limit(there_and_back(square), method="exact").scalars["yy"]
    assert value.exact == value.mean == 12
    assert value.error == 0
