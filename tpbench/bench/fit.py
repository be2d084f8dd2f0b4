"""Weighted straight lines through points of known error, and the law that those errors follow over widths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """A weighted least-squares fit: coefficients, their errors (inflated by misfit), degrees of freedom."""

    coefficients: Array
    errors: Array
    freedom: Array


def weighted_fit(design: Array, y: Array, error: Array, seeds: Array, observed: Array | None = None) -> Fit:
    """Fit y = design @ c by weighted least squares; ``error`` are standard errors of y from ``seeds`` seeds each.

    ``observed`` are other standard errors of the same y that do not decide the weights; a coefficient gets the larger
    of its two errors. Errors are inflated by sqrt(chi² / spare), where that exceeds 1 (the Birge ratio); spare is the
    number of points less that of columns. Degrees of freedom are those of the seeds (Welch-Satterthwaite) and of
    the misfit (see ``combined_freedom``).
    """
    weighted = design / error[:, None]
    inverse = np.linalg.inv(weighted.T @ weighted)
    rule = inverse @ weighted.T / error[None, :]  # c = rule @ y
    coefficients = rule @ y
    spare = len(y) - design.shape[1]
    misfit = float((((y - design @ coefficients) / error) ** 2).sum()) / spare if spare > 0 else 1.0
    inflation = max(1.0, misfit)
    shares = rule**2 * error**2
    variance = shares.sum(axis=1)
    of_seeds = variance**2 / (shares**2 / (seeds - 1)).sum(axis=1)
    if observed is not None:
        variance = np.maximum(variance, (rule**2 * observed**2).sum(axis=1))
    return Fit(coefficients, np.sqrt(variance * inflation), combined_freedom(inflation, of_seeds, spare))


def combined_freedom(inflation: float, of_seeds: Array, of_misfit: float) -> Array:
    """Return the degrees of freedom of a variance V that a misfit inflated to V * ``inflation``.

    The share 1/inflation comes from the seeds, the rest from the misfit; Satterthwaite's rule combines the two, so
    that an interval that is all misfit of three points is as wide as Student's t says for one degree of freedom.
    """
    share = 1 / inflation
    return 1 / (share**2 / of_seeds + ((1 - share) ** 2 / of_misfit if inflation > 1 else 0.0))


def variance_law(widths: Array, seeds: Array, variance: Array) -> Array:
    """Return the power law a n^b through the sample variances of ``seeds`` seeds a width, evaluated at the widths.

    A variance from four seeds is known to a factor of two, and where values are skewed it is small exactly when their
    mean is: weights taken from it would favour the widths that came out low. All widths together know it well.
    The fit is least squares on logarithms, each with the mean and variance that the logarithm of a chi² / freedom
    variable has. Widths without any variance say nothing about the law; where all are such the law is 0.
    """
    seen = variance > 0
    if not seen.any():
        return np.zeros_like(variance)
    half = (seeds[seen] - 1) / 2
    y = np.log(variance[seen]) - special.digamma(half) + np.log(half)
    columns = np.stack([np.ones_like(widths), np.log(widths / widths[0])], axis=1)[:, : seen.sum()]
    root = 1 / np.sqrt(special.polygamma(1, half))
    law = np.linalg.lstsq(columns[seen] * root[:, None], y * root, rcond=None)[0]
    return np.asarray(np.exp(columns @ law))
