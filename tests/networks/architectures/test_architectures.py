"""Networks of every architecture: a plain twin, laws of symmetry, tied weights, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from architecture_cases import CASES, CPU, WIDTH, gram, inputs_of, network_of, twin, twin_jacobians
from torch import Tensor

from tpbench.architecture import ARCHITECTURES, BatchNormalised, LayerNormalised, Perceptron, Recurrent
from tpbench.networks.activation import ACTIVATIONS, activation
from tpbench.networks.architectures import Network, Weights, elementwise, initial
from tpbench.networks.architectures.elementwise import FUNCTIONS
from tpbench.networks.architectures.maps import Map, parameters
from tpbench.networks.measure import tangent_kernel
from tpbench.networks.mlp import Mlp, forward, initialise
from tpbench.networks.tangent import empirical_kernels
from tpbench.parametrization import named
from tpbench.weights import DenseGaussian

Agree = Callable[..., None]
META = torch.device("meta")


def test_every_architecture_has_a_case() -> None:
    assert {type(a) for a, _ in CASES.values()} == set(ARCHITECTURES.values())


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_kernels_are_those_of_a_plain_twin(name: str, agree: Agree) -> None:
    """The read-out's part of the tangent kernel is the nngp, since f is linear in N(0, 1) read-out weights."""
    a, x, network = CASES[name][0], inputs_of(name), network_of(name, outputs=2)
    f = network.forward(x)
    nngp, ntk = empirical_kernels(network, x, output=1)
    readout = list(network.weights.drawn)[-1]
    for row in range(2):
        own = parameters(network.weights, row)
        agree(f[row], twin(a, own, x), 1e-13)
        jacobians = twin_jacobians(a, own, x, output=1)
        agree(ntk[row], gram(jacobians), 1e-12)
        agree(nngp[row], gram({key: rows for key, rows in jacobians.items() if key.endswith(f" {readout}")}), 1e-12)


class Unscaled(Weights):
    """Plant: a linear map that forgets 1/sqrt(fan-in) of the read-out."""

    def linear(self, name: str, x: Tensor, out: int, *, sigma_w: float, sigma_b: float) -> Tensor:
        forgotten = x.shape[-1] ** 0.5 if out == self.outputs else 1.0
        return super().linear(name, x, out, sigma_w=sigma_w * forgotten, sigma_b=sigma_b)


@pytest.mark.parametrize("name", ["mlp", "rnn-mean", "conv2d-mean"])
def test_a_forgotten_fan_in_is_noticed(name: str, agree: Agree) -> None:
    network, x = network_of(name), inputs_of(name)
    faulty = replace(network, weights=Unscaled(network.weights.source, WIDTH, 1))
    f = faulty.forward(x)
    with pytest.raises(AssertionError, match="differs"):
        agree(f[0], twin(CASES[name][0], parameters(faulty.weights, 0), x), 1e-3)


def test_a_perceptron_is_the_mlp_of_the_ntk_parametrization(agree: Agree) -> None:
    x = inputs_of("mlp")
    network = network_of("mlp", outputs=2)
    mlp = Mlp(x.shape[1], 2, WIDTH, 3, "gelu", bias=True, sigma_w=1.3, sigma_b=0.4)
    ensemble = initialise(mlp, named("ntp"), network.seeds, device=CPU, dtype=torch.float64)
    agree(network.forward(x), forward(ensemble, x).output, 1e-14)
    for output in range(2):
        kernel = empirical_kernels(network, x, output=output)[1]
        agree(kernel, tangent_kernel(ensemble, x, output).sum(1), 1e-13)


@pytest.mark.parametrize("name", CASES)
def test_examples_may_be_permuted(name: str, agree: Agree) -> None:
    network, x = network_of(name), inputs_of(name)
    order = torch.randperm(len(x), generator=torch.Generator(device="cpu").manual_seed(1), device=CPU)
    agree(network.forward(x[order]), network.forward(x)[:, order], 1e-13)
    for moved, kept in zip(empirical_kernels(network, x[order]), empirical_kernels(network, x), strict=True):
        agree(moved, kept[:, order][:, :, order], 1e-12)


