"""What a kernel's recursion needs before any pair of points is looked at: the layers' weights and the variances.

With ``K^1 = V^1 + σ_b²``, ``V^1 = σ_w² x·x'/d``, ``V^{l+1} = σ_w² E phi phi``, ``K^l = V^l + σ_b²`` and
``S^l = σ_w² E phi' phi'``, layer l's parameters give ``(weights_l V^l + biases_l) Π_{m >= l} S^m`` of the tangent
kernel (Jacot et al. 2018, arXiv:1806.07572; Lee et al. 2018, arXiv:1711.00165).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tpbench.limits.gaussian import Activation


@dataclass(frozen=True)
class Recipe:
    """The network: squares of σ_w and σ_b, and of every layer 1 … depth + 1 the factor of V and what is added to it."""

    activation: Activation
    depth: int
    variance: float
    shift: float
    weights: tuple[float, ...]
    biases: tuple[float, ...]


Rule = Callable[[int, float, float, int, int], tuple[tuple[float, float], ...]]


def _ntk(depth: int, variance: float, shift: float, features: int, width: int) -> tuple[tuple[float, float], ...]:
    """h = σ_w/sqrt(fan-in) w x + σ_b b: the gradient by w is σ_w/sqrt(fan-in) times x, that by b is σ_b."""
    return ((1.0, shift),) * (depth + 1)


def _standard(depth: int, variance: float, shift: float, features: int, width: int) -> tuple[tuple[float, float], ...]:
    """h = w x + b, w ~ N(0, σ_w²/fan-in), b ~ N(0, σ_b²): gradients x and 1, so fan-in · E phi phi + 1 (Sohl-Dickstein
    et al. 2020, arXiv:2001.07301). Without biases (σ_b = 0) there is no 1."""
    return tuple((fan / variance, float(shift > 0)) for fan in (features, *(width,) * depth))


RULES: Mapping[str, Rule] = {"ntk": _ntk, "standard": _standard}


@dataclass(frozen=True)
class Layers:
    """What all pairs of one kind have in every layer: ``covariances`` K^1 … K^{depth + 1} and the tangent kernel."""

    covariances: tuple[Tensor, ...]
    tangent: Tensor


def alike(recipe: Recipe, first: Tensor) -> Layers:
    """Return the layers of points with themselves from their V^1 (N,)."""
    return _layers(recipe, first, lambda layer, covariance: recipe.activation.diagonal(covariance))


def pairwise(recipe: Recipe, left: Sequence[Tensor], first: Tensor, right: Sequence[Tensor]) -> Layers:
    """Return the layers of pairs of points from V^1 of the pairs and the variances of either; they broadcast."""
    return _layers(recipe, first, lambda layer, k: recipe.activation.duals(left[layer], k, right[layer]))


def _layers(recipe: Recipe, first: Tensor, duals: Callable[[int, Tensor], tuple[Tensor, Tensor]]) -> Layers:
    """The recursion as it is written above: every layer makes new tensors."""
    covariances = [first + recipe.shift]
    tangent = recipe.weights[0] * first + recipe.biases[0]
    for layer in range(recipe.depth):
        value, slope = (recipe.variance * dual for dual in duals(layer, covariances[-1]))
        covariances.append(value + recipe.shift)
        tangent = tangent * slope + recipe.weights[layer + 1] * value + recipe.biases[layer + 1]
    return Layers(tuple(covariances), tangent)


def products(x: Tensor, y: Tensor) -> Tensor:
    """Return x_i · y_i (N,) in the dtype of vectors, block by block: no copy of the inputs in that dtype is made."""
    if x is y:
        lengths: Tensor = torch.linalg.vector_norm(x, dim=1, dtype=wide(x))
        return lengths.square_()
    blocks = zip(torch.split(x, BLOCK), torch.split(y, BLOCK), strict=True)
    return torch.cat([(a.to(wide(x)) * b.to(wide(x))).sum(dim=1) for a, b in blocks])


BLOCK = 1024


def wide(like: Tensor) -> torch.dtype:
    """Return the dtype of vectors with one number a point: float64, since they cost nothing. Apple's GPUs have none."""
    return torch.float32 if like.device.type == "mps" else torch.float64
