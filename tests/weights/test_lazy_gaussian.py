"""Lazy matrices are matrices: whatever is asked in whatever order, one dense matrix answers it the same way.

That this matrix has the right law is the matter of test_lazy_law.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from histories import (
    ALTERNATING,
    CPU,
    EVENTS,
    GENERIC,
    NEW,
    RICH,
    Asked,
    Event,
    Record,
    Sgd,
    check_laws,
    check_replay,
    initial,
    play,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tpbench.weights.innovations import MonteCarlo
from tpbench.weights.lazy import Axes, LazyGaussian

Normal = Callable[..., Tensor]
Agree = Callable[..., None]
Kind = type[LazyGaussian]
SEEDS = (5, 0, 7)
DTYPES = [torch.float64, torch.float32]


def build(out: int, into: int, *, seeds: Sequence[int] = SEEDS, kind: Kind = LazyGaussian, **more: Any) -> LazyGaussian:
    options = {"std": 1.0, "dtype": torch.float64, "device": CPU, **more}
    return kind((out, into), innovations=MonteCarlo(seeds), axes=Axes("out", "in"), **options)


HISTORIES = st.lists(EVENTS, min_size=1, max_size=8)
SGDS = st.builds(Sgd, momentum=st.sampled_from([0.0, 0.9]), decay=st.sampled_from([0.0, 0.5]))
SIZES = st.integers(1, 10)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=150)
@given(HISTORIES, SIZES, SIZES, SGDS, st.sampled_from([1e-3, 1.0, 30.0]), st.integers(0, 2**20))
def test_every_history_is_that_of_one_dense_matrix(
    dtype: torch.dtype, history: list[Event], out: int, into: int, sgd: Sgd, std: float, seed: int
) -> None:
    weights = build(out, into, std=std, dtype=dtype, room=1)
    records = play(weights, history, seed, sgd, std)
    check_laws(weights, records, std)
    check_replay(weights, records, sgd, std)


OPTIMIZER = Sgd(momentum=0.9, decay=0.5)


class ReordersNothing(LazyGaussian):
    def _compact(self) -> None:
        self._left.pack()
        self._right.pack()
        self._asked.clear()


class ForgetsMomentum(LazyGaussian):
    def step_(self, y: Tensor, x: Tensor, **more: Any) -> None:
        super().step_(y, x, **{**more, "momentum": 0.0})


class DecaysUpdatesOnly(LazyGaussian):
    def step_(self, y: Tensor, x: Tensor, **more: Any) -> None:
        super().step_(y, x, **more)
        self._shrink = 1.0


class DrawsAgain(LazyGaussian):
    """Forgets what the left side answered."""

    def transposed_matmul(self, y: Tensor, **more: Any) -> Tensor:
        self._left.rank = 0
        self._asked.clear()
        return super().transposed_matmul(y, **more)


class TakesTheTransposeForAnother(LazyGaussian):
    def __init__(self, *shape: Any, **more: Any) -> None:
        super().__init__(*shape, transpose_correction=False, **more)


@pytest.mark.parametrize(
    "fault", [ReordersNothing, ForgetsMomentum, DecaysUpdatesOnly, DrawsAgain, TakesTheTransposeForAnother]
)
def test_faults_are_seen(fault: Kind) -> None:
    for seed in range(3):
        weights = build(6, 5)
        records = play(weights, RICH, seed, OPTIMIZER, 1.0)
        check_laws(weights, records, 1.0)
        check_replay(weights, records, OPTIMIZER, 1.0)
    weights = build(6, 5, kind=fault)
    records = play(weights, RICH, 0, OPTIMIZER, 1.0)
    with pytest.raises(AssertionError):
        check_replay(weights, records, OPTIMIZER, 1.0)


def test_bases_stay_orthonormal() -> None:
    for seed in range(5):
        weights = build(30, 40)
        play(weights, RICH * 4, seed, OPTIMIZER, 1.0)
        for side in (weights._left, weights._right):
            rows = side.basis
            real = rows.abs().amax(dim=2) > 0
            assert float((rows @ rows.mT - torch.diag_embed(real.double())).abs().max()) <= 1e-12


def test_room_changes_nothing() -> None:
    one, two = (play(build(30, 40, room=room), RICH, 1, OPTIMIZER, 1.0) for room in (1, 64))
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a.answer, b.answer)


def test_rows_that_no_seed_needs_are_dropped_by_a_step() -> None:
    """Two seeds ask alternately for something new: twice as many rows as each of them needs, and they have to go."""
    weights = build(6, 5)
    records = play(weights, [*ALTERNATING, ("step", [(NEW, NEW)])] * 2, 0, OPTIMIZER, 1.0)
    assert weights.ranks == (5, 6)
    check_replay(weights, records, OPTIMIZER, 1.0)
    fresh = build(6, 5)
    play(fresh, ALTERNATING, 0, OPTIMIZER, 1.0)
    assert max(fresh.ranks) > 6, "there was something to drop"


def test_a_query_is_remembered_no_longer_than_the_rows_it_was_found_in(agree: Agree) -> None:
    """The same tensor before a step that drops rows, in it and after it."""
    weights = build(6, 5)
    play(weights, ALTERNATING, 0, OPTIMIZER, 1.0)
    x, y = (fresh_block(size) for size in (5, 6))
    for _ in range(2):
        weights.step_(y, x, scale=1.0, rate=0.1, momentum=0.9, decay=0.1)
        agree(weights.matmul(x), weights.matmul(x.clone()), 1e-12)
        agree(weights.transposed_matmul(y), weights.transposed_matmul(y.clone()), 1e-12)


def fresh_block(size: int) -> Tensor:
    return Asked(len(SEEDS), size, torch.float64, torch.Generator(device=CPU).manual_seed(size)).block([NEW, NEW])


def ask(weights: LazyGaussian, vectors: Sequence[Record], chosen: Sequence[int]) -> list[Tensor]:
    """Put the recorded queries of some of the seeds to a matrix."""
    answers = []
    for record in vectors:
        one, two = record.asked[list(chosen)], record.answer[list(chosen)]
        if record.kind == "step":
            weights.step_(one, two, scale=1.0, rate=0.2, momentum=0.9, decay=0.5)
        else:
            answers.append(weights.matmul(one) if record.kind == "right" else weights.transposed_matmul(one))
    return answers


@pytest.mark.parametrize("chosen", [[0, 1, 2, 3], [3, 1, 0, 2], [2], [1, 3]])
def test_a_seeds_answers_depend_neither_on_its_companions_nor_on_their_order(agree: Agree, chosen: list[int]) -> None:
    seeds = [4, 9, 2, 7]
    records = play(build(20, 30, seeds=seeds), GENERIC, 3, OPTIMIZER, 1.0)
    expected = ask(build(20, 30, seeds=seeds), records, range(4))
    found = ask(build(20, 30, seeds=[seeds[at] for at in chosen]), records, chosen)
    for one, two in zip(found, expected, strict=True):
        agree(one, two[chosen], 1e-11)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("late", [False, True])
def test_what_is_not_finite_stays_with_its_seed(normal: Normal, agree: Agree, bad: float, late: bool) -> None:
    """Query and update of one seed: NaN for it, and for the others as if nothing had happened."""
    x, y, probe = normal(3, 2, 8), normal(3, 2, 9, seed=1), normal(3, 1, 8, seed=2)
    spoilt_x, spoilt_y = x.clone(), y.clone()
    spoilt_x[1], spoilt_y[1] = bad, bad
    weights, clean = build(9, 8), build(9, 8)
    if late:
        agree(weights.matmul(probe), clean.matmul(probe), 0.0)
    for one, two in (
        (weights.matmul(spoilt_x), clean.matmul(x)),
        (weights.transposed_matmul(spoilt_y), clean.transposed_matmul(y)),
    ):
        assert not one[1].isfinite().any()
        agree(one[::2], two[::2], 1e-13)
    assert weights.matmul(probe)[1].isfinite().all(), "a query changes nothing"
    agree(clean.matmul(probe)[::2], weights.matmul(probe)[::2], 1e-13)
    for each, ys, xs in ((weights, spoilt_y, spoilt_x), (clean, y, x)):
        each.step_(ys, xs, scale=1.0, rate=0.1, momentum=0.9, decay=0.1)
    for one, two in (
        (weights.matmul(probe), clean.matmul(probe)),
        (weights.transposed_matmul(y), clean.transposed_matmul(y)),
    ):
        assert not one[1].isfinite().any()
        agree(one[::2], two[::2], 1e-13)


def test_a_matrix_that_knows_nothing_does_not_answer_zero(normal: Normal) -> None:
    weights = build(5, 4, seeds=[0])
    assert weights.matmul(torch.inf * normal(1, 2, 4)).isnan().all()
    assert weights.transposed_matmul(torch.nan * normal(1, 2, 5)).isnan().all()
    assert weights.matmul(normal(1, 2, 4)).isfinite().all()


@pytest.mark.parametrize("factor", [1e-35, 1e-25, 1e25, 1e35])
def test_single_precision_neither_overflows_nor_underflows(agree: Agree, normal: Normal, factor: float) -> None:
    x = normal(3, 2, 50).float()
    answer, plain = (build(40, 50, dtype=torch.float32, seeds=[0, 1, 2]).matmul(x * f) for f in (factor, 1.0))
    agree(answer.double() / factor, plain.double(), 1e-5)


def test_changes_are_those_of_the_dense_matrix(normal: Normal, agree: Agree) -> None:
    """Whichever of the two ends was asked before, and for changes down to roundings."""
    for asked_before in ((), (0,), (1,), (0, 1)):
        for share in (1.0, 1e-4, 1e-9, 1e-15):
            start = normal(3, 2, 30)
            ends = (start, start + share * normal(3, 2, 30, seed=1))
            weights = build(20, 30)
            weights.step_(normal(3, 1, 20), normal(3, 1, 30, seed=2), scale=1.0, rate=0.1, momentum=0.0, decay=0.1)
            for at in asked_before:
                weights.matmul(ends[at])
            found = weights.initial_matmul_of_change(ends[1], ends[0], scale=0.7)
            expected = 0.7 * (ends[1] - ends[0]) @ initial(weights).mT
            agree(found, expected, 1e-12, floor=float(start.abs().max()))


def test_products_with_columns_scales_and_buffers(normal: Normal, agree: Agree) -> None:
    weights, x, y = build(6, 5), normal(3, 2, 5), normal(3, 2, 6)
    assert weights.shape == (3, 6, 5)
    weights.step_(y, x, scale=1.0, rate=0.1, momentum=0.0, decay=0.1)
    wx, wy = weights.matmul(x), weights.transposed_matmul(y)
    agree(weights @ x.mT, wx.mT, 1e-14)
    agree(weights.T @ y.mT, wy.mT, 1e-14)
    forward, back = torch.full_like(wx, torch.nan), torch.full_like(wy, torch.nan)
    assert weights.matmul(x, scale=0.3, out=forward) is forward
    assert weights.transposed_matmul(y, scale=-2.0, out=back) is back
    agree(forward, 0.3 * wx, 1e-14)
    agree(back, -2.0 * wy, 1e-14)


def test_a_buffer_that_was_written_to_is_a_new_query(normal: Normal, agree: Agree) -> None:
    weights, buffer, other = build(6, 9), normal(3, 2, 9), normal(3, 2, 9, seed=1)
    weights.matmul(buffer)
    for write in (
        lambda: buffer.copy_(other),
        lambda: buffer[:, 0].mul_(2.0),
        lambda: torch.clamp_min(other, 0, out=buffer),
        lambda: torch.ops.aten.threshold_backward(other, buffer, 0, grad_input=buffer),
        lambda: torch.ops.aten.tanh_backward(other, buffer, grad_input=buffer),
        lambda: torch.baddbmm(buffer, other[:, :, :1], other[:, :1], beta=0, out=buffer),
    ):
        write()
        agree(weights.matmul(buffer), weights.matmul(buffer.clone()), 1e-13)


def test_matrices_work_in_inference_mode(normal: Normal, agree: Agree) -> None:
    weights, plain = build(6, 5, room=1), build(6, 5)
    x, y = normal(3, 2, 5), normal(3, 2, 6)
    with torch.inference_mode():
        found = [weights.matmul(x.clone()), weights.transposed_matmul(y.clone())]
    for one, two in zip(found, (plain.matmul(x), plain.transposed_matmul(y)), strict=True):
        agree(one, two, 1e-13)
    for each in (weights, plain):
        each.step_(y, normal(3, 2, 5, seed=3), scale=1.0, rate=0.1, momentum=0.9, decay=0.1)
    agree(weights.materialise(), plain.materialise(), 1e-12)


def test_queries_of_the_wrong_kind_are_errors(normal: Normal) -> None:
    weights = build(6, 5)
    for shape in ((2, 1, 5), (3, 1, 6), (3, 5), (3, 1, 1, 5)):
        with pytest.raises(
            ValueError, match=r"w x takes x of shape \(3, batch, 5\), got \(" + ", ".join(map(str, shape))
        ):
            weights.matmul(normal(*shape))
    with pytest.raises(ValueError, match=r"wᵀ y takes y of shape \(3, batch, 6\), got \(3, 1, 5\)"):
        weights.transposed_matmul(normal(3, 1, 5))
    with pytest.raises(
        ValueError, match=r"the matrix is torch.float64 on cpu, the vector torch.float32 on cpu: move one"
    ):
        weights.matmul(normal(3, 1, 5).float())
    with pytest.raises(ValueError, match=r"the vector torch.float64 on meta"):
        weights.matmul(normal(3, 1, 5).to("meta"))
    assert weights.ranks == (0, 0), "a refused query leaves nothing behind"
    for shape, room in (((0, 3), 1), ((3, 0), 1), ((3, 3), 0)):
        with pytest.raises(ValueError, match=r"at least 1 row and column, and room for 1 query; got \("):
            build(*shape, room=room)
    with pytest.raises(ValueError, match=r"float32 or float64, got torch\.bfloat16"):
        build(3, 3, dtype=torch.bfloat16)
