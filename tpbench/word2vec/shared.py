"""The infinite network of ``tpbench word2vec``, shared out over processes or GPUs."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tpbench.bench.provenance import count_cores
from tpbench.networks.word2vec.infinite import limit_width
from tpbench.networks.word2vec.model import Word2Vec
from tpbench.networks.word2vec.sampling import Path
from tpbench.networks.word2vec.shard_processes import ShardError
from tpbench.networks.word2vec.shards import Shard, Task, train_sharded
from tpbench.word2vec.record import Epoch, Plane, plane_of
from tpbench.word2vec.request import Request
from tpbench.word2vec.training import DTYPE, Learned, StoppedError, check_room, measure


@dataclass(frozen=True)
class _Seen:
    """What a process measured at an epoch's end, from ``begun`` to ``ended`` on the machine's clock."""

    loss: tuple[float, ...]
    right: tuple[tuple[int, ...], ...]
    plane: Plane | None
    begun: float
    ended: float


def learn_shared(request: Request) -> Learned:
    """Train the feature-learning limit in ``request.processes`` processes; epochs are measured from the first on.

    Raises ``ValueError`` when a process fails, with its own sentence, or a table is larger than the memory, and
    ``StoppedError`` on Ctrl-C. No process is left.
    """
    words = len(request.corpus.vocabulary)
    width = limit_width(words, zero_output=request.zero_output)
    check_room(request, 2 * words * width, "take fewer words with --top")
    task = Task(
        corpus=request.corpus,
        sampling=request.sampling,
        network=Word2Vec(words, width, request.architecture, request.zero_output),
        parametrization=request.parametrization,
        training=request.training,
        device=request.device.type,
        dtype=DTYPE,
    )
    threads, since = max(1, count_cores() // request.processes), time.monotonic()
    try:
        found = train_sharded(task, _see, processes=request.processes, threads=threads)
    except ShardError as error:
        raise ValueError(str(error)) from error
    except KeyboardInterrupt:
        raise StoppedError(
            "interrupted; nothing of what the processes shared is kept: train without --processes, "
            "with --checkpoint FILE, to be able to go on"
        ) from None
    epochs: tuple[Epoch, ...] = ()
    for each in found:
        seen, tokens = each.value, len(request.corpus.tokens)
        epochs += (Epoch(each.moment.epoch + 1, seen.loss, seen.right, tokens / (seen.begun - since)),)
        since = seen.ended
    return Learned(epochs, found[-1].value.plane)


def _see(part: Shard, path: Path) -> _Seen:
    begun = time.monotonic()
    loss, right = measure(part, path, part.mean_loss)
    return _Seen(loss, right, plane_of(part, path.corpus, path.device, 0), begun, time.monotonic())
