"""From what a user asks of ``tpbench word2vec`` to vectors and what was measured of them, epoch by epoch.

A training is finite networks on one path through a corpus, or one of the two limits. It may be kept in a checkpoint,
with its epochs so far in a second file beside it, and goes on from there bit for bit.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tpbench.networks.word2vec import checkpoint, sampling
from tpbench.networks.word2vec.compressed import Compressed, compress, started, train_compressed
from tpbench.networks.word2vec.evaluate import Grams, correct
from tpbench.networks.word2vec.infinite import identity, limit_width
from tpbench.networks.word2vec.kernel_limit import KernelLimit, kernel_limit
from tpbench.networks.word2vec.kernel_train import kernel_mean_loss, kernel_train
from tpbench.networks.word2vec.model import Vectors, Word2Vec, initialise
from tpbench.networks.word2vec.train import Moment, Training, mean_loss, train
from tpbench.weights.gaussian import standard_normal
from tpbench.word2vec.record import Epoch, Kept, Plane, State, plane_of
from tpbench.word2vec.request import COMPRESSED, FEATURES, FINITE, INFINITY, Request

DTYPE = torch.float32
LOSS_POSITIONS = 2**14
"""The loss is taken over the first so many positions of a path that training does not see."""
DIVERGED = 3.0
"""How many times the loss of a network that knows nothing, (1 + negatives) log 2, nobody trains to on purpose."""
LOSS_SEED = 2**32
"""What that path's seed is apart from the one of training."""
SAVE_SECONDS, SAVING_SHARE = 600.0, 0.05
"""A checkpoint is written at every epoch's end and this often, unless writing would take a larger share of the time."""
HIDDEN = ("seed", "tile", "floor")
"""Settings that are told under another name, or that no option changes."""


@dataclass(frozen=True)
class Learned:
    """A training at its end: what was measured, its last state, and where it went on from a checkpoint.

    There is no state where processes shared it.
    """

    epochs: tuple[Epoch, ...]
    plane: Plane | None
    state: State | None = None
    resumed: Moment | None = None


class StoppedError(Exception):
    """The user stopped a training; the message says what is kept and how to go on."""


Tell = Callable[[Moment, Epoch], None]
"""Is told each moment, with the last epoch that was measured."""


def learn(request: Request, *, tell: Tell | None = None, stop: Callable[[], bool] | None = None) -> Learned:
    """Train what was asked for, from the checkpoint where it has one.

    ``stop`` is asked after every block. Raises ``StoppedError`` when it says so, with the checkpoint written; and
    ``ValueError`` when the parametrization has no limit, a table is larger than the memory, the checkpoint is not of
    this training, or training diverges.
    """
    kind = request.kind
    path = sampling.Path(request.corpus, request.sampling, request.device, DTYPE)
    state = _start(request, kind, path)
    kept = None if request.checkpoint is None else Kept(request.checkpoint, *_belonging(request, path, state, kind))
    state, resumed, epochs = (state, None, ()) if kept is None else kept.restore(state)
    epochs = epochs or (_measured(path, state, 0, None),)
    first = resumed.block if resumed is not None and not resumed.ends_epoch else 0
    since, next_save = _now(request.device), time.perf_counter() + SAVE_SECONDS
    for moment in moments(state, path, request.training, resumed):
        if moment.ends_epoch:
            read = len(request.corpus.tokens) * (moment.block - first) / moment.blocks
            speed = read / (_now(request.device) - since)
            epochs = (*epochs, _measured(path, state, moment.epoch + 1, speed))
            since, first = _now(request.device), 0
        if tell is not None:
            tell(moment, epochs[-1])
        stopping = stop is not None and stop()
        if kept is not None and (moment.ends_epoch or stopping or time.perf_counter() > next_save):
            took = kept.save(state, moment, epochs)
            since, next_save = since + took, time.perf_counter() + max(SAVE_SECONDS, took / SAVING_SHARE)
        if stopping and len(epochs) <= request.training.epochs:
            raise StoppedError(_stopped(request, moment))
    plane = plane_of(state, request.corpus, request.device, request.first_seed)
    return Learned(epochs, plane, state, resumed)


