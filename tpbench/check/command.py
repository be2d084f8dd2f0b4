"""``tpbench check``: options, progress, table and picture. Imports no torch until it runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpbench.exit import REFUTED, bad_input

if TYPE_CHECKING:
    from tpbench.check.report import Report


def check_command(
    factory: Annotated[
        str,
        typer.Argument(
            metavar="FILE.py:FUNCTION",
            help="A function of the width that returns (model, optimizer), maybe a batch and a loss; "
            "or package.module:function.",
        ),
    ],
    parametrization: Annotated[str, typer.Option(help="A name, or a TOML file with an abc table.")] = "mup",
    widths: Annotated[str, typer.Option(help="Widths to train, at least three.")] = "64,128,256,512,1024",
    wide: Annotated[
        str,
        typer.Option(
            help="Further widths, such as 16384,131072, at which SGD's hidden weights are never built; 2 seeds."
        ),
    ] = "",
    seeds: Annotated[int, typer.Option(help="Networks at every width.")] = 4,
    steps: Annotated[int, typer.Option(help="Steps of training.")] = 4,
    optimizer_family: Annotated[
        str | None, typer.Option(help="sgd, adam or spectral, for an optimizer of your own.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    decay: Annotated[
        bool, typer.Option("--decay/--no-decay", help="Judge weight decay, or let it fade with the width.")
    ] = True,
    plot: Annotated[Path | None, typer.Option(help="Draw sizes against width to a file: .png, .svg or .pdf.")] = None,
    every: Annotated[bool, typer.Option("--every", help="Show every estimate of a large model by itself.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Check that a PyTorch model of your own is muP: layer by layer, with the cause and the remedy where it is not.

    Trains small versions of it for a few steps. Exit status 3 when the parametrization is refuted.
    """
    with bad_input():
        from tpbench.check.load import load_factory
        from tpbench.claims.experiments.threads import resolve_device

        _check_suffix(plot)
        build = load_factory(factory)
        with _progress() as progress:
            report = _checked(
                build,
                parametrization,
                widths=_numbers(widths, "--widths"),
                wide=_numbers(wide, "--wide") if wide.strip() else (),
                seeds=seeds,
                steps=steps,
                family=optimizer_family,
                decay=decay,
                device=resolve_device(device),
                progress=progress,
            )
        _show(report, plot, every=every, as_json=as_json)


def _checked(build: Callable[[int], Any], parametrization: str, **options: Any) -> Report:
    """Run the check; what the user's own code raises becomes one sentence with the line it came from."""
    from tpbench.check.api import check
    from tpbench.check.load import from_users_code, told

    try:
        return check(build, parametrization, **options)
    except Exception as error:
        if isinstance(error, ValueError) and not from_users_code(error):
            raise
        raise ValueError(f"the factory or its model failed: {told(error)}") from error


def _show(report: Report, plot: Path | None, *, every: bool, as_json: bool) -> None:
    from tpbench.bench.claim import Verdict
    from tpbench.check.show import as_json as json_of
    from tpbench.check.show import shown
    from tpbench.console import stdout

    if as_json:
        print(json.dumps(json_of(report), indent=1, ensure_ascii=False))
    else:
        stdout().print(shown(report, every=every), highlight=False)
    if plot is not None:
        from tpbench.bench.plot import save
        from tpbench.check.plot import draw

        for path in save({plot.stem: draw(report)}, plot.parent, (plot.suffix[1:],)):
            print(f"picture: {path}", file=sys.stderr)
    raise typer.Exit(REFUTED if report.verdict is Verdict.REFUTED else 0)


FORMATS = (".png", ".svg", ".pdf")


def _check_suffix(plot: Path | None) -> None:
    if plot is not None and plot.suffix not in FORMATS:
        raise ValueError(f"--plot writes {', '.join(FORMATS)}; got {str(plot)!r}: end the file's name with one of them")


def _numbers(text: str, option: str) -> tuple[int, ...]:
    words = text.replace(",", " ").split()
    if not words or not all(word.isdigit() and int(word) > 0 for word in words):
        raise ValueError(f"{option} are whole numbers with commas between, such as 64,128,256; got {text!r}")
    return tuple(int(word) for word in words)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show on standard error how many networks are done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("networks"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("networks", total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
