"""Perceptrons with layer and with batch normalisation: the same arithmetic along different axes."""

from __future__ import annotations

import torch
from torch import Tensor

from tpbench.architecture import BatchNormalised, LayerNormalised
from tpbench.networks.architectures.maps import Maps
from tpbench.networks.architectures.mlp import feedforward

EXAMPLES, NEURONS = 1, -1
SMALL_IN_EPS = 8
"""A standard deviation below this many roundings of the values is rounding."""


def layer_normalised(a: LayerNormalised, maps: Maps, x: Tensor) -> Tensor:
    """A perceptron whose pre-activations are standardised over the neurons."""
    return feedforward(a, maps, x, lambda h: standardised(h, NEURONS, readable=maps.readable))


def batch_normalised(a: BatchNormalised, maps: Maps, x: Tensor) -> Tensor:
    """A perceptron whose pre-activations are standardised over the examples, a neuron apart."""
    constant = a.statistics == "constant"
    return feedforward(a, maps, x, lambda h: standardised(h, EXAMPLES, readable=maps.readable, constant=constant))


def standardised(h: Tensor, axis: int, *, readable: bool, constant: bool = False) -> Tensor:
    """Return h minus its mean and divided by its standard deviation along an axis, without epsilon.

    Derivatives do not go through the mean and the standard deviation where these are ``constant``.
    Raises ``ValueError`` where there is nothing but rounding to divide by, if values are ``readable``.
    """
    measured = h.detach() if constant else h
    mean = measured.mean(axis, keepdim=True)
    centred = measured - mean
    variance = centred.square().mean(axis, keepdim=True)
    if readable:
        rounding = (SMALL_IN_EPS * torch.finfo(h.dtype).eps) ** 2
        if bool((variance <= rounding * h.square().mean(axis, keepdim=True)).any()):
            over = "examples of a neuron" if axis == EXAMPLES else "neurons of an example"
            raise ValueError(
                f"normalisation was asked over {h.shape[axis]} {over} that are all equal, and there is no epsilon: "
                "give at least two different examples, or a width of at least 2"
            )
    return (h - mean) * variance.rsqrt()
