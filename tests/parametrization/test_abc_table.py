"""The table itself: its gauge, its symmetry, the factors of a width."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from abc_tables import ANY, RATIONALS, gauge
from hypothesis import given
from hypothesis import strategies as st

from tpbench.parametrization import PARAMETRIZATIONS, Parametrization, Role, did_you_mean, named, role_of, scale

HALF = Fraction(1, 2)
# (b, c) of input, hidden and output in the gauge a = 0.
GAUGE = {
    "sp": ((0, HALF, HALF), (0, 0, 0)),
    "sp-over-n": ((0, HALF, HALF), (1, 1, 1)),
    "ntp": ((0, HALF, HALF), (0, 1, 1)),
    "mup": ((0, HALF, 1), (-1, 0, 1)),
}


@pytest.mark.parametrize("name", GAUGE)
def test_the_named_tables_have_the_papers_exponents_in_the_gauge_without_multipliers(name: str) -> None:
    assert gauge(named(name)) == GAUGE[name]


def test_the_mean_field_table_is_mup_of_one_hidden_layer_written_differently() -> None:
    mean_field, mup = named("mean-field"), named("mup")
    assert (mean_field.input.a, mean_field.output.a) == (0, 1)
    assert {mean_field.input.b, mean_field.output.b} == {0}
    assert {mean_field.input.c, mean_field.output.c} == {-1}
    assert mup.input.shifted(HALF) == mean_field.input
    assert mup.output.shifted(HALF) == mean_field.output


def test_the_gauges_of_the_named_tables_differ() -> None:
    assert len({gauge(named(name)) for name in GAUGE}) == len(GAUGE)
    assert set(PARAMETRIZATIONS) == {*GAUGE, "mean-field"}


def test_a_table_without_hidden_weights_says_so() -> None:
    with pytest.raises(ValueError, match=r"'mean-field' defines no hidden weights.*use depth 1"):
        named("mean-field").of(Role.HIDDEN)
    with pytest.raises(ValueError, match="one hidden layer"):
        named("mean-field").layer(2, depth=2)
    assert named("mean-field").layer(2, depth=1) == named("mean-field").output


@given(ANY, st.sampled_from(Role), RATIONALS, RATIONALS)
def test_shifts_compose_and_touch_one_role(table: Parametrization, role: Role, one: Fraction, two: Fraction) -> None:
    assert table.shifted(role, one).shifted(role, two) == table.shifted(role, one + two)
    assert table.shifted(role, one).shifted(role, -one) == table
    assert all(table.shifted(role, one).of(other) == table.of(other) for other in Role if other is not role)


@given(ANY, st.sampled_from(Role), RATIONALS, st.integers(1, 2**16), st.integers(1, 64))
def test_a_shift_keeps_initial_size_and_step_size(
    table: Parametrization, role: Role, theta: Fraction, width: int, base: int
) -> None:
    one, two = scale(table, role, width, base), scale(table.shifted(role, theta), role, width, base)
    assert math.isclose(one.multiplier * one.std, two.multiplier * two.std, rel_tol=1e-9)
    assert math.isclose(one.multiplier**2 * one.rate, two.multiplier**2 * two.rate, rel_tol=1e-9)


@given(ANY, st.sampled_from(Role), st.integers(1, 2**20))
def test_every_factor_is_one_at_the_base_width(table: Parametrization, role: Role, width: int) -> None:
    factors = scale(table, role, width, base_width=width)
    assert (factors.multiplier, factors.std, factors.rate) == (1.0, 1.0, 1.0)


def test_the_factors_are_powers_of_the_width_over_the_base() -> None:
    factors = scale(named("mup"), Role.INPUT, 256, 64)
    assert (factors.multiplier, factors.std, factors.rate) == (2.0, 0.5, 1.0)
    factors = scale(named("sp-over-n"), Role.OUTPUT, 256, 16)
    assert (factors.multiplier, factors.std, factors.rate) == (1.0, 0.25, 1 / 16)
    factors = scale(named("mean-field"), Role.OUTPUT, 256, 64)
    assert (factors.multiplier, factors.std, factors.rate) == (0.25, 1.0, 4.0)


@pytest.mark.parametrize(("width", "base"), [(0, 1), (-4, 1), (4, 0), (4, -1)])
def test_widths_below_one_are_errors(width: int, base: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1: got width {width} and base width {base}"):
        scale(named("mup"), Role.INPUT, width, base)


def test_roles_of_layers() -> None:
    assert [role_of(layer, 3) for layer in (1, 2, 3, 4)] == [Role.INPUT, Role.HIDDEN, Role.HIDDEN, Role.OUTPUT]
    assert [role_of(layer, 1) for layer in (1, 2)] == [Role.INPUT, Role.OUTPUT]
    for layer in (0, 5, -1):
        with pytest.raises(ValueError, match=f"layers 1 to 4, got layer {layer}"):
            role_of(layer, 3)


def test_replacing_changes_only_the_named_exponents() -> None:
    changed = named("mup").replacing(Role.HIDDEN, c=Fraction(7))
    assert changed.hidden is not None
    assert (changed.hidden.a, changed.hidden.b, changed.hidden.c) == (0, HALF, 7)
    assert (changed.input, changed.output) == (named("mup").input, named("mup").output)


def test_unknown_words_get_the_nearest_known_one() -> None:
    with pytest.raises(ValueError, match=r"unknown parametrization 'mupp'; did you mean 'mup'\? \(known: sp, "):
        named("mupp")
    assert "did you mean" not in did_you_mean("zzz", PARAMETRIZATIONS)
