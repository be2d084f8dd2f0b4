"""Sweeps with dense and lazy widths: which networks are run, that their rows pool, and what a selection takes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.bench.claim import PROFILES, Claim, Config, Fault, Kind, Point, Prediction, Row, Sweep
from tpbench.bench.estimate import estimate, samples
from tpbench.bench.sweep import LAZY_FIRST_SEED, Selection, check_weights, chosen_sweep, configurations, points
from tpbench.bench.table import join, tabulate

TABLES: dict[str, Config] = {"mup": {"a": 1}}
SWEEP = Sweep(
    parametrizations=("mup",),
    widths=(64, 128, 1024),
    seeds=(10, 7, 3),
    config={"rate": 0.5, "weights": "dense", "dtype": "float32"},
    block=4,
    lazy={1024: 6, 2**16: 20, 2**18: 5, 2**20: 2},
)
DENSE_ONLY = dataclasses.replace(SWEEP, lazy={})
LAZY_ONLY = dataclasses.replace(SWEEP, widths=(), seeds=())


def claim_of(sweep: Sweep, name: str = "c", **others: Sweep) -> Claim:
    """A claim with one sweep at every profile but those in ``others``."""
    sweeps = {**dict.fromkeys(PROFILES, sweep), **others}
    return Claim(name, "statement", "source", "rival", "training", sweeps, lambda config: (), (), ())


def selected(**changes: Any) -> Selection:
    return dataclasses.replace(Selection(("c",), "smoke", "cpu"), **changes)


def runs(sweep: Sweep = SWEEP, fault: Fault | None = None, **changes: Any) -> list[Point]:
    claim, selection = claim_of(sweep), selected(**changes)
    return points(claim, selection, configurations(claim, selection, TABLES), code="abc", fault=fault)


def kind(point: Point) -> str:
    return str(point.config["weights"])


@given(st.dictionaries(st.integers(1, 2**21), st.integers(1, 60), min_size=3, max_size=6), st.integers(1, 35))
def test_lazy_points_cover_every_seed_once_in_runs_that_fit(lazy: dict[int, int], block: int) -> None:
    found = runs(dataclasses.replace(SWEEP, lazy=lazy, block=block), weights="lazy")
    for width, count in lazy.items():
        blocks = [point.seeds for point in found if point.width == width]
        assert [seed for each in blocks for seed in each] == list(range(LAZY_FIRST_SEED, LAZY_FIRST_SEED + count))
        assert all(len(each) == 1 or len(each) * width <= 2**20 for each in blocks)
        assert max(map(len, blocks)) <= block
    assert len({point.digest for point in found}) == len(found)


def test_lazy_points_differ_from_dense_ones_in_weights_and_dtype_alone() -> None:
    base = configurations(claim_of(SWEEP), selected(), TABLES)["mup"]
    assert {kind(point) for point in runs()} == {"dense", "lazy"}
    for point in runs():
        lazy = {"weights": "lazy", "dtype": "float64"} if kind(point) == "lazy" else {}
        assert point.config == {**base, **lazy}
        assert (min(point.seeds) >= LAZY_FIRST_SEED) == (kind(point) == "lazy")
    assert base["dtype"] == "float32"  # nothing was changed in place


def test_a_configuration_that_knows_no_weights_stays_as_it_is() -> None:
    old = dataclasses.replace(SWEEP, config={"rate": 0.5})
    dense = [point for point in runs(old) if min(point.seeds) < LAZY_FIRST_SEED]
    assert dense
    assert all("weights" not in point.config for point in dense)
    assert [point.digest for point in dense] == [point.digest for point in runs(dataclasses.replace(old, lazy={}))]


def test_dense_points_are_dense_whatever_the_configuration_says() -> None:
    odd = dataclasses.replace(SWEEP, config={**SWEEP.config, "weights": "lazy"})
    assert runs(odd) == runs()


def test_the_widest_runs_come_last_and_dense_ones_before_lazy_ones() -> None:
    order = [(point.width, kind(point)) for point in runs()]
    assert order == sorted(order)
    assert order[-1] == (2**20, "lazy")


def test_a_fault_is_planted_in_lazy_runs_and_knows_that_they_are() -> None:
    seen = []

    def faster(config: Config) -> Config:
        seen.append(config["weights"])
        return {**config, "rate": 1.0}

    sound, faulty = runs(), runs(fault=Fault("faster", "the rate is doubled", faster))
    assert [dataclasses.replace(p, config={**p.config, "rate": 1.0}) for p in sound] == faulty
    assert set(seen) == {"dense", "lazy"}


def rows_of(found: list[Point]) -> pd.DataFrame:
    """Rows of sizes n^(1/2) times a standard normal number of each network."""
    return join([tabulate(point, [Row("size", size(point.width, s), seed=s) for s in point.seeds]) for point in found])


def size(width: int, seed: int) -> float:
    return float(width**0.5 * np.random.default_rng([seed, width]).standard_normal())


def test_rows_of_a_width_with_both_weights_pool() -> None:
    prediction = Prediction("mup", "size", Kind.EXPONENT, 0.5, 0.0, 0.1)
    rows = rows_of(runs())
    counts = {sample.width: len(sample.values) for sample in samples(prediction, rows)}
    assert counts == {64: 10, 128: 7, 1024: 3 + 6, 2**16: 20, 2**18: 5, 2**20: 2}
    found = estimate(prediction, rows)
    assert found.widths == tuple(counts)
    assert found.low < 0.5 < found.high


def test_lazy_networks_with_the_seeds_of_dense_ones_would_be_noticed() -> None:
    """The planted mistake: both kinds count from 0."""
    from_zero = [
        dataclasses.replace(p, seeds=tuple(s % LAZY_FIRST_SEED for s in p.seeds)) if kind(p) == "lazy" else p
        for p in runs()
    ]
    with pytest.raises(ValueError, match="two values for one width, seed and index"):
        samples(Prediction("mup", "size", Kind.EXPONENT, 0.5, 0.0, 0.1), rows_of(from_zero))


@pytest.mark.parametrize(
    ("weights", "dense", "lazy"),
    [(None, SWEEP.sizes("dense"), SWEEP.lazy), ("dense", SWEEP.sizes("dense"), {}), ("lazy", {}, SWEEP.lazy)],
)
def test_a_selection_takes_both_kinds_or_one(weights: str | None, dense: Config, lazy: Config) -> None:
    found = chosen_sweep(claim_of(SWEEP), selected(weights=weights))
    assert (found.sizes("dense"), found.sizes("lazy")) == (dense, lazy)


@pytest.mark.parametrize("weights", [None, "dense", "lazy"])
def test_chosen_widths_are_dense_unless_lazy_ones_are_asked_for(weights: str | None) -> None:
    """The seeds are those of the nearest width of the same kind."""
    found = chosen_sweep(claim_of(SWEEP), selected(weights=weights, widths=(100, 2**17, 2**11)))
    expected = {100: 6, 2**11: 6, 2**17: 20} if weights == "lazy" else {100: 7, 2**11: 3, 2**17: 3}
    assert found.sizes(weights or "dense") == expected
    assert not found.sizes("dense" if weights == "lazy" else "lazy")


def test_chosen_seeds_hold_for_both_kinds() -> None:
    found = chosen_sweep(claim_of(SWEEP), selected(seeds=5))
    assert set(found.seeds) == set(found.lazy.values()) == {5}


def test_three_widths_of_both_kinds_together_are_enough() -> None:
    sweep = dataclasses.replace(SWEEP, widths=(64, 128), seeds=(4, 4), lazy={128: 4, 4096: 2})
    assert chosen_sweep(claim_of(sweep), selected()).lazy == {128: 4, 4096: 2}
    with pytest.raises(ValueError, match="at least 3 different widths, got 2 "):
        chosen_sweep(claim_of(sweep), selected(weights="lazy"))


@pytest.mark.parametrize(("weights", "without", "having"), [("lazy", DENSE_ONLY, SWEEP), ("dense", LAZY_ONLY, SWEEP)])
def test_claims_without_such_widths_are_named(weights: str, without: Sweep, having: Sweep) -> None:
    claims = [claim_of(without, "one"), claim_of(having, "two"), claim_of(without, "three")]
    with pytest.raises(
        ValueError, match=f"no {weights} widths at the profile 'smoke' in one, three: name only two, or"
    ):
        check_weights(claims, selected(weights=weights))
    with pytest.raises(ValueError, match=f"no {weights} widths at any profile in one: choose other claims, or"):
        chosen_sweep(claims[0], selected(weights=weights, widths=(64, 128, 256)))
    check_weights(claims, selected())
    check_weights(claims[1:2], selected(weights=weights))


def test_chosen_widths_may_be_lazy_where_another_profile_has_lazy_ones() -> None:
    claim = claim_of(DENSE_ONLY, full=SWEEP)
    asked = selected(weights="lazy", widths=(1024, 2048, 4096))
    assert chosen_sweep(claim, asked).lazy == {1024: 6, 2048: 6, 4096: 6}
    with pytest.raises(ValueError, match="no lazy widths at the profile 'smoke' in c"):
        chosen_sweep(claim, dataclasses.replace(asked, widths=()))


def test_unknown_weights_are_an_error() -> None:
    with pytest.raises(ValueError, match="weights are dense or lazy, got 'sparse'"):
        chosen_sweep(claim_of(SWEEP), selected(weights="sparse"))
