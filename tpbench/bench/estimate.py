"""From rows to a number with its confidence interval: exponents, bias and spread exponents, values at infinity.

Squares are averaged over seeds and indices before logarithms are taken. Standard errors at each width come from a
bootstrap over seeds; they are propagated through a weighted least-squares fit over widths and inflated where the
residuals are larger than the seeds explain (a finite-width bias the fit does not carry). Intervals are 95%, from
Student's t with Welch-Satterthwaite degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tpbench.bench.claim import Estimate, Kind, Prediction

Array = NDArray[np.float64]
RESAMPLES = 1000
LEVEL = 0.95
MIN_WIDTHS = 3
WIDTHS_FOR_CORRECTION = 5
LEAST_ERROR = 1e-6


@dataclass(frozen=True)
class Sample:
    """The values of one quantity at one width, shape (seed, index)."""

    width: int
    values: Array


def estimate(prediction: Prediction, rows: pd.DataFrame) -> Estimate:
    """Return the estimate of one prediction from the tidy rows of its claim.

    Widths with a value that is not finite (a diverged run), or with fewer than two seeds, are left out and named in
    the note; where fewer than three widths remain the estimate is NaN and the note says why.
    """
    found = samples(prediction, rows)
    diverged = [s.width for s in found if not np.isfinite(s.values).all()]
    single = [s.width for s in found if len(s.values) < 2]
    usable = [s for s in found if s.width not in diverged and s.width not in single]
    notes = [f"diverged at width {', '.join(map(str, diverged))}"] if diverged else []
    if single:
        notes.append(f"a single seed at width {', '.join(map(str, single))}")
    if len(usable) < MIN_WIDTHS:
        notes.append(f"{len(usable)} usable widths, {MIN_WIDTHS} are needed")
        return _nothing(prediction, usable, notes)
    if prediction.kind is not Kind.VALUE and all(not np.any(s.values) for s in usable):
        return _nothing(prediction, usable, [*notes, "identically zero: it has no exponent"])
    if len(usable) < WIDTHS_FOR_CORRECTION:
        notes.append(f"no finite-width correction: {len(usable)} widths, {WIDTHS_FOR_CORRECTION} are needed")
    value, error, freedom = ESTIMATORS[prediction.kind](usable, prediction.correction)
    reach = float(stats.t.ppf(0.5 + LEVEL / 2, freedom)) * error
    return Estimate(
        prediction,
        value,
        error,
        freedom,
        value - reach,
        value + reach,
        tuple(s.width for s in usable),
        "; ".join(notes),
    )


def samples(prediction: Prediction, rows: pd.DataFrame) -> list[Sample]:
    """Return the prediction's values, one sample a width, in order of width.

    Raises ``ValueError`` when the rows hold nothing of the quantity at all.
    """
    chosen = rows[
        (rows["parametrization"] == prediction.parametrization)
        & (rows["quantity"] == prediction.quantity)
        & (rows["layer"] == prediction.layer)
        & (rows["step"] == prediction.step)
        & (rows["width"] >= prediction.from_width)
    ]
    if chosen.empty:
        raise ValueError(
            f"no rows of {prediction.quantity!r} (layer {prediction.layer}, step {prediction.step}) under "
            f"{prediction.parametrization!r}: the experiment did not measure what the claim predicts"
        )
    return [
        Sample(int(width), group.pivot(index="seed", columns="index", values="value").to_numpy(np.float64))
        for width in sorted(chosen["width"].unique())
        for group in [chosen[chosen["width"] == width]]
    ]


def _nothing(prediction: Prediction, usable: list[Sample], notes: list[str]) -> Estimate:
    nan = float("nan")
    return Estimate(
        prediction,
        nan,
        nan,
        nan,
        nan,
        nan,
        tuple(s.width for s in usable),
        "nothing to estimate: " + "; ".join(notes),
    )


def _resampled(sample: Sample) -> tuple[Array, Array]:
    """Return bootstrap means over seeds of values and of squares, shape (RESAMPLES, index).

    The generator depends on the width and the number of seeds alone, so the same rows give the same interval. The
    deviations are widened by sqrt(S / (S - 1)), which makes the bootstrap variance unbiased.
    """
    seeds = len(sample.values)
    rng = np.random.default_rng([seeds, sample.width])
    counts = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES) / seeds
    widen = np.sqrt(seeds / (seeds - 1))
    counts = 1 / seeds + (counts - 1 / seeds) * widen
    return counts @ sample.values, counts @ sample.values**2


def _log_size(sample: Sample) -> tuple[float, float]:
    """Return log2 of the root mean square, and its standard error."""
    _, squares = _resampled(sample)
    return _log_root(float((sample.values**2).mean()), squares.mean(axis=1))


def _log_spread(sample: Sample) -> tuple[float, float]:
    """Return log2 of the root mean (over indices) variance (over seeds), and its standard error."""
    means, squares = _resampled(sample)
    scale = len(sample.values) / (len(sample.values) - 1)
    return _log_root(float(sample.values.var(axis=0, ddof=1).mean()), scale * (squares - means**2).mean(axis=1))


def _log_root(square: float, resampled: Array) -> tuple[float, float]:
    if square <= 0:
        return float("-inf"), float("inf")
    error = resampled.std(ddof=1) / square / (2 * np.log(2))  # delta method: the bootstrap may touch zero
    return 0.5 * float(np.log2(square)), max(float(error), LEAST_ERROR)


@dataclass(frozen=True)
class Fit:
    """A weighted least-squares fit: coefficients, their errors (inflated by misfit), degrees of freedom."""

    coefficients: Array
    errors: Array
    freedom: Array


def weighted_fit(design: Array, y: Array, error: Array, seeds: Array) -> Fit:
    """Fit y = design @ c by weighted least squares; ``error`` are standard errors of y from ``seeds`` seeds each.

    Errors are inflated by sqrt(chi² / degrees of freedom) where that exceeds 1 (the Birge ratio).
    """
    weighted = design / error[:, None]
    inverse = np.linalg.inv(weighted.T @ weighted)
    rule = inverse @ weighted.T / error[None, :]  # c = rule @ y
    coefficients = rule @ y
    spare = len(y) - design.shape[1]
    misfit = float((((y - design @ coefficients) / error) ** 2).sum()) / spare if spare > 0 else 1.0
    shares = rule**2 * error**2
    variance = shares.sum(axis=1)
    freedom = variance**2 / (shares**2 / (seeds - 1)).sum(axis=1)
    return Fit(coefficients, np.sqrt(variance * max(1.0, misfit)), freedom)


def _widths(found: list[Sample]) -> tuple[Array, Array]:
    return np.array([s.width for s in found], dtype=np.float64), np.array([len(s.values) for s in found], np.float64)


def _power_law(
    log_size: Callable[[Sample], tuple[float, float]],
) -> Callable[[list[Sample], float], tuple[float, float, float]]:
    def fit(found: list[Sample], correction: float) -> tuple[float, float, float]:
        widths, seeds = _widths(found)
        y, error = np.array([log_size(s) for s in found]).T
        columns = [np.ones_like(widths), np.log2(widths)]
        if len(widths) >= WIDTHS_FOR_CORRECTION:
            columns.append((widths / widths[0]) ** -correction)
        result = weighted_fit(np.stack(columns, axis=1), y, error, seeds)
        return float(result.coefficients[1]), float(result.errors[1]), float(result.freedom[1])

    return fit


def _at_infinity(found: list[Sample], correction: float) -> tuple[float, float, float]:
    """Extrapolate the mean to infinite width: value + c n^(-p), and c' n^(-2p) where widths are enough."""
    widths, seeds = _widths(found)
    y = np.array([s.values.mean() for s in found])
    error = np.array([s.values.mean(axis=1).std(ddof=1) / np.sqrt(len(s.values)) for s in found])
    falling = (widths / widths[0]) ** -correction
    columns = [np.ones_like(widths), falling]
    if len(widths) >= WIDTHS_FOR_CORRECTION:
        columns.append(falling**2)
    result = weighted_fit(np.stack(columns, axis=1), y, np.maximum(error, LEAST_ERROR), seeds)
    return float(result.coefficients[0]), float(result.errors[0]), float(result.freedom[0])


