"""Gradients kept as outer products, against the dense matrices that they stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lazy_twins import BATCH, CPU, IN, OUT
from torch import Tensor

from tpbench.weights.outer import OuterProducts, outer

Normal = Callable[..., Tensor]
Agree = Callable[..., None]


def gradient(normal: Normal, seed: int = 0) -> OuterProducts:
    y, x = normal(1, BATCH, OUT, seed=seed), normal(1, BATCH, IN, seed=seed + 1)
    return outer((y, y), (x, x))


LINEAR_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda a, b: a + b,
    "weighted sum": lambda a, b: a.add(b, alpha=0.3),
    "in place": lambda a, b: a.clone().add_(b, alpha=-2.0).mul_(0.5).div_(3.0),
    "multiple": lambda a, b: 2.0 * a + b * torch.tensor(0.1, device=CPU),
    "quotient": lambda a, b: -a / 3.0 + b.t().t(),
    "zeros": lambda a, b: torch.zeros_like(a) + b + a.clone().zero_(),
    "copy": lambda a, b: a.clone().copy_(b) + a.detach(),
}


@pytest.mark.parametrize("name", LINEAR_OPERATIONS)
def test_what_is_done_to_gradients_is_done_to_the_factors(normal: Normal, agree: Agree, name: str) -> None:
    a, b = gradient(normal), gradient(normal, 5)
    expected = LINEAR_OPERATIONS[name](a.materialise(), b.materialise())
    found = LINEAR_OPERATIONS[name](a, b)
    assert isinstance(found, OuterProducts)
    agree(found.materialise(), expected, 1e-14)
    agree(a.materialise(), gradient(normal).materialise(), 0.0)
    agree(found.norm(), expected.norm(), 1e-12)


def test_gradients_refuse_what_needs_their_entries(normal: Normal) -> None:
    a = gradient(normal)
    assert repr(a) == "OuterProducts(shape=(5, 4), rows=3, dtype=torch.float64)"
    with pytest.raises(TypeError, match=r"aten\.sum.*materialise"):
        a.sum()
    with pytest.raises(TypeError, match=r"aten\.clamp.*clipped by its 2-norm"):
        a.clamp_(-1.0, 1.0)
    with pytest.raises(TypeError, match="only its 2-norm"):
        torch.linalg.vector_norm(a, float("inf"))
    with pytest.raises(TypeError, match="added to another such gradient only"):
        torch.add(a, torch.zeros(OUT, IN, dtype=torch.float64, device=CPU))
    with pytest.raises(TypeError, match="multiplied by a number only"):
        torch.mul(a, a)
    with pytest.raises(TypeError, match="dense gradient was copied"):
        a.copy_(torch.zeros(OUT, IN, dtype=torch.float64, device=CPU))
