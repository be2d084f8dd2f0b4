"""One side of a block of kernels: points scaled so that a matrix product is all that a pair needs of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tpbench.limits.kernels.forms import form
from tpbench.limits.kernels.plan import Recipe, alike, products


@dataclass(frozen=True)
class Rows:
    """Some points of a side; one vector a layer, see there."""

    points: Tensor
    variances: tuple[Tensor, ...]
    factors: tuple[Tensor, ...]
    scales: tuple[Tensor, ...]


@dataclass(frozen=True)
class Side:
    """``points`` (N, d), of which two sides' ``points points'ᵀ = g g' V^1``; for every layer 1 … depth + 1 ``vectors``
    (3, layer, N): variances K^l, factors u (the last is not used) and scales g (the last is 1).

    ``own``: nngp and ntk (N,) of every point with itself.
    """

    points: Tensor
    vectors: Tensor
    own: tuple[Tensor, Tensor]

    def rows(self, part: slice) -> Rows:
        """Return some of the points."""
        return Rows(self.points[part], *(group.unbind() for group in self.vectors[:, :, part].unbind()))


def side(recipe: Recipe, x: Tensor) -> Side:
    """Return the side of points (N, d)."""
    of, sigma_w, first = form(recipe.activation), math.sqrt(recipe.variance), recipe.variance / x.shape[1]
    layers = alike(recipe, products(x, x) * first)
    variances = torch.stack(layers.covariances)
    ones = torch.ones_like(variances[:1])
    scales = torch.cat([of.before(variances[:-1]), ones])
    factors = torch.cat([sigma_w * of.after(variances[:-1]) * scales[1:], ones])
    points = x * (scales[0] * math.sqrt(first)).to(x.dtype)[:, None]
    vectors = torch.stack([variances, factors, scales]).to(x.dtype)
    return Side(points, vectors, (layers.covariances[-1], layers.tangent))
