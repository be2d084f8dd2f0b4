"""The muP limit of the linear network with one hidden layer, exactly, in d_in + d_out dimensions.

Write the finite network as ``f = (σ_w² sqrt(n0 / d_in)) (1/n) V U x`` with U (n, d_in) and Vᵀ (n, d_out) started at
independent N(0, 1). SGD keeps ``U = U_0 A + V_0ᵀ B`` and ``Vᵀ = U_0 C + V_0ᵀ D``, and at n = ∞ the Gram matrix of
(U_0, V_0ᵀ)/sqrt(n) is the identity, so the coefficients alone carry the dynamics: they are the weights of a network
of width d_in + d_out started at the identity blocks (Yang & Hu 2021, arXiv:2011.14522, on linear networks with one
hidden layer).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tpbench.limits import Array
from tpbench.limits.dynamics import GRADIENTS


@dataclass(frozen=True)
class Coefficients:
    """``first`` = [A; B], shape (d_in + d_out, d_in); ``second`` = [C; D], shape (d_in + d_out, d_out)."""

    first: Array
    second: Array

    @classmethod
    def start(cls, inputs: int, outputs: int) -> Coefficients:
        """Return A = I, B = 0, C = 0, D = I."""
        identity = np.eye(inputs + outputs)
        return cls(identity[:, :inputs], identity[:, inputs:])


def linear_mup_limit(
    inputs: Array,
    targets: Array,
    probes: Array,
    *,
    learning_rate: float,
    order: Sequence[Sequence[int] | None],
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    loss: str = "mse",
    sigma_w: float = 1.0,
    base_width: int = 1,
    features_move: bool = True,
) -> Array:
    """Return the limit's outputs on ``probes`` (P, d_in) after 0 … T steps, shape (T + 1, P, d_out).

    ``inputs`` (N, d_in), ``targets`` (N, d_out), ``order`` as for ``train.batches``, the optimizer as ``train.Sgd``.
    ``features_move`` False freezes U: the natural wrong answer, a kernel machine on the initial features.
    """
    d_in, d_out = inputs.shape[1], targets.shape[1]
    gain = sigma_w**2 / math.sqrt(d_in)
    state = Coefficients.start(d_in, d_out)
    velocity = Coefficients(np.zeros_like(state.first), np.zeros_like(state.second))
    path = [_output(state, probes, gain, base_width)]
    for chosen in order:
        part = np.arange(len(inputs)) if chosen is None else np.asarray(chosen)
        x, y = inputs[part], targets[part]
        residual = GRADIENTS[loss](_output(state, x, gain, base_width), y) / len(part)
        moment = gain / math.sqrt(base_width) * (residual.T @ x)  # (d_out, d_in)
        velocity = Coefficients(
            momentum * velocity.first + state.second @ moment + weight_decay * state.first,
            momentum * velocity.second + state.first @ moment.T + weight_decay * state.second,
        )
        first = state.first - learning_rate * velocity.first if features_move else state.first
        state = Coefficients(first, state.second - learning_rate * velocity.second)
        path.append(_output(state, probes, gain, base_width))
    return np.stack(path)


def _output(state: Coefficients, x: Array, gain: float, base_width: int) -> Array:
    return gain * math.sqrt(base_width) * (x @ state.first.T) @ state.second
