"""Recurrent networks: one matrix, met again at every time.

That tied weights act as if they were fresh in the forward pass of one time, and not between times, is the point of
Yang 2019, arXiv:1910.12478, and Yang 2020, arXiv:2006.14548; the kernel is that of Alemohammad et al. 2020,
arXiv:2006.10246.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tpbench.limits.gaussian import Activation
from tpbench.limits.kernels.state import State, variances


def recur(driven: State, phi: Activation, sigma_w: float, *, tied: bool) -> State:
    """Return the pre-activations ``h_t = σ_w/sqrt(n) W phi(h_{t-1}) + u_t`` of all times; ``driven`` has the u_t.

    The same W meets phi(h_{t-1}(x)) and phi(h_{s-1}(x')), thus
    ``K(t, s) = K_u(t, s) + σ_w² E phi(h_{t-1}) phi(h'_{s-1})``, without the last term where t or s is the first time.
    W's own gradients at the two times multiply to that last term, and ∂h_{t-1} passes through the same W, thus
    ``Θ(t, s) = K(t, s) + σ_w² Θ(t-1, s-1) E phi'(h_{t-1}) phi'(h'_{s-1})``. A signal that passed W more often on one
    side than on the other is orthogonal to the other (W has no more to do with its square than with a fresh matrix),
    so only paths of equal length from the two times meet.

    Where the weights and biases are fresh at every time (not ``tied``), two different times share no parameter and no
    randomness: K(t, s) = Θ(t, s) = 0 for t ≠ s. phi(h_t) and phi(h_s) still correlate, by their means.
    """
    rows = _times(variances(driven.left), phi, sigma_w)
    columns = _times(variances(driven.right), phi, sigma_w)

    def scan(drive: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        return _scan(drive, first, second, phi=phi, sigma_w=sigma_w, tied=tied)

    nngp, ntk = scan(driven.nngp, rows[:, None], columns[None])
    left, right = scan(driven.left, rows, rows)[0], scan(driven.right, columns, columns)[0]
    return State(nngp=nngp, ntk=ntk, left=left, right=right)


def _times(drive: Tensor, phi: Activation, sigma_w: float) -> Tensor:
    """Return the variance of h_t, shape (example, time), from that of u_t."""
    found = [drive[:, 0]]
    for now in drive.unbind(dim=1)[1:]:
        found.append(now + sigma_w**2 * phi.dual(found[-1], found[-1], found[-1]))
    return torch.stack(found, dim=1)


def _scan(
    drive: Tensor, first: Tensor, second: Tensor, *, phi: Activation, sigma_w: float, tied: bool
) -> tuple[Tensor, Tensor]:
    """Return K and Θ over all pairs of times, shape (..., P1, P2), a time of the first at a time.

    ``drive`` is K_u, ``first`` and ``second`` are the variances (..., P1) and (..., P2) of the two.
    """
    nngp, ntk = [drive[..., 0, :]], [drive[..., 0, :]]
    for time in range(drive.shape[-2]):
        if time > 0:
            before = second[..., :-1]
            same, slopes = phi.duals(first[..., time - 1, None], nngp[-1][..., :-1], before)
            nngp.append(drive[..., time, :] + sigma_w**2 * functional.pad(same, (1, 0)))
            ntk.append(nngp[-1] + sigma_w**2 * functional.pad(slopes * ntk[-1][..., :-1], (1, 0)))
        if not tied:
            nngp[-1], ntk[-1] = _only(nngp[-1], time), _only(ntk[-1], time)
    return torch.stack(nngp, dim=-2), torch.stack(ntk, dim=-2)


def _only(row: Tensor, time: int) -> Tensor:
    times = torch.arange(row.shape[-1], device=row.device)
    return torch.where(times == time, row, 0.0)
