"""word2vec split along its width over processes or GPUs, so that the infinite-width limit of a large vocabulary fits.

Logits are sums over the width, and all else that a step does to a column of E and C stays in that column. So each of
P processes holds 1/P of the columns, and one sum of logits over the processes a block (``step_``'s ``total``) makes
their training that of one process. The limit (``infinite``) of text8's 71,290 words has 2 V² numbers, which is 41 GB
in float32: eight processes of 5.1 GB each, or one GPU of 80 GB. A process makes its own columns and never sees others.

On the CPU processes speak over gloo, on CUDA over NCCL, each on a GPU of its own. Every process draws the path for
itself. The parent only listens: it returns what is measured and raises what goes wrong in a process, and no process
outlives it, whether it returns, raises, is interrupted or is killed.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from tpbench.data.corpus.corpus import Corpus
from tpbench.networks.word2vec.infinite import limit_width
from tpbench.networks.word2vec.model import Vectors, Word2Vec, rates_of
from tpbench.networks.word2vec.sampling import Path, Sampling
from tpbench.networks.word2vec.shard_processes import Talk, run_together
from tpbench.networks.word2vec.step import Total
from tpbench.networks.word2vec.train import Moment, Training, mean_loss, train
from tpbench.parametrization import Parametrization, Role, scale
from tpbench.parametrization.word2vec import check_feature_learning
from tpbench.weights.gaussian import generator

T = TypeVar("T")
BACKENDS = {"cpu": "gloo", "cuda": "nccl"}
ROWS_AT_ONCE = 2**20
"""About how many Gaussian numbers a process draws at once, of which it keeps its columns."""


@dataclass(frozen=True)
class Task:
    """What is trained: a network of ``network.width`` from ``seeds``, or the limit where there are none.

    ``device`` is "cpu" or "cuda". ``blocks`` ends training after so many blocks. Raises ``ValueError`` for another
    device, or where the parametrization has no such limit.
    """

    corpus: Corpus
    sampling: Sampling
    network: Word2Vec
    parametrization: Parametrization
    training: Training
    seeds: tuple[int, ...] = ()
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    blocks: int | None = None

    def __post_init__(self) -> None:
        if self.device not in BACKENDS:
            raise ValueError(f"a network is split over processes on {' or '.join(BACKENDS)}, got {self.device!r}")
        if self.blocks is not None and self.blocks < 1:
            raise ValueError(f"training takes a block at least, got {self.blocks}")
        if self.network.words != len(self.corpus.vocabulary):
            raise ValueError(
                f"the network has {self.network.words} words and corpus {self.corpus.name!r} has "
                f"{len(self.corpus.vocabulary)}: they must be the same"
            )
        if not self.seeds:
            check_feature_learning(self.parametrization, zero_output=self.network.zero_output)

    @property
    def width(self) -> int:
        """The width that is split."""
        return (
            self.network.width if self.seeds else limit_width(self.network.words, zero_output=self.network.zero_output)
        )


@dataclass(frozen=True)
class Shard:
    """The columns of a network that one process holds; every method sums over the processes, which all must call it.

    ``vectors`` has these columns and the whole network's rates; ``width`` is the whole network's. It has Gram matrices
    as networks have, so that ``evaluate`` works in a measurement.
    """

    vectors: Vectors
    width: int
    total: Total

    def gram(self, words: Tensor, others: Tensor | None = None) -> Tensor:
        """Return E E^T/n between some words and others (all by default), (seed, words, others)."""
        return self.total(self.vectors.gram(words, others).mul_(self.vectors.network.width / self.width))

    def squared_norms(self) -> Tensor:
        """Return the diagonal of E E^T/n, (seed, words)."""
        return self.total(self.vectors.squared_norms().mul_(self.vectors.network.width / self.width))

    def mean_loss(self, path: Path, blocks: int, *, epoch: int = 0) -> Tensor:
        """Return the whole network's loss a pair, as ``train.mean_loss`` does."""
        return mean_loss(self.vectors, path, blocks, epoch=epoch, total=self.total)

    @property
    def bytes(self) -> int:
        """The memory of this process's part of E and C."""
        return sum(table.numel() * table.element_size() for table in (self.vectors.embedding, self.vectors.output))


@dataclass(frozen=True)
class Measured(Generic[T]):
    """What a measurement gave at a moment of training."""

    moment: Moment
    value: T


