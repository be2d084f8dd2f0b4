"""Which products of a program need derivatives, read off the program."""

from __future__ import annotations

import torch
from torch import Tensor
from trained_programs import relu_slope, tanh_slope, training

from tpbench.programs import Program, Vector, apply, gaussian, inner, matrix, program
from tpbench.programs.infinite.reuse import Reuse, reuse
from tpbench.programs.instructions import Nonlin


def step(x: Tensor) -> Tensor:
    return (x > 0).to(x.dtype)


def read(*vectors: Vector, jumps: bool = True, **options: bool) -> tuple[Program, Reuse]:
    """Return what is read where functions called "step" are known to jump."""
    p = program(*vectors)
    known = {
        (b.function, len(b.vectors), len(b.scalars)): (True,) * len(b.vectors)
        for b in p.bindings
        if isinstance(b, Nonlin) and b.function.name == "step" and jumps
    }
    return p, reuse(p, known, **({"dependent": True, "stein": False} | options))


def test_one_side_needs_nothing() -> None:
    w, v, x = matrix("W"), matrix("V"), gaussian("x")
    _, found = read(v.T @ apply(torch.tanh, w @ apply(torch.tanh, w @ x)))
    assert not found.derivatives
    assert not found.followed
    assert found.queries == {("W", False): 2, ("V", True): 1}


def test_a_vector_that_does_not_depend_on_the_other_side_needs_nothing() -> None:
    w, x, y = matrix("W"), gaussian("x"), gaussian("y")
    p = program(c=inner(w @ x, y), d=inner(w.T @ y, x))
    assert not reuse(p, {}, dependent=True, stein=False).derivatives


def test_forward_and_back_again() -> None:
    w, x = matrix("W"), gaussian("x")
    h = (w @ x).named("h")
    y = apply(torch.tanh, h, name="y")
    g = (w.T @ y).named("g")
    _, found = read(g)
    assert found.derivatives == {"g": ""}
    assert found.road("g") == "autograd"
    assert found.road("h") == ""
    assert found.followed == {"h", "y"}
    assert found.matrices == {"W"}
    assert not read(g, dependent=False)[1].derivatives
    stein = read(g, stein=True)[1]
    assert stein.road("g") == "stein"
    assert not stein.followed


def test_jumps_on_the_way_and_beside_it() -> None:
    w, x, a = matrix("W"), gaussian("x"), gaussian("a")
    h = w @ x
    jump = apply(step, h, name="jump")
    beside = apply(step, a, name="beside")
    _, found = read((w.T @ jump).named("through"), (w.T @ (h * beside)).named("past"))
    assert found.derivatives["through"] == "jump"
    assert found.road("through") == "stein"
    assert found.road("past") == "autograd"
    assert "jump" not in found.followed


def test_jumps_are_inherited_by_corrections() -> None:
    """V x depends on a jump where its Ż is made of a vector that does, of another matrix."""
    w, v, x = matrix("W"), matrix("V"), gaussian("x")
    h = w @ x
    jump = apply(step, h, name="jump")
    k = v.T @ jump
    back = (v @ apply(torch.tanh, k)).named("back")
    final = (w.T @ apply(torch.tanh, back)).named("final")
    _, found = read(final)
    assert found.derivatives == {"back": "", "final": "jump"}
    smooth = read(final, jumps=False)[1]
    assert smooth.derivatives == {"back": "", "final": ""}
    assert "jump" in smooth.followed, "the Ż of `back` is a multiple of it"


def test_training_needs_derivatives_of_both_sides() -> None:
    for activation, slope in ((torch.tanh, tanh_slope), (torch.relu, relu_slope)):
        p = training(activation, slope, steps=2)
        found = reuse(p, {}, dependent=True, stein=False)
        assert len(found.derivatives) == 8, "two backward passes of two inputs, and two forward passes after the first"
        assert found.queries == {("W", False): 6, ("W", True): 4}
