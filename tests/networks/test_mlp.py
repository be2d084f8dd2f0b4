"""Ensembles: initial sizes, shapes, the abc symmetry, base width, permutations, seeds apart and together."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from plain_twin import Twin
from torch import Tensor

from tpbench.networks.mlp import Ensemble, Layer, Mlp, backward, buffers, forward, initialise, parameters
from tpbench.networks.train import Sgd, Task, batches, train
from tpbench.parametrization import PARAMETRIZATIONS, Parametrization, Role, named
from tpbench.weights.dense import DenseGaussian

CPU = torch.device("cpu")
INPUTS, OUTPUTS, EXAMPLES = 5, 3, 12
Normal = Callable[..., Tensor]
Agree = Callable[..., None]


def build(
    mlp: Mlp, table: Parametrization, seeds: Sequence[int] = (0, 1), base: int = 8, dtype: torch.dtype = torch.float64
) -> Ensemble:
    return initialise(mlp, table, seeds, base_width=base, device=CPU, dtype=dtype)


def data(dtype: torch.dtype = torch.float64, outputs: int = OUTPUTS) -> Task:
    source = torch.Generator(device="cpu").manual_seed(5)
    x, y = (torch.randn(EXAMPLES, size, generator=source, dtype=dtype, device=CPU) for size in (INPUTS, outputs))
    return Task(x, y)


def trained(ensemble: Ensemble, task: Task, sgd: Sgd, steps: int = 5) -> Tensor:
    """Train and return the outputs on all examples."""
    list(train(ensemble, task, sgd, batches(len(task.inputs), sgd.batch, steps, seed=0)))
    return forward(ensemble, task.inputs).output


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_initial_weights_have_the_tables_standard_deviation(agree: Agree, name: str) -> None:
    """One set of standard normal numbers for all tables and base widths, times (n/n0)^(-b)."""
    depth = 2 if named(name).hidden else 1
    mlp = Mlp(30, 40, 64, depth, bias=True)
    unit, scaled = (build(mlp, named(name), (0, 1, 2), base) for base in (64, 4))
    for layer, (one, two) in enumerate(zip(unit.layers, scaled.layers, strict=True), start=1):
        size = one.weights.current.numel()
        assert abs(float(one.weights.current.square().mean()) - 1) < 4 * (2 / size) ** 0.5
        assert one.rate == one.bias_rate == one.bias_multiplier == 1.0
        spread = 16 ** -float(named(name).layer(layer, depth).b)
        agree(two.weights.current, spread * one.weights.current, 1e-15)
        assert one.bias is not None
        assert two.bias is not None
        of_bias = named(name).output_bias if layer == depth + 1 else named(name).input
        agree(two.bias.current, 16 ** -float(of_bias.b) * one.bias.current, 1e-15)


def test_weights_and_biases_of_all_layers_are_different_numbers() -> None:
    ensemble = build(Mlp(16, 16, 16, 3, bias=True), named("ntp"), (0, 1))
    columns = [tensors.current[row, :, 0] for tensors, _ in parameters(ensemble) for row in (0, 1)]
    assert len(columns) == 16
    correlation = torch.corrcoef(torch.stack(columns)).fill_diagonal_(0)
    assert float(correlation.abs().max()) < 0.9


@pytest.mark.parametrize(("depth", "bias"), list(itertools.product((1, 2, 3), (False, True))))
def test_the_forward_and_backward_pass_are_those_of_autograd(agree: Agree, depth: int, bias: bool) -> None:
    mlp, task = Mlp(INPUTS, OUTPUTS, 16, depth, "silu", bias, 1.2, 0.3), data()
    table = named("mup" if depth > 1 else "mean-field")
    ensemble = build(mlp, table)
    trace = forward(ensemble, task.inputs)
    for row in (0, 1):
        hidden = Twin(ensemble, table, 8, row).hidden(task.inputs)
        for layer in range(1, depth + 1):
            agree(trace.preactivation(layer)[row], hidden[2 * layer - 2], 1e-13)
            agree(trace.input_of(layer + 1)[row], hidden[2 * layer - 1], 1e-13)
        agree(trace.preactivation(depth + 1)[row], hidden[-1], 1e-13)
        agree(trace.input_of(1)[row], task.inputs, 0.0)
        pull = torch.ones_like(trace.output)
        expected = torch.autograd.grad(hidden[-1].sum(), hidden[:-1:2])
        for ours, theirs in zip(backward(ensemble, trace, pull)[:-1], expected, strict=True):
            agree(ours[row], theirs, 1e-13)


def test_buffers_are_reused_and_change_nothing() -> None:
    ensemble, task = build(Mlp(INPUTS, OUTPUTS, 16, 2, "gelu", bias=True), named("mup")), data()
    space = buffers(ensemble, task.inputs)
    for tensor in (*space.preactivations, *space.activations, space.output):
        tensor.fill_(torch.nan)
    fresh, again = forward(ensemble, task.inputs), forward(ensemble, task.inputs, into=space)
    assert again.output.data_ptr() == space.output.data_ptr()
    assert torch.equal(fresh.output, again.output)


OPTIMIZERS = st.builds(
    Sgd,
    learning_rate=st.sampled_from([0.05, 0.3]),
    momentum=st.sampled_from([0.0, 0.9]),
    weight_decay=st.sampled_from([0.0, 0.1]),
    batch=st.sampled_from([None, 5]),
    loss=st.sampled_from(["mse", "cross-entropy", "linear"]),
)


@given(
    st.sampled_from(["ntp", "mup", "sp-over-n"]),
    st.sampled_from(Role),
    st.sampled_from([Fraction(-1), Fraction(-1, 2), Fraction(1, 3), Fraction(1)]),
    OPTIMIZERS,
    st.integers(1, 3),
)
def test_the_abc_shift_of_a_role_changes_no_trained_network(
    agree: Agree, name: str, role: Role, theta: Fraction, sgd: Sgd, depth: int
) -> None:
    mlp, task = Mlp(INPUTS, OUTPUTS, 24, depth, "tanh", bias=True, sigma_w=1.2, sigma_b=0.5), data()
    expected = trained(build(mlp, named(name)), task, sgd)
    agree(trained(build(mlp, named(name).shifted(role, theta)), task, sgd), expected)


def test_a_shift_of_two_exponents_only_is_another_network(agree: Agree) -> None:
    mlp, task = Mlp(INPUTS, OUTPUTS, 24, 2, "tanh"), data()
    table = named("mup")
    wrong = table.replacing(Role.HIDDEN, a=Fraction(1), b=Fraction(-1, 2))  # c should be -2
    with pytest.raises(AssertionError, match="differs by"):
        agree(trained(build(mlp, wrong), task, Sgd(0.3)), trained(build(mlp, table), task, Sgd(0.3)))


@pytest.mark.parametrize(("depth", "loss"), [(1, "mse"), (2, "cross-entropy")])
def test_all_tables_are_one_network_at_the_base_width(depth: int, loss: str) -> None:
    mlp, task = Mlp(INPUTS, OUTPUTS, 8, depth, "gelu", bias=True, sigma_w=1.4), data()
    tables = [table for table in PARAMETRIZATIONS.values() if table.hidden or depth == 1]
    sgd = Sgd(0.1, 0.9, 0.01, batch=5, loss=loss)
    first, *others = (trained(build(mlp, table, base=8), task, sgd) for table in tables)
    assert len(others) == (4 if depth == 1 else 3)
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize("name", ["sp", "mup"])
def test_away_from_it_they_are_not(name: str) -> None:
    mlp, task = Mlp(INPUTS, OUTPUTS, 16, 1, "gelu"), data()
    one, two = (trained(build(mlp, named(other)), task, Sgd(0.1)) for other in (name, "ntp"))
    assert float((one - two).abs().max()) > 1e-3


def test_ntp_is_one_network_at_every_base_width(agree: Agree) -> None:
    mlp, task = Mlp(INPUTS, OUTPUTS, 16, 2, "tanh"), data()
    found = [trained(build(mlp, named("ntp"), base=base), task, Sgd(0.1, 0.9)) for base in (1, 4, 16, 64)]
    for other in found[1:]:
        agree(other, found[0], 1e-12)


def permuted(ensemble: Ensemble, orders: Sequence[Tensor | None]) -> Ensemble:
    """Return a copy with the neurons of hidden layer l in the order ``orders[l]``; the ends stay (None)."""

    def mix(weights: DenseGaussian, rows: Tensor | None, columns: Tensor | None) -> DenseGaussian:
        w = weights.current.clone()
        w = w if rows is None else w[:, rows]
        return DenseGaussian(w if columns is None else w[:, :, columns])

    layers: list[Layer] = []
    for number, layer in enumerate(ensemble.layers, start=1):
        weights = mix(layer.weights, orders[number], orders[number - 1])
        bias = None if layer.bias is None else mix(layer.bias, orders[number], None)
        layers.append(dataclasses.replace(layer, weights=weights, bias=bias))
    return Ensemble(ensemble.mlp, tuple(layers), ensemble.seeds)


def test_permuting_hidden_neurons_changes_no_output_before_or_after_training(agree: Agree) -> None:
    ensemble = build(Mlp(INPUTS, OUTPUTS, 16, 2, "relu", bias=True), named("mup"))
    task, source = data(), torch.Generator(device="cpu").manual_seed(0)
    one, two = (torch.randperm(16, generator=source, device=CPU) for _ in range(2))
    other = permuted(ensemble, [None, one, two, None])
    half_way = permuted(ensemble, [None, one, None, None])
    half_way.layers[1].weights.current.copy_(ensemble.layers[1].weights.current)
    expected = forward(ensemble, task.inputs).output
    agree(forward(other, task.inputs).output, expected, 1e-13)
    with pytest.raises(AssertionError, match="differs by"):
        agree(forward(half_way, task.inputs).output, expected, 1e-3)
    sgd = Sgd(0.1, 0.9, 0.01, batch=5)
    agree(trained(other, task, sgd), trained(ensemble, task, sgd), 1e-12)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("width", [16, 64, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_seed_trains_alike_alone_in_company_and_in_any_order(
    agree: Agree, dtype: torch.dtype, width: int, outputs: int
) -> None:
    """To rounding, 64 units in the last place of the largest output after 8 steps, and not to the bit: a batch of
    one matrix and a batch of many take different kernels of the linear-algebra library (up to 13 units were seen)."""
    mlp, task, sgd = Mlp(INPUTS, outputs, width, 2, "tanh", bias=True), data(dtype, outputs), Sgd(0.1, 0.9, 1e-3, 4)

    def run(*seeds: int) -> dict[int, Tensor]:
        return dict(zip(seeds, trained(build(mlp, named("ntp"), seeds, dtype=dtype), task, sgd, 8), strict=True))

    together, reordered = run(0, 1, 2, 3, 4), run(4, 2, 0)
    for seed in (0, 2, 4):
        for other in (reordered[seed], run(seed)[seed]):
            agree(other, together[seed], 64 * torch.finfo(dtype).eps)
    assert float((together[0] - together[1]).abs().max()) > 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_call_gives_the_same_bits(dtype: torch.dtype) -> None:
    mlp, task = Mlp(INPUTS, OUTPUTS, 64, 2, "tanh", bias=True), data(dtype)
    one, two = (trained(build(mlp, named("mup"), dtype=dtype), task, Sgd(0.1, 0.9, batch=4)) for _ in range(2))
    assert torch.equal(one, two)


@pytest.mark.parametrize("size", ["inputs", "outputs", "width", "depth"])
def test_sizes_below_one_are_errors(size: str) -> None:
    sizes = {"inputs": 2, "outputs": 2, "width": 2, "depth": 2} | {size: 0}
    with pytest.raises(ValueError, match=f"an MLP needs {size} of at least 1, got 0"):
        Mlp(**sizes)


def test_so_are_unknown_activations_and_inputs_of_another_size() -> None:
    with pytest.raises(ValueError, match="did you mean 'tanh'"):
        Mlp(2, 2, 2, 1, "tahn")
    ensemble = build(Mlp(INPUTS, OUTPUTS, 4, 1), named("mup"))
    for shape in ((3, INPUTS + 1), (INPUTS,), (2, 3, INPUTS)):
        with pytest.raises(ValueError, match=rf"inputs have shape \(batch, {INPUTS}\) for this network, got"):
            forward(ensemble, torch.zeros(shape, dtype=torch.float64, device=CPU))


def test_fans_and_layers() -> None:
    deep, shallow = Mlp(5, 3, 7, 2), Mlp(5, 3, 7, 1)
    assert [deep.fan(layer) for layer in deep.layers] == [(5, 7), (7, 7), (7, 3)]
    assert [shallow.fan(layer) for layer in shallow.layers] == [(5, 7), (7, 3)]
