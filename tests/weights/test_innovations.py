"""Innovation sources: normal, independent over seeds, axes and dimensions, and always the same for a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import accumulate, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from tpbench.weights import innovations
from tpbench.weights.innovations import Innovations, MonteCarlo, Sobol
from tpbench.weights.sobol import SobolAxis

CPU = torch.device("cpu")
CHUNK = innovations._CHUNK
SOURCES = (MonteCarlo, Sobol)
Factory = Callable[[list[int]], Innovations]
each_source = pytest.mark.parametrize("source", SOURCES)


def draw(
    source: Innovations, axis: str, count: int, size: int, dtype: torch.dtype = torch.float64, out: Tensor | None = None
) -> Tensor:
    return source.draw(axis, count, size, dtype=dtype, device=CPU, out=out)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


# Reproducibility


@each_source
@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.sampled_from([1, 2, 7, 64, 100]))
def test_many_draws_are_one_draw(source: Factory, counts: list[int], size: int) -> None:
    together = draw(source([5, 6]), "layer 1", sum(counts), size)
    little = source([5, 6])
    for begin, end in pairwise([0, *accumulate(counts)]):
        assert little.drawn("layer 1") == begin
        assert torch.equal(draw(little, "layer 1", end - begin, size), together[:, begin:end])
    assert little.drawn("layer 1") == sum(counts)


@each_source
@pytest.mark.parametrize("size", [8, 1000, CHUNK, CHUNK + 3])
def test_a_seeds_vectors_do_not_depend_on_its_companions(source: Factory, size: int) -> None:
    seeds = [4, 0, 2**40, 9, 2**64]
    together = draw(source(seeds), "layer 1", 3, size)
    assert together.shape == (5, 3, size)
    for row, seed in zip(together, seeds, strict=True):
        assert torch.equal(row, draw(source([seed]), "layer 1", 3, size)[0])
    assert torch.equal(draw(source(seeds[::-1]), "layer 1", 3, size), together.flip(0))


@each_source
def test_nor_on_other_axes_or_the_global_generators(source: Factory) -> None:
    alone = draw(source([3]), "layer 1", 4, 10)
    np_state, state = str(np.random.get_state()), torch.get_rng_state()  # noqa: NPY002
    busy = source([3])
    parts = []
    for _ in range(4):
        parts.append(draw(busy, "layer 1", 1, 10))
        draw(busy, "layer 2", 3, 20)
    assert torch.equal(torch.cat(parts, 1), alone)
    assert busy.drawn("layer 2") == 12
    assert (str(np.random.get_state()), torch.equal(torch.get_rng_state(), state)) == (np_state, True)  # noqa: NPY002


@each_source
@pytest.mark.parametrize("shape", [(1, 2, 5 * CHUNK + 3), (40, 2, CHUNK // 8)])
def test_the_numbers_do_not_depend_on_the_number_of_threads(
    source: Factory, shape: tuple[int, int, int], threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[int] = []

    class Spy(ThreadPoolExecutor):
        def __init__(self, workers: int) -> None:
            pools.append(workers)
            super().__init__(workers)

    monkeypatch.setattr(innovations, "ThreadPoolExecutor", Spy)
    seeds, count, size = shape
    drawn = []
    for number in (1, 2, 3):
        threads(number)
        source_now = source(list(range(seeds)))
        drawn.append(torch.cat([draw(source_now, "layer 1", count, size) for _ in range(2)], 1))
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])
    assert pools == ([2, 2, 3, 3] if source is MonteCarlo else []), "threads were to draw, or the test proves nothing"


# Where the numbers go


@each_source
@pytest.mark.parametrize("size", [6, CHUNK + 5])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_out_receives_the_vectors_however_it_lies_in_memory(source: Factory, size: int, dtype: torch.dtype) -> None:
    expected = draw(source([1, 2]), "layer 1", 3, size).to(dtype)
    assert torch.equal(draw(source([1, 2]), "layer 1", 3, size, dtype), expected), "single precision is rounded double"
    views: dict[str, Callable[[Tensor], Tensor]] = {
        "contiguous": lambda b: b.view(-1)[: 6 * size].view(2, 3, size),
        "rows of a larger basis": lambda b: b.view(2, 8, -1)[:, 2:5, :size],
        "every other row": lambda b: b.view(2, 8, -1)[:, 1:7:2, :size],
        "every other neuron": lambda b: b.view(2, 8, -1)[:, :3, 1 : 2 * size : 2],
        "neurons first": lambda b: b.view(2, -1, 8)[:, :size, 2:5].mT,
        "seeds last": lambda b: b.view(8, -1, 2)[2:5, :size].permute(2, 0, 1),
    }
    for name, view in views.items():
        base = torch.full((2 * 8 * 2 * size,), torch.nan, dtype=dtype, device=CPU)
        out = view(base)
        assert draw(source([1, 2]), "layer 1", 3, size, dtype, out) is out
        assert torch.equal(out, expected), name
        assert int(base.isnan().sum()) == base.numel() - out.numel(), f"{name}: others were written"


@each_source
def test_meta_has_a_shape_and_counts(source: type[Sobol], monkeypatch: pytest.MonkeyPatch) -> None:
    meta = torch.device("meta")
    monkeypatch.setattr(source, "_fill_", lambda *_: pytest.fail("nothing is to be drawn"))
    drawing = source([1, 2])
    vectors = drawing.draw("layer 1", 3, 1 << 40, dtype=torch.float32, device=meta)
    assert (vectors.device.type, vectors.shape, vectors.dtype) == ("meta", (2, 3, 1 << 40), torch.float32)
    drawing.draw("layer 1", 2, 1 << 40, dtype=torch.float32, device=meta, out=vectors[:, :2])
    assert drawing.drawn("layer 1") == 5
    with pytest.raises(ValueError, match="another size is another axis"):
        drawing.draw("layer 1", 1, 7, dtype=torch.float32, device=meta)


# Refusals


@each_source
def test_an_axis_has_one_size(source: Factory) -> None:
    drawing = source([1])
    draw(drawing, "layer 1", 2, 8)
    with pytest.raises(ValueError, match="axis 'layer 1' has 8 neurons and was asked for 9: another size is another"):
        draw(drawing, "layer 1", 2, 9)
    assert drawing.drawn("layer 1") == 2
    draw(drawing, "layer 2", 2, 9)
    untouched = draw(source([1]), "layer 1", 3, 8)
    assert torch.equal(draw(drawing, "layer 1", 1, 8), untouched[:, 2:])


@each_source
def test_an_out_that_does_not_fit_is_refused_and_nothing_is_drawn(source: Factory) -> None:
    drawing = source([1])
    blank = torch.zeros((1, 2, 8), dtype=torch.float64, device=CPU)
    for out in (blank[:, :1], blank[0], blank.float(), blank.to("meta")):
        with pytest.raises(ValueError, match=r"gives \(1, 2, 8\), torch.float64 on cpu, but `out` is \("):
            draw(drawing, "layer 1", 2, 8, out=out)
    assert drawing.drawn("layer 1") == 0
    assert not blank.any()


@each_source
@pytest.mark.parametrize(("count", "size"), [(-1, 8), (1, 0), (1, -3)])
def test_impossible_shapes_are_refused(source: Factory, count: int, size: int) -> None:
    with pytest.raises(ValueError, match=f"asked for {count} dimensions of {size} neurons"):
        draw(source([1]), "layer 1", count, size)


@each_source
def test_seeds_are_whole_numbers_from_zero(source: Factory) -> None:
    with pytest.raises(ValueError, match="whole number from 0, got -2"):
        source([3, -2])
    with pytest.raises(ValueError, match="at least one seed"):
        source([])
    assert source(range(3)).seeds == (0, 1, 2)


# Law


def test_monte_carlo_is_normal_in_all_chunks() -> None:
    z = draw(MonteCarlo([0, 1]), "layer 1", 2, 3 * CHUNK + 100)
    for part in (z[..., :CHUNK], z[..., CHUNK : 2 * CHUNK], z[..., 3 * CHUNK :]):
        assert stats.kstest(part.flatten().numpy(), "norm").pvalue > 1e-4
    # The moments of a standard normal and the variances of z, z^2, z^3, z^4: four and a half standard errors.
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(float((z**power).mean()) - moment) < 4.5 * (variance / z.numel()) ** 0.5, power


def worst_correlation(streams: Tensor, lag: int = 0) -> float:
    """The largest correlation between rows (``lag`` columns apart), of values and of squares, in standard errors."""
    length = streams.shape[1] - lag
    worst = 0.0
    for values in (streams, (streams**2 - 1) / 2**0.5):
        correlation = values[:, :length] @ values[:, lag:].mT / length
        worst = max(worst, float((correlation.fill_diagonal_(0) if lag == 0 else correlation).abs().max()))
    return worst * length**0.5


def dependence(source: Factory, seeds: int = 4000) -> float:
    """How much any two of seed, axis and dimension have to do with each other, in standard errors.

    A row is one neuron's number in one axis and dimension, a column a seed. Neurons of one Sobol' vector depend on each
    other, by design: thus the same neuron of all axes, or a different one of each.
    """
    drawing = source(list(range(seeds)))
    vectors = [draw(drawing, axis, 3, 8) for axis in ("layer 1", "layer 2", "layer 12")]
    rows = [
        torch.cat([vector[:, :, (neuron + apart * place) % 8] for place, vector in enumerate(vectors)], 1).T
        for neuron in (0, 5)
        for apart in (0, 1)
    ]
    return max(worst_correlation(one, lag) for one in rows for lag in (0, 1))


class SharedScramble(Sobol):
    """Planted fault: every axis has the scrambles of one."""

    def _fill_(self, axis: str, first: int, out: Tensor) -> None:
        self._points.setdefault(axis, SobolAxis(self.seeds, "layer 1"))
        super()._fill_(axis, first, out)


class SharedStream(MonteCarlo):
    """Planted fault: every axis starts the same streams."""

    def _fill_(self, axis: str, first: int, out: Tensor) -> None:
        own = MonteCarlo(self.seeds)
        out.copy_(draw(own, "layer 1", first + out.shape[1], out.shape[2])[:, first:])


FAULTS: dict[str, Factory] = {
    "one scramble for all axes": SharedScramble,
    "one stream for all axes": SharedStream,
    "two seeds alike": lambda seeds: Sobol([seed // 2 for seed in seeds]),
    "one stream for two seeds": lambda seeds: MonteCarlo([seed // 2 for seed in seeds]),
}


@each_source
def test_seeds_axes_and_dimensions_are_independent(source: Factory) -> None:
    """Over some 900 correlations."""
    assert dependence(source) < 5


@pytest.mark.parametrize("fault", FAULTS)
def test_shared_randomness_is_noticed(fault: str) -> None:
    assert dependence(FAULTS[fault]) > 20


def test_the_chunks_of_a_monte_carlo_vector_are_independent() -> None:
    z = draw(MonteCarlo([0, 1]), "layer 1", 2, 4 * CHUNK)
    assert worst_correlation(z.view(16, CHUNK)) < 4.5
    assert worst_correlation(z.view(16, CHUNK), lag=1) < 4.5
    assert worst_correlation(torch.cat([z, z]).view(32, CHUNK)) > 20


def test_sobol_draws_the_points_of_its_axis() -> None:
    z = draw(Sobol([3, 4], period=2), "layer 1", 5, 16)
    expected = torch.empty_like(z)
    SobolAxis([3, 4], "layer 1", period=2).normals_(0, expected)
    assert torch.equal(z, expected)
    assert not torch.equal(z, draw(Sobol([3, 4]), "layer 1", 5, 16))


# What Sobol' points are for

# Smooth functions of three Gaussians, with their expectations: moments by quadrature, the cosine in closed form.
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
TANH2 = float(WEIGHTS @ np.tanh(NODES) ** 2 / WEIGHTS.sum())
INTEGRANDS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "tanh(z)^2": (lambda z: torch.tanh(z[:, 2]) ** 2, TANH2),
    "cos(z + z' / 2 - z'')": (lambda z: torch.cos(z[:, 0] + z[:, 1] / 2 - z[:, 2]), float(np.exp(-2.25 / 2))),
    "tanh(z)^2 + z' z''": (lambda z: torch.tanh(z[:, 0]) ** 2 + z[:, 1] * z[:, 2], TANH2),
}


def averages(source: Factory, size: int, integrand: Callable[[Tensor], Tensor], seeds: int = 200) -> Tensor:
    return integrand(draw(source(list(range(seeds))), "layer 1", 3, size)).mean(1)


@pytest.mark.parametrize("source", [*SOURCES, partial(Sobol, period=1), partial(Sobol, period=2)])
@pytest.mark.parametrize("name", INTEGRANDS)
@pytest.mark.parametrize("size", [1, 24, 256, 1000])
def test_averages_have_no_bias(source: Factory, name: str, size: int) -> None:
    integrand, expected = INTEGRANDS[name]
    found = averages(source, size, integrand)
    assert abs(float(found.mean()) - expected) < 4 * float(found.std()) / len(found) ** 0.5


@pytest.mark.parametrize("name", INTEGRANDS)
def test_errors_fall_faster_than_with_independent_draws(name: str) -> None:
    """Root mean square over scrambles: independent draws fall by 8 from 2^7 to 2^13 points."""
    integrand, expected = INTEGRANDS[name]

    def error(source: Factory, size: int) -> float:
        return float((averages(source, size, integrand, seeds=64) - expected).square().mean().sqrt())

    assert error(Sobol, 1 << 7) / error(Sobol, 1 << 13) > 20
    assert error(MonteCarlo, 1 << 13) / error(Sobol, 1 << 13) > 20
    assert 5 < error(MonteCarlo, 1 << 7) / error(MonteCarlo, 1 << 13) < 13
    assert error(MonteCarlo, 3000) / error(Sobol, 3000) > 4, "sizes that are no power of two gain too"


@pytest.mark.parametrize("source", [MonteCarlo, Sobol])
def test_a_number_is_one_seed(source: Callable[[int | list[int]], Innovations]) -> None:
    ask = {"dtype": torch.float64, "device": torch.device("cpu")}
    assert torch.equal(source(3).draw("a", 2, 16, **ask), source([3]).draw("a", 2, 16, **ask))  # type: ignore[arg-type]
