"""Self-attention with logits divided by the width (Yang 2019, arXiv:1910.12478; Hron et al. 2020, arXiv:2006.10540)."""

from __future__ import annotations

import torch
from torch import Tensor

from tpbench.limits.gaussian import Activation
from tpbench.limits.kernels.layers import add, affine, nonlinear
from tpbench.limits.kernels.state import State


def attend(hidden: State, phi: Activation, sigma_w: float, sigma_b: float, *, tied: bool) -> State:
    """Return ``h_t + lin_O(Σ_s A_ts v_s)`` with x = phi(h), v = lin_V(x) and ``A_ts = softmax_s(q_t·k_s/n)``.

    **Attention is a constant.** q·k/n is a mean over n neurons, and converges to the covariance of the two:
    σ_w² E x_t x_s + σ_b² where lin_K = lin_Q (``tied``), and 0 where the two are independent, which leaves the uniform
    softmax. So ``Σ_s A_ts v_s`` is linear in v, with K = A K_v A'ᵀ and Θ = A Θ_v A'ᵀ, for A and A' of the two examples.

    **Queries and keys drop out of the tangent kernel.** The derivative of q_t·k_s/n by an entry of W_Q is
    σ_w/n^(3/2) times an entry of x and one of k; its square summed over all n² entries is σ_w² |x|²|k|²/n³ = O(1/n).
    The derivative by a parameter below passes q and k, two vectors of size sqrt(n) over n, and its square sums to
    O(1/n) likewise. The output's derivative by a logit is O(1): it is the product of lin_O(v_s), n entries of size 1,
    and the backward signal, n of size n^(-1/2), of random signs. So all ways through the logits together add O(1/n).
    """
    values = affine(nonlinear(hidden, phi), sigma_w, sigma_b)
    first, second = (_attention(own, tied=tied) for own in (values.left, values.right))
    return add(hidden, affine(_weigh(values, first, second), sigma_w, sigma_b))


def _attention(covariances: Tensor, *, tied: bool) -> Tensor:
    """Return A (example, P, P) from the covariances of the values, which are those of queries: the same lin of x."""
    return torch.softmax(covariances if tied else torch.zeros_like(covariances), dim=-1)


def _weigh(state: State, first: Tensor, second: Tensor) -> State:
    """Return the state of ``Σ_s A_ts v_s``, with A in ``first`` (N1, P1, P1) and ``second`` (N2, P2, P2)."""

    def cross(kernel: Tensor) -> Tensor:
        return first[:, None] @ kernel @ second[None].mT

    return State(
        nngp=cross(state.nngp),
        ntk=cross(state.ntk),
        left=first @ state.left @ first.mT,
        right=second @ state.right @ second.mT,
    )
