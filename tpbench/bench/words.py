"""How the benchmark's names and numbers are written for people: in pictures, reports and terminals alike."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

from tpbench.bench.claim import ABSENT, Estimate, Kind, Prediction, Side, Verdict

MARKS = {Verdict.SUPPORTED: "✓", Verdict.INCONCLUSIVE: "?", Verdict.REFUTED: "✗"}
"""One sign a verdict, so that colour never is the only one."""

LARGEST_DENOMINATOR = 12
"""Exponents of the theory are fractions with small denominators; other numbers are written as decimals."""


class Term(NamedTuple):
    """A quantity in words, with the symbol the papers use for it ("" where there is none)."""

    words: str
    symbol: str = ""

    def __str__(self) -> str:
        return f"{self.words} {self.symbol}".strip()


TERMS = {
    "preactivation": Term("preactivation", "h"),
    "activation": Term("activation", "x"),
    "preactivation-change": Term("change of preactivation", "Δh"),
    "activation-change": Term("change of activation", "Δx"),
    "weight-update": Term("own weight update", "ΔW x"),
    "initial-weight-on-change": Term("initial weight on change", "W₀ Δx"),
    "output": Term("output", "f"),
    "output-change": Term("change of output", "Δf"),
    "output-error": Term("output error", "f − f∞"),
    "kernel-movement": Term("movement of the tangent kernel", "ΔΘ"),
    "kernel-error": Term("kernel error", "Θ − Θ∞"),
    "nngp-error": Term("error of the NNGP kernel", "K − K∞"),
    "ntk-error": Term("error of the tangent kernel", "Θ − Θ∞"),
    "mean-nngp-error": Term("mean error of the NNGP kernel", "K − K∞"),
    "mean-ntk-error": Term("mean error of the tangent kernel", "Θ − Θ∞"),
    "nngp-rival-share": Term("share of the rival's NNGP kernel"),
    "ntk-rival-share": Term("share of the rival's tangent kernel"),
    "kernel-change": Term("change of the tangent kernel", "ΔΘ"),
    "kernel-term": Term("term of the tangent kernel", "Θ_l"),
    "fourth-cumulant": Term("fourth cumulant of the output", "κ₄(f)"),
    "neuron-cumulant": Term("dependence of two neurons", "Cov(h², h′²)"),
    "program-moment": Term("moment by a program", "⟨x, Mx⟩ − τ∞"),
    "trace-moment": Term("moment by a trace", "tr M/n − τ∞"),
    "scale-free-moment": Term("second moment at a given first", "m₂ − τ∞"),
    "spectral-distance": Term("eigenvalues off the quantiles", "|λ − γ|"),
    "largest-eigenvalue": Term("largest eigenvalue off its edge", "λ₁ − λ∞"),
    "smallest-eigenvalue": Term("smallest eigenvalue off its edge", "λₙ − λ∞"),
    "independent-share": Term("share of independent transposes"),
    "moment-error": Term("error of averages", "⟨ψ⟩ − E ψ(Z)"),
    "mean-moment-error": Term("mean error of averages", "⟨ψ⟩ − E ψ(Z)"),
    "coordinate-moment": Term("moments of W x given x", "E hᵏ/(k−1)!! − 1"),
    "drawn-moment": Term("fourth moment of W x", "E h⁴/3"),
    "pair-dependence": Term("dependence of two neurons", "HSIC"),
    "law-error": Term("distance of the output's law from the limit's", "P − Φ"),
    "quadratic-linear": Term("quadratic less linear model", "F₂ − F₁"),
    "network-quadratic": Term("network less quadratic model", "f − F₂"),
    "network-cubic": Term("network less cubic model", "f − F₃"),
    "shift-difference": Term("difference from the shifted twin"),
    "growth": Term("what must not grow"),
    "initial-size": Term("size at the start", "h"),
    "layer-update": Term("updates and what the read-out passes on", "ΔW x, W₀ Δx"),
    "readout-alignment": Term("alignment with the read-out", "cos(W₀, Δx)"),
    "initial-norm": Term("spectral norm of the initial weight", "‖W₀‖"),
    "update-norm": Term("spectral norm of the update", "‖ΔW‖"),
    "shrinkage": Term("shrinkage of the initial weight", "S"),
    "loss": Term("loss"),
    "limit": Term("infinite-width limit"),
    "relative-moment-1": Term("first moment over its limit"),
    "relative-moment-2": Term("second moment over its limit"),
    "relative-moment-3": Term("third moment over its limit"),
    "relative-moment-4": Term("fourth moment over its limit"),
    "relative-moment-6": Term("sixth moment over its limit"),
    "rival-share": Term("share of the rival's limit"),
    "progress-ratio": Term("progress over the flow's"),
    "mean-error": Term("error of the mean", "f − m∞"),
    "mean-share": Term("rival's share of the mean"),
    "covariance-share": Term("rival's share of the covariance"),
    "mean-ratio": Term("size of the mean over the law's"),
    "variance-ratio": Term("variance over the law's"),
    "critical-rate": Term("largest stable rate over the limit's", "η/η∞"),
    "growth-below-edge": Term("growth a step below the edge"),
    "growth-above-edge": Term("growth a step above the edge"),
    "step-seconds": Term("seconds a step"),
    "peak-bytes": Term("peak memory in bytes"),
    "throughput-fraction": Term("share of peak throughput"),
    "embedding": Term("embedding", "E"),
    "gram-error": Term("error of the Gram matrix", "G − G∞"),
    "loss-error": Term("loss error"),
    "accuracy": Term("accuracy on analogies"),
    "accuracy-gap": Term("accuracy, from the limit's (0) to the kernel limit's (1)"),
    "separation-gap": Term("separation, from the limit's (0) to the kernel limit's (1)"),
    "separation-excess": Term("separation beyond the limit's"),
    "separation-lack": Term("separation below the kernel limit's"),
    "separation": Term("separation of the groups"),
}

KINDS = {
    Kind.EXPONENT: "exponent of the size",
    Kind.SPREAD: "exponent of the spread over seeds",
    Kind.BIAS: "exponent of the bias",
    Kind.VALUE: "value at infinite width",
    Kind.FALL: "largest fall from a width to the next",
    Kind.RISE: "largest rise from a width to the next",
    Kind.NARROWEST: "value at the narrowest width",
    Kind.LARGEST: "largest exponent",
    Kind.SMALLEST: "smallest exponent",
}
"""What an estimate's number is."""


