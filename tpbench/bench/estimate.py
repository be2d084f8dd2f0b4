"""From rows to a number with its confidence interval: exponents, bias and spread exponents, values at infinity.

Squares are averaged over seeds and indices before logarithms are taken. Standard errors at each width come from the
spread over seeds (by the delta method, which is what a bootstrap over seeds tends to with many resamples), smoothed
over widths by a power law; they are propagated through a weighted least-squares fit over widths and inflated where the
residuals are larger than the seeds explain (a finite-width bias the fit does not carry). Intervals are 95%, from
Student's t with Welch-Satterthwaite degrees of freedom.

Widths are treated as independent. Networks of one seed at different widths may share random numbers; that correlates
sizes at neighbouring widths, up to 0.7. In simulations of that the intervals still covered 95% (``tests/bench``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tpbench.bench.claim import BIAS_POWERS, Estimate, Kind, Prediction
from tpbench.bench.extremes import largest, of_each_index, smallest
from tpbench.bench.fit import combined_freedom, variance_law, weighted_fit
from tpbench.bench.monotone import highest_fall, highest_rise, largest_fall, largest_rise

Array = NDArray[np.float64]
LEVEL = 0.95
MIN_WIDTHS = 3
WIDTHS_FOR_CORRECTION = 5
LEAST_ERROR = 1e-6


@dataclass(frozen=True)
class Sample:
    """The values of one quantity at one width, shape (seed, index)."""

    width: int
    values: Array


Estimator = Callable[[list[Sample], float], tuple[float, ...]]


def estimate(prediction: Prediction, rows: pd.DataFrame) -> Estimate:
    """Return the estimate of one prediction from the tidy rows of its claim.

    Widths with a value that is not finite (a diverged run), or with fewer than two seeds, are left out and named in
    the note; where fewer than three widths remain, or a size is zero, the estimate is NaN and the note says why.
    Raises ``ValueError`` for rows that are no table of seeds by indices (see ``samples``).
    """
    found = samples(prediction, rows)
    diverged = tuple(s.width for s in found if not np.isfinite(s.values).all())
    single = [s.width for s in found if len(s.values) < 2 and s.width not in diverged]
    usable = [s for s in found if s.width not in diverged and s.width not in single]
    notes = [f"diverged at width {_listed(diverged)}"] if diverged else []
    if single:
        notes.append(f"a single seed at width {_listed(single)}")
    if len(usable) < MIN_WIDTHS:
        notes.append(f"{len(usable)} usable widths, {MIN_WIDTHS} are needed")
        return _nothing(prediction, usable, notes, diverged)
    if prediction.kind is Kind.NARROWEST and usable[0] is not found[0]:
        notes.append(f"width {found[0].width} is the narrowest, and is not usable")
        return _nothing(prediction, usable, notes, diverged)
    silent = [s.width for s in usable if _is_silent(prediction.kind, s.values)]
    if silent and (prediction.kind is not Kind.BIAS or len(silent) == len(usable)):
        what = "no spread over seeds" if prediction.kind is Kind.SPREAD else "identically zero"
        notes.append(f"{what} at width {_listed(silent)}: it has no exponent")
        return _nothing(prediction, usable, notes, diverged)
    if len(usable) < WIDTHS_FOR_CORRECTION and prediction.kind not in UNCORRECTED:
        notes.append(f"no finite-width correction: {len(usable)} widths, {WIDTHS_FOR_CORRECTION} are needed")
    value, error, freedom, *ends = ESTIMATORS[prediction.kind](usable, prediction.correction)
    reach = float(stats.t.ppf(0.5 + LEVEL / 2, freedom)) * error
    high = HIGH_ENDS[prediction.kind](usable) if prediction.kind in HIGH_ENDS else value + reach
    low, high = ends or (value - reach, high)
    widths = tuple(s.width for s in usable)
    return Estimate(prediction, value, error, freedom, low, high, widths, "; ".join(notes), diverged)


def _listed(widths: Sequence[int]) -> str:
    return ", ".join(map(str, widths))


def _is_silent(kind: Kind, values: Array) -> bool:
    """Return whether a size has no logarithm: all values zero, or all seeds equal where their spread is the size."""
    if kind in WITHOUT_LOGARITHM:
        return False
    seen = np.any(values - values[0] if kind is Kind.SPREAD else values, axis=0)
    return not (seen.all() if kind in OF_EACH_INDEX else seen.any())


def samples(prediction: Prediction, rows: pd.DataFrame) -> list[Sample]:
    """Return the prediction's values, one sample a width, in order of width.

    Raises ``ValueError`` when the rows hold nothing of the quantity at all, hold a value of one seed and index
    twice, lack one, or have other indices at one width than at another.
    """
    chosen = rows[
        (rows["parametrization"] == prediction.parametrization)
        & (rows["quantity"] == prediction.quantity)
        & (rows["layer"] == prediction.layer)
        & (rows["step"] == prediction.step)
        & (rows["width"] >= prediction.from_width)
    ]
    what = f"{prediction.quantity!r} (layer {prediction.layer}, step {prediction.step})"
    if chosen.empty:
        raise ValueError(
            f"no rows of {what} under {prediction.parametrization!r}: "
            "the experiment did not measure what the claim predicts"
        )
    if chosen.duplicated(["width", "seed", "index"]).any():
        raise ValueError(f"{what} has two values for one width, seed and index: was a run read twice?")
    indices = np.unique(chosen["index"])
    found = []
    for width in np.unique(chosen["width"]).tolist():
        group = chosen[chosen["width"] == width].sort_values(["seed", "index"])
        if len(group) != group["seed"].nunique() * len(indices):
            raise ValueError(
                f"{what} lacks values at width {width}: every seed needs a value at each of {len(indices)} indices"
            )
        found.append(Sample(width, group["value"].to_numpy(np.float64).reshape(-1, len(indices))))
    return found


def _nothing(prediction: Prediction, usable: list[Sample], notes: list[str], diverged: tuple[int, ...]) -> Estimate:
    note = "nothing to estimate: " + "; ".join(notes)
    return Estimate(prediction, nan, nan, nan, nan, nan, tuple(s.width for s in usable), note, diverged)


def _widths(found: list[Sample]) -> tuple[Array, Array]:
    return np.array([s.width for s in found], dtype=np.float64), np.array([len(s.values) for s in found], np.float64)


def _of_order_one(found: list[Sample]) -> tuple[list[Sample], float]:
    """Return the samples divided by their largest value, and that value: squares of huge values would overflow."""
    largest = max(float(np.abs(s.values).max()) for s in found) or 1.0
    return [Sample(s.width, s.values / largest) for s in found], largest


def _squares(values: Array) -> Array:
    """Return the mean square over indices of each seed."""
    return np.asarray((values**2).mean(axis=1))


def _squared_deviations(values: Array) -> Array:
    """Return what each seed adds to the variance over seeds, averaged over indices; their mean is that variance."""
    return _squares(values - values.mean(axis=0)) * len(values) / (len(values) - 1)


def _power_law(squares: Callable[[Array], Array]) -> Estimator:
    """Fit log2 of the root mean of ``squares`` on log2 width and, where there are widths enough, n^(-correction).

    The logarithm of a mean of S numbers of relative variance v is low by v / 2S on average, which is added back.
    """

    def fit(found: list[Sample], correction: float) -> tuple[float, float, float]:
        found, _ = _of_order_one(found)
        widths, seeds = _widths(found)
        by_seed = [squares(s.values) for s in found]
        size = np.array([each.mean() for each in by_seed])
        relative = np.array([each.var(ddof=1) for each in by_seed]) / size**2
        law = variance_law(widths, seeds, relative)
        y = 0.5 * (np.log2(size) + law / (2 * seeds) / np.log(2))
        error, observed = (np.maximum(np.sqrt(v / seeds) / (2 * np.log(2)), LEAST_ERROR) for v in (law, relative))
        columns = [np.ones_like(widths), np.log2(widths)]
        if len(widths) >= WIDTHS_FOR_CORRECTION:
            columns.append((widths / widths[0]) ** -correction)
        result = weighted_fit(np.stack(columns, axis=1), y, error, seeds, observed)
        return float(result.coefficients[1]), float(result.errors[1]), float(result.freedom[1])

    return fit


def _at_infinity(found: list[Sample], correction: float) -> tuple[float, float, float]:
    """Extrapolate the mean to infinite width: value + c n^(-p), and c' n^(-2p) where widths are enough."""
    found, largest = _of_order_one(found)
    widths, seeds = _widths(found)
    y = np.array([s.values.mean() for s in found])
    variance = np.array([s.values.mean(axis=1).var(ddof=1) for s in found])
    law = variance_law(widths, seeds, variance)
    error, observed = (np.maximum(np.sqrt(v / seeds), LEAST_ERROR) for v in (law, variance))
    falling = (widths / widths[0]) ** -correction
    columns = [np.ones_like(widths), falling]
    if len(widths) >= WIDTHS_FOR_CORRECTION:
        columns.append(falling**2)
    result = weighted_fit(np.stack(columns, axis=1), y, error, seeds, observed)
    return largest * float(result.coefficients[0]), largest * float(result.errors[0]), float(result.freedom[0])


