"""Dense weights against einsum, and their steps against torch.optim.SGD."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tpbench.weights.dense import DenseGaussian

SEEDS, OUT, IN, BATCH = 3, 5, 4, 6
Normal = Callable[..., Tensor]
Agree = Callable[..., None]


def blank(*shape: int) -> Tensor:
    """Return a buffer whose old content would be seen in any result it leaks into."""
    return torch.full(shape, torch.nan, dtype=torch.float64, device="cpu")


def test_the_products_are_einsums_and_ignore_what_the_buffer_held(normal: Normal, agree: Agree) -> None:
    w, x, g = normal(SEEDS, OUT, IN), normal(SEEDS, BATCH, IN, seed=1), normal(SEEDS, BATCH, OUT, seed=2)
    weights = DenseGaussian(w.clone())
    assert weights.shape == (SEEDS, OUT, IN)
    forward, back = blank(SEEDS, BATCH, OUT), blank(SEEDS, BATCH, IN)
    assert weights.matmul(x, scale=0.7, out=forward) is forward
    assert weights.transposed_matmul(g, scale=-1.3, out=back) is back
    agree(forward, 0.7 * torch.einsum("soi,sbi->sbo", w, x), 1e-14)
    agree(back, -1.3 * torch.einsum("soi,sbo->sbi", w, g), 1e-14)
    agree(weights.current, w, 0.0)


def test_the_products_are_adjoint(normal: Normal, agree: Agree) -> None:
    weights = DenseGaussian(normal(SEEDS, OUT, IN))
    x, g = normal(SEEDS, BATCH, IN, seed=1), normal(SEEDS, BATCH, OUT, seed=2)
    one = (g * weights.matmul(x, scale=2.0, out=blank(SEEDS, BATCH, OUT))).sum(dim=(1, 2))
    two = (x * weights.transposed_matmul(g, scale=2.0, out=blank(SEEDS, BATCH, IN))).sum(dim=(1, 2))
    agree(one, two, 1e-13)


@pytest.mark.parametrize(("momentum", "decay"), list(itertools.product((0.0, 0.9), (0.0, 0.3))))
def test_steps_are_those_of_torchs_sgd(normal: Normal, agree: Agree, momentum: float, decay: float) -> None:
    initial, scale, rate = normal(SEEDS, OUT, IN), 0.6, 0.05
    weights = DenseGaussian(initial.clone())
    parameter = torch.nn.Parameter(initial.clone())
    reference = torch.optim.SGD([parameter], lr=rate, momentum=momentum, weight_decay=decay)
    for step in range(5):
        g, x = normal(SEEDS, BATCH, OUT, seed=10 + step), normal(SEEDS, BATCH, IN, seed=20 + step)
        reference.zero_grad()
        (scale * torch.einsum("sbo,soi,sbi->", g, parameter, x)).backward()  # type: ignore[no-untyped-call]
        reference.step()
        weights.step_(g, x, scale=scale, rate=rate, momentum=momentum, decay=decay)
        agree(weights.current, parameter, 1e-14)
    assert float((weights.current - initial).abs().max()) > 0.1


def test_the_first_step_does_not_depend_on_momentum(normal: Normal, agree: Agree) -> None:
    g, x, found = normal(SEEDS, BATCH, OUT), normal(SEEDS, BATCH, IN, seed=1), []
    for momentum in (0.0, 0.5):
        weights = DenseGaussian(normal(SEEDS, OUT, IN, seed=2))
        weights.step_(g, x, scale=0.5, rate=0.1, momentum=momentum, decay=0.2)
        found.append(weights.current)
    agree(*found, 1e-14)


def test_the_movement_is_that_of_the_weights_since_the_start(normal: Normal, agree: Agree) -> None:
    initial, probe = normal(SEEDS, OUT, IN), normal(SEEDS, BATCH, IN, seed=5)
    weights = DenseGaussian(initial.clone(), keep_initial=True)
    agree(weights.update_matmul(probe, scale=1.0), torch.zeros(SEEDS, BATCH, OUT), 0.0, floor=1.0)
    for step in range(3):
        g, x = normal(SEEDS, BATCH, OUT, seed=10 + step), normal(SEEDS, BATCH, IN, seed=20 + step)
        weights.step_(g, x, scale=1.0, rate=0.1, momentum=0.9, decay=0.1)
    moved = torch.einsum("soi,sbi->sbo", weights.current - initial, probe)
    agree(weights.update_matmul(probe, scale=1.7), 1.7 * moved, 1e-14)
    start = normal(SEEDS, BATCH, IN, seed=6)
    of_change = torch.einsum("soi,sbi->sbo", initial, probe - start)
    agree(weights.initial_matmul_of_change(probe, start, scale=1.7), 1.7 * of_change, 1e-14)
    agree(
        weights.initial_matmul_of_change(probe, torch.zeros_like(probe), scale=0.3)
        + weights.update_matmul(probe, scale=0.3),
        weights.matmul(probe, scale=0.3, out=blank(SEEDS, BATCH, OUT)),
        1e-14,
    )


def test_a_tiny_movement_is_not_lost_in_float32(normal: Normal) -> None:
    """w x - w_0 x would have an error of the size of w x; the difference between weights has not."""
    weights = DenseGaussian(torch.ones(1, 2, 64, device="cpu", dtype=torch.float32), keep_initial=True)
    g, x = torch.ones(1, 1, 2, device="cpu"), torch.ones(1, 1, 64, device="cpu")
    weights.step_(g, x, scale=1.0, rate=2.0**-23, momentum=0.0, decay=0.0)
    assert (weights.update_matmul(x, scale=1.0) == -64 * 2.0**-23).all()


def test_without_the_initial_weights_there_is_no_movement(normal: Normal) -> None:
    weights, x = DenseGaussian(normal(SEEDS, OUT, IN)), normal(SEEDS, BATCH, IN)
    with pytest.raises(ValueError, match="keep_initial=True"):
        weights.initial_matmul_of_change(x, x)
    with pytest.raises(ValueError, match="keep_initial=True"):
        weights.update_matmul(x)


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4, 5), (3,)])
def test_weights_have_three_axes(normal: Normal, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"shape \(seed, out, in\), got \(" + ", ".join(map(str, shape))):
        DenseGaussian(normal(*shape))
