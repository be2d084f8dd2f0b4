"""Whole trainings against the plain twin; minibatches; what SGD refuses."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from plain_twin import Twin, train_twin
from torch import Tensor

from tpbench.networks.activation import ACTIVATIONS
from tpbench.networks.loss import LOSSES
from tpbench.networks.mlp import Mlp, forward, initialise
from tpbench.networks.train import Sgd, Task, batches, train
from tpbench.parametrization import PARAMETRIZATIONS, named

CPU = torch.device("cpu")
INPUTS, OUTPUTS, EXAMPLES, SEEDS, BASE = 5, 3, 12, (3, 4), 8
GROWING = ("square", "cube", "exp")  # deep networks of these blow up at any rate worth a test; test_activation has them
Normal = Callable[..., Tensor]
Agree = Callable[..., None]


def compare_with_twins(
    normal: Normal, agree: Agree, mlp: Mlp, name: str, sgd: Sgd, *, steps: int = 5, centred: bool = False
) -> None:
    """Train an ensemble and its twins on the same minibatches; outputs agree before, after, and both have moved."""
    x = normal(EXAMPLES, INPUTS)
    y = torch.softmax(normal(EXAMPLES, OUTPUTS, seed=1), -1)
    ensemble = initialise(mlp, named(name), SEEDS, base_width=BASE, device=CPU, dtype=torch.float64)
    twins = [Twin(ensemble, named(name), BASE, row) for row in range(len(SEEDS))]
    start = forward(ensemble, x).output
    agree(start, torch.stack([twin(x) for twin in twins]), 1e-12)
    order = batches(EXAMPLES, sgd.batch, steps, seed=7)
    for twin, f in zip(twins, start, strict=True):
        train_twin(twin, x, y, sgd, order, f if centred else None)
    seen = [step for step, _ in train(ensemble, Task(x, y, start.clone() if centred else None), sgd, order)]
    assert seen == list(range(steps + 1))
    trained = forward(ensemble, x).output
    agree(trained, torch.stack([twin(x) for twin in twins]), 1e-10)
    assert float((trained - start).abs().max()) > 1e-4


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("name", PARAMETRIZATIONS)
@pytest.mark.parametrize("phi", [phi for phi in ACTIVATIONS if phi not in GROWING])
def test_every_architecture_trains_like_its_twin(
    normal: Normal, agree: Agree, phi: str, name: str, depth: int, bias: bool
) -> None:
    if named(name).hidden is None and depth > 1:
        with pytest.raises(ValueError, match="use depth 1"):
            initialise(Mlp(2, 2, 4, depth), named(name), [0], device=CPU, dtype=torch.float64)
        return
    mlp = Mlp(INPUTS, OUTPUTS, 16, depth, phi, bias, sigma_w=1.3, sigma_b=0.4)
    compare_with_twins(normal, agree, mlp, name, Sgd(0.05, momentum=0.9, weight_decay=1e-2, batch=4))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("batch", [None, 5])
@pytest.mark.parametrize(("momentum", "decay"), list(itertools.product((0.0, 0.8), (0.0, 0.05))))
@pytest.mark.parametrize("loss", LOSSES)
def test_every_optimizer_trains_like_its_twin(
    normal: Normal, agree: Agree, loss: str, momentum: float, decay: float, batch: int | None, centred: bool, bias: bool
) -> None:
    mlp = Mlp(INPUTS, OUTPUTS, 24, 2, "tanh", bias, sigma_w=1.1, sigma_b=0.7)
    compare_with_twins(normal, agree, mlp, "mup", Sgd(0.2, momentum, decay, batch, loss), centred=centred)


def test_the_comparison_notices_a_wrong_rate(normal: Normal, agree: Agree) -> None:
    """Plant: the hidden layer of the twin learns one percent faster."""
    x, y = normal(EXAMPLES, INPUTS), normal(EXAMPLES, OUTPUTS, seed=1)
    ensemble = initialise(Mlp(INPUTS, OUTPUTS, 16, 2), named("mup"), [0], base_width=8, device=CPU, dtype=torch.float64)
    twin = Twin(ensemble, named("mup"), 8, 0)
    twin.rates = lambda: [1.0, 1.01, 1.0]  # type: ignore[method-assign]
    train_twin(twin, x, y, Sgd(0.05), [None])
    list(train(ensemble, Task(x, y), Sgd(0.05), [None]))
    with pytest.raises(AssertionError, match="differs by"):
        agree(forward(ensemble, x).output[0], twin(x))


def test_the_last_step_may_have_another_batch(normal: Normal, agree: Agree) -> None:
    """Batches of several sizes in one order: the buffers follow."""
    x, y = normal(EXAMPLES, INPUTS), normal(EXAMPLES, OUTPUTS, seed=1)
    order = [np.array([0, 1, 2]), None, np.array([4, 5]), np.array([1, 2, 3])]
    ensemble = initialise(Mlp(INPUTS, OUTPUTS, 16, 2), named("ntp"), [0], device=CPU, dtype=torch.float64)
    twin = Twin(ensemble, named("ntp"), 1, 0)
    train_twin(twin, x, y, Sgd(0.05, 0.9), order)
    list(train(ensemble, Task(x, y), Sgd(0.05, 0.9), order))
    agree(forward(ensemble, x).output[0], twin(x))


@given(st.integers(1, 60), st.data())
def test_each_epoch_visits_each_example_at_most_once(examples: int, data: st.DataObject) -> None:
    batch = data.draw(st.integers(1, examples))
    steps, seed = data.draw(st.integers(0, 30)), data.draw(st.integers(0, 1000))
    order = batches(examples, batch, steps, seed)
    assert len(order) == steps
    if batch == examples:
        assert order == [None] * steps
        return
    a_pass = examples // batch
    for start in range(0, steps, a_pass):
        seen = np.concatenate([part for part in order[start : start + a_pass] if part is not None])
        assert len(set(seen.tolist())) == len(seen), "an example came twice in one epoch"
        assert set(seen.tolist()) <= set(range(examples))
    assert all(part is not None and len(part) == batch for part in order)


def test_the_order_is_the_same_for_a_seed_longer_for_more_steps_and_new_for_another() -> None:
    short, long, other = batches(20, 4, 7, 1), batches(20, 4, 30, 1), batches(20, 4, 7, 2)
    for one, two in zip(short, long, strict=False):
        assert one is not None
        assert two is not None
        assert (one == two).all()
    assert any((one != two).any() for one, two in zip(short, other, strict=True))  # type: ignore[union-attr]
    first, second = np.stack(long[:5]), np.stack(long[5:10])  # type: ignore[arg-type]
    assert (first != second).any(), "every epoch is shuffled afresh"


def test_the_full_data_need_no_order() -> None:
    assert batches(20, None, 3, 0) == batches(20, 20, 3, 9) == [None] * 3


def test_a_batch_larger_than_the_data_is_an_error() -> None:
    with pytest.raises(ValueError, match="a batch of 21 was asked of 20 examples: lower the batch"):
        batches(20, 21, 1, 0)


@pytest.mark.parametrize("wrong", [{"learning_rate": 0.0}, {"learning_rate": -1.0}, {"momentum": 1.0}])
@pytest.mark.parametrize("more", [{}, {"momentum": -0.1}, {"weight_decay": -1e-9}])
def test_impossible_optimizers_are_errors(wrong: dict[str, float], more: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="SGD needs a learning rate above 0"):
        Sgd(**{"learning_rate": 0.1, **wrong, **more})


def test_so_are_empty_batches_and_unknown_losses() -> None:
    for batch in (0, -3):
        with pytest.raises(ValueError, match=f"at least 1 example, got {batch}"):
            Sgd(0.1, batch=batch)
    with pytest.raises(ValueError, match="unknown loss 'hinge'"):
        Sgd(0.1, loss="hinge")


def test_training_that_diverges_gives_numbers_that_are_not_finite_and_no_exception(normal: Normal) -> None:
    x, y = normal(EXAMPLES, INPUTS), normal(EXAMPLES, OUTPUTS, seed=1)
    for phi, momentum in itertools.product(("identity", "abs", "leaky-relu"), (0.0, 0.9)):
        mlp = Mlp(INPUTS, OUTPUTS, 32, 2, phi)  # relu would die, and a bounded activation saturate
        ensemble = initialise(mlp, named("sp"), [0, 1], device=CPU, dtype=torch.float32)
        for _ in train(ensemble, Task(x.float(), y.float()), Sgd(1e3, momentum), [None] * 30):
            pass
        assert not torch.isfinite(forward(ensemble, x.float()).output).any()
