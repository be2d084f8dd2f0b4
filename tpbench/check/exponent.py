"""From the sizes of a quantity at each width and seed to its exponent: the average slope over the measured widths.

What a user's model does over the widths that were trained is asked, not what it tends to at infinite width. So the
slope is that of least squares on logarithms with the same weight at every width, a fixed linear map, and its
error is that of the seeds alone: points that do not lie on a straight line are no noise, and the tolerance of a
prediction is what allows for them. (``bench.estimate`` extrapolates, and widens its interval by the misfit; with four
points and hundreds of rows under Holm's correction such an interval refutes hardly anything.)

The narrowest of five or more widths is left out, since finite-width terms are largest there: 1 + 20/n moves the slope
over 128 to 1024 by 0.06. Squares are averaged over seeds before the logarithm; their variance over seeds is smoothed
by a power law of the width (``bench.fit.variance_law``), and the larger of the smoothed and the observed error counts.

A 95% interval covers 95% where sizes scatter about lognormally. It covers less of sizes that are more skewed, at 4
seeds: 92% of |N(0, 1)|, 84% of |t_3|, whose fourth moment is infinite. Refutations are to have p < 1e-3 at the edge of
the tolerance; in simulations of one estimate that was 3e-3 of |N(0, 1)| and 5e-3 of |t_3|, and 1e-3 to 5e-3 where
the prediction is exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from tpbench.bench.claim import Estimate, Prediction
from tpbench.bench.fit import variance_law

Array = NDArray[np.float64]
Sizes = Mapping[int, Array]
"""Width -> the values of its seeds, shape (seed,)."""
LEVEL = 0.95
MIN_WIDTHS, WIDTHS_TO_SPARE, MIN_SEEDS = 3, 5, 2
LEAST_ERROR = 1e-6


def estimate(prediction: Prediction, sizes: Sizes) -> Estimate:
    """Return the exponent of a quantity with its 95% interval.

    Widths with a value that is not finite (a diverged run) or that is 0 at every seed are left out and named in the
    note; where fewer than three remain the estimate is NaN.
    """
    diverged = tuple(width for width, values in sizes.items() if not np.isfinite(values).all())
    zero = tuple(width for width, values in sizes.items() if width not in diverged and not values.any())
    usable = {width: values for width, values in sorted(sizes.items()) if width not in (*diverged, *zero)}
    used = fitted_widths(list(usable))
    notes = [f"diverged at width {_listed(diverged)}"] if diverged else []
    notes += [f"identically zero at width {_listed(zero)}"] if zero else []
    if len(used) < MIN_WIDTHS or min(map(len, usable.values())) < MIN_SEEDS:
        notes.append(f"nothing to estimate: {MIN_WIDTHS} widths of {MIN_SEEDS} seeds are needed")
        nan = math.nan
        return Estimate(prediction, nan, nan, nan, nan, nan, used, "; ".join(notes), diverged)
    value, error, freedom = _slope(usable)
    reach = float(stats.t.ppf(0.5 + LEVEL / 2, freedom)) * error
    return Estimate(prediction, value, error, freedom, value - reach, value + reach, used, "; ".join(notes), diverged)


def fitted_widths(widths: Sequence[int]) -> tuple[int, ...]:
    """Return the widths that the slope is taken over: all but the narrowest, where there are five or more."""
    return tuple(widths[1:] if len(widths) >= WIDTHS_TO_SPARE else widths)


def power(sizes: Sizes) -> float:
    """Return the exponent alone; NaN where a size is 0 or not finite, or where there are fewer than two widths."""
    used = fitted_widths(sorted(sizes))
    squares = np.array([(sizes[width] ** 2).mean() for width in used])
    if len(used) < 2 or not (np.isfinite(squares).all() and (squares > 0).all()):
        return math.nan
    return float(_rule(np.array(used, np.float64)) @ (0.5 * np.log2(squares)))


def size(values: Array) -> float:
    """Return the root mean square over seeds."""
    return float(np.sqrt((values**2).mean()))


def _rule(widths: Array) -> Array:
    """Return the weights with which log2 sizes add up to their slope on log2 widths, shape (width,)."""
    centred = np.log2(widths) - np.log2(widths).mean()
    return np.asarray(centred / (centred**2).sum())


def _slope(sizes: Sizes) -> tuple[float, float, float]:
    """Return slope, standard error and degrees of freedom.

    The logarithm of a mean of S numbers of relative variance v is low by v / 2S on average, which is added back.
    """
    largest = max(float(np.abs(values).max()) for values in sizes.values())
    squares = [(values / largest) ** 2 for values in sizes.values()]
    widths, used = np.array(list(sizes), np.float64), np.isin(list(sizes), fitted_widths(list(sizes)))
    seeds, mean = np.array([len(each) for each in squares], np.float64), np.array([each.mean() for each in squares])
    relative = np.array([each.var(ddof=1) for each in squares]) / mean**2
    law = variance_law(widths, seeds, relative)
    logs = 0.5 * (np.log2(mean) + law / (2 * seeds) / np.log(2))
    rule = np.zeros_like(widths)
    rule[used] = _rule(widths[used])
    of_law, observed = (rule**2 * v / seeds / (2 * np.log(2)) ** 2 for v in (law, relative))
    variance = max(float(of_law.sum()), float(observed.sum()), LEAST_ERROR**2)
    return float(rule @ logs), math.sqrt(variance), _freedom(widths, seeds, relative, of_law)


def _freedom(widths: Array, seeds: Array, relative: Array, shares: Array) -> float:
    """Return the degrees of freedom of a sum of ``shares`` that are proportional to a fitted law of variances.

    That law is a straight line through logarithms of chi-squared variables, which scatter by polygamma(1, freedom/2);
    its two coefficients have a covariance, the logarithm of the sum has a variance V by the delta method, and a
    chi-squared variable of d degrees of freedom whose logarithm has the variance V has polygamma(1, d/2) = V, near
    enough d = 2/V + 1.
    """
    seen = relative > 0
    if seen.sum() < 2:
        return float((seeds - 1).sum())
    columns = np.stack([np.ones_like(widths), np.log(widths / widths[0])], axis=1)
    weights = 1 / special.polygamma(1, (seeds[seen] - 1) / 2)
    covariance = np.linalg.inv((columns[seen] * weights[:, None]).T @ columns[seen])
    gradient = shares @ columns / shares.sum()
    return float(2 / (gradient @ covariance @ gradient) + 1)


def _listed(widths: Sequence[int]) -> str:
    return ", ".join(map(str, widths))
