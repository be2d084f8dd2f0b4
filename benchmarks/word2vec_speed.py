"""How fast one word2vec network trains beside gensim's, how well both learn, and what the infinite network costs.

    python benchmarks/word2vec_speed.py                      # all tables, about three minutes on two quiet cores
    python benchmarks/word2vec_speed.py --parts rival        # or some: rival, quality, limit, cost
    python benchmarks/word2vec_speed.py --json               # the same numbers, and every repetition, for a machine

Words a second are the words that are trained on, after subsampling; building vocabularies and tables, and dropping
words from a whole text, is timed on neither side. gensim's Word2Vec is compiled code that takes one word after the
other; a first round finds the best of 1 and 2 workers and of reading lists or a file, and of 1 and 2 threads on our
side. Then the sides take turns, so that whatever else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path as File
from typing import Any

import numpy as np
import torch
from word2vec_rival import Rival, answers

from tpbench.data import corpus as corpora
from tpbench.data.corpus.corpus import Corpus, Material, Text, build
from tpbench.data.corpus.planted import Plan, material
from tpbench.networks.cost import fastest, peak_bytes
from tpbench.networks.word2vec.evaluate import correct
from tpbench.networks.word2vec.infinite import identity
from tpbench.networks.word2vec.model import Vectors, Word2Vec, initialise
from tpbench.networks.word2vec.sampling import BLOCKS_AT_ONCE, Path, Sampling
from tpbench.networks.word2vec.step import step_, workspace
from tpbench.networks.word2vec.train import Training, train
from tpbench.parametrization import named

CPU, MUP = torch.device("cpu"), named("mup")
WIDTHS = (64, 256, 1024)
WORKERS = (1, 2)
GENSIM_RATE: Mapping[str, float] = {"cbow": 2e7, "skip-gram": 2e6}
"""About how many words a second times width gensim does: so much text is timed that it takes about a second."""
LEAST_WORDS, WORDS = 12_000, 600_000
"""The least text that is timed, and the text whose vocabulary is taken."""
LIMIT_WORDS = 10_000


@functools.cache
def text() -> Corpus:
    """Return the beginning of the packaged corpus where it is prepared, else a planted one of about 9000 words."""
    if not corpora.missing("packaged"):
        return corpora.load("packaged", tokens=WORDS)
    return build(material(Plan(groups=1000, filler_words=2000), WORDS))


def zipf_text(words: int, tokens: int) -> Corpus:
    """Return one sentence of independent words with Zipf's law in which every word occurs."""
    rng = np.random.default_rng(0)
    law = 1.0 / (np.arange(words) + 10.0)
    drawn = np.concatenate([np.arange(words), rng.choice(words, size=tokens, p=law / law.sum())]).astype(np.int32)
    names = tuple(f"w{word}" for word in range(words))
    starts = np.arange(0, len(drawn), 1000, dtype=np.int64)
    return build(Material("zipf", Text(names, drawn, starts), {}, {}, "synthetic", "none"))


def gaussian(
    corpus: Corpus, width: int, architecture: str, *, whole: bool = False, seeds: Sequence[int] = (0,)
) -> Vectors:
    """Return networks under muP, which at one width is the usual word2vec with one rate."""
    network = Word2Vec(len(corpus.vocabulary), width, architecture, whole_gradient=whole)
    return initialise(network, MUP, seeds, device=CPU, dtype=torch.float32)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# --- beside gensim -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """Words a second of either side in every repetition, at one width; ``settings`` are gensim's and our best."""

    architecture: str
    width: int
    settings: tuple[str, str]
    gensim: tuple[float, ...]
    ours: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        return [ours / gensim for ours, gensim in zip(self.ours, self.gensim, strict=True)]

    def line(self) -> str:
        ratio = f"{statistics.median(self.ratios):.2f} [{min(self.ratios):.2f}, {max(self.ratios):.2f}]"
        gensim, ours = (f"{statistics.median(side):,.0f}" for side in (self.gensim, self.ours))
        cells = (self.architecture, self.width, gensim, self.settings[0], ours, self.settings[1], ratio)
        return f"| {' | '.join(map(str, cells))} |"


def our_rate(vectors: Vectors, path: Path, blocks: int, threads: int) -> float:
    """Return the words a second of the first blocks of an epoch, drawing them included."""
    torch.set_num_threads(threads)
    fresh, training = vectors.copy(), Training(epochs=1, rate=0.025, decay=0.0)
    spent = seconds(lambda: list(islice(train(fresh, path, training), blocks)))
    return blocks * path.sampling.block / spent


