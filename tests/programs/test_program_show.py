"""Programs in the papers' notation."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

import pytest
import torch

from tpbench.programs import (
    Function,
    Program,
    Width,
    apply,
    combination,
    constant,
    gaussian,
    gaussians,
    matrix,
    moment,
    program,
    show,
)
from tpbench.programs.instructions import bound_names

SYMMETRIC = """\
program in NETSOR⊤
x ~ N(0, 1)        initial vector
W ~ N(0, (1/2)/n)  matrix, n × n
g1 = W x           MatMul
g2 = Wᵀ x          MatMul
x1 = g1 + g2       Nonlin
x2 = x1 x1         Nonlin
m2 = ⟨x2⟩          Moment
output m2"""

EVERYTHING = """\
program in NETSOR⊤⁺
x ~ N(1, 2)                       initial vector
y, z ~ N(0, [1 1/2; 1/2 1])       initial vectors, width m = 3/2 n
V ~ N(0, 1/n)                     matrix, m = 3/2 n × n
k1 = 3 n^(-1/2)                   scalar
h = V x                           MatMul
g1 = Vᵀ y                         MatMul
c1 = ⟨soft(h; k1)⟩                Moment
x1 = (2/3) h − y + c1 z − 0.25 h  Nonlin
c2 = 1 − c1                       of scalars
x2 = x1^2                         Nonlin
x3 = c2 − x2                      Nonlin
x4 = x3 / 7                       Nonlin
x5 = (-1) x4                      Nonlin
output x5, g1"""


def everything() -> Program:
    m = Width("m", Fraction(3, 2))
    x = gaussian("x", mean=1, variance=2)
    y, z = gaussians("y", "z", covariance=[[1, Fraction(1, 2)], [Fraction(1, 2), 1]], width=m)
    V = matrix("V", rows=m)
    k = constant(3, power=Fraction(-1, 2))
    h = (V @ x).named("h")
    back = V.T @ y
    c = moment(Function("soft", lambda v, s: torch.tanh(v * s)), h, k)
    mixed = combination([(Fraction(2, 3), h), (-1, y), (c, z), (-0.25, h)])
    return program(-(((1 - c) - mixed**2) / 7), back)


def symmetric() -> Program:
    x, W = gaussian("x"), matrix("W", variance=Fraction(1, 2))
    y = (W + W.T) @ x
    return program(m2=moment(y * y))


def test_texts() -> None:
    assert show(symmetric()) == SYMMETRIC
    assert str(symmetric()) == SYMMETRIC
    assert show(everything()) == EVERYTHING


def test_every_name_and_output_is_shown_in_order() -> None:
    made = everything()
    lines = show(made).splitlines()
    assert len(lines) == len(made.bindings) + 2
    for binding, line in zip(made.bindings, lines[1:], strict=False):
        assert line.split(" = ")[0].split(" ~ ")[0].split(", ") == list(bound_names(binding))
    assert lines[-1] == f"output {', '.join(made.outputs)}"


@pytest.mark.parametrize("number", [Fraction(1, 3), Fraction(-5, 7), 2.5, -3])
def test_numbers_in_formulas_are_not_misread(number: Any) -> None:
    """A fraction or a negative number in a formula stands in brackets, wherever it is."""
    x = gaussian("x")
    for made in (number * x, x - number, number / x, x / number, number - x):
        formula = show(program(made)).splitlines()[2].split(" = ")[1]
        bare = formula.replace(f"({number})", "")
        assert "/" not in bare.replace(" / ", "").replace("Nonlin", "")
        assert "-" not in bare


def test_independent_vectors_are_said_to_be() -> None:
    x, _ = gaussians("x", "y")
    assert "x, y ~ N(0, I)" in show(program(x))
    x, _ = gaussians("x", "y", mean=[0, 2])
    assert "x, y ~ N([0, 2], I)" in show(program(x))


def test_a_thousand_instructions_are_checked_and_printed_at_once() -> None:
    begun = time.monotonic()
    x, W = gaussian("x"), matrix("W")
    for _ in range(500):
        x = apply(torch.tanh, W @ x)
    text = show(program(x))
    assert len(text.splitlines()) == 1004
    assert time.monotonic() - begun < 60, "hours mean that something is done anew for every instruction"
