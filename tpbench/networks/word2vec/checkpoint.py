"""A training of days on disk: its tables and how far it is, in one file that is whole or not there.

The file says which training it belongs to by a key, the digest of everything its numbers depend on, and holds a
digest of its tables: torch's own format does not notice a flipped bit. It is read without running code from it
(``torch.load`` with ``weights_only``).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields, replace
from pathlib import Path as File
from typing import IO, Any, TypeVar

import torch
from torch import Tensor

from tpbench.networks.word2vec.kernel_limit import KernelLimit
from tpbench.networks.word2vec.model import Vectors, Word2Vec
from tpbench.networks.word2vec.sampling import BLOCKS_AT_ONCE, Path
from tpbench.networks.word2vec.train import Moment, Training
from tpbench.parametrization import Parametrization

FORMAT = 1
"""Raise it when the same settings no longer give the same numbers, or when the file holds something else."""
LEFTOVER_SECONDS = 3600.0
"""A temporary file older than this belongs to nobody: writing one takes seconds."""

State = TypeVar("State", Vectors, KernelLimit)


class CheckpointError(ValueError):
    """A checkpoint cannot be written or used; the message says why and what to do."""


def key_of(
    path: Path,
    training: Training,
    network: Word2Vec,
    parametrization: Parametrization,
    *,
    seeds: Sequence[int] = (),
    base_width: int = 1,
    start: str = "gaussian",
) -> str:
    """Return the digest of what a training's numbers depend on, in hex.

    That is the corpus, how it is sampled, the training, the network and its abc table, the networks' seeds and the
    kind of number. ``start`` says how the tables begin where that is not ``initialise`` with these seeds (such as
    "identity"), or which part of a network this process holds. Devices are left out: they agree up to rounding.
    """
    table = {key: value for key, value in parametrization.as_config().items() if key not in ("name", "source")}
    parts = {
        "format": FORMAT,
        "corpus": path.corpus.digest,
        "sampling": {**asdict(path.sampling), "blocks at once": BLOCKS_AT_ONCE},
        "training": asdict(training),
        "network": asdict(network),
        "parametrization": table,
        "base width": base_width,
        "seeds": [int(seed) for seed in seeds],
        "dtype": str(path.dtype),
        "start": start,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def save(path: File, state: State, moment: Moment, key: str) -> None:
    """Write a network, or the kernel limit, with its moment and key, so that a kill leaves the old file or the new.

    Makes the directory where there is none. Raises ``CheckpointError`` when the file cannot be written; an earlier
    one is then untouched.
    """
    tables = {name: table.detach().cpu() for name, table in _tables(state).items()}
    how_far = asdict(moment)
    held = {"format": FORMAT, "key": key, "moment": how_far, "tables": tables}
    held["digest"] = _digest(key, how_far, tables)
    try:
        with _whole(path) as file:
            torch.save(held, file)
    # torch's writer turns a full disk into a RuntimeError
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"the checkpoint {path} cannot be written ({error}): free some space there, or choose a directory that can "
            "be written; an earlier checkpoint of this name is unharmed"
        ) from error


def restore(path: File, like: State, key: str) -> tuple[State, Moment]:
    """Return the network and the moment that a file holds, on the device of ``like``, which stays as it is.

    ``like`` is the network at its start: it gives what never changes, and the shapes and types that are expected.
    Raises ``FileNotFoundError`` when there is no file, and ``CheckpointError`` when it belongs to another training
    or is damaged.
    """
    held = _load(path)
    if held["key"] != key:
        raise CheckpointError(
            f"the checkpoint {path} belongs to another training (its key is {held['key'][:12]}…, asked was {key[:12]}…)"
            ": corpus, sampling, training, network, parametrization, seeds, dtype or the program's version differ; "
            "train with the old settings, or move the file away to start anew"
        )
    tables, expected = held["tables"], _tables(like)
    for name, table in expected.items():
        found = tables.get(name)
        if found is None or found.shape != table.shape or found.dtype != table.dtype:
            got = "nothing" if found is None else f"{found.dtype} of shape {tuple(found.shape)}"
            raise CheckpointError(
                f"the checkpoint {path} holds {got} for the table {name!r}, where the network has {table.dtype} of "
                f"shape {tuple(table.shape)}: give the network that was saved"
            )
    restored: dict[str, Any] = {name: torch.empty_like(table).copy_(tables[name]) for name, table in expected.items()}
    return replace(like, **restored), Moment(**held["moment"])


def _tables(state: Vectors | KernelLimit) -> dict[str, Tensor]:
    """Return the tensors of a state by name: what training changes."""
    held = {each.name: getattr(state, each.name) for each in fields(state)}
    return {name: value for name, value in held.items() if isinstance(value, Tensor)}


def _digest(key: str, moment: Mapping[str, int], tables: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps([key, moment], sort_keys=True).encode())
    for name, table in sorted(tables.items()):
        digest.update(f"{name} {table.dtype} {tuple(table.shape)}".encode())
        digest.update(table.contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _load(path: File) -> dict[str, Any]:
    """Return what a file holds, its tables mapped from the disk; ``CheckpointError`` unless it is as it was written."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        held: dict[str, Any] = torch.load(path, map_location=torch.device("cpu"), weights_only=True, mmap=True)
        whole = held["format"] == FORMAT and held["digest"] == _digest(held["key"], held["moment"], held["tables"])
    # What a damaged file makes torch and pickle raise has no end.
    except Exception as error:
        raise CheckpointError(
            f"the checkpoint {path} is damaged or is none ({type(error).__name__}): move it away to start anew"
        ) from error
    if not whole:
        raise CheckpointError(
            f"the checkpoint {path} is damaged or of another version (its digest is not that of its tables): move it "
            "away to start anew"
        )
    return held


@contextmanager
def _whole(path: File) -> Iterator[IO[bytes]]:
    """Give a file to write that gets the name ``path`` in one step, once it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob(f".{path.name}.*.tmp"):
        # Another process may remove it first.
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > LEFTOVER_SECONDS:
                old.unlink()
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        # Some network file systems cannot synchronise a directory; the rename is then as durable as they make it.
        with suppress(OSError):
            os.fsync(directory)
    finally:
        os.close(directory)
