"""Laws of the outputs: the posterior of a Gaussian process, and an ensemble of trained wide networks.

An untrained wide network is a Gaussian process with covariance Σ, the NNGP kernel. Bayes' rule makes of it

    mean Σ(·, X) (Σ(X, X) + noise)^(-1) y,    covariance Σ - Σ(·, X) (Σ(X, X) + noise)^(-1) Σ(X, ·)

(Neal 1996; Lee et al. 2018, arXiv:1711.00165). Training all weights moves the outputs by ``A (y - f_0(X))`` instead,
with A from the tangent kernel (``flow.response``), so that over initialisations they have

    mean A y,    covariance (I - A) Σ (I - A)ᵀ    (A acting on the values at X)

at every time (Lee et al. 2019, arXiv:1902.06720, whose formulas multiply this out). The two agree only where the
tangent kernel is Σ, that is where the read-out alone is trained, and only at the end of training.

All is computed in NumPy float64 on the CPU: eigenvalues and factors of one kernel, which conditioning would spoil in
less. What was rounded before, in a kernel of another dtype, is lost, and counts as such where it decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from tpbench.limits import Array
from tpbench.limits.dynamics import check_arrays, places_of
from tpbench.limits.flow import Schedule, response, rounding_of


@dataclass(frozen=True)
class Law:
    """A Gaussian law of outputs on all points: ``mean`` (points, out); ``covariance`` (points, points) of each output.

    Different outputs are independent.
    """

    mean: Array
    covariance: Array


def posterior(kernel: Array, targets: Array, *, train: Sequence[int], noise: float = 0.0) -> Law:
    """Return the law of the process on all points given its noisy values at the training points.

    ``kernel`` (points, points) is the covariance between all points, ``targets`` (len(train), out) the values seen,
    ``noise`` the variance of what they are off by. Raises ``ValueError`` for shapes that disagree, for a negative
    noise, without training points, and for a singular covariance of the values: nothing is added to it silently.
    """
    root, places = _root(kernel, targets, train, noise)
    seen = linalg.solve_triangular(root, kernel[places], lower=True)  # (train, points)
    whitened = linalg.solve_triangular(root, targets, lower=True)
    return Law(mean=seen.T @ whitened, covariance=kernel - seen.T @ seen)


def log_marginal_likelihood(kernel: Array, targets: Array, *, train: Sequence[int], noise: float = 0.0) -> float:
    """Return the logarithm of the density of the targets, all outputs together; arguments as of ``posterior``."""
    root, _ = _root(kernel, targets, train, noise)
    whitened = linalg.solve_triangular(root, targets, lower=True)
    normaliser = np.log(np.diag(root)).sum() + 0.5 * len(targets) * math.log(2 * math.pi)
    return float(-0.5 * (whitened**2).sum() - targets.shape[1] * normaliser)


def trained_law(nngp: Array, ntk: Array, targets: Array, *, train: Sequence[int], schedule: Schedule) -> Law:
    """Return the law, over initialisations, of the outputs of wide networks trained on squared error.

    ``nngp`` and ``ntk`` (points, points) are the kernels of one output over all points, ``targets`` (len(train), out).
    Raises ``ValueError`` for shapes that disagree, and as ``flow.response`` does.
    """
    _check(nngp, targets, train)
    if ntk.shape != nngp.shape:
        raise ValueError(f"NNGP and NTK are kernels between the same points, got {nngp.shape} and {ntk.shape}")
    answer = response(ntk, train=train, schedule=schedule)
    kept = remainder(answer, train)
    return Law(mean=answer @ targets, covariance=kept @ nngp @ kept.T)


def remainder(answer: Array, train: Sequence[int]) -> Array:
    """Return I - A, what training leaves of the outputs at the start: (points, points), f_t = A y + (I - A) f_0."""
    kept = np.eye(len(answer))
    kept[:, places_of(train)] -= answer
    return kept


def _root(kernel: Array, targets: Array, train: Sequence[int], noise: float) -> tuple[Array, NDArray[np.intp]]:
    """Return the Cholesky factor of the covariance of the values seen, and the places of the training points."""
    _check(kernel, targets, train)
    if not noise >= 0:
        raise ValueError(f"the noise is a variance of at least 0, got {noise}")
    places = places_of(train)
    covariance = np.asarray(kernel[np.ix_(places, places)], dtype=np.float64) + noise * np.eye(len(places))
    try:
        root = linalg.cholesky(covariance, lower=True)
    except linalg.LinAlgError:
        root = np.zeros_like(covariance)
    pivots = np.diag(root) ** 2
    if pivots.min() <= 10 * len(places) * rounding_of(kernel) * np.abs(np.diag(covariance)).max():
        raise ValueError(
            f"the covariance of the {len(places)} training values is singular to rounding: give a noise variance, a "
            "larger one if there is one, or leave out training points that repeat others"
        )
    return np.asarray(root), places


def _check(kernel: Array, targets: Array, train: Sequence[int]) -> None:
    check_arrays(kernel, targets)
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1]:
        raise ValueError(f"a kernel between all points is square, got shape {kernel.shape}")
    if targets.ndim != 2 or len(targets) != len(train):
        raise ValueError(
            f"targets have shape ({len(train)}, out) for {len(train)} training points, got {targets.shape}"
        )
