"""The muP limit of a linear network: the networks' own code at width d + o, wide networks, and symmetries."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tpbench.limits import Array
from tpbench.limits.dynamics import GRADIENTS, kernel_descent
from tpbench.limits.kernels import kernels
from tpbench.limits.mup import Coefficients, linear_mup_limit
from tpbench.networks.mlp import Ensemble, Layer, Mlp, forward, initialise
from tpbench.networks.train import Sgd, Task, batches, train
from tpbench.parametrization import named
from tpbench.weights.dense import DenseGaussian

Agree = Callable[..., None]
CPU = torch.device("cpu")
INPUTS, OUTPUTS, EXAMPLES, PROBES, STEPS = 4, 2, 9, 5, 8


def data(loss: str = "mse") -> tuple[Array, Array, Array]:
    """Return inputs, targets and probes."""
    rng = np.random.default_rng(0)
    y = rng.standard_normal((EXAMPLES, OUTPUTS))
    if loss == "cross-entropy":
        y = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
    return rng.standard_normal((EXAMPLES, INPUTS)), y, rng.standard_normal((PROBES, INPUTS))


def limit(sgd: Sgd, *, base: int = 1, sigma_w: float = 1.0, steps: int = STEPS, **options: Any) -> Array:
    inputs, targets, probes = data(sgd.loss)
    return linear_mup_limit(
        inputs, targets, probes,
        learning_rate=sgd.learning_rate, order=batches(EXAMPLES, sgd.batch, steps, 0),  # type: ignore[arg-type]
        momentum=sgd.momentum, weight_decay=sgd.weight_decay, loss=sgd.loss, sigma_w=sigma_w, base_width=base,
        **options,
    )  # fmt: skip


def outputs_in_training(ensemble: Ensemble, sgd: Sgd, steps: int = STEPS) -> Tensor:
    """Return (step, seed, probe, out) on the probes."""
    x, y, probes = (torch.tensor(array, dtype=torch.float64, device=CPU) for array in data(sgd.loss))
    order = batches(EXAMPLES, sgd.batch, steps, 0)
    return torch.stack([forward(ensemble, probes).output.clone() for _ in train(ensemble, Task(x, y), sgd, order)])


OPTIMIZERS = [
    Sgd(0.15, momentum, decay, batch, loss)
    for momentum, decay, batch, loss in itertools.product((0.0, 0.9), (0.0, 0.1), (None, 4), GRADIENTS)
]


def as_network(base: int, sigma_w: float) -> Ensemble:
    """Return the limit as a network of width d_in + d_out started at the identity blocks.

    With u = [A; B] and v = [C; D], ``f = kappa sqrt(n0) vᵀ u x``, kappa = σ_w²/sqrt(d_in), and every rate is 1/n0.
    """
    size = INPUTS + OUTPUTS
    identity = torch.eye(size, dtype=torch.float64, device=CPU)
    first, second = identity[:, :INPUTS].clone()[None], identity[:, INPUTS:].T.clone()[None]
    layers = (
        Layer(DenseGaussian(first), sigma_w**2 / INPUTS**0.5, 1 / base),
        Layer(DenseGaussian(second), base**0.5, 1 / base),
    )
    return Ensemble(Mlp(INPUTS, OUTPUTS, size, 1, "identity"), layers, (0,))


@pytest.mark.parametrize(("base", "sigma_w"), [(1, 1.0), (1, 1.3), (7, 1.0), (64, 0.8)])
@pytest.mark.parametrize("sgd", OPTIMIZERS, ids=str)
def test_the_limit_is_a_small_network_trained_by_the_networks_own_code(
    agree: Agree, sgd: Sgd, base: int, sigma_w: float
) -> None:
    found = outputs_in_training(as_network(base, sigma_w), sgd)[:, 0]
    agree(limit(sgd, base=base, sigma_w=sigma_w), found, 1e-12)
    assert float(found[-1].abs().max()) > 0.01


def wide(name: str, width: int, sgd: Sgd, *, seeds: int, base: int, sigma_w: float = 1.2) -> Array:
    """Return the outputs of trained networks, (step, seed, probe, out)."""
    mlp = Mlp(INPUTS, OUTPUTS, width, 1, "identity", sigma_w=sigma_w)
    ensemble = initialise(mlp, named(name), range(seeds), base_width=base, device=CPU, dtype=torch.float64)
    return outputs_in_training(ensemble, sgd).numpy()


@pytest.mark.parametrize("name", ["mup", "mean-field"])
@pytest.mark.parametrize(
    ("sgd", "base"),
    [(Sgd(0.15, 0.5, 0.1, 4), 4), (Sgd(0.5, loss="cross-entropy"), 16), (Sgd(0.3), 1)],
    ids=str,
)
def test_wide_networks_approach_the_limit_like_one_over_the_root_of_the_width(name: str, sgd: Sgd, base: int) -> None:
    """16 times the width, a quarter of the error. With 96 seeds of about 4 free numbers each an RMS is known to
    1/sqrt(2 · 96 · 4), the ratio of two to 5 percent: bounds of 20 percent are four standard errors."""
    expected = limit(sgd, base=base, sigma_w=1.2)
    errors = []
    for width in (256, 4096):
        off = wide(name, width, sgd, seeds=96, base=base)[-1] - expected[-1]
        errors.append(float((off**2).mean() ** 0.5))
    assert 4 / 1.2 < errors[0] / errors[1] < 4 * 1.2


@pytest.mark.parametrize(
    ("sgd", "base"), [(Sgd(0.15, 0.5, 0.1, 4), 4), (Sgd(1.0, loss="cross-entropy"), 1), (Sgd(0.3), 1)], ids=str
)
def test_the_mean_of_wide_networks_is_the_limit(sgd: Sgd, base: int) -> None:
    """Bias is O(1/n), at width 4096 far below the spread, so the mean of 96 seeds lies within 5 standard errors."""
    found = wide("mup", 4096, sgd, seeds=96, base=base)
    error = 5 * found.std(axis=1) / 96**0.5
    right, frozen = (limit(sgd, base=base, sigma_w=1.2, features_move=moves) for moves in (True, False))
    assert (np.abs(found.mean(axis=1) - right) < error).all()
    assert (np.abs(found.mean(axis=1) - frozen)[-1] > 3 * error[-1]).any(), "the limit of frozen features is excluded"


@pytest.mark.parametrize("sgd", [Sgd(0.2, 0.9, 0.05, 4), Sgd(0.2, loss="cross-entropy")], ids=str)
def test_turning_inputs_and_probes_turns_nothing(agree: Agree, sgd: Sgd) -> None:
    inputs, targets, probes = data(sgd.loss)
    turn, _ = np.linalg.qr(np.random.default_rng(5).standard_normal((INPUTS, INPUTS)))
    order: Any = batches(EXAMPLES, sgd.batch, STEPS, 0)
    options: dict[str, Any] = {"momentum": sgd.momentum, "weight_decay": sgd.weight_decay, "loss": sgd.loss}
    found, turned, half = (
        linear_mup_limit(x, targets, p, learning_rate=sgd.learning_rate, order=order, **options)
        for x, p in ((inputs, probes), (inputs @ turn, probes @ turn), (inputs @ turn, probes))
    )
    agree(turned, found, 1e-12)
    assert np.abs(half[-1] - found[-1]).max() > 0.01


def test_turning_the_targets_turns_the_outputs(agree: Agree) -> None:
    inputs, targets, probes = data()
    turn, _ = np.linalg.qr(np.random.default_rng(6).standard_normal((OUTPUTS, OUTPUTS)))
    order: Any = batches(EXAMPLES, 4, STEPS, 0)
    found, turned = (
        linear_mup_limit(inputs, y, probes, learning_rate=0.2, order=order, momentum=0.9, weight_decay=0.05)
        for y in (targets, targets @ turn)
    )
    agree(turned, found @ turn, 1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("loss", GRADIENTS)
def test_frozen_features_are_kernel_descent_on_the_inputs_gram_matrix(agree: Agree, loss: str, momentum: float) -> None:
    sgd, sigma_w = Sgd(0.2, momentum, 0.0, 4, loss), 1.3
    inputs, targets, probes = data(loss)
    x = np.concatenate([inputs, probes])
    path = kernel_descent(
        sigma_w**4 / INPUTS * x @ x.T, targets, np.zeros((len(x), OUTPUTS)), train=range(EXAMPLES),
        learning_rate=0.2, order=batches(EXAMPLES, 4, STEPS, 0), momentum=momentum, loss=loss,  # type: ignore[arg-type]
    )  # fmt: skip
    agree(limit(sgd, sigma_w=sigma_w, features_move=False), path[:, EXAMPLES:], 1e-12)


def test_the_first_step_of_moving_features_is_twice_that_of_frozen_ones(agree: Agree) -> None:
    """Both layers start at the identity and have equal terms in the kernel; frozen features keep the read-out's."""
    moving, frozen = (limit(Sgd(0.2), features_move=moves) for moves in (True, False))
    assert (moving[0] == 0).all()
    agree(moving[1], 2 * frozen[1], 1e-13)
    assert np.abs(moving[-1] - frozen[-1]).max() > 0.1


