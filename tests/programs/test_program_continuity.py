"""Jumps are found by evaluating; kinks, steep slopes and what lies outside the range are none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tpbench.programs.infinite.continuity import Observed, jumping

Call = Callable[..., object]


def normals(count: int, scale: float = 1.0, mean: float = 0.0) -> list[Tensor]:
    draw = torch.Generator(device="cpu").manual_seed(3)
    shape = (count, 2, 256)
    return list(mean + scale * torch.randn(shape, generator=draw, dtype=torch.float64, device=torch.device("cpu")))


def verdict(call: Call, vectors: list[Tensor], scalars: tuple[float, ...] = ()) -> tuple[bool, ...]:
    seen = Observed([torch.inf] * len(vectors), [-torch.inf] * len(vectors))
    seen.see(vectors, [vectors[0].new_full((2, 1), value) for value in scalars])
    return jumping(call, seen)


CONTINUOUS: dict[str, Call] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "relu by a step": lambda x: x * (x > 0),
    "absolute value": torch.abs,
    "clamp": lambda x: x.clamp(-0.3, 0.3),
    "steep": lambda x: torch.tanh(1000 * x),
    "root": lambda x: x.abs().sqrt(),
    "wave": lambda x: torch.sin(50 * x),
    "cube": lambda x: x**3,
    "constant": lambda x: 0 * x + 3.0,
    "a number": lambda x: 3.0,
    "beside the range": lambda x: (x > 100) + torch.sin(x),
    "heavy tail": lambda x: torch.exp(6 * x),
    "cubic root": lambda x: x.sign() * x.abs() ** (1 / 3),
    "nearly always 0": lambda x: torch.relu(x - 2),
    "offset": lambda x: 1e3 + torch.sin(x),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_functions(name: str) -> None:
    assert verdict(CONTINUOUS[name], normals(1)) == (False,)


JUMPING: dict[str, Call] = {
    "sign": torch.sign,
    "step": lambda x: (x > 0).to(x.dtype),
    "round": lambda x: torch.round(2 * x),
    "sawtooth": lambda x: x - torch.floor(x),
    "a small step": lambda x: torch.sin(x) + 0.01 * (x > 0.7),
    "slope of leaky relu": lambda x: torch.where(x > 0, 1.0, 0.01),
    "no autograd": lambda x: torch.sin(x.detach()),
    "half an autograd": lambda x: x + torch.sin(x.detach()),
    "autograd of its own": lambda x: torch.from_numpy(x.detach().numpy() ** 2),
    "refuses autograd": lambda x: torch.from_numpy(x.numpy() ** 2),
    "beside a heavy tail": lambda x: torch.sign(x) + torch.exp(6 * x),
    "far above 0": lambda x: 1e6 + torch.sign(x),
    "half a line without autograd": lambda x: torch.where(x > 1.5, x.detach(), x),
    "wrong autograd": lambda x: (x - x.detach()) * 2 + torch.sin(x.detach()),
}


@pytest.mark.parametrize("name", JUMPING)
def test_jumps_and_missing_derivatives(name: str) -> None:
    assert verdict(JUMPING[name], normals(1)) == (True,)


def test_functions_that_are_defined_where_they_are_evaluated() -> None:
    positive = [each.abs() + 0.2 for each in normals(1)]
    for call in (torch.log, torch.sqrt, lambda x: 1 / x):
        assert verdict(call, positive) == (False,)


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        (lambda g, h: g * (h > 0), (False, True)),
        (lambda x, y: torch.where(x > 0, torch.tanh(y), torch.cos(y)), (True, False)),
        (torch.maximum, (False, False)),
        (lambda x, y: (x > y).to(x.dtype), (True, True)),
        (lambda x, y: x + y.detach(), (False, True)),
        (lambda x, y: torch.sign(x) * torch.relu(y - 2), (True, False)),
        (lambda x, y: torch.where(y > 1.5, x.detach(), x), (True, False)),
    ],
)
def test_every_argument_is_judged_alone(call: Call, wanted: tuple[bool, ...]) -> None:
    assert verdict(call, normals(2)) == wanted


def test_scalars_are_those_of_the_program() -> None:
    def call(x: Tensor, c: Tensor) -> Tensor:
        return torch.where(x > c, x, c)

    assert verdict(call, normals(1), (0.4,)) == (False,)
    assert verdict(lambda x, c: (x > c).to(x.dtype), normals(1), (0.4,)) == (True,)
    assert verdict(lambda x, c: (x > c).to(x.dtype), normals(1), (40.0,)) == (False,)


def test_many_arguments_are_quick() -> None:
    calls = 0

    def call(*x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return torch.stack([torch.tanh(each) for each in x]).sum(dim=0)

    assert verdict(call, normals(60)) == (False,) * 60
    assert calls < 60, "continuous functions are found on joint lines, not argument by argument"


def test_a_vector_that_does_not_vary() -> None:
    assert verdict(torch.tanh, [torch.zeros(2, 256, dtype=torch.float64, device="cpu")]) == (False,)
