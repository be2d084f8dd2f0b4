"""``tpbench predict``: what theory says of an abc table under an optimizer. Imports no numerical library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpbench.exit import bad_input

if TYPE_CHECKING:
    from tpbench.parametrization import Analysis, Parametrization, Rule

QUANTITIES = {
    "preactivation-change": "Δh",
    "weight-update": "ΔW x",
    "initial-weight-on-change": "W₀ Δx",
    "output-initial": "f₀",
    "output-change": "Δf",
}


def predict_command(
    table: Annotated[str, typer.Argument(help="A name, such as mup, or a TOML file with an abc table.")],
    optimizer: Annotated[str, typer.Option(help="sgd, adam, adamw, sign, spectral or muon.")] = "sgd",
    depth: Annotated[int | None, typer.Option(help="Hidden layers; 2, or 1 for tables without hidden weights.")] = None,
    alignment: Annotated[
        str, typer.Option(help="tensor-programs, readout-unaligned, none or full.")
    ] = "tensor-programs",
    zero_output: Annotated[bool, typer.Option("--zero-output", help="The read-out starts at 0.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Say what theory predicts of a table: its regime, every exponent, which layers learn, the nearest boundary."""
    with bad_input():
        from tpbench.parametrization import analyse, table_of

        found = table_of(table)
        rule = _rule(optimizer, alignment, zero_output)
        layers = (1 if found.hidden is None else 2) if depth is None else depth
        if layers < 1:
            raise ValueError(f"--depth is the number of hidden layers, from 1: got {layers}")
        analysis = analyse(found, layers, rule)
        powers = _powers(found, layers, rule)
        if as_json:
            print(json.dumps(_as_json(found, rule, analysis, powers), indent=1, ensure_ascii=False))
        else:
            _print(found, rule, layers, analysis, powers)


def _rule(optimizer: str, alignment: str, zero_output: bool) -> Rule:
    from tpbench.parametrization import ALIGNMENTS, RULES, Rule, did_you_mean

    for option, word, known in (("optimizer", optimizer, RULES), ("alignment", alignment, ALIGNMENTS)):
        if word not in known:
            raise ValueError(f"unknown --{option} {word!r}{did_you_mean(word, dict.fromkeys(known))}")
    return Rule(RULES[optimizer].family, ALIGNMENTS[alignment], zero_output)


Powers = Mapping[tuple[str, int], tuple[Fraction | None, Fraction | None]]
"""(quantity, layer) -> the exponents after the first step and later; None for what is exactly 0."""


def _powers(table: Parametrization, depth: int, rule: Rule) -> Powers:
    """Return every exponent, or nothing where the initialisation itself is not of size 1."""
    from tpbench.parametrization.predict import initial_sizes, layers_with

    if any(initial_sizes(table, depth).values()):
        return {}
    return {
        (quantity, layer): (
            _power(table, quantity, layer, depth, True, rule),
            _power(table, quantity, layer, depth, False, rule),
        )
        for quantity in QUANTITIES
        for layer in layers_with(quantity, depth)
    }


def _power(
    table: Parametrization, quantity: str, layer: int, depth: int, first_step: bool, rule: Rule
) -> Fraction | None:
    from tpbench.parametrization import exponent

    try:
        return exponent(table, quantity, depth=depth, layer=layer, first_step=first_step, rule=rule)
    except ValueError:  # a read-out that starts at 0
        return None


def _as_json(table: Parametrization, rule: Rule, analysis: Analysis, powers: Powers) -> dict[str, Any]:
    from tpbench.parametrization import canonical

    return {
        "parametrization": table.as_config(),
        "canonical": canonical(table, rule)[0].as_config(),
        "optimizer": rule.family.value,
        "zero_output": rule.zero_output,
        "regime": analysis.regime.value,
        "violations": list(analysis.violations),
        "moved": list(analysis.moved),
        "maximal": analysis.maximal,
        "nearest_boundary": None if analysis.boundary is None else analysis.boundary.quantity,
        "distance": None if analysis.distance is None else str(analysis.distance),
        "exponents": [
            {
                "quantity": quantity,
                "layer": layer,
                "first_step": None if first is None else str(first),
                "later": None if later is None else str(later),
            }
            for (quantity, layer), (first, later) in powers.items()
        ],
    }


def _print(table: Parametrization, rule: Rule, depth: int, analysis: Analysis, powers: Powers) -> None:
    from rich.table import Table

    from tpbench.console import stdout

    console = stdout()
    start = ", a read-out that starts at 0" if rule.zero_output else ""
    layers = "1 hidden layer" if depth == 1 else f"{depth} hidden layers"
    console.print(f"{table.name} under {rule.family}, {layers}{start}: [bold]{analysis.regime}[/bold]")
    for line in _sentences(table, rule, depth, analysis):
        console.print(line, highlight=False)
    if not powers:
        return
    shown = Table("exponent of n", *[_layer(layer, depth) for layer in range(1, depth + 2)])
    for quantity, symbol in QUANTITIES.items():
        first, later = ([_cell(powers, quantity, layer, which) for layer in range(1, depth + 2)] for which in (0, 1))
        if first == later:
            shown.add_row(symbol, *later)
        else:
            shown.add_row(f"{symbol}, after one step", *first)
            shown.add_row(f"{symbol}, later", *later)
    console.print(shown)


def _layer(layer: int, depth: int) -> str:
    return "read-out" if layer == depth + 1 else f"layer {layer}"


def _cell(powers: Powers, quantity: str, layer: int, which: int) -> str:
    if (quantity, layer) not in powers:
        return ""
    power = powers[quantity, layer][which]
    return "exactly 0" if power is None else str(power)


def _sentences(table: Parametrization, rule: Rule, depth: int, analysis: Analysis) -> list[str]:
    from tpbench.parametrization import analyse, canonical, kernel_content
    from tpbench.parametrization.rule import Family
    from tpbench.parametrization.stability import Regime

    form = canonical(table, rule)[0]
    weights = [form.layer(layer, depth) for layer in range(1, depth + 2)]
    names = [_layer(layer, depth) for layer in range(1, depth + 2)]
    moved = [name for name, moves in zip(names, analysis.moved, strict=True) if moves]
    b = [str(e.b) for e in weights[:-1]] + ["zero" if rule.zero_output else str(weights[-1].b)]
    found = [
        f"without multipliers (a = 0): b = ({', '.join(b)}), c = ({', '.join(str(e.c) for e in weights)})",
        *analysis.violations,
        f"own updates move their layer's output by Θ(1): {', '.join(moved) or 'none'}",
    ]
    if analysis.maximal:
        found.append("maximal: every layer learns, and the initial read-out passes it on")
    if analysis.regime is Regime.KERNEL and rule.family is Family.SGD and not rule.zero_output:
        kept = [name for name, power in zip(names, kernel_content(table, depth), strict=True) if power == 0]
        found.append(f"the limiting kernel has the terms of: {', '.join(kept)}")
    if rule.family is not Family.SGD and analyse(table, depth).maximal and not analysis.maximal:
        found.append(
            f"the rates of {table.name!r} are those of SGD, and are taken literally here; those of muP for sign-like "
            "optimizers are the table mup-adam"
        )
    if analysis.boundary is not None:
        found.append(f"nearest boundary: {analysis.boundary.quantity} ~ n^{-analysis.boundary.slack}")
    return found