def compare(architecture: str, width: int, *, repeats: int, sampling: Sampling) -> Comparison:
    """Time both sides on the beginning of the text, in turns, ``repeats`` times after a round that finds settings."""
    corpus = text()
    words = int(min(len(corpus.tokens), max(LEAST_WORDS, GENSIM_RATE[architecture] / width)))
    vectors, path = gaussian(corpus, width, architecture), Path(corpus, sampling, CPU, torch.float32)
    # As large a part of an epoch as gensim takes, and more than one draw of blocks
    blocks = min(path.blocks(0) - 1, max(BLOCKS_AT_ONCE, path.blocks(0) * words // len(corpus.tokens)))
    with tempfile.TemporaryDirectory() as directory:
        rival = Rival(corpus, sampling, architecture, width, words=words, file=File(directory) / "text")
        theirs = {
            f"{workers} workers, {'file' if file else 'lists'}": functools.partial(rival.rate, workers, file)
            for workers in WORKERS
            for file in (False, True)
        }
        ours = {f"{n} threads": functools.partial(our_rate, vectors, path, blocks, n) for n in WORKERS}
        best = [max(side, key=lambda name, side=side: side[name]()) for side in (theirs, ours)]
        pairs = [(theirs[best[0]](), ours[best[1]]()) for _ in range(repeats)]
    gensim, mine = zip(*pairs, strict=True)
    return Comparison(architecture, width, (best[0], best[1]), gensim, mine)


def rival_part(asked: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    sampling, corpus = Sampling(subsample=asked.subsample), text()
    heading = (
        f"The corpus {corpus.name!r} ({len(corpus.tokens):,} words, V = {len(corpus.vocabulary):,}), window "
        f"{sampling.window}, {sampling.negatives} negatives, subsampling {sampling.subsample}, float32, "
        f"{asked.repeats} repetitions in turns\n\n"
        "| | width | gensim words/s | its best | ours words/s | our best | ratio median [min, max] |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    yield heading, None
    for architecture in GENSIM_RATE:
        for width in asked.widths:
            found = compare(architecture, width, repeats=asked.repeats, sampling=sampling)
            yield found.line(), {**asdict(found), "ratios": found.ratios}


# --- how well both learn -----------------------------------------------------------------------------------------


def quality(
    architecture: str, *, width: int, epochs: int, seeds: int, corpus: Corpus, samplings: Mapping[str, Sampling]
) -> dict[str, list[float]]:
    """Return the share of analogies answered right by gensim and by us, a seed each, from the same first vectors.

    gensim gives each word of a CBOW context the whole gradient of the mean, and so do we here.
    """
    training = Training(epochs=epochs, rate=0.025, decay=0.0, floor=0.004)
    start = gaussian(corpus, width, architecture, whole=architecture == "cbow", seeds=range(seeds))
    found: dict[str, list[float]] = {"gensim": []}
    for name, sampling in samplings.items():
        vectors = start.copy()
        for _ in train(vectors, Path(corpus, sampling, CPU, torch.float32), training):
            pass
        found[name] = correct(vectors, corpus.analogies, CPU).double().mean(1).tolist()
    first = (start.by_seed(start.embedding) / width**0.5).numpy()
    for seed in range(seeds):
        rival = Rival(corpus, next(iter(samplings.values())), architecture, width, seed=seed)
        found["gensim"].append(answers(rival.trained(first[seed], training), corpus))
    return found


def tiled(sampling: Sampling) -> dict[str, Sampling]:
    """Return the sampling with negatives of a position's own, as in gensim, and shared by 16 positions, the default."""
    return {name: replace(sampling, tile=tile) for name, tile in (("ours, own negatives", 1), ("ours, shared", 16))}


def quality_part(asked: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    torch.set_num_threads(1)
    corpus, sampling = build(material(Plan(), 200_000)), Sampling(window=5, negatives=10, subsample=1e-3, block=32)
    samplings = tiled(sampling)
    heading = (
        f"\nAnalogies answered right on planted ({len(corpus.tokens):,} words, V = {len(corpus.vocabulary)}), same "
        "first vectors, 5 epochs, rate 0.025, no decay, blocks of 32; mean and standard deviation over 3 seeds\n\n"
        f"| | width | gensim | {' | '.join(samplings)} |\n| --- | --- | --- | --- | --- |"
    )
    yield heading, None
    for architecture, width in (("cbow", 64), ("skip-gram", 64)):
        found = quality(architecture, width=width, epochs=5, seeds=3, corpus=corpus, samplings=samplings)
        cells = [f"{np.mean(each):.3f} ± {np.std(each, ddof=1):.3f}" for each in found.values()]
        yield (
            f"| {architecture} | {width} | {' | '.join(cells)} |",
            {"architecture": architecture, "width": width, **found},
        )


# --- the infinite network, and costs -----------------------------------------------------------------------------


def step_seconds(vectors: Vectors, corpus: Corpus, *, blocks: int = 8, repeats: int = 3) -> tuple[float, int]:
    """Return the least seconds of ``blocks`` steps divided by their words, and the bytes of tables and buffers."""
    sampling = Sampling(subsample=0)
    held = list(islice(Path(corpus, sampling, CPU, torch.float32).epoch(0), blocks))
    rooms = []
    buffers = peak_bytes(lambda: rooms.append(workspace(vectors, sampling)))

    def steps() -> None:
        for block in held:
            step_(vectors, block, rooms[0], rate=0.025, decay=1e-3)

    tables = vectors.embedding.nbytes + vectors.output.nbytes
    return fastest(steps, CPU, repeats) / (len(held) * sampling.block), tables + buffers


def limit_part(_: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    heading = (
        f"\nThe infinite network (zero output, float32) at V = {LIMIT_WORDS:,}, Zipf text, steps on blocks of 256\n\n"
        "| | threads | words/s | GiB of tables and buffers |\n| --- | --- | --- | --- |"
    )
    yield heading, None
    corpus = zipf_text(LIMIT_WORDS, 10_000)
    for architecture in ("cbow", "skip-gram"):
        network = Word2Vec(LIMIT_WORDS, 1, architecture)
        vectors = identity(network, MUP, device=CPU, dtype=torch.float32)
        for threads in WORKERS:
            torch.set_num_threads(threads)
            spent, held = step_seconds(vectors, corpus)
            row = {"architecture": architecture, "threads": threads, "words a second": 1 / spent, "bytes": held}
            yield f"| {architecture} | {threads} | {1 / spent:,.0f} | {held / 2**30:.2f} |", row


def exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """Return the slope of log cost on log size."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def cost_part(_: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    torch.set_num_threads(1)
    yield (
        "\nMicroseconds a word of one network (V = 9000) by width, and of the infinite network by V; one thread, CBOW",
        None,
    )
    corpus = zipf_text(9000, 10_000)
    widths, sizes = (64, 128, 256, 512, 1024, 2048, 4096), (1000, 2000, 4000, 8000)
    by_width = [step_seconds(gaussian(corpus, width, "cbow"), corpus)[0] for width in widths]
    by_words = []
    for words in sizes:
        vectors = identity(Word2Vec(words, 1), MUP, device=CPU, dtype=torch.float32)
        by_words.append(step_seconds(vectors, zipf_text(words, 10_000))[0])
    for name, points, costs in (("width", widths, by_width), ("V", sizes, by_words)):
        wide = exponent(points[-4:], costs[-4:])
        yield f"\n| {name} | {' | '.join(map(str, points))} |\n|{' --- |' * (len(points) + 1)}", None
        cells = " | ".join(f"{1e6 * cost:.2f}" for cost in costs)
        row = {"by": name, "points": points, "seconds a word": costs, "exponent of the last four": wide}
        yield f"| us | {cells} |\n\ncost ~ {name}^{wide:.2f} over the last four", row


PARTS: Mapping[str, Callable[[argparse.Namespace], Iterator[tuple[str, Any]]]] = {
    "rival": rival_part,
    "quality": quality_part,
    "limit": limit_part,
    "cost": cost_part,
}


def main() -> None:
    """Measure the parts that were asked for, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS), help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="pairs at each width (default: %(default)s)")
    parser.add_argument("--subsample", type=float, default=1e-4, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    asked = parser.parse_args()
    if min(asked.repeats, *asked.widths) < 1:
        parser.error("widths and repeats must be at least 1")
    found: dict[str, list[Any]] = {part: [] for part in asked.parts}
    for part in asked.parts:
        for line, row in PARTS[part](asked):
            if row is not None:
                found[part].append(row)
            if not asked.json:
                print(line, flush=True)
    if asked.json:
        print(json.dumps({"torch": torch.__version__, **found}, indent=1))


if __name__ == "__main__":
    main()
