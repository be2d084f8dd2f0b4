"""Taylor models of networks in their weights, trained by gradient descent beside the networks themselves.

The model of order k around the initial weights w_0 is ``F_k(w) = Σ_{j ≤ k} D^j f(w_0)[(w - w_0)^j]/j!``: order 1 is the
linearised network, orders 2 and 3 the quadratic and the cubic model, whose dynamics are those of the truncated
hierarchy of higher-order tangent kernels (Huang & Yau 2020, arXiv:1909.08156; Dyer & Gur-Ari 2020, arXiv:1909.11304).
Each descends its own loss, on its own w, from w_0.

``f(w_0 + ε D)`` is a power series in ε whose coefficient j is the term of order j, so a model is a forward pass with
series in place of numbers, cut off after ε^k: ``h_j = W_0 x_j + D x_{j-1}`` for a layer, and the powers of
``Σ_{j ≥ 1} ε^j h_j`` for an activation. Its gradient is the same pass backwards. Both are written by hand and exact.
D is a sum of outer products, kept as its factors: w_0 is only asked for products and never changed, so that all
models and the network share it, and it may be lazy.

Shapes: inputs (batch, in), series (seed, batch, coefficient, size), factors (seed, rank, size).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

from tpbench.networks.loss import loss as named_loss
from tpbench.networks.mlp import Ensemble, Layer
from tpbench.parametrization import did_you_mean

Function = Callable[[Tensor], Tensor]

SMOOTH: Mapping[str, Function] = {
    "identity": lambda h: h,
    "tanh": torch.tanh,
    "erf": torch.erf,
    "gelu": lambda h: 0.5 * h * (1 + torch.erf(h / 2**0.5)),
    "silu": lambda h: h * torch.sigmoid(h),
    "sigmoid": torch.sigmoid,
    "softplus": lambda h: torch.logaddexp(h, torch.zeros_like(h)),
    "sin": torch.sin,
    "cos": torch.cos,
}
"""Activations that have a Taylor series, as functions that torch can differentiate any number of times."""


@dataclass(frozen=True)
class Origin:
    """Where the series are expanded: an ensemble at initialisation and what it is on ``inputs``.

    ``activations`` x^0 … x^L at w_0; ``coefficients[l - 1][m]`` is phi^(m)(h^l)/m!, m = 0 … order; ``output`` f_0.
    The ensemble must not be trained while the origin is in use.
    """

    ensemble: Ensemble
    activations: tuple[Tensor, ...]
    coefficients: tuple[tuple[Tensor, ...], ...]
    output: Tensor


@dataclass(frozen=True)
class Move:
    """``w - w_0 = leftᵀ right`` of one layer: left (seed, rank, out), right (seed, rank, in)."""

    left: Tensor
    right: Tensor

    def matmul(self, x: Tensor) -> Tensor:
        """Return (w - w_0) x, (seed, batch, out), for x (seed, batch, in)."""
        return x @ self.right.mT @ self.left

    def transposed_matmul(self, y: Tensor) -> Tensor:
        """Return (w - w_0)ᵀ y, (seed, batch, in), for y (seed, batch, out)."""
        return y @ self.left.mT @ self.right

    def joined(self, left: Tensor, right: Tensor) -> Move:
        """Return the move with ``leftᵀ right`` added."""
        return Move(torch.cat([self.left, left], dim=1), torch.cat([self.right, right], dim=1))


@dataclass(frozen=True)
class Model:
    """A Taylor model, or the network itself where ``weights`` is None, at one moment of its own training.

    ``weights[j - 1]`` multiplies the term of order j: as many ones as the order. Others are no Taylor model, and serve
    to plant errors.
    """

    origin: Origin
    weights: tuple[float, ...] | None
    moves: tuple[Move, ...]


def expand(ensemble: Ensemble, inputs: Tensor, order: int) -> Origin:
    """Return the origin of Taylor models up to an order.

    Raises ``ValueError`` for an activation without a Taylor series, for biases, and for an order below 1.
    """
    name = ensemble.mlp.activation
    if name not in SMOOTH:
        raise ValueError(
            f"a Taylor model needs an activation with derivatives of every order, and {name!r} is none"
            f"{did_you_mean(name, SMOOTH)}"
        )
    if ensemble.mlp.bias:
        raise ValueError("Taylor models are of networks without biases: build the network with bias=False")
    if order < 1:
        raise ValueError(f"the order of a Taylor model is at least 1, got {order}")
    x = inputs.expand(len(ensemble.seeds), *inputs.shape)
    activations, coefficients = [x], []
    for layer in ensemble.layers[:-1]:
        h = layer.weights.matmul(activations[-1], scale=layer.multiplier)
        coefficients.append(series(SMOOTH[name], h, order))
        activations.append(coefficients[-1][0])
    last = ensemble.layers[-1]
    output = last.weights.matmul(activations[-1], scale=last.multiplier)
    return Origin(ensemble, tuple(activations), tuple(coefficients), output)


def series(function: Function, h: Tensor, order: int) -> tuple[Tensor, ...]:
    """Return ``function^(m)(h)/m!`` for m = 0 … order, by differentiating an elementwise function m times."""
    with torch.enable_grad():
        at = h.detach().clone().requires_grad_()
        found = [function(at)]
        for m in range(1, order + 1):
            found.append(_slope(found[-1], at) / m)
    return tuple(each.detach() for each in found)


def _slope(values: Tensor, at: Tensor) -> Tensor:
    """Return the derivative of values that autograd knows as an elementwise function; of constants it is 0."""
    if not values.requires_grad:
        return torch.zeros_like(at)
    [slope] = torch.autograd.grad(values.sum(), at, create_graph=True)
    return slope


def begin(origin: Origin, order: int | None, weights: Sequence[float] | None = None) -> Model:
    """Return the model of an order at w_0; None is the network itself. ``weights`` are all ones unless given (`Model`).

    Raises ``ValueError`` for an order that the origin does not know, or weights that are not one for each order.
    """
    known, f = len(origin.coefficients[0]) - 1, origin.output
    if order is not None and not 1 <= order <= known:
        raise ValueError(f"this origin knows orders 1 to {known}, got {order}: expand it to a higher order")
    chosen = None if order is None else tuple([1.0] * order if weights is None else weights)
    if chosen is not None and len(chosen) != order:
        raise ValueError(f"a Taylor model of order {order} has {order} terms, got weights of {len(chosen)}")
    shapes = (layer.weights.shape for layer in origin.ensemble.layers)
    moves = (Move(f.new_empty(seeds, 0, out), f.new_empty(seeds, 0, into)) for seeds, out, into in shapes)
    return Model(origin, chosen, tuple(moves))


def train(
    model: Model,
    targets: Tensor,
    *,
    learning_rate: float,
    steps: int,
    loss: str = "mse",
    centred: bool = False,
) -> Iterator[Tensor]:
    """Yield f_0 … f_steps of a model, (seed, batch, out), under gradient descent on all inputs of its origin.

    ``targets`` (batch, out); a centred model is trained by its output less its own f_0.
    """
    criterion, offset = named_loss(loss), model.origin.output if centred else 0.0
    for step in range(steps + 1):
        output, backward = _passes(model)
        yield output
        if step < steps:
            factors = backward(criterion.gradient(output - offset, targets))
            model = _stepped(model, factors, learning_rate)


def _stepped(model: Model, factors: Sequence[tuple[Tensor, Tensor]], learning_rate: float) -> Model:
    """Return the model after a step along the gradients ``multiplier · yᵀ x`` of its layers."""
    moves = []
    for layer, move, (y, x) in zip(model.origin.ensemble.layers, model.moves, factors, strict=True):
        moves.append(move.joined(-learning_rate * layer.rate * layer.multiplier * y, x))
    return replace(model, moves=tuple(moves))


Backward = Callable[[Tensor], list[tuple[Tensor, Tensor]]]
"""dL/df (seed, batch, out) -> the factors (y, x) of every layer's gradient ``multiplier · yᵀ x``."""


