"""One matrix at infinite width: the random variables of W x and Wᵀ y, for vectors given at points.

Keep orthonormal ``q_j``, in the inner product ``E``, for the vectors that W was asked for, and ``p_i`` for those of Wᵀ.
With σ²/n_columns the variance of an entry and r = n_rows/n_columns,

    Z^{W q_j} = σ ξ_j + (σ/√r) Σ_i p_i E[∂q_j/∂ζ_i],        Z^{Wᵀ p_i} = σ √r ζ_i + σ r Σ_j q_j E[∂p_i/∂ξ_j],

with fresh independent standard Gaussians ξ_j and ζ_i, and only those p_i that were there when q_j came: the limit of
Bolthausen's conditioning (weights/lazy.py), where ``P Hᵀ q`` with ``H = Wᵀ P`` are the sums. Everything else follows
from linearity, so that a vector asked twice gets the same answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from scipy import stats
from torch import Tensor

CHANCE = 1e-7
"""Of taking two roads for different that are not, a derivative."""
BIAS = 4.0
"""What the two roads may differ by besides chance, times the number of points: both have biases of that order."""
TOLERANCE = 1e-10
"""Share of a vector's length that has to lie outside the span of the earlier ones to count as a new direction."""
PROJECT_AGAIN = 0.5
"""Share of a vector's length below which what a projection left is projected a second time, against rounding."""