def _at_narrowest(found: list[Sample], correction: float) -> tuple[float, float, float]:
    """Return the mean over seeds at the narrowest width, with Student's error; the other widths do not enter."""
    by_seed = found[0].values.mean(axis=1)
    error = max(float(by_seed.std(ddof=1)) / len(by_seed) ** 0.5, LEAST_ERROR * float(np.abs(by_seed).max()))
    return float(by_seed.mean()), error, len(by_seed) - 1.0


STEP = 0.002
POWERS = np.arange(BIAS_POWERS[0], BIAS_POWERS[1] + STEP / 4, STEP)
LEAST_BEND, MOST_BEND = -0.9, 3.0


def _bias_exponent(found: list[Sample], correction: float) -> tuple[float, float, float]:
    """Fit mean(n) = c n^(-p) (1 + d (n_min/n)^correction), a free vector c with one p and d, by variable projection.

    Means over seeds enter with their signs, so their noise averages out instead of adding to a norm; this sees a
    bias well below the noise of a single index. d is 0 where there are too few widths to carry it.

    The interval holds every p whose best curve explains nearly as much as the best of all: profile likelihood, with
    the noise along the fitted direction c taken from the covariance of the indices, inflated where more is left
    unexplained than noise. A bias below the noise fits every p; where the interval meets an end of ``POWERS``
    nothing bounds it there, and the standard error is such that the interval spans all of them.
    """
    found, _ = _of_order_one(found)
    widths, seeds = _widths(found)
    variance = np.array([s.values.var(axis=0, ddof=1).mean() for s in found])
    means = np.stack([s.values.mean(axis=0) for s in found])  # (width, index)
    spread = np.sqrt(np.maximum(variance, variance_law(widths, seeds, variance)))
    spread = np.maximum(spread, LEAST_ERROR * np.abs(means).max() * np.sqrt(seeds))
    noise = spread / np.sqrt(seeds)
    scaled = means / noise[:, None]
    along = _best_amplitudes(scaled, widths, noise, correction)  # (power, index)
    explained = (along**2).sum(axis=1)
    best, most = _peak(explained)
    bends = len(widths) >= WIDTHS_FOR_CORRECTION
    covariance = _covariance(found)
    spare = scaled.shape[1] * (len(widths) - 1) - 1 - bends
    inflation = max(1.0, float((scaled**2).sum() - most) / spare)
    independent = len(covariance) / float((covariance**2).sum())  # share of the indices that count as independent
    freedom = float(combined_freedom(inflation, np.asarray((seeds - 1).sum()), max(1.0, spare * independent)))
    noise_along = ((along @ covariance) * along).sum(axis=1) / explained
    quantile = float(stats.t.ppf(0.5 + LEVEL / 2, freedom))
    inside = most - explained <= quantile**2 * noise_along * inflation
    inside[explained.argmax()] = True
    step, span = POWERS[1] - POWERS[0], POWERS[-1] - POWERS[0]
    reach = span if inside[0] or inside[-1] else max(step, float(np.abs(POWERS[inside] - best).max(initial=0.0)))
    return -best, float(reach) / quantile, freedom