def _passes(model: Model) -> tuple[Tensor, Backward]:
    """Return the output of a model, and the function that goes backwards through it."""
    if model.weights is None:
        return _network_passes(model)
    started = model.moves[0].left.shape[1] > 0
    return _series_passes(model, model.weights if started else model.weights[:1])  # at w_0 all orders are one


def _network_passes(model: Model) -> tuple[Tensor, Backward]:
    phi = SMOOTH[model.origin.ensemble.mlp.activation]
    layers = list(zip(model.origin.ensemble.layers, model.moves, strict=True))
    inputs, slopes = [model.origin.activations[0]], []
    for layer, move in layers[:-1]:
        x, slope = series(phi, _forward(layer, move, inputs[-1]), 1)
        inputs.append(x)
        slopes.append(slope)

    def backward(gradient: Tensor) -> list[tuple[Tensor, Tensor]]:
        signals = [gradient]
        for (layer, move), slope in zip(reversed(layers[1:]), reversed(slopes), strict=True):
            y = signals[-1]
            known = layer.weights.transposed_matmul(y) + move.transposed_matmul(y)
            signals.append(layer.multiplier * known * slope)
        return list(zip(reversed(signals), inputs, strict=True))

    return _forward(*layers[-1], inputs[-1]), backward


def _forward(layer: Layer, move: Move, x: Tensor) -> Tensor:
    return layer.multiplier * (layer.weights.matmul(x) + move.matmul(x))


