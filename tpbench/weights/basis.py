"""Orthonormal bases that grow with the queries of a matrix, and remember what the matrix answered."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tpbench.weights.products import inner

GROWTH = 1.5
WELL_APART = 1e-2
"""Eigenvalue of a Gram matrix of unit vectors from which its direction is taken at once; with weaker ones the
vectors are projected again first, so that bases stay orthonormal to a few eps / WELL_APART."""
COMPARABLE = 1e-2
"""Share of the largest remainder (each relative to its own vector) from which a row takes part in making directions:
a smaller one has larger relative rounding, and a direction bent by it leaves a remainder of the others behind that
looks like one more direction. Rows below wait for the next round."""
PROJECT_AGAIN = 0.5
"""Share of a vector's length below which what a projection left is projected a second time. Half, since errors pass
from block to block: a projection leaves the basis' own error times the whole vector, so a new row inherits it divided
by the share. With 1e-2, queries that move by a hundredth a step lost 1e-2 of orthogonality in float32 in 40 steps."""


@dataclass(frozen=True)
class Found:
    """A block of vectors in an orthonormal basis: ``coordinates`` (seed, batch, rank), and how many of the last basis
    rows are new: ``real`` (seed, new) is False where a seed had fewer new directions and its row is zero."""

    coordinates: Tensor
    real: Tensor


class Side:
    """One side of an ensemble of lazy matrices: orthonormal rows q_i and their images W q_i.

    ``basis`` (seed, rank, size) and ``image`` (seed, rank, image size) are views of buffers with room to grow, so that
    growing copies every row a bounded number of times. A seed with fewer independent queries than its companions has
    zero rows. A vector counts as lying in the span where what is left of it is less than ``tolerance`` of its length.
    """

    def __init__(self, seeds: int, size: int, image_size: int, *, room: int, tolerance: float, like: Tensor) -> None:
        self.rank = 0
        room = min(room, size)  # more directions than dimensions there are only where seeds differ
        self._basis = like.new_empty((seeds, room, size))
        self._image = like.new_empty((seeds, room, image_size))
        self._rest: Tensor | None = None
        self._tolerance = tolerance
        info = torch.finfo(like.dtype)
        # Between these lengths squares neither overflow, nor underflow for a remainder of ``tolerance`` of the length.
        self._range = (1e3 * info.tiny**0.5 / max(tolerance, info.eps), info.max**0.5 / 2)

    @property
    def basis(self) -> Tensor:
        """The orthonormal rows, (seed, rank, size)."""
        return self._basis[:, : self.rank]

    @property
    def image(self) -> Tensor:
        """What the matrix answered for them, (seed, rank, image size)."""
        return self._image[:, : self.rank]

    @property
    def complete(self) -> bool:
        """Whether every seed's rows span the whole space, so that the matrix is known."""
        size = self._basis.shape[2]
        return self.rank >= size and not _any((self.basis.square().sum(-1) > 0.5).sum(dim=1) < size)

    def coordinates(self, x: Tensor) -> Tensor:
        """Return x (seed, batch, size) in the basis, (seed, batch, rank), without what lies outside its span."""
        return inner(x, self.basis)

    def find(self, x: Tensor) -> Found:
        """Return x in the basis after growing it by what x has that the basis lacks.

        The images of new rows are left for the caller to fill. Rows of x that are not finite add nothing and get
        coordinates that are not finite.
        """
        length = torch.linalg.vector_norm(x, dim=-1)
        odd = ~((length > self._range[0]) & (length < self._range[1]))
        return self._find_rescaled(x, odd) if _any(odd) else self._find(x, length)

    def _find_rescaled(self, x: Tensor, odd: Tensor) -> Found:
        """Find x, of which the odd rows are zero, not finite, or have squares that are."""
        largest = x.abs().amax(dim=-1)
        finite = largest.isfinite()
        unit = torch.where(odd & finite & (largest > 0), largest, 1.0)[:, :, None]
        inside = torch.where(finite[:, :, None], x / unit, 0.0)
        found = self._find(inside, torch.linalg.vector_norm(inside, dim=-1))
        coordinates = found.coordinates
        if self.rank == 0 and _any(~finite):  # a row of zeros, for a coordinate that is not finite
            self._grow(1).zero_()
            self.image.zero_()
            coordinates = functional.pad(coordinates, (0, 1))
        return Found(torch.where(finite[:, :, None], coordinates * unit, torch.nan), found.real)

    def _find(self, x: Tensor, length: Tensor) -> Found:
        """Find x, whose rows are finite and have these lengths."""
        coordinates, rest = self._project(x, into=self._scratch(x))
        before, real = length, []
        for _ in range(x.shape[1]):
            left = torch.linalg.vector_norm(rest, dim=-1)
            if _any(left < PROJECT_AGAIN * before):
                more, rest = self._project(rest, into=rest)
                coordinates = coordinates + more
                before = left = torch.linalg.vector_norm(rest, dim=-1)
            share = torch.where(length > 0, left / length, 0.0)
            fresh = share > self._tolerance
            chosen = fresh & (share >= COMPARABLE * share.amax(dim=1, keepdim=True))
            turn, taken = _directions(rest, left, chosen, most=x.shape[2] - self.rank)
            if turn.shape[1] == 0:
                break
            new = self._grow(turn.shape[1])
            torch.bmm(turn, rest, out=new)
            part = inner(rest, new)
            coordinates = torch.cat([coordinates, part], dim=-1)
            real.append(taken)
            if not _any(taken.sum(dim=1) < fresh.sum(dim=1)):
                break
            rest.baddbmm_(part, new, alpha=-1)
        if len(real) > 1:
            return self._closed_up(coordinates, torch.cat(real, dim=1))
        return Found(coordinates, real[0] if real else torch.ones((len(x), 0), dtype=torch.bool, device=x.device))

    def _closed_up(self, coordinates: Tensor, real: Tensor) -> Found:
        """Move every seed's new rows to the front: seeds with equally many, found in different rounds, share them."""
        if not _any(~real):
            return Found(coordinates, real)
        order, start = _real_first(real), self.rank - real.shape[1]
        self.rank = start + order.shape[1]
        self._basis[:, start : self.rank] = _rows(self._basis[:, start : start + real.shape[1]], order)
        new = coordinates[:, :, start:].gather(2, order[:, None, :].expand(-1, coordinates.shape[1], -1))
        return Found(torch.cat([coordinates[:, :, :start], new], dim=-1), real.gather(1, order))

    def pack(self) -> Tensor:
        """Move every seed's zero rows behind the others and drop those that no seed needs.

        Returns the order, (seed, new rank): row i was row ``order[:, i]`` before.
        """
        order = _real_first(self.basis.square().sum(-1) > 0.5)
        self._basis = _rows(self.basis, order)
        self._image = _rows(self.image, order)
        self.rank = order.shape[1]
        return order

    def _scratch(self, x: Tensor) -> Tensor:
        if self._rest is None or self._rest.shape != x.shape:
            self._rest = torch.empty_like(x, memory_format=torch.contiguous_format)
        return self._rest

    def _project(self, x: Tensor, into: Tensor) -> tuple[Tensor, Tensor]:
        """Return x's coordinates, and x less its part in the span, written ``into`` (which may be x itself)."""
        coordinates = self.coordinates(x)
        if into is not x:
            into.copy_(x)
        if self.rank:
            into.baddbmm_(coordinates, self.basis, alpha=-1)
        return coordinates, into

    def _grow(self, count: int) -> Tensor:
        """Return ``count`` more basis rows, still empty."""
        start, self.rank = self.rank, self.rank + count
        if self.rank > self._basis.shape[1]:
            room = max(self.rank, int(GROWTH * self._basis.shape[1]))
            self._basis = _with_room(self._basis, start, room)
            self._image = _with_room(self._image, start, room)
        return self._basis[:, start : self.rank]


