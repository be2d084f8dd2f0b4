"""``tpbench word2vec``: options, progress, table and JSON. Imports no torch until it runs."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpbench.exit import INTERRUPTED, bad_input

if TYPE_CHECKING:
    from tpbench.networks.word2vec.train import Moment
    from tpbench.word2vec.record import Epoch
    from tpbench.word2vec.request import Request
    from tpbench.word2vec.training import Learned, Tell

INFINITY = "inf"
NETWORKS = 4
NO_VECTORS = {
    "kernel limit": "a kernel limit has none: its embeddings never move",
    "compressed": "a compressed limit has only a part of them in its columns",
}
"""Why some kinds of training have no vectors to save."""
TILE = 16
"""Positions that share their negatives, or a whole block where that is smaller."""
RATES = {"cbow": 0.05, "skip-gram": 0.005}
"""Architecture -> the rate by default: a position of skip-gram makes as many pairs as its context has words, and their
sum over a block overshoots at the rate of CBOW."""


def word2vec_command(
    corpus: Annotated[str, typer.Argument(help="A corpus of `tpbench data list`.")],
    width: Annotated[str, typer.Option(help="A number of neurons, or inf: the limit, whatever its width.")] = "64",
    parametrization: Annotated[str, typer.Option(help="A name, or a TOML file with an abc table.")] = "mup",
    compressed: Annotated[
        int | None, typer.Option(help="Hold the infinite width in so many columns, about that limit.")
    ] = None,
    processes: Annotated[int, typer.Option(help="Processes, or GPUs, that share the infinite width out.")] = 1,
    seeds: Annotated[
        int | None, typer.Option(help=f"Networks of finite width, {NETWORKS} by default; the limit is one.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Times that the corpus is read.")] = 15,
    rate: Annotated[
        float | None,
        typer.Option(help="Learning rate eta, falling linearly to 1e-4 of itself; 0.05 for cbow, 0.005 for skip-gram."),
    ] = None,
    decay: Annotated[float, typer.Option(help="Weight decay of a vector, each time it is touched.")] = 1e-3,
    window: Annotated[int, typer.Option(help="Largest distance of a context's words.")] = 8,
    negatives: Annotated[int, typer.Option(help="Negative samples.")] = 25,
    subsample: Annotated[float, typer.Option(help="Threshold from which frequent words are dropped; 0: none.")] = 1e-4,
    min_count: Annotated[int | None, typer.Option(help="Rarest words; the corpus's own number by default.")] = None,
    top: Annotated[int | None, typer.Option(help="The most frequent words only, so many.")] = None,
    tokens: Annotated[int | None, typer.Option(help="The first words of the text only, so many.")] = None,
    architecture: Annotated[str, typer.Option(help="cbow or skip-gram.")] = "cbow",
    random_output: Annotated[
        bool, typer.Option("--random-output", help="Start the read-out at random, not 0.")
    ] = False,
    base_width: Annotated[int, typer.Option(help="The width n0 at which all parametrizations are one network.")] = 64,
    block: Annotated[
        int, typer.Option(help=f"Positions a step, a multiple of {TILE} or fewer; {TILE} share negatives.")
    ] = 256,
    seed: Annotated[int, typer.Option(help="Another number is another path and another set of seeds.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    checkpoint: Annotated[
        Path | None, typer.Option(help="Keep the training here, and go on from here where it is kept already.")
    ] = None,
    path: Annotated[Path | None, typer.Option(help="The file of text8 or fil9.")] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write the vectors: .txt or .vec (word2vec's text) or .npz.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Directory of pictures.")] = Path("results/word2vec"),
    plot: Annotated[bool, typer.Option("--plot", help="Draw accuracy against epoch, and two groups of words.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Train word2vec networks of any width, or the infinitely wide one, and print accuracy and loss by epoch."""
    options = dict(locals())
    with bad_input():
        from tpbench.console import status_line
        from tpbench.word2vec.show import as_json_of, print_all
        from tpbench.word2vec.training import StoppedError

        with status_line("reading the corpus"):
            request = _request(options)
        _check_outputs(options, request)
        try:
            learned = _learn(request)
        except StoppedError as stopped:
            print(f"error: {stopped}", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        files = _write(options, request, learned)
        if as_json:
            print(json.dumps(as_json_of(request, learned, files), indent=1, ensure_ascii=False))
        else:
            print_all(request, learned)
        for what, file in files.items():
            print(f"{what}: {file}", file=sys.stderr)


def _learn(request: Request) -> Learned:
    from tpbench.console import status_line
    from tpbench.word2vec.shared import learn_shared
    from tpbench.word2vec.training import learn

    if request.processes > 1:
        with status_line(f"training in {request.processes} processes"):
            return learn_shared(request)
    with _interrupts_noted() as stop, _progress(request) as tell:
        return learn(request, tell=tell, stop=stop)


def _request(o: dict[str, Any]) -> Request:
    """Return the request that the options make; ``ValueError`` says which of them cannot be."""
    import torch

    from tpbench.claims.experiments.threads import resolve_device
    from tpbench.data.corpus import load
    from tpbench.networks.word2vec.sampling import Sampling
    from tpbench.networks.word2vec.train import Training
    from tpbench.parametrization import table_of
    from tpbench.word2vec.request import Request, kind_of

    width = _width(o["width"])
    if width is None and o["seeds"] is not None:
        raise ValueError(
            "--seeds are networks of finite width, and the limit is one: leave them out, or give a --width"
        )
    if o["seeds"] is not None and o["seeds"] < 1:
        raise ValueError(f"--seeds is at least 1, got {o['seeds']}")
    if o["seed"] < 0 or o["base_width"] < 1:
        raise ValueError(f"--seed is at least 0 and --base-width at least 1, got {o['seed']} and {o['base_width']}")
    table = table_of(o["parametrization"])
    kind_of(width, table, zero_output=not o["random_output"], compressed=o["compressed"] is not None)
    rate = RATES.get(o["architecture"], RATES["cbow"]) if o["rate"] is None else o["rate"]
    training = Training(o["epochs"], rate, o["decay"])
    tile = min(TILE, max(1, o["block"]))
    if o["block"] % tile:
        raise ValueError(f"--block is a multiple of {TILE}, or fewer than that; got {o['block']}")
    sampling = Sampling(o["window"], o["negatives"], o["subsample"], o["block"], tile, o["seed"])
    return Request(
        corpus=load(o["corpus"], path=o["path"], min_count=o["min_count"], top=o["top"], tokens=o["tokens"]),
        architecture=o["architecture"],
        zero_output=not o["random_output"],
        width=width,
        parametrization=table,
        training=training,
        sampling=sampling,
        device=torch.device(resolve_device(o["device"])),
        seeds=NETWORKS if o["seeds"] is None else o["seeds"],
        first_seed=o["seed"],
        base_width=o["base_width"],
        checkpoint=o["checkpoint"],
        processes=o["processes"],
        rank=o["compressed"],
    )


def _width(text: str) -> int | None:
    if text == INFINITY:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"--width is {INFINITY} or a whole number from 1, got {text!r}")
    return int(text)