def _covariance(found: list[Sample]) -> Array:
    """Return the covariance of the indices over seeds, pooled over widths and scaled to a mean variance of 1."""
    deviations = [s.values - s.values.mean(axis=0) for s in found]
    total = sum(d.T @ d * (len(d) - 1) / (d**2).sum() for d in deviations if d.any())
    return np.asarray(total / np.trace(total) * len(total)) if np.any(total) else np.eye(deviations[0].shape[1])


def _best_amplitudes(scaled: Array, widths: Array, noise: Array, correction: float) -> Array:
    """Return for every power the amplitude (power, index) of the curve that explains most of the scaled means.

    The unit curves of one power lie on an arc of a circle, from the least bend to the most; what they explain is a
    sinusoid of twice the angle, so its maximum over the arc is known in closed form.
    """
    ratio = widths / widths[0]

    def unit(bend: float) -> Array:
        curve = ratio ** -POWERS[:, None] * (1 + bend * ratio**-correction) / noise
        return np.asarray(curve / np.linalg.norm(curve, axis=1, keepdims=True))

    if len(widths) < WIDTHS_FOR_CORRECTION:
        return np.asarray(unit(0.0) @ scaled)
    start, end = unit(LEAST_BEND), unit(MOST_BEND)
    cosine = (start * end).sum(axis=1, keepdims=True)
    side = end - cosine * start
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    arc = np.arccos(cosine[:, 0])
    first, second = start @ scaled, side @ scaled
    crest = 0.5 * np.arctan2(2 * (first * second).sum(axis=1), (first**2 - second**2).sum(axis=1)) % np.pi
    further = ((end @ scaled) ** 2).sum(axis=1) > (first**2).sum(axis=1)
    angle = np.where(crest <= arc, crest, np.where(further, arc, 0.0))[:, None]
    return np.asarray(np.cos(angle) * first + np.sin(angle) * second)


