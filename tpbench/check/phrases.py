"""How a check's layers, quantities and powers of n are called, in tables and sentences."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction

from tpbench.bench.claim import ABSENT, Estimate
from tpbench.check.expect import DECAY, EXPECTED_START, SCALE
from tpbench.check.measurements import Layer, Place

NOUNS: Mapping[Place, str] = {
    Place.INPUT: "first layer",
    Place.HIDDEN: "hidden layer",
    Place.OUTPUT: "read-out",
    Place.VECTOR: "bias or gain",
    Place.FIXED: "parameter of fixed size",
    Place.LOGITS: "attention",
}
SYMBOLS: Mapping[str, str] = {
    "preactivation": "W₀ x₀",
    EXPECTED_START: "W₀ x₀",
    "preactivation-change": "Δ(W x)",
    "weight-update": "ΔW x",
    "initial-weight-on-change": "W₀ Δx",
    "shrinkage": "shrinkage",
    DECAY: "rate·decay",
}
WORDS: Mapping[str, str] = {
    "preactivation": "W x",
    EXPECTED_START: "W x",
    "preactivation-change": "the change of W x",
    "weight-update": "own update ΔW x",
    "initial-weight-on-change": "W₀ Δx",
    "shrinkage": "what decay takes from its weights",
    DECAY: "learning rate × weight decay",
}
LOGITS_SYMBOLS = {"preactivation": "logits", "preactivation-change": "Δ logits", SCALE: "scale · d"}
LOGITS_WORDS = {
    "preactivation": "the size of its logits",
    "preactivation-change": "the change of its logits",
    SCALE: "the scale of its logits times the head's dimension d",
}
GRID = 4
"""Powers are written as quarters where they are near one."""
NEAR = 0.1


USE = re.compile(r" \(\d+(?:st|nd|rd|th) use\)$")


def folded_names(names: Sequence[str]) -> list[str]:
    """Return the names of layers, several uses of one parameter as one name.

    >>> folded_names(["U", "b", "U (2nd use)", "U (3rd use)", "e (2nd use)"])
    ['U (3 uses)', 'b', 'e (2nd use)']
    """
    uses: dict[str, list[str]] = {}
    for name in names:
        uses.setdefault(USE.sub("", name), []).append(name)
    return [found[0] if len(found) == 1 else f"{base} ({len(found)} uses)" for base, found in uses.items()]


def power_text(power: float) -> str:
    """Write a power of n, rounded to a quarter where it is near one.

    >>> power_text(-0.96), power_text(0.5), power_text(0.02), power_text(0.36)
    ('n^-1', 'n^1/2', 'n^0', 'n^0.36')
    """
    if not math.isfinite(power):
        return "n^?"
    halves, quarters = (Fraction(round(power * parts), parts) for parts in (2, GRID))
    for rounded in (halves, quarters):
        if abs(float(rounded) - power) <= NEAR:
            return f"n^{rounded}"
    return f"n^{power:.2f}"


def measured_text(estimate: Estimate) -> str:
    """Write an estimate with its 95% interval to two decimals, which is all that a tolerance of 0.1 asks for."""
    if math.isnan(estimate.value):
        return "no estimate"
    value, low, high = (f"{part:.2f}".replace("-", "−") for part in _unsigned_zeros(estimate))
    return f"{value} [{low}, {high}]"


def _unsigned_zeros(estimate: Estimate) -> tuple[float, ...]:
    return tuple(0.0 if abs(part) < 0.005 else part for part in (estimate.value, estimate.low, estimate.high))


def grows(power: float) -> str:
    """Return how a size goes with the width, in words."""
    if not math.isfinite(power):
        return "has no power of n"
    if abs(power) <= NEAR:
        return "does not depend on the width"
    return f"{'grows' if power > 0 else 'falls'} like {power_text(power)}"


def lacks(excess: float, what: str = "a factor") -> str:
    """Return what a size that is off by n^excess lacks or has too much of.

    >>> lacks(1.0), lacks(-0.5)
    ('lacks a factor n^-1', 'has a factor n^-1/2 too many')
    """
    if excess > 0:
        return f"lacks {what} {power_text(-excess)}"
    return f"has {what} {power_text(excess)} too many"


def as_for(place: Place) -> str:
    """Return "a hidden layer" and the like."""
    return f"a {NOUNS[place]}"


def symbol_text(quantity: str, layer: Layer) -> str:
    """Return a quantity's symbol for a table."""
    if layer.place is Place.LOGITS:
        return LOGITS_SYMBOLS.get(quantity, quantity)
    if layer.place in (Place.VECTOR, Place.FIXED) and quantity == "weight-update":
        return "Δ entries"
    return SYMBOLS.get(quantity, quantity)


def quantity_text(quantity: str, step: int, layer: Layer) -> str:
    """Return a quantity and its step for a sentence."""
    if layer.place is Place.LOGITS:
        what = LOGITS_WORDS.get(quantity, quantity)
    elif layer.place in (Place.VECTOR, Place.FIXED) and quantity == "weight-update":
        what = "the change of its entries"
    else:
        what = WORDS.get(quantity, quantity)
    if quantity == SCALE:
        return what
    return what + {ABSENT: "", 0: " at the start", 1: " after one step"}.get(step, f" after {step} steps")
