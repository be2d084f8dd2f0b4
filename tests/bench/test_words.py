"""Names and numbers as people read them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tpbench.bench import words
from tpbench.bench.claim import ABSENT, Estimate, Kind, Prediction, Side

THEORY = Prediction("muP", "output", Kind.EXPONENT, 0.5, 0.0, 0.1)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "1/2"), (-1.5, "−3/2"), (0, "0"), (-2, "−2"), (1 / 3, "1/3"), (0.123, "0.12"), (math.inf, "∞")],
)
def test_numbers_of_the_theory_are_fractions(value: float, text: str) -> None:
    assert words.exact(value) == text


@pytest.mark.parametrize(("half", "text"), [(0.3, "0.49 [0.19, 0.79]"), (0.002, "0.490 [0.488, 0.492]")])
def test_intervals_have_the_decimals_they_need(half: float, text: str) -> None:
    estimate = Estimate(THEORY, 0.49, 0.01, 9, 0.49 - half, 0.49 + half, (64,))
    assert words.interval(estimate) == text


def test_a_bias_below_the_noise_has_no_exponent() -> None:
    bias = Estimate(replace(THEORY, kind=Kind.BIAS), 1.0, 2.0, 9, -3.0, 5.0, (64,))
    assert words.interval(bias) == "no exponent: below the noise"
    assert words.interval(replace(bias, high=4.5)) == "1.00 [−3.00, 4.50]"
    assert words.interval(replace(bias, prediction=THEORY)) == "1.00 [−3.00, 5.00]"


def test_bounds_and_unknown_quantities_are_written() -> None:
    bound = replace(THEORY, side=Side.AT_MOST)
    assert words.theory(bound) == "≤ 1/2"
    assert str(words.term("readout-gradient")) == "readout gradient"
    assert words.place(2, ABSENT) == "layer 2"


@pytest.mark.parametrize(("seconds", "text"), [(41.21, "41.2 s"), (185.2, "3 min 5 s"), (8040, "2 h 14 min")])
def test_durations_are_written(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_examples_of_numbers_hold() -> None:
    for value, text in [(-0.4951, "−0.50"), (3.2e7, "3.2e7"), (math.nan, "none"), (-math.inf, "−∞"), (0, "0.00")]:
        assert words.number(value) == text
