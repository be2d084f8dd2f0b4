"""Gradients kept as outer products, against the dense matrices that they stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lazy_twins import BATCH, CPU, IN, OUT
from torch import Tensor

from tpbench.weights import outer as outer_module
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


def assign_data(g: Any) -> None:
    g.data = g.data * 0.5


def divide_data(g: Any) -> None:
    g.data /= 2


def change_an_alias_of_replaced_data(g: Any) -> None:
    old = g.detach()
    g.data = g.data * 0.5
    old.zero_()


def change_a_clone(g: Any) -> None:
    g.clone().zero_()


IN_PLACE_IDIOMS: dict[str, tuple[Callable[[Any], Any], float]] = {
    "data.mul_": (lambda g: g.data.mul_(0.5), 0.5),
    "detach().mul_": (lambda g: g.detach().mul_(0.5), 0.5),
    "data.zero_": (lambda g: g.data.zero_(), 0.0),
    "data /=": (divide_data, 0.5),
    "data =": (assign_data, 0.5),
    "t().mul_": (lambda g: g.t().mul_(0.5), 0.5),
    "t().add_": (lambda g: g.t().add_(g.clone().t(), alpha=-0.5), 0.5),
    "t().t().data": (lambda g: g.t().detach().t().data.neg().t(), 1.0),
    "alias of replaced data": (change_an_alias_of_replaced_data, 0.5),
    "clone": (change_a_clone, 1.0),
}


@pytest.mark.parametrize("name", IN_PLACE_IDIOMS)
def test_aliases_of_a_gradient_change_it_as_those_of_a_dense_one(normal: Normal, agree: Agree, name: str) -> None:
    change, factor = IN_PLACE_IDIOMS[name]
    ours = gradient(normal).detach()
    dense = ours.materialise().clone()
    start = dense.clone()
    change(ours)
    change(dense)
    agree(ours.materialise(), dense, 1e-15)
    agree(dense, factor * start, 1e-15)


def test_a_view_that_shares_nothing_is_noticed(normal: Normal, agree: Agree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant: .data and .detach() are copies."""
    monkeypatch.setitem(outer_module._OPERATIONS, torch.ops.aten.detach.default, outer_module._clone)
    for name in ("data.mul_", "detach().mul_"):
        with pytest.raises(AssertionError, match="differs by"):
            test_aliases_of_a_gradient_change_it_as_those_of_a_dense_one(normal, agree, name)


def test_the_data_of_a_gradient_are_outer_products_of_its_shape(normal: Normal) -> None:
    a = gradient(normal).detach()
    for data in (torch.zeros(OUT, IN, dtype=torch.float64, device=CPU), a.t()):
        with pytest.raises(TypeError, match=r"put into \.data of \(5, 4\) OuterProducts.*\.grad\.mul_\(number\)"):
            a.data = data


def test_gradients_refuse_what_needs_their_entries(normal: Normal) -> None:
    a = gradient(normal)
    assert repr(a) == "OuterProducts(shape=(5, 4), rows=3, dtype=torch.float64)"
    with pytest.raises(TypeError, match=r"aten\.sum.*materialise"):
        a.sum()
    with pytest.raises(TypeError, match=r"aten\.clamp.*clipped by its 2-norm"):
        a.clamp_(-1.0, 1.0)
    for square in (lambda g: g * g, lambda g: g**2, lambda g: g.square()):
        with pytest.raises(TypeError, match=r"g\.norm\(\)\*\*2"):
            square(a)
    with pytest.raises(TypeError, match="only its 2-norm"):
        torch.linalg.vector_norm(a, float("inf"))
    with pytest.raises(TypeError, match="added to another such gradient only"):
        a + torch.zeros(OUT, IN, dtype=torch.float64, device=CPU)
    with pytest.raises(TypeError, match="multiplied by a number only"):
        torch.mul(a, a)
    with pytest.raises(TypeError, match="dense gradient was copied"):
        a.copy_(torch.zeros(OUT, IN, dtype=torch.float64, device=CPU))