def permuted(network: Network, order: Tensor) -> Network:
    """Return the network with its neurons in another order, the same in every layer, as residuals need it."""
    drawn = {}
    for name, owned in network.weights.drawn.items():
        assert isinstance(owned.weights, DenseGaussian)
        weight, bias = owned.weights.current, owned.bias
        if weight.shape[1] == WIDTH:
            weight = weight[:, order]
            bias = None if bias is None else bias[:, :, order]
        if weight.shape[2] % WIDTH == 0:  # several blocks of neurons where windows or positions are side by side
            blocks = weight.unflatten(2, (-1, WIDTH))
            weight = blocks[:, :, :, order].flatten(2)
        drawn[name] = Map(DenseGaussian(weight.contiguous()), bias)
    return replace(network, weights=replace(network.weights, drawn=drawn))


@pytest.mark.parametrize("name", CASES)
def test_neurons_may_be_permuted(name: str, agree: Agree) -> None:
    network, x = network_of(name), inputs_of(name)
    before = (network.forward(x), *empirical_kernels(network, x))
    other = permuted(network, torch.tensor([2, 0, 1, 5, 3, 4, 6], device=CPU))
    for was, now in zip(before, (other.forward(x), *empirical_kernels(other, x)), strict=True):
        agree(now, was, 1e-12)
    first = next(iter(network.weights.drawn))
    assert not torch.equal(
        parameters(other.weights, 0)[f"weight {first}"], parameters(network.weights, 0)[f"weight {first}"]
    )


@pytest.mark.parametrize("name", CASES)
def test_a_seed_does_not_depend_on_its_ensemble(name: str) -> None:
    x = inputs_of(name)
    together, alone = network_of(name, seeds=(7, 3)).forward(x), network_of(name, seeds=(3,)).forward(x)
    torch.testing.assert_close(together[1:], alone, rtol=1e-13, atol=1e-13)
    assert not torch.allclose(together[0], together[1])


def unrolled(network: Network, times: int) -> Network:
    """Return the same recurrent network with a copy of its weights at every time."""
    drawn = network.weights.drawn
    first = {"input": 1, "recurrent": 2}
    copies = {f"{name} {t}": drawn[name] for name in first for t in range(first[name], times + 1)}
    own = replace(network.weights, drawn={**copies, "readout": drawn["readout"]})
    return replace(network, architecture=replace(network.architecture, tied=False), weights=own)


def test_tied_weights_have_products_between_times(agree: Agree) -> None:
    """Equal weights at every time compute the same f, but fresh ones lack the kernel's terms between times.

    They are the planted fault of an NTK that treats tied weights as fresh: its output cannot tell, its kernel does.
    """
    network, x = network_of("rnn-mean"), inputs_of("rnn-mean")
    f, (nngp, ntk) = network.forward(x), empirical_kernels(network, x)
    fresh = unrolled(network, times=4)
    agree(fresh.forward(x), f, 1e-13)
    without, between = empirical_kernels(fresh, x), torch.zeros_like(ntk)
    agree(without[0], nngp, 1e-13)
    with pytest.raises(AssertionError, match="differs"):
        agree(without[1], ntk, 0.05)
    for row in range(2):
        jacobians = twin_jacobians(fresh.architecture, parameters(fresh.weights, row), x)
        for name in ("weight input", "bias input", "weight recurrent"):
            at = [rows for key, rows in jacobians.items() if key.rpartition(" ")[0] == name]
            assert len(at) in (3, 4)
            total = torch.stack(at).sum(0)
            between[row] += total @ total.mT - sum(rows @ rows.mT for rows in at)
    agree(without[1] + between, ntk, 1e-12)


def test_batch_normalisation_is_the_only_text_that_mixes_examples() -> None:
    for name, (_, shape) in CASES.items():
        network, x = network_of(name), inputs_of(name)
        changed = x.clone()
        changed[-1] += 1.0
        same = torch.allclose(network.forward(x)[:, :-1], network.forward(changed)[:, :-1], rtol=1e-12, atol=1e-12)
        assert same is not network.mixes_examples, (name, shape)


