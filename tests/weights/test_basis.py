"""Growing bases: orthonormal whatever is asked, complete, and indifferent to room, scale and companions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from histories import CPU, Asked, Row, blocks
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tpbench.weights import basis
from tpbench.weights.basis import Side, padded

Normal = Callable[..., Tensor]
Agree = Callable[..., None]
SEEDS, IMAGE = 3, 2
BOUND = {torch.float64: 1e-12, torch.float32: 1e-4}
DTYPES = list(BOUND)


def side(
    size: int, *, seeds: int = SEEDS, dtype: torch.dtype = torch.float64, room: int = 2, device: str = "cpu"
) -> Side:
    like = torch.empty((), dtype=dtype, device=torch.device(device))
    return Side(seeds, size, IMAGE, room=room, tolerance=512 * torch.finfo(dtype).eps, like=like)


def asked(size: int, seed: int = 0, *, seeds: int = SEEDS, dtype: torch.dtype = torch.float64) -> Asked:
    return Asked(seeds, size, dtype, torch.Generator(device=CPU).manual_seed(seed))


def error(grown: Side) -> float:
    """Return how far the rows are from orthonormal; rows that a seed lacks are exactly zero."""
    rows = grown.basis.double()
    real = rows.abs().amax(dim=2) > 0
    wrong = (rows @ rows.mT - torch.diag_embed(real.double())).abs()
    return float(wrong.max()) if wrong.numel() else 0.0


def fill(grown: Side) -> None:
    """Stand in for the owner of a side, who fills the images."""
    grown.image.nan_to_num_(0.0, 0.0, 0.0)


def check_found(grown: Side, x: Tensor, found: basis.Found) -> None:
    """x is its coordinates times the basis, within the tolerance of its length; new rows are zero where not real."""
    assert found.coordinates.shape == (*x.shape[:2], grown.rank)
    length = torch.linalg.vector_norm(x.double() / x.double().abs().amax().clamp_min(1e-300), dim=2)
    unit = x.double().abs().amax().clamp_min(1e-300)
    back = found.coordinates.double() / unit @ grown.basis.double()
    missing = torch.linalg.vector_norm(x.double() / unit - back, dim=2)
    assert bool((missing <= 1024 * torch.finfo(x.dtype).eps * length).all())
    new = grown.basis[:, grown.rank - found.real.shape[1] :]
    assert torch.equal(new.abs().amax(dim=2) > 0, found.real)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=200)
@given(st.lists(blocks(), min_size=1, max_size=6), st.integers(1, 12), st.integers(0, 2**20))
def test_rows_are_orthonormal_and_span_everything_asked(
    dtype: torch.dtype, history: list[list[Row]], size: int, seed: int
) -> None:
    grown, past = side(size, dtype=dtype), asked(size, seed, dtype=dtype)
    for kinds in history:
        x, before = past.block(kinds), grown.basis.clone()
        kept = x.clone()
        found = grown.find(x)
        fill(grown)
        assert torch.equal(x, kept), "a query is the caller's"
        assert torch.equal(grown.basis[:, : before.shape[1]], before), "rows that have images stay as they are"
        assert error(grown) <= BOUND[dtype]
        check_found(grown, x, found)
        assert int((grown.basis.abs().amax(dim=2) > 0).sum(dim=1).max()) <= size
        again = grown.find(x)
        assert again.real.shape[1] == 0, "what has been asked is in the span"


@pytest.mark.parametrize("exponent", range(1, 15))
@pytest.mark.parametrize("kind", ["near", "relu"])
def test_blocks_of_nearly_equal_vectors(exponent: int, kind: str) -> None:
    """One vector and five at a distance of 10^-exponent: six directions while that is above the tolerance, 1e-13."""
    past, grown = asked(60, exponent), side(60)
    first = past.block([(kind if kind == "relu" else "fresh", 1)])
    noise = past.block([("fresh", 1)] * 5)
    x = torch.cat([first, first + 10.0**-exponent * noise], dim=1)
    check_found(grown, x, grown.find(x))
    assert error(grown) <= 1e-12
    assert exponent > 12 or grown.rank == 6, "seeds that find their directions in different rounds share the rows"
    graded = torch.stack([10.0**-exponent * noise[:, 0], *(first[:, 0] + 2.0**-k * noise[:, k] for k in range(5))], 1)
    check_found(grown, graded, grown.find(graded))
    assert error(grown) <= 1e-12


def found_in(count: int, dimensions: int, seed: int) -> int:
    """Return the rank of three known directions and ``count`` vectors with ``dimensions`` more, of size 1 to 1e-8."""
    source = torch.Generator(device=CPU).manual_seed(seed)
    drawn = [
        torch.randn(1, *shape, generator=source, dtype=torch.float64, device=CPU) for shape in ((60, 9), (count, 9))
    ]
    directions = torch.linalg.qr(drawn[0])[0].mT
    sizes = 10.0 ** -(8 * torch.rand(1, count, 1, generator=source, dtype=torch.float64, device=CPU))
    grown = side(60, seeds=1)
    grown.find(directions[:, :3])
    grown.find(
        drawn[1][:, :, :3] @ directions[:, :3]
        + sizes * drawn[1][:, :, 3 : 3 + dimensions] @ directions[:, 3 : 3 + dimensions]
    )
    return grown.rank


CROWDED = [(count, dimensions, seed) for seed in range(40) for dimensions in (1, 2, 3) for count in (dimensions + 1, 6)]


def test_there_are_as_many_rows_as_dimensions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where more vectors than dimensions differ in how much of them is new. Plant: all take part at once, and the
    roundings of the smallest look like another direction."""
    assert all(found_in(*case) == 3 + case[1] for case in CROWDED)
    monkeypatch.setattr(basis, "COMPARABLE", 0.0)
    assert any(found_in(*case) > 3 + case[1] for case in CROWDED)


