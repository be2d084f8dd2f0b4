"""The limit of a program by Sobol' points: known moments, hand computations, laws, and what it refuses."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from sobol_limits import MANY, off, solved
from trained_programs import tanh_slope, training

from tpbench.programs import (
    Program,
    Scalar,
    Width,
    apply,
    constant,
    gaussian,
    gaussians,
    inner,
    matrix,
    moment,
    program,
)
from tpbench.programs.infinite import UnsuitedError, answers, limit, sobol


def semicircle() -> Program:
    """Moments of A = W + Wᵀ with entries of variance 1/n: xᵀ A^k x / n."""
    w = matrix("W", variance=Fraction(1, 2))
    a, x = w + w.T, gaussian("x")
    y = x
    found = {}
    for k in range(1, 7):
        y = a @ y
        found[f"m{k}"] = inner(x, y)
    return program(**found)


@pytest.mark.parametrize("derivatives", ["auto", "stein"])
def test_moments_of_the_semicircle_are_catalan_numbers(derivatives: str) -> None:
    found = solved(semicircle(), derivatives=derivatives).scalars
    for k, wanted in enumerate((0, 1, 0, 2, 0, 5), start=1):
        assert off(found[f"m{k}"], wanted) < MANY
        assert found[f"m{k}"].error < 0.02, "an error that large says nothing"


def test_semicircle_without_corrections_is_rejected() -> None:
    found = solved(semicircle(), transposes="independent").scalars
    assert found["m2"].mean == pytest.approx(0, abs=0.01), "independent matrices in place of A"
    assert off(found["m2"], 1) > 20


@pytest.mark.parametrize("derivatives", ["autograd", "stein"])
def test_correction_of_a_transpose_by_hand(derivatives: str) -> None:
    """Z^g = Ẑ + Z^x E φ'(Z^h) for g = Wᵀ φ(W x), x and h standard Gaussian; φ = sin has E φ' = e^(-1/2)."""
    x, w = gaussian("x"), matrix("W")
    g = w.T @ apply(torch.sin, w @ x)
    found = solved(program(xg=inner(x, g), gg=inner(g, g)), derivatives=derivatives).scalars
    assert off(found["xg"], math.exp(-0.5)) < MANY
    assert off(found["gg"], (1 - math.exp(-2)) / 2 + math.exp(-1)) < MANY
    assert max(value.error for value in found.values()) < 2e-3


def test_derivatives_do_not_depend_on_where_they_are_asked() -> None:
    x, w = gaussian("x"), matrix("W")
    p = program(xg=inner(x, w.T @ apply(torch.sin, w @ x)))
    wanted = solved(p).scalars
    with torch.no_grad():
        assert solved(p).scalars == wanted
    with torch.inference_mode():
        assert solved(p).scalars == wanted


def marchenko_pastur(ratio: Fraction, terms: int = 3) -> Program:
    w, x = matrix("W", rows=Width("rows", ratio)), gaussian("x")
    y, found = x, {}
    for k in range(1, terms + 1):
        y = w.T @ (w @ y)
        found[f"m{k}"] = inner(x, y)
    return program(**found)


@pytest.mark.parametrize("derivatives", ["autograd", "stein"])
@pytest.mark.parametrize("ratio", [Fraction(1, 3), Fraction(2)])
def test_moments_of_marchenko_pastur(ratio: Fraction, derivatives: str) -> None:
    """tr (WᵀW)^k / n, a polynomial in n_rows/n with Narayana numbers."""
    found = solved(marchenko_pastur(ratio), derivatives=derivatives).scalars
    r = float(ratio)
    for k, wanted in enumerate((r, r + r**2, r + 3 * r**2 + r**3), start=1):
        assert off(found[f"m{k}"], wanted) < MANY
        assert found[f"m{k}"].error < 5e-3 * wanted


def test_autograd_through_a_jump_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """x ∝ Wᵀ sign(W x): autograd sees a derivative of zero, E δ(h) = 1/√(2π) times 2 is true."""
    x, w = gaussian("x"), matrix("W")
    p = program(xg=inner(x, w.T @ apply(torch.sign, w @ x)))
    wanted = math.sqrt(2 / math.pi)
    assert off(solved(p).scalars["xg"], wanted) < MANY
    monkeypatch.setattr(sobol, "jumping", lambda call, seen: (False,) * len(seen.low))
    assert off(solved(p).scalars["xg"], wanted) < MANY  # however well a jump hides, the two roads differ
    with pytest.raises(UnsuitedError, match=r"differ from Stein's lemma.*derivatives=.stein."):
        solved(p, derivatives="autograd")
    monkeypatch.setattr(answers, "check_roads", lambda by_autograd, by_stein, points: None)
    assert off(solved(p).scalars["xg"], wanted) > 20


def test_linear_queries_have_linear_answers() -> None:
    """Vectors asked twice, and combinations of those asked before, bring no new Gaussian and no new derivative."""
    w, x, y = matrix("W"), gaussian("x"), gaussian("y")
    h = w @ x
    g = w.T @ apply(torch.tanh, h)
    a, b = apply(torch.tanh, g), apply(torch.sin, g + y)
    wa, again, twice = (w @ a).named("wa"), (w @ a).named("again"), (w @ (2 * a)).named("twice")
    wb, both = (w @ b).named("wb"), (w @ (a + b)).named("both")
    known = solved(program(wa, again, twice, wb, both), points=(64,), replicates=3).solved
    z = known.vectors[64]  # type: ignore[attr-defined]
    assert torch.equal(z["wa"], z["again"])
    torch.testing.assert_close(z["twice"], 2 * z["wa"], rtol=0, atol=1e-12)
    torch.testing.assert_close(z["both"], z["wa"] + z["wb"], rtol=0, atol=1e-12)
    assert float((z["wa"] - z["wb"]).abs().max()) > 0.1


def test_degenerate_initial_vectors() -> None:
    x, y, z = gaussians("x", "y", "z", covariance=[[1, 1, 0.5], [1, 1, 0.5], [0.5, 0.5, 2]], mean=[0, 1, 0])
    found = solved(program(xy=inner(x, y), xz=inner(x, z), zz=inner(z, z), one=inner(y - x, y - x))).scalars
    for name, wanted in (("xy", 1), ("xz", 0.5), ("zz", 2)):
        assert off(found[name], wanted) < MANY
    assert found["one"].mean == pytest.approx(1, abs=1e-12)
    assert found["one"].error < 1e-12


def test_correlated_queries() -> None:
    """E Z^{Wx} Z^{Wy} = σ² E Z^x Z^y, and matrices of one shape are independent."""
    x, y = gaussians("x", "y", covariance=[[1, Fraction(3, 5)], [Fraction(3, 5), 1]])
    v, w = matrix("V", variance=3), matrix("W", variance=2)
    found = solved(program(vv=inner(v @ x, v @ y), vw=inner(v @ x, w @ x), vx=inner(v @ x, x))).scalars
    assert off(found["vv"], 1.8) < MANY
    assert off(found["vw"], 0) < MANY
    assert off(found["vx"], 0) < MANY


def test_what_is_not_random_is_exact() -> None:
    two, gone = constant(2), constant(5, power=Fraction(-1, 2))
    x = gaussian("x", mean=3, variance=0)
    w = matrix("W")
    zero = w.T @ (w @ (x - x))
    found = solved(
        program(c=moment(lambda a, b: a**2 + b, two, gone), square=moment(x**2), zero=inner(zero, zero))
    ).scalars
    for name, wanted in (("c", 4), ("square", 9), ("zero", 0)):
        assert found[name].mean == pytest.approx(wanted, rel=1e-14, abs=0)
        assert found[name].error <= 1e-14 * wanted


@pytest.mark.parametrize("derivatives", ["auto", "stein"])
def test_chunks_of_replicates_give_the_same_numbers(derivatives: str, monkeypatch: pytest.MonkeyPatch) -> None:
    p = training(torch.tanh, tanh_slope, steps=1)
    together = solved(p, points=(64, 128), replicates=5, derivatives=derivatives).scalars
    monkeypatch.setattr(sobol, "NUMBERS_AT_ONCE", 1)
    alone = solved(p, points=(64, 128), replicates=5, derivatives=derivatives).scalars
    for name, value in together.items():
        assert value.mean == pytest.approx(alone[name].mean, abs=1e-11)
        assert value.error == pytest.approx(alone[name].error, abs=1e-11)


def test_seeds_and_numbers_of_points_are_independent() -> None:
    x = gaussian("x")
    p = program(moment(apply(torch.exp, x), name="e"))
    ends = [limit(p, method="sobol", points=(64,), replicates=4, seed=seed).scalars["e"].mean for seed in (0, 0, 1)]
    assert ends[0] == ends[1] != ends[2]
    known = limit(program(x), method="sobol", points=(64, 128), replicates=4).solved
    assert isinstance(known, sobol.Sampled)
    small, large = known.vectors[64]["x"], known.vectors[128]["x"]
    assert not torch.equal(large[:, :64], small), "the first points of one scramble are the points of a smaller number"


def test_errors_are_those_of_independent_runs() -> None:
    w, x = matrix("W"), gaussian("x")
    p = program(c=moment(apply(torch.tanh, w @ apply(torch.exp, x * 0.5) + x) ** 2))
    found = [limit(p, method="sobol", points=(64, 128, 256), replicates=16, seed=seed) for seed in range(40)]
    spread = np.std([each.scalars["c"].mean for each in found])
    told = np.sqrt(np.mean([each.scalars["c"].error ** 2 for each in found]))
    assert 0.7 < told / spread < 2.5


def test_expectation_over_outputs() -> None:
    x, w = gaussian("x"), matrix("W", variance=2)
    h = (w @ x).named("h")
    known = solved(program(x, h))
    assert not known.scalars
    found = known.expectation(lambda a, b: (a * b) ** 2, "x", "h")
    assert off(found, 2) < MANY
    assert found.error < 0.1
    with pytest.raises(UnsuitedError, match="the expectation of 'log' of x is not finite at"):
        known.expectation(torch.log, "x")


def logs() -> Scalar:
    return moment(apply(torch.log, gaussian("x"), name="y"))


def test_refusals() -> None:
    p = semicircle()
    with pytest.raises(ValueError, match="at least 2 replicates, got 1"):
        solved(p, replicates=1)
    with pytest.raises(ValueError, match="powers of two up to 2\\^30, got 1000: take 1024"):
        solved(p, points=(1000,))
    with pytest.raises(ValueError, match="give at least one"):
        solved(p, points=())
    with pytest.raises(UnsuitedError, match="'y' is not finite at 256 Sobol' points"):
        solved(program(c=logs()))
    with pytest.raises(UnsuitedError, match="independent vector number 4 of 'W', and 4 points"):
        solved(p, points=(4,))


def test_derivatives_that_are_not_finite_are_refused() -> None:
    x, w = gaussian("x"), matrix("W")
    y = apply(lambda h: (h * 0 + 1).abs() + torch.sqrt(h * 0), w @ x)
    p = program(c=inner(x, (w.T @ y).named("g")))
    with pytest.raises(UnsuitedError, match=r"'g' is not finite .* derivatives=\"stein\""):
        solved(p, derivatives="auto")
