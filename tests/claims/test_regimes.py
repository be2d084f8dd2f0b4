"""The claims about regimes: what is predicted of any table, the charts of theory, and what the experiment measures."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch

from tpbench.bench.atlas import REGIMES, THRESHOLD, Chart, measured_regimes
from tpbench.bench.claim import Config, Kind, Point, Row, Side, Verdict
from tpbench.bench.sweep import Selection
from tpbench.claims import CLAIMS
from tpbench.claims.config import config, table_of
from tpbench.claims.experiments.regimes import output_over_signs, run
from tpbench.claims.experiments.setup import setup
from tpbench.claims.regime_atlas import atlas, hull
from tpbench.claims.regimes import LEAST, NAMES, RESOLUTION, SETTINGS, chosen, decided, exponents, resolved, tables
from tpbench.claims.unique_maximal import slowest
from tpbench.networks.mlp import Mlp, forward, initialise
from tpbench.parametrization import NAMED, Parametrization, Regime, analyse, regime
from tpbench.parametrization.sample import MUP, SLICES, coordinates, sample, table
from tpbench.pipeline import judge_job, plan

SHARED = ("abc-classification", "dichotomy", "unique-maximal")
ALL = {name: found for name, (found, _) in tables().items()}


def depth_of(found: Parametrization) -> int:
    return 1 if found.hidden is None else 2


def configured(found: Parametrization, **changes: object) -> Config:
    return config(**{**SETTINGS, "parametrization": found.as_config(), "depth": depth_of(found), **changes})


def test_the_words_and_the_threshold_of_bench_are_those_of_theory() -> None:
    assert set(REGIMES) == set(Regime)
    assert THRESHOLD == RESOLUTION == LEAST / 2


def test_a_table_has_the_same_runs_under_every_claim() -> None:
    for profile in ("smoke", "nightly"):
        jobs = plan(Selection(SHARED, profile, "cpu"))
        digests = [{point.digest for point in job.points} for job in jobs]
        assert digests[0] >= digests[1] | digests[2]


def test_the_nightly_sweep_has_at_least_200_tables_and_the_known_ones() -> None:
    swept = CLAIMS["abc-classification"].sweeps["nightly"].parametrizations
    assert len(swept) >= 200
    assert set(swept) >= set(NAMES)
    smoke = {
        regime(ALL[name], depth_of(ALL[name])) for name in CLAIMS["abc-classification"].sweeps["smoke"].parametrizations
    }
    assert smoke == set(Regime)


def test_predictions_say_what_the_regime_is() -> None:
    """Where every exponent is resolved, the predicted intervals alone lead back to the regime: no row is missing."""
    for found in ALL.values():
        predicted = {p.quantity: p for p in CLAIMS["abc-classification"].predict(configured(found))}
        named = regime(found, depth_of(found))
        stable = {"growth": Side.AT_MOST, "initial-size": Side.AT_LEAST}
        quantities = {
            Regime.TRIVIAL: {**stable, "output-change": Side.AT_MOST},
            Regime.KERNEL: {**stable, "output-change": Side.EQUAL, "activation-change": Side.AT_MOST},
            Regime.FEATURE_LEARNING: {**stable, "output-change": Side.EQUAL, "activation-change": Side.EQUAL},
        }
        sides = {quantity: p.side for quantity, p in predicted.items()}
        if named is Regime.UNSTABLE:
            grown = "growth" in sides and (sides["growth"], predicted["growth"].predicted) == (Side.AT_LEAST, 0.25)
            vanished = predicted["initial-size"].predicted == -0.25
            assert grown or vanished or not decided_by_theory(found)
        elif decided_by_theory(found):
            assert sides == quantities[named]


def decided_by_theory(found: Parametrization) -> bool:
    return all(resolved(power) for _, _, power in exponents(found, depth_of(found)))


def test_what_is_decided_by_quick_formulas_is_what_theory_decides() -> None:
    """The second road of the names in sweeps and of the tables that the faults spare."""
    for name, (found, point) in tables().items():
        unstable = regime(found, depth_of(found)) is Regime.UNSTABLE
        powers = [power for _, _, power in exponents(found, depth_of(found))]
        assert decided(point) == (max(map(abs, powers)) >= LEAST if unstable else decided_by_theory(found)), name


@pytest.mark.parametrize("name", SHARED)
def test_sweeps_name_exactly_the_tables_that_the_claim_takes(name: str) -> None:
    taken = set()
    for label, found in ALL.items():
        try:
            CLAIMS[name].predict(configured(found))
        except ValueError:
            continue
        taken.add(label)
    assert taken == set(CLAIMS[name].sweeps["nightly"].parametrizations)


def test_muP_is_the_only_one_whose_slowest_part_moves() -> None:  # noqa: N802
    maximal = {name for name, found in ALL.items() if analyse(found, depth_of(found)).maximal}
    assert maximal == {"mup", "mean-field", *chosen(lambda point: point == MUP)}
    stable = [found for found in ALL.values() if regime(found, depth_of(found)) is not Regime.UNSTABLE]
    assert {found.name for found in stable if slowest(found, depth_of(found)) == 0} == maximal


def test_without_what_the_readout_passes_on_muP_would_not_be_unique() -> None:  # noqa: N802
    """Planted: the updates of the layers alone are all Θ(1) with b3 > 1, too."""
    point = coordinates("0", "1/2", "5/4", "-1", "0", "1")
    assert analyse(table(point), 2).moved == (True, True, True)
    assert slowest(table(point), 2) == Fraction(-1, 4)


def test_spared_tables_are_those_of_which_the_larger_start_falsifies_nothing() -> None:
    claim = CLAIMS["abc-classification"]
    fault = {fault.name: fault for fault in claim.faults}["forgotten-root"]
    for name, found in ALL.items():
        sound = configured(found)
        planted = fault.changes(sound)
        before = {(p.quantity, p.predicted, p.side) for p in claim.predict(sound)}
        powers = {quantity: power for quantity, _, power in exponents(table_of(planted), planted["depth"])}
        holds = all(_holds(powers.get(quantity), predicted, side) for quantity, predicted, side in before)
        assert holds or name not in fault.spares, name
        assert not holds or name in fault.spares, name


def _holds(power: Fraction | None, predicted: float, side: Side) -> bool:
    """Return whether an exponent of theory, None for what theory does not say, is what was predicted."""
    if power is None:
        return False
    away = float(power) - predicted
    return {Side.AT_MOST: away <= RESOLUTION, Side.AT_LEAST: away >= -RESOLUTION}.get(side, abs(away) <= RESOLUTION)


def inside(chart: Chart, name: str, x: float, y: float) -> bool:
    """Return whether a point lies in the closed region of a regime, by the signs of its turns: the second road."""
    [corners] = [region.corners for region in chart.regions if region.regime == name] or [()]
    if not corners:
        return False
    if len(corners) < 3:
        first, last = (np.array([x, y]) - end for end in (corners[0], corners[-1]))
        return bool(abs(first[0] * last[1] - first[1] * last[0]) < 1e-9 and first @ last <= 1e-9)
    turns = [
        (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) for a, b in itertools.pairwise([*corners, corners[0]])
    ]
    return min(turns) >= -1e-9


@pytest.mark.parametrize("number", range(len(SLICES)))
def test_the_drawn_regions_are_the_regimes_of_theory(number: int) -> None:
    """On a lattice finer than that which the polygons are made of: the topmost region is the regime."""
    chart, part = atlas({}).charts[number], SLICES[number]
    left, right, bottom, top = (Fraction(end) for end in chart.box)
    step = Fraction(1, 16)
    for i, j in itertools.product(range(1, int((right - left) / step), 3), range(1, int((top - bottom) / step), 2)):
        x, y = left + i * step, bottom + j * step
        topmost = [name for name in REGIMES[1:] if inside(chart, name, float(x), float(y))]
        assert regime(table(part.point(x, y)), 2) == (topmost[-1] if topmost else Regime.UNSTABLE)


def test_the_charts_mark_the_named_tables_and_place_any_that_lie_on_them() -> None:
    placed = atlas({name: configured(NAMED[name]) for name in NAMES})
    through, edge, _ = placed.charts
    assert through.marks == {"SP, rate η": (0, 0), "NTP": (0, 1), "muP, mean field": (1, 1)}
    assert through.spots["mean-field"] == through.spots["mup"] == (1, 1)
    assert set(edge.spots) == {"ntp", "mup", "mean-field"}
    assert placed.predicted["sp"] == "unstable"
    assert placed.predicted["mean-field"] == "feature learning"
    assert placed.near == frozenset()


def test_hulls_of_few_points_and_of_points_in_line() -> None:
    zero, one = Fraction(0), Fraction(1)
    assert hull([(zero, one)]) == [(zero, one)]
    assert hull([(zero, zero), (2 * one, 2 * one), (one, one)]) == [(zero, zero), (2 * one, 2 * one)]
    square = [(x, y) for x in (zero, one, 2 * one) for y in (zero, one, 2 * one)]
    assert hull(square) == [(zero, zero), (2 * one, zero), (2 * one, 2 * one), (zero, 2 * one)]


def test_the_output_over_signs_is_the_average_over_all_signs() -> None:
    """The second road: a read-out of five weights has 32 choices of signs, and all of them are run."""
    mlp = Mlp(inputs=3, outputs=2, width=5, depth=2, activation="gelu")
    device = torch.device("cpu")
    ensemble = initialise(mlp, NAMED["ntp"], (0, 1), device=device, dtype=torch.float64)
    inputs = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator(device).manual_seed(0))
    found = output_over_signs(ensemble, forward(ensemble, inputs))
    weights = ensemble.layers[-1].weights
    drawn = weights.current.clone()  # type: ignore[attr-defined]
    squares = []
    for signs in itertools.product((-1.0, 1.0), repeat=5):
        weights.current.copy_(drawn * torch.tensor(signs, dtype=torch.float64, device=device))  # type: ignore[attr-defined]
        squares.append(forward(ensemble, inputs).output.square().mean(dim=(1, 2)))
    torch.testing.assert_close(found, torch.stack(squares).mean(dim=0).sqrt())


def rows_of(found: Parametrization, sizes: Mapping[int, int], **changes: object) -> pd.DataFrame:
    c = configured(found, weights="lazy", dtype="float64", **changes)
    frames = []
    for width, seeds in sizes.items():
        rows = list(run(Point("regimes", found.name, width, tuple(range(seeds)), c, "test")))
        frames.append(pd.DataFrame(rows, columns=list(Row._fields)).assign(parametrization=found.name, width=width))
    return pd.concat(frames, ignore_index=True)


def test_a_shift_changes_no_row() -> None:
    """Multipliers are taken back in the initialisation and the rate: one network, written differently."""
    name = next(name for name in sample() if name.endswith("+a") and tables()[name][1].stable)
    shifted, plain = sample()[name], table(tables()[name][1])
    one, other = (rows_of(each, {64: 2}) for each in (shifted, plain))
    np.testing.assert_allclose(one["value"], other["value"], rtol=1e-9)
    wrong = rows_of(_unshifted_rate(shifted), {64: 2})
    assert not np.allclose(wrong["value"], other["value"], rtol=1e-3)


def _unshifted_rate(found: Parametrization) -> Parametrization:
    """Return the table with a shift that forgets to count twice in a rate: planted."""
    output = found.output
    return replace(found, output=replace(output, c=output.c + output.a + 1))


def test_parts_are_those_of_the_last_step_and_the_layers_are_all_there() -> None:
    rows = rows_of(NAMED["mup"], {32: 3})
    counted = rows.groupby(["quantity", "step"])["index"].unique().map(list).to_dict()
    assert counted == {
        ("initial-size", 0): [1, 2],
        ("growth", 3): [1, 2, 3, 4, 5, 6, 7],
        ("layer-update", 3): [1, 2, 3, 4],
        ("activation-change", 3): [1, 2],
        ("output-change", 3): [-1],
        ("kernel-movement", 3): [-1],
    }
    values = {
        name: part.pivot(index="seed", columns="index", values="value") for name, part in rows.groupby("quantity")
    }
    np.testing.assert_array_equal(values["growth"].iloc[:, 3:], values["layer-update"])
    np.testing.assert_array_equal(values["growth"].iloc[:, :2], values["initial-size"])


@pytest.mark.parametrize(
    ("point", "named"),
    [
        (coordinates("0", "1/2", "1/2", "0", "3/4", "1"), "unstable"),
        (coordinates("1/4", "1/2", "1", "-1", "0", "1"), "unstable"),
        (coordinates("0", "1/2", "3/4", "0", "1", "5/4"), "trivial"),
        (coordinates("0", "1/2", "3/4", "-1/2", "1/2", "1"), "kernel"),
        (coordinates("0", "1/2", "5/4", "-1", "1/4", "1"), "feature learning"),
    ],
    ids=["unstable", "vanishing start", "trivial", "kernel", "feature learning"],
)
def test_measured_exponents_tell_the_regime_of_a_table(point: object, named: str) -> None:
    assert isinstance(point, type(MUP))
    found = table(point)
    rows = rows_of(found, {256: 8, 1024: 6, 4096: 3, 16384: 2})
    assert regime(found, 2) == named
    assert measured_regimes((found.name,), (), rows) == {found.name: named}


def test_a_table_of_the_users_is_classified_and_compared_with_theory() -> None:
    """A user's table under its own name: judged, placed on the charts, and refused where a claim says nothing of it."""
    mine = {
        "mine": {**NAMED["ntp"].as_config(), "name": "mine"},
        "unstable": {**NAMED["sp"].as_config(), "name": "unstable"},
    }
    jobs = plan(Selection(SHARED, "smoke", "cpu", tables=mine, widths=(64, 128, 256), seeds=2, weights="lazy"))
    classification, dichotomy, maximal = jobs
    assert {p.parametrization for p in classification.predictions} == {"mine", "unstable"}
    assert (
        {p.parametrization for p in dichotomy.predictions}
        == {p.parametrization for p in maximal.predictions}
        == {"mine"}
    )
    assert "'unstable' is not stable" in dichotomy.note
    assert classification.atlas is not None
    assert classification.atlas().predicted == {"mine": "kernel", "unstable": "unstable"}
    assert classification.atlas().charts[0].spots == {"mine": (0, 1), "unstable": (0, 0)}
    frames = []
    for point in classification.points:
        rows = pd.DataFrame(list(run(point)), columns=list(Row._fields))
        frames.append(rows.assign(parametrization=point.parametrization, width=point.width))
    result = judge_job(classification, pd.concat(frames, ignore_index=True))
    assert result.verdict is not Verdict.REFUTED


def test_a_table_too_near_to_a_boundary_is_refused_with_its_exponent() -> None:
    near = table(coordinates("0", "1/2", "7/8", "-3/4", "1/4", "1"))
    with pytest.raises(ValueError, match=r"n\^\(-1/8\), which is too near to n\^0"):
        CLAIMS["dichotomy"].predict(configured(near))
    assert {p.quantity for p in CLAIMS["abc-classification"].predict(configured(near))} == {
        "initial-size",
        "growth",
        "output-change",
    }


def test_the_kernel_is_not_judged_where_two_powers_of_unlike_sign_mix() -> None:
    learning = table(coordinates("0", "1/2", "1", "-3/4", "0", "5/4"))
    [only] = CLAIMS["dichotomy"].predict(configured(learning))
    assert (only.quantity, only.kind) == ("activation-change", Kind.LARGEST)


def test_a_bias_of_the_output_is_refused() -> None:
    point = Point("regimes", "mup", 16, (0, 1), configured(NAMED["mup"], bias=True), "test")
    assert setup(point).mlp.bias
    with pytest.raises(AssertionError, match="bias"):
        list(run(point))
