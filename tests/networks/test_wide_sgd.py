"""The optimizer of wide models against torch.optim.SGD, on dense parameters and on lazy matrices."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tpbench.networks.wide_sgd import WideSGD
from tpbench.weights.innovations import MonteCarlo
from tpbench.weights.lazy import Axes, LazyGaussian
from tpbench.weights.matrix import LazyMatrix

CPU = torch.device("cpu")
SIZE, BATCH = 8, 3
Normal = Callable[..., Tensor]
Agree = Callable[..., None]
SETTINGS = list(itertools.product((0.0, 0.9), (0.0, 0.3)))


def lazy() -> LazyMatrix:
    engine = LazyGaussian(
        (SIZE, SIZE), std=0.4, innovations=MonteCarlo([0]), axes=Axes("out", "in"), dtype=torch.float64, device=CPU
    )
    return LazyMatrix(engine)


def loss_of(x: Tensor, w: Tensor, bias: Tensor) -> Tensor:
    h = functional.linear(x, w, bias).tanh()
    return (h @ w).sin().square().sum()


@pytest.mark.parametrize(("momentum", "decay"), SETTINGS)
def test_dense_parameters_are_stepped_as_torch_does_to_the_last_bit(
    normal: Normal, momentum: float, decay: float
) -> None:
    ours, theirs = ([nn.Parameter(normal(4, 3)), nn.Parameter(normal(3, seed=1))] for _ in range(2))
    optimizers = [
        WideSGD(ours, lr=0.1, momentum=momentum, weight_decay=decay),
        torch.optim.SGD(theirs, lr=0.1, momentum=momentum, weight_decay=decay),
    ]
    for step in range(5):
        for parameters in (ours, theirs):
            for number, parameter in enumerate(parameters):
                gone = step == 2 and number == 1  # a parameter without a gradient stays, as does its velocity
                parameter.grad = None if gone else normal(*parameter.shape, seed=10 * step + number)
        for optimizer in optimizers:
            optimizer.step()
        assert all(torch.equal(one, two) for one, two in zip(ours, theirs, strict=True))
    assert not torch.equal(ours[0], normal(4, 3))


@pytest.mark.parametrize(("momentum", "decay"), SETTINGS)
def test_lazy_matrices_are_stepped_beside_dense_parameters_with_rates_of_their_own(
    normal: Normal, agree: Agree, momentum: float, decay: float
) -> None:
    matrix = lazy()
    weights: list[tuple[Any, Any]] = [
        (matrix, nn.Parameter(normal(SIZE))),
        (nn.Parameter(matrix.materialise()), nn.Parameter(normal(SIZE))),
    ]
    losses: list[list[Tensor]] = []
    for (w, bias), kind in zip(weights, (WideSGD, torch.optim.SGD), strict=True):
        groups = [{"params": [w], "lr": 0.3, "weight_decay": decay / 2}, {"params": [bias]}]
        optimizer = kind(groups, lr=0.1, momentum=momentum, weight_decay=decay)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
        found = []
        for step in range(6):
            optimizer.zero_grad()
            loss = loss_of(normal(BATCH, SIZE, seed=step), w, bias)
            loss.backward()
            optimizer.step()
            scheduler.step()
            found.append(loss.detach())
        losses.append(found)
    agree(torch.stack(losses[0]), torch.stack(losses[1]))
    agree(matrix.materialise(), weights[1][0])
    agree(weights[0][1], weights[1][1])


def test_a_forgotten_velocity_is_noticed(normal: Normal, agree: Agree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant: momentum does not reach the lazy matrix."""
    step = LazyMatrix.step_
    monkeypatch.setattr(LazyMatrix, "step_", lambda w, *, rate, momentum, decay: step(w, rate=rate, decay=decay))
    with pytest.raises(AssertionError, match="differs by"):
        test_lazy_matrices_are_stepped_beside_dense_parameters_with_rates_of_their_own(normal, agree, 0.9, 0.0)


def restarted(
    normal: Normal, w: Any, kind: Callable[..., torch.optim.Optimizer], momenta: tuple[float, ...]
) -> list[Tensor]:
    """Train with a new optimizer for every momentum, three steps each, and return the losses."""
    bias, losses = nn.Parameter(normal(SIZE)), []
    for number, momentum in enumerate(momenta):
        optimizer = kind([w, bias], lr=0.1, momentum=momentum, weight_decay=0.1)
        for step in range(3):
            optimizer.zero_grad()
            loss = loss_of(normal(BATCH, SIZE, seed=10 * number + step), w, bias)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
    return losses


