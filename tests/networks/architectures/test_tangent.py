"""Empirical kernels: three exact roads for every architecture, two contractions, and what they cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from architecture_cases import CASES, CPU, WIDTH, inputs_of, network_of
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tpbench.networks.architectures import initial
from tpbench.networks.architectures.maps import Map
from tpbench.networks.tangent import METHODS, contraction, cost, empirical_kernels, functional
from tpbench.networks.tangent.contraction import WAYS, Places, cheapest, contracted
from tpbench.networks.tangent.cost import cheapest as cheapest_method
from tpbench.networks.tangent.cost import operations
from tpbench.networks.tangent.structured import structured
from tpbench.weights import DenseGaussian

Agree = Callable[..., None]
META = torch.device("meta")
SLOW = ["jacobian", "vector-products"]


@pytest.mark.parametrize("name", CASES)
def test_all_methods_agree(name: str, agree: Agree) -> None:
    network, x = network_of(name, outputs=2), inputs_of(name)
    nngp, ntk = empirical_kernels(network, x, output=1)
    for method in METHODS:
        other = empirical_kernels(network, x, method=method, output=1)
        agree(other[0], nngp, 1e-13)
        agree(other[1], ntk, 1e-12)
    with pytest.raises(AssertionError, match="differs"):
        agree(empirical_kernels(network, x, output=0)[1], ntk, 1e-3)


@pytest.mark.parametrize("name", CASES)
def test_both_contractions_agree(name: str, agree: Agree) -> None:
    network, x = network_of(name), inputs_of(name)
    agree(structured(network, x, 0, way="grams")[1], structured(network, x, 0, way="gradients")[1], 1e-12)


@pytest.mark.parametrize("name", CASES)
def test_kernels_are_symmetric_and_positive(name: str) -> None:
    network, x = network_of(name), inputs_of(name)
    nngp, ntk = empirical_kernels(network, x)
    for kernel in (nngp, ntk - nngp):  # the read-out's share of the ntk is the nngp, and the rest a Gram matrix as well
        torch.testing.assert_close(kernel, kernel.mT, rtol=1e-12, atol=1e-12)
        lowest = torch.linalg.eigvalsh((kernel + kernel.mT) / 2)[:, 0]
        assert bool((lowest > -1e-12 * kernel.abs().amax((1, 2))).all())


def places(*sizes: int, shared: bool = False, one_row: bool = False) -> Places:
    """Return random places of sizes (seed, example, place, in, out); seeds or examples may share their inputs."""
    seeds, examples, count, fan_in, out = sizes
    source = torch.Generator(device="cpu").manual_seed(0)
    x = torch.randn((1 if shared else seeds, 1 if one_row else examples, count, fan_in), generator=source, device=CPU)
    g = torch.randn((seeds, examples, count, out), generator=source, device=CPU)
    return Places(x.double().expand(seeds, -1, -1, -1), g.double())


@pytest.mark.parametrize("sizes", [(2, 3, 1, 5, 4), (2, 3, 4, 5, 2), (1, 2, 9, 3, 3), (3, 1, 2, 2, 2)])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("one_row", [False, True])
def test_a_contraction_is_the_sum_it_stands_for(
    sizes: tuple[int, ...], shared: bool, one_row: bool, agree: Agree
) -> None:
    """And its cost is that of the products it makes, counted as they are made."""
    at = places(*sizes, shared=shared, one_row=one_row)
    x = at.x.expand(-1, sizes[1], -1, -1)
    expected = torch.einsum("sipa,sjqa,sipb,sjqb->sij", x, x, at.g, at.g)
    for way, (do, price) in WAYS.items():
        agree(contracted(at, way), expected, 1e-13)
        counter = FlopCounterMode(display=False)
        with counter:
            do(at)
        assert counter.get_total_flops() == price(at).operations


def test_the_cheaper_contraction_is_taken() -> None:
    few, many = places(1, 4, 1, 64, 64), places(1, 4, 64, 8, 8)
    assert cheapest(few) == "grams"
    assert cheapest(many) == "gradients"
    for at in (few, many):
        costs = {way: price(at).operations for way, (_, price) in WAYS.items()}
        assert costs[cheapest(at)] == min(costs.values()) < max(costs.values())


def test_memory_comes_before_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """For 64 examples of a small map Gram matrices take fewer operations and more bytes than gradients."""
    at = places(1, 64, 1, 8, 8)
    costs = {way: price(at) for way, (_, price) in WAYS.items()}
    assert costs["grams"].operations < costs["gradients"].operations
    assert costs["grams"].bytes > costs["gradients"].bytes
    for limit, expected in (
        (costs["grams"].bytes, "grams"),
        (costs["gradients"].bytes, "gradients"),
        (0, "gradients"),
    ):
        monkeypatch.setattr(contraction, "LIMIT_IN_BYTES", limit)
        assert cheapest(at) == expected


def counted(work: Callable[[], object]) -> int:
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return int(counter.get_total_flops())


@pytest.mark.parametrize("name", CASES)
def test_costs_are_what_is_spent(name: str) -> None:
    """What "auto" goes by against what is counted at torch's dispatcher; it takes the cheapest by that count, too."""
    network, x = network_of(name, seeds=(0, 1), width=48), inputs_of(name)
    network.forward(x)
    estimated = operations(network, x)
    spent = {method: counted(lambda method=method: METHODS[method](network, x, 0)) for method in METHODS}
    for method in METHODS:
        assert 0.8 < estimated[method] / spent[method] < 1.6, (method, estimated, spent)
    assert cheapest_method(network, x) == min(spent, key=lambda method: spent[method]) == "structured"