def term(quantity: str) -> Term:
    """Return a quantity's words and symbol; a name without an entry is read out as it stands."""
    return TERMS.get(quantity, Term(quantity.replace("-", " ")))


def number(value: float, digits: int = 2) -> str:
    """Write a number: a fixed number of decimals in the range of exponents, scientific notation elsewhere.

    >>> number(-0.4951), number(3.2e7), number(float("nan"))
    ('−0.50', '3.2e7', 'none')
    """
    if math.isnan(value):
        return "none"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0 or 0.5 * 10**-digits <= abs(value) < 10**4:
        text = f"{value:.{digits}f}"
    else:
        mantissa, exponent = f"{value:.1e}".split("e")
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", "−")


def exact(value: float) -> str:
    """Write a number of the theory: as a fraction where it is one with a small denominator.

    >>> exact(0.5), exact(-1.5), exact(1.0), exact(0.123)
    ('1/2', '−3/2', '1', '0.12')
    """
    if not math.isfinite(value):
        return number(value)
    fraction = Fraction(value).limit_denominator(LARGEST_DENOMINATOR)
    if abs(float(fraction) - value) < 1e-9:
        return str(fraction).replace("-", "−")
    return number(value)


BELOW_NOISE = "no exponent: below the noise"
"""What is written for the exponent of a bias that could be any power."""


def interval(estimate: Estimate) -> str:
    """Write an estimate with its 95% confidence interval, or why there is none.

    The narrower the interval, the more decimals: down to the first digit of its half-width, at least two.
    """
    if math.isnan(estimate.value):
        return "no estimate"
    if estimate.below_noise:
        return BELOW_NOISE
    half = (estimate.high - estimate.low) / 2
    fine = math.isfinite(half) and half > 0
    digits = min(max(2, -math.floor(math.log10(half))), 6) if fine else 2
    low, high = number(estimate.low, digits), number(estimate.high, digits)
    return f"{number(estimate.value, digits)} [{low}, {high}]"


SIGNS = {Side.AT_MOST: "≤ ", Side.AT_LEAST: "≥ "}


def theory(prediction: Prediction) -> str:
    """Write what is predicted: ``1/2``, or ``≤ 1/2`` and ``≥ 1/2`` for bounds."""
    return SIGNS.get(prediction.side, "") + exact(prediction.predicted)


def place(layer: int, step: int) -> str:
    """Write the coordinates a quantity has: ``layer 2, step 5``, or nothing."""
    parts = [("layer", layer), ("step", step)]
    return ", ".join(f"{name} {value}" for name, value in parts if value != ABSENT)


def duration(seconds: float) -> str:
    """Write a wall time: ``41.2 s``, ``3 min 5 s`` or ``2 h 14 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
