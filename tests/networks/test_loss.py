"""Losses: values against PyTorch's own, gradients against autograd."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from plain_twin import LOSS
from torch import Tensor

from tpbench.networks.loss import LOSSES, loss

Normal = Callable[..., Tensor]
Agree = Callable[..., None]


def test_the_twin_knows_every_loss() -> None:
    assert set(LOSS) == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("probabilities", [True, False])
def test_values_and_gradients(normal: Normal, agree: Agree, name: str, probabilities: bool) -> None:
    """Any real targets will do, also for cross-entropy: both sides are linear in y."""
    f, y = (3 * normal(4, 7, 5)).requires_grad_(), normal(7, 5, seed=1)
    y = torch.softmax(y, -1) if probabilities else y
    values = torch.stack([LOSS[name](row, y) for row in f])
    (gradient,) = torch.autograd.grad(values.sum(), f)
    agree(loss(name).value(f.detach(), y), values, 1e-14)
    agree(loss(name).gradient(f.detach(), y), gradient, 1e-14)


@pytest.mark.parametrize("name", LOSSES)
def test_seeds_do_not_mix_and_outputs_are_left_alone(normal: Normal, agree: Agree, name: str) -> None:
    f, y = normal(4, 7, 5), normal(7, 5, seed=1)
    before = f.clone()
    together = loss(name).gradient(f, y)
    assert torch.equal(f, before)
    for row in range(4):
        agree(loss(name).gradient(f[row : row + 1], y), together[row : row + 1], 1e-15)


def test_the_linear_loss_pulls_the_same_way_whatever_the_network_does(normal: Normal) -> None:
    y = normal(7, 5)
    one, two = (loss("linear").gradient(normal(4, 7, 5, seed=seed), y) for seed in (1, 2))
    assert torch.equal(one, two)
    assert torch.equal(one[0], -y / 7)


def test_cross_entropy_survives_large_outputs(agree: Agree) -> None:
    f = torch.tensor([[[1e4, 0.0], [-1e4, 0.0]]], dtype=torch.float64, device="cpu")
    y = torch.tensor([[0.0, 1.0], [0.0, 1.0]], dtype=torch.float64, device="cpu")
    agree(loss("cross-entropy").value(f, y), torch.tensor([5e3]), 1e-14)
    agree(loss("cross-entropy").gradient(f, y)[0], torch.tensor([[0.5, -0.5], [0.0, 0.0]]), 1e-14)


def test_an_unknown_loss_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"unknown loss 'hinge' \(known: mse, cross-entropy, linear\)"):
        loss("hinge")
