"""Computations that are done by hand in the papers on Tensor Programs, or in their manner, as programs.

TP I: Yang 2019, arXiv:1910.12478. TP II: Yang 2020, arXiv:2006.14548. TP III: Yang 2020, arXiv:2009.10685.
TP IV: Yang & Hu 2021, arXiv:2011.14522. Each is solved by fractions or quadrature, and measured at finite width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from limit_cases import HALF, covariance_walk, erf, heaviside, relu, square, step, tanh, walk

from tpbench.limits.kernels import kernels
from tpbench.limits.mup import linear_mup_limit
from tpbench.programs import (
    Program,
    Scalar,
    Vector,
    Width,
    apply,
    combination,
    gaussian,
    gaussians,
    inner,
    matrix,
    moment,
    program,
    sample,
)
from tpbench.programs.infinite import exact, isserlis, limit

CPU = torch.device("cpu")
X = torch.tensor([[1.0, -0.5, 0.25], [0.5, 2.0, -1.0]], dtype=torch.float64, device=CPU)


def exactly(p: Program, **options: Any) -> Mapping[str, Fraction | None]:
    return {name: value.exact for name, value in limit(p, method="exact", **options).scalars.items()}


def measured(p: Program, wanted: Mapping[str, Any], *, dense: bool = True) -> None:
    """Assert that lazy matrices at n = 2^15, and dense ones at n = 128, have the limit up to O(1/n) and noise.

    The noise is known from few seeds with lazy matrices, hence the large factor there.
    """
    runs = [(2**15, 8, "lazy", 8.0)] + ([(128, 200, "dense", 5.0)] if dense else [])
    for n, seeds, weights, many in runs:
        values = sample(p, n, seeds, weights=weights)
        for name, limit_value in wanted.items():
            error = float(values[name].std()) / seeds**0.5
            gap = abs(float(values[name].mean()) - float(limit_value))
            assert gap < many * error + 12 * max(1.0, abs(float(limit_value))) / n, (name, weights)


# --- TP I and TP II: kernels -------------------------------------------------------------------------------------


def erf_slope(h: Vector) -> Vector:
    return apply(lambda z: 2 / math.sqrt(math.pi) * torch.exp(-z.square()), h)


def two_layers(phi: Callable[[Vector], Vector], slope: Callable[[Vector], Vector], sigma: float) -> Program:
    """Every inner product that NNGP and NTK of two inputs are made of; h_1 = σ U x/sqrt(d), h_2 = σ W φ(h_1)."""
    columns, v = gaussians("u0", "u1", "u2"), gaussian("v")
    w, d = matrix("W", variance=sigma**2), X.shape[1]
    h1 = [combination([(sigma / math.sqrt(d) * float(x), u) for x, u in zip(row, columns, strict=True)]) for row in X]
    x1 = [phi(h) for h in h1]
    h2 = [w @ x for x in x1]
    x2 = [phi(h) for h in h2]
    d2 = [v * slope(h) for h in h2]
    d1 = [(w.T @ e) * slope(h) for e, h in zip(d2, h1, strict=True)]
    out = {}
    for a, b in ((0, 0), (0, 1), (1, 1)):
        for name, pair in (("x1_", x1), ("x2_", x2), ("d2_", d2), ("d1_", d1)):
            out[f"{name}{a}{b}"] = inner(pair[a], pair[b])
    return program(**out)


@pytest.mark.parametrize(
    ("activation", "phi", "slope"), [("relu", relu, heaviside), ("erf", erf, erf_slope)], ids=["relu", "erf"]
)
def test_kernels_of_two_hidden_layers(
    activation: str, phi: Callable[[Vector], Vector], slope: Callable[[Vector], Vector]
) -> None:
    """TP I: NNGP K = σ² E φ(Z^{h2}) φ(Z^{h2'}). TP II: NTK Θ = Σ_l σ² E Z^{x_{l-1}} Z^{x'_{l-1}} E Z^{dh_l} Z^{dh'_l}.

    Against the recursion over layers, which assumes gradient independence; the program does not, and finds every Ż
    to be 0, since the read-out v is independent of the rest and has mean 0.
    """
    sigma = 1.3
    made = two_layers(phi, slope, sigma)
    found = {name: value.mean for name, value in limit(made, method="quadrature").scalars.items()}
    known = kernels(X, depth=2, activation=activation, sigma_w=sigma)
    for a, b in ((0, 0), (0, 1), (1, 1)):
        x0 = float(X[a] @ X[b]) / X.shape[1]
        one, two, back2, back1 = (found[f"{name}{a}{b}"] for name in ("x1_", "x2_", "d2_", "d1_"))
        # found["d1"] has the σ² of Wᵀ in it; the read-out's σ² is in every term.
        assert sigma**2 * two == pytest.approx(float(known.nngp[a, b]), rel=1e-9)
        tangent = sigma**2 * (two + sigma**2 * back2 * one + sigma**2 * back1 * x0)
        assert tangent == pytest.approx(float(known.ntk[a, b]), rel=1e-9)
    measured(made, found)
    independent = limit(made, method="quadrature", transposes="independent").scalars
    assert all(independent[name].mean == pytest.approx(value, rel=1e-12) for name, value in found.items())


def test_recurrent_network_with_tied_weights() -> None:
    """TP I: h_t = W φ(h_{t-1}) + u ξ_t with one W: E Z^{h_t} Z^{h_s} = σ² E φ(Z^{h_{t-1}}) φ(Z^{h_{s-1}}) + ξ_t ξ_s.

    By Williams's formula for erf: E erf(a) erf(b) = (2/π) arcsin(2 E ab / sqrt((1 + 2 E a²)(1 + 2 E b²))). Times t ≠ s
    are correlated only because W is the same at both.
    """
    drive, variance = (1.0, 0.5, -0.25, 1.0), 1.5
    u, w = gaussian("u"), matrix("W", variance=variance)
    h = [drive[0] * u]
    for xi in drive[1:]:
        h.append(w @ erf(h[-1]) + xi * u)
    pairs = [(t, s) for t in range(4) for s in range(t + 1)]
    made = program(**{f"k{t}{s}": inner(h[t], h[s]) for t, s in pairs})
    wanted = np.outer(drive, drive)
    for t in range(1, 4):
        for s in range(t + 1):
            if s:
                p, q = t - 1, s - 1
                root = math.sqrt((1 + 2 * wanted[p, p]) * (1 + 2 * wanted[q, q]))
                wanted[t, s] += variance * 2 / math.pi * math.asin(2 * wanted[p, q] / root)
            wanted[s, t] = wanted[t, s]
    found = limit(made, method="quadrature").scalars
    for t, s in pairs:
        assert found[f"k{t}{s}"].mean == pytest.approx(wanted[t, s], rel=1e-10)
    measured(made, {f"k{t}{s}": wanted[t, s] for t, s in pairs})


def one_step_back(read_out: Callable[[Vector, Vector], Vector]) -> Program:
    """h = W x, x = φ(u) with φ = square; dx = Wᵀ dh with the given dh of v and h."""
    u, v, w = gaussian("u"), gaussian("v"), matrix("W")
    h = w @ (u * u)
    back = (w.T @ read_out(v, h)) * 2 * u
    return program(size=inner(back, back), mean=moment(back * u))


def test_gradient_independence_where_it_holds() -> None:
    """TP II: with f = vᵀ φ(W x)/sqrt(n), dh = 2 v h, Ż^{Wᵀdh} = Z^x E ∂(2 v h)/∂h = 2 Z^x E v = 0.

    By hand E (Z^{Wᵀdh} 2 u)² = E (2 v h)² · 4 E u² = 4 · 3 · 4 = 48, E h² = E u⁴ = 3.
    """
    made = one_step_back(lambda v, h: 2 * v * h)
    assert exactly(made) == exactly(made, transposes="independent") == {"size": 48, "mean": 0}
    measured(made, exactly(made), dense=False)


def test_gradient_independence_where_it_fails() -> None:
    """TP II: with the average f = Σ φ(W x)/n for a read-out, dh = 2 h and Ż^{Wᵀdh} = Z^x E 2 = 2 u².

    By hand E (Ẑ + 2 u²)² 4 u² = 4 (12 · 1 + 4 E u⁶) = 4 (12 + 60) = 288 with E Ẑ² = 4 E h² = 12; independent: 48. And
    E (Ẑ + 2 u²) 2 u · u = 4 E u⁴ = 12; independent: 0.
    """
    made = one_step_back(lambda _, h: 2 * h)
    assert exactly(made) == {"size": 288, "mean": 12}
    assert exactly(made, transposes="independent") == {"size": 48, "mean": 0}
    measured(made, exactly(made), dense=False)
    values = sample(made, 2**14, 8, weights="lazy")
    assert abs(float(values["size"].mean()) - 48) > 100  # the naive answer is rejected


# --- TP III: random matrices and Ż -------------------------------------------------------------------------------


def test_semicircle_law() -> None:
    """TP III: A = W + Wᵀ of variance 1/2 each; x_{i+1} = A x_i; xᵀ A^{2k} x/n → Catalan number C_k, odd powers → 0."""
    found = exactly(walk(6))
    for k in range(1, 13):
        assert found[f"m{k}"] == (0 if k % 2 else math.comb(k, k // 2) // (k // 2 + 1))
    short = walk(3)
    measured(short, exactly(short))


@pytest.mark.slow
def test_semicircle_law_at_a_quarter_of_a_million_neurons() -> None:
    made, n, seeds = walk(4), 2**18, 8
    values = sample(made, n, seeds, weights="lazy")
    for name, value in exactly(made).items():
        assert value is not None
        error = float(values[name].std()) / seeds**0.5
        assert abs(float(values[name].mean()) - float(value)) < 8 * error + 50 / n, name


@pytest.mark.parametrize("ratio", [HALF, Fraction(1), Fraction(3)])
def test_marchenko_pastur_law(ratio: Fraction) -> None:
    """TP III: V (ρ n × n) of entries N(0, 1/n): xᵀ (VᵀV)^k x/n → Σ_r N(k, r) ρ^r, N(k, r) = C(k, r) C(k, r−1)/k."""
    made = covariance_walk(5, rows=Width("m", ratio))
    found = exactly(made)
    for k in range(1, 6):
        narayana = [Fraction(math.comb(k, r) * math.comb(k, r - 1), k) for r in range(1, k + 1)]
        assert found[f"m{k}"] == sum(count * ratio**r for r, count in enumerate(narayana, start=1))
    if ratio == HALF:
        measured(made, found)


@pytest.mark.parametrize(
    ("phi", "slope"),
    [(tanh, lambda h: 1 - tanh(h) ** 2), (relu, heaviside), (erf, erf_slope), (square, lambda h: 2 * h)],
    ids=["tanh", "relu", "erf", "square"],
)
def test_the_correction_of_a_vector_that_comes_back(
    phi: Callable[[Vector], Vector], slope: Callable[[Vector], Vector]
) -> None:
    """TP III: y = Wᵀ φ(W v): Z^y = Ẑ + σ² E φ'(Z^{Wv}) Z^v, so vᵀy/n = σ² E φ'(h) E v², which is E h φ(h) by Stein.

    And E (Z^y)² = σ² E φ(h)² + (σ² E φ'(h))² E v², with E v² = 2 and σ² = 3/2 here.
    """
    s, q = 1.5, 2.0
    v, w = gaussian("v", variance=2), matrix("W", variance=Fraction(3, 2))
    h = w @ v
    y = w.T @ phi(h)
    made = program(
        vy=inner(v, y), hphi=inner(h, phi(h)), slope=moment(slope(h)), phi=inner(phi(h), phi(h)), yy=inner(y, y)
    )
    found = {name: value.mean for name, value in limit(made).scalars.items()}
    assert found["vy"] == pytest.approx(s * found["slope"] * q, rel=1e-9, abs=1e-12)
    assert found["vy"] == pytest.approx(found["hphi"], rel=1e-9, abs=1e-12)
    assert found["yy"] == pytest.approx(s * found["phi"] + (s * found["slope"]) ** 2 * q, rel=1e-9)
    measured(made, found)


def test_the_trace_of_a_product_of_independent_matrices_and_their_transposes() -> None:
    """TP III: free independence. With S_i = W_i W_iᵀ of moments 1 and 2 (Marchenko–Pastur, ratio 1):

    τ(S_1 S_2 S_1 S_2) = τ(S_1²) τ(S_2)² + τ(S_1)² τ(S_2²) − τ(S_1)² τ(S_2)² = 2 + 2 − 1 = 3, and τ(S_1² S_2²) = 4.
    """
    x, one, two = gaussian("x"), matrix("W1"), matrix("W2")
    s1, s2 = one @ one.T, two @ two.T
    made = program(mixed=inner(x, s1 @ s2 @ s1 @ s2 @ x), apart=inner(x, s1 @ s1 @ s2 @ s2 @ x))
    assert exactly(made) == {"mixed": 3, "apart": 4}
    measured(made, exactly(made))


# --- TP IV: feature learning -------------------------------------------------------------------------------------


def one_hidden_layer(inputs: np.ndarray, targets: np.ndarray, rate: Fraction, steps: int) -> Program:
    """f = vᵀ U x / n · 1/sqrt(d) with d = 4, in muP, by gradient descent on all inputs."""
    columns, v, gain = list(gaussians("u0", "u1", "u2", "u3")), gaussian("v"), HALF
    rows = [[Fraction(float(x)) for x in row] for row in inputs]
    out: dict[str, Scalar] = {}
    for t in range(steps + 1):
        h = [gain * combination(list(zip(row, columns, strict=True))) for row in rows]
        f = [inner(v, each) for each in h]
        out |= {f"f{t}_{a}": value for a, value in enumerate(f)}
        errors = [(value - Fraction(float(y))) * (-rate / len(rows)) for value, y in zip(f, targets[:, 0], strict=True)]
        columns, v = (
            [
                combination([(1, u), *((gain * row[k] * e, v) for e, row in zip(errors, rows, strict=True))])
                for k, u in enumerate(columns)
            ],
            combination([(1, v), *zip(errors, h, strict=True)]),
        )
    return program(**out)


def test_the_linear_network_with_one_hidden_layer() -> None:
    """TP IV, linear one-hidden-layer networks: U_t = U_0 A + v_0 B, v_t = U_0 C + v_0 D, and Grams are the identity.

    So the limit is a dynamics of coefficients, exactly rational here, against ``linear_mup_limit``.
    """
    inputs = np.array([[1.0, -0.5, 0.25, 2.0], [0.5, 0.5, -1.0, 0.0]])
    targets = np.array([[1.0], [-0.5]])
    made = one_hidden_layer(inputs, targets, Fraction(3, 4), 4)
    wanted = linear_mup_limit(inputs, targets, inputs, learning_rate=0.75, order=[None] * 4)
    found = exactly(made)
    for t in range(5):
        for a in range(2):
            value = found[f"f{t}_{a}"]
            assert value is not None
            assert float(value) == pytest.approx(wanted[t, a, 0], rel=1e-12, abs=1e-14)
    assert abs(wanted[4] - wanted[0]).max() > 0.3
    measured(made, found, dense=False)


def test_one_step_of_a_linear_network_of_two_hidden_layers_moves_its_features() -> None:
    """TP IV: W_1 = W_0 − η dh xᵀ/n. With u, W, v of variance 1 and e = η y (f_0 → 0):

    h = W u, u' = u + e Wᵀv, v' = v + e h, W' = W + e v uᵀ/n, so h' = W u' + e v uᵀu'/n, and
    Z^{h'} = Ẑ^{Wu} + e Ẑ^{WWᵀv} + e v [Ż of W Wᵀ v] + e v [uᵀu'/n = 1]. Hence f_1 = E v' h' = 2 e + e = 3 e, and
    E (h' − h)² = e² + 4 e² = 5 e². Without Ż: 2 e and 2 e².
    """
    e = Fraction(1, 3)
    made = step(lambda h: h, lambda h: 0 * h + 1, e)
    found = exactly(made)
    assert found == {"f0": 0, "f1": 3 * e, "features": 1 + 5 * e**2, "moved": 5 * e**2}
    forgotten = exactly(made, transposes="independent")
    assert (forgotten["f1"], forgotten["moved"]) == (2 * e, 2 * e**2)
    measured(made, found)


def test_one_step_of_a_middle_layer_with_squares_after_it() -> None:
    """TP IV: the same with x_2 = h², dh = 2 v h of square 4: Ẑ^{WWᵀdh} = G of variance 4, Ż = dh, and

    Z^{h'} = h + e G + 2 e dh = h + e G + 4 e v h, v' = v + e h². So
    E (h' − h)² = 4 e² + 16 e² = 20 e², and f_1 = E v' h'² = 8 e E v² h² + e E h² (h² + e² G² + 16 e² v² h²)
    = 8 e + 3 e + 4 e³ + 48 e³ = 11 e + 52 e³.
    """
    e = Fraction(1, 5)
    u, v, w = gaussian("u"), gaussian("v"), matrix("W")
    h = w @ u
    d = 2 * v * h
    moved_u = u + e * (w.T @ d)
    moved_h = w @ moved_u + (e * inner(u, moved_u)) * d
    moved = moved_h - h
    made = program(f=inner(v + e * h * h, moved_h * moved_h), moved=inner(moved, moved))
    assert exactly(made) == {"f": 11 * e + 52 * e**3, "moved": 20 * e**2}
    measured(made, exactly(made), dense=False)


def test_two_steps_of_a_linear_network_of_two_hidden_layers() -> None:
    """TP IV: step two by coefficients. All of u_t lies in the span of (u, Wᵀv, WᵀWu …); by hand, in fractions, from

    the algebra τ(W Wᵀ) = 1, τ((W Wᵀ)²) = 2, and 0 for every product with another number of W's than of Wᵀ's between
    one u and one v. With a_t = e_t the rates times errors, the weights are words in W: see ``by_words``.
    """
    target, rate = Fraction(1), Fraction(1, 4)
    u, v, w = gaussian("u"), gaussian("v"), matrix("W")
    updates: list[tuple[Scalar, Vector, Vector]] = []
    out = {}
    for t in range(4):
        h = combination([(1, w @ u), *((c * inner(x, u), d) for c, d, x in updates)])
        back = combination([(1, w.T @ v), *((c * inner(d, v), x) for c, d, x in updates)])
        out[f"f{t}"] = f = inner(v, h)
        error = (target - f) * rate
        updates.append((error, v, u))
        u, v = u + error * back, v + error * h
    made = program(**out)
    found, wanted = exactly(made), by_words(target, rate, 4)
    assert [found[f"f{t}"] for t in range(4)] == wanted
    assert wanted[1] == 3 * rate
    measured(made, found, dense=False)


Word = tuple[str, int]
"""("u", k) is (… W)^k u and ("v", k) is (… Wᵀ)^k v, alternating: k products after the initial vector."""


def by_words(target: Fraction, rate: Fraction, count: int) -> list[Fraction]:
    """Return f_0 … of the linear network, by hand: vectors are combinations of words, (WWᵀ)^k has the moment C_k.

    Words from u have length n for even k, words from v for odd k on the side of u. An inner product of two words from
    the same vector and side is the Catalan number of half their joint length; from different vectors it is 0.
    """

    def dot(a: Mapping[Word, Fraction], b: Mapping[Word, Fraction]) -> Fraction:
        total = Fraction(0)
        for (one, j), x in a.items():
            for (other, k), y in b.items():
                if one == other:
                    half = (j + k) // 2
                    total += x * y * math.comb(2 * half, half) / (half + 1)
        return total

    def combined(*parts: tuple[Fraction, Mapping[Word, Fraction]]) -> dict[Word, Fraction]:
        total: dict[Word, Fraction] = {}
        for c, vector in parts:
            for word, x in vector.items():
                total[word] = total.get(word, Fraction(0)) + c * x
        return total

    def times(a: Mapping[Word, Fraction]) -> dict[Word, Fraction]:
        return {(name, k + 1): x for (name, k), x in a.items()}

    one = Fraction(1)
    u: dict[Word, Fraction] = {("u", 0): one}
    v: dict[Word, Fraction] = {("v", 0): one}
    updates: list[tuple[Fraction, dict[Word, Fraction], dict[Word, Fraction]]] = []
    path = []
    for _ in range(count):
        h = combined((one, times(u)), *((c * dot(x, u), d) for c, d, x in updates))
        back = combined((one, times(v)), *((c * dot(d, v), x) for c, d, x in updates))
        path.append(dot(v, h))
        error = (target - path[-1]) * rate
        updates.append((error, v, u))
        u, v = combined((one, u), (error, back)), combined((one, v), (error, h))
    return path


# --- what the tests would notice ---------------------------------------------------------------------------------


def test_hand_computations_would_notice_a_wrong_derivative(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: Ż with twice its coefficient."""
    true = isserlis.mean_derivatives
    monkeypatch.setattr(exact, "mean_derivatives", lambda p, v: {k: 2 * x for k, x in true(p, v).items()})
    assert exactly(walk(2))["m4"] != 2
