"""Whether a mean rises with width: its largest fall from one width to the next wider one, with an honest interval.

Let m_1, ..., m_k be the means over seeds at the widths w_1 < ... < w_k, d_i = m_i - m_(i+1) the falls between
neighbours, and theta = max_i E d_i. The estimate is D = max_i d_i, negative where the means rise everywhere. It is
biased upwards: of falls that are all 0, the largest measured one is positive. So D and its own error are not enough:

* Each fall has Welch's error e_i, the root of v_i / S_i + v_(i+1) / S_(i+1), for S_i seeds.
* The low end is the largest L = max_i (d_i - e_i t(0.025 / (k - 1), nu_i)), by Bonferroni: L > theta needs one of the
  k - 1 bounds to lie above the fall it bounds.
* The high end is H = max_i (d_i + e_i t(0.025, nu_i)), with no correction: H < theta needs the one bound of the
  largest true fall to lie below it (an intersection-union test).

So [L, H] covers theta with probability 95% at least, whether the true falls are equal or not, and whatever the
correlation of the d_i, which share means.

A verdict also needs p-values far below 5%, which come from a value, an error and degrees of freedom alone. The freedom
is nu_j of the fall j that has the largest low end, the error is (D - L) / t(0.025, nu_j), so that D less t(0.025, nu_j)
errors is L. For every level a below 0.025, rejecting theta <= h by this p-value implies that
d_j - e_j t(a / (k - 1), nu_j) > h, which Bonferroni rejects, too: t(a, nu) / t(0.025, nu) is at least
t(a / c, nu) / t(0.025 / c, nu) for c >= 1, as quantiles of Student's t grow more slowly the further out they are.

Welch's own degrees of freedom fail there with few seeds: where two seeds happen to agree, beside sixteen that do not,
they believe the two, and at a level of 0.1% such a pair alarms twenty times as often as it may. So v_i is the larger of
the sample variance and the power law through the variances of all widths, and nu_i is that of the law
(Welch-Satterthwaite): one chance agreement cannot make it large.

A width that is left out (a diverged one) is skipped: its neighbours are then compared with each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tpbench.bench.fit import variance_law

if TYPE_CHECKING:
    from tpbench.bench.estimate import Sample

Array = NDArray[np.float64]
TAIL = 0.025
"""The probability of each tail of a 95% interval."""
LEAST_ERROR = 1e-6
"""The least error of a mean, relative to the largest value."""


class Falls(NamedTuple):
    """The falls between neighbouring widths, each with its standard error and degrees of freedom, shape (pair,)."""

    sizes: Array
    errors: Array
    freedom: Array

    @property
    def lows(self) -> Array:
        """Lower bounds that all hold at once with probability 97.5%."""
        return np.asarray(self.sizes - self.errors * stats.t.isf(TAIL / len(self.sizes), self.freedom))

    @property
    def highs(self) -> Array:
        """Upper bounds, each of which holds with probability 97.5%."""
        return np.asarray(self.sizes + self.errors * stats.t.isf(TAIL, self.freedom))


def largest_fall(found: Sequence[Sample], correction: float = 1.0) -> tuple[float, float, float]:
    """Return the largest fall of the mean from a width to the next, its standard error and degrees of freedom.

    ``found`` has at least two widths, in increasing order, each with at least two seeds and finite values; a seed's
    number is its mean over indices. ``correction`` does not matter: nothing is extrapolated.
    """
    return _largest(_falls(found, 1.0))


def largest_rise(found: Sequence[Sample], correction: float = 1.0) -> tuple[float, float, float]:
    """Return the same of the largest rise, for what should fall with width: the largest fall of the negative."""
    return _largest(_falls(found, -1.0))


def highest_fall(found: Sequence[Sample]) -> float:
    """Return the high end of the 95% interval of ``largest_fall``; the low end is the value less t errors."""
    return float(_falls(found, 1.0).highs.max())


def highest_rise(found: Sequence[Sample]) -> float:
    """Return the high end of the 95% interval of ``largest_rise``."""
    return float(_falls(found, -1.0).highs.max())


def _largest(falls: Falls) -> tuple[float, float, float]:
    value, surest = falls.sizes.max(), falls.lows.argmax()
    freedom = float(falls.freedom[surest])
    return float(value), float((value - falls.lows[surest]) / stats.t.isf(TAIL, freedom)), freedom


def _falls(found: Sequence[Sample], sign: float) -> Falls:
    largest = max(float(np.abs(s.values).max()) for s in found) or 1.0  # squares of huge values would overflow
    numbers = [sign * (s.values / largest).mean(axis=1) for s in found]
    means = np.array([each.mean() for each in numbers])
    seeds = np.array([len(each) for each in numbers], dtype=np.float64)
    observed = np.array([each.var(ddof=1) for each in numbers])
    law = variance_law(np.array([s.width for s in found], dtype=np.float64), seeds, observed)
    expected, squares = (np.maximum(v / seeds, LEAST_ERROR**2) for v in (law, np.maximum(law, observed)))
    shares = expected**2 / (seeds - 1)
    freedom = (expected[:-1] + expected[1:]) ** 2 / (shares[:-1] + shares[1:])
    return Falls(largest * (means[:-1] - means[1:]), largest * np.sqrt(squares[:-1] + squares[1:]), freedom)
