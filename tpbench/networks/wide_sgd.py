"""Stochastic gradient descent on models that hold lazy matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from tpbench.weights.matrix import LazyMatrix
from tpbench.weights.outer import OuterProducts


class WideSGD(Optimizer):
    """``torch.optim.SGD`` with momentum and weight decay, for dense parameters and lazy matrices alike.

    ``v <- momentum v + gradient + weight_decay w``, ``w <- w - lr v``; groups of parameters may have settings of their
    own, and learning-rate schedulers work. The velocity of a lazy matrix lies in the matrix, as factors, so there is
    no ``state_dict`` where there is one, and of two optimizers with momentum the later one takes the matrix over, from
    velocity zero. Raises ``ValueError`` for settings out of range.
    """

    steps_lazy_matrices = True

    def __init__(self, params: ParamsT, lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; ``ValueError`` where its settings are out of range."""
        settings = {**self.defaults, **param_group}
        lr, momentum, decay = (settings[key] for key in ("lr", "momentum", "weight_decay"))
        if lr < 0 or not 0 <= momentum < 1 or decay < 0:
            raise ValueError(
                "WideSGD needs a learning rate of at least 0, momentum in [0, 1) and weight decay of at least 0, got "
                f"{lr}, {momentum} and {decay}"
            )
        super().add_param_group(param_group)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step by the gradients in ``.grad``; parameters without one stay. Returns the closure's loss.

        Raises ``TypeError`` for a gradient of the wrong kind and ``RuntimeError`` where another optimizer has taken
        a velocity over, before anything has been changed.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                self._check(parameter, group["momentum"])
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    self._step(parameter, group["lr"], group["momentum"], group["weight_decay"])
        return loss

    def _check(self, parameter: Tensor, momentum: float) -> None:
        if not isinstance(parameter, LazyMatrix):
            if isinstance(parameter.grad, OuterProducts):
                raise TypeError(
                    f"the gradient of a lazy matrix was put into .grad of a dense parameter of shape "
                    f"{tuple(parameter.shape)}: put its materialise() there; nothing has been changed"
                )
            return
        if parameter.products() is None or momentum == 0.0:
            return
        mine = self.state.get(parameter, {}).get("velocity")
        if mine is not None and parameter.velocity_owner is not mine:
            raise RuntimeError(
                "another optimizer with momentum has stepped a lazy matrix, which keeps the velocity of one only; "
                "nothing has been changed. Go on with that one, or make a new one, which starts at velocity zero"
            )

    def _step(self, parameter: Tensor, rate: float, momentum: float, decay: float) -> None:
        if isinstance(parameter, LazyMatrix):
            if parameter.grad is not None and momentum != 0.0:  # its state only tells whose the matrix's velocity is
                parameter.claim_velocity_(self.state[parameter].setdefault("velocity", object()))
            parameter.step_(rate=rate, momentum=momentum, decay=decay)
            return
        update = parameter.grad
        if update is None:
            return
        if decay != 0.0:
            update = update.add(parameter, alpha=decay)
        if momentum != 0.0:
            state = self.state[parameter]
            velocity = state.get("velocity")
            state["velocity"] = update.clone() if velocity is None else velocity.mul_(momentum).add_(update)
            update = state["velocity"]
        parameter.add_(update, alpha=-rate)

    def state_dict(self) -> dict[str, Any]:
        """Return the state, velocities included; ``TypeError`` where parameters are lazy matrices."""
        self._refuse("state_dict")
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state; ``TypeError`` where parameters are lazy matrices."""
        self._refuse("load_state_dict")
        super().load_state_dict(state_dict)

    def _refuse(self, what: str) -> None:
        if any(isinstance(parameter, LazyMatrix) for group in self.param_groups for parameter in group["params"]):
            raise TypeError(
                f"{what} was asked of an optimizer of lazy matrices, whose velocities are kept as factors in the "
                "matrices: rebuild the model with tpbench.widen and the same seed, and train it again"
            )
