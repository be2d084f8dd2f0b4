"""Random streams: normal, one a seed and name, and the same in whatever ensemble the seed is drawn."""

from __future__ import annotations

import zlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tpbench.weights.gaussian import generator, standard_normal

CPU = torch.device("cpu")


def draw(seeds: list[int], stream: str, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return standard_normal(seeds, stream, shape, dtype=dtype, device=CPU)


@given(st.lists(st.integers(0, 2**64), min_size=1, max_size=5), st.sampled_from(["weight 1", "bias 1", ""]))
def test_a_seeds_numbers_do_not_depend_on_its_ensemble(seeds: list[int], stream: str) -> None:
    together = draw(seeds, stream, 3, 7)
    assert together.shape == (len(seeds), 3, 7)
    for row, seed in zip(together, seeds, strict=True):
        assert torch.equal(row, draw([seed], stream, 3, 7)[0])
    assert torch.equal(draw(seeds[::-1], stream, 3, 7), together.flip(0))


def test_nor_on_the_global_generator_which_they_leave_alone() -> None:
    before = torch.get_rng_state()
    one = draw([1], "weight 1", 5)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(draw([1], "weight 1", 5), one)


def test_the_numbers_are_standard_normal() -> None:
    sample = draw(list(range(8)), "weight 2", 1 << 16).flatten()
    size = sample.numel()
    # The moments of a standard normal and the variances of z, z^2, z^3, z^4: four standard errors.
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(float((sample**power).mean()) - moment) < 4 * (variance / size) ** 0.5, power
    quantiles = torch.quantile(sample[: 1 << 18], torch.tensor([0.1587, 0.8413], dtype=torch.float64, device=CPU))
    torch.testing.assert_close(quantiles, quantiles.new_tensor([-1, 1]), atol=0.01, rtol=0)


def test_streams_are_independent() -> None:
    """Correlations of values and of squares, at the same place and one apart: 4.5 standard errors, over 800 pairs."""
    length = 1 << 16
    names = ("weight 1", "weight 2", "weight 3", "bias 1")
    streams = torch.cat([draw([0, 1, 2, 1000], name, length) for name in names])
    for lag in (0, 1):
        for values, variance in ((streams, 1.0), ((streams**2 - 1) / 2**0.5, 1.0)):
            correlation = values[:, : length - lag] @ values[:, lag:].T / (length - lag)
            if lag == 0:
                correlation.fill_diagonal_(0)
            assert float(correlation.abs().max()) < 4.5 * (variance / (length - lag)) ** 0.5


def test_no_two_streams_start_alike() -> None:
    names = [f"{kind} {layer}" for kind in ("weight", "bias") for layer in range(1, 5)]
    states = {generator(seed, name).initial_seed() for seed in range(500) for name in names}
    assert len(states) == 500 * len(names)


def test_seed_and_name_are_not_mixed_into_one_number() -> None:
    """Seeds chosen so that a sum or an exclusive or of the seed and the name's checksum would coincide."""
    one, two = (zlib.crc32(name.encode()) for name in ("weight 1", "weight 2"))
    assert generator(one, "weight 2").initial_seed() != generator(two, "weight 1").initial_seed()


def test_single_precision_is_a_stream_too() -> None:
    sample = draw([3], "weight 1", 1000, dtype=torch.float32)
    assert sample.dtype == torch.float32
    assert torch.equal(sample, draw([3, 4], "weight 1", 1000, dtype=torch.float32)[:1])


def test_other_devices_get_the_same_shape_and_type() -> None:
    sample = standard_normal([1, 2], "weight 1", (3, 4), dtype=torch.float32, device=torch.device("meta"))
    assert (sample.device.type, sample.shape, sample.dtype) == ("meta", (2, 3, 4), torch.float32)


@pytest.mark.parametrize("seed", [-1, -(2**40)])
def test_negative_seeds_are_errors(seed: int) -> None:
    with pytest.raises(ValueError, match=f"whole number from 0, got {seed}"):
        draw([0, seed], "weight 1", 3)
