"""Scrambled Sobol' points: the sequence is torch's, and the scramble makes it uniform and keeps it a net."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import ndtr, ndtri
from torch import Tensor
from torch.quasirandom import SobolEngine

from tpbench.weights.sobol import (
    BITS,
    MAXDIM,
    TABLE_BITS,
    WORDS,
    SobolAxis,
    Words,
    _table,
    bit_stream,
    direction_numbers,
    points_,
    scrambled,
)

CPU = torch.device("cpu")


def integers(dimensions: list[int], size: int, words: Words) -> Words:
    """The points as integers, (seed, dimension, size); words of zeros give the sequence without a scramble."""
    vectors, shift = scrambled(direction_numbers(dimensions)[:, : (size - 1).bit_length()], words)
    out = torch.empty((len(words), len(dimensions), size), dtype=torch.int64, device=CPU)
    return points_(torch.from_numpy(vectors), torch.from_numpy(shift), out).numpy()


def random_words(dimensions: int, seeds: int = 1, seed: int = 0) -> Words:
    return np.random.default_rng(seed).integers(0, 1 << BITS, (seeds, dimensions, WORDS))


def plain(dimensions: list[int]) -> Words:
    return np.zeros((1, len(dimensions), WORDS), dtype=np.int64)


def normals(axis: SobolAxis, first: int, seeds: int, count: int, size: int) -> Tensor:
    out = torch.empty((seeds, count, size), dtype=torch.float64, device=CPU)
    axis.normals_(first, out)
    return out


def intervals(z: Tensor, level: int) -> Words:
    """Which of the 2^level equal intervals of (0, 1) each normal came from."""
    return np.floor(ndtr(z.numpy()) * 2**level).astype(np.int64)


@pytest.mark.parametrize(("dimensions", "level"), [(1, 0), (1, 5), (40, 8), (70, 11), (200, 3)])
def test_without_a_scramble_the_points_are_torchs(dimensions: int, level: int) -> None:
    """Torch counts in Gray code: its point j is the point j ^ (j >> 1) of the natural order."""
    size = 1 << level
    theirs = SobolEngine(dimensions, scramble=False).draw(size, dtype=torch.float64).numpy()
    ours = integers(list(range(dimensions)), size, plain(list(range(dimensions))))[0] / 2.0**BITS
    place = np.arange(size)
    np.testing.assert_array_equal(ours[:, place ^ place >> 1].T, theirs)


def test_the_last_dimensions_of_the_table_are_torchs_too() -> None:
    engine = SobolEngine(MAXDIM, scramble=False)
    theirs = engine.draw(16, dtype=torch.float64)[:, -3:].numpy()
    last = [MAXDIM - 3, MAXDIM - 2, MAXDIM - 1]
    place = np.arange(16)
    np.testing.assert_array_equal(integers(last, 16, plain(last))[0][:, place ^ place >> 1].T / 2.0**BITS, theirs)


@given(st.integers(0, 300), st.integers(1, 70), st.integers(0, 2**32))
def test_a_scramble_is_a_product_of_matrices_of_bits(dimension: int, size: int, seed: int) -> None:
    """The second road goes point by point and bit by bit, through the matrices written out."""
    words = random_words(1, seed=seed)
    lower = np.zeros((BITS, TABLE_BITS), dtype=np.int64)
    for column in range(TABLE_BITS):
        lower[column, column] = 1
        for row in range(column + 1, BITS):
            lower[row, column] = int(words[0, 0, column]) >> (BITS - 1 - row) & 1
    table = direction_numbers([dimension])[0]
    for index, point in enumerate(integers([dimension], size, words)[0, 0]):
        raw = 0
        for level in range(TABLE_BITS):
            raw ^= int(table[level]) * (index >> level & 1)
        bits = lower @ np.array([raw >> (TABLE_BITS - 1 - row) & 1 for row in range(TABLE_BITS)]) % 2
        expected = sum(int(bit) << (BITS - 1 - row) for row, bit in enumerate(bits)) ^ int(words[0, 0, -1])
        assert point == expected


@pytest.mark.parametrize("level", [0, 1, 4, 9, 13])
def test_every_dimension_has_one_point_in_each_interval(level: int) -> None:
    size = 1 << level
    for seed in (0, 1):
        for first in (0, 1000):
            z = normals(SobolAxis([seed], "layer 1"), first, 1, 40, size)
            assert (np.sort(intervals(z, level)) == np.arange(size)).all()


def counts(points: Words, levels: tuple[int, ...]) -> Words:
    """Points in every elementary box of 2^-levels, in order of size; ``points`` has shape (dimension, size)."""
    box = np.zeros(points.shape[1], dtype=np.int64)
    for row, level in zip(points, levels, strict=True):
        box = box << level | row >> (BITS - level)
    return np.sort(np.bincount(box, minlength=1 << sum(levels)))


@pytest.mark.parametrize("shape", [(1 << 8, 8), (1 << 8, 6), (96, 7)])
def test_the_scramble_keeps_the_net(shape: tuple[int, int]) -> None:
    """Boxes of pairs and triples of dimensions hold as many points as they do for torch, some empty, some full."""
    size, level = shape
    dimensions = list(range(7))
    place = np.arange(size)
    theirs = SobolEngine(7, scramble=False).draw(1 << 8, dtype=torch.float64).numpy().T
    order = np.empty(1 << 8, dtype=np.int64)
    order[np.arange(1 << 8) ^ np.arange(1 << 8) >> 1] = np.arange(1 << 8)
    unscrambled = (theirs[:, order[place]] * 2.0**BITS).astype(np.int64)
    kinds = set()
    for points in integers(dimensions, size, random_words(7, seeds=3)):
        for some in [*combinations(dimensions, 2), *combinations(dimensions[:4], 3)]:
            for first in range(level + 1):
                levels = (first, level - first) if len(some) == 2 else (first, 0, level - first)
                ours = counts(points[list(some)], levels)
                np.testing.assert_array_equal(ours, counts(unscrambled[list(some)], levels))
                kinds.add(tuple(ours[[0, -1]]))
    assert len(kinds) > 1, "every box of every set of dimensions is alike: the comparison proves nothing"


def bits_over_seeds(points: Words) -> Words:
    """How often each bit is set, highest first; ``points`` has shape (seed,)."""
    return np.array([(points >> (BITS - 1 - row) & 1).mean() for row in range(BITS)])


def test_all_bits_are_random_and_two_points_differ_by_random_bits() -> None:
    seeds = 4096
    words = random_words(1, seeds=seeds)
    points = integers([5], 64, words)[:, 0]
    raw = integers([5], 64, plain([5]))[0, 0]
    allowed = 4.5 * 0.5 / seeds**0.5
    for index in (0, 1, 37, 63):
        assert abs(bits_over_seeds(points[:, index]) - 0.5).max() < allowed
    for one, two in ((0, 1), (0, 40), (13, 62)):
        agreed = BITS - int(raw[one] ^ raw[two]).bit_length()
        differ = bits_over_seeds(points[:, one] ^ points[:, two])
        # The bits on which the sequence agrees stay equal, the first on which it differs stays different.
        np.testing.assert_array_equal(differ[: agreed + 1], [0.0] * agreed + [1.0])
        assert abs(differ[agreed + 1 :] - 0.5).max() < allowed
    words[:, :, :-1] = 0
    shifted = integers([5], 64, words)[:, 0]
    assert abs(bits_over_seeds(shifted[:, 0] ^ shifted[:, 1])[1:] - 0.5).max() == 0.5, "a shift alone is no scramble"


def test_one_point_is_normal_over_scrambles() -> None:
    seeds = 4000
    z = normals(SobolAxis(range(seeds), "layer 1"), 0, seeds, 3, 8)
    for dimension in range(3):
        for neuron in (0, 1, 7):
            assert stats.kstest(z[:, dimension, neuron].numpy(), "norm").pvalue > 1e-4
    # Fault: all seeds under one scramble.
    assert stats.kstest(z[:1, 0, 0].expand(seeds).numpy(), "norm").pvalue < 1e-12


def test_normals_are_the_quantiles_of_the_points() -> None:
    z = normals(SobolAxis([7], "layer 2"), 0, 1, 2, 1 << 15)[0]
    stream = bit_stream(7, "layer 2", "scramble")
    words = (stream.random_raw(2 * WORDS) >> (64 - BITS)).astype(np.int64).reshape(1, 2, WORDS)
    u = (integers([0, 1], 1 << 15, words)[0] + 0.5) * 2.0**-BITS
    np.testing.assert_allclose(z.numpy(), ndtri(u), rtol=1e-9, atol=0)
    # In probability the inverse is better than the spacing of the points, in the tails too.
    assert abs(ndtr(-abs(z.numpy())) - np.minimum(u, 1 - u)).max() < 2.0**-BITS


class _Constant:
    """Stands in for a stream of bits: every word the same."""

    def __init__(self, word: int) -> None:
        self._word = word

    def random_raw(self, size: int) -> np.ndarray:
        return np.full(size, self._word, dtype=np.uint64)


def test_the_outermost_points_are_finite_and_opposite() -> None:
    axis = SobolAxis([0, 1], "layer 1")
    axis._streams = [_Constant(0), _Constant(2**64 - 1)]  # type: ignore[list-item]
    low, high = normals(axis, 0, 2, 1, 1)[:, 0, 0].tolist()
    assert high == -low
    assert low == pytest.approx(ndtri(2.0**-53), rel=1e-12)


@pytest.mark.parametrize("size", [1, 3, 5, 96, 1000])
def test_any_size_is_the_beginning_of_a_larger_one(size: int) -> None:
    few = normals(SobolAxis([3, 4], "layer 1"), 0, 2, 5, size)
    assert torch.equal(few, normals(SobolAxis([3, 4], "layer 1"), 0, 2, 5, 1024)[..., :size])


def test_rows_drawn_a_few_at_a_time_are_the_rows_drawn_together(monkeypatch: pytest.MonkeyPatch) -> None:
    together = normals(SobolAxis([3, 4], "layer 1", period=4), 0, 2, 11, 64)
    monkeypatch.setattr("tpbench.weights.sobol._GROUP", 3 * 2 * 64)
    assert torch.equal(normals(SobolAxis([3, 4], "layer 1", period=4), 0, 2, 11, 64), together)


def worst_repeat(axis: SobolAxis, size: int, blocks: int = 3, period: int = 4) -> float:
    """The largest correlation over neurons, in standard errors, between dimensions with the same direction numbers."""
    z = normals(axis, 0, 2, blocks * period, size)
    rows = z.view(2, blocks, period, size)
    correlation = torch.einsum("sapn,sbpn->sabp", rows, rows) / size
    return float(max(abs(correlation[:, a, b]).max() for a, b in combinations(range(blocks), 2))) * size**0.5


def test_beyond_the_table_dimensions_are_not_correlated(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 1 << 12
    assert worst_repeat(SobolAxis([0, 1], "layer 1", period=4), size) < 4.5
    untouched = torch.arange(size, device=CPU).expand(2, 1, size)
    monkeypatch.setattr(SobolAxis, "_permutation", lambda self, block, out: untouched)
    fault = worst_repeat(SobolAxis([0, 1], "layer 1", period=4), size)
    assert fault > 20, "without the permutation equal direction numbers line up, and that must be seen"


def test_beyond_the_table_every_block_is_a_net_of_its_own() -> None:
    level, period = 8, 4
    axis = SobolAxis([5], "layer 1", period=period)
    first = normals(axis, 0, 1, period, 1 << level)[0]
    later = normals(axis, period, 1, 2 * period, 1 << level)[0]
    unscrambled = integers(list(range(period)), 1 << level, plain(list(range(period))))[0]
    for block in (first, later[:period], later[period:]):
        assert (np.sort(intervals(block, level)) == np.arange(1 << level)).all()
        points = intervals(block, level) << (BITS - level)
        for one, two in combinations(range(period), 2):
            for depth in range(level + 1):
                np.testing.assert_array_equal(
                    counts(points[[one, two]], (depth, level - depth)),
                    counts(unscrambled[[one, two]], (depth, level - depth)),
                )
    assert not torch.equal(first, later[:period])


def test_a_block_begins_where_the_table_ends() -> None:
    """Also in one draw across the border, and with the true length of the table."""
    axis = SobolAxis([5], "layer 1")
    z = normals(axis, MAXDIM - 2, 1, 4, 256)[0]
    assert (np.sort(intervals(z, 8)) == np.arange(256)).all()
    assert float(abs(torch.corrcoef(z) - torch.eye(4, dtype=z.dtype, device=CPU)).max()) < 4.5 / 16


def test_streams_of_bits_are_all_different() -> None:
    axes = ["", "1", "1 1", "layer 1", "layer 2", "order 1", "\x00", "λ"]
    keys = [
        (seed, axis, purpose, part)
        for seed in (0, 1, 2**32, 2**32 + 1, 2**64 - 1)
        for axis in axes
        for purpose in ("scramble", "order", "normal")
        for part in (0, 1, 31)
    ]
    assert len({tuple(bit_stream(*key).random_raw(2)) for key in keys}) == len(keys)


def test_too_many_points_are_an_error() -> None:
    out = torch.empty((1, 1, 1), dtype=torch.float64, device=CPU).expand(1, 1, (1 << TABLE_BITS) + 1)
    with pytest.raises(ValueError, match=rf"at most 2\^30 Sobol' points, got {(1 << 30) + 1}: draw Monte Carlo"):
        SobolAxis([0], "layer 1").normals_(0, out)


@pytest.mark.parametrize("period", [0, MAXDIM + 1])
def test_a_block_longer_than_the_table_is_an_error(period: int) -> None:
    with pytest.raises(ValueError, match=f"1 to {MAXDIM} dimensions, the length of the table, got {period}"):
        SobolAxis([0], "layer 1", period=period)


def test_the_table_is_read_no_further_than_needed_and_once() -> None:
    _table.cache_clear()
    for dimension in (70, 64, 127):
        direction_numbers([0, dimension])
    assert _table.cache_info().misses == 1
    assert len(_table(128)) == 128
    assert _table.cache_info().misses == 1


def test_every_dimension_has_its_own_row_of_the_table() -> None:
    whole = direction_numbers(range(MAXDIM))
    for dimension in (0, 1, 63, 64, 65, 127, 128, 4095, 4096, 16384, MAXDIM - 1):
        np.testing.assert_array_equal(direction_numbers([dimension])[0], whole[dimension])
    assert len(np.unique(whole, axis=0)) == MAXDIM