@pytest.mark.parametrize("chunk", [None, 1])
@pytest.mark.parametrize("best", METHODS)
def test_auto_takes_the_cheapest(best: str, chunk: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant: other costs. With a chunk it is the cheapest of those that have chunks; lazy weights know one method."""
    taken: list[str] = []
    for name, do in METHODS.items():
        monkeypatch.setitem(METHODS, name, lambda *a, name=name, do=do: (taken.append(name), do(*a))[1])
    costs = {name: 1 if name == best else 2 + index for index, name in enumerate(METHODS)}
    monkeypatch.setattr(cost, "operations", lambda *_: costs)
    empirical_kernels(network_of("mlp"), inputs_of("mlp"), chunk=chunk)
    assert taken.pop() == ("jacobian" if chunk and best == "structured" else best)
    empirical_kernels(network_of("mlp", lazy=True), inputs_of("mlp"))
    assert taken.pop() == "structured"


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("batchnorm")])
@pytest.mark.parametrize("method", [*SLOW, "auto"])
def test_chunks_change_nothing(name: str, method: str, agree: Agree, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no more examples than the chunk are differentiated at once."""
    network, x = network_of(name, seeds=(0,)), inputs_of(name)
    expected = empirical_kernels(network, x)
    seen: list[int] = []
    jacobians = functional._jacobians
    monkeypatch.setattr(functional, "_jacobians", lambda model, at: (seen.append(len(at)), jacobians(model, at))[1])
    for chunk in (1, 2):
        seen.clear()
        for found, whole in zip(empirical_kernels(network, x, method=method, chunk=chunk), expected, strict=True):
            agree(found, whole, 1e-12)
        assert set(seen) <= {1, chunk}
        assert seen or method != "jacobian"


def test_a_chunk_is_refused_where_there_is_none() -> None:
    network, x = network_of("mlp"), inputs_of("mlp")
    with pytest.raises(ValueError, match=r"at least 1 example, got 0"):
        empirical_kernels(network, x, method="jacobian", chunk=0)
    for case, method in ((network, "structured"), (network_of("mlp", lazy=True), "auto")):
        with pytest.raises(ValueError, match=r'"structured".*all examples together, and a chunk of 2 was asked for'):
            empirical_kernels(case, x, method=method, chunk=2)
    for method in [*SLOW, "auto"]:
        with pytest.raises(ValueError, match=r"examples mix in this architecture.*leave chunk out"):
            empirical_kernels(network_of("batchnorm"), inputs_of("batchnorm"), method=method, chunk=1)


@pytest.mark.parametrize("name", ["mlp", "batchnorm"])
@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_gradients_may_be_off(name: str, method: str, agree: Agree) -> None:
    network, x = network_of(name), inputs_of(name)
    expected = empirical_kernels(network, x, method=method)
    with torch.no_grad():
        for found, was in zip(empirical_kernels(network, x, method=method), expected, strict=True):
            assert not found.requires_grad
            agree(found, was, 1e-13)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("method", SLOW)
def test_the_slow_methods_run_where_tensors_have_no_values(name: str, method: str) -> None:
    a, shape = CASES[name]
    network = initial(a, 6, [0, 1], device=META, dtype=torch.float32)
    for kernel in empirical_kernels(network, torch.zeros(shape, device=META), method=method):
        assert (kernel.shape, kernel.device.type, kernel.dtype) == ((2, shape[0], shape[0]), "meta", torch.float64)


def test_gradient_flow_moves_the_output_by_the_kernel(agree: Agree) -> None:
    """Along ``dw = -ε Σ_j r_j ∂f_j`` the outputs move by ``-ε Θ r`` to first order: finite differences, no autograd."""
    network, x = network_of("attention-tied", seeds=(0,)), inputs_of("attention-tied")
    f, uses = network.recorded(x)
    residual = torch.tensor([0.3, -1.0, 0.5], dtype=torch.float64, device=CPU)
    signals = torch.autograd.grad((f[0, :, 0] * residual).sum(), [use.y for use in uses])

    def moved(step: float) -> Tensor:
        drawn = dict(network.weights.drawn)
        for use, g in zip(uses, signals, strict=True):
            owned = drawn[use.name]
            rows, backs = use.x.reshape(1, -1, use.x.shape[-1]), g.reshape(1, -1, g.shape[-1])
            assert isinstance(owned.weights, DenseGaussian)
            weight = owned.weights.current - step * use.multiplier * backs.mT @ rows
            assert owned.bias is not None
            bias = owned.bias - step * use.bias_multiplier * backs.sum(1, keepdim=True)
            drawn[use.name] = Map(DenseGaussian(weight), bias)
        return replace(network, weights=replace(network.weights, drawn=drawn)).forward(x)[0, :, 0]

    slope = (moved(1e-5) - moved(-1e-5)) / 2e-5
    agree(slope, -empirical_kernels(network, x)[1][0] @ residual, 1e-7)


def test_what_is_unknown_is_refused() -> None:
    network, x = network_of("mlp", outputs=2), inputs_of("mlp")
    with pytest.raises(ValueError, match=r"unknown method 'exact' \(known: auto, structured, jacobian"):
        empirical_kernels(network, x, method="exact")
    for output in (-1, 2):
        with pytest.raises(ValueError, match=f"outputs 0 to 1, and {output} was asked for"):
            empirical_kernels(network, x, output=output)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: the comparison of devices was NOT made")
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_kernels_on_cuda_agree_with_the_cpu(name: str, lazy: bool, agree: Agree) -> None:
    x = inputs_of(name)
    cuda = initial(CASES[name][0], WIDTH, (3, 4), lazy=lazy, device=torch.device("cuda"), dtype=torch.float64)
    cpu = network_of(name, lazy=lazy)
    agree(cuda.forward(x.cuda()), cpu.forward(x), 1e-9)
    for method in ["structured"] if lazy else METHODS:
        for there, here in zip(
            empirical_kernels(cuda, x.cuda(), method=method), empirical_kernels(cpu, x, method=method), strict=True
        ):
            agree(there, here, 1e-9)
