"""Worker processes that share out the cores, die with their parent and leave Ctrl-C to it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


@contextmanager
def processes(workers: int, threads: int, initialise: Callable[[int], None]) -> Iterator[ProcessPoolExecutor]:
    """Give a pool of new Python processes with ``threads`` threads each, which call ``initialise(threads)``.

    When an exception leaves the block the processes are killed, whatever they are doing. Submit within
    ``interrupts_held``: processes start when there is work for them.
    """
    others = set(multiprocessing.active_children())
    with _environment(threads):
        executor = ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(threads, initialise)
        )
        try:
            yield executor
        except BaseException:
            for child in set(multiprocessing.active_children()) - others:
                child.kill()
            raise
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Start processes with interrupts blocked: Ctrl-C reaches the whole group, and the parent answers it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(threads: int, initialise: Callable[[int], None]) -> None:
    """Prepare a worker: it ends with its parent, which a killed parent could no longer tell it."""
    threading.Thread(target=_follow_parent, daemon=True).start()
    initialise(threads)


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """Set what children inherit before they load a numerical library; afterwards all is as it was."""
    settings = {**dict.fromkeys(THREAD_VARIABLES, str(threads)), "OMP_WAIT_POLICY": "PASSIVE"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
