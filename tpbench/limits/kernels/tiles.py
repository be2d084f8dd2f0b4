"""The kernels of many points, tile by tile: a tile goes through all layers while it lies in the cache.

Beside the two results there are one scaled copy of the inputs and four buffers of a tile a thread; nothing is allocated
on the way, for a fresh page of memory costs more than what is computed on it. Of a symmetric kernel only the tiles on
and above the diagonal are computed. Where the activation has a product form (``forms.py``) a tile holds ``z = g g' K``
and ``g g' Θ``, and a layer multiplies both by ``u u'`` with the vectors ``u = σ_w p(k^l) g(k^{l+1})``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tpbench.limits.kernels.crew import each
from tpbench.limits.kernels.forms import Form, form
from tpbench.limits.kernels.plan import Recipe

Place = tuple[slice, slice]
TILES: Mapping[str, int] = {"cpu": 256, "cuda": 4096}
"""Rows and columns of a tile: on a CPU its buffers stay in a core's cache, on a GPU it must be worth a launch."""
OTHER_TILE = 1024
HUGE_PAGE = 2**21
NAMES = {torch.float32: np.float32, torch.float64: np.float64}


@dataclass(frozen=True)
class Side:
    """Points, ready for products: ``points`` (N, d) with ``points points'ᵀ = g g' V^1``; for every layer the vectors
    ``variances`` K^l, ``factors`` u (l = 1 … depth) and ``scales`` g (l = 1 … depth + 1, the last is 1)."""

    points: Tensor
    variances: tuple[Tensor, ...]
    factors: tuple[Tensor, ...]
    scales: tuple[Tensor, ...]

    def rows(self, part: slice) -> Side:
        """Return some of the points."""
        cut = [tuple(vector[part] for vector in group) for group in (self.variances, self.factors, self.scales)]
        return Side(self.points[part], *cut)


def side(recipe: Recipe, x: Tensor, variances: Sequence[Tensor]) -> Side:
    """Return a side from its points (N, d) and their variances K^1 … K^{depth + 1}."""
    of = form(recipe.activation)
    scales = [of.before(k) for k in variances[:-1]] + [torch.ones_like(variances[-1])]
    sigma_w = math.sqrt(recipe.variance)
    factors = [sigma_w * of.after(k) * g for k, g in zip(variances[:-1], scales[1:], strict=True)]
    points = x * (scales[0] * (sigma_w / math.sqrt(x.shape[1]))).to(x.dtype)[:, None]
    return Side(points, *(tuple(v.to(x.dtype) for v in group) for group in (variances, factors, scales)))


def fill(recipe: Recipe, left: Side, right: Side, *, symmetric: bool, tile: int | None) -> tuple[Tensor, Tensor]:
    """Return nngp and ntk (N1, N2). Where they are ``symmetric``, the diagonal is left to the caller."""
    sizes, like = (len(left.points), len(right.points)), left.points
    step = TILES.get(like.device.type, OTHER_TILE) if tile is None else tile
    results = _empty(sizes, like), _empty(sizes, like)

    def begin() -> Callable[[Place], None]:
        room = torch.empty((4, min(step, sizes[0]) * min(step, sizes[1])), dtype=like.dtype, device=like.device)

        def work(place: Place) -> None:
            rows, columns = place
            shape = rows.stop - rows.start, columns.stop - columns.start
            views = room[:, : shape[0] * shape[1]].view(4, *shape).unbind()
            _tile_(recipe, left.rows(rows), right.rows(columns), views)
            for result, part in zip(results, views, strict=False):
                _put_(result, place, part, views[-1], symmetric)

        return work

    each(_places(sizes, step, symmetric), begin, like.device)
    return results


def _places(sizes: tuple[int, int], step: int, symmetric: bool) -> Iterator[Place]:
    for i, j in itertools.product(*(range(0, size, step) for size in sizes)):
        if not symmetric or i <= j:
            yield slice(i, min(i + step, sizes[0])), slice(j, min(j + step, sizes[1]))


def _put_(result: Tensor, place: Place, part: Tensor, spare: Tensor, symmetric: bool) -> None:
    """Copy a tile to its place, and if the result is symmetric to the mirrored one."""
    rows, columns = place
    if symmetric and rows == columns:
        _mirror_(part, spare)
    result[rows, columns] = part
    if symmetric and rows != columns:
        result[columns, rows] = part.T


def _mirror_(part: Tensor, spare: Tensor) -> None:
    """Replace what is below the diagonal by what is above: rounding is not symmetric. The diagonal itself is lost."""
    torch.triu(part, diagonal=1, out=spare)
    torch.add(spare, spare.T, out=part)


def _tile_(recipe: Recipe, left: Side, right: Side, views: Sequence[Tensor]) -> None:
    """Put the covariance and the tangent kernel of a tile into the first two of its buffers."""
    of, (z, tangent, slope, spare) = form(recipe.activation), views
    torch.mm(left.points, right.points.T, out=z)
    torch.mul(z, recipe.weights[0], out=tangent)
    _shift_(recipe, 0, left, right, z, tangent)
    for layer in range(recipe.depth):
        of.step_(z, slope, spare, left.variances[layer][:, None], right.variances[layer][None, :])
        if recipe.weights[layer + 1] == 1.0:
            torch.addcmul(z, tangent, slope, out=tangent)
        else:
            tangent.mul_(slope).add_(z, alpha=recipe.weights[layer + 1])
        if not _is_one(recipe, of, layer):
            torch.mul(left.factors[layer][:, None], right.factors[layer][None, :], out=spare)
            z.mul_(spare)
            tangent.mul_(spare)
        _shift_(recipe, layer + 1, left, right, z, tangent)


def _is_one(recipe: Recipe, of: Form, layer: int) -> bool:
    """Whether u is 1 for every point: sqrt(F(1)) = 1 says so, but the last layer returns to the scale of K."""
    return of.homogeneous and recipe.shift == 0.0 and layer < recipe.depth - 1


def _shift_(recipe: Recipe, layer: int, left: Side, right: Side, z: Tensor, tangent: Tensor) -> None:
    """Add the biases' parts to V and to the tangent kernel, which hold it times g g'."""
    for block, amount in ((z, recipe.shift), (tangent, recipe.biases[layer])):
        if amount != 0.0:
            block.addr_(left.scales[layer], right.scales[layer], alpha=amount)


def _empty(shape: tuple[int, int], like: Tensor) -> Tensor:
    """Return room for a result. On a CPU it comes from NumPy, which asks Linux for huge pages: most of what a large
    result costs is the first write to every page, and there are 512 times fewer of them. It asks for 4 MiB and more, and
    a huge page begins at a multiple of its size; the room in front that is left out is never touched."""
    if like.device.type != "cpu":
        return torch.empty(shape, dtype=like.dtype, device=like.device)
    size = math.prod(shape) * like.element_size()
    if size < HUGE_PAGE:
        return torch.from_numpy(np.empty(shape, NAMES[like.dtype]))
    room = np.empty(size + HUGE_PAGE, np.uint8)
    start = -room.ctypes.data % HUGE_PAGE
    return torch.from_numpy(room[start : start + size].view(NAMES[like.dtype]).reshape(shape))
