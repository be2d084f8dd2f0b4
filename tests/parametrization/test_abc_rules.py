"""Optimizers, alignments, epsilon, decay and zero read-outs: published exponents, laws, and what must be refused."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from abc_tables import ANY, RATIONALS, stable
from hypothesis import given
from hypothesis import strategies as st

from tpbench.parametrization import (
    ADAM,
    ALIGNMENTS,
    EXPONENTS,
    NO_ALIGNMENT,
    READOUT_UNALIGNED,
    SGD,
    SPECTRAL,
    Alignment,
    Exponents,
    Family,
    Parametrization,
    Regime,
    Role,
    Rule,
    analyse,
    backward_exponent,
    canonical,
    conditions,
    equivalent,
    exponent,
    movement,
    named,
    regime,
    role_exponents,
    shifted,
    shrinkage,
    violations,
    with_maximal_rates,
)
from tpbench.parametrization.predict import layers_with

HALF, QUARTER, ONE = Fraction(1, 2), Fraction(1, 4), Fraction(1)
ROLES = (Role.INPUT, Role.HIDDEN, Role.OUTPUT)
RULES = st.builds(
    lambda family, alignment, zero: Rule(family, alignment, zero),
    st.sampled_from(Family),
    st.sampled_from(list(ALIGNMENTS.values())),
    st.booleans(),
)
DEEP_MEAN_FIELD = Parametrization(
    "mean-field-3",
    "Everett et al. 2024, arXiv:2407.05872",
    Exponents(Fraction(0), Fraction(0), Fraction(0)),
    Exponents(HALF, Fraction(0), Fraction(0)),
    Exponents(ONE, Fraction(0), Fraction(0)),
)


def rates(table: Parametrization) -> tuple[Fraction, ...]:
    return tuple(table.of(role).c for role in ROLES)


def powers(table: Parametrization, rule: Rule) -> dict[tuple[str, int], Fraction]:
    """Return every exponent after training that is not exactly 0."""
    return {
        (quantity, layer): EXPONENTS[quantity](table, layer, 2, False, rule)
        for quantity in EXPONENTS
        for layer in layers_with(quantity, 2)
        if not (rule.zero_output and layer == 3 and quantity in ("output-initial", "initial-weight-on-change"))
    }


@pytest.mark.parametrize(
    ("name", "adam", "sgd"),
    [
        ("sp", (0, 1, 1), (-HALF, HALF, 1)),
        ("ntp", (0, HALF, HALF), (-HALF, -HALF, 0)),
        ("mup", (HALF, 1, HALF), (0, 0, 0)),
        ("mean-field-3", (0, HALF, 0), (-1, -1, -1)),
    ],
)
def test_rates_a_layer_are_those_of_everett(name: str, adam: tuple[Fraction, ...], sgd: tuple[Fraction, ...]) -> None:
    """Their table of learning-rate exponents under full alignment, for Adam and for SGD."""
    table = DEEP_MEAN_FIELD if name == DEEP_MEAN_FIELD.name else named(name)
    assert rates(with_maximal_rates(table, 2, ADAM)) == adam
    assert rates(with_maximal_rates(table, 2, SGD)) == sgd


@pytest.mark.parametrize("name", ["sp", "ntp", "mup"])
def test_without_alignment_all_but_the_first_layer_take_a_rate_larger_by_a_root(name: str) -> None:
    full = with_maximal_rates(named(name), 2, ADAM)
    none = with_maximal_rates(named(name), 2, replace(ADAM, alignment=NO_ALIGNMENT))
    assert tuple(a - b for a, b in zip(rates(full), rates(none), strict=True)) == (0, HALF, HALF)


def test_spectral_rates_are_the_root_of_fan_out_over_fan_in() -> None:
    """Without multipliers the rate of a layer is sqrt(fan_out/fan_in) (Yang, Simon & Bernstein, arXiv:2310.17813)."""
    table = with_maximal_rates(canonical(named("mup"), SPECTRAL)[0], 2, SPECTRAL)
    assert rates(table) == (-HALF, 0, HALF)
    assert analyse(table, 2, SPECTRAL).maximal


@given(ANY, RULES)
def test_maximal_rates_move_every_layer_and_nothing_faster_is_allowed(table: Parametrization, rule: Rule) -> None:
    found = with_maximal_rates(table, 2, rule)
    assert [movement(found, layer, 2, rule=rule) for layer in (1, 2, 3)] == [0, 0, 0]
    assert with_maximal_rates(found, 2, rule) == found


@given(ANY, RULES, st.tuples(RATIONALS, RATIONALS, RATIONALS))
def test_the_shift_of_the_optimizers_own_gauge_changes_nothing(
    table: Parametrization, rule: Rule, thetas: tuple[Fraction, ...]
) -> None:
    decay = {Role.HIDDEN: ONE}
    epsilon = {Role.HIDDEN: HALF, Role.INPUT: ONE} if rule.family is Family.ADAM else None
    rule = replace(rule, decay=decay, epsilon=epsilon)
    other, its_rule = shifted(table, dict(zip(ROLES, thetas, strict=True)), rule)
    assert powers(other, its_rule) == powers(table, rule)
    assert violations(other, 2, its_rule) == violations(table, 2, rule)
    assert regime(other, 2, its_rule) is regime(table, 2, rule)
    assert canonical(other, its_rule) == canonical(table, rule)
    assert equivalent(other, table, rule)


@pytest.mark.parametrize("rule", [ADAM, SPECTRAL])
def test_the_gauge_of_sgd_is_no_symmetry_of_the_others(rule: Rule) -> None:
    wrong = named("mup").shifted(Role.HIDDEN, HALF)  # c - 2θ
    assert powers(wrong, rule) != powers(named("mup"), rule)
    assert not equivalent(wrong, named("mup"), rule)
    assert equivalent(wrong, named("mup"), SGD)


def test_equivalence_holds_the_exponents_apart() -> None:
    assert not equivalent(named("ntp"), named("mup"))
    assert not equivalent(named("sp"), named("sp-over-n"))
    assert canonical(named("ntp"))[0].hidden == Exponents(Fraction(0), HALF, ONE)


def test_sign_like_updates_do_not_know_the_size_of_the_gradient() -> None:
    small = named("mup").replacing(Role.OUTPUT, b=Fraction(3))
    for layer in (1, 2, 3):
        assert movement(small, layer, 2, rule=ADAM) == movement(named("mup"), layer, 2, rule=ADAM)
    tiny_updates = small.replacing(Role.OUTPUT, c=Fraction(2))  # or the updates of the read-out carry the signal
    assert movement(tiny_updates, 2, 2, rule=SGD) > movement(named("mup"), 2, 2, rule=SGD)


# muP without multipliers under Adam: gradients of w are n^-1 in the hidden layers, and 1 in the read-out.
MUP_ADAM = canonical(with_maximal_rates(named("mup"), 2, ADAM), ADAM)[0]


@pytest.mark.parametrize(("e", "slower"), [(Fraction(0), ONE), (HALF, HALF), (ONE, 0), (Fraction(2), 0)])
def test_an_epsilon_larger_than_the_gradient_slows_the_layer_by_their_ratio(e: Fraction, slower: Fraction) -> None:
    rule = replace(ADAM, epsilon={Role.HIDDEN: e})
    assert movement(MUP_ADAM, 2, 2, rule=rule) == slower
    assert movement(MUP_ADAM, 1, 2, rule=rule) == 0, "a role without entry has an epsilon that does not matter"
    assert movement(MUP_ADAM, 3, 2, rule=replace(ADAM, epsilon={Role.OUTPUT: Fraction(0)})) == 0


def test_an_epsilon_that_slows_the_readout_weakens_the_signal_that_it_sends_back() -> None:
    """With a read-out that starts at 0 the signal is that of its updates: constant epsilon, muP's rates for Adam."""
    table, constant = named("mup-adam"), dict.fromkeys(ROLES, Fraction(0))
    slow = Rule(Family.ADAM, zero_output=True, epsilon=constant)
    assert [movement(table, layer, 2, rule=slow) for layer in (1, 2, 3)] == [1, Fraction(3, 2), HALF]
    there = Rule(Family.ADAM, epsilon=constant)
    assert [movement(table, layer, 2, rule=there) for layer in (1, 2, 3)] == [HALF, 1, HALF]


