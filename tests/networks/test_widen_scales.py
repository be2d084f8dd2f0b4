"""Scales of widened models: those of the parametrization's table, the law of ensembles, and flat coordinates in muP."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from wide_models import BASE, CPU, INPUTS, OUTPUTS, Normal, mlp, widened

from tpbench.networks import widen as widen_module
from tpbench.networks.mlp import Mlp, forward, initialise
from tpbench.networks.train import Sgd, Task, batches
from tpbench.networks.train import train as train_ensemble
from tpbench.networks.wide_sgd import WideSGD
from tpbench.networks.widen import widen
from tpbench.parametrization import PARAMETRIZATIONS, Role, exponent, named
from tpbench.weights.matrix import LazyMatrix


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_scales_are_those_of_the_table_moved_into_std_and_rate(name: str) -> None:
    """Standard deviations measured on drawn entries, rates read from the optimizer, exponents worked out anew."""
    table, ratio = named(name), 16.0

    def shallow(width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(40, width), nn.Linear(width, 30))

    def deep(width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(40, width), nn.Linear(width, width), nn.Linear(width, 30))

    model, rolenames = (deep, ("input", "hidden", "output")) if table.hidden else (shallow, ("input", "output"))
    stds = {f"{number}.weight": 0.3 for number in range(len(rolenames))} | {"0.bias": 0.2}
    wide = widened(model, 256, parametrization=name, stds=stds)
    rates = {id(p): group["lr"] for group in wide.sgd(0.5).param_groups for p in group["params"]}
    expected = {f"{number}.weight": (role, 0.3) for number, role in enumerate(rolenames)} | {"0.bias": ("input", 0.2)}
    for parameter, (role, std) in expected.items():
        exponents = table.of(Role(role))
        found = wide.model.get_parameter(parameter)
        rate = 0.5 * ratio ** -float(exponents.c + 2 * exponents.a)
        assert rates[id(found)] == pytest.approx(rate, rel=1e-12)
        dense = found.materialise() if isinstance(found, LazyMatrix) else found.detach()
        size = std * ratio ** -float(exponents.a + exponents.b)
        assert float(dense.square().mean().sqrt()) == pytest.approx(size, rel=4 / (2 * dense.numel()) ** 0.5)


def test_at_the_base_width_the_model_has_its_own_scales(normal: Normal) -> None:
    wide = widened(mlp, BASE)
    own = mlp(BASE)
    for part, (name, _) in zip(wide.parts, own.named_parameters(), strict=True):
        assert (part.name, part.rate, part.factor) == (name, 1.0, 1.0)
        if part.law is not None:
            fan_in = own.get_submodule(name.partition(".")[0]).in_features
            assert part.law.std == pytest.approx((3 * fan_in) ** -0.5, rel=0.03)
            assert part.law.mean == 0.0


def second_moments_after_two_steps(normal: Normal, networks: int) -> tuple[Tensor, Tensor]:
    """Return the mean of f² after two steps, (seed,): of widened models, and of an ensemble of MLPs.

    The ensemble's multiplier σ/sqrt(fan-in at the base) is in the model's standard deviations, its square in the rates.
    """
    inputs, outputs, base, width = 3, 1, 4, 12
    x, y = normal(5, inputs), normal(5, outputs, seed=1)

    def model(width: int) -> nn.Module:
        layers = [(inputs, width), (width, width), (width, outputs)]
        return nn.Sequential(*(m for sizes in layers for m in (nn.Linear(*sizes, bias=False), nn.Tanh())))[:-1]

    constants = {"0.weight": inputs**-0.5, "2.weight": base**-0.5, "4.weight": base**-0.5}
    found = []
    for seed in range(networks):
        wide = widened(model, width, base, stds=constants, seed=seed)
        rates = {part.name: part.rate * constants[part.name] ** 2 for part in wide.parts}
        groups = [{"params": [p], "lr": 0.5 * rates[name]} for name, p in wide.model.named_parameters()]
        optimizer = WideSGD(groups, lr=0.5)
        for _ in range(2):
            optimizer.zero_grad()
            (0.5 * (wide.model(x) - y).square().sum() / len(x)).backward()
            optimizer.step()
        with torch.no_grad():
            found.append(wide.model(x).square().mean())
    mlps = initialise(
        Mlp(inputs, outputs, width, 2, "tanh"),
        named("mup"),
        range(4000),
        base_width=base,
        device=CPU,
        dtype=torch.float64,
    )
    list(train_ensemble(mlps, Task(x, y), Sgd(0.5), batches(5, None, 2, 0)))
    return torch.stack(found), forward(mlps, x).output.square().mean(dim=(1, 2))


def distance(one: Tensor, two: Tensor) -> float:
    """Return the difference of the means in standard errors."""
    error = (one.var() / len(one) + two.var() / len(two)).sqrt()
    return float((one.mean() - two.mean()).abs() / error)


def test_widened_models_have_the_law_of_ensembles(normal: Normal) -> None:
    assert distance(*second_moments_after_two_steps(normal, 300)) < 3.5


def test_another_initial_law_is_noticed(normal: Normal, monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = widen_module.lazy
    twice = lambda name, law, *a, **k: lazy(name, law.times(1.5), *a, **k)  # noqa: E731
    monkeypatch.setattr(widen_module, "lazy", twice)
    assert distance(*second_moments_after_two_steps(normal, 300)) > 6


def slopes(normal: Normal, parametrization: str) -> dict[str, float]:
    """Return exponents of width, from 2^8 to 2^14, of hidden vectors, their movement and the output's in 3 steps."""
    x, y = normal(4, INPUTS).float(), normal(4, OUTPUTS, seed=1).float()
    widths = [2**8, 2**11, 2**14]
    sizes: dict[str, list[float]] = {}
    for width in widths:
        squares: dict[str, list[Tensor]] = {}
        for seed in range(6):
            wide = widen(mlp, width=width, parametrization=parametrization, seed=seed)
            optimizer, layers = wide.sgd(0.1), list(wide.model.children())
            start: list[Tensor] = []
            for step in range(4):
                hidden = [x]
                for layer in layers:
                    hidden.append(layer(hidden[-1]))
                start = start or hidden
                optimizer.zero_grad()
                (hidden[-1] - y).square().mean().backward()
                if step < 3:
                    optimizer.step()
            for name, number in (("first", 1), ("second", 3), ("output", 5)):
                moved = (hidden[number] - start[number]).detach().square().mean()
                squares.setdefault(f"{name} moved", []).append(moved)
                squares.setdefault(name, []).append(hidden[number].detach().square().mean())
        for name, values in squares.items():
            sizes.setdefault(name, []).append(float(torch.stack(values).mean().sqrt().log2()))
    return {name: (values[-1] - values[0]) / 6 for name, values in sizes.items()}


@pytest.mark.parametrize("name", ["mup", "ntp", "sp-over-n"])
def test_exponents_from_2_to_the_8_to_2_to_the_14_are_those_of_theory(normal: Normal, name: str) -> None:
    """Flat under muP; under the others features move by n^(-1/2) and, with a rate of 1/n, the first by n^(-3/2)."""
    found, table = slopes(normal, name), named(name)
    expected = {"output": 0.0, "output moved": float(exponent(table, "output-change", depth=2))}
    for layer, word in enumerate(("first", "second"), start=1):
        expected[word] = 0.0
        expected[f"{word} moved"] = float(exponent(table, "preactivation-change", depth=2, layer=layer))
    assert found == {word: pytest.approx(value, abs=0.05) for word, value in expected.items()}
    assert (name == "mup") == (expected["second moved"] == 0)


def test_a_constant_rate_without_the_width_is_noticed(normal: Normal) -> None:
    """Plant: SP, whose hidden updates and outputs grow with the width."""
    found = slopes(normal, "sp")
    assert min(found["second moved"], found["output moved"]) > 0.4
