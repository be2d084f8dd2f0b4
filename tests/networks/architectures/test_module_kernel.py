"""The tangent kernel of a user's module: against the naive Jacobian, in blocks, and against our own networks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import pytest
import torch
from architecture_cases import CPU, inputs_of, network_of
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from tpbench.networks.architectures.maps import parameters
from tpbench.networks.tangent import empirical_kernels, empirical_ntk, functional
from tpbench.networks.tangent.functional import naive, operations
from tpbench.networks.tangent.module import ROADS, _model, _of_output

Agree = Callable[..., None]


class Tied(nn.Module):
    """Encoder and decoder are one matrix, and one of the parameters is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(4, 4), nn.Linear(4, 4)
        self.outer.weight = self.inner.weight
        self.frozen = nn.Parameter(torch.full((4,), 0.7), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(torch.tanh(self.inner(x)) * self.frozen)


def build(name: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor]:
    """Return a module, made from a seed, and 5 of its inputs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made, shape = MODULES[name]
        return made().to(dtype).eval(), torch.randn(5, *shape, device=CPU, dtype=torch.float64).to(dtype)


MODULES: Mapping[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3)), (4,)),
    "conv": (
        lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3)),
        (2, 4, 4),
    ),
    "tied": (Tied, (4,)),
}


def slowly(module: nn.Module, x: Tensor) -> Tensor:
    """Return the full kernel from the Jacobian of the whole batch."""
    trained = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    return naive(lambda given, at: functional_call(module, dict(given), (at,)), trained, x)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("method", ["auto", *ROADS])
def test_every_road_is_the_naive_jacobian(name: str, method: str, agree: Agree) -> None:
    module, x = build(name)
    full = slowly(module, x)
    for chunk in (None, 1, 2, 7):
        agree(empirical_ntk(module, x, outputs="full", method=method, chunk=chunk), full, 1e-12)
        agree(empirical_ntk(module, x, method=method, chunk=chunk), torch.einsum("iojo->ij", full), 1e-12)
        agree(empirical_ntk(module, x, outputs=1, method=method, chunk=chunk), full[:, 1, :, 1], 1e-12)
        part = empirical_ntk(module, x, x[1:4], outputs="full", method=method, chunk=chunk)
        agree(part, full[:, :, 1:4], 1e-12)
    assert all(p.grad is None for p in module.parameters())


def test_autograd_agrees_with_the_naive_jacobian(agree: Agree) -> None:
    """The naive road is checked as well: ``torch.autograd.grad`` of one output after the other."""
    module, x = build("tied")
    trained = [p for p in module.parameters() if p.requires_grad]
    assert len(trained) == 3
    f = module(x)
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(f[i, o], trained, retain_graph=True)])
        for i, o in itertools.product(range(5), range(4))
    ]
    jacobian = torch.stack(rows)
    agree(slowly(module, x), (jacobian @ jacobian.mT).view(5, 4, 5, 4), 1e-13)


def test_single_precision_is_summed_in_double(agree: Agree) -> None:
    wide = slowly(*build("conv"))
    for method in ROADS:
        kernel = empirical_ntk(*build("conv", torch.float32), outputs="full", method=method)
        assert kernel.dtype == torch.float64
        agree(kernel, wide, 1e-5)


class Scaled(nn.Linear):
    """lin(x) of the NTK parametrization."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight * (1.3 / self.in_features**0.5), 0.4 * self.bias)


def test_a_module_of_our_architecture_has_our_kernel(agree: Agree) -> None:
    network, x = network_of("mlp", seeds=(5,)), inputs_of("mlp")
    ours = empirical_kernels(network, x)[1][0]
    own = parameters(network.weights, 0)
    layers: list[nn.Module] = []
    for name in network.weights.drawn:
        weight = own[f"weight {name}"]
        layer = Scaled(weight.shape[1], weight.shape[0]).double()
        layer.load_state_dict({"weight": weight, "bias": own[f"bias {name}"]})
        layers += [layer, nn.GELU()]
    module = nn.Sequential(*layers[:-1])
    agree(module(x)[:, 0], network.forward(x)[0, :, 0], 1e-13)
    agree(empirical_ntk(module, x), ours, 1e-12)


def test_missing_and_counted_twice_parameters_are_noticed(agree: Agree) -> None:
    """Plants: the kernel with a frozen layer, and one with a tied matrix counted as two."""
    module, x = build("tied")
    expected = empirical_ntk(module, x, outputs="full")
    untied = Tied().double()
    untied.load_state_dict(module.state_dict())
    untied.outer.weight = nn.Parameter(module.inner.weight.detach().clone())
    module.inner.bias.requires_grad_(False)
    for other in (module, untied):
        with pytest.raises(AssertionError, match="differs"):
            agree(empirical_ntk(other, x, outputs="full"), expected, 0.01)


def test_the_cheaper_road_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many outputs, all pairs: products. One output: Jacobians. What was counted bears out what was estimated."""
    taken: list[str] = []
    for road, do in ROADS.items():
        monkeypatch.setitem(ROADS, road, lambda *a, road=road, do=do, **b: (taken.append(road), do(*a, **b))[1])
    wide = nn.Sequential(nn.Linear(30, 30, bias=False), nn.Tanh(), nn.Linear(30, 40, bias=False))
    x = torch.ones(6, 30, device=CPU)
    for outputs, best in (("full", "vector-products"), ("trace", "jacobian"), (0, "jacobian")):
        empirical_ntk(wide, x, outputs=outputs)
        assert taken.pop() == best
        model = _model(wide) if isinstance(outputs, str) else _of_output(_model(wide), outputs, 40)
        estimated = operations(model, x, 6, 6, trace=outputs != "full")
        spent = {}
        for road in ROADS:
            counter = FlopCounterMode(display=False)
            with counter:
                empirical_ntk(wide, x, outputs=outputs, method=road)
            spent[road] = counter.get_total_flops()
            assert 0.4 < estimated[road] / spent[road] < 2.5, (outputs, road, estimated, spent)
        assert min(spent, key=lambda road: spent[road]) == best


def test_a_block_of_jacobians_fits_the_memory_it_is_given(monkeypatch: pytest.MonkeyPatch, agree: Agree) -> None:
    module, x = build("mlp")
    full = empirical_ntk(module, x, method="jacobian")
    size = sum(p.numel() for p in module.parameters()) * 3 * 8
    blocks: list[int] = []
    jacobians = functional._jacobians
    monkeypatch.setattr(functional, "_jacobians", lambda model, at: (blocks.append(len(at)), jacobians(model, at))[1])
    for room, largest in ((2 * size, 2), (size // 2, 1)):
        blocks.clear()
        monkeypatch.setattr(functional, "BLOCK_IN_BYTES", room)
        agree(empirical_ntk(module, x, method="jacobian"), full, 1e-13)
        assert max(blocks) == largest


def test_what_has_no_kernel_is_refused() -> None:
    module, x = build("conv")
    with pytest.raises(ValueError, match=r"training mode mixes examples \(1\).*module.eval"):
        empirical_ntk(module.train(), x)
    with pytest.raises(ValueError, match=r"'sum'"):
        empirical_ntk(module.eval(), x, outputs="sum")
    with pytest.raises(ValueError, match=r"unknown method 'fast' \(known: auto, jacobian, vector-products\)"):
        empirical_ntk(module, x, method="fast")
    with pytest.raises(ValueError, match=r"a chunk has at least 1 example, got 0"):
        empirical_ntk(module, x, chunk=0)
    with pytest.raises(ValueError, match=r"has outputs 0 to 2, and 3 was asked for"):
        empirical_ntk(module, x, outputs=3)
    with pytest.raises(ValueError, match=r"at least one example, and there is none"):
        empirical_ntk(module, x, x[:0])
    with pytest.raises(ValueError, match=r"needs a parameter that needs a gradient"):
        empirical_ntk(module.requires_grad_(False), x)
    with pytest.raises(ValueError, match=r"outputs of shape \(example, out\), and one example gave \(1, 4, 2, 2\)"):
        empirical_ntk(nn.Conv2d(2, 4, 3).double(), x)
