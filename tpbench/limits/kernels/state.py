"""What the recursions hand from layer to layer: two kernels between two sets of examples, each example many positions.

A position is a token of a sequence, a time of a recurrent network, or a place in an image; a vector is an example of
one position. At n = ∞ the neurons of a layer are independent draws of one Gaussian process over (example, position)
(Yang 2019, arXiv:1910.12478), and the derivatives of two neurons by all parameters below are orthogonal (Yang 2020,
arXiv:2006.14548), so that a covariance and a tangent kernel of one neuron are all there is to know.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class State:
    """Kernels of one layer's neurons, between N1 examples of P1 positions and N2 examples of P2.

    ``nngp`` (N1, N2, P1, P2): E z(x, t) z(x', s), for pre-activations the covariance.
    ``ntk`` (N1, N2, P1, P2): Σ over all parameters so far of ∂z(x, t) ∂z(x', s).
    ``left`` (N1, P1, P1), ``right`` (N2, P2, P2): ``nngp`` of every example with itself.
    """

    nngp: Tensor
    ntk: Tensor
    left: Tensor
    right: Tensor


def variances(covariances: Tensor) -> Tensor:
    """Return the variance of every position, (example, position), of covariances (example, position, position)."""
    return covariances.diagonal(dim1=-2, dim2=-1)


def inputs(x1: Tensor, x2: Tensor | None = None) -> State:
    """Return the state of inputs (example, position, channel): ``nngp`` is x·x'/channels, and nothing is trained yet.

    Computed in float64 whatever the dtype of the inputs, on their device. Without ``x2`` the kernels are those of x1
    with itself; an example's covariance with itself is then its variance to the last bit, which matters where the
    derivative of a kernel by the correlation is infinite (relu at correlation 1).
    """
    first = x1.to(torch.float64)
    left = first @ first.mT / first.shape[-1]
    second = first if x2 is None else x2.to(torch.float64)
    right = left if x2 is None else second @ second.mT / second.shape[-1]
    cross = torch.einsum("atc,bsc->abts", first, second) / first.shape[-1]
    if x2 is None:
        own = torch.arange(len(first), device=first.device)
        cross[own, own] = left
    return State(nngp=cross, ntk=torch.zeros_like(cross), left=left, right=right)