def walk(dtype: torch.dtype, share: float, batch: int = 1, steps: int = 40) -> Side:
    """Ask for the vectors of a training: each step moves them by a share of their length."""
    grown, past = side(500, dtype=dtype), asked(500, dtype=dtype)
    x = past.block([("fresh", 1)] * batch)
    for _ in range(steps):
        grown.find(x)
        fill(grown)
        x = x + share * past.block([("fresh", 1)] * batch)
    return grown


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("share", [0.011, 0.03, 0.1, 0.3, 0.6, 1.0])
def test_rounding_does_not_build_up_along_a_training(dtype: torch.dtype, share: float) -> None:
    for batch in (1, 4):
        grown = walk(dtype, share, batch)
        assert grown.rank == 40 * batch
        assert error(grown) <= 100 * torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
def test_too_few_projections_are_noticed(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    """Plant: at a share of a hundredth the error of every step is a hundred times that of the step before."""
    monkeypatch.setattr(basis, "PROJECT_AGAIN", 1e-2)
    assert error(walk(dtype, 0.011)) > 1e5 * torch.finfo(dtype).eps


def test_so_are_directions_that_are_too_weak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basis, "WELL_APART", 1e-9)
    first, noise = asked(60).block([("fresh", 1)]), asked(60, 1).block([("fresh", 1)] * 5)
    grown = side(60)
    grown.find(torch.cat([first, first + 1e-4 * noise], dim=1))
    assert error(grown) > 1e-10


