"""Spectral norms against all singular values, dense against lazy, and what cannot be measured."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from test_lazy_networks import drawn
from torch import Tensor

from tpbench.networks import spectral
from tpbench.networks.mlp import Ensemble, Mlp, initialise, initialise_lazy
from tpbench.networks.optimizers import Spectral
from tpbench.networks.spectral import TOLERANCE, initial_norms, largest_singular_value, spectral_norms, update_norms
from tpbench.networks.train import Sgd, Task, train
from tpbench.parametrization import named
from tpbench.weights.dense import DenseGaussian
from tpbench.weights.innovations import MonteCarlo
from tpbench.weights.lazy import LazyGaussian

CPU = torch.device("cpu")
Normal = Callable[..., Tensor]
MLP = Mlp(5, 2, 30, 2, "tanh")


def build(mlp: Mlp = MLP, dtype: torch.dtype = torch.float64) -> Ensemble:
    return initialise(mlp, named("ntp"), (0, 1), device=CPU, dtype=dtype, keep_initial=True)


def task(normal: Normal) -> Task:
    return Task(normal(4, 5), normal(4, 2, seed=1))


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (40, 1), (30, 30)])
def test_small_matrices_are_exact(normal: Normal, shape: tuple[int, int]) -> None:
    w = normal(*shape)
    for size in (1.0, 1e-200, 1e200):
        expected = size * float(torch.linalg.matrix_norm(w, ord=2))
        assert largest_singular_value(size * w) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", [(60, 40), (40, 60), (300, 300)])
def test_lanczos_agrees_with_all_singular_values(
    monkeypatch: pytest.MonkeyPatch, normal: Normal, shape: tuple[int, int]
) -> None:
    """Gaussian matrices have their singular values dense at the largest, where Lanczos has it hardest."""
    monkeypatch.setattr(spectral, "EXACT", 0)
    for seed in range(10):
        w = normal(*shape, seed=seed)
        expected = float(torch.linalg.matrix_norm(w, ord=2))
        assert largest_singular_value(w) == pytest.approx(expected, rel=TOLERANCE / 2)


def test_lanczos_that_stops_early_is_noticed(monkeypatch: pytest.MonkeyPatch, normal: Normal) -> None:
    monkeypatch.setattr(spectral, "EXACT", 0)
    monkeypatch.setattr(spectral, "TOLERANCE", 0.3)
    w = normal(300, 300)
    expected = float(torch.linalg.matrix_norm(w, ord=2))
    assert largest_singular_value(w) != pytest.approx(expected, rel=TOLERANCE / 2)


def test_lanczos_of_low_rank_and_of_nothing(monkeypatch: pytest.MonkeyPatch, normal: Normal) -> None:
    monkeypatch.setattr(spectral, "EXACT", 0)
    y, x = normal(80, 2), normal(2, 50, seed=1)
    assert largest_singular_value(y @ x) == pytest.approx(float(torch.linalg.matrix_norm(y @ x, ord=2)), rel=1e-12)
    assert largest_singular_value(torch.zeros(5, 5, device=CPU)) == 0.0
    y[3, 1] = torch.nan
    assert math.isnan(largest_singular_value(y @ x))


def test_norms_are_of_the_effective_weights(normal: Normal) -> None:
    ensemble = build()
    list(train(ensemble, task(normal), Sgd(0.5, weight_decay=0.1), [None] * 3))
    found = {(m.quantity, m.layer): m.values for m in spectral_norms(ensemble)}
    assert len(found) == 6
    for number, layer in enumerate(ensemble.layers, start=1):
        assert isinstance(layer.weights, DenseGaussian)
        now, start = layer.multiplier * layer.weights.current, layer.multiplier * layer.weights.initial
        for name, matrix in (("initial-norm", start), ("update-norm", now - start)):
            expected = torch.linalg.matrix_norm(matrix, ord=2)
            torch.testing.assert_close(found[name, number], expected, rtol=1e-11, atol=0)


def test_one_spectral_step_has_the_norm_of_its_rate(normal: Normal) -> None:
    """A second road: ‖ΔW‖ = multiplier · eta · rate, whatever the gradient."""
    ensemble = build()
    list(train(ensemble, task(normal), Spectral(0.3), [None]))
    for layer, found in zip(ensemble.layers, update_norms(ensemble), strict=True):
        expected = layer.multiplier * 0.3 * layer.rate
        assert found.values.tolist() == pytest.approx([expected] * 2, rel=1e-12)


def lazily(normal: Normal, optimizer: Sgd | Spectral, steps: int) -> Ensemble:
    ensemble = initialise_lazy(
        MLP, named("ntp"), MonteCarlo((0, 1)), device=CPU, dtype=torch.float64, keep_initial=True
    )
    list(train(ensemble, task(normal), optimizer, [None] * steps))
    return ensemble


@pytest.mark.parametrize("steps", [0, 1, 3, 12])  # the last exhausts the width
@pytest.mark.parametrize("optimizer", [Sgd(0.5), Sgd(0.2, 0.9), Spectral(0.3)], ids=str)
def test_updates_of_lazy_weights_are_known(normal: Normal, optimizer: Sgd | Spectral, steps: int) -> None:
    ensemble = lazily(normal, optimizer, steps)
    found = [m.values for m in update_norms(ensemble)][1]
    layer = ensemble.layers[1]
    assert isinstance(layer.weights, LazyGaussian)
    change = layer.weights.materialise() - drawn(layer.weights)
    expected = layer.multiplier * torch.linalg.matrix_norm(change, ord=2)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert (found > 1e-3).all() if steps else (found == 0).all()


def test_what_is_not_known_is_refused(normal: Normal) -> None:
    with pytest.raises(ValueError, match=r"asked of layer 2, which is lazy: .* update_norms"):
        list(initial_norms(lazily(normal, Sgd(0.5), 1)))
    with pytest.raises(ValueError, match="weight decay has shrunk the lazy matrix"):
        list(update_norms(lazily(normal, Sgd(0.5, weight_decay=0.1), 1)))
    forgetful = initialise(MLP, named("ntp"), (0,), device=CPU, dtype=torch.float64)
    with pytest.raises(ValueError, match="keep_initial=True"):
        list(update_norms(forgetful))
