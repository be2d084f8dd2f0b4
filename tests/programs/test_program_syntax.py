"""Programs from symbols: what operators stand for, names, order, immutability, liveness, fragments."""

from __future__ import annotations

import itertools
import operator
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tpbench.programs import (
    Function,
    Operator,
    Program,
    Vector,
    Width,
    apply,
    combination,
    constant,
    gaussian,
    gaussians,
    inner,
    limit,
    matrix,
    moment,
    program,
    sample,
)
from tpbench.programs.instructions import MatMul, Moment, Nonlin, bound_names, read_names
from tpbench.programs.program import free_after

WIDTH, SEEDS = 7, 3


def values(*outputs: Any, **named: Any) -> list[Tensor]:
    """Return the outputs at a small width, in the order of the program."""
    return list(sample(program(*outputs, **named), WIDTH, SEEDS).values())


def test_importing_and_writing_programs_imports_no_heavy_module() -> None:
    code = (
        "import sys; from tpbench.programs import gaussian, matrix, moment, Width; x = gaussian('x'); W = matrix('W'); "
        "m = moment(x * ((W + W.T) @ x)); print([name for name in ('torch', 'scipy', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "formula",
    [
        lambda x, y, c: x + y,
        lambda x, y, c: x - y,
        lambda x, y, c: x * y,
        lambda x, y, c: x / (y * y + 1),
        lambda x, y, c: -x,
        lambda x, y, c: x**3,
        lambda x, y, c: 2 * x + y * 0.25,
        lambda x, y, c: 1 - x,
        lambda x, y, c: x - 1,
        lambda x, y, c: 1.5 / (2 + x * x),
        lambda x, y, c: x / 4,
        lambda x, y, c: c * x,
        lambda x, y, c: c - x,
        lambda x, y, c: x - c,
        lambda x, y, c: c / (x * x + 1),
        lambda x, y, c: x / (c + 2) + c**2 * y - (1 - c) * x,
        lambda x, y, c: 3 / (c + 5) - c / 7 - c * c + 0 * c,
        lambda x, y, c: sum([x, y, x]),
    ],
)
def test_operators_are_those_of_tensors(formula: Callable[..., Any]) -> None:
    x, y = gaussians("x", "y")
    c = moment(x * y)
    got, a, b, mean = values(formula(x, y, c), x, y, c)
    wanted = formula(a, b, mean[:, None])
    wanted = wanted[:, 0] if got.ndim == 1 else wanted
    torch.testing.assert_close(got, wanted, rtol=1e-13, atol=1e-13)


def test_numbers_of_numpy_are_numbers() -> None:
    x = gaussian("x")
    big = np.int64(2**62)
    doubled, scaled, applied, plain = values(
        np.float64(2) * x, x * big * big, apply(lambda v, c: v * c, x, np.int64(3)), x
    )
    torch.testing.assert_close(doubled, 2 * plain)
    torch.testing.assert_close(scaled, plain * 2.0**124), "a fraction of NumPy's integers would overflow"
    torch.testing.assert_close(applied, 3 * plain)


@pytest.mark.parametrize("decimal_first", [True, False])
def test_a_decimal_and_a_whole_number_are_two_functions(decimal_first: bool) -> None:
    """2 and 2.0 are equal and have one hash: a cache that took one for the other made exact limits decimals."""
    one, other = (17.0, 17) if decimal_first else (17, 17.0)
    x = gaussian("x")
    for make in (lambda c: c * x, lambda c: combination([(c, x), (1, x)])):
        made = [program(make(c)).bindings[-1] for c in (one, other)]
        results = [b.function.call(*[Fraction(1, 3)] * len(b.vectors)) for b in made if isinstance(b, Nonlin)]
        assert [type(value) for value in results] == ([float, Fraction] if decimal_first else [Fraction, float])


