"""Singular values of the input-output Jacobian of deep nets, J = D_L W_L … D_1 W_1 with D_l = diag(φ'(h_l)).

In the limit D_l is free of the weights, although h_l = W_l x_(l-1) is made of them, and its entries are those of
φ'(sqrt(q_l) z) for a standard Gaussian z, with ``q_l = σ² E φ(sqrt(q_(l-1)) z)²``. The moments of JᵀJ are those of a
free product (``limits.spectra.jacobian_moments``), of Fuss and Catalan where φ is the identity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache, reduce
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from tpbench.bench.claim import Point, Row
from tpbench.claims.experiments import matrix_programs
from tpbench.claims.experiments.matrix_programs import ACTIVATIONS
from tpbench.claims.experiments.random_matrices import (
    entries,
    parts,
    relative,
    rows,
    sampled,
    scale,
    scale_free,
    share,
    symmetric,
)
from tpbench.limits import Array, spectra
from tpbench.weights.gaussian import standard_normal

ORDERS = (1, 2, 3)
JUDGED = 2
"""The moments whose rates are judged: up to n = 100 the third scatters by what networks of rare large gains add."""
KINKS = (-1.0, 0.0, 1.0)
"""Where an activation may have a kink."""
FURTHEST, NODES = 12.0, 128


def run(point: Point) -> Iterator[Row]:
    """Yield ``program-moment`` (through J v and Jᵀ u) and ``trace-moment`` (power sums of singular values), of order 1

    and 2, ``relative-moment-ORDER``, a moment of the program over its limit, to order 3, and ``rival-share``, the share
    that the moments of a product of independent numbers have in the program's. ``trace-moment`` is less what freeness
    says of the slopes φ'(h_l) that the network has at its input, whose own moments scatter by n^(-1/2);
    ``scale-free-moment`` is m_2 where m_1 is given. Keys: ``activation``, ``depth``, ``sigma_w``, and the planted
    ``one_matrix``, a symmetric matrix that all layers have.
    """
    c, n = point.config, point.width
    shared, variance = bool(c["one_matrix"]), c["sigma_w"] ** 2 * scale(c, n)
    program = matrix_programs.jacobian(c["activation"], c["depth"], variance, one_matrix=shared)
    true, rival = moments(c["activation"], c["depth"], c["sigma_w"])
    for seeds in parts(point, n**2 * c["depth"]):
        errors = sampled(program, point, seeds) - true
        yield from rows("program-moment", errors[:, :JUDGED], seeds)
        yield from relative(errors, true, ORDERS, seeds)
        yield from rows("rival-share", share(errors, rival - true), seeds)
    for seeds in parts(point, n**2 * (c["depth"] + 2), every=c["spectral_every"]):
        j, slopes = jacobians(point, seeds)
        errors = power_sums(j) - free_moments(slopes, c["sigma_w"])
        yield from rows("trace-moment", errors, seeds)
        yield from rows("scale-free-moment", scale_free(errors, true), seeds)


def power_sums(j: Tensor) -> Array:
    """Return Σ_i s_i²/n and Σ_i s_i⁴/n of the singular values s_i of matrices, (seed, order), by products."""
    gram = j.mT @ j
    sums = [gram.diagonal(dim1=1, dim2=2).mean(dim=1), (gram**2).sum(dim=(1, 2)) / j.shape[-1]]
    return np.asarray(torch.stack(sums, dim=1).cpu().numpy(), dtype=np.float64)


def free_moments(slopes: list[Tensor], sigma_w: float) -> Array:
    """Return m_1 and m_2 of JᵀJ, (seed, order), for slopes (seed, neuron) that are free of the weights."""
    powers = [[(each ** (2 * k)).mean(dim=1).cpu().numpy().astype(np.float64) for k in (1, 2)] for each in slopes]
    free = spectra.jacobian_moments([(sigma_w**2, of_layer) for of_layer in powers])
    return np.stack(free, axis=1)


def jacobians(point: Point, seeds: tuple[int, ...]) -> tuple[Tensor, list[Tensor]]:
    """Return the Jacobians of networks at an input of independent N(0, 1) coordinates, (seed, out, in), and the slopes

    of every layer there, (seed, neuron).
    """
    c, shape = point.config, (point.width, point.width)
    names = ["W"] * c["depth"] if c["one_matrix"] else [f"W{layer}" for layer in range(1, c["depth"] + 1)]
    found = {
        name: (symmetric(point, name, seeds) if c["one_matrix"] else entries(point, name, shape, seeds))
        for name in dict.fromkeys(names)
    }
    first = found[names[0]]
    x = standard_normal(seeds, "spectrum x", (point.width, 1), dtype=first.dtype, device=first.device)
    phi, slope = ACTIVATIONS[c["activation"]]
    j = torch.eye(point.width, dtype=first.dtype, device=first.device)
    slopes: list[Tensor] = []
    for name in names:
        w = c["sigma_w"] * found[name]
        h = w @ x
        x, slopes = phi(h), [*slopes, slope(h)]
        j = slopes[-1] * (w @ j)
    return j, [each[..., 0] for each in slopes]


@lru_cache(maxsize=32)
def moments(activation: str, depth: int, sigma_w: float) -> tuple[Array, Array]:
    """Return the moments of JᵀJ in the limit, and those of a product of independent numbers of the same laws."""
    slopes = slope_moments(activation, depth, sigma_w)
    free = spectra.jacobian_moments([(sigma_w**2, of_layer) for of_layer in slopes])
    weights = [sigma_w ** (2 * k) * spectra.catalan(k) for k in ORDERS]
    factors = [each for of_layer in slopes for each in (weights, of_layer)]
    return np.array([float(m) for m in free]), np.array(reduce(spectra.independent_product, factors))


def slope_moments(activation: str, depth: int, sigma_w: float) -> list[list[float]]:
    """Return E φ'(h_l)^(2k) for k = 1, 2, 3 of every layer, by quadrature."""
    phi, slope = ACTIVATIONS[activation]
    variance, found = sigma_w**2, []
    for _ in range(depth):
        found.append([gaussian_mean(lambda h, k=k: slope(h) ** (2 * k), variance) for k in ORDERS])  # type: ignore[misc]
        variance = sigma_w**2 * gaussian_mean(lambda h: phi(h) ** 2, variance)
    return found


def gaussian_mean(function: Callable[[Tensor], Tensor], variance: float) -> float:
    """Return E function(h) for h ~ N(0, variance), by Gauss-Legendre rules between kinks, to 12 deviations."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    std, total = math.sqrt(variance), 0.0
    ends = [-FURTHEST * std, *(kink for kink in KINKS if abs(kink) < FURTHEST * std), FURTHEST * std]
    for low, high in pairwise(ends):
        h = (high + low) / 2 + (high - low) / 2 * nodes
        density = np.exp(-(h**2) / (2 * variance)) / (std * math.sqrt(2 * math.pi))
        values = function(torch.as_tensor(h, dtype=torch.float64, device=torch.device("cpu"))).numpy()
        total += float((high - low) / 2 * (weights * density * values).sum())
    return total
