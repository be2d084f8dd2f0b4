"""Sign descent, Adam, AdamW and spectral descent against torch.optim and plain loops; what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from optimizer_cases import (
    BASE,
    CPU,
    EVERY,
    EXAMPLES,
    INPUTS,
    META,
    MLP,
    OUTPUTS,
    SEEDS,
    STEPS,
    Agree,
    Normal,
    build,
    every,
    task,
    trained,
)
from plain_twin import Twin, train_twin
from torch import Tensor

from tpbench.networks import optimizers
from tpbench.networks.factors import Factors, Optimizer, factors
from tpbench.networks.mlp import Ensemble, Layer, Mlp, forward, initialise
from tpbench.networks.optimizers import Adam, SignDescent, Spectral
from tpbench.networks.train import Sgd, Task, batches, train
from tpbench.parametrization import Role, named
from tpbench.weights.dense import DenseGaussian


def twins_trained(given: Task, optimizer: Optimizer, mlp: Mlp = MLP, table: str = "mup") -> Tensor:
    ensemble = build(mlp, named(table))
    twins = [Twin(ensemble, named(table), BASE, row) for row in range(len(SEEDS))]
    for twin in twins:
        train_twin(twin, given.inputs, given.targets, optimizer, batches(EXAMPLES, optimizer.batch, STEPS, seed=7))
    return torch.stack([twin(given.inputs) for twin in twins])


@pytest.mark.parametrize("phi", ["tanh", "relu"])
@pytest.mark.parametrize("table", ["mup", "ntp", "sp-over-n"])
@every
def test_every_optimizer_trains_like_its_plain_twin(
    normal: Normal, agree: Agree, optimizer: Optimizer, table: str, phi: str
) -> None:
    """Relu has entries whose gradient is exactly 0, and seeds whose gradients have fewer directions than examples."""
    mlp, given = replace(MLP, activation=phi), task(normal)
    agree(trained(build(mlp, named(table)), given, optimizer), twins_trained(given, optimizer, mlp, table), 1e-10)


@every
def test_a_seed_among_others_is_trained_as_alone(normal: Normal, agree: Agree, optimizer: Optimizer) -> None:
    given = task(normal)
    together = trained(build(), given, optimizer)
    alone = torch.cat([trained(build(seeds=(seed,)), given, optimizer) for seed in SEEDS])
    agree(together, alone, 1e-11)


FAULTS: dict[str, tuple[str, Callable[..., Any]]] = {
    "a wrong epsilon": ("adamw", lambda self, role, width: self.epsilon),
    "a wrong decay": ("adamw, coupled", lambda self, role, rate, width: self.weight_decay / rate),
}


@pytest.mark.parametrize(("name", "fault"), FAULTS.values(), ids=list(FAULTS))
def test_the_comparison_notices_a_wrong_factor_of_width(
    monkeypatch: pytest.MonkeyPatch, normal: Normal, agree: Agree, name: str, fault: Callable[..., Any]
) -> None:
    monkeypatch.setattr(Adam, "epsilon_of" if "epsilon" in fault.__code__.co_names else "decay_of", fault)
    given = task(normal)
    with pytest.raises(AssertionError, match="differs by"):
        agree(trained(build(), given, EVERY[name]), twins_trained(given, EVERY[name]), 1e-10)


def test_the_comparison_notices_a_direction_that_is_left_out(
    monkeypatch: pytest.MonkeyPatch, normal: Normal, agree: Agree
) -> None:
    monkeypatch.setattr(optimizers, "RANK_TOLERANCE_IN_EPS", 1e15)
    given, optimizer = task(normal), EVERY["spectral, batches"]
    with pytest.raises(AssertionError, match="differs by"):
        agree(trained(build(), given, optimizer), twins_trained(given, optimizer), 1e-10)


def test_a_second_training_starts_afresh(normal: Normal, agree: Agree) -> None:
    """A training keeps its own moments, and the settings stay what they were."""
    given, optimizer, again = task(normal), EVERY["adam"], Adam(0.02, batch=4)
    ensemble = build()
    trained(ensemble, given, optimizer, steps=3)
    assert optimizer == again
    copies = tuple(
        replace(
            layer,
            weights=DenseGaussian(_current(layer).clone()),
            bias=None if layer.bias is None else DenseGaussian(layer.bias.current.clone()),
        )
        for layer in ensemble.layers
    )
    twice = trained(ensemble, given, optimizer)
    agree(trained(Ensemble(ensemble.mlp, copies, SEEDS), given, again), twice, 0.0)


def _current(layer: Layer) -> Tensor:
    assert isinstance(layer.weights, DenseGaussian)
    return layer.weights.current


def test_adam_without_memory_is_sign_descent(normal: Normal, agree: Agree) -> None:
    given = task(normal)
    forgetful = Adam(0.01, (0.0, 0.0), 1e-30, weight_decay=0.05, batch=4)
    agree(trained(build(), given, forgetful), trained(build(), given, EVERY["sign, batches"]), 1e-11)


SHRINKING = ["sgd", "sign, batches", "sign, one by one", "spectral, all", "adamw", "adamw, coupled"]


@pytest.mark.parametrize("name", SHRINKING)
def test_a_step_shrinks_by_the_same_share_at_every_width(name: str) -> None:
    """Inputs of 0 leave first weights without a gradient: decay alone moves them. As torch couples it, it moves less
    at widths that learn slowly."""
    optimizer = EVERY[name]
    assert isinstance(optimizer, Sgd | SignDescent | Spectral | Adam)
    for width in (BASE, 64):
        ensemble = build(replace(MLP, width=width, bias=False), named("sp-over-n"))
        zeros = torch.zeros(EXAMPLES, INPUTS, dtype=torch.float64, device=CPU)
        list(train(ensemble, Task(zeros, zeros[:, :OUTPUTS]), optimizer, batches(EXAMPLES, optimizer.batch, 1, 0)))
        shrunk = optimizer.learning_rate * optimizer.weight_decay * (BASE / width if name == "adamw, coupled" else 1)
        assert shrunk > 1e-5
        first = ensemble.layers[0].weights
        assert isinstance(first, DenseGaussian)
        torch.testing.assert_close(first.current, (1 - shrunk) * first.initial, rtol=1e-13, atol=0)


WRONG: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (SignDescent, {"learning_rate": 0.0}, "sign descent needs a learning rate above 0"),
    (Spectral, {"learning_rate": np.inf}, "spectral descent needs a learning rate above 0"),
    (Adam, {"learning_rate": 0.1, "weight_decay": -0.1}, "Adam needs a learning rate above 0 .* weight decay"),
    (Adam, {"learning_rate": 0.1, "betas": (0.9, 1.0)}, r"Adam needs betas in \[0, 1\)"),
    (Adam, {"learning_rate": 0.1, "epsilon": 0.0}, "epsilon above 0"),
    (Adam, {"learning_rate": 0.1, "base_width": 0}, "a base width of at least 1"),
    (Adam, {"learning_rate": 0.1, "weight_decay": 0.1, "decoupled": False}, "give decay_powers, {} for one decay"),
    (SignDescent, {"learning_rate": 0.1, "batch": 0}, "a batch has at least 1 example, got 0"),
    (Spectral, {"learning_rate": 0.1, "loss": "hinge"}, "unknown loss 'hinge'"),
]


@pytest.mark.parametrize(("kind", "settings", "words"), WRONG)
def test_impossible_settings_are_errors(kind: Callable[..., Any], settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        kind(**settings)


@every
def test_a_training_runs_where_tensors_have_no_values(optimizer: Optimizer) -> None:
    """Reading a value would be an error, and so would a tensor on another device."""
    ensemble = initialise(MLP, named("mup"), SEEDS, device=META, dtype=torch.float32)
    x, y = torch.zeros(EXAMPLES, INPUTS, device=META), torch.zeros(EXAMPLES, OUTPUTS, device=META)
    order = batches(EXAMPLES, optimizer.batch, STEPS, 0)
    assert len(list(train(ensemble, Task(x, y), optimizer, order))) == STEPS + 1
    assert forward(ensemble, x).output.device.type == "meta"


def test_factors_know_their_roles(normal: Normal) -> None:
    """A wrong role would take another layer's epsilon."""
    ensemble, given = build(), task(normal)
    trace = forward(ensemble, given.inputs)
    found: list[Factors] = list(factors(ensemble, trace, (*trace.preactivations, trace.output)))
    weights, biases = [g.role for g in found[::2]], [g.role for g in found[1::2]]
    assert weights == [Role.INPUT, Role.HIDDEN, Role.HIDDEN, Role.OUTPUT]
    assert biases == [Role.INPUT, Role.INPUT, Role.INPUT, Role.OUTPUT_BIAS]