def _now(device: torch.device) -> float:
    """Return seconds on a clock, when the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _stopped(request: Request, moment: Moment) -> str:
    done = moment.epoch + moment.block / moment.blocks
    told = f"interrupted after {done:.2f} of {request.training.epochs} epochs"
    if request.checkpoint is None:
        return f"{told}; nothing is kept: give --checkpoint FILE to be able to go on"
    return f"{told}, which {request.checkpoint} keeps: run the same command again to go on"


def moments(state: State, path: sampling.Path, training: Training, start: Moment | None) -> Iterator[Moment]:
    """Train in place and yield after every block: ``train``, and the same for other states."""
    if isinstance(state, Vectors):
        return train(state, path, training, start=start)
    if isinstance(state, Compressed):
        return train_compressed(state, path, training, start=start)
    return kernel_train(state, path, training, start=start)


# ---------------------------------------------------------------------------------------------------------------


def _start(request: Request, kind: str, path: sampling.Path) -> State:
    """Return the networks, or the limit, before training."""
    words, table, at = len(request.corpus.vocabulary), request.parametrization, request.device
    network = Word2Vec(words, request.width or 1, request.architecture, request.zero_output)
    if kind == FINITE:
        check_room(request, 2 * words * network.width * request.seeds, "lower --width or --seeds")
        return initialise(network, table, request.seed_numbers(), base_width=request.base_width, device=at, dtype=DTYPE)
    if kind == COMPRESSED:
        assert request.rank is not None
        return _compressed(request, network, request.rank, path)
    if kind == FEATURES:
        columns = limit_width(words, zero_output=request.zero_output)
        check_room(request, 2 * words * columns, "take fewer words with --top")
        return identity(network, table, device=at, dtype=DTYPE)
    check_room(request, words**2, "take fewer words with --top")
    return kernel_limit(network, table, device=at, dtype=DTYPE, word_logits=_first_logits(request, words))


def _compressed(request: Request, network: Word2Vec, rank: int, path: sampling.Path) -> Compressed:
    """Return the compressed limit before training; where a checkpoint has its columns, with columns to be replaced."""
    check_room(request, 5 * network.words * rank, "lower --compressed")
    if request.checkpoint is not None and request.checkpoint.exists():
        columns = torch.zeros((network.words, rank), dtype=DTYPE, device=request.device)
        return started(columns, network, request.parametrization)
    return compress(path, network, request.parametrization, request.training, rank=rank, seed=request.first_seed)


def _first_logits(request: Request, words: int) -> Tensor | None:
    """Return the logits of a kernel limit before training, (words, words): 0, or independent Gaussian numbers.

    B = E C^T is a sum of n products whose variances are 1 and q^(-2 (a_2 + b_2))/n0², with q = n/n0, so B has
    variance q^(1 - 2 (a_2 + b_2))/n0. Raises ``ValueError`` where that grows with the width.
    """
    start = request.parametrization.output.a + request.parametrization.output.b
    if request.zero_output or 2 * start > 1:
        return None
    if 2 * start < 1:
        raise ValueError(
            f"parametrization {request.parametrization.name!r} with a random output starts with logits of size "
            f"n^{(1 - 2 * start) / 2}, so there is no limit: leave --random-output out"
        )
    seed = request.seed_numbers()[0]
    drawn = standard_normal([seed], "word-logits", (words, words), dtype=DTYPE, device=request.device)
    return drawn[0] / math.sqrt(request.base_width)


def check_room(request: Request, numbers: int, remedy: str) -> None:
    """Raise ``ValueError`` when tables of so many numbers cannot be in the device's memory."""
    needed = numbers * torch.empty((), dtype=DTYPE, device=request.device).element_size()
    if request.device.type == "cuda":
        devices = torch.cuda.device_count() if request.processes > 1 else 1
        room = torch.cuda.get_device_properties(request.device).total_memory * devices
    else:
        room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > room:
        raise ValueError(
            f"the tables of {len(request.corpus.vocabulary):,} words take {needed / 1e9:.1f} GB, and there "
            f"are {room / 1e9:.1f} GB of memory: {remedy}"
        )


def _measured(path: sampling.Path, state: State, number: int, speed: float | None) -> Epoch:
    def loss(path: sampling.Path, blocks: int) -> Tensor:
        if isinstance(state, KernelLimit):
            return kernel_mean_loss(state, path, blocks)
        return mean_loss(state if isinstance(state, Vectors) else state.vectors, path, blocks)

    return Epoch(number, *measure(state, path, loss), speed)


def measure(
    state: Grams, path: sampling.Path, loss: Callable[[sampling.Path, int], Tensor]
) -> tuple[tuple[float, ...], tuple[tuple[int, ...], ...]]:
    """Return the loss a pair, (seed,), and how many questions of every section are answered right, (seed, section).

    ``path`` is the path of training; ``loss`` gives that over the first so many blocks of another one. Raises
    ``ValueError`` when the loss is not finite.
    """
    unseen = replace(path, sampling=replace(path.sampling, seed=path.sampling.seed + LOSS_SEED))
    found = loss(unseen, -(-LOSS_POSITIONS // path.sampling.block))
    most = DIVERGED * (1 + path.sampling.negatives) * math.log(2)
    if not (found < most).all():
        raise ValueError(
            f"training diverged: the loss of a pair is {float(found.max()):.2g}, and started near "
            f"{most / DIVERGED:.2g}; lower --rate or --decay"
        )
    analogies, sections = path.corpus.analogies, len(path.corpus.analogies.names)
    if not len(analogies.questions):
        return tuple(found.tolist()), ()
    right = correct(state, analogies, path.device).cpu().numpy()
    counts = (np.bincount(analogies.section[each], minlength=sections).tolist() for each in right)
    return tuple(found.tolist()), tuple(map(tuple, counts))


# ---------------------------------------------------------------------------------------------------------------


def _belonging(request: Request, path: sampling.Path, state: State, kind: str) -> tuple[str, dict[str, str]]:
    """Return the key of a training, and the settings whose digest it is, as the command line names them."""
    key = checkpoint.key_of(
        path,
        request.training,
        state.vectors.network if isinstance(state, Compressed) else state.network,
        request.parametrization,
        seeds=request.seed_numbers(),
        base_width=request.base_width,
        start={FINITE: "gaussian"}.get(kind, kind),
    )
    corpus, table = request.corpus, request.parametrization.as_config()
    return key, {
        "corpus": f"{corpus.name} of {len(corpus.vocabulary)} words ({corpus.digest[:12]})",
        "--width": INFINITY if request.width is None else str(request.width),
        "--compressed": "no" if request.rank is None else str(request.rank),
        "--parametrization": json.dumps({role: table[role] for role in table if role not in ("name", "source")}),
        "--architecture": request.architecture,
        "--random-output": "no" if request.zero_output else "yes",
        "--seeds": str(len(request.seed_numbers())),
        "--seed": str(request.first_seed),
        "--base-width": str(request.base_width),
        **{f"--{name}": str(value) for name, value in asdict(request.training).items() if name not in HIDDEN},
        **{f"--{name}": str(value) for name, value in asdict(request.sampling).items() if name not in HIDDEN},
    }