@pytest.mark.parametrize("loss", GRADIENTS)
def test_a_base_width_without_bound_is_the_kernel_regime(loss: str) -> None:
    """Features move by n0^(-1/2) and the output by their square: kernel descent on the linear NTK, but for O(1/n0)."""
    inputs, targets, probes = data(loss)
    x, sgd = np.concatenate([inputs, probes]), Sgd(0.1, 0.5, 0.0, 4, loss)
    kernel = kernels(x, depth=1, activation="identity", sigma_w=1.2).ntk
    path = kernel_descent(
        kernel, targets, np.zeros((len(x), OUTPUTS)), train=range(EXAMPLES),
        learning_rate=0.1, order=batches(EXAMPLES, 4, STEPS, 0), momentum=0.5, loss=loss,  # type: ignore[arg-type]
    )  # fmt: skip
    gaps = [np.abs(limit(sgd, base=base, sigma_w=1.2) - path[:, EXAMPLES:]).max() for base in (1, 1_000, 10_000)]
    assert gaps[0] > 50 * gaps[1]
    assert abs(gaps[1] / gaps[2] - 10) < 0.1


def test_the_start_is_the_identity() -> None:
    start = Coefficients.start(3, 2)
    assert start.first.shape == (5, 3)
    assert start.second.shape == (5, 2)
    assert (np.concatenate([start.first, start.second], axis=1) == np.eye(5)).all()


def test_decay_alone_shrinks_both_layers(agree: Agree) -> None:
    """With targets that are met, f = 0, a step multiplies both layers by 1 - eta lambda and f stays 0."""
    inputs, targets, probes = data()
    path = linear_mup_limit(
        inputs, 0 * targets, probes, learning_rate=0.1, order=[None] * 5, weight_decay=0.5, momentum=0.5
    )
    agree(path, np.zeros((6, PROBES, OUTPUTS)), 0.0, floor=1.0)
