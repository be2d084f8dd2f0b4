"""Measurements: sizes and movements from copied weights, the tangent kernel against torch.func.jacrev."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from plain_twin import PHI, Twin
from torch import Tensor
from torch.func import functional_call, jacrev

from tpbench.networks.measure import Measured, movements, rms, sizes, tangent_kernel
from tpbench.networks.mlp import Ensemble, Mlp, forward, initialise
from tpbench.networks.train import Sgd, Task, train
from tpbench.parametrization import PARAMETRIZATIONS, kernel_content, named

CPU = torch.device("cpu")
INPUTS, OUTPUTS, EXAMPLES, BASE = 5, 3, 7, 8
Normal = Callable[..., Tensor]
Agree = Callable[..., None]


def build(mlp: Mlp, name: str, *, keep: bool = False, seeds: tuple[int, ...] = (0, 1)) -> Ensemble:
    return initialise(mlp, named(name), seeds, base_width=BASE, device=CPU, dtype=torch.float64, keep_initial=keep)


def as_table(found: Iterable[Measured]) -> dict[tuple[str, int], Tensor]:
    rows = list(found)
    table = {(row.quantity, row.layer): row.values for row in rows}
    assert len(table) == len(rows), "a quantity of a layer came twice"
    return table


def test_rms_averages_squares_over_batch_and_coordinates_in_float64(agree: Agree) -> None:
    x = torch.tensor([[[3.0, 4.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]], device=CPU)
    assert rms(x).dtype == torch.float64
    agree(rms(x), torch.tensor([2.5, 1.0], dtype=torch.float64), 1e-15)
    large = torch.full((1, 2, 3), 1e30, device=CPU)  # its square overflows float32
    agree(rms(large), torch.tensor([1e30], dtype=torch.float64), 1e-6)


@pytest.mark.parametrize("bias", [False, True])
def test_sizes_are_those_of_the_twin(normal: Normal, agree: Agree, bias: bool) -> None:
    ensemble, x = build(Mlp(INPUTS, OUTPUTS, 16, 2, "tanh", bias, 1.3, 0.4), "mup"), normal(EXAMPLES, INPUTS)
    found = as_table(sizes(ensemble, forward(ensemble, x)))
    names = [("preactivation", 1), ("activation", 1), ("preactivation", 2), ("activation", 2), ("output", 3)]
    assert list(found) == names
    for row in (0, 1):
        for name, h in zip(names, Twin(ensemble, named("mup"), BASE, row).hidden(x), strict=True):
            agree(found[name][row], h.square().mean().sqrt(), 1e-13)


def moved(normal: Normal, depth: int, bias: bool = False) -> tuple[Ensemble, list[Tensor], Tensor, Tensor]:
    """Return a trained ensemble, copies of its initial weights, and probes; the ensemble is under NTP at n0 = n."""
    mlp = Mlp(INPUTS, OUTPUTS, BASE, depth, "tanh", bias, sigma_w=1.2, sigma_b=0.6)
    ensemble = build(mlp, "ntp", keep=True)
    initial = [layer.weights.current.clone() for layer in ensemble.layers]
    x, y = normal(EXAMPLES, INPUTS), normal(EXAMPLES, OUTPUTS, seed=1)
    return ensemble, initial, x, y


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_movements_are_those_worked_out_by_hand(normal: Normal, agree: Agree, depth: int) -> None:
    ensemble, initial, x, y = moved(normal, depth)
    start = forward(ensemble, x)
    list(train(ensemble, Task(x, y), Sgd(0.3, 0.5), [None] * 4))
    now = forward(ensemble, x)
    found = as_table(movements(ensemble, start, now))
    factors = [1.2 / INPUTS**0.5] + [1.2 / BASE**0.5] * depth

    def run(weights: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        hs, xs = [], [x.expand(2, *x.shape)]
        for factor, w in zip(factors, weights, strict=True):
            hs.append(factor * xs[-1] @ w.mT)
            xs.append(PHI["tanh"](hs[-1]))
        return hs, xs

    current = [layer.weights.current for layer in ensemble.layers]
    (h0, x0), (h1, x1) = run(initial), run(current)
    for i, factor in enumerate(factors):
        layer, last = i + 1, i == depth
        own = factor * x1[i] @ (current[i] - initial[i]).mT
        passed = factor * (x1[i] - x0[i]) @ initial[i].mT
        agree(own + passed, h1[i] - h0[i], 1e-12)
        agree(found["output-change" if last else "preactivation-change", layer], rms(h1[i] - h0[i]), 1e-12)
        agree(found["weight-update", layer], rms(own), 1e-12)
        if not last:
            agree(found["activation-change", layer], rms(x1[layer] - x0[layer]), 1e-12)
        if i > 0:
            agree(found["initial-weight-on-change", layer], rms(passed), 1e-12)
    assert len(found) == 4 * depth + 2


@pytest.mark.parametrize("bias", [False, True])
def test_a_change_is_the_sum_of_its_two_parts_but_for_biases(normal: Normal, agree: Agree, bias: bool) -> None:
    ensemble, _, x, y = moved(normal, 2, bias)
    start = forward(ensemble, x)
    list(train(ensemble, Task(x, y), Sgd(0.3), [None] * 3))
    now = forward(ensemble, x)
    for number, layer in enumerate(ensemble.layers, start=1):
        update = layer.weights.update_matmul(now.input_of(number), scale=layer.multiplier)
        before_and_after = now.input_of(number), start.input_of(number)
        passed = layer.weights.initial_matmul_of_change(*before_and_after, scale=layer.multiplier)
        rest = now.preactivation(number) - start.preactivation(number) - update - passed
        if layer.bias is None:
            agree(rest, torch.zeros_like(rest), 1e-14, floor=1.0)
        else:
            agree(rest, layer.bias_multiplier * layer.bias.update_matmul(x.new_ones(2, EXAMPLES, 1), scale=1))
            assert float(rest.abs().max()) > 1e-3


def test_nothing_has_moved_before_training(normal: Normal) -> None:
    ensemble, _, x, _ = moved(normal, 2)
    found = as_table(movements(ensemble, forward(ensemble, x), forward(ensemble, x)))
    assert all(float(values.abs().max()) == 0.0 for values in found.values())


def test_movements_need_the_initial_weights(normal: Normal) -> None:
    ensemble, x = build(Mlp(INPUTS, OUTPUTS, 8, 1), "ntp"), normal(EXAMPLES, INPUTS)
    with pytest.raises(ValueError, match="keep_initial=True"):
        list(movements(ensemble, forward(ensemble, x), forward(ensemble, x)))


def jacobian_kernel(twin: Twin, x: Tensor, output: int) -> Tensor:
    """Return Σ_parameters rate · J Jᵀ a layer, (layer, batch, batch), by reverse-mode differentiation."""
    values = {name: p.detach() for name, p in twin.named_parameters()}
    jacobians = jacrev(lambda p: functional_call(twin, p, (x,))[:, output])(values)
    names = [f"weights.{i}" for i in range(len(twin.weights))] + [f"biases.{i}" for i in range(len(twin.biases))]
    terms = x.new_zeros(len(twin.weights), len(x), len(x))
    for name, rate in zip(names, twin.rates(), strict=True):
        flat = jacobians[name].flatten(1)
        terms[int(name.split(".")[1])] += rate * flat @ flat.T
    return terms


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_the_tangent_kernel_is_that_of_the_jacobian(
    normal: Normal, agree: Agree, name: str, depth: int, bias: bool
) -> None:
    if named(name).hidden is None:
        depth = 1
    ensemble = build(Mlp(INPUTS, OUTPUTS, 16, depth, "gelu", bias, 1.2, 0.7), name)
    x = normal(EXAMPLES, INPUTS)
    for output in (0, OUTPUTS - 1):
        found = tangent_kernel(ensemble, x, output)
        assert found.shape == (2, depth + 1, EXAMPLES, EXAMPLES)
        for row in (0, 1):
            expected = jacobian_kernel(Twin(ensemble, named(name), BASE, row), x, output)
            for layer in range(depth + 1):
                agree(found[row, layer], expected[layer], 1e-12)


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_layers_share_of_the_kernel_is_exactly_the_predicted_power(
    normal: Normal, agree: Agree, name: str, depth: int
) -> None:
    """Same seeds, so the same functions but for the read-out's size: K_l = (n/n0)^(e_l) K_l of NTP, to rounding."""
    depth = 1 if named(name).hidden is None else depth
    mlp, x = Mlp(INPUTS, OUTPUTS, 4 * BASE, depth, "tanh"), normal(EXAMPLES, INPUTS)
    ours, reference = (tangent_kernel(build(mlp, which), x) for which in (name, "ntp"))
    for layer, power in enumerate(kernel_content(named(name), depth)):
        agree(ours[:, layer], 4 ** float(power) * reference[:, layer], 1e-12)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", ["ntp", "mup", "sp-over-n"])
def test_the_first_step_moves_the_output_by_eta_times_the_kernel(
    normal: Normal, agree: Agree, name: str, bias: bool
) -> None:
    """(f_1 - f_0)/eta = -K chi + O(eta): two rates extrapolated to eta = 0."""
    mlp, x, y = Mlp(INPUTS, 1, 16, 2, "tanh", bias, sigma_b=0.7), normal(EXAMPLES, INPUTS), normal(EXAMPLES, 1, seed=1)

    def slope(rate: float) -> Tensor:
        ensemble = build(mlp, name)
        before = forward(ensemble, x).output
        list(train(ensemble, Task(x, y), Sgd(rate), [None]))
        return (forward(ensemble, x).output - before) / rate

    ensemble = build(mlp, name)
    chi = (forward(ensemble, x).output - y) / EXAMPLES
    expected = -tangent_kernel(ensemble, x).sum(dim=1) @ chi
    agree(2 * slope(5e-5) - slope(1e-4), expected, 1e-7)
    with pytest.raises(AssertionError, match="differs by"):  # plant: the first layer's term is dropped
        agree(2 * slope(5e-5) - slope(1e-4), -tangent_kernel(ensemble, x)[:, 1:].sum(dim=1) @ chi, 1e-3)
