"""The residual perceptron."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from tpbench.architecture import Residual
from tpbench.networks.architectures.elementwise import elementwise
from tpbench.networks.architectures.maps import Maps


def residual(a: Residual, maps: Maps, x: Tensor) -> Tensor:
    """``h^1 = lin(x)``, ``h^{l+1} = h^l + branch · lin(phi(h^l))``, ``f = lin(phi(h^depth))``."""
    phi, lin = elementwise(a.activation), partial(maps.linear, sigma_w=a.sigma_w, sigma_b=a.sigma_b)
    h = lin("1", x, maps.width)
    for layer in range(2, a.depth + 1):
        h = h + a.branch * lin(str(layer), phi(h), maps.width)
    return lin(str(a.depth + 1), phi(h), maps.outputs)
