"""``tpbench program``: options, tables, JSON and pictures. Imports no torch until it runs."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpbench.exit import REFUTED, bad_input

if TYPE_CHECKING:
    from rich.table import Table

    from tpbench.bench.claim import Estimate, Prediction
    from tpbench.program_study import Request, Study
    from tpbench.programs import Program

FORMATS = (".png", ".svg", ".pdf")
LONG, FIRST, LAST = 60, 30, 15
"""A program of more lines is printed by so many of the first and of the last."""
INTERNAL = re.compile(r": \w+: Multiple dispatch failed for [^)]*")
"""What torch says of a function that met no tensor; the function's name stands before it."""
ROUNDING = 1e-9
"""Of a prediction, in units of its tolerance: what is closer to 0 is 0."""


def program_command(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE.py[:NAME]",
            help="A file with a program, named `program` or NAME: a Program, or a function without arguments that "
            "returns one (maybe by trace).",
        ),
    ],
    widths: Annotated[str, typer.Option(help="Widths to sample; five or more see finite-width corrections.")] = (
        "64,256,1024,4096,16384"
    ),
    seeds: Annotated[int, typer.Option(help="Samples at every width.")] = 64,
    weights: Annotated[str, typer.Option(help="dense, lazy (the same law, never built) or auto.")] = "auto",
    method: Annotated[str, typer.Option(help="Of the limit: auto, exact, quadrature or sobol.")] = "auto",
    points: Annotated[str, typer.Option(help="Of sobol: powers of two to extrapolate over.")] = "1024,2048,4096",
    replicates: Annotated[int, typer.Option(help="Of sobol: independent scrambles.")] = 64,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    plot: Annotated[Path | None, typer.Option(help="Draw bias and spread against width: .png, .svg or .pdf.")] = None,
    graph: Annotated[Path | None, typer.Option(help="Draw the program as a graph: .png, .svg or .pdf.")] = None,
    whole: Annotated[bool, typer.Option("--program", help="Print all lines of a long program.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Print a Tensor Program, its limit at infinite width, and how samples of growing width approach that.

    Exit status 3 when the samples refute the limit or its rates.
    """
    options = dict(locals())
    with bad_input():
        for option, path in (("--plot", plot), ("--graph", graph)):
            if path is not None and path.suffix not in FORMATS:
                raise ValueError(
                    f"{option} writes {', '.join(FORMATS)}; got {str(path)!r}: end the name with one of them"
                )
        request = _request(options)
        from tpbench.program_file import read_program

        name, found = read_program(file)
        _check(found, request, graph)
        if not as_json:
            from tpbench.console import stdout

            text = str(found) if whole else shortened(str(found))
            stdout().print(text, highlight=False, markup=False, soft_wrap=True)
        _run(name, found, request, plot, in_json=as_json)


def _check(program: Program, request: Request, graph: Path | None) -> None:
    """Refuse what cannot be before anything is printed or computed; the graph is drawn here, for it may be refused."""
    from tpbench.program_study import check_widths

    check_widths(program, request)
    if graph is not None:
        from tpbench.programs.graph import draw

        _save(draw(program), graph)


def shortened(text: str) -> str:
    """Return the first and the last lines of a long text, and how many are between."""
    lines = text.splitlines()
    if len(lines) <= LONG:
        return text
    between = f"… {len(lines) - FIRST - LAST} more lines: --program prints all"
    return "\n".join([*lines[:FIRST], between, *lines[-LAST:]])


def _run(name: str, program: Program, request: Request, plot: Path | None, *, in_json: bool) -> None:
    from tpbench.bench.claim import Verdict
    from tpbench.console import status_line
    from tpbench.program_study import study

    with status_line("limit and samples"):
        found = study(name, program, request)
    if in_json:
        from tpbench.program_json import as_json

        print(json.dumps(as_json(found), indent=1, ensure_ascii=False))
    else:
        _print(found)
    if plot is not None:
        from tpbench.program_picture import picture

        _save(picture(found), plot)
    raise typer.Exit(REFUTED if found.verdict is Verdict.REFUTED else 0)


def _save(picture: Any, path: Path) -> None:
    from tpbench.bench.plot import save

    for written in save({path.stem: picture}, path.parent, (path.suffix[1:],)):
        print(f"picture: {written}", file=sys.stderr)


def _request(o: dict[str, Any]) -> Request:
    """Return the request that the options make; ``ValueError`` says which of them cannot be."""
    from tpbench.claims.experiments.threads import resolve_device
    from tpbench.program_study import Request

    if o["replicates"] < 2:
        raise ValueError(f"--replicates is at least 2, got {o['replicates']}")
    return Request(
        widths=_numbers(o["widths"], "--widths", "64,256,1024"),
        seeds=o["seeds"],
        weights=o["weights"],
        device=resolve_device(o["device"]),
        method=o["method"],
        points=_numbers(o["points"], "--points", "1024,2048"),
        replicates=o["replicates"],
    )


def _numbers(text: str, option: str, such: str) -> tuple[int, ...]:
    words = text.replace(",", " ").split()
    if not words or not all(word.isdigit() and int(word) > 0 for word in words):
        raise ValueError(f"{option} are whole numbers with commas between, such as {such}; got {text!r}")
    return tuple(int(word) for word in words)


# --- what is printed ---------------------------------------------------------------------------------------------


def _print(found: Study) -> None:
    from tpbench.console import stdout

    console = stdout()
    console.print()
    console.print(_values(found))
    console.print(_verdicts(found))
    for line in _notes(found):
        console.print(line, highlight=False, markup=False)
    console.print(f"verdict: {found.verdict}{_hint(found)}", highlight=False)


def _hint(found: Study) -> str:
    """Return what may settle an inconclusive verdict: more samples, or a limit that is known better."""
    from tpbench.bench.claim import Verdict

    if found.verdict is not Verdict.INCONCLUSIVE or found.limit is None:
        return ""
    vague = [_vague(row.estimate, found) for row in found.result.judged if row.verdict is Verdict.INCONCLUSIVE]
    more = ["widths or seeds"] * (not all(vague)) + ["points or replicates"] * any(vague)
    return f" (more {', and '.join(more)} may settle it)"


def _vague(e: Estimate, found: Study) -> bool:
    """Return whether the limit's own error leaves an estimate open."""
    from tpbench.bench.claim import Kind
    from tpbench.program_study import COULD_BE, output_of

    error = found.limit.scalars[output_of(e.prediction)].error if found.limit else 0.0
    return COULD_BE in e.note or (e.prediction.kind is Kind.VALUE and 2 * error > e.prediction.tolerance)


def _values(found: Study) -> Table:
    """Return a table with a row an output: its limit, and its mean over seeds at every width."""
    from rich.table import Table
    from rich.text import Text

    from tpbench.limit_command import with_error

    how = f"limit ({found.limit.method})" if found.limit else "limit"
    table = Table("output", how, *(f"n = {width}, {weights}" for width, weights in found.weights.items()))
    for name in found.asked.outputs:
        means = [found.mean(width, name) for width in found.values]
        table.add_row(Text(name), _limit_text(found, name), *(with_error(each.mean, each.error) for each in means))
    return table


def _limit_text(found: Study, name: str) -> str:
    from tpbench.limit_command import with_error

    if found.limit is None:
        return "unknown"
    value = found.limit.scalars[name]
    return str(value.exact) if value.exact is not None else with_error(value.mean, value.error)


def _verdicts(found: Study) -> Table:
    """Return a table with a row an estimate: what it is of, what theory and its rival say, and the verdict."""
    from rich.table import Table
    from rich.text import Text

    from tpbench.bench.claim import Kind
    from tpbench.bench.words import KINDS, SIGNS
    from tpbench.console import MARKS
    from tpbench.program_study import output_of

    table = Table("output", "estimate of", "theory", "rival", "estimate", "95% interval", "verdict", "note")
    for row in found.result.judged:
        e, p = row.estimate, row.estimate.prediction
        digits, output = _digits(e), output_of(p)
        error = found.limit.scalars[output].error if found.limit and p.kind is Kind.VALUE else 0.0
        known = not math.isnan(e.value)
        table.add_row(
            Text(output),
            KINDS[p.kind],
            f"{SIGNS.get(p.side, '')}{_rounded(p.predicted, p, error):.6g} ± {p.tolerance:.2g}",
            f"{_rounded(p.rival, p, error):.3g}",
            f"{e.value:.{digits}f}" if known else "none",
            f"[{e.low:.{digits}f}, {e.high:.{digits}f}]" if known else "",
            MARKS[row.verdict],
            e.note,
        )
    return table


def _rounded(value: float, prediction: Prediction, error: float) -> float:
    """Return a number of the theory, 0 where it is within the limit's error or rounding of that."""
    return 0.0 if abs(value) <= max(error, ROUNDING * prediction.tolerance) else value


def _digits(e: Estimate) -> int:
    """Return the decimals that an interval needs."""
    reach = e.high - e.low
    return min(max(2, 1 - math.floor(math.log10(reach))), 10) if math.isfinite(reach) and reach > 0 else 2


def _notes(found: Study) -> list[str]:
    lines = [f"note: {text}" for text in found.notes]
    if found.limit is None:
        return [*lines, f"no limit was found, so only the spread is judged: {_plain(found.why)}"]
    return [
        *lines,
        *(f"note: not by {name}: {_plain(why.removeprefix(f'{name}: '))}" for name, why in found.limit.refused.items()),
    ]


def _plain(why: str) -> str:
    """Return a refusal without what torch says of its internals."""
    return INTERNAL.sub("", why)
