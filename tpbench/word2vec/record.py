"""What is measured of a word2vec training, and how it is kept on disk with the state it belongs to."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tpbench.bench.atomic import write_atomically
from tpbench.data.corpus import Corpus
from tpbench.networks.word2vec import checkpoint
from tpbench.networks.word2vec.compressed import Compressed
from tpbench.networks.word2vec.evaluate import Grams, principal_components, random_plane, separation
from tpbench.networks.word2vec.kernel_limit import KernelLimit
from tpbench.networks.word2vec.model import Vectors
from tpbench.networks.word2vec.train import Moment

State = Vectors | KernelLimit | Compressed
LEAST = 3
"""Words of a group from which two groups can be told apart."""


@dataclass(frozen=True)
class Epoch:
    """What is measured once ``number`` epochs are done.

    ``loss`` is a pair's, one a seed, without weight decay; ``right`` counts the analogies answered right, (seed,
    section). ``words_a_second`` are the words of the corpus that were read, those that subsampling drops among them,
    whatever the number of seeds; None before training.
    """

    number: int
    loss: tuple[float, ...]
    right: tuple[tuple[int, ...], ...]
    words_a_second: float | None

    def accuracy(self, sizes: Sequence[int]) -> tuple[float, ...]:
        """Return the share of all questions that is answered right, one a seed; empty where there is no question."""
        questions = sum(sizes)
        return tuple(sum(each) / questions for each in self.right) if questions else ()

    def accuracy_of(self, section: int, sizes: Sequence[int]) -> tuple[float, ...]:
        """Return the same of one section."""
        return tuple(each[section] / sizes[section] for each in self.right) if sizes[section] else ()


def standard_error(values: Sequence[float]) -> float | None:
    """Return the standard error of the mean; None for a single value, which does not tell."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


@dataclass(frozen=True)
class Plane:
    """Two groups of words on their first two principal components, after training.

    ``points`` is (seed, words, 2), the first group and then the second; ``separations`` is one number a seed.
    """

    groups: Mapping[str, tuple[str, ...]]
    points: NDArray[np.float64]
    separations: tuple[float, ...]


def plane_of(state: Grams, corpus: Corpus, device: torch.device, seed: int) -> Plane | None:
    """Return the plane of the corpus's first two groups with at least three words; None where they make none.

    In a kernel limit embeddings do not move, and the plane is a random one, drawn with ``seed``.
    """
    chosen = {name: words for name, words in corpus.groups.items() if len(words) >= LEAST}
    chosen = dict(list(chosen.items())[:2])
    if len(chosen) < 2:
        return None
    first, second = (len(words) for words in chosen.values())
    if isinstance(state, KernelLimit):
        points = random_plane(first + second, np.random.default_rng(seed))[None]
    else:
        words = np.concatenate(list(chosen.values())).astype(np.int64)
        points = principal_components(state, torch.as_tensor(words, device=device))
    try:
        separations = tuple(separation(each, (first, second)) for each in points)
    except ValueError:  # on a line, as at width 1
        return None
    if not np.isfinite(separations).all():
        return None
    groups = {name: tuple(corpus.vocabulary[word] for word in words) for name, words in chosen.items()}
    return Plane(groups, points, separations)


@dataclass(frozen=True)
class Kept:
    """A training on disk: the state in ``file``, and beside it, written before, what was measured up to then.

    So the second file has at least the epochs of the first, and those that it has beyond them are dropped.
    ``settings`` tell a reader what the ``key`` is the digest of.
    """

    file: Path
    key: str
    settings: Mapping[str, str]

    @property
    def beside(self) -> Path:
        """The file of the epochs."""
        return self.file.with_name(self.file.name + ".json")

    def save(self, state: State, moment: Moment, epochs: Sequence[Epoch]) -> float:
        """Write both files and return how many seconds that took."""
        begun = time.perf_counter()
        held = {"settings": dict(self.settings), "epochs": [asdict(each) for each in epochs]}
        write_atomically(self.beside, json.dumps(held, indent=1).encode())
        _save(self.file, state, moment, self.key)
        return time.perf_counter() - begun

    def restore(self, like: State) -> tuple[State, Moment | None, tuple[Epoch, ...]]:
        """Return the state, its moment and the epochs before it; ``like`` and no moment where there is no file.

        Raises ``ValueError`` when the files are damaged or belong to another training, naming what differs.
        """
        if not self.file.exists():
            return like, None, ()
        try:
            held = json.loads(self.beside.read_text())
            settings = {str(name): str(value) for name, value in held["settings"].items()}
            epochs = tuple(_epoch(each) for each in held["epochs"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"the checkpoint {self.file} has its epochs in {self.beside}, which cannot be read ({error}): put that "
                "file back, or move the checkpoint away to start anew"
            ) from error
        names = [name for name in {**settings, **self.settings} if settings.get(name) != self.settings.get(name)]
        if names:
            told = ", ".join(f"{name} {settings.get(name)} there, {self.settings.get(name)} here" for name in names)
            raise ValueError(
                f"the checkpoint {self.file} belongs to another training: {told}; train with its settings, or move it "
                "away to start anew"
            )
        state, moment = _restored(self.file, like, self.key)
        done = moment.epoch + moment.ends_epoch
        if [each.number for each in epochs[: done + 1]] != list(range(done + 1)):
            raise ValueError(
                f"{self.beside} lacks epochs that the checkpoint {self.file} has done: put the file back that was "
                "written with it, or move the checkpoint away to start anew"
            )
        return state, moment, epochs[: done + 1]


def _save(file: Path, state: State, moment: Moment, key: str) -> None:
    # checkpoint's functions take either kind of state, but not their union
    if isinstance(state, KernelLimit):
        checkpoint.save(file, state, moment, key)
    else:
        checkpoint.save(file, state if isinstance(state, Vectors) else _packed(state), moment, key)


def _restored(file: Path, like: State, key: str) -> tuple[State, Moment]:
    if isinstance(like, KernelLimit):
        return checkpoint.restore(file, like, key)
    if isinstance(like, Vectors):
        return checkpoint.restore(file, like, key)
    packed, moment = checkpoint.restore(file, _packed(like), key)
    return _unpacked(packed, like), moment


def _packed(state: Compressed) -> Vectors:
    """Return all tables of a compressed limit as the two that a checkpoint holds."""
    embedding = torch.cat([state.vectors.embedding, state.kept[:, None]], dim=1)
    return replace(state.vectors, embedding=embedding, output=torch.cat([state.vectors.output, state.basis], dim=1))


def _unpacked(packed: Vectors, like: Compressed) -> Compressed:
    embedding, kept = packed.embedding[:, :-1].contiguous(), packed.embedding[:, -1].contiguous()
    output, basis = (table.contiguous() for table in packed.output.chunk(2, dim=1))
    return Compressed(replace(like.vectors, embedding=embedding, output=output), basis, kept)


def _epoch(held: Mapping[str, Any]) -> Epoch:
    right = tuple(tuple(int(count) for count in each) for each in held["right"])
    speed = held["words_a_second"]
    loss = tuple(float(each) for each in held["loss"])
    return Epoch(int(held["number"]), loss, right, None if speed is None else float(speed))
