"""Seconds of the analytic kernels of a perceptron with three hidden layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.polynomial.legendre import leggauss
from pytest_benchmark.fixture import BenchmarkFixture

from tpbench import kernels
from tpbench.data import gaussian

DEPTH, SIGMA_W = 3, 2**0.5
Dual = Callable[[float, float, float], float]


@dataclass(frozen=True)
class Case:
    """How many examples, E phi phi and E phi' phi' of one pair, written independently of tpbench, and how closely
    both must agree: tpbench has closed forms for the first two, and a quadrature of 96 nodes for tanh."""

    examples: int
    dual: Dual
    slope: Dual
    tolerance: float = 1e-12


def angle(uu: float, uv: float, vv: float) -> float:
    return float(np.arccos(np.clip(uv / np.sqrt(uu * vv), -1, 1)))


def cho_saul(uu: float, uv: float, vv: float) -> float:
    """E relu(u) relu(v) (Cho & Saul 2009, equation 6)."""
    theta = angle(uu, uv, vv)
    return float(np.sqrt(uu * vv) * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi))


def on_a_disc(phi: Callable[[np.ndarray], np.ndarray]) -> Dual:
    """E phi(u) phi(v) for a smooth phi in polar coordinates: Gauss-Legendre in the radius, equal steps in the angle."""
    node, weight = leggauss(200)
    radius, angles = 4.5 * (node + 1), np.linspace(0, 2 * np.pi, 256, endpoint=False)
    density = weight * 4.5 * radius * np.exp(-(radius**2) / 2) / len(angles)

    def dual(uu: float, uv: float, vv: float) -> float:
        left, right = np.linalg.cholesky(np.array([[uu, uv], [uv, vv]]) + 1e-14 * np.eye(2))
        z = np.stack([np.outer(radius, np.cos(angles)), np.outer(radius, np.sin(angles))])
        values = phi(np.tensordot(left, z, 1)) * phi(np.tensordot(right, z, 1))
        return float(density @ values.sum(axis=1))

    return dual


CASES = {
    "relu": Case(800, cho_saul, lambda uu, uv, vv: (np.pi - angle(uu, uv, vv)) / (2 * np.pi)),
    "sin": Case(800, on_a_disc(np.sin), on_a_disc(np.cos)),
    "tanh": Case(40, on_a_disc(np.tanh), on_a_disc(lambda u: 1 / np.cosh(u) ** 2), 1e-7),
}


def expected(gram: np.ndarray, case: Case) -> tuple[float, float]:
    """Return NNGP and NTK of one pair from Σ^1 of that pair, (2, 2): Jacot et al. 2018, proposition 1 and theorem 1."""
    sigma, ntk = SIGMA_W**2 * gram, SIGMA_W**2 * gram[0, 1]
    for _ in range(DEPTH):
        slope = SIGMA_W**2 * case.slope(sigma[0, 0], sigma[0, 1], sigma[1, 1])
        pairs = [(sigma[i, i], sigma[i, j], sigma[j, j]) for i in (0, 1) for j in (0, 1)]
        sigma = SIGMA_W**2 * np.array([case.dual(*pair) for pair in pairs]).reshape(2, 2)
        ntk = sigma[0, 1] + slope * ntk
    return float(sigma[0, 1]), float(ntk)


@pytest.mark.benchmark(group="kernels")
@pytest.mark.parametrize("activation", CASES)
def test_kernels(benchmark: BenchmarkFixture, activation: str) -> None:
    case = CASES[activation]
    x = np.array(gaussian(case.examples, 64, seed=0).inputs)
    benchmark.extra_info.update(activation=activation, examples=case.examples, features=64, depth=DEPTH)

    found = benchmark(kernels, x, depth=DEPTH, activation=activation, sigma_w=SIGMA_W)

    nngp, ntk = expected(x[[0, 1]] @ x[[0, 1]].T / x.shape[1], case)
    np.testing.assert_allclose(found.nngp[0, 1], nngp, atol=case.tolerance)
    np.testing.assert_allclose(found.ntk[0, 1], ntk, atol=case.tolerance)
    np.testing.assert_allclose(found.ntk, found.ntk.T, rtol=1e-12)