def _check_outputs(o: dict[str, Any], request: Request) -> None:
    """Find out before training what could not be written after it; ``ValueError`` or ``StoreError``."""
    from tpbench.bench.atomic import check_writable
    from tpbench.word2vec.output import writer_of
    from tpbench.word2vec.request import FEATURES

    if request.processes < 1:
        raise ValueError(f"--processes is at least 1, got {request.processes}")
    if request.processes > 1 and request.kind != FEATURES:
        raise ValueError(
            f"--processes share the feature-learning limit out, which is --width inf with a table such as mup; got "
            f"{request.processes} for the {request.kind} training: leave them out"
        )
    if request.processes > 1 and (o["save"] or o["checkpoint"]):
        raise ValueError(
            "what --processes share is in no one's hands whole: leave --save and --checkpoint out, or --processes"
        )
    if o["save"] is not None:
        writer_of(o["save"])
        if request.kind in NO_VECTORS:
            raise ValueError(f"--save writes vectors, and {NO_VECTORS[request.kind]}; leave it out")
        check_writable(o["save"].parent)
    if o["checkpoint"] is not None:
        if o["checkpoint"].is_dir():
            raise ValueError(f"--checkpoint is a file, and {o['checkpoint']} is a directory: name a file in it")
        check_writable(o["checkpoint"].parent)
    if o["plot"]:
        check_writable(o["out"])


@contextmanager
def _interrupts_noted() -> Iterator[Callable[[], bool]]:
    """Give what says whether Ctrl-C was pressed, so that a step in progress is finished; a second one stops at once."""
    pressed: list[int] = []

    def note(number: int, _: object) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(request: Request) -> Iterator[Tell]:
    """Show a bar with words a second and the time left on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from tpbench.word2vec.show import told

    console, training = Console(stderr=True), request.training
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
        TextColumn("{task.fields[last]}", style="dim"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task("preparing", total=training.epochs, last="", start=False)

        def tell(moment: Moment, last: Epoch) -> None:
            done = moment.epoch + moment.block / moment.blocks
            if not shown.tasks[task].started:
                shown.start_task(task)  # the first step is not timed, which may be one far into a training
            speed = (shown.tasks[task].speed or 0) * len(request.corpus.tokens)
            words = f"{speed:,.0f} words/s{told(request, last)}"
            shown.update(task, completed=done, description=f"epoch {moment.epoch + 1}/{training.epochs}", last=words)

        yield tell


def _write(o: dict[str, Any], request: Request, learned: Learned) -> dict[str, str]:
    """Write vectors and pictures where that was asked; return what lies where."""
    from tpbench.bench.plot import save
    from tpbench.networks.word2vec.model import Vectors
    from tpbench.word2vec.output import draw_epochs, draw_plane, save_vectors
    from tpbench.word2vec.request import KERNEL
    from tpbench.word2vec.show import headline, sizes

    files = {}
    if o["save"] is not None and isinstance(learned.state, Vectors):
        save_vectors(o["save"], request.corpus.vocabulary, learned.state)
        files["vectors"] = str(o["save"])
    if o["plot"]:
        title = headline(request)
        pictures = {"epochs": draw_epochs(title, learned.epochs, sizes(request))}
        if learned.plane is not None:
            last, first, name = learned.epochs[-1].number, request.seed_numbers()[0], request.parametrization.name
            pictures["map"] = draw_plane(
                title, learned.plane, name, request.width, first, last, kernel=request.kind == KERNEL
            )
        for (name, _), file in zip(pictures.items(), save(pictures, o["out"]), strict=True):
            files[f"picture of the {name}"] = str(file)
    return files
