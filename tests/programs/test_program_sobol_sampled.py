"""Limits by Sobol' points against the programs themselves, sampled at large width."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from sobol_limits import MANY, POINTS, largest_off, off, solved
from torch import Tensor
from trained_programs import relu_slope, tanh_slope, training

from tpbench.programs import Program, Width, apply, gaussian, gaussians, inner, matrix, moment, program, sample
from tpbench.programs.infinite import UnsuitedError, sobol
from tpbench.programs.infinite.answers import Answers
from tpbench.programs.infinite.noun import Request


def two_widths() -> Program:
    """Both orders of W and Wᵀ around nonlinearities, between widths of different size."""
    rows = Width("rows", Fraction(1, 2))
    w, x = matrix("W", rows=rows, variance=2), gaussian("x")
    y = gaussian("y", width=rows, mean=Fraction(1, 2))
    h = w @ apply(torch.tanh, x)
    g = w.T @ apply(torch.sin, h + y)
    u = w @ apply(torch.tanh, g + x)
    b = w.T @ (y * u)
    return program(xg=inner(x, g), gg=inner(g, g), uh=inner(u, h), uy=inner(u * u, y), bg=inner(b, g), bb=inner(b, b))


@pytest.fixture(scope="module")
def two_widths_sampled() -> dict[str, Tensor]:
    found: dict[str, Tensor] = sample(two_widths(), 2**16, 24, weights="lazy")
    return found


@pytest.mark.parametrize("derivatives", ["autograd", "stein"])
def test_matrices_between_widths_agree_with_sampling(derivatives: str, two_widths_sampled: dict[str, Tensor]) -> None:
    found = solved(two_widths(), derivatives=derivatives).scalars
    assert largest_off(found, two_widths_sampled) < MANY


@pytest.mark.parametrize("power", [0.0, -1.0])
def test_another_constant_between_widths_is_rejected(
    power: float, two_widths_sampled: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted constants leave out the ratio of the widths, or turn it around."""

    def wrong(self: Answers, transposed: bool) -> float:
        scale: float = self.sides[not transposed].scale
        return scale * math.pow(self.sizes[transposed] / self.sizes[not transposed], power)

    monkeypatch.setattr(Answers, "_factor", wrong)
    assert largest_off(solved(two_widths()).scalars, two_widths_sampled) > 10


def test_trained_network_agrees_with_sampling() -> None:
    p = training(torch.tanh, tanh_slope, steps=3)
    sampled = sample(p, 2**15, 16, weights="lazy")
    autograd, stein = (solved(p, derivatives=road).scalars for road in ("auto", "stein"))
    assert largest_off(autograd, sampled) < MANY
    assert largest_off(stein, sampled) < MANY
    assert max(off(value, stein[name].mean, stein[name].error) for name, value in autograd.items()) < MANY
    dropped = solved(p, transposes="independent").scalars
    assert largest_off(dropped, sampled) > 10, "a limit without Ż must be noticed"


def test_trained_relu_network_takes_stein_and_agrees_with_sampling() -> None:
    p = training(torch.relu, relu_slope, steps=2)
    with pytest.raises(UnsuitedError, match=r"derivatives through '\w+', whose function jumps"):
        solved(p, derivatives="autograd")
    roads = sobol.reuse_of(p, Request(POINTS, 2))
    assert {roads.road(name) for name in roads.derivatives} == {"autograd", "stein"}, "relu jumps nowhere, relu' does"
    assert largest_off(solved(p).scalars, sample(p, 2**15, 16, weights="lazy")) < MANY


def normalised(h: Tensor, mean: Tensor, square: Tensor) -> Tensor:
    return (h - mean) / (square - mean**2 + 1e-3).sqrt()


def test_layer_normalisation_agrees_with_sampling() -> None:
    """Moments inside nonlinearities are numbers in the limit: derivatives do not go through them."""
    x, w = gaussian("x", mean=1), matrix("W")
    h = apply(torch.nn.functional.softplus, w @ apply(torch.relu, x))
    z = apply(normalised, h, moment(h), inner(h, h))
    g = w.T @ apply(torch.tanh, z)
    p = program(xg=inner(x, g), gg=inner(g, g), zz=inner(z, z), c=moment(g))
    assert largest_off(solved(p).scalars, sample(p, 2**16, 24, weights="lazy")) < MANY


def random_program(seed: int) -> Program:
    """Matrices of two widths and their transposes around continuous and jumping functions of recent vectors."""
    draw = random.Random(seed)
    wide = Width("b", Fraction(draw.choice([1, 2]), draw.choice([1, 2, 4])))
    x, y = gaussians("x", "y", covariance=[[1, 0.5], [0.5, 1]])
    vectors = {"n": [x, y], "b": [gaussian("z", width=wide, mean=0.5)]}
    matrices = [(matrix("W", rows=wide, variance=2), "n", "b"), (matrix("S"), "n", "n")]
    functions: list[Callable[..., Tensor]] = [torch.tanh, torch.relu, relu_slope, lambda g, h: g * torch.tanh(h)]
    for _ in range(18):
        if draw.random() < 0.5:
            w, into, out = draw.choice(matrices)
            w, into, out = (w.T, out, into) if draw.random() < 0.5 else (w, into, out)
            vectors[out].append(w @ draw.choice(vectors[into][-3:]))
        else:
            known = vectors[draw.choice("nb")]
            place = draw.randrange(len(functions))
            known.append(apply(functions[place], *(draw.choice(known[-3:]) for _ in range(1 + (place == 3)))))
    return program(
        **{
            f"c{axis}{i}": moment(torch.tanh, draw.choice(known) * draw.choice(known))
            for axis, known in vectors.items()
            for i in range(3)
        }
    )


@pytest.mark.parametrize("derivatives", ["auto", "stein"])
def test_random_programs_agree_with_sampling(derivatives: str) -> None:
    for seed in range(12):
        p = random_program(seed)
        found = solved(p, points=(2**7, 2**8, 2**9), derivatives=derivatives).scalars
        sampled = sample(p, 2**14, 16, weights="lazy")
        assert largest_off(found, sampled) < MANY, seed
