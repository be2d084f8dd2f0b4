"""A program against its limit: what it gives at growing widths, how fast bias and spread fall, and the verdicts.

The Master Theorem says that scalars converge; that the spread over seeds is O(n^(-1/2)) and the bias O(1/n) is what
smooth averages over n neurons do. So both exponents are judged as upper bounds, and the value extrapolated to infinite
width as equal to the limit. A limit whose own error could be what is seen judges nothing: its rows are inconclusive.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tpbench.bench.claim import ClaimResult, Estimate, Kind, Prediction, Row, Side, Verdict
from tpbench.bench.claim import Point as Run
from tpbench.bench.estimate import LEVEL, MIN_WIDTHS, estimate
from tpbench.bench.table import join, tabulate
from tpbench.bench.verdict import judge
from tpbench.programs.functions import MULTIPLY
from tpbench.programs.infinite import METHODS, POINTS, REPLICATES, Limit, UnsuitedError, Value, limit
from tpbench.programs.infinite.sobol import MOST_POINTS
from tpbench.programs.instructions import Constant, MatMul, Moment, bound_names, read_names
from tpbench.programs.program import Program
from tpbench.programs.sampling import WEIGHTS, sample

Array = NDArray[np.float64]
SAMPLED, ERROR = "sampled", "error of "
"""The parametrization of all rows: programs have none."""
LAZY_FROM, WIDTHS_A_PRODUCT = 512, 4
"""Lazy matrices pay from this width on, and from so many times the number of products on."""
NUMBERS_AT_ONCE = 2**24
ROUNDING = 1e-11
SEEN = 1e-3
"""A bias is seen where the means would be as far from the limit by chance at most so often."""
VALUE_TOLERANCE = 0.02
"""Of a value, in units of what one neuron contributes or of the limit, whichever is larger: well below the tenths by
which a wrong variance or a forgotten transpose moves a limit."""
UNKNOWN = Value(math.nan)
SPREAD_TOLERANCE = 0.2
"""Of the spread's exponent: less than half of the way from −1/2 to the rival 0; five widths of 64 seeds reach it."""
FEW = f"{{}} widths give no exponents and no verdict: {MIN_WIDTHS} are needed"
COULD_BE = "could be what is seen: ask for more points or replicates"
BIAS_TOLERANCE, BIAS_RIVAL = 0.35, 0.5
"""Of the bias's exponent, as shares of it: the rival is a bias as large as the spread."""


@dataclass(frozen=True)
class Request:
    """What is asked for: widths, seeds at each, weights (dense, lazy or auto), and how the limit is found."""

    widths: tuple[int, ...] = (64, 256, 1024, 4096, 16384)
    seeds: int = 64
    weights: str = "auto"
    device: str = "cpu"
    method: str = "auto"
    points: tuple[int, ...] = POINTS
    replicates: int = REPLICATES

    def __post_init__(self) -> None:
        if self.seeds < 2:
            raise ValueError(f"a spread needs at least 2 seeds, got {self.seeds}")
        if len(set(self.widths)) != len(self.widths):
            raise ValueError(f"widths are given once each, got {', '.join(map(str, self.widths))}")
        if self.weights not in (*WEIGHTS, "auto"):
            raise ValueError(f"weights are {', '.join(WEIGHTS)} or auto, got {self.weights!r}")
        if self.method not in (*METHODS, "auto"):
            raise ValueError(f"methods are auto, {', '.join(METHODS)}; got {self.method!r}")
        for points in self.points:
            if points.bit_count() != 1 or not 1 <= points <= MOST_POINTS:
                close = min(MOST_POINTS, 1 << max(0, points).bit_length())
                raise ValueError(f"numbers of points are powers of two up to 2^30, got {points}: take {close}")


@dataclass(frozen=True)
class Study:
    """What was found. ``asked`` is the program with the mean squares of its vector outputs as further outputs.

    ``limit`` is None where no method can, and ``why`` says why. ``values`` are (seed,) by width and quantity,
    ``weights`` by width; ``rows`` is the same as a table for pictures. ``notes`` say what was not judged.
    """

    name: str
    program: Program
    asked: Program
    limit: Limit | None
    why: str
    values: Mapping[int, Mapping[str, Array]]
    weights: Mapping[int, str]
    rows: pd.DataFrame
    result: ClaimResult
    notes: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """That of the result; inconclusive at best where there is no limit to compare with."""
        found = self.result.verdict
        return Verdict.INCONCLUSIVE if self.limit is None and found is Verdict.SUPPORTED else found

    def mean(self, width: int, quantity: str) -> Value:
        """Return the mean over seeds at a width with its standard error."""
        found = self.values[width][quantity]
        return Value(float(found.mean()), float(found.std(ddof=1)) / math.sqrt(len(found)))