@pytest.mark.parametrize(
    "make",
    [
        lambda A, B, x: (A @ B) @ x - A @ (B @ x),
        lambda A, B, x: (A + B) @ x - (A @ x + B @ x),
        lambda A, B, x: (A - B) @ x - (A @ x - B @ x),
        lambda A, B, x: (2 * A - B * Fraction(1, 3)) @ x - (2 * (A @ x) - Fraction(1, 3) * (B @ x)),
        lambda A, B, x: -A @ x + A @ x,
        lambda A, B, x: (A / 2 - B / Fraction(1, 3) + A / 0.5) @ x - (2.5 * (A @ x) - 3 * (B @ x)),
        lambda A, B, x: (A + A.T).T @ x - (A + A.T) @ x,
        lambda A, B, x: (A @ B).T @ x - B.T @ (A.T @ x),
        lambda A, B, x: ((A + B) @ (A - B.T)) @ x - (A + B) @ ((A - B.T) @ x),
        lambda A, B, x: ((A + B) @ (A - B.T)).T @ x - (A.T - B) @ ((A + B).T @ x),
        lambda A, B, x: (3 * (A @ B) @ (2 * B)) @ x - 6 * (A @ (B @ (B @ x))),
    ],
)
def test_matrices_obey_linear_algebra(make: Callable[..., Vector]) -> None:
    difference, x = values(make(matrix("A"), matrix("B", variance=2), gaussian("x")), gaussian("y"))
    assert float(x.abs().max()) > 0.1
    torch.testing.assert_close(difference, torch.zeros_like(difference), rtol=0, atol=1e-12)


@pytest.mark.parametrize("power", [1, 2, 6])
def test_powers_of_a_sum_are_not_multiplied_out(power: int) -> None:
    W, x = matrix("W"), gaussian("x")
    A = W + W.T
    whole = A
    for _ in range(power - 1):
        whole = whole @ A
    count = sum(isinstance(b, MatMul) for b in program(whole @ x).bindings)
    assert count == 2 * power


