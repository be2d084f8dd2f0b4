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
from tpbench.bench.fold import MOST_TABLES, names, others, shown
from tpbench.bench.words import BELOW_NOISE, SIGNS

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
        swept = claim.sweeps["nightly"].parametrizations
        told = " ".join(swept) if len(swept) <= MOST_TABLES else f"{len(swept)} sampled tables"
        table.add_row(claim.name, claim.statement, told, claim.source)
    return table


def verdicts_table(results: Iterable[ClaimResult]) -> Table:
    """Return a table with a row a claim and parametrization: verdict, how many estimates, and the worst one.

    Where a claim is about very many parametrizations, the supported ones share a row.
    """
    table = Table("claim", "parametrization", "verdict", "estimates", "furthest from its prediction")
    for result in results:
        parts = _parts(result)
        for name, part in parts.items():
            table.add_row(result.claim, name, MARKS[part.verdict], _counted(part.judged), _told(part.furthest))
        if not parts:
            table.add_row(result.claim, "-", MARKS[result.verdict], "0", result.note)
    return table


def _parts(result: ClaimResult) -> dict[str, ClaimResult]:
    parts = {name: ClaimResult(result.claim, result.of(name)) for name in names(result)}
    if len(parts) <= MOST_TABLES:
        return parts
    worse = {name: part for name, part in parts.items() if part.verdict is not Verdict.SUPPORTED}
    rest = others(result, tuple(worse))
    return {**worse, f"{len(parts) - len(worse)} tables": rest} if rest.judged else worse


def estimates_table(result: ClaimResult) -> Table:
    """Return a table with a row an estimate of one claim; of very many, those that ``fold.shown`` chooses."""
    columns = ("parametrization", "quantity", "layer", "step", "theory", "rival", "estimate", "95% interval")
    table = Table(*columns, "verdict", "note", title=result.claim, title_justify="left")
    rows, left_out = shown(result.judged)
    for row in rows:
        e, p = row.estimate, row.estimate.prediction
        table.add_row(
            p.parametrization,
            f"{p.quantity} ({p.kind})",
            _place(p.layer),
            _place(p.step),
            f"{SIGNS.get(p.side, '')}{p.predicted:g} ± {p.tolerance:g}",
            f"{p.rival:g}",
            *(("none", BELOW_NOISE) if e.below_noise else (f"{e.value:.3f}", f"[{e.low:.3f}, {e.high:.3f}]")),
            MARKS[row.verdict],
            e.note,
        )
    if left_out:
        table.caption = f"{left_out} more are supported and nearer to their predictions; --json has them all"
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
    found = BELOW_NOISE if e.below_noise else f"{e.value:.2f} [{e.low:.2f}, {e.high:.2f}]"
    return f"{p.quantity}{where} ({p.kind}): {found}, theory {p.predicted:g}"


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