POWERS = np.arange(-1.0, 3.0, 0.01)
BENDS = np.linspace(-0.9, 3.0, 40)


def _bias_exponent(found: list[Sample], correction: float) -> tuple[float, float, float]:
    """Fit mean(n) = c n^(-p) (1 + d (n_min/n)^correction), a free vector c with one p and d, by variable projection.

    Means over seeds enter with their signs, so their noise averages out instead of adding to a norm; this sees
    a bias well below the noise of a single index. d is 0 where there are too few widths to carry it.
    """
    widths, seeds = _widths(found)
    noise = np.array([np.sqrt(s.values.var(axis=0, ddof=1).mean() / len(s.values)) for s in found])
    if not noise.all():
        raise ValueError(f"no spread over seeds at width {int(widths[noise == 0][0])}: a bias cannot be weighed there")
    means = np.stack([s.values.mean(axis=0) for s in found])  # (width, index)
    resampled = np.stack([_resampled(s)[0] for s in found], axis=1)  # (resample, width, index)
    scaled = np.concatenate([means[None], resampled]) / noise[None, :, None]
    powers = _best_power(np.einsum("bwi,bvi->bwv", scaled, scaled), _curves(widths, noise, correction))
    low, high = np.quantile(powers[1:], [0.025, 0.975])
    return -float(powers[0]), float(high - low) / (2 * 1.96), float(seeds.min() - 1)


def _curves(widths: Array, noise: Array, correction: float) -> Array:
    """Return the weighted curves that may explain the means, unit vectors of shape (power, bend, width)."""
    ratio = widths / widths[0]
    bends = BENDS if len(widths) >= WIDTHS_FOR_CORRECTION else np.zeros(1)
    curves = ratio ** -POWERS[:, None, None] * (1 + bends[:, None] * ratio**-correction) / noise
    return np.asarray(curves / np.linalg.norm(curves, axis=-1, keepdims=True))


def _best_power(gram: Array, curves: Array) -> Array:
    """Return the power whose curve explains most of each Gram matrix (resample, width, width), by a parabola."""
    outer = np.einsum("pdw,pdv->wvpd", curves, curves).reshape(gram.shape[1] ** 2, -1)
    explained = (gram.reshape(len(gram), -1) @ outer).reshape(len(gram), len(POWERS), -1).max(axis=-1)
    best = np.clip(explained.argmax(axis=1), 1, len(POWERS) - 2)
    rows = np.arange(len(gram))
    left, middle, right = (explained[rows, best + offset] for offset in (-1, 0, 1))
    curvature = left - 2 * middle + right
    shift = np.divide(0.5 * (left - right), curvature, out=np.zeros_like(middle), where=curvature < 0)
    return np.asarray(POWERS[best] + np.clip(shift, -1, 1) * (POWERS[1] - POWERS[0]))


ESTIMATORS: Mapping[Kind, Callable[[list[Sample], float], tuple[float, float, float]]] = {
    Kind.EXPONENT: _power_law(_log_size),
    Kind.SPREAD: _power_law(_log_spread),
    Kind.BIAS: _bias_exponent,
    Kind.VALUE: _at_infinity,
}
"""Kind -> (samples, correction power) -> value, standard error, degrees of freedom."""
