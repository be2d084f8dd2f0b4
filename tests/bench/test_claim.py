"""The nouns: digests that change with everything that matters, validation, strict JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.bench.claim import PROFILES, SETTLED, Claim, Kind, Point, Prediction, Row, Side, Sweep, canonical_json

POINT = Point("training", "mup", 64, (0, 1, 2), {"rate": 0.5, "table": {"a": 1, "b": [1, 2]}}, "abc")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def reversed_keys(value: Any) -> Any:
    """Return the same JSON value with the keys of every object in the opposite order."""
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    return [reversed_keys(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "change",
    [
        {"experiment": "tangent"},
        {"parametrization": "ntp"},
        {"width": 65},
        {"seeds": (0, 1)},
        {"seeds": (0, 1, 3)},
        {"seeds": (1, 0, 2)},
        {"config": {**POINT.config, "rate": 0.25}},
        {"config": {**POINT.config, "rate": "0.5"}},
        {"config": {**POINT.config, "more": None}},
        {"config": {"rate": 0.5}},
        {"config": {"rate": 0.5, "table": {"a": 1, "b": [2, 1]}}},
        {"code": "abd"},
    ],
)
def test_a_digest_changes_with_everything_that_a_run_depends_on(change: dict[str, Any]) -> None:
    assert dataclasses.replace(POINT, **change).digest != POINT.digest


def test_every_field_of_a_point_is_in_its_configuration() -> None:
    assert set(POINT.as_config()) == {each.name for each in dataclasses.fields(Point)}


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    turned = dataclasses.replace(POINT, config=reversed_keys(POINT.config))
    assert list(turned.config) != list(POINT.config)
    assert turned.digest == POINT.digest


def test_a_digest_is_sixteen_hex_digits_and_survives_json() -> None:
    read = json.loads(canonical_json(POINT.as_config()))
    assert len(POINT.digest) == 16
    assert int(POINT.digest, 16) >= 0
    assert Point(**{**read, "seeds": tuple(read["seeds"])}).digest == POINT.digest


@given(st.dictionaries(st.text(), JSON))
def test_canonical_json_is_one_text_for_one_value(value: dict[str, Any]) -> None:
    assert canonical_json(reversed_keys(value)) == canonical_json(value)
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(), JSON), st.dictionaries(st.text(), JSON))
def test_equal_texts_mean_equal_values(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert canonical_json(one) != canonical_json(other) or one == other


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_canonical_json_refuses_what_json_cannot_say(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": [1, {"b": number}]})
    with pytest.raises(ValueError, match="JSON"):
        dataclasses.replace(POINT, config={"rate": number}).digest  # noqa: B018


@pytest.mark.parametrize("thing", [{1, 2}, object(), b"bytes"])
def test_canonical_json_refuses_what_is_not_json(thing: object) -> None:
    with pytest.raises(TypeError):
        canonical_json({"a": thing})


def predicted(**changes: Any) -> Prediction:
    return Prediction(**{**vars(Prediction("mup", "size", Kind.EXPONENT, 0.0, 0.5, 0.1)), **changes})


@pytest.mark.parametrize("tolerance", [0.0, -0.1])
def test_a_tolerance_is_positive(tolerance: float) -> None:
    with pytest.raises(ValueError, match="size: a tolerance is positive"):
        predicted(tolerance=tolerance)


@pytest.mark.parametrize("rival", [0.0, 0.1, -0.1, 0.05])
def test_a_rival_lies_outside_the_tolerance(rival: float) -> None:
    with pytest.raises(ValueError, match="no measurement could tell them apart"):
        predicted(rival=rival)


@pytest.mark.parametrize("rival", [0.11, -0.11, 3.0])
@pytest.mark.parametrize("side", Side)
def test_a_rival_outside_the_tolerance_is_fine(rival: float, side: Side) -> None:
    assert predicted(rival=rival, side=side).rival == rival


@pytest.mark.parametrize("seeds", [(), (4,), (4, 4, 4)])
def test_a_sweep_has_one_number_of_seeds_a_width(seeds: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"got 2 widths and {len(seeds)} numbers of seeds"):
        Sweep(("mup",), (64, 128), seeds, {})


def test_a_sweep_knows_its_sizes_by_weights() -> None:
    sweep = Sweep(("mup",), (64, 128), (9, 5), {}, lazy={128: 4, 4096: 2})
    assert sweep.sizes("dense") == {64: 9, 128: 5}
    assert sweep.sizes("lazy") == {128: 4, 4096: 2}
    plain = Sweep(("mup",), (64, 128), (9, 5), {})
    assert plain.sizes("lazy") == {}
    assert plain.variants == {"": {}}


def test_a_sweep_without_variants_is_an_error() -> None:
    with pytest.raises(ValueError, match="without variants runs nothing"):
        Sweep(("mup",), (64,), (4,), {}, variants={})


@pytest.mark.parametrize("key", SETTLED)
def test_a_variant_changes_nothing_that_is_decided_elsewhere(key: str) -> None:
    with pytest.raises(ValueError, match=f"variant 'other' changes {key}, "):
        Sweep(("mup",), (64,), (4,), {}, variants={"": {}, "other": {"depth": 3, key: "x"}})


@pytest.mark.parametrize("missing", PROFILES)
def test_a_claim_has_a_sweep_for_every_profile(missing: str) -> None:
    sweep = Sweep(("mup",), (64, 128, 256), (4, 4, 4), {})

    def claim(profiles: tuple[str, ...]) -> Claim:
        sweeps = dict.fromkeys(profiles, sweep)
        return Claim("c", "statement", "source", "rival", "training", sweeps, lambda config: (), (), ())

    assert claim(PROFILES).sweeps["full"] is sweep
    with pytest.raises(ValueError, match=f"claim 'c' has no sweep for profile {missing}$"):
        claim(tuple(profile for profile in PROFILES if profile != missing))


@pytest.mark.parametrize("thing", [POINT, predicted(), Sweep(("mup",), (64,), (4,), {})])
def test_nouns_are_frozen(thing: Any) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(thing, dataclasses.fields(thing)[0].name, "other")


def test_a_row_is_absent_where_nothing_is_said() -> None:
    assert Row("loss", 0.5) == ("loss", 0.5, -1, -1, -1, -1)