@pytest.mark.parametrize("momenta", [(0.9, 0.9), (0.9, 0.0, 0.9), (0.5, 0.9, 0.7)])
def test_a_new_optimizer_starts_at_velocity_zero_as_torchs(
    normal: Normal, agree: Agree, momenta: tuple[float, ...]
) -> None:
    matrix = lazy()
    dense = nn.Parameter(matrix.materialise())
    ours = restarted(normal, matrix, WideSGD, momenta)
    agree(torch.stack(ours), torch.stack(restarted(normal, dense, torch.optim.SGD, momenta)))
    agree(matrix.materialise(), dense)


def test_an_inherited_velocity_is_noticed(normal: Normal, agree: Agree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant: the velocity stays in the matrix when a new optimizer takes it."""
    monkeypatch.setattr(LazyGaussian, "forget_velocity_", lambda weights: None)
    with pytest.raises(AssertionError, match="differs by"):
        test_a_new_optimizer_starts_at_velocity_zero_as_torchs(normal, agree, (0.9, 0.9))


def test_optimizers_with_momentum_do_not_take_turns_on_a_lazy_matrix(normal: Normal, agree: Agree) -> None:
    matrix, first = lazy(), nn.Parameter(normal(SIZE))
    one, two, plain = (WideSGD([first, matrix], lr=0.1, momentum=momentum) for momentum in (0.9, 0.9, 0.0))
    loss_of(normal(BATCH, SIZE), matrix, first).backward()
    for optimizer in (one, plain, one, two, plain, two):  # without momentum, no velocity is touched
        optimizer.step()
    before, entries = first.detach().clone(), matrix.materialise()
    with pytest.raises(
        RuntimeError, match=r"another optimizer with momentum.*nothing has been changed.*make a new one"
    ):
        one.step()
    assert torch.equal(first, before)
    agree(matrix.materialise(), entries, 1e-14)


def test_a_gradient_of_the_wrong_kind_is_refused_before_anything_is_changed(normal: Normal) -> None:
    first, matrix = nn.Parameter(normal(SIZE)), lazy()
    loss_of(normal(BATCH, SIZE), matrix, first).backward()
    matrix.grad = normal(SIZE, SIZE)
    optimizer = WideSGD([first, matrix], lr=0.1, momentum=0.9)
    with pytest.raises(TypeError, match=r"a dense tensor was put there.*\.grad\.mul_\(number\)"):
        optimizer.step()
    assert torch.equal(first, normal(SIZE))
    assert not optimizer.state


def test_a_closure_is_run_with_gradients_and_its_loss_returned(normal: Normal) -> None:
    matrix, bias = lazy(), nn.Parameter(normal(SIZE))
    optimizer = WideSGD([matrix, bias], lr=0.05)
    losses: list[float] = []

    def closure() -> float:
        optimizer.zero_grad()
        loss = loss_of(normal(BATCH, SIZE), matrix, bias)
        loss.backward()
        losses.append(loss.item())
        return losses[-1]

    assert [optimizer.step(closure) for _ in range(3)] == losses
    assert losses[0] > losses[1] > losses[2]


@pytest.mark.parametrize("settings", [{"lr": -0.1}, {"lr": 0.1, "momentum": 1.0}, {"lr": 0.1, "weight_decay": -1.0}])
def test_settings_out_of_range_are_errors(normal: Normal, settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"at least 0, momentum in \[0, 1\).*got"):
        WideSGD([nn.Parameter(normal(3))], **settings)
    with pytest.raises(ValueError, match=r"at least 0, momentum in \[0, 1\).*got"):
        WideSGD([{"params": [nn.Parameter(normal(3))], **settings}], lr=0.1)


def test_the_state_is_saved_where_there_is_no_lazy_matrix(normal: Normal) -> None:
    found = []
    for interrupted in (False, True):
        parameter = nn.Parameter(normal(3))
        optimizer = WideSGD([parameter], lr=0.1, momentum=0.9)
        for step in range(4):
            if interrupted and step == 2:
                state = optimizer.state_dict()
                optimizer = WideSGD([parameter], lr=0.7)
                optimizer.load_state_dict(state)
            parameter.grad = normal(3, seed=step)
            optimizer.step()
        found.append(parameter.detach())
    assert torch.equal(*found)


def test_the_state_of_a_lazy_matrix_is_refused_with_the_remedy() -> None:
    optimizer = WideSGD([lazy()], lr=0.1, momentum=0.9)
    with pytest.raises(TypeError, match=r"^state_dict was asked.*rebuild the model with tpbench\.widen"):
        optimizer.state_dict()
    with pytest.raises(TypeError, match=r"^load_state_dict was asked.*train it again"):
        optimizer.load_state_dict({})
