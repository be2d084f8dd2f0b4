"""What the terminal shows: tables, progress with the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from tpbench.bench.claim import ABSENT, LAZY, Claim, ClaimResult, Judged, Point, Verdict

if TYPE_CHECKING:
    from tpbench.bench.engine import Progress as OnProgress

MARKS = {
    Verdict.SUPPORTED: Text("✓ supported", style="green"),
    Verdict.INCONCLUSIVE: Text("? inconclusive", style="yellow"),
    Verdict.REFUTED: Text("✗ refuted", style="bold red"),
}


UNBROKEN = 160
"""Columns of a line where no terminal says how wide it is."""


def stdout() -> Console:
    """Return the console of standard output; what goes to a file is not folded at 80 columns."""
    console = Console()
    return console if console.is_terminal else Console(width=UNBROKEN)


def claims_table(claims: Iterable[Claim]) -> Table:
    """Return a table of claims: what they state, where it is from, for which parametrizations."""
    table = Table("claim", "statement", "parametrizations", "source")
    for claim in claims:
        table.add_row(claim.name, claim.statement, " ".join(claim.sweeps["nightly"].parametrizations), claim.source)
    return table


def verdicts_table(results: Iterable[ClaimResult]) -> Table:
    """Return a table with a row a claim and parametrization: verdict, how many estimates, and a typical one."""
    table = Table("claim", "parametrization", "verdict", "estimates", "furthest from its prediction")
    for result in results:
        names = tuple(dict.fromkeys(row.estimate.prediction.parametrization for row in result.judged))
        for name in names:
            part = ClaimResult(result.claim, result.of(name))
            table.add_row(result.claim, name, MARKS[part.verdict], _counted(part.judged), _told(part.furthest))
        if not names:
            table.add_row(result.claim, "-", MARKS[result.verdict], "0", result.note)
    return table


def estimates_table(result: ClaimResult) -> Table:
    """Return a table with a row an estimate of one claim."""
    columns = ("parametrization", "quantity", "layer", "step", "theory", "rival", "estimate", "95% interval")
    table = Table(*columns, "verdict", "note", title=result.claim, title_justify="left")
    for row in result.judged:
        e, p = row.estimate, row.estimate.prediction
        table.add_row(
            p.parametrization,
            f"{p.quantity} ({p.kind})",
            _place(p.layer),
            _place(p.step),
            f"{'≤ ' if p.side == 'at most' else ''}{p.predicted:g} ± {p.tolerance:g}",
            f"{p.rival:g}",
            f"{e.value:.3f}",
            f"[{e.low:.3f}, {e.high:.3f}]",
            MARKS[row.verdict],
            e.note,
        )
    return table


def _place(coordinate: int) -> str:
    return "" if coordinate == ABSENT else str(coordinate)


def _counted(rows: tuple[Judged, ...]) -> str:
    counts = {verdict: sum(row.verdict is verdict for row in rows) for verdict in Verdict}
    return " ".join(f"{MARKS[verdict].plain[0]}{count}" for verdict, count in counts.items() if count)


def _told(row: Judged | None) -> str:
    if row is None:
        return ""
    e, p = row.estimate, row.estimate.prediction
    where = "".join(f" {word} {value}" for word, value in (("layer", p.layer), ("step", p.step)) if value != ABSENT)
    return f"{p.quantity}{where} ({p.kind}): {e.value:.2f} [{e.low:.2f}, {e.high:.2f}], theory {p.predicted:g}"


@contextmanager
def progress_bars() -> Iterator[Callable[[str], OnProgress]]:
    """Show a bar a stage on standard error while the context is open."""
    columns = (
        TextColumn("{task.description:10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[last]}", style="dim"),
    )
    with Progress(*columns, console=Console(stderr=True)) as shown:

        def stage(title: str) -> OnProgress:
            task = shown.add_task(title, total=None, last="")

            def tell(total: int, done: int, point: Point) -> None:
                lazy = " lazy" if point.config.get("weights") == LAZY else ""
                last = f"{point.experiment} {point.parametrization} n={point.width}{lazy}"
                shown.update(task, total=total, completed=done, last=last)

            return tell

        yield stage


def status_line(what: str) -> AbstractContextManager[object]:
    """Show a spinner with a word on standard error while the context is open."""
    return Console(stderr=True).status(what)
