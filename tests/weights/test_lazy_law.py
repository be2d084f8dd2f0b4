"""The law of lazy matrices: answers against the Gaussian posterior by linear algebra, whole ones against Wishart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import ks_1samp, ks_2samp, norm
from torch import Tensor

from tpbench.weights import innovations
from tpbench.weights.basis import Found, Side
from tpbench.weights.innovations import MonteCarlo
from tpbench.weights.lazy import Axes, LazyGaussian

CPU = torch.device("cpu")
OUT, IN, STD = 5, 4, 1.3
FALSE_ALARM = 1e-5
"""Of one test, whose seeds are fixed; there are about a dozen."""
Array = NDArray[np.float64]
Agree = Callable[..., None]
Query = Callable[[list[Tensor]], Tensor]
"""What to ask next, (seed, batch, size), given all answers so far."""
History = Sequence[tuple[str, Query]]


def build(seeds: int, out: int = OUT, into: int = IN, *, std: float = STD, **more: Any) -> LazyGaussian:
    return LazyGaussian(
        (out, into),
        std=std,
        innovations=MonteCarlo(range(seeds)),
        axes=Axes("out", "in"),
        dtype=torch.float64,
        device=CPU,
        **more,
    )


def fixed(size: int, number: int, batch: int = 1) -> Query:
    """Return a query that is the same for every seed, whatever was answered."""
    source = torch.Generator(device=CPU).manual_seed(number)
    x = torch.randn(1, batch, size, generator=source, dtype=torch.float64, device=CPU)
    return lambda _: x


HISTORIES: dict[str, tuple[int, History]] = {
    "fixed": (
        20_000,
        [
            (side, fixed(IN if side == "right" else OUT, 2 * at + (side == "left")))
            for at in range(4)
            for side in ("right", "left")
        ],
    ),
    "rows first": (10_000, [("left", fixed(OUT, 1, 3)), ("right", fixed(IN, 2, 2)), ("left", fixed(OUT, 3, 2))]),
    "columns first": (10_000, [("right", fixed(IN, 1, 2)), ("left", fixed(OUT, 2, 2)), ("right", fixed(IN, 3, 3))]),
    "dependent": (
        10_000,
        [
            ("right", fixed(IN, 1)),
            ("left", fixed(OUT, 2)),
            ("right", lambda _: fixed(IN, 1)([]) + 1e-4 * fixed(IN, 3)([])),
            ("left", lambda _: torch.cat([fixed(OUT, 2)([]), -fixed(OUT, 2)([]), fixed(OUT, 4)([])], dim=1)),
        ],
    ),
    # What a network asks depends on what it was answered. Relu makes some seeds' queries dependent or zero.
    "adaptive": (
        6_000,
        [
            ("right", fixed(IN, 1)),
            ("left", lambda known: known[0].relu()),
            ("right", lambda known: torch.tanh(known[1])),
            ("left", lambda known: (known[2] - 0.5 * known[0]).relu()),
            ("right", lambda known: (known[3] * known[1]).relu() + fixed(IN, 5)([])),
            ("left", lambda known: known[4].sign()),
        ],
    ),
}


def observation(side: str, x: Tensor) -> Tensor:
    """Return the matrix that takes W's entries, row by row, to the answers: (seed, batch · answer size, entries)."""
    eye = torch.eye(OUT if side == "right" else IN, dtype=torch.float64, device=CPU)
    spelled = "oO,sbi->sboOi" if side == "right" else "iI,sbo->sbioI"
    return torch.einsum(spelled, eye, x).reshape(len(x), -1, OUT * IN)


