"""The largest, or the smallest, of several exponents, with an honest interval.

Every index of a quantity has an exponent v_i of its own, with standard error e_i and nu_i degrees of freedom; theta is
the largest true one of k. The largest measured one, D, is biased upwards, so its own error is not enough:

* The low end is L = max_i (v_i - e_i t(0.025 / k, nu_i)), by Bonferroni: L > theta needs one of k bounds to lie above
  the exponent that it bounds.
* The high end is H = max_i (v_i + e_i t(0.025, nu_i)), with no correction: H < theta needs the one bound of the
  largest true exponent to lie below it (an intersection-union test).

So [L, H] covers theta with probability 95% at least, whatever the correlation of the v_i (``monotone`` argues the same
of falls). A verdict also needs p-values far below 5%, in both directions, from one error and one number of degrees of
freedom: the least nu_i, and the largest of e_i t(0.025 / k, nu_i) / t(0.025, nu_i). With them D - t(a) error is below
every Bonferroni bound, and D + t(a) error above every single one, at every level a < 0.025: quantiles of Student's t
grow faster outwards the fewer the degrees of freedom. That is wide where one index is badly known, which makes
refutations late and never false.

The smallest exponent is the negative of the largest of the negatives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

if TYPE_CHECKING:
    from tpbench.bench.estimate import Sample

Array = NDArray[np.float64]
Fit = Callable[["list[Sample]", float], tuple[float, ...]]
"""Returns value, standard error and degrees of freedom."""
TAIL = 0.025
"""The probability of each tail of a 95% interval."""


class Extreme(NamedTuple):
    """The largest of several numbers: its value, standard error, degrees of freedom and the ends of its interval."""

    value: float
    error: float
    freedom: float
    low: float
    high: float


def largest(values: Array, errors: Array, freedom: Array) -> Extreme:
    """Return the largest of k numbers of shape (k,), each with its standard error and degrees of freedom."""
    one, several = (stats.t.isf(tail, freedom) for tail in (TAIL, TAIL / len(values)))
    return Extreme(
        value=float(values.max()),
        error=float((errors * several / one).max()),
        freedom=float(freedom.min()),
        low=float((values - errors * several).max()),
        high=float((values + errors * one).max()),
    )


def smallest(values: Array, errors: Array, freedom: Array) -> Extreme:
    """Return the smallest of k numbers, as ``largest`` does the largest."""
    found = largest(-values, errors, freedom)
    return Extreme(-found.value, found.error, found.freedom, -found.high, -found.low)


def of_each_index(pick: Callable[[Array, Array, Array], Extreme], fit: Fit) -> Callable[[list[Sample], float], Extreme]:
    """Return the estimator that picks, by ``largest`` or ``smallest``, among what ``fit`` finds of each index alone."""

    def estimator(found: list[Sample], correction: float) -> Extreme:
        indices = range(found[0].values.shape[1])
        each = [[replace(sample, values=sample.values[:, i : i + 1]) for sample in found] for i in indices]
        fits = np.array([fit(samples, correction) for samples in each])
        return pick(*fits.T)

    return estimator
