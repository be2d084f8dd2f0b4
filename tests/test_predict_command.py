"""``tpbench predict``: the table of exponents in words and as JSON, and what it refuses."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tpbench.cli import app
from tpbench.parametrization import PARAMETRIZATIONS, exponent, from_config, named, regime


def run(*words: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["predict", *words])
    assert result.exit_code == status, result.output
    return result.output


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_json_is_what_the_library_says(name: str) -> None:
    found = json.loads(run(name, "--json"))
    table = named(name)
    depth = 1 if table.hidden is None else 2
    assert found["regime"] == regime(table, depth)
    assert from_config(found["parametrization"]) == table
    assert {e.a for e in (from_config(found["canonical"]).input, from_config(found["canonical"]).output)} == {0}
    for entry in found["exponents"]:
        for key, first in (("first_step", True), ("later", False)):
            power = exponent(table, entry["quantity"], depth=depth, layer=entry["layer"], first_step=first)
            assert Fraction(entry[key]) == power


def test_words_name_regime_violations_kernel_and_boundary() -> None:
    assert "feature learning" in (text := run("mup"))
    assert "maximal" in text
    assert "the limiting kernel has the terms of: layer 2, read-out" in run("sp-over-n")
    assert "W_0 Δx blows up" in run("sp", "--optimizer", "adam")
    assert "maximal" not in run("ntp")


def test_rates_of_sgd_under_another_optimizer_get_a_hint() -> None:
    assert "are the table mup-adam" in " ".join(run("mup", "--optimizer", "adam").split())
    assert "mup-adam" not in run("mup")
    assert "taken literally" not in run("mup-adam", "--optimizer", "adam")


def test_first_step_and_later_are_two_rows_where_they_differ() -> None:
    assert "Δh, after one step" in run("sp")
    assert "Δh, after one step" not in run("ntp")


def test_a_readout_that_starts_at_zero_moves_nothing_else_at_first() -> None:
    text = run("mup", "--zero-output")
    assert "exactly 0" in text
    assert "b = (0, 1/2, zero)" in text


def test_alignment_changes_the_regime_of_sp_under_adam() -> None:
    assert "unstable" in run("sp-adam", "--optimizer", "adam")
    assert "feature learning" in run("sp-adam", "--optimizer", "adam", "--alignment", "readout-unaligned")


def test_a_table_that_starts_wrong_has_no_exponents_but_says_why(tmp_path: Path) -> None:
    table = PARAMETRIZATIONS["mup"].as_config()
    rows = [f'name = "odd"\n{"".join(_section(role, table[role]) for role in ("input", "hidden", "output"))}']
    (tmp_path / "odd.toml").write_text(rows[0].replace('b = "1/2"', 'b = "1/4"', 1))
    text = run(str(tmp_path / "odd.toml"))
    assert "a_1 + b_1 = -1/4" in text
    assert "exponent of n" not in text


def _section(role: str, exponents: dict[str, str]) -> str:
    return f"[{role}]\n" + "".join(f'{key} = "{value}"\n' for key, value in exponents.items())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("mupp",), "did you mean 'mup'"),
        (("mup", "--optimizer", "adamm"), "did you mean 'adam'"),
        (("mup", "--alignment", "half"), "unknown --alignment"),
        (("mup", "--depth", "0"), "from 1: got 0"),
        (("mean-field", "--depth", "2"), "one hidden layer"),
    ],
)
def test_bad_input(words: tuple[str, ...], says: str) -> None:
    assert says in " ".join(run(*words, status=2).split())
