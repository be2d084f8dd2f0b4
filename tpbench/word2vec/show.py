"""What ``tpbench word2vec`` prints of a training: a headline, a row an epoch, notes, and the same as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from tpbench.console import stdout
from tpbench.word2vec.record import Epoch, Plane, standard_error
from tpbench.word2vec.request import COMPRESSED, FEATURES, FINITE, INFINITY, KERNEL, Request
from tpbench.word2vec.training import Learned


def headline(request: Request) -> str:
    """Return what was trained, in one line."""
    corpus, word = request.corpus, request.parametrization.name
    networks = "network" if request.seeds == 1 else "networks"
    what = {
        FINITE: f"{request.seeds} {networks} of width {request.width}",
        FEATURES: "infinite width, the feature-learning limit"
        + (f", {request.processes} processes" if request.processes > 1 else ""),
        COMPRESSED: f"infinite width, the feature-learning limit compressed to {request.rank} columns",
        KERNEL: "infinite width, the kernel limit",
    }[request.kind]
    return (
        f"{word}, {request.architecture}: {what}; {corpus.name}, {len(corpus.tokens):,} words, "
        f"vocabulary {len(corpus.vocabulary):,}"
    )


def sizes(request: Request) -> list[int]:
    """Return the number of questions of every section."""
    return list(request.corpus.analogies.sizes().values())


def notes(request: Request, learned: Learned) -> list[str]:
    """Return what a reader must know of the numbers."""
    found = [
        "loss: a pair's, on windows and negatives that training does not see, without weight decay",
        "words a second: of the corpus, those that subsampling drops among them; "
        + ("once for all networks" if request.seeds > 1 and request.width else "while training only"),
    ]
    if len(learned.epochs[-1].loss) > 1:
        found.append("± is the standard error over seeds; networks differ in their start and share a path")
    if not sum(sizes(request)):
        found.append("no analogy question can be answered with this vocabulary: take more words or tokens")
    if learned.plane is not None:
        groups = " and ".join(learned.plane.groups)
        found.append(
            f"separation of {groups} in the plane, in standard deviations: {_shown(learned.plane.separations)}"
            + (", of one plane at random" if request.kind == KERNEL else "")
        )
    else:
        found.append("no separation: this vocabulary has no two groups of three words, or they do not span a plane")
    if request.processes > 1:
        found.append("nothing is measured before the first epoch where processes share the network")
        found.append("the first epoch's words a second are with the start of the processes")
    if request.rank is not None:
        found.append("compressed: tpbench.networks.word2vec.compressed_error measures what that leaves out")
    if learned.resumed is not None:
        at = learned.resumed
        found.append(
            f"was finished already, in {request.checkpoint}"
            if at.ends_epoch and at.epoch + 1 == request.training.epochs
            else f"went on from block {at.block} of {at.blocks} of epoch {at.epoch + 1}, from {request.checkpoint}"
        )
    return found


def print_all(request: Request, learned: Learned) -> None:
    """Print headline, table and notes on standard output."""
    console = stdout()
    console.print(headline(request), highlight=False)
    console.print(_table(request, learned))
    for note in notes(request, learned):
        console.print(note, highlight=False)


def _table(request: Request, learned: Learned) -> Table:
    """Return a table with a row an epoch."""
    table = Table("epoch", "loss", "accuracy, %", "words a second")
    for column in table.columns:
        column.justify = "right"
    for each in learned.epochs:
        accuracy = _shown(each.accuracy(sizes(request)), 100) or "-"
        speed = "-" if each.words_a_second is None else f"{each.words_a_second:,.0f}"
        table.add_row(str(each.number), _shown(each.loss), accuracy, speed)
    return table


def _shown(values: Sequence[float], factor: float = 1) -> str:
    """Return mean ± standard error, to two digits of the error; nothing where there is no value."""
    if not values:
        return ""
    mean, error = factor * sum(values) / len(values), factor * (standard_error(values) or 0.0)
    if not error:
        return f"{mean:.4g}"
    places = max(0, 1 - math.floor(math.log10(error)))
    return f"{mean:.{places}f} ± {error:.{places}f}"


def _summary(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return mean and standard error over seeds; None where there is none."""
    return (sum(values) / len(values), standard_error(values)) if values else (None, None)


def as_json_of(request: Request, learned: Learned, files: dict[str, str]) -> dict[str, Any]:
    """Return all that was asked for and measured as a JSON object; a list has an entry an epoch, from 0 on."""
    corpus, questions = request.corpus, sizes(request)
    at = learned.resumed
    return {
        "corpus": {
            "name": corpus.name,
            "tokens": len(corpus.tokens),
            "vocabulary": len(corpus.vocabulary),
            "digest": corpus.digest,
        },
        "parametrization": request.parametrization.as_config(),
        "width": INFINITY if request.width is None else request.width,
        "kind": request.kind,
        "architecture": request.architecture,
        "random_output": not request.zero_output,
        "base_width": request.base_width,
        "compressed": request.rank,
        "processes": request.processes,
        "seeds": list(request.seed_numbers()),
        "training": asdict(request.training),
        "sampling": asdict(request.sampling),
        "resumed": None if at is None else {"epoch": at.epoch, "block": at.block, "blocks": at.blocks},
        "epochs": [each.number for each in learned.epochs],
        "loss": _columns([each.loss for each in learned.epochs]),
        "accuracy": _columns([each.accuracy(questions) for each in learned.epochs]),
        "sections": {
            name: {
                "questions": questions[place],
                **_columns([each.accuracy_of(place, questions) for each in learned.epochs]),
            }
            for place, name in enumerate(corpus.analogies.names)
        },
        "words_a_second": [each.words_a_second for each in learned.epochs],
        "separation": None if learned.plane is None else _separation(learned.plane),
        "notes": notes(request, learned),
        "files": files,
    }


def _separation(plane: Plane) -> dict[str, Any]:
    mean, error = _summary(plane.separations)
    return {"groups": list(plane.groups), "mean": mean, "standard_error": error}


def _columns(values: Sequence[Sequence[float]]) -> dict[str, list[float | None]]:
    """Return means and standard errors over seeds, an entry an epoch."""
    pairs = [_summary(each) for each in values]
    return {"mean": [mean for mean, _ in pairs], "standard_error": [error for _, error in pairs]}


def told(request: Request, last: Epoch) -> str:
    """Return what was measured last, for the progress bar."""
    accuracy = _shown(last.accuracy(sizes(request)), 100)
    return f", loss {_shown(last.loss)}" + (f", accuracy {accuracy} %" if accuracy else "")
