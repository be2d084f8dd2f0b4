"""Predicted exponents, stability, regimes and kernel content: against the design's table, and by their laws."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from abc_tables import ANY, NOT_NEGATIVE, RATIONALS, gauge, reduced, stable, startable
from hypothesis import given
from hypothesis import strategies as st

from tpbench.parametrization import (
    EXPONENTS,
    Parametrization,
    Regime,
    Role,
    backward_exponent,
    exponent,
    kernel_content,
    least_movement,
    movement,
    named,
    regime,
    violations,
)

HALF = Fraction(1, 2)


def layers_of(quantity: str, depth: int) -> range:
    """Return the layers at which a quantity exists."""
    if quantity.startswith("output"):
        return range(depth + 1, depth + 2)
    if quantity in ("preactivation", "activation", "preactivation-change", "activation-change"):
        return range(1, depth + 1)
    return range(2 if quantity == "initial-weight-on-change" else 1, depth + 2)


def everything(table: Parametrization, depth: int) -> object:
    """Return every exponent of a table, at the first step and later."""
    return {
        (quantity, layer, first): EXPONENTS[quantity](table, layer, depth, first)
        for quantity in EXPONENTS
        for layer in layers_of(quantity, depth)
        for first in (False, True)
    }


@pytest.mark.parametrize(
    ("name", "movements", "found"),
    [
        ("mup", (0, 0), Regime.FEATURE_LEARNING),
        ("ntp", (HALF, HALF), Regime.KERNEL),
        ("sp-over-n", (Fraction(3, 2), HALF), Regime.KERNEL),
        ("sp", (0, -1), Regime.UNSTABLE),
    ],
)
def test_movements_and_regimes_of_the_named_tables(name: str, movements: tuple[int, int], found: Regime) -> None:
    assert (movement(named(name), 1, 2), movement(named(name), 2, 2)) == movements
    assert regime(named(name), 2) is found


def test_the_backward_signal_sees_the_update_of_the_readout_after_the_first_step() -> None:
    assert backward_exponent(named("sp"), first_step=True) == HALF
    assert backward_exponent(named("sp")) == 0
    assert backward_exponent(named("mup"), first_step=True) == backward_exponent(named("mup")) == 1


def test_mean_field_learns_features_with_one_hidden_layer() -> None:
    assert movement(named("mean-field"), 1, 1) == 0
    assert regime(named("mean-field"), 1) is Regime.FEATURE_LEARNING


# Quantity, layer, power of n; two hidden layers, read-out is layer 3. From the table of section 4 by hand.
AFTER_TRAINING = {
    "mup": {("output-initial", 3): -HALF, ("preactivation-change", 1): 0, ("preactivation-change", 2): 0}
    | {("weight-update", layer): 0 for layer in (1, 2, 3)}
    | {("initial-weight-on-change", layer): 0 for layer in (2, 3)},
    "ntp": {("output-initial", 3): 0, ("preactivation-change", 1): -HALF, ("preactivation-change", 2): -HALF}
    | {("weight-update", 1): -HALF, ("weight-update", 2): -HALF, ("weight-update", 3): 0}
    | {("initial-weight-on-change", 2): -HALF, ("initial-weight-on-change", 3): 0},
    "sp-over-n": {("output-initial", 3): 0, ("preactivation-change", 1): Fraction(-3, 2)}
    | {("preactivation-change", 2): -HALF, ("weight-update", 2): -HALF, ("weight-update", 3): 0}
    | {("initial-weight-on-change", 2): Fraction(-3, 2), ("initial-weight-on-change", 3): 0},
    "sp": {("preactivation-change", 1): 0, ("preactivation-change", 2): 1, ("weight-update", 3): 1},
}
# SP with constant rate at the first step, measured in theory.md: Δh1 -1/2, Δh2 and ΔW x +1/2, read-out +1.
AT_THE_FIRST_STEP = {
    "sp": {("preactivation-change", 1): -HALF, ("preactivation-change", 2): HALF, ("weight-update", 2): HALF}
    | {("weight-update", 3): 1, ("initial-weight-on-change", 3): 1},
}


@pytest.mark.parametrize("name", AFTER_TRAINING)
def test_exponents_of_the_named_tables(name: str) -> None:
    for (quantity, layer), power in AFTER_TRAINING[name].items():
        assert exponent(named(name), quantity, depth=2, layer=layer) == power, (quantity, layer)
    for (quantity, layer), power in AT_THE_FIRST_STEP.get(name, {}).items():
        assert exponent(named(name), quantity, depth=2, layer=layer, first_step=True) == power, (quantity, layer)


@given(ANY, st.sampled_from(Role), RATIONALS, st.integers(1, 4))
def test_the_shift_of_any_role_changes_no_prediction(
    table: Parametrization, role: Role, theta: Fraction, depth: int
) -> None:
    shifted = table.shifted(role, theta)
    assert everything(shifted, depth) == everything(table, depth)
    assert violations(shifted, depth) == violations(table, depth)
    assert regime(shifted, depth) is regime(table, depth)
    assert kernel_content(shifted, depth) == kernel_content(table, depth)


@given(st.one_of(startable(), stable()))
def test_stability_is_the_list_of_conditions_in_b_and_c(table: Parametrization) -> None:
    (b1, b2, b3), (c1, c2, c3) = gauge(table)
    m = min(b3, c3)
    r = min(m + c1, m + c2 - 1)
    holds = b1 == 0 and b2 == HALF and b3 >= HALF and c3 >= 1 and r >= 0 and b3 + r >= 1
    assert (violations(table, 2) == ()) is holds
    assert (regime(table, 2) is Regime.UNSTABLE) is not holds
    assert least_movement(table, 2) == r
    assert least_movement(table, 5) == r, "every hidden layer has one and the same exponent"


@given(stable())
def test_a_stable_table_learns_features_or_has_a_kernel_never_both(table: Parametrization) -> None:
    found = regime(table, 2)
    moves = exponent(table, "output-change", depth=2) == 0
    features = exponent(table, "preactivation-change", depth=2, layer=2)
    content = kernel_content(table, 2)
    assert violations(table, 2) == ()
    assert exponent(table, "output-change", depth=2) <= 0
    assert features <= 0
    assert (found is Regime.TRIVIAL) is not moves
    if moves:
        assert (found is Regime.FEATURE_LEARNING) is (features == 0)
        assert (found is Regime.KERNEL) is (features < 0)
    if found is Regime.FEATURE_LEARNING:  # so it has no Gaussian process to start from
        assert exponent(table, "output-initial", depth=2) < 0
    if exponent(table, "output-initial", depth=2) == 0:
        assert found in (Regime.KERNEL, Regime.TRIVIAL)
    if found is Regime.KERNEL:
        assert max(content) == 0, "some layer's term must drive the output"


@given(stable())
def test_the_kernel_holds_the_layers_with_b3_plus_r_equal_to_one(table: Parametrization) -> None:
    (_, _, b3), (_, _, c3) = gauge(table)
    content = kernel_content(table, 2)
    assert all(power <= 0 for power in content)
    for layer in (1, 2):
        assert (content[layer - 1] == 0) is (b3 + movement(table, layer, 2) == 1 and b3 <= c3)
    assert (content[2] == 0) is (c3 == 1)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_ntp_keeps_every_layer_in_the_kernel_and_sp_over_n_drops_the_first(depth: int) -> None:
    assert kernel_content(named("ntp"), depth) == (0,) * (depth + 1)
    assert kernel_content(named("sp-over-n"), depth) == (-1, *(0,) * depth)


def test_mup_is_the_only_table_of_the_grid_that_moves_every_layer_as_much_as_is_stable() -> None:
    coarse = [Fraction(k, 2) for k in range(-2, 4)]
    around = (-HALF, Fraction(0), HALF)
    found = []
    for b1, b2, b3, c1, c2, c3 in itertools.product(around, [HALF + b for b in around], *[coarse] * 4):
        table = reduced((b1, b2, b3), (c1, c2, c3))
        equalities = c3 == 1 and b3 + least_movement(table, 2) == 1
        every_layer = all(movement(table, layer, 2) == 0 for layer in (1, 2))
        if equalities and every_layer and not violations(table, 2):
            found.append(gauge(table))
    assert found == [gauge(named("mup"))]


@pytest.mark.parametrize("s", [Fraction(k, 6) for k in range(7)])
def test_the_segment_from_ntp_to_mup(s: Fraction) -> None:
    table = reduced((Fraction(0), HALF, HALF + s / 2), (-s, 1 - s, Fraction(1)))
    ends = {Fraction(0): named("ntp"), Fraction(1): named("mup")}
    if s in ends:
        assert gauge(table) == gauge(ends[s])
    for layer in (1, 2, 3):
        assert exponent(table, "preactivation-change", depth=3, layer=layer) == -(1 - s) / 2
    assert exponent(table, "output-initial", depth=3) == -s / 2
    assert exponent(table, "output-change", depth=3) == 0
    assert kernel_content(table, 3) == (0, 0, 0, 0)
    assert regime(table, 3) is (Regime.FEATURE_LEARNING if s == 1 else Regime.KERNEL)


@given(st.one_of(startable(), stable()), st.integers(1, 4), st.booleans())
def test_a_change_is_as_large_as_its_largest_part(table: Parametrization, depth: int, first: bool) -> None:
    def power(quantity: str, layer: int) -> Fraction:
        return exponent(table, quantity, depth=depth, layer=layer, first_step=first)

    assert power("preactivation-change", 1) == power("weight-update", 1)
    for layer in range(2, depth + 1):
        parts = power("weight-update", layer), power("initial-weight-on-change", layer)
        assert power("preactivation-change", layer) == max(parts)
        assert power("preactivation", layer) == max(0, power("preactivation-change", layer))
    readout = power("weight-update", depth + 1), power("initial-weight-on-change", depth + 1)
    assert power("output-change", depth + 1) == max(readout)


@given(stable(), NOT_NEGATIVE.filter(bool))
def test_a_slower_rate_everywhere_is_never_unstable_and_slows_the_output(table: Parametrization, by: Fraction) -> None:
    slower = table
    for role in (Role.INPUT, Role.HIDDEN, Role.OUTPUT):
        slower = slower.replacing(role, c=slower.of(role).c + by)
    assert violations(slower, 2) == ()
    if regime(table, 2) is not Regime.TRIVIAL and gauge(table)[0][2] < 1:
        assert regime(slower, 2) is Regime.TRIVIAL


def test_violations_are_sentences_that_name_the_condition() -> None:
    broken = reduced((HALF, Fraction(0), Fraction(0)), (Fraction(-2), Fraction(0), Fraction(0)))
    said = violations(broken, 2)
    grown = "r = -5/2"  # r_1 = r_2 = -2, and a hidden matrix of size n^0 makes what comes from layer 1 grow by n^(1/2)
    for words in ("a_1 + b_1 = 1/2", "hidden a + b = 0", "f_0 blows up", grown, "2a + c = 0", "W_0 Δx blows up"):
        assert any(words in sentence for sentence in said), words
    assert len(said) == 6
    assert len(violations(broken, 1)) == 5, "the hidden role does not matter with one hidden layer"


def test_no_exponent_is_predicted_outside_the_setting() -> None:
    with pytest.raises(ValueError, match=r"starts outside the setting.*a_1 \+ b_1 = 1"):
        exponent(named("ntp").replacing(Role.INPUT, b=Fraction(1)), "output-change", depth=1)
    with pytest.raises(ValueError, match="did you mean 'output-change'"):
        exponent(named("ntp"), "output-chnage", depth=1)
    with pytest.raises(ValueError, match="one hidden layer"):
        exponent(named("mean-field"), "output-change", depth=2)


@pytest.mark.parametrize("quantity", EXPONENTS)
def test_a_layer_that_does_not_have_the_quantity_is_an_error(quantity: str) -> None:
    having = layers_of(quantity, 2)
    for layer in having:
        exponent(named("ntp"), quantity, depth=2, layer=layer)
    for layer in {-1, 0, 1, 2, 3, 4}.difference(having):
        with pytest.raises(ValueError, match=f"{quantity}.*got layer {layer}"):
            exponent(named("ntp"), quantity, depth=2, layer=layer)