def test_where_epsilon_dominates_adam_is_sgd_with_the_rate_over_epsilon() -> None:
    """lr/eps = n^(e - c), so the table under SGD has c - e in place of c."""
    large = {role: Fraction(-3) for role in ROLES}
    as_sgd = MUP_ADAM
    for role in ROLES:
        as_sgd = as_sgd.replacing(role, c=as_sgd.of(role).c - large[role])
    for layer in (1, 2, 3):
        assert movement(MUP_ADAM, layer, 2, rule=replace(ADAM, epsilon=large)) == movement(as_sgd, layer, 2, rule=SGD)


def test_a_readout_that_starts_at_zero_sends_back_its_updates_alone() -> None:
    zero = replace(SGD, zero_output=True)
    assert backward_exponent(named("ntp")) == HALF
    assert backward_exponent(named("ntp"), rule=zero) == 1
    assert [movement(named("ntp"), layer, 2, rule=zero) for layer in (1, 2)] == [1, 1]
    assert [movement(named("mup"), layer, 2, rule=zero) for layer in (1, 2, 3)] == [0, 0, 0]
    assert regime(named("mup"), 2, zero) is Regime.FEATURE_LEARNING
    with pytest.raises(ValueError, match="no signal back at the first step"):
        backward_exponent(named("mup"), first_step=True, rule=zero)
    for quantity in ("output-initial", "initial-weight-on-change"):
        with pytest.raises(ValueError, match="starts at 0"):
            exponent(named("mup"), quantity, depth=2, rule=zero)
    assert analyse(named("mup"), 2, zero).maximal
    assert not analyse(named("ntp"), 2, zero).maximal
    for family in Family:
        with pytest.raises(ValueError, match="no signal back at the first step"):
            exponent(
                named("mup"), "weight-update", depth=2, layer=1, first_step=True, rule=Rule(family, zero_output=True)
            )
    found = role_exponents(named("mup"), zero, first_step=True)
    assert {role for role, quantity in found if quantity == "weight-update"} == {Role.OUTPUT, Role.OUTPUT_BIAS}