def innovations_of(weights: LazyGaussian, history: History) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield for every answer what is new in it: standard normal numbers if the law is right, (seed, numbers), and
    what the posterior says cannot be, relative to the answer.

    W has independent entries N(0, std²) a priori; an answer is a linear observation of it. Its posterior given all
    earlier observations A and answers a has mean ``B Aᵀ (A Aᵀ)⁺ a`` and covariance ``std² (B Bᵀ - B Aᵀ (A Aᵀ)⁺ A Bᵀ)``.
    What is new is whitened with that covariance; numbers of directions that a seed already knows are NaN.
    """
    seeds = weights.shape[0]
    known: list[Tensor] = []
    A = torch.zeros(1, 0, OUT * IN, dtype=torch.float64, device=CPU)
    a = torch.zeros(seeds, 0, dtype=torch.float64, device=CPU)
    for side, query in history:
        x = query(known).contiguous()
        asked = x.expand(seeds, -1, -1).contiguous()
        answer = weights.matmul(asked) if side == "right" else weights.transposed_matmul(asked)
        B, b = observation(side, x), answer.flatten(1)
        gain = B @ torch.linalg.pinv(A, rtol=1e-9)
        residual = b - (gain @ a[:, :, None])[:, :, 0]
        directions, spread, _ = torch.linalg.svd(B - gain @ A, full_matrices=False)  # roots of the covariance / std²
        size = torch.linalg.vector_norm(x, dim=2).amax(dim=1)[:, None].clamp_min(1e-300)
        free = spread > 1e-9 * size
        numbers = (directions.mT @ residual[:, :, None])[:, :, 0] / STD
        new = torch.where(free, numbers / spread, torch.nan)
        wrong = torch.where(free, 0.0, numbers.abs() / size)
        yield new.expand(seeds, -1), wrong
        known.append(answer)
        A = torch.cat([A.expand(len(B), -1, -1), B.expand(max(len(A), len(B)), -1, -1)], dim=1)
        a = torch.cat([a, b], dim=1)


def evidence(numbers: Array) -> Array:
    """Return p-values of the columns being independent standard normals, (seed, column), as far as they are not NaN.

    Means, squares, products of every two and of their squares by z-scores; every column by Kolmogorov and Smirnov.
    """
    there = ~np.isnan(numbers)
    numbers = numbers[:, there.sum(axis=0) > 500]
    there = ~np.isnan(numbers)
    u = np.where(there, numbers, 0.0)
    count = there.T.astype(np.float64) @ there
    pairs = np.triu_indices(u.shape[1], 1)
    square = np.where(there, u**2 - 1, 0.0) / 2**0.5
    z = np.concatenate(
        [
            u.sum(axis=0) / np.sqrt(there.sum(axis=0)),
            square.sum(axis=0) / np.sqrt(there.sum(axis=0)),
            *((part.T @ part)[pairs] / np.sqrt(count[pairs].clip(1)) for part in (u, square)),
        ]
    )
    tests = [ks_1samp(column[known], norm.cdf).pvalue for column, known in zip(u.T, there.T, strict=True)]
    return np.concatenate([2 * ndtr(-np.abs(z)), tests])


def law(history: str, seeds: int | None = None, **more: Any) -> tuple[Array, float]:
    """Return the p-values of a history, and the largest part of an answer that cannot be."""
    many, queries = HISTORIES[history]
    found = list(innovations_of(build(seeds or many, **more), queries))
    return evidence(torch.cat([new for new, _ in found], dim=1).numpy()), max(float(wrong.max()) for _, wrong in found)


@pytest.mark.parametrize("history", HISTORIES)
def test_answers_have_the_posterior_law(history: str) -> None:
    p, wrong = law(history)
    assert len(p) > 100
    assert p.min() * len(p) > FALSE_ALARM
    assert wrong < 1e-9, "what earlier answers determine is answered so"


@pytest.mark.parametrize("history", HISTORIES)
def test_a_transpose_that_is_another_matrix_is_seen(history: str) -> None:
    """It answers what cannot be: y of W x is known once Wᵀ y is."""
    _, wrong = law(history, 1000, transpose_correction=False)
    assert wrong > 1.0


class AddsToWhatIsKnown(LazyGaussian):
    """Draws around the right mean, without projecting the draw: right on average, with too much spread."""

    def _draw(self, side: Side, other: Side, found: Found, axis: str) -> None:
        super()._draw(side, other, found, axis)
        image = side.image[:, -found.real.shape[1] :]
        z = self._innovations.draw(axis, image.shape[1], image.shape[2], dtype=image.dtype, device=image.device)
        image.add_(z @ other.basis.mT @ other.basis, alpha=self._std)


class Repeats(MonteCarlo):
    """Draws the same numbers again and again."""

    def draw(self, axis: str, count: int, size: int, **more: Any) -> Tensor:
        return innovations.MonteCarlo(self.seeds).draw(axis, count, size, **more)


def test_draws_that_are_not_projected_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "LazyGaussian", AddsToWhatIsKnown)
    assert law("fixed", 1000)[1] > 1.0


@pytest.mark.parametrize("history", ["fixed", "adaptive"])
def test_numbers_that_are_not_fresh_are_seen(monkeypatch: pytest.MonkeyPatch, history: str) -> None:
    monkeypatch.setitem(globals(), "MonteCarlo", Repeats)
    p, wrong = law(history, 2000)
    assert p.min() < 1e-100
    assert wrong < 1e-9


def test_a_standard_deviation_five_percent_off_is_seen() -> None:
    p, wrong = law("fixed", 6000, std=1.05 * STD)
    assert p.min() < 1e-12
    assert wrong < 1e-9


SHAPES = [(5, 5), (3, 6), (6, 3)]
ORDERS: dict[str, Callable[[int, int], list[tuple[str, int]]]] = {
    "columns": lambda out, into: [("right", 1)] * into,
    "rows": lambda out, into: [("left", 1)] * out,
    "at once": lambda out, into: [("right", into)],
    "interleaved": lambda out, into: [("right", 1), ("left", 1)] * max(out, into),
    "rows last": lambda out, into: [("right", into - 1), ("left", out)],
}


def exhaust(weights: LazyGaussian, order: str) -> list[tuple[str, Tensor, Tensor]]:
    """Ask until everything is known: the next query is last answer plus something fixed. Return side, query, answer."""
    seeds, out, into = weights.shape
    records: list[tuple[str, Tensor, Tensor]] = []
    for number, (side, batch) in enumerate(ORDERS[order](out, into)):
        right = side == "right"
        x = fixed(into if right else out, number, batch)([]).repeat(seeds, 1, 1)
        if records and records[-1][2].shape[2] == x.shape[2]:
            x += torch.tanh(records[-1][2][:, :1])
        records.append((side, x, weights.matmul(x) if right else weights.transposed_matmul(x)))
    return records


def drawn(weights: LazyGaussian) -> list[int]:
    return [weights._innovations.drawn(axis) for axis in ("out", "in")]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", ORDERS)
def test_a_matrix_that_is_known_draws_no_more_and_is_what_it_answered(
    agree: Agree, order: str, shape: tuple[int, int]
) -> None:
    weights = build(500, *shape)
    records = exhaust(weights, order)
    before = drawn(weights)
    whole = weights.materialise()
    for side, x, answer in records:
        agree(answer, x @ (whole.mT if side == "right" else whole), 1e-11)
        agree(weights.matmul(x) if side == "right" else weights.transposed_matmul(x), answer, 1e-11)
    eye = torch.eye(shape[0], dtype=torch.float64, device=CPU).expand(500, -1, -1)
    agree(weights.transposed_matmul(eye), whole, 1e-11)
    agree(weights.materialise(), whole, 1e-11)
    assert drawn(weights) == before
    assert sum(before) <= sum(shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", ORDERS)
def test_known_matrices_are_gaussian_and_their_singular_values_those_of_dense_ones(
    order: str, shape: tuple[int, int]
) -> None:
    """Entries; E tr W Wᵀ = σ² n m and E tr (W Wᵀ)² = σ⁴ n m (n + m + 1); the extreme singular values of dense draws."""
    (out, into), seeds = shape, 3000
    weights = build(seeds, out, into)
    exhaust(weights, order)
    whole = weights.materialise()
    p = evidence((whole / STD).flatten(1).numpy())
    assert p.min() * len(p) > FALSE_ALARM
    source = torch.Generator(device=CPU).manual_seed(1)
    dense = STD * torch.randn(seeds, out, into, generator=source, dtype=torch.float64, device=CPU)
    squares, others = (torch.linalg.svdvals(w).square().numpy() for w in (whole, dense))
    for power, mean in ((1, STD**2 * out * into), (2, STD**4 * out * into * (out + into + 1))):
        traces = (squares**power).sum(axis=1)
        assert abs(traces.mean() - mean) < 4.5 * traces.std() / seeds**0.5
    for at in (0, -1):
        assert ks_2samp(squares[:, at], others[:, at]).pvalue > FALSE_ALARM


def test_the_rival_has_no_matrix(agree: Agree) -> None:
    """Plant: without the correction the answers of the two sides are no one matrix's."""
    weights = build(500, 5, 5, transpose_correction=False)
    records = exhaust(weights, "interleaved")
    whole = weights.materialise()
    side, x, answer = records[-1]
    assert side == "left"
    with pytest.raises(AssertionError, match="of the largest entry"):
        agree(answer, x @ whole, 1e-2)
