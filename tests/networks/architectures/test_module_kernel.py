"""The tangent kernel of a user's module: against the naive Jacobian, in blocks, and against our own networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from architecture_cases import CPU, inputs_of, network_of
from torch import Tensor, nn
from torch.func import functional_call

import tpbench
from tpbench.networks.architectures.maps import parameters
from tpbench.networks.tangent import empirical_kernels, empirical_ntk, functional
from tpbench.networks.tangent.functional import naive
from tpbench.networks.tangent.module import ROADS

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


def shared() -> nn.Module:
    """Return a module with one submodule in two places."""
    inner = nn.Linear(4, 4)
    return nn.Sequential(inner, nn.Tanh(), inner, nn.Tanh(), nn.Linear(4, 2))


MODULES: Mapping[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3)), (4,)),
    "conv": (
        lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3)),
        (2, 4, 4),
    ),
    "tied": (Tied, (4,)),
    "shared": (shared, (4,)),
}


def slowly(module: nn.Module, x: Tensor) -> Tensor:
    """Return the full kernel by ``torch.autograd.grad`` of one output after the other."""
    trained = [p for p in module.parameters() if p.requires_grad]
    f = module(x)
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(one, trained, retain_graph=True)]) for one in f.flatten()
    ]
    jacobian = torch.stack(rows).double()
    return (jacobian @ jacobian.mT).view(*f.shape, *f.shape)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("method", ["auto", *ROADS])
def test_every_road_is_the_naive_jacobian(name: str, method: str, agree: Agree) -> None:
    module, x = build(name)
    full = slowly(module, x)
    for chunk in (None, 1, 2, 3, 7):
        agree(empirical_ntk(module, x, outputs="full", method=method, chunk=chunk), full, 1e-12)
        agree(empirical_ntk(module, x, method=method, chunk=chunk), torch.einsum("iojo->ij", full), 1e-12)
        agree(empirical_ntk(module, x, outputs=1, method=method, chunk=chunk), full[:, 1, :, 1], 1e-12)
        part = empirical_ntk(module, x, x[1:4], outputs="full", method=method, chunk=chunk)
        agree(part, full[:, :, 1:4], 1e-12)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("method", ROADS)
def test_the_module_is_left_as_it_was(name: str, method: str) -> None:
    """Every path to a parameter still leads to the same object, in a tied matrix and in a shared submodule, too."""
    module, x = build(name)

    def held() -> list[tuple[str, int]]:
        return [(path, id(p)) for path, p in module.named_parameters(remove_duplicate=False)]

    before, values = held(), {path: p.detach().clone() for path, p in module.named_parameters()}
    empirical_ntk(module, x, method=method)
    assert held() == before
    for path, p in module.named_parameters():
        assert isinstance(p, nn.Parameter)
        assert p.grad is None
        assert torch.equal(p, values[path])
    module(x).sum().backward()
    assert all(p.grad is not None for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize("method", ["auto", *ROADS])
def test_inputs_may_need_gradients_and_gradients_may_be_off(method: str, agree: Agree) -> None:
    module, x = build("mlp")
    expected = empirical_ntk(module, x, method=method)
    needing = x.clone().requires_grad_()
    found = empirical_ntk(module, needing, needing, method=method)
    assert not found.requires_grad
    assert needing.grad is None
    agree(found, expected, 1e-13)
    with torch.no_grad():
        agree(empirical_ntk(module, x, method=method), expected, 1e-13)


def test_autograd_agrees_with_the_naive_jacobian(agree: Agree) -> None:
    """The naive road is checked as well."""
    module, x = build("tied")
    trained = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    assert len(trained) == 3
    found = naive(lambda given, at: functional_call(module, dict(given), (at,)), trained, x)
    agree(slowly(module, x), found, 1e-13)


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
    for word in (None, True):
        with pytest.raises(ValueError, match=f"number of one output, got {word}"):
            empirical_ntk(module, x, outputs=word)  # type: ignore[arg-type]
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


class Centred(nn.Linear):
    """A map of examples less their mean, which no name of a module tells."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(0))


class Noisy(nn.Linear):
    """A map with noise of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.randn(self.out_features, dtype=x.dtype)


def test_both_sides_may_have_sizes_of_their_own(agree: Agree) -> None:
    """A mean over equal positions is the same for sequences of any length."""
    module = nn.Sequential(nn.Conv1d(2, 3, 1), nn.Tanh(), nn.AdaptiveAvgPool1d(1), nn.Flatten()).double()
    x, y = torch.ones(3, 2, 4, device=CPU).double(), torch.ones(2, 2, 6, device=CPU).double()
    for method in ROADS:
        agree(empirical_ntk(module, x, y, method=method), empirical_ntk(module, x, x[:2], method=method), 1e-12)


def test_examples_that_mix_are_noticed(agree: Agree) -> None:
    """The kernel an example at a time would be that of a network without inputs."""
    x = build("mlp")[1]
    centred = nn.Sequential(Centred(4, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    for second in (None, x):
        with pytest.raises(ValueError, match=r"is another one beside other examples.*do not mix"):
            empirical_ntk(centred, x, second)
    with pytest.raises(ValueError, match=r"is another one beside other examples"):
        empirical_ntk(centred, x[:1], x[1:2])
    same = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    same.load_state_dict(centred.state_dict())
    empirical_ntk(same.float(), x.float())
    with pytest.raises(AssertionError, match="differs"):
        agree(slowly(centred, x), slowly(same.double(), x), 0.1)


def test_chance_is_noticed() -> None:
    x = build("mlp")[1]
    dropping = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1)).double()
    with pytest.raises(ValueError, match=r"dropout in training mode makes outputs random \(1\).*module.eval"):
        empirical_ntk(dropping, x)
    assert empirical_ntk(dropping.eval(), x).shape == (5, 5)
    with torch.random.fork_rng(devices=[]), pytest.raises(ValueError, match=r"another one when it is asked again"):
        empirical_ntk(Noisy(4, 1).double(), x)


def test_the_package_offers_it() -> None:
    assert tpbench.empirical_ntk is empirical_ntk