def test_the_readout_under_sp_is_where_the_papers_part() -> None:
    """W_0 Δx with rates a layer under Adam: n^(1/2) when features align with the read-out, n^0 when they do not."""
    table = with_maximal_rates(named("sp"), 2, ADAM)
    assert exponent(table, "initial-weight-on-change", depth=2, rule=ADAM) == HALF
    assert regime(table, 2, ADAM) is Regime.UNSTABLE
    unaligned = replace(ADAM, alignment=READOUT_UNALIGNED)
    assert exponent(table, "initial-weight-on-change", depth=2, rule=unaligned) == 0
    assert regime(table, 2, unaligned) is Regime.FEATURE_LEARNING


def test_fully_aligned_hidden_matrices_grow_at_every_layer() -> None:
    rule = Rule(alignment=ALIGNMENTS["full"])
    grown = [exponent(named("mup"), "preactivation-change", depth=4, layer=layer, rule=rule) for layer in (1, 2, 3, 4)]
    assert grown == [0, HALF, 1, 3 * HALF]


def test_decay_is_the_rate_times_the_decay() -> None:
    table = with_maximal_rates(named("sp"), 2, ADAM)
    constant = replace(ADAM, decay={role: Fraction(0) for role in ROLES})
    assert [shrinkage(table, role, constant) for role in ROLES] == [0, 1, 1]
    scaled = replace(ADAM, decay={Role.HIDDEN: Fraction(-1), Role.OUTPUT: Fraction(-1)})
    assert [shrinkage(table, role, scaled) for role in ROLES] == [0, 0, 0]
    too_much = replace(ADAM, decay={Role.HIDDEN: Fraction(-2)})
    assert any("weight decay blows up" in sentence for sentence in violations(MUP_ADAM, 2, too_much))


def test_refusals() -> None:
    with pytest.raises(ValueError, match="epsilon belongs to sign-like optimizers"):
        Rule(Family.SGD, epsilon={Role.HIDDEN: ONE})
    with pytest.raises(ValueError, match="between 1/2"):
        Alignment(initial_hidden=Fraction(2))
    with pytest.raises(ValueError, match="starts outside the setting"):
        role_exponents(named("ntp").replacing(Role.INPUT, b=ONE))


@given(stable())
def test_the_nearest_boundary_is_the_least_slack(table: Parametrization) -> None:
    found = analyse(table, 2)
    strict = [condition.slack for condition in found.conditions if condition.slack != 0]
    assert all(condition.holds for condition in found.conditions)
    if strict:
        assert found.distance == min(strict) > 0
    else:
        assert found.boundary is None


@given(ANY)
def test_an_unstable_table_is_as_far_from_stability_as_its_worst_condition(table: Parametrization) -> None:
    found = analyse(table, 2)
    broken = [abs(condition.slack) for condition in found.conditions if not condition.holds]
    assert bool(found.violations) is (found.regime is Regime.UNSTABLE) is bool(broken)
    if broken:
        assert found.distance == max(broken)


@given(stable())
def test_only_mup_and_its_shifts_are_maximal(table: Parametrization) -> None:
    """In canonical form: b (0, 1/2, 1), c (-1, 0, 1). Without the condition on the read-out every b3 >= 1 would do."""
    assert analyse(table, 2).maximal is equivalent(table, named("mup"))
    smaller_readout = canonical(named("mup"))[0].replacing(Role.OUTPUT, b=Fraction(3, 2))
    found = analyse(smaller_readout, 2)
    assert found.moved == (True, True, True)
    assert not found.maximal


@given(stable())
def test_conditions_are_the_exponents_of_what_they_name(table: Parametrization) -> None:
    """A slack is minus the exponent of its quantity: what a measured exponent has to tell from 0."""
    slacks = {condition.quantity: condition.slack for condition in conditions(table, 2)}
    assert slacks["f_0"] == -exponent(table, "output-initial", depth=2)
    assert slacks["Δh"] == -exponent(table, "preactivation-change", depth=2, layer=2)
    assert slacks["ΔW x of the read-out"] == -exponent(table, "weight-update", depth=2)
    assert slacks["W_0 Δx of the read-out"] == -exponent(table, "initial-weight-on-change", depth=2)


@pytest.mark.parametrize("name", ["ntp", "mup", "sp-over-n", "mean-field"])
def test_exponents_a_role_are_those_of_the_layers(name: str) -> None:
    table = named(name)
    depth = 1 if table.hidden is None else 2
    found = role_exponents(table)
    assert found[Role.OUTPUT, "weight-update"] == exponent(table, "weight-update", depth=depth)
    assert found[Role.INPUT, "weight-update"] == exponent(table, "weight-update", depth=depth, layer=1)
    assert found[Role.OUTPUT_BIAS, "weight-update"] == -table.output_bias.c - 2 * table.output_bias.a
    if depth == 2:
        assert found[Role.HIDDEN, "weight-update"] == exponent(table, "weight-update", depth=2, layer=2)
