"""A network split over processes is the network: the same numbers, a share of the memory, and no process left over."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
import torch

from tpbench.data.corpus import planted
from tpbench.data.corpus.corpus import Corpus
from tpbench.networks.word2vec import evaluate, train
from tpbench.networks.word2vec.infinite import identity
from tpbench.networks.word2vec.model import Vectors, Word2Vec, initialise
from tpbench.networks.word2vec.sampling import Path, Sampling
from tpbench.networks.word2vec.shard_processes import ShardError
from tpbench.networks.word2vec.shards import Shard, Task, columns, shard, train_sharded
from tpbench.parametrization import named

Agree = Callable[..., None]
CPU = torch.device("cpu")
F64 = torch.float64
SAMPLING = Sampling(window=3, negatives=4, subsample=1e-2, block=64, tile=16, seed=0)
TRAINING = train.Training(epochs=2, rate=0.05, decay=1e-2)
PLAN = planted.Plan(groups=4, words_a_group=2, words_a_relation=2, filler_words=6)


@cache
def corpus() -> Corpus:
    """Return a planted corpus of 38 words, with questions."""
    return planted.build(planted.material(PLAN, tokens=1500))


def task(architecture: str = "cbow", *, zero_output: bool = True, width: int = 1, **options: Any) -> Task:
    network = Word2Vec(len(corpus().vocabulary), width, architecture, zero_output)
    return Task(corpus(), SAMPLING, network, named("mup"), TRAINING, dtype=F64, **options)


# What is measured: functions of this module, which new processes import.


def everything(part: Shard, path: Path) -> dict[str, Any]:
    words = torch.arange(part.vectors.network.words, device=path.device)
    return {
        "gram": part.gram(words[3:9]).numpy(),
        "squares": part.squared_norms().numpy(),
        "loss": part.mean_loss(path, 5).numpy(),
        "correct": evaluate.correct(part, path.corpus.analogies, path.device).numpy(),
        "bytes": part.bytes,
        "process": os.getpid(),
    }


def failing(part: Shard, path: Path) -> None:
    if torch.distributed.get_rank() == 1:
        raise ArithmeticError("the planted fault is found")
    everything(part, path)


def dying(part: Shard, path: Path) -> None:
    if torch.distributed.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    everything(part, path)


def alone(asked: Task) -> list[dict[str, Any]]:
    """Return what the engine's own training gives in this process at the ends of epochs."""
    start = (
        initialise(asked.network, asked.parametrization, asked.seeds, device=CPU, dtype=F64)
        if asked.seeds
        else identity(asked.network, asked.parametrization, device=CPU, dtype=F64)
    )
    path = Path(asked.corpus, asked.sampling, CPU, F64)
    return [
        measured_alone(start, path)
        for number, moment in enumerate(train.train(start, path, asked.training), start=1)
        if number <= (asked.blocks or number) and (moment.ends_epoch or number == asked.blocks)
    ]


def measured_alone(vectors: Vectors, path: Path) -> dict[str, Any]:
    words = torch.arange(vectors.network.words, device=CPU)
    return {
        "gram": vectors.gram(words[3:9]).numpy(),
        "squares": vectors.squared_norms().numpy(),
        "loss": train.mean_loss(vectors, path, 5).numpy(),
        "correct": evaluate.correct(vectors, path.corpus.analogies, CPU).numpy(),
    }


