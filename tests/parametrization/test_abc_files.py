"""Tables from JSON and TOML: the round trip, and one sentence for every mistake."""

from __future__ import annotations

import json
import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from abc_tables import ANY
from hypothesis import given
from hypothesis import strategies as st

from tpbench.parametrization import (
    PARAMETRIZATIONS,
    Parametrization,
    Regime,
    Role,
    from_config,
    named,
    read_table,
    regime,
    scale,
)

GOOD = """
name = "mine"
source = "a paper"
[input]
a = 0
b = 0.0
c = -1
[hidden]
a = "0"
b = "1/2"
c = 0.5
[output]
a = 0
b = 1
c = "1"
"""


def config() -> dict[str, Any]:
    return tomllib.loads(GOOD)


@given(ANY)
def test_every_table_survives_the_round_trip_through_json(table: Parametrization) -> None:
    assert from_config(json.loads(json.dumps(table.as_config()))) == table


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_so_do_the_named_ones_with_and_without_hidden_weights(name: str) -> None:
    written = named(name).as_config()
    assert from_config(written) == named(name)
    assert ("hidden" in written) is (named(name).hidden is not None)
    assert named(name).name == name
    assert named(name).source


def test_numbers_may_be_whole_decimal_or_quoted_fractions(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    table = read_table(path)
    assert (table.name, table.source) == ("mine", "a paper")
    assert table.hidden is not None
    assert (table.hidden.b, table.hidden.c) == (Fraction(1, 2), Fraction(1, 2))
    assert (table.input.c, table.output.b) == (-1, 1)
    assert all(getattr(table.output_bias, key) == 0 for key in "abc")


@given(st.decimals(-9, 9, places=3))
def test_a_decimal_is_read_exactly(value: object) -> None:
    written = config()
    written["input"]["a"] = float(str(value))
    assert from_config(written).input.a == Fraction(str(value))


def test_the_source_is_where_it_was_found_unless_given(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace('source = "a paper"', ""))
    assert read_table(path).source == str(path)


def test_hidden_weights_may_be_missing_for_one_hidden_layer_only(tmp_path: Path) -> None:
    path = tmp_path / "shallow.toml"
    start, rest = GOOD.split("[hidden]")
    path.write_text(start + rest[rest.index("[output]") :])
    table = read_table(path)
    assert table.hidden is None
    assert regime(table, 1) is Regime.FEATURE_LEARNING
    assert scale(table, Role.OUTPUT, 4).std == 0.25
    for use in (lambda: regime(table, 2), lambda: scale(table, Role.HIDDEN, 4)):
        with pytest.raises(ValueError, match=r"'mine' defines no hidden weights.*use depth 1.*\[hidden\] section"):
            use()


@pytest.mark.parametrize("key", ["name", "input", "output"])
def test_a_missing_part_is_named(key: str) -> None:
    written = config()
    del written[key]
    with pytest.raises(ValueError, match=rf"here: '{key}' is missing"):
        from_config(written, where="here")


def test_a_misspelt_section_is_corrected() -> None:
    written = config()
    written["hiden"] = written.pop("hidden")
    with pytest.raises(ValueError, match="here: unknown key 'hiden'; did you mean 'hidden'"):
        from_config(written, where="here")


@pytest.mark.parametrize(
    "section",
    [{"a": 0, "b": 0}, {"a": 0, "b": 0, "c": 0, "d": 0}, {"A": 0, "b": 0, "c": 0}, [0, 0, 0], "1/2", 0, None],
)
def test_a_section_has_exactly_three_numbers(section: object) -> None:
    with pytest.raises(ValueError, match=r"section \[hidden\] has exactly the keys a, b and c"):
        from_config(config() | {"hidden": section})


@pytest.mark.parametrize("value", ["half", "1/0", "", True, False, None, [1], float("nan"), float("inf")])
def test_what_is_not_a_number_is_refused_by_role_and_key(value: object) -> None:
    written = config()
    written["output"]["b"] = value
    with pytest.raises(ValueError, match=r"output\.b = .* is not an exponent; write a number or a fraction"):
        from_config(written)


@pytest.mark.parametrize(("key", "value"), [("name", 3), ("name", "  "), ("name", None), ("source", 1)])
def test_name_and_source_are_words(key: str, value: object) -> None:
    with pytest.raises(ValueError, match="name and source are words"):
        from_config(config() | {key: value})


@pytest.mark.parametrize("content", [b"name = ", b"a = = 1", b"\xff\xfe", b"[input]\na = 1/2\n"])
def test_a_file_that_is_not_toml_says_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.toml: cannot be read as TOML"):
        read_table(path)


def test_a_missing_file_or_a_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.toml: no such parametrization file"):
        read_table(tmp_path / "none.toml")
    with pytest.raises(ValueError, match="cannot be read as TOML"):
        read_table(tmp_path)


def test_a_mistake_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace("c = -1", "c = true"))
    with pytest.raises(ValueError, match=r"mine\.toml: input\.c = True is not an exponent"):
        read_table(path)
