"""Rows as blocks of text: every pattern of coordinates is read back as it was, and a wrong text is told."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpbench.bench import blocks
from tpbench.bench.claim import Row

GRID = [Row("error", 0.1 * seed + index, seed=seed, step=3, index=index) for seed in range(5, 9) for index in range(3)]

cycles = st.builds(
    lambda numbers, each, times: [number for _ in range(times) for number in numbers for _ in range(each)],
    st.lists(st.integers(-1, 3), min_size=1, max_size=4),
    st.integers(1, 3),
    st.integers(1, 3),
)


def read_back(rows: list[Row]) -> list[tuple[object, ...]]:
    columns = blocks.read_rows(blocks.write_rows(rows).body)
    return list(zip(*(list(columns[name]) for name in Row._fields), strict=True))


@settings(max_examples=300, deadline=None)
@given(seeds=cycles, indices=cycles)
def test_coordinates_of_any_pattern_are_read_back(seeds: list[int], indices: list[int]) -> None:
    rows = [Row("q", float(i), seed=s, index=j) for i, (s, j) in enumerate(zip(seeds, indices, strict=False))]
    assert read_back(rows) == rows


def test_a_grid_of_seeds_and_indices_is_told_shortly() -> None:
    [line] = blocks.write_rows(GRID).body.splitlines()
    quantity, values, seed, step, layer, index = json.loads(line)
    assert (quantity, values) == ("error", [row.value for row in GRID])
    assert (seed, step, layer, index) == ([[5, 6, 7, 8], 3], 3, -1, [[0, 1, 2], 1])
    assert read_back(GRID) == GRID


def test_quantities_that_alternate_and_long_blocks_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MOST_ROWS", 5)
    rows = [*GRID, Row("share", 1.0, seed=5), *GRID[:7], Row("share", 2.0, seed=6)]
    text = blocks.write_rows(rows)
    assert text.rows == len(rows)
    assert text.body.count(b"\n") == 3 + 1 + 2 + 1
    assert read_back(rows) == rows


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'["q",[1.0,2.0],[[0,1,2],1],0,0,0]', "2 values, and its 3 coordinates"),
        (b'["q",[1.0,2.0],[[0],3],0,0,0]', "for 3 values each"),
        (b'["q",[1.0],0,0,0]', "expected 4, got 3|not enough|shorter"),
        (b'["q",["many"],0,0,0,0]', "could not convert"),
        (b'["q",[1.0],0,2147483648,0,0]', "out of bounds|too large"),
    ],
)
def test_a_text_that_is_none_of_rows_is_refused(line: bytes, why: str) -> None:
    with pytest.raises((ValueError, OverflowError), match=why):
        blocks.read_rows(line + b"\n")


def test_values_are_the_same_to_the_last_bit() -> None:
    values = np.random.default_rng(0).standard_normal(1000).tolist()
    assert [row[1] for row in read_back([Row("q", value, seed=i) for i, value in enumerate(values)])] == values