CASES = [
    (2, {"blocks": 3}),
    pytest.param(2, {}, marks=pytest.mark.slow),
    pytest.param(3, {"architecture": "skip-gram", "zero_output": False}, marks=pytest.mark.slow),
    pytest.param(3, {"width": 7, "seeds": (0, 5)}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("processes", "options"), CASES)
def test_processes_together_are_one_network(agree: Agree, processes: int, options: dict[str, Any]) -> None:
    asked = task(**options)
    together, single = train_sharded(asked, everything, processes=processes), alone(asked)
    assert len(together) == len(single) == (1 if "blocks" in options else 2)
    for ours, theirs in zip(together, single, strict=True):
        for name in ("gram", "squares", "loss"):
            agree(ours.value[name], theirs[name], rtol=1e-12)
        assert np.array_equal(ours.value["correct"], theirs["correct"])
    assert together[-1].moment.epoch == (0 if "blocks" in options else 1)
    assert {each.value["process"] for each in together} != {os.getpid()}
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("zero_output", [True, False])
@pytest.mark.parametrize("seeds", [(), (0, 3)])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_parts_are_the_columns_of_the_whole_and_share_its_memory(
    zero_output: bool, seeds: tuple[int, ...], processes: int
) -> None:
    asked = task(zero_output=zero_output, width=50, seeds=seeds)
    if seeds:
        whole = initialise(asked.network, named("mup"), seeds, device=CPU, dtype=F64)
    else:
        whole = identity(asked.network, named("mup"), device=CPU, dtype=F64)
    parts = [shard(asked, columns(asked.width, processes, i), CPU, lambda x: x) for i in range(processes)]
    for name in ("embedding", "output"):
        joined = torch.cat([part.vectors.by_seed(getattr(part.vectors, name)) for part in parts], dim=2)
        assert torch.equal(joined, whole.by_seed(getattr(whole, name)))
    dense = 2 * whole.embedding.numel() * 8
    assert sum(part.bytes for part in parts) == dense
    one_column = dense // asked.width
    assert max(part.bytes for part in parts) <= dense / processes + one_column
    assert {part.vectors.embedding_rate for part in parts} == {whole.embedding_rate}
    assert {part.vectors.output_rate for part in parts} == {whole.output_rate}


@pytest.mark.parametrize(("words", "width"), [(17, 1), (33, 5), (100, 7), (15, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_tables_drawn_some_rows_at_a_time_are_the_same(
    monkeypatch: pytest.MonkeyPatch, words: int, width: int, dtype: torch.dtype
) -> None:
    monkeypatch.setattr("tpbench.networks.word2vec.shards.ROWS_AT_ONCE", 1)
    material = planted.material(planted.Plan(groups=30, filler_words=50), tokens=50_000)
    network = Word2Vec(words, width)
    asked = replace(task(), corpus=planted.build(material, top=words), network=network, seeds=(4,), dtype=dtype)
    part = shard(asked, range(width), CPU, lambda x: x)
    assert torch.equal(
        part.vectors.embedding, initialise(network, named("mup"), [4], device=CPU, dtype=dtype).embedding
    )


def test_columns_are_each_one_process_s() -> None:
    for width, processes in itertools.product((1, 5, 12), (1, 2, 3, 5)):
        held = [list(columns(width, processes, i)) for i in range(processes)]
        assert list(itertools.chain(*held)) == list(range(width))
        assert max(map(len, held)) - min(map(len, held)) <= 1


@pytest.mark.slow
def test_a_process_s_error_reaches_the_parent() -> None:
    with pytest.raises(
        ShardError, match=r"process 1 of 3 that share the network failed: ArithmeticError: the planted fault is found"
    ):
        train_sharded(task(), failing, processes=3)
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_a_process_that_is_killed_is_named() -> None:
    with pytest.raises(ShardError, match=r"process 1 of 3 .* ended without a word, exit code -9: it was killed"):
        train_sharded(task(), dying, processes=3)
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_a_measurement_that_cannot_be_imported_is_told_so() -> None:
    with pytest.raises(ShardError, match=r"ended without a word, exit code 1: .* give a function of a module"):
        train_sharded(task(), OnlyHere(), processes=2)
    assert not multiprocessing.active_children()


class OnlyHere:
    """Something that is sent but not received."""

    def __call__(self, part: Shard, path: Path) -> None:
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise ImportError('not here')",)


SCRIPT = """
    import os, sys, time
    sys.path.insert(0, {tests!r})
    from test_w2v_shards import task, everything
    from dataclasses import replace
    from tpbench.networks.word2vec.shards import train_sharded
    from tpbench.networks.word2vec.train import Training
    import test_w2v_shards

    def telling(part, path):
        with open(os.path.join({directory!r}, str(os.getpid())), "w"):
            pass
        return None

    if __name__ == "__main__":
        train_sharded(replace(task(), training=Training(epochs=100_000)), telling, processes=2)
"""


@pytest.mark.slow
@pytest.mark.skipif(not FilePath("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_an_interrupted_or_killed_parent(tmp_path: FilePath, sign: signal.Signals) -> None:
    script, told = tmp_path / "script.py", tmp_path / "told"
    told.mkdir()
    script.write_text(textwrap.dedent(SCRIPT).format(tests=str(FilePath(__file__).parent), directory=str(told)))
    # A shell that runs tests in the background ignores interrupts, and so would its children.
    listening = (
        "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    parent = subprocess.Popen([sys.executable, "-c", listening], stderr=subprocess.PIPE, start_new_session=True)
    try:
        wait_until(lambda: len(list(told.iterdir())) == 2 or parent.poll() is not None, 60)
        workers = [int(path.name) for path in told.iterdir()]
        assert len(workers) == 2
        os.kill(parent.pid, sign) if sign == signal.SIGKILL else os.killpg(parent.pid, sign)
        _, said = parent.communicate(timeout=30)
        assert parent.returncode != 0
        assert (b"KeyboardInterrupt" in said) == (sign == signal.SIGINT)
        wait_until(lambda: not any(FilePath(f"/proc/{worker}/stat").exists() for worker in workers), 10)
    finally:
        parent.kill()
        parent.wait()


def wait_until(is_so: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.05)


@pytest.mark.parametrize("processes", [0, 39])
def test_a_number_of_processes_that_cannot_be_is_refused(processes: int) -> None:
    with pytest.raises(ValueError, match=rf"width 38 is split over 1 to 38 processes .* got {processes} of 1"):
        train_sharded(task(), everything, processes=processes)


def test_more_processes_than_gpus_are_refused() -> None:
    more = torch.cuda.device_count() + 1
    with pytest.raises(ValueError, match=rf"a GPU of its own: {more} were asked for and there are {more - 1}"):
        train_sharded(task(device="cuda"), everything, processes=more)


def test_tasks_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"split over processes on cpu or cuda, got 'tpu'"):
        task(device="tpu")
    with pytest.raises(ValueError, match=r"a block at least, got 0"):
        task(blocks=0)
    with pytest.raises(ValueError, match=r"'ntp' is not muP in some gauge"):
        replace(task(), parametrization=named("ntp"))
    with pytest.raises(ValueError, match=r"the network has 3 words and corpus 'planted' has 38"):
        replace(task(), network=Word2Vec(3, 1))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_one_process_a_gpu(agree: Agree) -> None:
    processes = torch.cuda.device_count()
    ours = train_sharded(replace(task(), device="cuda"), everything_on_cuda, processes=processes)
    for mine, theirs in zip(ours, alone(task()), strict=True):
        agree(mine.value, theirs["gram"], rtol=1e-11)


def everything_on_cuda(part: Shard, path: Path) -> np.ndarray:
    gram: np.ndarray = part.gram(torch.arange(3, 9, device=path.device)).cpu().numpy()
    return gram
