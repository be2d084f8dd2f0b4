"""From a claim and a selection to runs: widths, seeds, tables, blocks, faults."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.bench.claim import PROFILES, Claim, Config, Fault, Sweep
from tpbench.bench.sweep import (
    Selection,
    check_sizes,
    chosen_sweep,
    configurations,
    label,
    parametrization_of,
    points,
)

TABLES: dict[str, Config] = {"mup": {"a": 1}, "ntp": {"a": 2}}
SWEEP = Sweep(
    parametrizations=("mup", "ntp"),
    widths=(64, 128, 256),
    seeds=(10, 7, 3),
    config={"rate": 0.5, "depth": 2},
    block=4,
)
FAULT = Fault("faster", "the rate is doubled", lambda config: {**config, "rate": 2 * config["rate"]})
CLAIM = Claim(
    "c", "statement", "source", "rival", "training", dict.fromkeys(PROFILES, SWEEP), lambda config: (), (FAULT,), ()
)


def selected(**changes: Any) -> Selection:
    return dataclasses.replace(Selection(("c",), "smoke", "cpu"), **changes)


def runs(selection: Selection, claim: Claim = CLAIM, fault: Fault | None = None) -> list[Any]:
    return points(claim, selection, configurations(claim, selection, TABLES), code="abc", fault=fault)


def test_the_claims_own_sweep_is_chosen_with_the_device() -> None:
    assert chosen_sweep(CLAIM, selected()) == dataclasses.replace(SWEEP, config={**SWEEP.config, "device": "cpu"})


def test_the_profile_decides_the_sweep() -> None:
    larger = dataclasses.replace(SWEEP, widths=(512, 1024, 2048))
    claim = dataclasses.replace(CLAIM, sweeps={**CLAIM.sweeps, "full": larger})
    assert chosen_sweep(claim, selected(profile="full")).widths == (512, 1024, 2048)
    assert chosen_sweep(claim, selected()).widths == SWEEP.widths


def test_widths_are_sorted_and_counted_once() -> None:
    assert chosen_sweep(CLAIM, selected(widths=(256, 64, 128, 64))).widths == (64, 128, 256)


def test_a_new_width_gets_the_seeds_of_the_nearest_one_by_ratio() -> None:
    """80 is nearest to 64; 95 to 128 (by ratio: 1.35 against 1.48), though 64 is nearer by difference."""
    found = chosen_sweep(CLAIM, selected(widths=(1, 80, 95, 100, 300, 10_000)))
    assert dict(zip(found.widths, found.seeds, strict=True)) == {1: 10, 80: 10, 95: 7, 100: 7, 300: 3, 10_000: 3}


def test_chosen_seeds_hold_at_every_width() -> None:
    assert chosen_sweep(CLAIM, selected(seeds=5)).seeds == (5, 5, 5)


@pytest.mark.parametrize("widths", [(64, 128), (64, 64, 128), (64,), (128, 128, 128)])
def test_fewer_than_three_different_widths_are_an_error(widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"at least 3 different widths, got {len(set(widths))} "):
        chosen_sweep(CLAIM, selected(widths=widths))


@pytest.mark.parametrize("width", [0, -64])
def test_a_width_below_one_is_an_error(width: int) -> None:
    with pytest.raises(ValueError, match=f"a width is a whole number from 1, got {width}$"):
        chosen_sweep(CLAIM, selected(widths=(width, 64, 128, 256)))


@pytest.mark.parametrize("seeds", [1, 0, -3])
def test_fewer_than_two_seeds_are_an_error(seeds: int) -> None:
    with pytest.raises(ValueError, match=f"at least 2 seeds, got {seeds}$"):
        chosen_sweep(CLAIM, selected(seeds=seeds))


def test_check_sizes_lets_good_sizes_pass() -> None:
    check_sizes((1, 2, 3), None)
    check_sizes((64, 64, 128, 256), 2)


def test_tables_of_the_user_replace_the_parametrizations() -> None:
    selection = selected(tables={"mine": {"a": 3}})
    assert chosen_sweep(CLAIM, selection).parametrizations == ("mine",)
    assert configurations(CLAIM, selection, TABLES)["mine"]["parametrization"] == {"a": 3}


def test_a_table_of_the_user_has_precedence_over_the_known_one_of_its_name() -> None:
    assert configurations(CLAIM, selected(tables={"mup": {"a": 9}}), TABLES)["mup"]["parametrization"] == {"a": 9}


def test_a_configuration_is_the_sweeps_with_the_device_and_the_table() -> None:
    assert configurations(CLAIM, selected(), TABLES) == {
        "mup": {"rate": 0.5, "depth": 2, "device": "cpu", "parametrization": {"a": 1}},
        "ntp": {"rate": 0.5, "depth": 2, "device": "cpu", "parametrization": {"a": 2}},
    }


@given(
    st.lists(st.integers(2, 30), min_size=3, max_size=3),
    st.integers(1, 35),
    st.none() | st.integers(2, 30),
)
def test_points_cover_every_seed_of_every_width_exactly_once(seeds: list[int], block: int, asked: int | None) -> None:
    sweep = dataclasses.replace(SWEEP, seeds=tuple(seeds), block=block)
    claim = dataclasses.replace(CLAIM, sweeps=dict.fromkeys(PROFILES, sweep))
    found = runs(selected(seeds=asked), claim)
    for name in ("mup", "ntp"):
        for width, count in zip(sweep.widths, seeds, strict=True):
            blocks = [point.seeds for point in found if (point.parametrization, point.width) == (name, width)]
            assert [seed for each in blocks for seed in each] == list(range(asked or count))
            assert all(1 <= len(each) <= block for each in blocks)
    assert len({point.digest for point in found}) == len(found)


def test_points_carry_experiment_configuration_and_code() -> None:
    expected = configurations(CLAIM, selected(), TABLES)
    for point in runs(selected()):
        assert (point.experiment, point.code) == ("training", "abc")
        assert point.config == expected[point.parametrization]


def test_the_widest_runs_of_a_parametrization_come_last() -> None:
    widths = [point.width for point in runs(selected()) if point.parametrization == "mup"]
    assert widths == sorted(widths)


def test_the_same_selection_gives_the_same_digests() -> None:
    assert [p.digest for p in runs(selected())] == [p.digest for p in runs(selected())]


def test_a_fault_changes_the_configuration_and_nothing_else() -> None:
    sound, faulty = runs(selected()), runs(selected(), fault=FAULT)
    assert len(sound) == len(faulty)
    for before, after in zip(sound, faulty, strict=True):
        assert after == dataclasses.replace(before, config={**before.config, "rate": 1.0})
        assert after.digest != before.digest
    assert configurations(CLAIM, selected(), TABLES)["mup"]["rate"] == 0.5  # nothing was changed in place


@pytest.mark.parametrize(
    "selection",
    [
        selected(),
        selected(claims=("c", "d"), profile="full", device="cuda", widths=(8, 16, 32), seeds=5, planted=True),
        selected(tables={"mine": {"a": [1, 2]}}),
        selected(weights="lazy"),
    ],
)
def test_a_selection_survives_json(selection: Selection) -> None:
    assert Selection.from_config(json.loads(json.dumps(selection.as_config()))) == selection
    assert set(selection.as_config()) == {field.name for field in dataclasses.fields(Selection)}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Selection)])
def test_a_selection_that_lacks_something_is_an_error(field: str) -> None:
    config = selected().as_config()
    del config[field]
    with pytest.raises(ValueError, match=f"not a selection of runs: KeyError\\('{field}'\\)"):
        Selection.from_config(config)


@pytest.mark.parametrize("field", ["claims", "widths"])
def test_a_selection_with_a_number_for_a_list_is_an_error(field: str) -> None:
    with pytest.raises(ValueError, match="not a selection of runs"):
        Selection.from_config({**selected().as_config(), field: 3})


VARIANTS = {"": {}, "depth 4": {"depth": 4}, "data, whitened": {"dataset": "gaussian"}}


def test_every_parametrization_is_run_in_every_variant() -> None:
    sweep = dataclasses.replace(SWEEP, variants=VARIANTS)
    claim = dataclasses.replace(CLAIM, sweeps=dict.fromkeys(PROFILES, sweep))
    found = configurations(claim, selected(), TABLES)
    assert list(found) == [
        *("mup", "mup, depth 4", "mup, data, whitened"),
        *("ntp", "ntp, depth 4", "ntp, data, whitened"),
    ]
    for name, config in found.items():
        table, _, variant = name.partition(", ")
        plain = configurations(CLAIM, selected(), TABLES)[table]
        assert config == {**plain, **VARIANTS[variant]}
        assert parametrization_of(name) == table
    assert {point.parametrization for point in runs(selected(), claim)} == set(found)
    assert all(point.config == found[point.parametrization] for point in runs(selected(), claim))


def test_a_variant_keeps_the_data_set_it_is_named_after() -> None:
    own = dataclasses.replace(SWEEP, variants=VARIANTS, config={**SWEEP.config, "dataset": "fashion-mnist"})
    claim = dataclasses.replace(CLAIM, sweeps=dict.fromkeys(PROFILES, own))
    found = configurations(claim, selected(dataset="digits"), TABLES)
    assert (found["mup"]["dataset"], found["mup, data, whitened"]["dataset"]) == ("digits", "gaussian")


def test_runs_that_have_no_data_set_get_none() -> None:
    """A claim about text has a corpus, which a data set of the user's does not replace."""
    assert "dataset" not in configurations(CLAIM, selected(dataset="digits"), TABLES)["mup"]


@given(st.from_regex(r"[\w.+-]{1,40}", fullmatch=True), st.text())
def test_a_label_begins_with_its_parametrization(name: str, variant: str) -> None:
    assert parametrization_of(label(name, variant)) == name
    assert label(name, variant).removeprefix(name) == (f", {variant}" if variant else "")