class AnswerSide:
    """What one side of a matrix was asked for and answered; vectors are (replicate, point).

    Row j of ``basis`` (replicate, direction, point) is q_j, that of ``answers`` is Z^{W q_j}, which has ``scale`` times
    a fresh Gaussian. A replicate with fewer independent vectors than its companions has zero rows. With ``follow``
    autograd can go through what is asked and answered.
    """

    def __init__(self, room: int, *, scale: float, follow: bool, like: Tensor) -> None:
        replicates, points = like.shape
        self.scale = scale
        self.count = 0
        self._basis = like.new_empty(replicates, room, points)
        self._answers = like.new_empty(replicates, room, points)
        self.known: dict[str, Tensor] = {}  # coordinates of the vectors asked, by name
        self._turn = like.new_zeros(replicates, room, room if follow else 0)
        self.followed: list[tuple[int, Tensor]] = []  # the vectors with an autograd graph that made directions
        self.shift = like.new_zeros(replicates, room).requires_grad_(follow)
        """Added to the fresh Gaussians: ``E ∂x/∂ζ_i`` is the derivative of ``E x`` by it."""

    @property
    def basis(self) -> Tensor:
        """The orthonormal directions asked so far."""
        return self._basis[:, : self.count]

    @property
    def answers(self) -> Tensor:
        """The answers to them."""
        return self._answers[:, : self.count]

    @property
    def turn(self) -> Tensor:
        """The directions as combinations of the vectors that made them, (replicate, direction, vector)."""
        return self._turn[:, : self.count, : self.count]

    def find(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return x's coordinates, what lies outside the span, and the length of that; 0 where it is only rounding."""
        length = _length(x)
        coordinates, rest = self._project(x)
        if self.count and bool((_length(rest) < PROJECT_AGAIN * length).any()):
            more, rest = self._project(rest)
            coordinates = coordinates + more
        left = _length(rest)
        return coordinates, rest, torch.where(left > TOLERANCE * length, left, 0.0)

    def add(self, rest: Tensor, left: Tensor, coordinates: Tensor, vector: Tensor) -> Tensor:
        """Take ``rest / left`` for a new direction and return it; its answer is still to be filled in."""
        inverse = torch.where(left > 0, 1 / left, 0.0)
        place = self.count
        torch.mul(rest, inverse[:, None], out=self._basis[:, place])
        if self._turn.shape[2]:
            if place:
                self._turn[:, place, :place] = -inverse[:, None] * _times(coordinates, self.turn)
            self._turn[:, place, place] = inverse
        if vector.requires_grad:
            self.followed.append((place, vector))
        self.count += 1
        return self._basis[:, place]

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self.count:
            return x.new_zeros(len(x), 0), x
        coordinates = torch.bmm(self.basis, x[:, :, None])[:, :, 0] / x.shape[1]
        return coordinates, x - _times(coordinates, self.basis)


class RoadsDifferError(Exception):
    """Autograd and Stein's lemma give different derivatives: some function jumps where nobody saw it."""


@dataclass(frozen=True)
class Answers:
    """Both sides of a matrix: ``sides[False]`` for W x, ``sides[True]`` for Wᵀ y.

    ``reused[flag]`` (replicate, direction, other side's direction) are the derivatives ``E ∂q_j/∂ζ_i`` of a side.
    ``sizes[flag]`` is the ratio of the width that a side takes. Without ``reusing`` all derivatives are zero.
    """

    sides: dict[bool, AnswerSide]
    reused: dict[bool, Tensor]
    sizes: dict[bool, float]
    reusing: bool

    def ask(
        self, name: str, x: Tensor, transposed: bool, *, road: str, follow: bool, draw: Callable[[Tensor], object]
    ) -> Tensor:
        """Return Z^{Wx} or Z^{Wᵀx} for x (replicate, point) of a name; ``draw`` fills a vector with fresh normals.

        A name that was asked before has the same answer to the last bit. ``road`` is "", "autograd" or "stein"; with
        ``follow`` autograd goes on through the answer.
        """
        side = self.sides[transposed]
        if name not in side.known:
            side.known[name] = self._coordinates(x, transposed, road, draw)
        coordinates = side.known[name]
        answered = _times(coordinates, side.answers[:, : coordinates.shape[1]])
        return self._followed(answered, coordinates, transposed) if follow else answered

    def _coordinates(self, x: Tensor, transposed: bool, road: str, draw: Callable[[Tensor], object]) -> Tensor:
        """Return a vector in the basis of its side, (replicate, direction), after adding what the basis lacks."""
        side, other = self.sides[transposed], self.sides[not transposed]
        coordinates, rest, left = side.find(x.detach())
        if not bool((left > 0).any()):
            return coordinates
        new = side.add(rest, left, coordinates, x)
        answer = side.answers[:, -1]
        draw(answer)
        answer.mul_(side.scale * (left > 0)[:, None])
        if self.reusing and other.count:
            found = torch.bmm(other.answers, new[:, :, None])[:, :, 0] / (other.scale * new.shape[1])
            if road != "stein":
                gradient = _gradient(x, other) if road == "autograd" else None
                by_stein, found = found, self._new_derivative(transposed, coordinates, left, gradient)
                check_roads(found, by_stein, new.shape[1])
            self.reused[transposed][:, side.count - 1, : other.count] = found
            answer += self._factor(transposed) * _times(found, other.basis)
        return torch.cat([coordinates, left[:, None]], dim=1)

    def _factor(self, transposed: bool) -> float:
        """Return the constant of Ż: σ/√r, or σ r for the transposed side."""
        return self.sides[not transposed].scale * self.sizes[transposed] / self.sizes[not transposed]

    def _new_derivative(self, transposed: bool, coordinates: Tensor, left: Tensor, gradient: Tensor | None) -> Tensor:
        """Return ``E ∂q/∂ζ`` of the new direction q from that of the vector; none is a derivative of zero."""
        side, other = self.sides[transposed], self.sides[not transposed]
        known = self.reused[transposed][:, : side.count - 1, : other.count]
        found = -_times(coordinates, known) if gradient is None else gradient - _times(coordinates, known)
        return torch.where(left[:, None] > 0, found / left[:, None], 0.0)

    def _followed(self, answered: Tensor, coordinates: Tensor, transposed: bool) -> Tensor:
        """Return an answer whose gradient goes to its Gaussians and to the vectors that its Ż is made of."""
        side, other = self.sides[transposed], self.sides[not transposed]
        if not other.followed:
            return _Answer.apply(answered, side.shift, side.scale * coordinates, coordinates[:, :0])  # type: ignore[no-any-return, no-untyped-call]
        reused = self.reused[transposed][:, : coordinates.shape[1], : other.count]
        weights = self._factor(transposed) * _times(_times(coordinates, reused), other.turn)
        places = [place for place, _ in other.followed]
        return _Answer.apply(  # type: ignore[no-any-return, no-untyped-call]
            answered, side.shift, side.scale * coordinates, weights[:, places], *(v for _, v in other.followed)
        )


class _Answer(torch.autograd.Function):
    """An answer, computed already, as a function of the shift of its Gaussians and of the vectors in its Ż.

    Only expectations of derivatives are asked for, so one number a Gaussian and replicate is all that flows back.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, shift: Tensor, slopes: Tensor, weights: Tensor, *vectors: Tensor) -> Tensor:
        ctx.save_for_backward(slopes, weights)
        ctx.room = shift.shape[1]
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        slopes, weights = ctx.saved_tensors
        (gradient,) = gradients
        to_shift = None
        if ctx.needs_input_grad[1]:
            to_shift = gradient.new_zeros(len(gradient), ctx.room)
            to_shift[:, : slopes.shape[1]] = slopes * gradient.sum(dim=1, keepdim=True)
        needed = ctx.needs_input_grad[4:]
        to_vectors = [weights[:, i, None] * gradient if need else None for i, need in enumerate(needed)]
        return None, to_shift, None, None, *to_vectors


def check_roads(by_autograd: Tensor, by_stein: Tensor, points: int) -> None:
    """Raise ``RoadsDifferError`` where ``E ∂q/∂ζ``, (replicate, direction), is not ``E ζ q`` up to its scatter.

    They are one number by Stein's lemma, at most 1, unless autograd passes over a jump. One replicate tells nothing.
    """
    count = len(by_autograd)
    if count < 2:
        return
    differences = by_stein - by_autograd
    error = differences.std(dim=0) / count**0.5
    allowed = float(stats.t.isf(CHANCE, count - 1)) * error + BIAS / points
    if bool((differences.mean(dim=0).abs() > allowed).any()):
        raise RoadsDifferError


def _gradient(x: Tensor, other: AnswerSide) -> Tensor | None:
    """Return ``E ∂x/∂ζ`` for the directions of the other side so far, (replicate, direction); None for zero."""
    if not x.requires_grad:
        return None
    ones = torch.full_like(x, 1 / x.shape[1])
    (found,) = torch.autograd.grad([x], [other.shift], [ones], retain_graph=True, allow_unused=True)
    return None if found is None else found[:, : other.count]


def _times(coefficients: Tensor, rows: Tensor) -> Tensor:
    """Return Σ_j coefficients_j rows_j: (replicate, j) and (replicate, j, size) give (replicate, size)."""
    return torch.bmm(coefficients[:, None], rows)[:, 0]


def _length(x: Tensor) -> Tensor:
    return x.square().mean(dim=1).sqrt()
