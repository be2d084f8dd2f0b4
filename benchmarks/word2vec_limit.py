"""What it takes to know word2vec's infinite-width limit: compressed, beside random networks and the dense limit; split.

    python benchmarks/word2vec_limit.py near --words 2000 --ranks 64 256        # errors against the dense limit
    python benchmarks/word2vec_limit.py large --rank 256                        # a vocabulary without a dense limit
    python benchmarks/word2vec_limit.py split --words 2000 --processes 1 2      # words a second and memory a process

``near`` trains everything on one path, so that all differences are those of the method. "gram" is the Frobenius norm of
the Gram matrix's error by that of what training moved in the limit; "cosine" is the root mean square error of cosines
of two words, "logits" the relative error of all words' logits given one word, "right" the share of analogies that are
answered right. A random network is compared at as many numbers in its tables; a twin has random columns beside the
compressed ones. "Words" a second are positions trained on, after frequent words are dropped. Set OMP_NUM_THREADS.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from tpbench.data import corpus as corpora
from tpbench.data.corpus import Corpus
from tpbench.networks.word2vec import evaluate
from tpbench.networks.word2vec.compressed import Compressed, compress, started, train_compressed
from tpbench.networks.word2vec.compressed_error import error_bound, twin
from tpbench.networks.word2vec.infinite import identity
from tpbench.networks.word2vec.model import Vectors, Word2Vec, initialise
from tpbench.networks.word2vec.sampling import Path, Sampling
from tpbench.networks.word2vec.shards import Shard, Task, train_sharded
from tpbench.networks.word2vec.train import Moment, Training, train
from tpbench.parametrization import named

CPU = torch.device("cpu")
MIB = 2**20


@dataclass(frozen=True)
class Trained:
    """A network or limit after training: what was measured, and at what cost."""

    gram: Tensor
    cosines: Tensor
    logits: Tensor
    right: float
    mib: float
    seconds: float


def measured(network: Vectors | Compressed, corpus: Corpus, seconds: float) -> Trained:
    words = torch.arange(len(corpus.vocabulary), device=CPU)
    vectors = network.vectors if isinstance(network, Compressed) else network
    size = network.bytes if isinstance(network, Compressed) else 2 * vectors.embedding.nbytes
    right = evaluate.correct(network, corpus.analogies, CPU).double().mean()
    logits = vectors.embedding @ vectors.output.mT
    gram, cosines = network.gram(words)[0], evaluate.cosines(network, words)[0]
    return Trained(gram, cosines, logits, float(right), size / MIB, seconds)


def finish(steps: Iterable[Moment]) -> float:
    """Train to the end and return the seconds it took."""
    start = time.perf_counter()
    for _ in steps:
        pass
    return time.perf_counter() - start


def positions(path: Path, training: Training) -> int:
    return sum(path.blocks(epoch) * path.sampling.block for epoch in range(training.epochs))


def near(asked: argparse.Namespace) -> None:
    corpus = corpora.load(asked.corpus, top=asked.words)
    path, training = Path(corpus, Sampling(), CPU, torch.float32), Training(epochs=asked.epochs)
    network, table = Word2Vec(len(corpus.vocabulary), 1, asked.architecture), named("mup")
    dense = identity(network, table, device=CPU, dtype=path.dtype)
    limit = measured(dense, corpus, finish(train(dense, path, training)))
    trained_on = positions(path, training)
    print(f"{network.words} words, {trained_on / asked.epochs:,.0f} positions an epoch, {asked.epochs} epochs")
    print(f"{'':26}{'gram':>8} {'cosine':>8} {'logits':>8} {'right':>7} {'MiB':>7} {'words/s':>9} {'prepare s':>10}")

    # What decay leaves of each word's start, from a limit in a column that is zero and so never moves.
    still = started(torch.zeros((network.words, 1), dtype=path.dtype, device=CPU), network, table)
    finish(train_compressed(still, path, training))
    moved = (limit.gram - torch.diag(still.kept.square())).norm()

    def tell(name: str, made: Trained, prepared: float = 0.0) -> None:
        print(
            f"{name:26}{float((made.gram - limit.gram).norm() / moved):8.4f} "
            f"{float((made.cosines - limit.cosines).square().mean().sqrt()):8.5f} "
            f"{float((made.logits - limit.logits).norm() / limit.logits.norm()):8.4f} {made.right:7.4f} "
            f"{made.mib:7.1f} {trained_on / made.seconds:9,.0f} {prepared:10.1f}",
            flush=True,
        )

    tell("dense limit", limit)
    for rank in asked.ranks:
        width = 3 * rank // 2
        finite = initialise(
            Word2Vec(network.words, width, asked.architecture), table, [0], device=CPU, dtype=path.dtype
        )
        tell(f"random, width {width}", measured(finite, corpus, finish(train(finite, path, training))))
        for rounds in asked.rounds:
            begun = time.perf_counter()
            ours = compress(path, network, table, training, rank=rank, rounds=rounds)
            prepared = time.perf_counter() - begun
            seconds = finish(train_compressed(ours, path, training))
            tell(f"compressed {rank}, rounds {rounds}", measured(ours, corpus, seconds), prepared)
        half = compress(path, network, table, training, rank=rank // 2)
        mixed = twin(half, network, table, columns=rank - rank // 2, seed=0)
        seconds = finish(train_compressed(mixed, path, training))
        tell(f"{rank // 2} and {rank - rank // 2} random", measured(mixed, corpus, seconds))
        if asked.twins >= 2:
            twins = [twin(ours, network, table, columns=rank, seed=seed) for seed in range(asked.twins)]
            for number, each in enumerate(twins):
                seconds = finish(train_compressed(each, path, training))
                if number == 0:
                    tell(f"its twin, {rank} more", measured(each, corpus, seconds))
            told = error_bound(ours, twins, torch.arange(network.words, device=CPU))
            estimate, bound = told.estimate / told.movement, told.bound / told.movement
            print(f"{'  what twins say':26}{estimate:8.4f} of the compressed limit, at most {bound:.4f}", flush=True)


def large(asked: argparse.Namespace) -> None:
    corpus = corpora.load(asked.corpus, top=asked.words)
    path, training = Path(corpus, Sampling(), CPU, torch.float32), Training(epochs=asked.epochs)
    network, table = Word2Vec(len(corpus.vocabulary), 1, asked.architecture), named("mup")
    begun = time.perf_counter()
    ours = compress(path, network, table, training, rank=asked.rank, rounds=asked.rounds[-1])
    prepared = time.perf_counter() - begun
    seconds = finish(train_compressed(ours, path, training))
    right = evaluate.correct(ours, corpus.analogies, CPU).double().mean()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{network.words} words in {asked.rank} columns: prepared in {prepared:.0f} s, then "
        f"{positions(path, training) / seconds:,.0f} words/s over {asked.epochs} epochs; {float(right):.4f} of "
        f"{len(corpus.analogies.questions)} analogies right; tables {ours.bytes / MIB:,.0f} MiB, the dense limit's "
        f"{2 * network.words**2 * 4 / MIB:,.0f} MiB; the process's peak {peak:,.0f} MiB"
    )


def when(part: Shard, path: Path) -> tuple[float, float]:
    """Return the clock, which processes share, and the MiB of the first part."""
    return time.monotonic(), part.bytes / MIB


def split(asked: argparse.Namespace) -> None:
    corpus = corpora.load(asked.corpus, top=asked.words)
    network = Word2Vec(len(corpus.vocabulary), 1, asked.architecture)
    task = Task(corpus, Sampling(), network, named("mup"), Training(epochs=2), blocks=None)
    print(f"{network.words} words, dense tables {2 * network.words**2 * 4 / MIB:,.0f} MiB")
    for processes in asked.processes:
        first, second = train_sharded(task, when, processes=processes)
        seconds = second.value[0] - first.value[0]  # the second epoch: processes have started
        words = second.moment.blocks * task.sampling.block
        print(
            f"{processes} processes: {words / seconds:9,.0f} words/s, {first.value[1]:7.1f} MiB a process", flush=True
        )


TABLES: dict[str, Callable[[argparse.Namespace], None]] = {"near": near, "large": large, "split": split}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--corpus", default="packaged")
    parser.add_argument("--architecture", default="cbow")
    parser.add_argument("--words", type=int, default=None, help="the most frequent words; all by default")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--ranks", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--rank", type=int, default=256)
    parser.add_argument("--rounds", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--twins", type=int, default=0)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    TABLES[asked.table](asked)


if __name__ == "__main__":
    main()
