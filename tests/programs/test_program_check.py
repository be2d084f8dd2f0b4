"""What is no Tensor Program, and how that is told: read where it can be read, evaluated where it cannot."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tpbench.programs import Function, N, Program, Width, apply, gaussian, gaussians, matrix, moment, program
from tpbench.programs.functions import IDENTITY, MULTIPLY
from tpbench.programs.instructions import Constant, GaussianMatrix, Gaussians, MatMul, Moment, Nonlin

X = Gaussians(("x",), ((1,),), (0,))
W = GaussianMatrix("W")
TALL = GaussianMatrix("V", rows=Width("m", Fraction(2)))
K = Constant("k", Fraction(3))

BROKEN: dict[str, tuple[tuple[Any, ...], tuple[str, ...], str]] = {
    "a name twice": ((X, W, MatMul("x", "W", "x")), ("x",), "'x' is bound twice"),
    "a name twice in one": ((Gaussians(("x", "x"), ((1, 0), (0, 1)), (0, 0)),), ("x",), "'x' is bound twice"),
    "read before": ((X, MatMul("y", "W", "x"), W), ("y",), "'y' reads 'W', which nothing before it binds"),
    "itself": ((X, Nonlin("y", MULTIPLY, ("x", "y"))), ("y",), "'y' reads 'y', which nothing before it binds"),
    "vector as matrix": ((X, MatMul("y", "x", "x")), ("y",), "takes 'x' for a matrix, and it is a vector"),
    "matrix as vector": ((X, W, MatMul("y", "W", "W")), ("y",), "takes 'W' for a vector, and it is a matrix"),
    "scalar as vector": ((X, K, Nonlin("y", IDENTITY, ("k",))), ("y",), "takes 'k' for a vector, and it is a scalar"),
    "vector as scalar": ((X, Nonlin("y", MULTIPLY, ("x",), ("x",))), ("y",), "takes 'x' for a scalar"),
    "matrix in a moment": ((W, Moment("m", IDENTITY, ("W",))), ("m",), "takes 'W' for a vector"),
    "no vectors": ((K, Nonlin("y", IDENTITY, (), ("k",))), ("y",), "a function of scalars alone is a Moment"),
    "unbound output": ((X,), ("y",), "output 'y' is not bound"),
    "matrix output": ((W,), ("W",), "output 'W' is a matrix"),
    "no outputs": ((X,), (), "computes nothing"),
    "widths": ((X, TALL, MatMul("y", "V", "x", transposed=True)), ("y",), "Vᵀ takes vectors of width 'm'"),
    "coordinates apart": (
        (X, TALL, MatMul("y", "V", "x"), Nonlin("z", MULTIPLY, ("x", "y"))),
        ("z",),
        r"several widths coordinate by coordinate: x \(n\), y \(m\)",
    ),
    "one name, two ratios": ((X, TALL, GaussianMatrix("U", rows=Width("m"))), ("x",), "ratio 2 in one place and 1"),
}


@pytest.mark.parametrize(("bindings", "outputs", "says"), BROKEN.values(), ids=list(BROKEN))
def test_broken_structure_is_told_by_name(bindings: tuple[Any, ...], outputs: tuple[str, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Program(bindings, outputs)


def test_the_sound_program_beside_them() -> None:
    made = Program((X, W, K, MatMul("y", "W", "x"), Moment("m", MULTIPLY, ("y",), ("k",))), ("m", "y"))
    assert dict(made.kinds) == {"x": "vector", "W": "matrix", "k": "scalar", "y": "vector", "m": "scalar"}
    assert dict(made.widths) == {"x": N, "y": N}
    assert dict(made.matrices) == {"W": W}


def second(x: Tensor) -> Tensor:
    return torch.roll(x, 1, dims=-1)


MIXERS: dict[str, tuple[Callable[..., Any], str]] = {
    "mean over neurons": (lambda x: x - x.mean(dim=-1, keepdim=True), "mixes coordinates"),
    "softmax": (lambda x: torch.softmax(x, dim=-1), "mixes coordinates"),
    "neighbours": (second, "mixes coordinates"),
    "place": (lambda x: x * torch.arange(x.shape[-1], device=x.device), "mixes coordinates"),
    "width": (lambda x: x / x.shape[-1], "mixes coordinates"),
    "sort": (lambda x: x.sort(dim=-1).values, "mixes coordinates"),
    "least": (lambda x: x - x.amin(dim=-1, keepdim=True), "mixes coordinates"),
    "largest size": (lambda x: x / x.abs().amax(dim=-1, keepdim=True), "mixes coordinates"),
    "whole": (lambda x: x - x.mean(), "mixes coordinates"),
    "mean behind a threshold": (lambda x: torch.where(x.abs().mean(-1, keepdim=True) > 2, x, -x), "mixes coordinates"),
    "largest beyond 3": (lambda x: x + torch.relu(x.amax(dim=-1, keepdim=True) - 3), "mixes coordinates"),
    "mean of many": (lambda x: x + (x.shape[-1] > 100) * x.mean(dim=-1, keepdim=True), "mixes coordinates"),
    "never finite": (lambda x: (-x.square() - 1).log(), "gave no finite value"),
    "batch norm": (lambda x: x - x.mean(dim=0), "mixes coordinates or axes"),
    "random": (lambda x: x + torch.randn(x.shape, device=x.device), "another value when it is asked again"),
    "dropout": (torch.dropout, "failed on 1 vectors and 0 scalars"),
    "flat": (lambda x: x.flatten(), "gave a value of shape"),
    "transposed": (lambda x: x.T, "gave a value of shape"),
    "one more axis": (lambda x: x[None], "gave a value of shape"),
    "word": (lambda x: "x", "gave str, and a tensor is needed"),
    "nothing": (lambda x: None, "gave NoneType"),
    "in place": (lambda x: x.add_(1), "changes its arguments in place"),
    "in place, then a copy": (lambda x: x.mul_(2).clone(), "changes its arguments in place"),
    "arguments": (lambda x, y: x, "missing 1 required positional argument"),
    "data-dependent": (lambda x: x if x > 0 else -x, "failed on 1 vectors"),
}


@pytest.mark.parametrize(("call", "says"), MIXERS.values(), ids=list(MIXERS))
def test_functions_are_evaluated_not_trusted(call: Callable[..., Any], says: str) -> None:
    x = gaussian("x")
    with pytest.raises(ValueError, match=says) as raised:
        program(culprit=apply(Function("suspect", call), x))
    assert "'suspect' of 'culprit'" in str(raised.value)
    with pytest.raises(ValueError, match=says):
        program(moment(call, x))


@pytest.mark.parametrize(
    "call",
    [torch.tanh, lambda x: 3.0, lambda x: torch.tensor(2.0), lambda x: (x > 0).double(), torch.log, lambda x: 1 / x],
)
def test_functions_of_coordinates_pass(call: Callable[..., Any]) -> None:
    assert program(y=apply(call, gaussian("x"))).outputs == ("y",)


def test_a_function_is_checked_for_every_number_of_arguments() -> None:
    x, y = gaussians("x", "y")

    def total(*vectors: Tensor) -> Any:
        return sum(vectors) if len(vectors) < 3 else vectors[0].mean() + 0 * vectors[0]

    shared = Function("total", total)
    program(apply(shared, x), apply(shared, x, y))
    with pytest.raises(ValueError, match="mixes"):
        program(apply(shared, x, y, x))


@pytest.mark.parametrize("scale", [lambda c: c, lambda c: c - 1, lambda c: c - c**2 / 9])
def test_a_mean_beside_the_root_of_a_scalar_is_noticed(scale: Callable[[Tensor], Tensor]) -> None:
    """Roots of most scalars that one would draw are not numbers, and those are equal wherever they are."""
    x = gaussian("x")
    with pytest.raises(ValueError, match="mixes coordinates"):
        program(apply(lambda h, c: (h - h.mean(dim=-1, keepdim=True)) / scale(c).sqrt(), x, moment(x * x)))


def test_functions_of_scalars_are_checked_too() -> None:
    x = gaussian("x")
    c, d = moment(x), moment(x * x)
    with pytest.raises(ValueError, match="mixes coordinates or axes"):
        program(moment(lambda a, b: a + b.mean(), c, d))
    with pytest.raises(ValueError, match="asked again"):
        program(moment(lambda a: a + torch.rand((), device=a.device), c))


@pytest.mark.parametrize(
    ("covariance", "says"),
    [
        ([[1, 2], [2, 1]], "not positive semidefinite: it has the eigenvalue -1"),
        ([[1, 0.5], [0.4, 1]], "not symmetric"),
        ([[1, 0], [0, -1]], "negative variance"),
        ([[1, 0]], "2 × 2 covariance"),
        ([[1, float("inf")], [float("inf"), 1]], "finite"),
    ],
)
def test_covariances(covariance: list[list[float]], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        program(gaussians("x", "y", covariance=covariance)[0])


def test_singular_covariances_are_sound() -> None:
    third = np.full((3, 3), 1 / 3)
    for covariance in ([[1, 1], [1, 1]], [[0, 0], [0, 0]], third):
        names = ("x", "y", "z")[: len(covariance)]
        program(gaussians(*names, covariance=[[float(v) for v in row] for row in covariance])[0])


def test_as_many_means_as_vectors() -> None:
    with pytest.raises(ValueError, match="2 means"):
        program(gaussians("x", "y", mean=[0])[0])


def test_symmetric_matrices_of_several_widths_are_refused() -> None:
    V = matrix("V", rows=Width("m"))
    with pytest.raises(ValueError, match="takes vectors of width"):
        program((V + V.T) @ gaussian("x"))