def _peak(explained: Array) -> tuple[float, float]:
    """Return the power at which a curve over ``POWERS`` peaks, and its height there, by a parabola."""
    at = int(np.clip(explained.argmax(), 1, len(POWERS) - 2))
    left, middle, right = explained[at - 1 : at + 2]
    curvature = left - 2 * middle + right
    shift = float(np.clip(0.5 * (left - right) / curvature, -1, 1)) if curvature < 0 else 0.0
    height = middle + 0.5 * shift * (right - left) + 0.5 * shift**2 * curvature
    return float(POWERS[at] + shift * (POWERS[1] - POWERS[0])), max(float(height), float(explained.max()))


ESTIMATORS: Mapping[Kind, Estimator] = {
    Kind.EXPONENT: _power_law(_squares),
    Kind.SPREAD: _power_law(_squared_deviations),
    Kind.BIAS: _bias_exponent,
    Kind.VALUE: _at_infinity,
    Kind.FALL: largest_fall,
    Kind.RISE: largest_rise,
    Kind.NARROWEST: _at_narrowest,
    Kind.LARGEST: of_each_index(largest, _power_law(_squares)),
    Kind.SMALLEST: of_each_index(smallest, _power_law(_squares)),
}
"""Kind -> (samples, correction power) -> value, standard error, degrees of freedom, ends of the interval where told."""

OF_EACH_INDEX = (Kind.LARGEST, Kind.SMALLEST)
UNCORRECTED = (Kind.FALL, Kind.RISE, Kind.NARROWEST)
"""Kinds that extrapolate nothing."""
WITHOUT_LOGARITHM = (*UNCORRECTED, Kind.VALUE)
"""Kinds that may be zero everywhere."""

HIGH_ENDS: Mapping[Kind, Callable[[list[Sample]], float]] = {Kind.FALL: highest_fall, Kind.RISE: highest_rise}
"""Kinds whose 95% interval is not symmetric (see ``monotone``), and where it ends above."""