def columns(width: int, processes: int, process: int) -> range:
    """Return which columns a process holds: consecutive ones, one more or less than any other process."""
    return range(process * width // processes, (process + 1) * width // processes)


def train_sharded(
    task: Task, measure: Callable[[Shard, Path], T], *, processes: int, threads: int = 1
) -> list[Measured[T]]:
    """Train with ``processes`` processes of ``threads`` threads; return what is measured at ends of epochs and of all.

    ``measure`` is called in every process with its part and the path, and the first process's answer is kept: a
    function of a module, since processes are new ones that import it. What it asks of the ``Shard`` is that of the
    whole network, and in float64 equals what one process would give to rounding.

    Raises ``ValueError`` for a number of processes that cannot be, and ``ShardError`` with the process's own sentence
    where one fails or dies.
    """
    if not 1 <= processes <= task.width or threads < 1:
        raise ValueError(
            f"a network of width {task.width} is split over 1 to {task.width} processes of 1 thread at least; got "
            f"{processes} of {threads}"
        )
    gpus = torch.cuda.device_count()
    if task.device == "cuda" and processes > gpus:
        raise ValueError(
            f"each process takes a GPU of its own: {processes} were asked for and there are {gpus}; take fewer "
            'processes, or device="cpu"'
        )
    with tempfile.TemporaryDirectory(prefix="tpbench-shards-") as directory:
        setting = _Setting(f"file://{directory}/meeting", processes, threads, _packed(task))
        return run_together(_work, processes, (setting, measure))


@dataclass(frozen=True)
class _Setting:
    meeting: str
    processes: int
    threads: int
    task: dict[str, Any]


def _packed(task: Task) -> dict[str, Any]:
    """Return a task as what can be sent to a process: a corpus has a read-only mapping, which cannot."""
    corpus = {name: getattr(task.corpus, name) for name in Corpus.__dataclass_fields__ if name != "digest"}
    corpus["groups"] = dict(task.corpus.groups)
    return {name: getattr(task, name) for name in Task.__dataclass_fields__} | {"corpus": corpus}


def _work(process: int, talk: Talk, setting: _Setting, measure: Callable[[Shard, Path], T]) -> None:
    torch.set_num_threads(setting.threads)
    task = Task(**setting.task | {"corpus": Corpus(**setting.task["corpus"])})
    device = torch.device(task.device)
    if task.device == "cuda":
        device = torch.device("cuda", process)
        torch.cuda.set_device(device)
    dist.init_process_group(
        BACKENDS[task.device], init_method=setting.meeting, rank=process, world_size=setting.processes
    )
    part = shard(task, columns(task.width, setting.processes, process), device, _sum_over_processes)
    path = Path(task.corpus, task.sampling, device, task.dtype)
    for number, moment in enumerate(train(part.vectors, path, task.training, total=part.total), start=1):
        if moment.ends_epoch or number == task.blocks:
            value = measure(part, path)
            if process == 0:
                talk.say(Measured(moment, value))
        if number == task.blocks:
            break
    dist.destroy_process_group()


def _sum_over_processes(part: Tensor) -> Tensor:
    part = part.contiguous()
    dist.all_reduce(part)
    return part


# ---------------------------------------------------------------------------------------------------------------


def shard(task: Task, its: range, device: torch.device, total: Total) -> Shard:
    """Return some columns of a task's network at the start of training, made without the others."""
    width = task.width
    whole = Word2Vec(task.network.words, width, task.network.architecture, task.network.zero_output)
    part = Word2Vec(whole.words, len(its), whole.architecture, whole.zero_output)
    make = _gaussian if task.seeds else _identity
    embedding, output = make(task, whole, its, device)
    vectors = Vectors(part, embedding, output, *rates_of(whole, task.parametrization), max(1, len(task.seeds)))
    return Shard(vectors, width, total)


def _identity(task: Task, whole: Word2Vec, its: range, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return columns of the network started at the identity (``infinite.identity``)."""
    embedding, output = (torch.zeros((whole.words, len(its)), dtype=task.dtype, device=device) for _ in range(2))
    start, stop = its.start, its.stop
    for table, first, size in (
        (embedding, 0, math.sqrt(whole.width)),
        (output, whole.words, 1 / math.sqrt(whole.width)),
    ):
        low, high = max(start, first), min(stop, first + whole.words)
        here = torch.arange(low, max(low, high), device=device)
        table[here - first, here - start] = size
    return embedding, output


def _gaussian(task: Task, whole: Word2Vec, its: range, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return columns of the networks that ``initialise`` draws at base width 1, number by number."""
    first, out = (scale(task.parametrization, role, whole.width, 1) for role in (Role.INPUT, Role.OUTPUT))

    def drawn(stream: str, std: float) -> Tensor:
        parts = [_drawn(seed, stream, whole, its, task.dtype) for seed in task.seeds]
        return torch.cat(parts, dim=1).mul_(std).to(device)

    embedding = drawn("embedding", first.multiplier * first.std)
    if whole.zero_output:
        return embedding, torch.zeros_like(embedding)
    return embedding, drawn("output", out.multiplier * out.std)


def _drawn(seed: int, stream: str, whole: Word2Vec, its: range, dtype: torch.dtype) -> Tensor:
    """Return columns of a seed's Gaussian table: it is drawn some rows at a time, and the rest is let go."""
    source = generator(seed, stream)
    kept = torch.empty((whole.words, len(its)), dtype=dtype, device=torch.device("cpu"))
    for rows in _row_groups(whole):
        drawn = torch.empty((len(rows), whole.width), dtype=dtype, device=kept.device).normal_(generator=source)
        kept[rows.start : rows.stop] = drawn[:, its.start : its.stop]
    return kept


def _row_groups(whole: Word2Vec) -> Sequence[range]:
    # torch fills tensors 16 numbers at a time, so groups of 16 rows, the last one with what is left, take the same
    # numbers from the generator as the whole table at once. A test holds that.
    size = 16 * max(1, ROWS_AT_ONCE // (16 * whole.width))
    starts = list(range(0, max(1, whole.words - 15), size))
    return [range(a, b) for a, b in zip(starts, [*starts[1:], whole.words], strict=True)]
