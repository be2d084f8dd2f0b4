"""The programs whose scalars are moments of random matrices: x ↦ A x again and again, and inner products.

With x of independent N(0, 1) coordinates that no matrix knows of, ``⟨x, M x⟩ = (1/n) xᵀ M x`` has the mean E tr M/n.
``scale`` multiplies the variance of every matrix; it is 1 for entries of variance 1/n.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import torch

from tpbench.programs import (
    N,
    Operator,
    Program,
    Scalar,
    Vector,
    Width,
    apply,
    gaussian,
    inner,
    matrix,
    program,
)

Real = Fraction | float
HALF = Fraction(1, 2)
MEAN = HALF
"""The mean of the diagonal matrix D = diag(d); the variance of d is 1."""


def symmetric(name: str, scale: Real = Fraction(1), *, fresh: bool = False) -> Operator:
    """Return W + Wᵀ with entries of variance 1/n; ``fresh`` adds another matrix's transpose."""
    first = matrix(name, variance=HALF * scale)
    second = matrix(f"{name}2", variance=HALF * scale) if fresh else first
    return first + second.T


def semicircle(steps: int, scale: Real = Fraction(1), *, fresh: bool = False) -> Program:
    """Return x_(i+1) = A x_i with ``m2k`` = ⟨x_k, x_k⟩ = ⟨x, A^(2k) x⟩ for k = 1 … steps."""
    a = symmetric("W", scale, fresh=fresh)
    vectors = [gaussian("x")]
    for _ in range(steps):
        vectors.append(a @ vectors[-1])
    return program(**{f"m{2 * k}": inner(v, v) for k, v in enumerate(vectors) if k})


def covariance(steps: int, ratio: Fraction, scale: Real = Fraction(1), *, fresh: bool = False) -> Program:
    """Return x_(i+1) = X Xᵀ x_i with ``mk`` = ⟨x, (X Xᵀ)^k x⟩ for k = 1 … 2 steps, X n × m with m = n/ratio.

    ``fresh`` takes the transpose of another matrix.
    """
    wide = Width("m", 1 / ratio)
    first = matrix("X", variance=scale, columns=wide)
    second = matrix("X2", variance=scale, columns=wide) if fresh else first
    x, found = gaussian("x"), {}
    for k in range(1, 2 * steps, 2):
        half = second.T @ x
        found[f"m{k}"] = (1 / ratio) * inner(half, half)  # a mean over m, where the trace is divided by n
        x = first @ half
        found[f"m{k + 1}"] = inner(x, x)
    return program(**found)


def freeness(scale: Real = Fraction(1), *, correlation: float = 0.0) -> Program:
    """Return the mixed moments ``abab``, ``adad``, ``sum-ab4``, ``sum-ad4``, ``sum-ad6`` of A, B and D = diag(d).

    A and B are symmetric, and independent unless ``correlation`` is not 0.
    """
    a, fresh = symmetric("W", scale), symmetric("V", scale)
    b = correlation * a + (1 - correlation**2) ** 0.5 * fresh if correlation else fresh
    x, d = gaussian("x"), gaussian("d", mean=MEAN)
    found = {"abab": inner(b @ (a @ x), a @ (b @ x)), "adad": inner(d * (a @ x), a @ (d * x))}

    def powers(step: Callable[[Vector], Vector], count: int) -> list[Scalar]:
        y, squares = x, []
        for _ in range(count):
            y = step(y)
            squares.append(inner(y, y))
        return squares

    found["sum-ab4"] = powers(lambda y: a @ y + b @ y, 2)[1]
    found["sum-ad4"], found["sum-ad6"] = powers(lambda y: a @ y + d * y, 3)[1:]
    return program(**found)


ACTIVATIONS: Mapping[str, tuple[Callable[[torch.Tensor], torch.Tensor], Callable[[torch.Tensor], torch.Tensor]]] = {
    "linear": (lambda h: h, torch.ones_like),
    "tanh": (torch.tanh, lambda h: 1 - torch.tanh(h) ** 2),
    "relu": (torch.relu, lambda h: (h > 0).to(h.dtype)),
    "hard-tanh": (lambda h: h.clamp(-1, 1), lambda h: (h.abs() < 1).to(h.dtype)),
}
"""Activations and their slopes."""


def layers(depth: int, scale: Real, *, one_matrix: bool) -> list[Operator]:
    """Return W_1 … W_L with entries of variance scale/n; ``one_matrix`` takes a symmetric one for all of them."""
    if one_matrix:
        return [symmetric("W", scale)] * depth
    return [matrix(f"W{layer}", variance=scale) for layer in range(1, depth + 1)]


def jacobian(activation: str, depth: int, scale: Real = Fraction(1), *, one_matrix: bool = False) -> Program:
    """Return ``mk`` = ⟨v, (JᵀJ)^k v⟩ for k = 1, 2, 3 and J = D_L W_L … D_1 W_1, the Jacobian of a net at x."""
    weights = layers(depth, scale, one_matrix=one_matrix)
    x, slopes = gaussian("x"), []
    for w in weights[: depth if activation != "linear" else 0]:
        phi, slope = ACTIVATIONS[activation]
        h = w @ x
        slopes.append(apply(slope, h))
        x = apply(phi, h)

    v = gaussian("v")
    once = _forward(weights, slopes, v)
    back = _backward(weights, slopes, once)
    again = _forward(weights, slopes, back)
    return program(m1=inner(once, once), m2=inner(back, back), m3=inner(again, again))


def _forward(weights: Sequence[Operator], slopes: Sequence[Vector], v: Vector) -> Vector:
    for layer, w in enumerate(weights):
        v = w @ v
        v = slopes[layer] * v if slopes else v
    return v


def _backward(weights: Sequence[Operator], slopes: Sequence[Vector], v: Vector) -> Vector:
    for layer, w in reversed(list(enumerate(weights))):
        v = w.T @ (slopes[layer] * v if slopes else v)
    return v


__all__ = ["ACTIVATIONS", "MEAN", "N", "covariance", "freeness", "jacobian", "layers", "semicircle", "symmetric"]