def study(name: str, program: Program, request: Request) -> Study:
    """Sample a program at all widths, find its limit and judge one by the other."""
    check_widths(program, request)
    asked = with_squares(program)
    found, why = _limit(asked, request, "dependent")
    rival = _limit(asked, request, "independent")[0] if found and asked.fragment.startswith("NETSOR⊤") else None
    weights = {width: _weights(asked, width, request) for width in sorted(request.widths)}
    values = {width: _sampled(asked, width, how, request) for width, how in weights.items()}
    rows = join([_table(width, weights[width], values[width], found) for width in weights])
    predictions, notes = _predictions(asked, found, rival, values)
    known = found.scalars if found else {}
    estimates = [estimate(each, rows) for each in predictions]
    estimates = [_with_limit(e, known.get(output_of(e.prediction), UNKNOWN), values) for e in estimates]
    result = judge(name, estimates, why)
    return Study(name, program, asked, found, why, values, weights, rows, result, tuple(notes))


def check_widths(program: Program, request: Request) -> None:
    """Raise ``ValueError`` for a width that a ratio of the program does not divide."""
    for width in request.widths:
        for axis in {*program.widths.values()}:
            axis.at(width)


def with_squares(program: Program) -> Program:
    """Return a program that is asked for its scalar outputs and, instead of vectors, for their mean squares."""
    vectors = [name for name in program.outputs if name in program.widths]
    taken = set(program.kinds)
    squares = {name: f"⟨{name}²⟩" for name in vectors}
    while taken & set(squares.values()):
        squares = {name: f"{square}′" for name, square in squares.items()}
    more = tuple(Moment(square, MULTIPLY, (name, name)) for name, square in squares.items())
    return Program((*program.bindings, *more), tuple(squares.get(name, name) for name in program.outputs))


def error_of(quantity: str) -> str:
    """Return the name of a quantity's distance from its limit."""
    return f"{ERROR}{quantity}"


def output_of(prediction: Prediction) -> str:
    """Return the output that is judged, whether by its value or by its distance from the limit."""
    return prediction.quantity if prediction.kind is Kind.VALUE else prediction.quantity.removeprefix(ERROR)


# --- measuring ---------------------------------------------------------------------------------------------------


def _limit(asked: Program, request: Request, transposes: str) -> tuple[Limit | None, str]:
    options: dict[str, Any] = {"method": request.method, "points": request.points, "replicates": request.replicates}
    try:
        return limit(asked, **options, transposes=transposes, device=request.device), ""
    except UnsuitedError as error:
        return None, str(error)


def _products(asked: Program) -> int:
    return sum(isinstance(binding, MatMul) for binding in asked.bindings)


def _weights(asked: Program, width: int, request: Request) -> str:
    if request.weights != "auto":
        return request.weights
    return "lazy" if width >= max(LAZY_FROM, WIDTHS_A_PRODUCT * _products(asked)) else "dense"


