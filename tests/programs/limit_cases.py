"""Programs with both W and Wᵀ, several widths and scalars that are read, for more than one way to their limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

import torch
from torch import Tensor

from tpbench.programs import (
    Program,
    Scalar,
    Vector,
    Width,
    apply,
    combination,
    constant,
    gaussian,
    gaussians,
    inner,
    matrix,
    moment,
    program,
)

HALF = Fraction(1, 2)
M = Width("m", HALF)
Coordinatewise = Callable[[Vector], Vector]


def walk(length: int, *, variance: Fraction = HALF) -> Program:
    """x_{i+1} = A x_i with A = W + Wᵀ: outputs ``m1`` … ``m{2·length}``, moments of the eigenvalues of A."""
    x, w = gaussian("x"), matrix("W", variance=variance)
    a, out = w + w.T, dict[str, Scalar]()
    for i in range(1, length + 1):
        y = a @ x
        out |= {f"m{2 * i - 1}": inner(x, y), f"m{2 * i}": inner(y, y)}
        x = y
    return program(**out)


def covariance_walk(length: int, rows: Width = M) -> Program:
    """x_{i+1} = VᵀV x_i of a rectangular V: outputs ``m1`` … of the eigenvalues of VᵀV."""
    start, v = gaussian("x"), matrix("V", rows=rows)
    x, out = start, {}
    for i in range(1, length + 1):
        x = v.T @ (v @ x)
        out[f"m{i}"] = inner(start, x)
    return program(**out)


def there_and_back(phi: Callable[[Vector], Vector], rows: Width = M, variance: int = 2) -> Program:
    """v, h = W v, y = Wᵀ φ(h), u = W y: every Ż in play."""
    v, w = gaussian("v"), matrix("W", rows=rows, variance=variance)
    h = w @ v
    y = w.T @ phi(h)
    u = w @ y
    return program(vy=inner(v, y), yy=inner(y, y), hu=inner(h, u), uu=inner(u, u), phi=moment(phi(u) * phi(h)))


def tangled() -> Program:
    """Correlated vectors with means, two matrices, moments that are read, a scalar that vanishes."""
    x, y = gaussians("x", "y", covariance=[[1, HALF], [HALF, 2]], mean=[0, 1])
    w, v = matrix("W", variance=Fraction(3, 2)), matrix("V", rows=M)
    h = w @ x
    back = w.T @ (h * h * y + y)
    c = moment(back * x)
    out = v.T @ (v @ back) - c * x + w @ back + constant(3, power=-HALF) * y
    return program(c, a=moment(out * out), b=inner(out, y), d=inner(v @ out, v @ x), e=moment(out * h), out=out)


def step(phi: Callable[[Vector], Vector], slope: Callable[[Vector], Vector], rate: Fraction) -> Program:
    """A muP network of two hidden layers on one input before and after a step of size ``rate`` times the target."""
    u, v, w = gaussian("u"), gaussian("v"), matrix("W")
    x1 = phi(u)
    h2 = w @ x1
    x2 = phi(h2)
    d2 = v * slope(h2)
    d1 = (w.T @ d2) * slope(u)
    new_x1 = phi(u + rate * d1)
    new_h2 = w @ new_x1 + (rate * inner(x1, new_x1)) * d2
    moved = new_h2 - h2
    return program(
        f0=inner(v, x2), f1=inner(v + rate * x2, phi(new_h2)), features=inner(new_h2, new_h2), moved=inner(moved, moved)
    )


def square(h: Vector) -> Vector:
    return h * h


def cube(h: Vector) -> Vector:
    return h**3


def tanh(h: Vector) -> Vector:
    return apply(torch.tanh, h)


def relu(h: Vector) -> Vector:
    return apply(torch.relu, h)


def erf(h: Vector) -> Vector:
    return apply(torch.erf, h)


def sign(h: Vector) -> Vector:
    return apply(torch.sign, h)


def _heaviside(h: Tensor) -> Tensor:
    return (h > 0).to(h.dtype)


def heaviside(h: Vector) -> Vector:
    return apply(_heaviside, h)


def normalised() -> Program:
    """A layer norm: means over neurons inside a coordinatewise function."""
    u, w = gaussian("u", variance=2, mean=1), matrix("W")

    def norm(h: Vector) -> Vector:
        mean = moment(h)
        scale = moment(lambda s, m: torch.rsqrt(s - m * m), inner(h, h), mean)
        return (h - mean) * scale

    h = w @ norm(apply(torch.relu, u))
    back = w.T @ norm(tanh(h))
    return program(hh=inner(h, h), bb=inner(back, back), ub=inner(u, back), third=moment(norm(back) ** 3))


def linear_gradient_descent(steps: int = 2) -> Program:
    """f = vᵀ W u / n, trained by gradient descent, in exact numbers."""
    u, v, w = gaussian("u"), gaussian("v"), matrix("W")
    updates: list[tuple[Scalar, Vector, Vector]] = []
    out = {}
    for t in range(steps + 1):
        h = combination([(1, w @ u), *((c * inner(x, u), d) for c, d, x in updates)])
        back = combination([(1, w.T @ v), *((c * inner(d, v), x) for c, d, x in updates)])
        out[f"f{t}"] = f = inner(v, h)
        error = (1 - f) * Fraction(1, 4)
        updates.append((error, v, u))
        u, v = u + error * back, v + error * h
    return program(**out)


POLYNOMIAL: Mapping[str, Callable[[], Program]] = {
    "semicircle": lambda: walk(4),
    "marchenko-pastur": lambda: covariance_walk(4),
    "square there and back": lambda: there_and_back(square),
    "cube there and back": lambda: there_and_back(cube, variance=1),
    "tangled": tangled,
    "a step with squares": lambda: step(square, lambda h: 2 * h, Fraction(1, 4)),
    "linear gradient descent": linear_gradient_descent,
}
FEW: Mapping[str, Callable[[], Program]] = {
    "tanh there and back": lambda: there_and_back(tanh),
    "relu there and back": lambda: there_and_back(relu),
    "erf there and back": lambda: there_and_back(erf),
    "sign there and back": lambda: there_and_back(sign),
    "layer norm": normalised,
    "a step with tanh": lambda: step(tanh, lambda h: 1 - tanh(h) ** 2, HALF),
    "a step with relu": lambda: step(relu, heaviside, HALF),
}
"""Beyond polynomials, over at most three Gaussian directions at a time."""
