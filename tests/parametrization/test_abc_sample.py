"""The designed sample: it covers what it promises, quick formulas agree with the theory, slices hold what they say."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction

import pytest

from tpbench.parametrization import NAMED, Regime, Role, analyse, canonical, equivalent, from_config, movement
from tpbench.parametrization.sample import (
    MUP,
    NTP,
    SHIFTED,
    SLICES,
    Coordinates,
    coordinates,
    coordinates_of,
    sample,
    table,
)

POINTS = {name: coordinates_of(found) for name, found in sample().items()}
ANALYSED = {name: analyse(found, 2) for name, found in sample().items()}


def test_there_are_enough_tables_and_their_names_are_their_own() -> None:
    assert len(sample()) >= 200
    assert not sample().keys() & NAMED.keys()
    assert len(set(POINTS.values())) == len(sample()), "no two are one network"
    for name, found in sample().items():
        assert re.fullmatch(r"[\w.+-]{1,40}", name)
        assert from_config(found.as_config()) == found
        assert name.removesuffix(SHIFTED) == POINTS[name].name


def test_about_half_are_written_with_multipliers_that_change_nothing() -> None:
    shifted = {name: found for name, found in sample().items() if name.endswith(SHIFTED)}
    assert 0.4 < len(shifted) / len(sample()) < 0.6
    for name, found in sample().items():
        plain = table(POINTS[name])
        assert equivalent(found, plain)
        assert any(e.a for e in (found.input, found.hidden, found.output) if e) == (name in shifted)


def test_quick_formulas_are_those_of_the_theory() -> None:
    """The second road: movements, the read-out's conditions, stability, each from the general theory."""
    for name, point in POINTS.items():
        slack = {each.quantity: each.slack for each in ANALYSED[name].conditions}
        moves = tuple(movement(sample()[name], layer, 2) for layer in (1, 2, 3))
        assert point.slacks[:3] == moves
        assert not point.starts or point.slacks[3] == slack["W_0 Δx of the read-out"]
        assert point.stable == (ANALYSED[name].regime is not Regime.UNSTABLE)
        assert point.starts == all(slack[f"h^{layer} at the start"] == 0 for layer in (1, 2))


def test_a_wrong_formula_would_be_seen() -> None:
    """Planted: r_2 without its -1, and the read-out's update forgotten in the backward signal."""
    for wrong in (
        lambda point: min(point.b3, point.c3) + point.c2,
        lambda point: point.b3 + point.c2 - 1,
    ):
        assert any(wrong(point) != movement(sample()[name], 2, 2) for name, point in POINTS.items())


def broken(name: str) -> frozenset[str]:
    return frozenset(each.quantity for each in ANALYSED[name].conditions if not each.holds)


@pytest.mark.parametrize(
    "quantity", ["h^1 at the start", "f_0", "Δh", "ΔW x of the read-out", "W_0 Δx of the read-out"]
)
def test_each_condition_is_broken_alone(quantity: str) -> None:
    assert any(broken(name) == {quantity} for name in sample())


def test_starts_are_broken_both_ways() -> None:
    assert {point.b1 > 0 for point in POINTS.values() if point.b1} == {True, False}
    assert {point.b2 > Fraction(1, 2) for point in POINTS.values() if point.b2 != Fraction(1, 2)} == {True, False}


def test_movement_is_too_large_by_either_layer() -> None:
    signs = {tuple(r < 0 for r in point.slacks[:2]) for point in POINTS.values() if point.starts}
    assert signs == {(False, False), (True, False), (False, True), (True, True)}


def test_every_face_edge_and_vertex_of_the_stable_set_is_there() -> None:
    """Which layers move, and whether the read-out passes it on, for stable points of each regime."""
    zeros = {tuple(slack == 0 for slack in point.slacks) for point in POINTS.values() if point.stable}
    kernel = {(False, False, *rest) for rest in ((True, False), (False, True), (True, True))}
    learning = {
        (*hidden, *rest)
        for hidden in ((True, False), (False, True), (True, True))
        for rest in ((True, False), (False, True), (True, True))
    }
    assert zeros >= kernel | learning | {(False, False, False, False), (True, True, False, False)}


def test_every_regime_and_the_only_maximal_point_are_there() -> None:
    counted = Counter(found.regime for found in ANALYSED.values())
    assert min(counted[each] for each in Regime) >= 20
    assert [POINTS[name] for name, found in ANALYSED.items() if found.maximal] == [MUP]


def test_coordinates_do_not_know_of_shifts() -> None:
    thetas = {Role.INPUT: Fraction(3, 4), Role.HIDDEN: Fraction(-1, 4), Role.OUTPUT: Fraction(2)}
    point = coordinates("0", "1/2", "3/4", "-1/2", "1/4", "5/4")
    assert coordinates_of(table(point, shifts=thetas)) == point
    assert coordinates_of(NAMED["mup"]) == coordinates_of(NAMED["mean-field"]) == MUP
    assert coordinates_of(NAMED["ntp"]) == NTP
    assert coordinates_of(canonical(NAMED["sp"])[0]) == coordinates("0", "1/2", "1/2", "0", "0", "0")


def test_the_slices_pass_through_the_named_tables() -> None:
    through, edge, small = SLICES
    places = {name: through.find(coordinates_of(NAMED[name])) for name in ("sp", "ntp", "mup", "sp-over-n")}
    assert places == {"sp": (0, 0), "ntp": (0, 1), "mup": (1, 1), "sp-over-n": None}
    assert edge.find(NTP) == (Fraction(1, 2), 1)
    assert edge.find(MUP) == (1, 0)
    assert small.find(MUP) is None


@pytest.mark.parametrize("part", SLICES, ids=[part.title for part in SLICES])
def test_slices_are_planes_that_find_their_points_and_no_others(part: object) -> None:
    assert isinstance(part, type(SLICES[0]))
    for x in part.x:
        for y in part.y:
            point = part.point(x, y)
            assert part.find(point) == (x, y)
            assert point in set(POINTS.values())
            assert part.find(Coordinates(*point[:4], point.c2 + 1, point.c3)) is None
