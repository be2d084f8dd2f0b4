"""Optimizers on lazy weights: those that train them train the dense network; the others are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from optimizer_cases import BASE, CPU, EVERY, EXAMPLES, MLP, SEEDS, Agree, Normal, task, trained
from test_lazy_networks import drawn

from tpbench.networks.factors import Optimizer
from tpbench.networks.mlp import Ensemble, Mlp, initialise_lazy
from tpbench.networks.optimizers import Adam, SignDescent, Spectral
from tpbench.networks.train import Sgd, batches, train
from tpbench.parametrization import named
from tpbench.weights.dense import DenseGaussian
from tpbench.weights.innovations import MonteCarlo
from tpbench.weights.lazy import LazyGaussian


def lazy(mlp: Mlp, dtype: torch.dtype = torch.float64, device: torch.device = CPU) -> Ensemble:
    return initialise_lazy(
        mlp, named("mup"), MonteCarlo(SEEDS), base_width=BASE, device=device, dtype=dtype, keep_initial=True
    )


def dense_twin(fresh: Ensemble, after: Ensemble) -> Ensemble:
    """Return the lazy ensemble's networks at the start, dense; ``after`` is the trained one, which knows W_0."""
    pairs = zip(fresh.layers, after.layers, strict=True)
    layers = [
        replace(one, weights=DenseGaussian(drawn(two.weights))) if isinstance(two.weights, LazyGaussian) else one
        for one, two in pairs
    ]
    return Ensemble(fresh.mlp, tuple(layers), fresh.seeds)


LAZY = ["sign, one by one", "spectral, batches", "spectral, all", "spectral, one by one"]


@pytest.mark.parametrize("width", [3, 40])
@pytest.mark.parametrize("phi", ["tanh", "relu"])
@pytest.mark.parametrize("name", LAZY)
def test_lazy_training_is_that_of_the_dense_network(
    normal: Normal, agree: Agree, name: str, phi: str, width: int
) -> None:
    mlp, given = replace(MLP, activation=phi, width=width), task(normal)
    ensemble = lazy(mlp)
    ours = trained(ensemble, given, EVERY[name])
    theirs = trained(dense_twin(lazy(mlp), ensemble), given, EVERY[name])
    agree(ours, theirs, 1e-9)


@pytest.mark.parametrize("name", LAZY)
def test_the_comparison_notices_a_rate_that_is_off(normal: Normal, agree: Agree, name: str) -> None:
    given, optimizer = task(normal), EVERY[name]
    assert isinstance(optimizer, SignDescent | Spectral)
    ensemble = lazy(MLP)
    ours = trained(ensemble, given, optimizer)
    faster = replace(optimizer, learning_rate=(1 + 1e-6) * optimizer.learning_rate)
    with pytest.raises(AssertionError, match="differs by"):
        agree(ours, trained(dense_twin(lazy(MLP), ensemble), given, faster), 1e-9)


def test_spectral_descent_asks_lazy_weights_nothing_new(normal: Normal) -> None:
    """U and V lie in the span of what forward and backward passes have asked."""
    ranks = []
    for optimizer in (Sgd(0.05, batch=4), Spectral(0.05, batch=4)):
        ensemble = lazy(replace(MLP, width=200))
        trained(ensemble, task(normal), optimizer, steps=3)
        weights = ensemble.layers[1].weights
        assert isinstance(weights, LazyGaussian)
        ranks.append(weights.ranks)
    assert ranks[0] == ranks[1]


WITHOUT_LAZY = [
    (Adam(0.1), "Adam, whose update has full rank, was asked to train lazy weights; .* use sign descent with batch=1"),
    (SignDescent(0.1), "sign descent on batches of 12 examples was asked .* use batch=1 or dense weights"),
    (SignDescent(0.1, batch=4), "sign descent on batches of 4 examples was asked .* use batch=1 or dense weights"),
]


@pytest.mark.parametrize(("optimizer", "words"), WITHOUT_LAZY)
def test_what_lazy_weights_cannot_do_is_refused_before_anything_changes(
    normal: Normal, optimizer: Optimizer, words: str
) -> None:
    ensemble, given = lazy(MLP), task(normal)
    before = [layer.bias.current.clone() for layer in ensemble.layers if layer.bias is not None]
    with pytest.raises(ValueError, match=words):
        list(train(ensemble, given, optimizer, batches(EXAMPLES, optimizer.batch, 2, seed=7)))
    after = [layer.bias.current for layer in ensemble.layers if layer.bias is not None]
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
    shallow = lazy(replace(MLP, depth=1))  # has no matrix that is lazy
    list(train(shallow, given, optimizer, batches(EXAMPLES, optimizer.batch, 2, seed=7)))
