"""The recurrent network, with weights tied over time or fresh at every time."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from tpbench.architecture import Recurrent
from tpbench.networks.architectures.elementwise import elementwise
from tpbench.networks.architectures.maps import Maps


def rnn(a: Recurrent, maps: Maps, s: Tensor) -> Tensor:
    """``h_t = lin_W(phi(h_{t-1})) + lin_U(s_t)``, ``f = lin(mean_t phi(h_t))`` or ``lin(phi(h_T))``.

    s is (seed, example, time, channel).
    """
    phi, lin, n = elementwise(a.activation), partial(maps.linear, sigma_w=a.sigma_w), maps.width
    if a.tied:
        driven = lin("input", s, n, sigma_b=a.sigma_b).unbind(2)
    else:
        driven = tuple(lin(f"input {t}", now, n, sigma_b=a.sigma_b) for t, now in enumerate(s.unbind(2), start=1))
    states = [phi(driven[0])]
    for t, drive in enumerate(driven[1:], start=2):
        name = "recurrent" if a.tied else f"recurrent {t}"
        states.append(phi(lin(name, states[-1], n, sigma_b=0.0) + drive))
    read = states[-1] if a.readout == "last" else torch.stack(states).mean(0)
    return lin("readout", read, maps.outputs, sigma_b=a.sigma_b)
