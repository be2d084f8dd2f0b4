"""Kernel descent: its closed form, and models that are linear in their weights trained by PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tpbench.limits import Array
from tpbench.limits.dynamics import GRADIENTS, kernel_descent
from tpbench.networks.loss import LOSSES
from tpbench.networks.train import batches

Agree = Callable[..., None]
POINTS, TRAIN, OUTPUTS, FEATURES = 11, [1, 2, 4, 5, 7, 8, 9, 10], 3, 30


def model() -> tuple[Array, Array, Array]:
    """Return features (points, features), start (points, out) and targets of the training points."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((POINTS, FEATURES)) / FEATURES**0.5
    start = rng.standard_normal((POINTS, OUTPUTS))
    targets = rng.standard_normal((len(TRAIN), OUTPUTS))
    return features, start, targets


def test_full_batches_contract_the_residual_geometrically(agree: Agree) -> None:
    """f_t = y + (1 - eta K/N)^t (f_0 - y) on the training points; elsewhere the sum of the same steps."""
    features, start, targets = model()
    kernel, rate, steps = features @ features.T, 0.7, 25
    path = kernel_descent(kernel, targets, start, train=TRAIN, learning_rate=rate, order=[None] * steps)
    assert path.shape == (steps + 1, POINTS, OUTPUTS)
    step = np.eye(len(TRAIN)) - rate * kernel[np.ix_(TRAIN, TRAIN)] / len(TRAIN)
    for t in (0, 1, 10, 25):
        expected = targets + np.linalg.matrix_power(step, t) @ (start[TRAIN] - targets)
        agree(path[t][TRAIN], expected, 1e-12)
        passed = sum(
            (np.linalg.matrix_power(step, s) @ (start[TRAIN] - targets) for s in range(t)), np.zeros_like(targets)
        )
        agree(path[t], start - rate * kernel[:, TRAIN] @ passed / len(TRAIN), 1e-12)


def test_long_descent_ends_at_the_kernel_interpolation(agree: Agree) -> None:
    features, start, targets = model()
    kernel = features @ features.T
    path = kernel_descent(kernel, targets, start, train=TRAIN, learning_rate=4.0, order=[None] * 3000)
    solved = np.linalg.solve(kernel[np.ix_(TRAIN, TRAIN)], targets - start[TRAIN])
    agree(path[-1], start + kernel[:, TRAIN] @ solved, 1e-6)


LOSS: dict[str, Any] = {
    "mse": lambda f, y: 0.5 * ((f - y) ** 2).sum() / len(f),
    "cross-entropy": functional.cross_entropy,
}


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("loss", GRADIENTS)
def test_it_is_the_training_of_a_linear_model(agree: Agree, loss: str, momentum: float, batch: int | None) -> None:
    """Random features and torch.optim.SGD: the weights are kept here, the outputs alone in kernel_descent."""
    features, start, targets = model()
    if loss == "cross-entropy":
        targets = np.exp(targets) / np.exp(targets).sum(axis=1, keepdims=True)
    order = batches(len(TRAIN), batch, 12, seed=3)
    x, y, f0 = (torch.tensor(array, device="cpu") for array in (features, targets, start))
    weights = torch.zeros(FEATURES, OUTPUTS, dtype=torch.float64, device="cpu", requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=0.4, momentum=momentum)
    expected = [start]
    for chosen in order:
        part = np.arange(len(TRAIN)) if chosen is None else chosen
        places = np.array(TRAIN)[part]
        optimizer.zero_grad()
        LOSS[loss](f0[places] + x[places] @ weights, y[part]).backward()
        optimizer.step()
        expected.append((f0 + x @ weights).detach().numpy())
    path = kernel_descent(
        features @ features.T,
        targets,
        start,
        train=TRAIN,
        learning_rate=0.4,
        order=order,  # type: ignore[arg-type]
        momentum=momentum,
        loss=loss,
    )
    agree(path, np.stack(expected), 1e-12)
    assert np.abs(path[-1] - start).max() > 0.1


@pytest.mark.parametrize("loss", GRADIENTS)
def test_the_gradients_are_those_of_the_networks(agree: Agree, loss: str) -> None:
    rng = np.random.default_rng(1)
    f, y = rng.standard_normal((4, 6, 3)), rng.standard_normal((6, 3))
    theirs = LOSSES[loss].gradient(torch.tensor(f, device="cpu"), torch.tensor(y, device="cpu"))
    agree(GRADIENTS[loss](f, y) / 6, theirs, 1e-14)


def test_every_seed_descends_from_its_own_start(agree: Agree) -> None:
    features, _, targets = model()
    starts = np.random.default_rng(2).standard_normal((4, POINTS, OUTPUTS))
    order = [[0, 3], [1, 2], [5, 7]]
    options: dict[str, Any] = {"train": TRAIN, "learning_rate": 0.5, "order": order, "momentum": 0.5}
    together = kernel_descent(features @ features.T, targets, starts, **options)
    assert together.shape == (4, 4, POINTS, OUTPUTS)
    for seed, start in enumerate(starts):
        agree(together[:, seed], kernel_descent(features @ features.T, targets, start, **options), 1e-13)


def test_without_steps_there_is_the_start_and_nothing_is_changed() -> None:
    features, start, targets = model()
    kept = start.copy()
    path = kernel_descent(features @ features.T, targets, start, train=TRAIN, learning_rate=1.0, order=[])
    assert path.shape == (1, POINTS, OUTPUTS)
    path[0] += 1
    kernel_descent(features @ features.T, targets, start, train=TRAIN, learning_rate=1.0, order=[None])
    assert (start == kept).all()


@pytest.mark.parametrize(
    ("kernel", "targets", "start"),
    [((11, 10), (8, 3), (11, 3)), ((11, 11), (7, 3), (11, 3)), ((11, 11), (8, 2), (11, 3)), ((9, 9), (8, 3), (11, 3))],
)
def test_shapes_that_do_not_fit_are_errors(
    kernel: tuple[int, ...], targets: tuple[int, ...], start: tuple[int, ...]
) -> None:
    with pytest.raises(
        ValueError, match=r"kernel \(.*\), targets \(.*\) and start \(.*\) do not fit 8 training points"
    ):
        kernel_descent(
            np.zeros(kernel), np.zeros(targets), np.zeros(start), train=TRAIN, learning_rate=1.0, order=[None]
        )


def test_so_is_an_unknown_loss() -> None:
    features, start, targets = model()
    with pytest.raises(ValueError, match=r"no kernel descent for loss 'linear' \(known: mse, cross-entropy\)"):
        kernel_descent(
            features @ features.T, targets, start, train=TRAIN, learning_rate=1.0, order=[None], loss="linear"
        )