@given(st.lists(blocks(), min_size=1, max_size=5), st.integers(0, 2**20))
@example([[("fresh", 1)], [("fresh", 1)] * 4, [("near", 3)]], 0)
def test_room_changes_nothing(history: list[list[Row]], seed: int) -> None:
    small, large = side(9, room=1), side(9, room=64)
    one, two = asked(9, seed), asked(9, seed)
    for kinds in history:
        a, b = small.find(one.block(kinds)), large.find(two.block(kinds))
        assert torch.equal(a.coordinates, b.coordinates)
        assert torch.equal(small.basis, large.basis)
        small.image.fill_(1.0)
        large.image.fill_(1.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("power", [-1, 1])
def test_the_length_of_a_vector_is_only_a_factor(agree: Agree, dtype: torch.dtype, power: int) -> None:
    """Also where its square overflows, or underflows."""
    factor = (1e200 if dtype == torch.float64 else 1e30) ** power
    plain, scaled = side(20, dtype=dtype), side(20, dtype=dtype)
    x = asked(20, dtype=dtype).block([("fresh", 1), ("near", 2), ("fresh", 1), ("sum", 1)])
    one, two = plain.find(x), scaled.find(x * factor)
    assert one.real.shape[1] == two.real.shape[1] == 3
    agree(two.coordinates / factor, one.coordinates, 1e4 * torch.finfo(dtype).eps)
    agree(scaled.basis, plain.basis, 1e4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_adds_nothing_and_has_no_coordinates(agree: Agree, normal: Normal, bad: float) -> None:
    x, grown, clean = normal(SEEDS, 3, 8), side(8), side(8)
    x[1, 0, 2] = bad
    found = grown.find(x)
    assert not found.coordinates[1, 0].isfinite().any()
    assert error(grown) <= 1e-12
    x[1, 0] = 0.0
    other = clean.find(x)
    agree(grown.basis, clean.basis, 1e-14)
    agree(found.coordinates[[0, 2]], other.coordinates[[0, 2]], 1e-14)
    agree(found.coordinates[1, 1:], other.coordinates[1, 1:], 1e-14)


def test_nothing_finite_at_all_still_has_a_coordinate() -> None:
    """Without one the product with it would be an empty sum: zero."""
    grown = side(4)
    found = grown.find(torch.full((SEEDS, 2, 4), torch.nan, dtype=torch.float64, device=CPU))
    assert found.coordinates.shape == (SEEDS, 2, 1)
    assert found.coordinates.isnan().all()
    assert not found.real.any()
    assert not grown.image.any()
    assert side(4).find(torch.zeros(SEEDS, 2, 4, dtype=torch.float64, device=CPU)).coordinates.shape == (SEEDS, 2, 0)


def test_packing_drops_rows_that_no_seed_needs(normal: Normal, agree: Agree) -> None:
    grown, past = side(6), asked(6)
    new, uneven = ("fresh", 1), ("uneven", 1)
    for kinds in ([new, new], [uneven], [uneven], [new, new], [new]):
        grown.find(past.block(kinds))
        grown.image.copy_(normal(SEEDS, grown.rank, IMAGE))
    assert grown.rank == 7
    images, rows = grown.image.clone(), grown.basis.clone()
    x = past.block([("fresh", 1)])
    before = grown.coordinates(x)
    order = grown.pack()
    assert order.shape == (SEEDS, grown.rank) == (SEEDS, 6)
    for seed in range(SEEDS):
        agree(grown.basis[seed], rows[seed, order[seed]], 0.0)
        agree(grown.image[seed], images[seed, order[seed]], 0.0)
        real = grown.basis[seed].abs().amax(dim=1) > 0
        assert bool((real[:-1] >= real[1:]).all()), "zero rows come last"
        assert int(real.sum()) == int((rows[seed].abs().amax(dim=1) > 0).sum()), "no row is lost"
    agree(before @ rows, grown.coordinates(x) @ grown.basis, 1e-14)


def test_rows_without_values_fill_the_space_and_no_more() -> None:
    grown = side(10, device="meta")
    for expected in (4, 8, 10, 10):
        x = torch.empty((SEEDS, 4, 10), dtype=torch.float64, device=torch.device("meta"))
        assert grown.find(x).coordinates.shape == (SEEDS, 4, expected)
        assert grown.rank == expected


def test_padding_adds_zeros(normal: Normal, agree: Agree) -> None:
    matrix = normal(SEEDS, 2, 3)
    larger = padded(matrix, 4, 7)
    agree(larger[:, :2, :3], matrix, 0.0)
    assert larger.shape == (SEEDS, 4, 7)
    assert int(larger.count_nonzero()) == matrix.numel()
