"""The kernels of every architecture of ``tpbench.architecture``, by its recursion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import isqrt, prod
from typing import Any

import torch
from torch import Tensor

from tpbench.architecture import (
    Architecture,
    Attention,
    BatchNormalised,
    Convolution,
    LayerNormalised,
    Perceptron,
    Recurrent,
    Residual,
)
from tpbench.limits.gaussian import activation
from tpbench.limits.kernels.attention import attend
from tpbench.limits.kernels.batch import POINTS, batch_kernels
from tpbench.limits.kernels.convolution import windows
from tpbench.limits.kernels.layers import add, affine, all_positions, last_position, mean_position, nonlinear
from tpbench.limits.kernels.normalisation import layer_norm
from tpbench.limits.kernels.noun import Kernels
from tpbench.limits.kernels.recurrent import recur
from tpbench.limits.kernels.state import State, inputs

NUMBERS = 1 << 20
"""Numbers a tile has at most, (example pairs) · (position pairs), unless one pair alone has more."""


def architecture_kernels(
    architecture: Architecture, x1: Tensor, x2: Tensor | None = None, *, points: int = POINTS
) -> Kernels:
    """Return the kernels of an architecture's output between two sets of inputs, x1 (N1, …) and x2 (x1 by default).

    Inputs have the shape that the architecture reads (``tpbench.architecture``), of any dtype and on any device;
    the kernels (N1, N2) are float64 on that device. Memory is bounded: tiles of examples are computed one after the
    other. Batch normalisation takes all of x1 as one batch, and has standard errors in ``error``, which fall with the
    number of ``points`` of its integration; the other kernels are exact but for the activation's own quadrature.

    Raises ``ValueError`` for an unknown activation, inputs of another shape, and what a normalisation cannot divide.
    """
    if not all(isinstance(x, Tensor) for x in (x1, x1 if x2 is None else x2)):
        raise TypeError(f"inputs are tensors, got {type(x1).__name__}: convert them by torch.as_tensor")
    _check_shapes(architecture, x1, x2)
    with torch.no_grad():
        if isinstance(architecture, BatchNormalised):
            return batch_kernels(architecture, x1, x2, points=points)
        return _tiled(architecture, x1, x2)


def _perceptron(of: Perceptron, x1: Tensor, x2: Tensor | None) -> State:
    phi = activation(of.activation)
    state = affine(_vectors(x1, x2), of.sigma_w, of.sigma_b)
    for _ in range(of.depth):
        state = affine(nonlinear(state, phi), of.sigma_w, of.sigma_b)
    return state


def _residual(of: Residual, x1: Tensor, x2: Tensor | None) -> State:
    phi = activation(of.activation)
    state = affine(_vectors(x1, x2), of.sigma_w, of.sigma_b)
    for _ in range(of.depth - 1):
        state = add(state, affine(nonlinear(state, phi), of.sigma_w, of.sigma_b), of.branch)
    return affine(nonlinear(state, phi), of.sigma_w, of.sigma_b)


def _recurrent(of: Recurrent, x1: Tensor, x2: Tensor | None) -> State:
    phi = activation(of.activation)
    hidden = recur(affine(inputs(x1, x2), of.sigma_w, of.sigma_b), phi, of.sigma_w, tied=of.tied)
    readout = {"mean": mean_position, "last": last_position}[of.readout]
    return affine(nonlinear(hidden, phi), of.sigma_w, of.sigma_b, readout)


def _convolution(of: Convolution, x1: Tensor, x2: Tensor | None) -> State:
    phi = activation(of.activation)
    window = windows(x1.shape[1:-1], of.filter, of.padding)
    pixels = inputs(x1.flatten(1, -2), None if x2 is None else x2.flatten(1, -2))
    state = affine(pixels, of.sigma_w, of.sigma_b, window)
    for _ in range(of.depth - 1):
        state = affine(nonlinear(state, phi), of.sigma_w, of.sigma_b, window)
    readout = {"mean": mean_position, "flatten": all_positions}[of.readout]
    return affine(nonlinear(state, phi), of.sigma_w, of.sigma_b, readout)


def _layer_normalised(of: LayerNormalised, x1: Tensor, x2: Tensor | None) -> State:
    phi = activation(of.activation)
    state = affine(_vectors(x1, x2), of.sigma_w, of.sigma_b)
    for _ in range(of.depth):
        state = affine(nonlinear(layer_norm(state), phi), of.sigma_w, of.sigma_b)
    return state


def _attention(of: Attention, x1: Tensor, x2: Tensor | None) -> State:
    phi = activation(of.activation)
    state = affine(inputs(x1, x2), of.sigma_w, of.sigma_b)
    for _ in range(of.depth):
        state = attend(state, phi, of.sigma_w, of.sigma_b, tied=of.tied)
    return affine(nonlinear(state, phi), of.sigma_w, of.sigma_b, mean_position)


Recursion = Callable[[Any, Tensor, Tensor | None], State]

RECURSIONS: Mapping[type[Any], Recursion] = {
    Perceptron: _perceptron,
    Residual: _residual,
    Recurrent: _recurrent,
    Convolution: _convolution,
    LayerNormalised: _layer_normalised,
    Attention: _attention,
}
"""From the inputs to the state of the output, which has one position. Batch normalisation does not work by pairs."""


def _vectors(x1: Tensor, x2: Tensor | None) -> State:
    return inputs(x1[:, None, :], None if x2 is None else x2[:, None, :])


def _tiled(architecture: Architecture, x1: Tensor, x2: Tensor | None) -> Kernels:
    """Run a recursion on blocks of example pairs; a symmetric kernel's lower half is copied."""
    recursion = RECURSIONS[type(architecture)]
    other = x1 if x2 is None else x2
    nngp, ntk = torch.empty((2, len(x1), len(other)), dtype=torch.float64, device=x1.device)
    pairs = prod(x1.shape[1:-1]) * prod(other.shape[1:-1])
    size = max(1, isqrt(NUMBERS // pairs))
    for rows in _blocks(len(x1), size):
        for columns in _blocks(len(other), size):
            if x2 is None and columns.start < rows.start:
                continue
            own = x2 is None and rows == columns
            state = recursion(architecture, x1[rows], None if own else other[columns])
            for whole, part in ((nngp, state.nngp), (ntk, state.ntk)):
                whole[rows, columns] = part[:, :, 0, 0]
                if x2 is None and not own:
                    whole[columns, rows] = part[:, :, 0, 0].mT
    return Kernels(nngp=nngp, ntk=ntk)


def _blocks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


_READS: Mapping[type[Any], Callable[[Any], tuple[str, ...]]] = {
    Recurrent: lambda _: ("example", "time", "feature"),
    Attention: lambda _: ("example", "token", "feature"),
    Convolution: lambda of: ("example", *(("position",), ("height", "width"))[len(of.filter) - 1], "channel"),
}


def _check_shapes(architecture: Architecture, x1: Tensor, x2: Tensor | None) -> None:
    layout = _READS.get(type(architecture), lambda _: ("example", "feature"))(architecture)
    shapes = [tuple(x.shape) for x in (x1, x2) if x is not None]
    alike = len({shape[1:] for shape in shapes}) == 1
    if not alike or any(len(shape) != len(layout) or 0 in shape for shape in shapes):
        raise ValueError(
            f"{type(architecture).__name__} reads inputs of shape ({', '.join(layout)}), none of them 0, "
            f"the same but for the number of examples; got {' and '.join(str(shape) for shape in shapes)}"
        )
