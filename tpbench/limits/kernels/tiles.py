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

import numpy as np
import torch
from torch import Tensor

from tpbench.limits.kernels.crew import each
from tpbench.limits.kernels.forms import Step, form
from tpbench.limits.kernels.plan import Recipe
from tpbench.limits.kernels.sides import Rows, Side

Place = tuple[slice, slice]
TILES: Mapping[str, int] = {"cpu": 320, "cuda": 4096}
"""Rows and columns of a tile: on a CPU its buffers stay in a core's cache, on a GPU it must be worth a launch."""
OTHER_TILE = 1024
HUGE_PAGE = 2**21
NAMES = {torch.float32: np.float32, torch.float64: np.float64}


def fill(recipe: Recipe, left: Side, right: Side, tile: int | None) -> tuple[Tensor, Tensor]:
    """Return nngp and ntk (N1, N2) between two sides, or of one with itself. Then the diagonal is that of points with
    themselves: arcsin has an infinite slope at 1, where a cosine one rounding away costs half the digits."""
    sizes, like, of = (len(left.points), len(right.points)), left.points, form(recipe.activation)
    step, symmetric = TILES.get(like.device.type, OTHER_TILE) if tile is None else tile, left is right
    results = _empty(sizes, like), _empty(sizes, like)

    def begin() -> Callable[[Place], None]:
        room = torch.empty((4, min(step, sizes[0]) * min(step, sizes[1])), dtype=like.dtype, device=like.device)
        step_ = of.begin(room)

        def work(place: Place) -> None:
            rows, columns = place
            shape = rows.stop - rows.start, columns.stop - columns.start
            views = room[:, : shape[0] * shape[1]].view(4, *shape).unbind()
            _tile_(recipe, step_, left.rows(rows), right.rows(columns), views, own=symmetric and rows == columns)
            for result, part in zip(results, views, strict=False):
                _put_(result, place, part, views[-1], symmetric)

        return work

    each(_places(sizes, step, symmetric), begin, like.device)
    if symmetric:
        for result, own in zip(results, left.own, strict=True):
            result.diagonal().copy_(own)
    return results


def _places(sizes: tuple[int, int], step: int, symmetric: bool) -> Iterator[Place]:
    """Yield where tiles are, in rows and columns; of a symmetric kernel those on the diagonal come last."""
    rows, columns = (_cut(size, step) for size in sizes)
    if not symmetric:
        yield from itertools.product(rows, columns)
        return
    yield from itertools.combinations(rows, 2)
    yield from zip(rows, rows, strict=True)


def _cut(size: int, step: int) -> list[slice]:
    """Return as few parts of at most ``step`` as there can be, alike in size."""
    count = -(-size // step)
    return [slice(size * k // count, size * (k + 1) // count) for k in range(count)]


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


def _tile_(recipe: Recipe, step_: Step, left: Rows, right: Rows, views: Sequence[Tensor], *, own: bool) -> None:
    """Put the covariance and the tangent kernel of a tile into the first two of its buffers.

    Where it is its ``own``, of rows with themselves, its diagonal is that of the vectors: a product's rounding would
    make of a point and itself two that correlate a little less than perfectly, which a series takes thousands of terms
    for.
    """
    z, tangent, slope, spare = views
    constant = form(recipe.activation).homogeneous and recipe.shift == 0.0  # then u = sqrt(F(1)) = 1
    torch.mm(left.points, right.points.T, out=z)
    torch.mul(z, recipe.weights[0], out=tangent)
    _shift_(recipe, 0, left, right, z, tangent)
    for layer in range(recipe.depth):
        if own:
            torch.mul(left.scales[layer].square(), left.variances[layer], out=z.diagonal())
        step_(z, slope, spare, left.variances[layer], right.variances[layer])
        if recipe.weights[layer + 1] == 1.0:
            torch.addcmul(z, tangent, slope, out=tangent)
        else:
            tangent.mul_(slope).add_(z, alpha=recipe.weights[layer + 1])
        if not constant or layer == recipe.depth - 1:  # the last layer returns to the scale of K
            torch.outer(left.factors[layer], right.factors[layer], out=spare)
            z.mul_(spare)
            tangent.mul_(spare)
        _shift_(recipe, layer + 1, left, right, z, tangent)


def _shift_(recipe: Recipe, layer: int, left: Rows, right: Rows, z: Tensor, tangent: Tensor) -> None:
    """Add the biases' parts to V and to the tangent kernel, which hold it times g g'."""
    for block, amount in ((z, recipe.shift), (tangent, recipe.biases[layer])):
        if amount != 0.0:
            block.addr_(left.scales[layer], right.scales[layer], alpha=amount)


def _empty(shape: tuple[int, int], like: Tensor) -> Tensor:
    """Return room for a result. On a CPU it comes from NumPy, which asks Linux for huge pages: most of what a large
    result costs is the first write to every page, and there are 512 times fewer of them. NumPy asks from 4 MiB on; a
    huge page begins at a multiple of its size, and the room in front of the first is never touched."""
    if like.device.type != "cpu":
        return torch.empty(shape, dtype=like.dtype, device=like.device)
    size = math.prod(shape) * like.element_size()
    if size < HUGE_PAGE:
        return torch.from_numpy(np.empty(shape, NAMES[like.dtype]))
    room = np.empty(size + HUGE_PAGE, np.uint8)
    start = -room.ctypes.data % HUGE_PAGE
    return torch.from_numpy(room[start : start + size].view(NAMES[like.dtype]).reshape(shape))