def test_normalised_layers_have_mean_zero_and_variance_one() -> None:
    """With the identity as activation, what the second map is asked is the normalised layer itself."""
    x = inputs_of("mlp")
    for kind, axis in ((LayerNormalised, 2), (BatchNormalised, 1)):
        network = initial(kind(2, "identity"), WIDTH, [0], device=CPU, dtype=torch.float64)
        asked = network.recorded(x)[1][1].x
        torch.testing.assert_close(asked.mean(axis), torch.zeros_like(asked.mean(axis)), rtol=0, atol=1e-14)
        variance = asked.var(axis, correction=0)
        torch.testing.assert_close(variance, torch.ones_like(variance), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_with_hand_written_derivatives(name: str, agree: Agree, normal: Any) -> None:
    h = normal(50).requires_grad_()
    x = elementwise(name)(h)
    out = torch.empty_like(x)
    activation(name).apply(h.detach(), out)
    agree(x, out, 1e-14)
    (slope,) = torch.autograd.grad(x.sum(), h)
    by_hand = torch.ones_like(slope)
    given = activation(name).pullback_(by_hand, h.detach(), out)
    agree(slope, given if isinstance(given, Tensor) else by_hand, 1e-12)


def test_both_tables_of_activations_have_the_same_names() -> None:
    assert set(FUNCTIONS) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("lazy", [False, True])
def test_networks_run_where_tensors_have_no_values(name: str, lazy: bool) -> None:
    a, shape = CASES[name]
    network = initial(a, WIDTH, [0, 1], lazy=lazy, outputs=2, device=META, dtype=torch.float32)
    x = torch.zeros(shape, device=META)
    assert network.forward(x).shape == (2, shape[0], 2)
    for kernel in empirical_kernels(network, x):
        assert kernel.shape == (2, shape[0], shape[0])
        assert kernel.device.type == "meta"
        assert kernel.dtype == torch.float64


@pytest.mark.parametrize("name", CASES)
def test_single_precision_is_double_precision_rounded(name: str, agree: Agree) -> None:
    double, x = network_of(name), inputs_of(name)
    single = initial(CASES[name][0], WIDTH, double.seeds, device=CPU, dtype=torch.float32)
    double.forward(x)
    for key, owned in double.weights.drawn.items():
        assert isinstance(owned.weights, DenseGaussian)
        bias = None if owned.bias is None else owned.bias.float()
        single.weights.drawn[key] = Map(DenseGaussian(owned.weights.current.float()), bias)
    for narrow, wide in zip(empirical_kernels(single, x.float()), empirical_kernels(double, x), strict=True):
        agree(narrow, wide, 2e-5)


def test_what_cannot_be_run_is_refused() -> None:
    network, x = network_of("mlp"), inputs_of("mlp")
    with pytest.raises(ValueError, match=r"Perceptron takes inputs of shape \(example, feature\).*got \(3, 4, 2\)"):
        network.forward(inputs_of("rnn-mean"))
    with pytest.raises(ValueError, match=r"Convolution takes inputs of shape \(example, height, width, channel\)"):
        network_of("conv2d-mean").forward(x)
    with pytest.raises(ValueError, match=r"the inputs torch.float32 on cpu: move one"):
        network.forward(x.float())
    network.forward(x)
    with pytest.raises(ValueError, match=r"the map '1' is 7 × 5 and was asked to be 7 × 4"):
        network.forward(x[:, :4])
    for width, outputs in ((0, 1), (4, 0)):
        with pytest.raises(ValueError, match="a width and outputs of at least 1"):
            initial(Perceptron(), width, [0], outputs=outputs, device=CPU, dtype=torch.float64)
    with pytest.raises(ValueError, match="at least one seed"):
        initial(Perceptron(), 4, [], device=CPU, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"unknown activation 'tahn'.*tanh"):
        initial(Recurrent("tahn"), 4, [0], device=CPU, dtype=torch.float64)


def test_a_normalisation_of_equal_numbers_is_refused() -> None:
    """Copies of one example differ by rounding at most, which must not be blown up to variance one."""
    network = network_of("batchnorm")
    with pytest.raises(ValueError, match=r"over 3 examples of a neuron that are all equal.*two different examples"):
        network.forward(inputs_of("batchnorm")[:1].expand(3, -1))
    narrow = network_of("layernorm", width=1)
    with pytest.raises(ValueError, match=r"over 1 neurons of an example that are all equal.*width of at least 2"):
        narrow.forward(inputs_of("layernorm"))
