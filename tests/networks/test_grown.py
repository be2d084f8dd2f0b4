"""A factory's own model at widths that only lazy matrices reach: laws, settings, training, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import mup
import pytest
import torch
from torch import Tensor, nn

from tpbench.networks.grown import grow
from tpbench.weights.innovations import MonteCarlo
from tpbench.weights.matrix import LazyMatrix

CPU = torch.device("cpu")
WIDE = 2**13
Made = tuple[nn.Module, torch.optim.Optimizer]


def three_layers(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 2))


def factory(width: int) -> Made:
    """SP's initial weights, a small read-out n^-1, rates of three kinds."""
    model = three_layers(width)
    with torch.no_grad():
        model[2].weight.normal_(0, 1.5 * width**-0.5)
        model[4].weight.normal_(0, 3 / width)
        model[4].bias.zero_()
    groups = [
        {"params": model[0].parameters(), "lr": 0.1},
        {"params": model[2].parameters(), "lr": 0.2 / width, "weight_decay": 0.5},
        {"params": model[4].parameters(), "lr": 0.3, "momentum": 0.9},
    ]
    return model, torch.optim.SGD(groups, lr=1.0)


def grown(made: Callable[[int], Made], seed: int = 0, width: int = WIDE) -> nn.Module:
    return grow(made, width, MonteCarlo([seed]), dtype=torch.float64, device=CPU)[0]


def batch() -> Tensor:
    return torch.randn(4, 8, generator=torch.Generator(CPU).manual_seed(0), dtype=torch.float64, device=CPU)


def test_entries_have_the_law_that_the_factory_has_at_that_width() -> None:
    model = grown(factory)
    assert isinstance(model[2].weight, LazyMatrix)
    assert model[0].weight.std().item() == pytest.approx(8**-0.5 / 3**0.5, rel=0.03)
    assert model[2].bias.std().item() == pytest.approx(WIDE**-0.5 / 3**0.5, rel=0.1)
    assert model[4].weight.std().item() == pytest.approx(3 / WIDE, rel=0.06)
    assert torch.equal(model[4].bias, torch.zeros(2, dtype=torch.float64, device=CPU))
    h = model[:2](batch())
    assert (model[2](h) - model[2].bias).pow(2).mean().item() == pytest.approx(2.25 * h.pow(2).mean().item(), rel=0.06)


def test_rates_momentum_and_decay_are_the_optimizers_own_at_that_width() -> None:
    model, optimizer = grow(factory, WIDE, MonteCarlo([0]), dtype=torch.float64, device=CPU)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {names[id(group["params"][0])]: group for group in optimizer.param_groups}
    assert found["0.weight"]["lr"] == 0.1
    assert found["2.weight"]["lr"] == 0.2 / WIDE
    assert (found["2.weight"]["weight_decay"], found["2.weight"]["momentum"]) == (0.5, 0.0)
    assert (found["4.weight"]["lr"], found["4.weight"]["momentum"]) == (0.3, 0.9)


def test_training_continues_the_dense_networks_of_the_factory() -> None:
    """The movement of a Θ(1) quantity at a lazy width lies where dense widths have it (muP: a constant)."""

    def mup_factory(width: int) -> Made:
        model = three_layers(width)
        with torch.no_grad():
            model[2].weight.normal_(0, width**-0.5)
            model[4].weight.normal_(0, 1 / width)
        rates = [0.2 * width, 0.2 * width, 0.2, 0.2 * width, 0.2 / width, 0.2]
        groups = [{"params": [p], "lr": lr} for p, lr in zip(model.parameters(), rates, strict=True)]
        return model, torch.optim.SGD(groups, lr=1.0)

    def moved(model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
        x = batch()
        with torch.no_grad():
            start = model[:3](x)
        for _ in range(3):
            optimizer.zero_grad()
            (model(x) - x[:, :2]).square().mean().backward()
            optimizer.step()
        with torch.no_grad():
            return (model[:3](x) - start).square().mean().sqrt().item()

    dense = []
    for seed in range(8):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model, optimizer = mup_factory(512)
        dense.append(moved(model.double(), optimizer))
    lazy = [moved(*grow(mup_factory, WIDE, MonteCarlo([s]), dtype=torch.float64, device=CPU)) for s in range(3)]
    mean, error = sum(dense) / 8, torch.tensor(dense).std().item() / 8**0.5
    assert abs(sum(lazy) / 3 - mean) < 5 * error + 0.03 * mean


def test_models_of_the_mup_package_keep_their_scaling() -> None:
    def made(width: int) -> Made:
        def build(n: int) -> nn.Sequential:
            readout = mup.MuReadout(n, 2, bias=False)
            return nn.Sequential(nn.Linear(8, n), nn.ReLU(), nn.Linear(n, n), nn.ReLU(), readout)

        model = build(width)
        mup.set_base_shapes(model, build(32), delta=build(48))
        return model, mup.MuSGD(model.parameters(), lr=0.1)

    sizes = [grown(made, seed)(batch()).square().mean().item() for seed in range(12)]
    dense = []
    for seed in range(32):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            dense.append(made(512)[0].double()(batch()).square().mean().item())
    # f_0² ~ 1/n under muP: 16 times narrower networks have 16 times as much
    assert sum(dense) / 32 / (sum(sizes) / 12) == pytest.approx(16, rel=0.6)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="trained by SGD, and the factory's optimizer is Adam"):
        grown(lambda n: (m := three_layers(n), torch.optim.Adam(m.parameters())))
    with pytest.raises(ValueError, match="not nesterov"):
        grown(lambda n: (m := three_layers(n), torch.optim.SGD(m.parameters(), lr=1, momentum=0.5, nesterov=True)))

    def reads_values(width: int) -> Made:
        model = three_layers(width)
        return model, torch.optim.SGD(model.parameters(), lr=model[2].weight.norm().item())

    with pytest.raises(ValueError, match=r"meta device.*outside of the factory"):
        grown(reads_values)