def _directions(rest: Tensor, left: Tensor, chosen: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return the well resolved orthonormal directions of the chosen rows of ``rest`` as combinations of its rows.

    (seed, new, batch), and which of them are real, (seed, new). Rows without values are taken to be independent as
    long as there is space, for ``most`` more.
    """
    both = chosen[:, :, None] & chosen[:, None, :]
    inverse = torch.where(chosen, 1 / left, 0.0)
    gram = torch.where(both, torch.bmm(rest, rest.mT) * inverse[:, :, None] * inverse[:, None, :], 0.0)
    values, vectors = (found.flip(-1) for found in torch.linalg.eigh(gram))  # strongest first
    taken = values >= WELL_APART
    meta = rest.device.type == "meta"
    count = max(0, min(rest.shape[1], most)) if meta else int(taken.sum(dim=1).max())
    taken = taken[:, :count]
    root = torch.where(taken, values[:, :count].clamp_min(WELL_APART).rsqrt(), 0.0)
    turn = vectors[:, :, :count].mT * root[:, :, None]
    # An eigenvector's sign is left to rounding: fixed, so that devices and dtypes see the same network.
    weights = torch.arange(1, rest.shape[1] + 1, dtype=rest.dtype, device=rest.device).rsqrt()
    sign = 1 - 2 * (turn @ weights < 0).to(turn.dtype)
    return turn * sign[:, :, None] * inverse[:, None, :], taken


def _any(condition: Tensor) -> bool:
    """Return whether a condition holds anywhere; a tensor without values is taken to be the common case."""
    return condition.device.type != "meta" and bool(condition.any())


def _real_first(real: Tensor) -> Tensor:
    """Return each seed's real rows in their order, and as many others as make it as many as any seed has."""
    order = torch.argsort(real.to(torch.uint8), dim=1, descending=True, stable=True)
    return order[:, : int(real.sum(dim=1).max())]


def _rows(x: Tensor, order: Tensor) -> Tensor:
    return x.gather(1, order[:, :, None].expand(-1, -1, x.shape[2]))


def _with_room(buffer: Tensor, used: int, room: int) -> Tensor:
    larger = buffer.new_empty((buffer.shape[0], room, buffer.shape[2]))
    larger[:, :used] = buffer[:, :used]
    return larger


def padded(matrix: Tensor, rows: int, columns: int) -> Tensor:
    """Return matrix (seed, r, c) with zeros added to (seed, rows, columns)."""
    return functional.pad(matrix, (0, columns - matrix.shape[2], 0, rows - matrix.shape[1]))
