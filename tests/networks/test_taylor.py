"""Taylor models: exact on polynomials, equal to nested differentiation, and linear training is kernel descent."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from plain_twin import PHI
from torch import Tensor

from tpbench.networks.forward_mode import jvp
from tpbench.networks.measure import tangent_kernel
from tpbench.networks.mlp import Ensemble, Mlp, forward, initialise, initialise_lazy
from tpbench.networks.taylor import SMOOTH, begin, expand, series, train
from tpbench.networks.train import Sgd, Task
from tpbench.networks.train import train as train_network
from tpbench.parametrization import named
from tpbench.weights.dense import DenseGaussian
from tpbench.weights.innovations import MonteCarlo
from tpbench.weights.lazy import LazyGaussian

CPU = torch.device("cpu")
INPUTS, OUTPUTS, EXAMPLES, WIDTH, BASE = 4, 2, 3, 7, 5
RATE, STEPS = 0.4, 3
Normal = Callable[..., Tensor]
Agree = Callable[..., None]


def build(activation: str = "tanh", *, depth: int = 2, table: str = "mup") -> Ensemble:
    mlp = Mlp(INPUTS, OUTPUTS, WIDTH, depth, activation, sigma_w=1.3)
    return initialise(mlp, named(table), (0, 1), base_width=BASE, device=CPU, dtype=torch.float64)


def data(normal: Normal) -> tuple[Tensor, Tensor]:
    return normal(EXAMPLES, INPUTS), normal(EXAMPLES, OUTPUTS, seed=1)


def trained(ensemble: Ensemble, order: int | None, normal: Normal, rate: float = RATE, steps: int = STEPS) -> Tensor:
    """Return f_0 … f_T of a model, (step, seed, example, out)."""
    x, y = data(normal)
    return torch.stack(list(train(begin(expand(ensemble, x, 3), order), y, learning_rate=rate, steps=steps)))


def plain(ensemble: Ensemble, x: Tensor, weights: list[Tensor]) -> Tensor:
    """Return the output (example, out) of the network that has these weights."""
    phi = PHI[ensemble.mlp.activation]
    for layer, w in zip(ensemble.layers, weights, strict=True):
        x = layer.multiplier * (x if layer is ensemble.layers[0] else phi(x)) @ w.mT
    return x


def by_hand(
    ensemble: Ensemble, order: int, normal: Normal, row: int, factorial: Callable[[int], float] = math.factorial
) -> Tensor:
    """Train the model of one seed by nested directional derivatives and autograd; nothing is shared but w_0."""
    x, y = data(normal)
    start = [layer.weights.current[row] for layer in ensemble.layers]  # type: ignore[attr-defined]
    moved = [torch.zeros_like(w) for w in start]
    outputs = []
    for _ in range(STEPS + 1):
        moved = [d.detach().requires_grad_() for d in moved]
        along = lambda e, moved=moved: plain(ensemble, x, [w + e * d for w, d in zip(start, moved, strict=True)])  # noqa: E731
        zero = torch.zeros((), dtype=torch.float64, device=CPU)
        f = along(zero)
        for j in range(1, order + 1):
            along = lambda e, of=along: jvp(of, (e,), (torch.ones_like(e),))[1]  # noqa: E731
            f = f + along(zero) / factorial(j)
        outputs.append(f.detach())
        loss = 0.5 * (f - y).square().sum() / EXAMPLES
        gradients = torch.autograd.grad(loss, moved)
        moved = [d - RATE * la.rate * g for d, la, g in zip(moved, ensemble.layers, gradients, strict=True)]
    return torch.stack(outputs)


@pytest.mark.parametrize("table", ["mup", "ntp"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_model_is_its_nested_directional_derivatives(normal: Normal, agree: Agree, order: int, table: str) -> None:
    ensemble = build(table=table)
    found = trained(ensemble, order, normal)
    for row in (0, 1):
        agree(found[:, row], by_hand(ensemble, order, normal, row), 1e-12)


def test_a_missing_factorial_is_noticed(normal: Normal) -> None:
    ensemble = build()
    wrong = by_hand(ensemble, 2, normal, 0, factorial=lambda j: 1.0)
    right = trained(ensemble, 2, normal)[:, 0]
    assert (right[1:] - wrong[1:]).abs().amax(dim=(1, 2)).min() > 1e-3


def test_weights_of_the_terms_are_what_a_missing_factorial_does(normal: Normal, agree: Agree) -> None:
    x, y = data(normal)
    ensemble = build()
    model = begin(expand(ensemble, x, 3), 3, [1.0, 2.0, 6.0])
    found = torch.stack(list(train(model, y, learning_rate=RATE, steps=STEPS)))
    agree(found[:, 1], by_hand(ensemble, 3, normal, 1, factorial=lambda j: 1.0), 1e-12)


@pytest.mark.parametrize(("depth", "order"), [(1, 2), (2, 3)])
def test_a_product_of_matrices_is_the_polynomial_of_its_own_degree(
    normal: Normal, agree: Agree, depth: int, order: int
) -> None:
    """A linear network of ``depth`` hidden layers has degree depth + 1 in its weights: that model is the network."""
    ensemble = build("identity", depth=depth)
    network = trained(ensemble, None, normal)
    agree(trained(ensemble, order, normal), network, 1e-12)
    lower = trained(ensemble, order - 1, normal)
    agree(lower[0], network[0], 1e-12)
    assert ((lower - network)[1:].abs().amax(dim=(1, 2, 3)) > 1e-3).all()


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_the_network_among_its_models_is_the_one_that_is_trained_elsewhere(
    normal: Normal, agree: Agree, activation: str
) -> None:
    x, y = data(normal)
    found, other = trained(build(activation), None, normal), build(activation)
    for step, ensemble in train_network(other, Task(x, y), Sgd(RATE), [None] * STEPS):
        agree(found[step], forward(ensemble, x).output, 1e-12)


def test_the_linear_model_descends_by_the_empirical_kernel(normal: Normal, agree: Agree) -> None:
    mlp = Mlp(INPUTS, 1, WIDTH, 2, "erf", sigma_w=1.3)
    ensemble = initialise(mlp, named("mup"), (0, 1), base_width=BASE, device=CPU, dtype=torch.float64)
    x, y = normal(EXAMPLES, INPUTS), normal(EXAMPLES, 1, seed=1)
    kernel = tangent_kernel(ensemble, x).sum(dim=1)
    for centred in (False, True):
        model = begin(expand(ensemble, x, 1), 1)
        outputs = list(train(model, y, learning_rate=RATE, steps=STEPS, centred=centred))
        offset = outputs[0] if centred else 0.0
        for now, after in itertools.pairwise(outputs):
            agree(after, now - RATE / EXAMPLES * kernel @ (now - offset - y), 1e-12)


def test_models_approach_the_network_by_one_power_of_the_rate_for_every_order(normal: Normal) -> None:
    """After one step the model of order k leaves the network by O(rate^(k + 1))."""
    ensemble = build()
    for order in (1, 2, 3):
        gaps = []
        for rate in (0.04, 0.02):
            gap = trained(ensemble, order, normal, rate, 1)[1] - trained(ensemble, None, normal, rate, 1)[1]
            gaps.append(float(gap.square().mean().sqrt()))
        assert math.log2(gaps[0] / gaps[1]) == pytest.approx(order + 1, abs=0.1)


def test_another_learning_rate_is_noticed(normal: Normal) -> None:
    ensemble = build()
    gap = trained(ensemble, 1, normal, 1.01 * RATE) - trained(ensemble, 1, normal)
    assert gap[1:].abs().amax(dim=(1, 2, 3)).min() > 1e-4


@pytest.mark.parametrize("name", SMOOTH)
def test_series_of_activations(name: str, agree: Agree) -> None:
    h = torch.linspace(-3, 3, 41, dtype=torch.float64, device=CPU)
    value, first, *_ = found = series(SMOOTH[name], h, 4)
    agree(value, PHI[name](h), 1e-14)
    at = h.clone().requires_grad_()
    agree(first, torch.autograd.grad(PHI[name](at).sum(), at)[0], 1e-12)
    for size in (1e-2, 2e-2):  # the remainder is that of the next order
        expanded = sum(c * size**m for m, c in enumerate(found))
        assert (expanded - PHI[name](h + size)).abs().max() < size**5


def test_lazy_networks_have_the_same_models_as_the_matrices_they_stand_for(normal: Normal, agree: Agree) -> None:
    """Ask a lazy matrix for all of itself after training: the dense twin with that matrix has the same outputs."""
    x, y = data(normal)
    mlp = Mlp(INPUTS, OUTPUTS, 40, 2, "tanh", sigma_w=1.3)
    lazy = initialise_lazy(mlp, named("mup"), MonteCarlo((0, 1)), base_width=BASE, device=CPU, dtype=torch.float64)
    found = {
        order: list(train(begin(expand(lazy, x, 3), order), y, learning_rate=RATE, steps=2)) for order in (3, None)
    }
    layers = [
        replace(la, weights=DenseGaussian(la.weights.materialise())) if isinstance(la.weights, LazyGaussian) else la
        for la in lazy.layers
    ]
    dense = replace(lazy, layers=tuple(layers))
    for order, outputs in found.items():
        again = train(begin(expand(dense, x, 3), order), y, learning_rate=RATE, steps=2)
        agree(torch.stack(outputs), torch.stack(list(again)), 1e-10)


def test_training_a_model_changes_no_weights(normal: Normal) -> None:
    ensemble = build()
    before = [layer.weights.current.clone() for layer in ensemble.layers]  # type: ignore[attr-defined]
    first = trained(ensemble, 3, normal)
    assert all(torch.equal(la.weights.current, w) for la, w in zip(ensemble.layers, before, strict=True))  # type: ignore[attr-defined]
    assert torch.equal(first, trained(ensemble, 3, normal))


def test_what_has_no_taylor_model_is_refused(normal: Normal) -> None:
    x, _ = data(normal)
    with pytest.raises(ValueError, match="'relu' is none"):
        expand(build("relu"), x, 2)
    biased = initialise(Mlp(4, 1, 5, 1, "tanh", True), named("mup"), (0,), device=CPU, dtype=torch.float64)
    with pytest.raises(ValueError, match="without biases"):
        expand(biased, x, 2)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        expand(build(), x, 0)
    with pytest.raises(ValueError, match="orders 1 to 2, got 3"):
        begin(expand(build(), x, 2), 3)
    with pytest.raises(ValueError, match="has 2 terms, got weights of 3"):
        begin(expand(build(), x, 2), 2, [1.0, 1.0, 1.0])
