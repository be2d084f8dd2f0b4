"""Independent pieces of work on all of torch's threads, each piece on one.

Torch itself splits every operation over its threads, which then wait for one another: a thousand times for a kernel of
3000 points. Where another program has one of the cores, each of those waits lasts until the scheduler comes round, and
the work takes ten times as long. Whole tiles on a thread of their own wait once.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def alone(job: Callable[[], R], device: torch.device) -> R:
    """Return what a job returns, on one thread; on the caller's where there is no crew for the device."""
    count = _size(device)
    return _crew(count).submit(_as_here(job)).result() if count > 1 else _as_here(job)()


def each(items: Iterable[T], begin: Callable[[], Callable[[T], None]], device: torch.device) -> None:
    """Call a worker once for every item. A thread gets its worker from ``begin``, with buffers of its own.

    On a CPU as many threads take part as torch was told to use; elsewhere the caller's alone. Raises what a worker
    raises, when the others have done the item that they were at.
    """
    left = deque(items)

    def work() -> None:
        try:
            _work(left, begin())
        except BaseException:
            left.clear()
            raise

    count = min(_size(device), len(left))
    if count <= 1:
        alone(work, device)
        return
    members = [_crew(_size(device)).submit(_as_here(work)) for _ in range(count)]
    try:
        for member in members:
            member.result()
    except BaseException:  # an interrupt: none must work for nothing, nor write to what the caller gives up
        left.clear()
        for member in members:
            member.exception()
        raise


def _work(left: deque[T], worker: Callable[[T], None]) -> None:
    while True:
        try:
            item = left.popleft()
        except IndexError:  # which is how a thread learns that the others have taken all
            return
        worker(item)


def _as_here(job: Callable[[], R]) -> Callable[[], R]:
    """Return the job without gradients, and in inference mode if the caller is: both belong to a thread."""
    inference = torch.is_inference_mode_enabled()

    def run() -> R:
        with torch.no_grad(), torch.inference_mode(inference):
            return job()

    return run


def _size(device: torch.device) -> int:
    return torch.get_num_threads() if device.type == "cpu" and _own_threads() else 1


@lru_cache(maxsize=1)
def _own_threads() -> bool:
    """Whether the number of threads is each thread's own affair, as it is with OpenMP."""
    return "parallel backend: OpenMP" in torch.__config__.parallel_info()


@lru_cache(maxsize=1)
def _crew(count: int) -> ThreadPoolExecutor:
    """Return so many threads, which live on: a new one would allocate the matrix product's buffers anew.

    Each tells torch to use no others. That also sets what torch gives to threads that are yet to come, which is put
    back as soon as all have begun.
    """
    threads, begun = torch.get_num_threads(), threading.Barrier(count)

    def begin() -> None:
        torch.get_num_threads()  # a thread's first question sets its number, and would undo what is set before it
        torch.set_num_threads(1)

    crew = ThreadPoolExecutor(count, "tpbench", initializer=begin)
    try:
        for member in [crew.submit(begun.wait) for _ in range(count)]:
            member.result()
    except BaseException:  # no more threads to be had: those that wait must not wait for ever
        begun.abort()
        crew.shutdown()
        raise
    finally:
        torch.set_num_threads(threads)
    return crew


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_crew.cache_clear)  # a fork has the caller's thread alone
