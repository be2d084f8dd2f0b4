"""The multilayer perceptron, plain or with a normalisation between its layers."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from tpbench.architecture import BatchNormalised, LayerNormalised, Perceptron
from tpbench.networks.architectures.elementwise import Function, elementwise
from tpbench.networks.architectures.maps import Maps


def perceptron(a: Perceptron, maps: Maps, x: Tensor) -> Tensor:
    """``h^1 = lin(x)``, ``h^{l+1} = lin(phi(h^l))``, ``f = lin(phi(h^depth))``."""
    return feedforward(a, maps, x, elementwise("identity"))


def feedforward(a: Perceptron | LayerNormalised | BatchNormalised, maps: Maps, x: Tensor, norm: Function) -> Tensor:
    """The same with ``phi(norm(h))`` in place of phi(h); the maps are called by the numbers of their layers."""
    phi, lin = elementwise(a.activation), partial(maps.linear, sigma_w=a.sigma_w, sigma_b=a.sigma_b)
    h = lin("1", x, maps.width)
    for layer in range(2, a.depth + 1):
        h = lin(str(layer), phi(norm(h)), maps.width)
    return lin(str(a.depth + 1), phi(norm(h)), maps.outputs)