def _series_passes(model: Model, weights: tuple[float, ...]) -> tuple[Tensor, Backward]:
    """The passes of a Taylor model. Series hold the coefficients 1 … k; coefficient 0 is the origin's."""
    origin, first = model.origin, model.origin.activations
    layers = list(zip(origin.ensemble.layers, model.moves, strict=True))
    still = torch.zeros_like(first[0])[:, :, None].expand(-1, -1, len(weights) - 1, -1)
    x: Tensor | None = None  # of a layer's input the coefficients 1 … k: the inputs of the network do not move
    below, slopes = [torch.cat([first[0][:, :, None], still], dim=2)], []  # and of every layer's 0 … k - 1
    for (layer, move), start, coefficients in zip(layers, first[1:], origin.coefficients, strict=False):
        x, slope = _compose(coefficients, _linear(layer, move, x, below[-1]))
        below.append(_behind(start, x))
        slopes.append(slope)
    scale = origin.output.new_tensor(weights)[:, None]
    terms = scale * _linear(*layers[-1], x, below[-1])

    def backward(gradient: Tensor) -> list[tuple[Tensor, Tensor]]:
        signals = [gradient[:, :, None] * scale]
        for (layer, move), slope in zip(reversed(layers[1:]), reversed(slopes), strict=True):
            y = signals[-1]
            later = torch.cat([y[:, :, 1:], torch.zeros_like(y[:, :, :1])], dim=2)
            known = _each(layer.weights.transposed_matmul, y) + _each(move.transposed_matmul, later)
            signals.append(_correlate(slope, layer.multiplier * known))
        return [(y.flatten(1, 2), x.flatten(1, 2)) for y, x in zip(reversed(signals), below, strict=True)]

    return origin.output + terms.sum(dim=2), backward


def _linear(layer: Layer, move: Move, x: Tensor | None, below: Tensor) -> Tensor:
    """Return ``W_0 x_j + D x_{j-1}``, j = 1 … k, from the coefficients 1 … k (None: all are 0) and 0 … k - 1 of x."""
    moved = _each(move.matmul, below)
    return layer.multiplier * (moved if x is None else moved + _each(layer.weights.matmul, x))


def _behind(first: Tensor, x: Tensor) -> Tensor:
    """Return the coefficients 0 … k - 1 of the series with coefficient 0 ``first`` and 1 … k in x."""
    return torch.cat([first[:, :, None], x[:, :, :-1]], dim=2)


def _each(product: Function, x: Tensor) -> Tensor:
    """Return a product with every coefficient of a series (seed, batch, coefficient, size)."""
    found = product(x.flatten(1, 2))
    return found.view(*x.shape[:3], found.shape[-1])


def _compose(coefficients: Sequence[Tensor], h: Tensor) -> tuple[Tensor, Tensor]:
    """Return the coefficients 1 … k of phi(h) and 0 … k - 1 of phi'(h), for the series h with coefficients 1 … k.

    ``phi(h_0 + δ) = Σ_m c_m δ^m`` with c_m = phi^(m)(h_0)/m!, and ``phi'(h_0 + δ) = Σ_m (m + 1) c_{m+1} δ^m``.
    """
    order = h.shape[2]
    powers = [h]  # δ, δ², …, as coefficients 1 … k
    while len(powers) < order:
        powers.append(_times(powers[-1], h))
    c = [each[:, :, None] for each in coefficients]
    value = reduce(torch.add, (c[m] * power for m, power in enumerate(powers, start=1)))
    slope = [c[1]]
    if order > 1:
        rest = (((m + 1) * c[m + 1]) * power[:, :, :-1] for m, power in enumerate(powers[:-1], start=1))
        slope.append(reduce(torch.add, rest))
    return value, torch.cat(slope, dim=2)


def _times(a: Tensor, b: Tensor) -> Tensor:
    """Return the product of two series without coefficient 0, cut off after the same power."""
    found = torch.zeros_like(a)
    for j in range(1, a.shape[2]):
        found[:, :, j:] += a[:, :, j - 1 : j] * b[:, :, : b.shape[2] - j]
    return found


def _correlate(slope: Tensor, y: Tensor) -> Tensor:
    """Return ``Σ_{j ≥ i} slope_{j-i} y_j``, the adjoint of multiplying by ``slope``: dx_j = Σ_i slope_{j-i} dh_i."""
    found = torch.zeros_like(y)
    for j in range(y.shape[2]):
        found[:, :, : y.shape[2] - j] += slope[:, :, j : j + 1] * y[:, :, j:]
    return found
