"""Self-attention over the tokens of a sequence, with a residual."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from tpbench.architecture import Attention
from tpbench.networks.architectures.elementwise import elementwise
from tpbench.networks.architectures.maps import Maps


def attention(a: Attention, maps: Maps, s: Tensor) -> Tensor:
    """``h_t ← h_t + lin_O(Σ_s softmax_s(q_t · k_s / n) v_s)`` a block; s is (seed, example, token, channel)."""
    phi, lin = elementwise(a.activation), partial(maps.linear, sigma_w=a.sigma_w, sigma_b=a.sigma_b)
    n = maps.width
    h = lin("input", s, n)
    for block in range(1, a.depth + 1):
        x = phi(h)
        query = lin(f"query {block}", x, n)
        key = query if a.tied else lin(f"key {block}", x, n)
        shares = (query @ key.mT / n).softmax(-1)
        h = h + lin(f"out {block}", shares @ lin(f"value {block}", x, n), n)
    return lin("readout", phi(h).mean(2), maps.outputs)