def _sampled(asked: Program, width: int, weights: str, request: Request) -> dict[str, Array]:
    numbers = width * (width if weights == "dense" else 4 * _products(asked) + len(asked.widths))
    at_once = max(1, NUMBERS_AT_ONCE // max(1, numbers))
    parts = [
        sample(asked, width, range(first, min(first + at_once, request.seeds)), weights=weights, device=request.device)
        for first in range(0, request.seeds, at_once)
    ]
    return {name: np.concatenate([part[name].cpu().numpy() for part in parts]) for name in asked.outputs}


def _table(width: int, weights: str, values: Mapping[str, Array], found: Limit | None) -> pd.DataFrame:
    """Return the values as rows, and their distances from the limit, or where that is unknown from nothing."""
    rows = []
    for quantity, of_seeds in values.items():
        away = found.scalars[quantity].mean if found else 0.0
        for seed, value in enumerate(of_seeds.tolist()):
            rows += [Row(quantity, value, seed=seed), Row(error_of(quantity), value - away, seed=seed)]
    point = Run("program", SAMPLED, width, tuple(range(len(rows))), {"weights": weights}, "")
    return tabulate(point, rows)


# --- judging -----------------------------------------------------------------------------------------------------


def _predictions(
    asked: Program, found: Limit | None, rival: Limit | None, values: Mapping[int, Mapping[str, Array]]
) -> tuple[list[Prediction], list[str]]:
    """Return what is judged, and notes on what is not."""
    powers = slowest_powers(asked)
    predictions: list[Prediction] = []
    notes = [FEW.format(len(values))] if len(values) < MIN_WIDTHS else []
    for quantity in asked.outputs:
        by_width, power = {width: each[quantity] for width, each in values.items()}, powers[quantity]
        known = found.scalars[quantity] if found else UNKNOWN
        size = max(abs(known.mean) if math.isfinite(known.mean) else 0.0, _unit(by_width)) or 1.0
        if max(float(each.std()) for each in by_width.values()) > ROUNDING * size:
            spread = Prediction(
                SAMPLED, error_of(quantity), Kind.SPREAD, -0.5, 0.0, SPREAD_TOLERANCE, side=Side.AT_MOST
            )
            predictions.append(spread)
        else:
            notes.append(f"{quantity} is the same for all seeds: it has no spread")
        if found is None:
            continue
        if not math.isfinite(known.mean):
            notes.append(f"{quantity} has no finite limit to be compared with")
            continue
        why = _no_bias(by_width, known, size)
        if why:
            notes.append(f"{quantity}: {why}")
        else:
            predictions.append(_bias(quantity, power))
        tolerance = VALUE_TOLERANCE * size
        other = _rival(known.mean, rival.scalars[quantity].mean if rival else known.mean, tolerance, size)
        predictions.append(Prediction(SAMPLED, quantity, Kind.VALUE, known.mean, other, tolerance, correction=-power))
    return predictions, notes


def slowest_powers(program: Program) -> dict[str, float]:
    """Return, by name, the power of n with which a bias may fall: −1, or that of a slower constant it depends on."""
    found: dict[str, float] = {}
    for b in program.bindings:
        own = [float(b.power)] if isinstance(b, Constant) and b.power < 0 else []
        found |= dict.fromkeys(bound_names(b), max([-1.0, *own, *(found[name] for name in read_names(b))]))
    return found


def _bias(quantity: str, power: float) -> Prediction:
    rival, tolerance = BIAS_RIVAL * power, BIAS_TOLERANCE * abs(power)
    return Prediction(SAMPLED, error_of(quantity), Kind.BIAS, power, rival, tolerance, side=Side.AT_MOST)


def _unit(by_width: Mapping[int, Array]) -> float:
    """Return about what one neuron contributes to a quantity: its spread at the narrowest width, times √n."""
    width, values = min(by_width.items())
    return float(values.std()) * math.sqrt(width)


def _rival(known: float, independent: float, tolerance: float, size: float) -> float:
    """Return what W and Wᵀ taken for independent would give; where that is no other number, 0, or twice the limit."""
    for other in (independent, 0.0):
        if math.isfinite(other) and abs(other - known) > 1.01 * tolerance:
            return other
    return known + size


def _no_bias(by_width: Mapping[int, Array], known: Value, size: float) -> str:
    """Return why there is no bias to fit a power to, or nothing where there is."""
    away = np.array([each.mean() - known.mean for each in by_width.values()])
    if np.abs(away).max() <= ROUNDING * size:
        return "it equals its limit at every width"
    errors = np.array([each.std(ddof=1) / math.sqrt(len(each)) for each in by_width.values()])
    errors = np.hypot(errors, max(known.error, ROUNDING * size))
    scores = away / errors
    freedom = min(len(each) for each in by_width.values()) - 1
    chances = 2 * stats.t.sf(np.abs(scores), freedom)
    if float(chances.min()) * len(scores) > SEEN:
        widest = max(by_width)
        bound = abs(away[-1]) + 2 * errors[-1]
        return f"no bias is seen above the noise (at n = {widest} it is below {bound:.1g}), so it has no exponent"
    return ""


def _with_limit(found: Estimate, known: Value, values: Mapping[int, Mapping[str, Array]]) -> Estimate:
    """Return an estimate whose interval knows of the limit's error, or one of nothing where that is too large.

    A value's error and the limit's add as squares. A bias is fitted to distances from the limit: where its error is
    above a third of the distance at the widest width and above the noise there, what is fitted may be that error.
    """
    prediction = found.prediction
    if math.isnan(found.value) or prediction.kind is Kind.SPREAD:
        return found
    if prediction.kind is Kind.VALUE:
        error = math.hypot(found.error, known.error)
        reach = float(stats.t.ppf(0.5 + LEVEL / 2, found.freedom)) * error
        return replace(found, error=error, low=found.value - reach, high=found.value + reach)
    widest = values[max(values)][output_of(prediction)]
    noise = float(widest.std(ddof=1)) / math.sqrt(len(widest))
    if known.error <= max(noise, abs(float(widest.mean()) - known.mean) / 3):
        return found
    note = f"the limit's error {known.error:.1e} {COULD_BE}"
    nothing = math.nan
    return replace(found, value=nothing, error=nothing, freedom=nothing, low=nothing, high=nothing, note=note)
