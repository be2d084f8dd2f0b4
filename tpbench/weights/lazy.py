"""Gaussian matrices that are never built: every product is drawn from its law given all products before it.

A network that asks a matrix W only for W x and Wᵀ y on k directions a side needs no more of W than that. Keep for the
right side orthonormal inputs q_i with G = W Q, for the left side orthonormal p_j with H = Wᵀ P. For a new direction
q', given those answers, ``W q' = P Hᵀ q' + (I - P Pᵀ) z`` with fresh z ~ N(0, std²): Bolthausen's conditioning, the
engine of the proofs of Tensor Programs (Yang 2020, arXiv:2009.10685), used as an algorithm; the tests check it against
the posterior of the entries. The term P Hᵀ q' is what reusing W and Wᵀ together costs; a limit that drops it is wrong.

The law of everything that is computed from the answers is exactly that of the dense matrix, at O(n k) instead of
O(n²) a product. SGD adds outer products of vectors that have been asked already, so the updated matrix is
``w = shrink · W_0 + Pᵀ U Q`` with a small matrix U: updates cost no memory that grows with their number.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import torch
from torch import Tensor

from tpbench.weights.basis import Found, Side, padded
from tpbench.weights.innovations import Innovations
from tpbench.weights.interface import GaussianWeights
from tpbench.weights.products import inner

ROOM = 16
TOLERANCE_IN_EPS = 512
"""Directions shorter than this many roundings of the vector they belong to are rounding."""


@dataclass(frozen=True)
class Axes:
    """Names of the axes on which a matrix's vectors live: ``out`` for W x, ``into`` for x. Innovations are drawn on
    them, so that matrices that share an axis do not share random numbers."""

    out: str
    into: str


@dataclass(frozen=True)
class _Asked:
    """The last query of a side, so that an update or a measurement with the same vectors need not look them up."""

    vector: weakref.ref[Tensor]
    version: int
    coordinates: Tensor


class LazyGaussian(GaussianWeights):
    """Weight matrices of shape (seed, out, in), entries N(0, std²) at the start, known only where they were asked.

    ``innovations`` gives the fresh Gaussian vectors, ``axes`` where they live. ``room`` is how many directions a side
    to make room for at first. A query counts as answered already where less than ``tolerance`` of its length (default
    512 roundings of the dtype) lies outside the span of earlier ones; then nothing is drawn.

    A seed's answers do not depend on its companions, but where queries of some seeds are linearly dependent and those
    of others are not; its law never does. ``transpose_correction`` False forgets that W and Wᵀ are one matrix: a wrong
    law, kept as the rival that every test must reject.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        *,
        std: float,
        innovations: Innovations,
        axes: Axes,
        dtype: torch.dtype,
        device: torch.device,
        room: int = ROOM,
        tolerance: float | None = None,
        transpose_correction: bool = True,
    ) -> None:
        if min(shape) < 1 or room < 1:
            raise ValueError(f"a matrix has at least 1 row and column, and room for 1 query; got {shape} and {room}")
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"lazy weights are float32 or float64, got {dtype}: conditioning needs the precision")
        self._out, self._in = shape
        self._seeds = len(innovations.seeds)
        self._std, self._innovations, self._axes = std, innovations, axes
        self._corrects = transpose_correction
        like = torch.empty((), dtype=dtype, device=device)
        tolerance = TOLERANCE_IN_EPS * torch.finfo(dtype).eps if tolerance is None else tolerance
        self._right = Side(self._seeds, self._in, self._out, room=room, tolerance=tolerance, like=like)
        self._left = Side(self._seeds, self._out, self._in, room=room, tolerance=tolerance, like=like)
        self._shrink, self._velocity_shrink = 1.0, 0.0
        self._update: Tensor | None = None  # U, (seed, left rank, right rank)
        self._velocity: Tensor | None = None
        self._asked: dict[bool, _Asked] = {}  # by whether the query was of the right side

    @property
    def shape(self) -> tuple[int, int, int]:
        """(seed, out, in)."""
        return self._seeds, self._out, self._in

    @property
    def reference(self) -> Tensor:
        """A tensor that tells device and dtype."""
        return self._right.basis

    @property
    def ranks(self) -> tuple[int, int]:
        """How many independent directions have been asked: of w x, and of wᵀ y."""
        return self._right.rank, self._left.rank

    def matmul(self, x: Tensor, *, scale: float = 1.0, out: Tensor | None = None) -> Tensor:
        """Return ``scale · w x``: x (seed, batch, in) gives (seed, batch, out)."""
        return self._answer(self._ask(x, right=True), self._shrink, scale, out)

    def transposed_matmul(self, y: Tensor, *, scale: float = 1.0, out: Tensor | None = None) -> Tensor:
        """Return ``scale · wᵀ y``: y (seed, batch, out) gives (seed, batch, in)."""
        c = self._ask(y, right=False)
        out = _empty(c, self._in) if out is None else out
        torch.baddbmm(out, c, self._left.image, beta=0, alpha=scale * self._shrink, out=out)
        if self._update is not None:
            out.baddbmm_(c @ self._sized(self._update), self._right.basis, alpha=scale)
        return out

    def initial_matmul_of_change(self, now: Tensor, start: Tensor, *, scale: float = 1.0) -> Tensor:
        """Return ``scale · w_0 (now - start)``; the difference is taken between coordinates.

        A small difference of long vectors is mostly rounding outside the span of what was asked; asked itself, that
        rounding would be a new direction.
        """
        ends = [self._ask(x, right=True) for x in (now, start)]
        change = padded(ends[0], now.shape[1], self._right.rank) - ends[1]  # start may have been new, too
        return torch.bmm(change, self._right.image).mul_(scale)

    def update_matmul(self, x: Tensor, *, scale: float = 1.0) -> Tensor:
        """Return ``scale · (w - w_0) x``, shape (seed, batch, out)."""
        return self._answer(self._ask(x, right=True), self._shrink - 1, scale, None)

    def step_(self, y: Tensor, x: Tensor, *, scale: float, rate: float, momentum: float, decay: float) -> None:
        """One step of SGD; what x and y have that was never asked is asked first."""
        left, right = self._ask(y, right=False), self._ask(x, right=True)
        left = padded(left, y.shape[1], self._left.rank)  # asking x may have added rows to no other side but its own
        velocity = torch.bmm(left.mT, right).mul_(scale)
        shrink = decay * self._shrink
        if self._update is not None:
            velocity.add_(self._sized(self._update), alpha=decay)
        if momentum != 0.0:
            shrink += momentum * self._velocity_shrink
            if self._velocity is not None:
                velocity.add_(self._sized(self._velocity), alpha=momentum)
            self._velocity, self._velocity_shrink = velocity, shrink
        self._update = -rate * velocity if self._update is None else self._sized(self._update) - rate * velocity
        self._shrink -= rate * shrink
        self._compact()

    def update_core(self) -> Tensor:
        """Return U of ``w = w_0 + Pᵀ U Q`` with orthonormal rows P and Q, (seed, left rank, right rank): w - w_0 has
        the singular values of U. ``ValueError`` after weight decay, which changes w in all directions."""
        if self._shrink != 1.0:
            raise ValueError("weight decay has shrunk the lazy matrix, so its update is no core: train without decay")
        empty = self.reference.new_zeros(self._seeds, self._left.rank, self._right.rank)
        return empty if self._update is None else self._sized(self._update)

    def forget_velocity_(self) -> None:
        """Set the velocity of momentum back to zero, as an optimizer starts with."""
        self._velocity, self._velocity_shrink = None, 0.0

    def materialise(self) -> Tensor:
        """Return the whole present matrix, (seed, out, in), by asking for all of it; it needs O(in · out) memory."""
        eye = torch.eye(self._in, dtype=self._right.basis.dtype, device=self._right.basis.device)
        return self.matmul(eye.expand(self._seeds, -1, -1)).mT.contiguous()

    def _sized(self, coefficients: Tensor) -> Tensor:
        """Return coefficients of P and Q, (seed, left rank, right rank), at the present ranks."""
        return padded(coefficients, self._left.rank, self._right.rank)

    def _answer(self, c: Tensor, shrink: float, scale: float, out: Tensor | None) -> Tensor:
        """Return ``scale (shrink · W_0 + Pᵀ U Q) x`` for the x with coordinates c."""
        out = _empty(c, self._out) if out is None else out
        torch.baddbmm(out, c, self._right.image, beta=0, alpha=scale * shrink, out=out)
        if self._update is not None:
            out.baddbmm_(c @ self._sized(self._update).mT, self._left.basis, alpha=scale)
        return out

    def _ask(self, x: Tensor, *, right: bool) -> Tensor:
        """Return the coordinates of x in the basis of its side, after drawing the answers that are missing."""
        side, other = (self._right, self._left) if right else (self._left, self._right)
        self._check(x, side.basis, right)
        known = self._remembered(x, right)
        if known is not None:
            return padded(known, x.shape[1], side.rank)
        with torch.inference_mode(False):  # what is drawn stays, and has to be writable outside that mode, too
            found = side.find(x)
            if found.real.shape[1]:
                self._draw(side, other, found, self._axes.out if right else self._axes.into)
        if not x.is_inference():  # which have no version that tells whether they were changed since
            self._asked[right] = _Asked(weakref.ref(x), x._version, found.coordinates)
        return found.coordinates

    def _draw(self, side: Side, other: Side, found: Found, axis: str) -> None:
        """Fill the images of the newest rows of a side: P Hᵀ q' + (I - P Pᵀ) z."""
        count = found.real.shape[1]
        new, image = side.basis[:, -count:], side.image[:, -count:]
        if other.complete and self._corrects:  # nothing is left of z
            image.zero_()
        else:
            self._innovations.draw(axis, count, image.shape[2], dtype=image.dtype, device=image.device, out=image)
            image.mul_(self._std * found.real[:, :, None])
        if other.rank and self._corrects:
            known = inner(new, other.image) - inner(image, other.basis)
            image.baddbmm_(known, other.basis)

    def _remembered(self, x: Tensor, right: bool) -> Tensor | None:
        """Return the coordinates of x if it was the last question of its side: the same tensor, or the same values.

        Comparing values reads two blocks of vectors; looking up coordinates reads the whole basis several times.
        """
        asked = self._asked.get(right)
        last = None if asked is None else asked.vector()
        if asked is None or last is None or last._version != asked.version:
            return None
        equal = last is x or (last.shape == x.shape and x.device.type != "meta" and torch.equal(last, x))
        return asked.coordinates if equal else None

    def _compact(self) -> None:
        """Drop zero rows where a side has more rows than its space has dimensions."""
        if self._left.rank <= self._out and self._right.rank <= self._in:
            return
        sized = [None if u is None else self._sized(u) for u in (self._update, self._velocity)]
        rows, columns = self._left.pack(), self._right.pack()
        self._update, self._velocity = (None if u is None else _reordered(u, rows, columns) for u in sized)
        self._asked.clear()

    def _check(self, x: Tensor, basis: Tensor, right: bool) -> None:
        if x.dim() != 3 or x.shape[0] != self._seeds or x.shape[2] != basis.shape[2]:
            what = "w x takes x" if right else "wᵀ y takes y"
            raise ValueError(f"{what} of shape ({self._seeds}, batch, {basis.shape[2]}), got {tuple(x.shape)}")
        if x.dtype != basis.dtype or x.device != basis.device:
            raise ValueError(
                f"the matrix is {basis.dtype} on {basis.device}, the vector {x.dtype} on {x.device}: move one of them"
            )


def _empty(like: Tensor, size: int) -> Tensor:
    return like.new_empty(like.shape[0], like.shape[1], size)


def _reordered(coefficients: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    chosen = coefficients.gather(1, rows[:, :, None].expand(-1, -1, coefficients.shape[2]))
    return chosen.gather(2, columns[:, None, :].expand(-1, chosen.shape[1], -1))
