"""Activations: values and hand-written gradients against autograd."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from plain_twin import PHI
from torch import Tensor

from tpbench.networks.activation import ACTIVATIONS, activation

Normal = Callable[..., Tensor]
Agree = Callable[..., None]


def test_the_twin_knows_every_activation() -> None:
    assert set(PHI) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_and_gradients_are_those_of_autograd(normal: Normal, agree: Agree, name: str) -> None:
    scale = torch.tensor([1e-3, 1.0, 5.0], dtype=torch.float64, device="cpu")[:, None, None]
    h = (normal(3, 40, 30) * scale).requires_grad_()
    h.data[1, 0, 0] = 0.0
    g = normal(3, 40, 30, seed=1)
    expected = PHI[name](h)
    (gradient,) = torch.autograd.grad(expected, h, g)
    phi, x, pulled = activation(name), torch.full_like(g, torch.nan), g.clone()
    phi.apply(h.detach(), x)
    phi.pullback_(pulled, h.detach(), x)
    for row in range(3):
        agree(x[row], expected[row], 1e-14)
        agree(pulled[row], gradient[row], 1e-13)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_pre_activation_is_left_alone(normal: Normal, name: str) -> None:
    h, g = normal(2, 3, 4), normal(2, 3, 4, seed=1)
    before, x = h.clone(), torch.empty_like(h)
    activation(name).apply(h, x)
    kept = x.clone()
    activation(name).pullback_(g, h, x)
    assert torch.equal(h, before)
    assert torch.equal(x, kept)


def test_an_unknown_activation_gets_the_nearest_one() -> None:
    with pytest.raises(ValueError, match=r"unknown activation 'tahn'; did you mean 'tanh'\? \(known: identity, "):
        activation("tahn")
    with pytest.raises(ValueError, match="unknown activation 'zzz' \\(known"):
        activation("zzz")
