"""Random programs: each is one, prints, has one law under dense and lazy matrices, and the limit that is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tpbench.programs import Program, limit, sample, show
from tpbench.programs.instructions import MatMul, Moment
from tpbench.programs.random import numbered_program, random_program

Array = NDArray[np.float64]
FEW = settings(derandomize=True, max_examples=8, deadline=None, database=None)


@st.composite
def programs(draw: st.DrawFn, *, transposes: bool | None = None) -> Program:
    """Draw a program; every choice is hypothesis's, so that a failure shrinks to a simple one."""
    both = draw(st.booleans()) if transposes is None else transposes
    return random_program(lambda count: draw(st.integers(0, count - 1)), transposes=both, products=3)


def averages(program: Program, width: int, seeds: range, weights: str) -> Array:
    """Return the outputs of a program, (seed, output)."""
    found = sample(program, width, seeds, weights=weights)
    return torch.stack([found[name] for name in program.outputs], dim=1).numpy()


def z_scores(one: Array, other: Array) -> Array:
    """Return the difference of two samples' means in standard errors; 0 where it is rounding."""
    away = one.mean(axis=0) - other.mean(axis=0)
    error = np.sqrt(one.var(axis=0, ddof=1) / len(one) + other.var(axis=0, ddof=1) / len(other))
    return np.asarray(np.where(np.abs(away) < 1e-12, 0.0, away / np.maximum(error, 1e-15)))


@FEW
@given(programs())
def test_is_a_program_and_prints(program: Program) -> None:
    text = show(program)
    assert text.startswith(f"program in {program.fragment}")
    assert text.endswith("output m1, m2, m3")
    assert len(text.splitlines()) == len(program.bindings) + 2
    assert {b.name for b in program.bindings if isinstance(b, Moment)} >= set(program.outputs)


@FEW
@given(programs(transposes=False))
def test_without_transposes_there_are_none(program: Program) -> None:
    assert not any(b.transposed for b in program.bindings if isinstance(b, MatMul))
    assert "⊤" not in program.fragment


@FEW
@given(programs())
def test_dense_and_lazy_matrices_have_one_law(program: Program) -> None:
    """At a width as small as the number of products, where conditioning on all of them matters most."""
    dense = averages(program, 4, range(1500), "dense")
    lazy = averages(program, 4, range(10_000, 11_500), "lazy")
    assert np.abs(z_scores(dense, lazy)).max() < 4.5
    assert np.abs(z_scores(dense**2, lazy**2)).max() < 4.5


@FEW
@given(programs())
def test_averages_come_to_the_limit(program: Program) -> None:
    """The scatter at width 2^11 is known from the seeds; the bias is c/n there, with c of order 1 in what is drawn."""
    found = limit(program, replicates=16)
    expected = np.array([found.scalars[name].mean for name in program.outputs])
    error = np.array([found.scalars[name].error for name in program.outputs])
    wide = averages(program, 2**11, range(32), "lazy")
    scatter = wide.std(axis=0, ddof=1) / len(wide) ** 0.5
    bias = 10 / 2**11
    away = np.abs(wide.mean(axis=0) - expected)
    assert np.all(away <= 5 * np.hypot(scatter, error) + bias + 1e-9)


@pytest.mark.parametrize("number", [1, 15])
def test_transposes_matter(number: int) -> None:
    """The rival's limit lies far outside the scatter of what is measured, the right one within."""
    program = numbered_program(number, transposes=True)
    right, wrong = (limit(program, transposes=kind).scalars for kind in ("dependent", "independent"))
    found = averages(program, 2**11, range(16), "lazy")
    scatter = found.std(axis=0, ddof=1) / 4 + 1e-9
    expected, rival = (np.array([each[name].mean for name in program.outputs]) for each in (right, wrong))
    assert np.all(np.abs(found.mean(axis=0) - expected) < 5 * scatter + 10 / 2**11)
    assert np.max(np.abs(found.mean(axis=0) - rival) / scatter) > 10


def test_a_number_is_one_program() -> None:
    again = [show(numbered_program(7, transposes=True)) for _ in range(2)]
    assert again[0] == again[1]
    assert len({show(numbered_program(number)) for number in range(20)}) > 15


def test_simplest_choices_make_the_simplest_program() -> None:
    program = random_program(lambda count: 0, products=4)
    assert sum(isinstance(b, MatMul) for b in program.bindings) == 1
    assert program.fragment == "NETSOR"


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"products": 0}, "at least 1 products and 1 moment, got 0 and 3"),
        ({"products": 1, "transposes": True}, "at least 2 products with transposes and 1 moment, got 1 and 3"),
        ({"moments": 0}, "got 4 and 0"),
    ],
)
def test_refuses_what_is_too_little(settings_: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        random_program(lambda count: 0, **settings_)
    with pytest.raises(ValueError, match="numbered from 0, got -1"):
        numbered_program(-1)
