"""What is predicted of each layer: against powers counted by hand, and invariant under the abc symmetry."""

from __future__ import annotations

from fractions import Fraction

import pytest
from synthetic import MUP_ADAM, MUP_SGD, NTP_SGD, Dense, changed, exponents, measurements

from tpbench.bench.claim import Side
from tpbench.check.expect import EXPECTED_START, SCALE, prediction, questions, says, table_for, theory_of
from tpbench.check.measurements import Layer, Measurements, Place
from tpbench.parametrization import (
    PARAMETRIZATIONS,
    SGD,
    Family,
    Parametrization,
    Role,
    Rule,
    equivalent,
    named,
    shifted,
    with_maximal_rates,
)

HALF = Fraction(1, 2)


def predictions(
    found: Measurements, table: Parametrization, zero_output: bool = False
) -> dict[tuple[str, int, int], tuple[float, Side]]:
    theory = theory_of(table, Family(found.family), zero_output=zero_output)
    return {
        (question.quantity, layer.number, question.step): (float(said.power), said.side)
        for question in questions(found)
        for layer in found.layers
        if (said := says(theory, layer, question, found)) is not None
    }


@pytest.mark.parametrize(
    ("net", "family", "table"), [(MUP_SGD, "sgd", "mup"), (MUP_ADAM, "adam", "mup"), (NTP_SGD, "sgd", "ntp")]
)
def test_predictions_are_the_powers_counted_by_hand(net: tuple[Dense, ...], family: str, table: str) -> None:
    counted = exponents(net, family, (0, 1, 4))
    found = predictions(measurements(net, family), named(table))
    shared = {key: said for key, said in found.items() if key in counted}
    assert len(shared) == 18
    for key, (power, side) in shared.items():
        assert counted[key] <= power if side is Side.AT_MOST else counted[key] == power, key


def test_a_readout_from_zero_says_nothing_of_what_the_first_step_does_not_reach() -> None:
    found = predictions(measurements(MUP_SGD, "sgd"), named("mup"), zero_output=True)
    reached = {(quantity, layer) for quantity, layer, step in found if step == 1}
    assert reached == {("weight-update", 3)}
    assert ("preactivation", 3, 0) not in found
    assert ("weight-update", 1, 4) in found


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("table", ["mup", "ntp", "sp", "sp-over-n"])
def test_the_gauge_does_not_matter(table: str, family: Family) -> None:
    meant = table_for(named(table), family)
    moved, _ = shifted(meant, {Role.INPUT: HALF, Role.HIDDEN: -HALF, Role.OUTPUT: Fraction(1)}, Rule(family))
    for zero_output in (False, True):
        one, other = (theory_of(each, family, zero_output=zero_output) for each in (meant, moved))
        assert one.late == other.late
        assert one.first == other.first


@pytest.mark.parametrize("family", list(Family))
def test_mup_means_that_every_layer_learns_whatever_the_optimizer(family: Family) -> None:
    late = theory_of(named("mup"), family).late
    assert {late[role, "weight-update"] for role in (Role.INPUT, Role.HIDDEN, Role.OUTPUT)} == {0}


def test_other_tables_are_taken_as_they_are_written() -> None:
    for name in ("ntp", "sp", "sp-over-n"):
        assert table_for(named(name), Family.ADAM) == named(name)
    idle = with_maximal_rates(named("ntp"), 2)  # the largest rates that are stable, and still not maximal
    assert equivalent(idle, with_maximal_rates(idle, 2), SGD)
    assert table_for(idle, Family.ADAM) == idle
    written = table_for(named("mup"), Family.ADAM)
    assert table_for(written, Family.ADAM) == written
    assert written != named("mup")


def test_a_start_is_a_bound_where_the_readouts_updates_outweigh_it_but_for_sgd_which_it_sends_back() -> None:
    start = ("preactivation", 3, 0)
    assert predictions(measurements(MUP_ADAM, "adam"), named("mup"))[start] == (-0.5, Side.AT_MOST)
    assert predictions(measurements(MUP_SGD, "sgd"), named("mup"))[start] == (-0.5, Side.EQUAL)
    assert predictions(measurements(NTP_SGD, "sgd"), named("ntp"))[start] == (0, Side.EQUAL)


def question_of(found: Measurements, quantity: str, layer: Layer, table: str = "mup") -> tuple[float, Side] | None:
    theory = theory_of(named(table), Family(found.family))
    (question,) = (each for each in questions(found) if each.quantity == quantity)
    said = says(theory, layer, question, found)
    return None if said is None else (float(said.power), said.side)


def test_a_tied_readout_may_start_at_size_one() -> None:
    found = measurements(MUP_ADAM, "adam")
    alone, tied = (Layer(3, "readout", Place.OUTPUT, "linear", "e.weight", names) for names in ((), ("embed",)))
    assert question_of(found, "preactivation", alone) == (-0.5, Side.AT_MOST)
    assert question_of(found, "preactivation", tied) == (0, Side.AT_MOST)
    assert question_of(found, EXPECTED_START, tied) is None, "it is not independent of its input"


def test_attention_may_keep_the_square_root_where_features_are_frozen() -> None:
    logits = Layer(9, "attention logits", Place.LOGITS, "attention")
    assert question_of(measurements(MUP_ADAM, "adam"), SCALE, logits) == (0, Side.AT_MOST)
    assert question_of(measurements(NTP_SGD, "sgd"), SCALE, logits, "ntp") == (0.5, Side.AT_MOST)
    assert question_of(measurements(MUP_ADAM, "adam"), SCALE, logits, "sp") is None, "unstable: no bound holds"


def test_every_prediction_of_every_named_table_can_be_judged() -> None:
    """The band around a prediction does not reach its rival, and every table says something of an update."""
    for table in PARAMETRIZATIONS.values():
        net = [layer for layer in MUP_SGD if table.hidden is not None or layer.place is not Place.HIDDEN]
        found = measurements(changed(net, 0, decay=0.0), "sgd") if len(net) == 4 else measurements(MUP_SGD, "sgd")
        theory = theory_of(table, Family.SGD)
        predicted = []
        for question in questions(found):
            for layer in found.layers:
                if table.hidden is None and layer.place is Place.HIDDEN:
                    continue
                said = says(theory, layer, question, found)
                if said is not None:
                    predicted.append(prediction(table.name, question, layer, said))
        assert any(each.quantity == "weight-update" for each in predicted)
        assert all(abs(each.rival - each.predicted) >= 2 * each.tolerance for each in predicted)