@pytest.mark.parametrize(
    ("attempt", "says"),
    [
        (lambda W, x: W * x, "apply it with @"),
        (lambda W, x: x * W, "apply it with @"),
        (lambda W, x: W @ 2, "scale it with"),
        (lambda W, x: W + x, "only matrices add"),
        (lambda W, x: apply(torch.tanh, W), "vectors, scalars and numbers, got Operator"),
        (lambda W, x: apply(torch.tanh, "x"), "got str"),
        (lambda W, x: W / x, "divide it by numbers"),
        (lambda W, x: 2 / W, "no inverses"),
        (lambda W, x: x @ W, "write W.T @ x"),
        (lambda W, x: x @ x, "inner"),
        (lambda W, x: torch.eye(2) @ W, "got Tensor"),
        (lambda W, x: 2 @ W, "got int"),
        (lambda W, x: inner(x, moment(x)), "inner takes two vectors, got Scalar"),
        (lambda W, x: inner(2, x), "inner takes two vectors, got int"),
        (lambda W, x: 2**x, "apply a function of your own"),
        (lambda W, x: torch.relu(x), r"write apply\(torch.relu, x\)"),
        (lambda W, x: torch.nn.functional.gelu(x), r"apply\(torch.nn.functional.gelu, x\)"),
        (lambda W, x: torch.tanh(moment(x)), r"write moment\(torch.tanh, c\)"),
        (lambda W, x: torch.tanh(W), r"a matrix of a program is none: .*apply\(torch.tanh, W @ x\)"),
    ],
)
def test_what_matrices_do_not_do_is_a_type_error(attempt: Callable[..., Any], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        attempt(matrix("W"), gaussian("x"))


@pytest.mark.parametrize("operate", [operator.add, operator.sub, operator.mul, operator.truediv])
@pytest.mark.parametrize("tensor_first", [True, False])
def test_tensors_are_no_numbers_of_a_program(operate: Callable[..., Any], tensor_first: bool) -> None:
    """Torch turns some refusals of its own operators into bare ones, so each is tried from both sides."""
    for value in (gaussian("x"), moment(gaussian("x"))):
        pair = (torch.tensor(2.0), value)
        with pytest.raises(TypeError, match=r"give a plain number, such as 2 or float\(tensor\)"):
            operate(*(pair if tensor_first else reversed(pair)))


def test_absolute_values_are_those_of_torch() -> None:
    x = gaussian("x")
    size, of_scalar, plain, c = values(abs(x), abs(moment(x) - 1), x, moment(x))
    torch.testing.assert_close(size, plain.abs())
    torch.testing.assert_close(of_scalar, (c - 1).abs())
    found = limit(program(m=moment(abs(matrix("W") @ x)))).scalars["m"]
    assert abs(found.mean - (2 / np.pi) ** 0.5) <= 1e-9 + 4 * found.error < 1e-2


def test_what_cannot_be_is_refused_where_it_is_written() -> None:
    for attempt, says in (
        (lambda: gaussian("x", variance=-1), "covariance of x has a negative variance"),
        (lambda: gaussians("x", "y", covariance=[[1, 0], [1, 1]]), "not symmetric"),
        (lambda: matrix("W", variance=0), "variance above 0"),
        (lambda: constant(1, power=1), "of order 1"),
        (lambda: matrix("W") / 0, "divided by 0"),
    ):
        with pytest.raises(ValueError, match=says):
            attempt()


@pytest.mark.parametrize(
    ("attempt", "says"),
    [
        (lambda x: apply(lambda c: c, moment(x)), r"write moment\(function, \*scalars\)"),
        (lambda x: moment(x, x), "moment"),
        (lambda x: moment(moment(x)), "moment of a scalar"),  # type: ignore[arg-type]
        (lambda x: combination([]), "no vectors"),
        (lambda x: x**0, "whole numbers from 1"),
        (lambda x: x**0.5, "apply a function of your own"),
        (lambda x: program(), "computes nothing"),
        (lambda x: program(matrix("W")), "got Operator"),  # type: ignore[arg-type]
        (lambda x: program(out=x), "give it one name"),
        (lambda x: program(x.named("y")), "keeps the name"),
        (lambda x: program(gaussians("a", "b")[1].named("y")), "keeps the name"),
        (lambda x: program(gaussian("")), "not empty"),
        (lambda x: program((x * x).named("p,q")), "no commas"),
        (lambda x: program(gaussian("x") + x), "'x' is bound twice"),
        (lambda x: program((x + 1).named("m"), (x + 2).named("m")), "'m' is bound twice"),
        (lambda x: program(a=(y := x + 1), b=y), "give it one name"),
        (lambda x: program(constant(1, power=1)), "of order 1"),
        (lambda x: program(constant(float("nan"))), "finite"),
        (lambda x: program(matrix("W", variance=0) @ x), "variance above 0"),
        (lambda x: Width("m", 0.5), r"such as Fraction\(1, 2\)"),  # type: ignore[arg-type]
        (lambda x: Width("m", Fraction(0)), "ratio above 0"),
    ],
)
def test_errors_say_what_to_do(attempt: Callable[[Vector], Any], says: str) -> None:
    x = gaussian("x")
    with pytest.raises(ValueError, match=says):
        attempt(x)


def test_symbols_programs_and_operators_are_immutable() -> None:
    x, W = gaussian("x"), matrix("W")
    made = program(m=moment(x))
    for thing, field in ((x, "place"), (x.node, "name"), (W, "terms"), (made, "outputs"), (made.bindings[0], "names")):
        with pytest.raises(FrozenInstanceError):
            setattr(thing, field, None)
    named = (x + 1).named("y")
    assert program(x + 1).outputs == ("x1",)
    assert program(named).outputs == ("y",)
    assert made == Program(made.bindings, made.outputs)
    assert hash(made) == hash(Program(made.bindings, made.outputs))


def test_parents_come_first_in_the_order_of_writing() -> None:
    x = gaussian("x")
    second, first = x * 2, x * 3
    made = program(first + second, unused := first * first)
    assert [name for b in made.bindings for name in bound_names(b)] == ["x", "x1", "x2", "x3", "x4"]
    seen: set[str] = set()
    for binding in made.bindings:
        assert set(read_names(binding)) <= seen
        seen.update(bound_names(binding))
    assert program(unused).outputs == ("x2",), "what no output needs is left out"


def test_found_names_avoid_given_ones() -> None:
    x = gaussian("x1")
    made = program(x + 1, (x + 2).named("x2"), c=moment(x), W=moment(x * x))
    names = [name for b in made.bindings for name in bound_names(b)]
    assert len(names) == len(set(names))
    assert made.outputs == ("x3", "x2", "c", "W")


def test_inner_and_moment_take_functions_and_scalars() -> None:
    x, y = gaussians("x", "y")
    c = moment(x)
    by_hand, by_call, inner_product, a, b = values(
        moment((x - c) * y), moment(lambda u, v, m: (u - m) * v, x, y, c), inner(x, y), x, y
    )
    torch.testing.assert_close(by_hand, by_call)
    torch.testing.assert_close(inner_product, (a * b).mean(dim=1))
    assert isinstance(program(inner(x, y)).bindings[-1], Moment)


def test_scalars_come_last_whatever_their_order() -> None:
    x = gaussian("x")
    c = moment(x * x)
    made = program(y=apply(lambda v, s: v / s, c, x))
    last = made.bindings[-1]
    assert isinstance(last, Nonlin)
    assert (last.vectors, last.scalars) == (("x",), ("c1",))


def test_combinations_mix_numbers_and_scalars() -> None:
    x, y, z = gaussians("x", "y", "z")
    c, d = moment(x * x), moment(y * y)
    got, by_hand = values(combination([(c, x), (-2, y), (d, z), (1, x)]), c * x - 2 * y + d * z + x)
    torch.testing.assert_close(got, by_hand)


@pytest.mark.parametrize(
    ("make", "fragment"),
    [
        (lambda W, x: W @ x, "NETSOR"),
        (lambda W, x: W.T @ x, "NETSOR"),
        (lambda W, x: moment((W @ x) * x), "NETSOR"),
        (lambda W, x: (W + W.T) @ x, "NETSOR⊤"),
        (lambda W, x: moment(x) * (W @ x), "NETSOR⁺"),
        (lambda W, x: moment(x) * ((W + W.T) @ x), "NETSOR⊤⁺"),
        (lambda W, x: W @ x + matrix("V").T @ x, "NETSOR"),
    ],
)
def test_fragments(make: Callable[[Operator, Vector], Any], fragment: str) -> None:
    assert program(make(matrix("W"), gaussian("x"))).fragment == fragment


def test_what_is_freed_is_never_read_again() -> None:
    W, x, (y, _unread) = matrix("W"), gaussian("x"), gaussians("y", "unread")
    hidden = W @ x
    made = program(m=moment(hidden * y), kept=hidden + y)
    freed = free_after(made)
    everything = [name for names in freed for name in names]
    assert len(everything) == len(set(everything))
    assert set(everything) | set(made.outputs) == {name for b in made.bindings for name in bound_names(b)}
    for index, names in enumerate(freed):
        for later in made.bindings[index + 1 :]:
            assert not set(names) & set(read_names(later))
    assert "unread" in freed[[bound_names(b) for b in made.bindings].index(("y", "unread"))]


def test_several_widths_meet_in_rectangular_matrices() -> None:
    n, m = Width("n"), Width("m", Fraction(3, 2))
    x, y = gaussian("x"), gaussian("y", width=m)
    V = matrix("V", rows=m, columns=n)
    out = sample(program(up=V @ x, down=V.T @ y, both=V.T @ (V @ x) + x), 8, 2)
    assert {name: tuple(value.shape) for name, value in out.items()} == {"up": (2, 12), "down": (2, 8), "both": (2, 8)}
    assert Width("m", 2) == Width("m", Fraction(2))  # type: ignore[arg-type]
    for made, says in (
        (lambda: V @ y, "V takes vectors of width 'n'; 'y' has width 'm'"),
        (lambda: V.T @ x, "Vᵀ takes vectors of width 'm'"),
        (lambda: x + y, "several widths"),
        (lambda: x + gaussian("z", width=Width("other")), "several widths"),
        (lambda: moment(gaussian("z", width=Width("m", Fraction(2))) + y), "the ratio"),
    ):
        with pytest.raises(ValueError, match=says):
            program(made())


def test_functions_of_one_callable_are_one_function() -> None:
    x = gaussian("x")
    made = program(apply(torch.tanh, x), apply(torch.tanh, x * 2), apply(Function("mine", torch.tanh), x))
    found = [b.function for b in made.bindings if isinstance(b, Nonlin) and b.function.name in ("tanh", "mine")]
    assert found[0] is found[1]
    assert found[2] is not found[0]


def test_long_chains_are_no_depth_for_python() -> None:
    x = gaussian("x")
    for _ in itertools.repeat(None, 3000):
        x = x * 1.0001
    assert len(program(x).bindings) == 3001
