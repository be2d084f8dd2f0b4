"""Lazy networks of every architecture: one matrix behind all products, and the law of dense networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from architecture_cases import CASES, CPU, WIDTH, gram, inputs_of, network_of, twin, twin_jacobians
from torch import Tensor

from tpbench.networks.architectures import Network, initial
from tpbench.networks.architectures.maps import Map, parameters
from tpbench.networks.tangent import empirical_kernels
from tpbench.weights import Axes, LazyGaussian, MonteCarlo

Agree = Callable[..., None]
LAZY = [name for name in CASES if name != "mlp-shallow"]  # which has no matrix between hidden layers


def lazy_names(network: Network) -> set[str]:
    return {name for name, owned in network.weights.drawn.items() if isinstance(owned.weights, LazyGaussian)}


@pytest.mark.parametrize("name", CASES)
def test_the_matrices_behind_a_lazy_network_give_its_outputs_and_kernels(name: str, agree: Agree) -> None:
    """Forward asks W x and backward Wᵀ g; the whole W, asked afterwards, has to have given all of it."""
    network, x = network_of(name, lazy=True), inputs_of(name)
    f, (nngp, ntk) = network.forward(x), empirical_kernels(network, x)
    assert bool(lazy_names(network)) is (name in LAZY)
    dense = network.materialised()
    assert not lazy_names(dense)
    for row in range(2):
        own = parameters(dense.weights, row)
        agree(f[row], twin(CASES[name][0], own, x), 1e-10)
        agree(ntk[row], gram(twin_jacobians(CASES[name][0], own, x)), 1e-10)
    agree(empirical_kernels(dense, x)[0], nngp, 1e-10)


@pytest.mark.parametrize("name", ["mlp", "rnn-mean", "conv1d-mean-zero", "batchnorm", "attention-tied"])
def test_a_transpose_that_forgets_its_matrix_is_noticed(name: str, agree: Agree) -> None:
    """Plant: W and Wᵀ drawn apart. Outputs agree still; the kernel is of no network."""
    reference, x = network_of(name, lazy=True), inputs_of(name)
    reference.forward(x)
    network = network_of(name, lazy=True)
    for key in lazy_names(reference):
        _, out, fan_in = reference.weights.drawn[key].weights.shape
        forgetful = LazyGaussian(
            (out, fan_in),
            std=1.0,
            innovations=MonteCarlo(network.seeds),
            axes=Axes(f"out of {key}", f"into {key}"),
            dtype=torch.float64,
            device=CPU,
            transpose_correction=False,
        )
        network.weights.drawn[key] = Map(forgetful, None)
    ntk = empirical_kernels(network, x)[1]
    with pytest.raises(AssertionError, match="differs"):
        agree(ntk, empirical_kernels(network.materialised(), x)[1], 0.01)


def scores(name: str, first: Callable[[], Network], second: Callable[[], Network]) -> Tensor:
    """Return how many standard errors apart the means of f² and of kernels are, of two ensembles."""
    x = inputs_of(name)
    means, errors = [], []
    for make in (first, second):
        network = make()
        seeds = len(network.seeds)
        rows = torch.cat(
            [network.forward(x)[:, :, 0].square(), *(k.flatten(1) for k in empirical_kernels(network, x))], 1
        )
        means.append(rows.mean(0))
        errors.append(rows.std(0) / seeds**0.5)
    return (means[0] - means[1]).abs() / (errors[0].square() + errors[1].square()).sqrt()


@pytest.mark.parametrize("name", ["residual", "rnn-mean", "conv1d-flatten", "layernorm", "attention-tied"])
def test_lazy_networks_have_the_law_of_dense_ones(name: str) -> None:
    seeds = tuple(range(800))
    apart = scores(name, lambda: network_of(name, seeds=seeds), lambda: network_of(name, seeds=seeds, lazy=True))
    assert float(apart.max()) < 4.5


def test_a_wrong_law_is_noticed() -> None:
    """Plant: σ_w off by 5 % between hidden layers, and in the recurrence of a network of the same inputs."""
    a, seeds = CASES["rnn-mean"][0], tuple(range(1500))
    other = replace(a, sigma_w=1.05 * a.sigma_w)
    wrong = initial(other, WIDTH, seeds, lazy=True, device=CPU, dtype=torch.float64)
    apart = scores("rnn-mean", lambda: network_of("rnn-mean", seeds=seeds), lambda: wrong)
    assert float(apart.max()) > 6


def test_a_lazy_seed_does_not_depend_on_its_ensemble() -> None:
    for name in LAZY:
        x = inputs_of(name)
        together = network_of(name, seeds=(7, 3), lazy=True).forward(x)
        alone = network_of(name, seeds=(3,), lazy=True).forward(x)
        torch.testing.assert_close(together[1:], alone, rtol=1e-10, atol=1e-12)


def test_a_lazy_map_has_no_entries_to_differentiate() -> None:
    network, x = network_of("rnn-mean", lazy=True), inputs_of("rnn-mean")
    for method in ("jacobian", "vector-products"):
        with pytest.raises(TypeError, match=r"'recurrent' is lazy and has no entries.*`materialised`"):
            empirical_kernels(network, x, method=method)


def test_wide_lazy_networks_hold_no_matrix() -> None:
    """65,536² entries would be 32 GiB a layer."""
    network = initial(CASES["residual"][0], 2**16, [0], lazy=True, device=CPU, dtype=torch.float64)
    nngp, ntk = empirical_kernels(network, inputs_of("residual"))
    assert float(torch.linalg.eigvalsh(nngp).min()) > 0
    assert float(torch.linalg.eigvalsh(ntk - nngp).min()) > 0
