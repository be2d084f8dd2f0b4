"""``tpbench data``: the corpora of word2vec, whether they are on this machine, and getting them there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpbench.exit import bad_input

if TYPE_CHECKING:
    from rich.table import Table

    from tpbench.data.corpus import Corpus

data_app = typer.Typer(help="List and prepare the texts of the word2vec claims.", no_args_is_help=True)


@data_app.command("list")
def list_corpora(as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False) -> None:
    """List the corpora: what they are, whether they are on this machine, and what to do where one is not."""
    with bad_input():
        described = _described()
        if as_json:
            print(json.dumps(described, indent=1, ensure_ascii=False))
            return
        from rich.table import Table

        from tpbench.console import stdout

        table = Table("corpus", "what", "tokens", "vocabulary", "licence", "ready")
        for row in described:
            words = f"{row['vocabulary']:,} (at least {row['min_count']} times)"
            ready = "yes" if row["ready"] else f"no: {row['remedy']}"
            table.add_row(row["name"], row["what"], f"{row['tokens']:,}", words, row["licence"], ready)
        stdout().print(table)


def _described() -> list[dict[str, Any]]:
    from tpbench.data.corpus import CORPORA, missing

    rows = []
    for name, kind in CORPORA.items():
        remedy = missing(name)
        rows.append(
            {
                "name": name,
                "what": kind.what,
                "tokens": kind.tokens,
                "vocabulary": kind.words,
                "min_count": kind.min_count,
                "licence": kind.licence,
                "ready": not remedy,
                "remedy": remedy,
            }
        )
    return rows


@data_app.command("prepare")
def prepare_corpus(
    name: Annotated[str, typer.Argument(help="A corpus of `tpbench data list`.")],
    path: Annotated[Path | None, typer.Option(help="The file, for corpora that are read from one of yours.")] = None,
) -> None:
    """Fetch, check and assemble a corpus where that is needed, and print what it holds."""
    with bad_input():
        from tpbench.console import stdout
        from tpbench.data.corpus import kind, prepare

        held = prepare(name, lambda line: print(f"{line} …", file=sys.stderr), path=path)
        console = stdout()
        console.print(_table(held))
        for line in (f"source: {held.source}", f"licence: {held.licence}", f"sha256 of all of it: {held.digest}"):
            console.print(line, highlight=False, soft_wrap=True)
        variable = kind(name).variable
        if variable and path is not None:
            told = f"The path is not remembered: set {variable}={path.resolve()} to use it from now on."
            console.print(told, highlight=False, soft_wrap=True)


def _table(held: Corpus) -> Table:
    from rich.table import Table

    from tpbench.data.corpus import kind

    table = Table("holds", "number", title=held.name, title_justify="left")
    table.columns[1].justify = "right"
    words = f"words that occur at least {kind(held.name).min_count} times"
    table.add_row("tokens in the vocabulary", f"{len(held.tokens):,}")
    table.add_row(words, f"{len(held.vocabulary):,}")
    table.add_row("sentences", f"{len(held.starts):,}")
    for group, members in held.groups.items():
        table.add_row(group, f"{len(members):,}")
    table.add_row("analogy questions", f"{len(held.analogies.questions):,}")
    for section, questions in held.analogies.sizes().items():
        table.add_row(f"  {section}", f"{questions:,}")
    return table
