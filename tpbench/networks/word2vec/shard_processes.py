"""Processes that work on one thing together: they end together, and with their parent.

Where one fails, the others wait for it in a sum over processes; the parent kills them and raises what the first
failure said. Ctrl-C is the parent's to answer. A process whose parent is gone ends itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

GRACE_SECONDS = 1.0
"""How long after a first sign of trouble the parent listens on: a process that was killed makes the others fail too."""

EXIT_SECONDS = 30.0
"""How long a process whose line is closed may take to end."""


class ShardError(RuntimeError):
    """One of the processes that share a network failed; the message has its own sentence."""


@dataclass(frozen=True)
class Talk:
    """A process's line to its parent."""

    line: Connection

    def say(self, value: object) -> None:
        """Send a result."""
        self.line.send((_RESULT, value))


@dataclass(frozen=True)
class _Failure:
    """What went wrong in a process, and when: the clock is one for all processes."""

    at: float
    sentence: str


_RESULT, _DONE, _FAILED = "result", "done", "failed"


def run_together(work: Callable[..., None], processes: int, arguments: tuple[Any, ...]) -> list[Any]:
    """Call ``work(process, talk, *arguments)`` in so many new processes and return what they said, in order.

    Raises ``ShardError`` when one fails or dies. However this ends, no process is left.
    """
    context = multiprocessing.get_context("spawn")
    started: list[BaseProcess] = []
    lines: dict[Connection, int] = {}
    try:
        for process in range(processes):
            child: BaseProcess
            mine, theirs = context.Pipe(duplex=False)
            child = context.Process(target=_begin, args=(work, process, theirs, arguments), daemon=True)
            # Noted before it starts: an interrupt may come as soon as it has.
            started.append(child)
            lines[mine] = process
            _start_without_interrupts(child)
            theirs.close()
        results = _listen(lines, started)
        for child in started:
            child.join()
        return results
    finally:
        running = [child for child in started if child.pid is not None]
        for child in running:
            child.kill()
        for child in running:
            child.join()
        for line in lines:
            line.close()


def _start_without_interrupts(child: BaseProcess) -> None:
    """Start a process with interrupts blocked: Ctrl-C reaches the whole group, and the parent answers it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        child.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(work: Callable[..., None], process: int, line: Connection, arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_follow_parent, daemon=True).start()
    try:
        work(process, Talk(line), *arguments)
    except Exception as error:
        line.send((_FAILED, _Failure(time.monotonic(), f"{type(error).__name__}: {error}")))
    else:
        line.send((_DONE, None))
    line.close()
    # A process that failed may hold threads of the backend that wait for others for ever.
    os._exit(0)


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _listen(lines: Mapping[Connection, int], started: list[BaseProcess]) -> list[Any]:
    results: list[Any] = []
    failures: dict[int, _Failure] = {}
    dead: list[int] = []
    open_lines, deadline = dict(lines), None
    while open_lines:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = [line for line in wait(list(open_lines), timeout=left) if isinstance(line, Connection)]
        if not ready:
            break
        for line in ready:
            process = open_lines[line]
            kind, value = _heard(line)
            if kind == _RESULT:
                results.append(value)
                continue
            del open_lines[line]
            if kind == _FAILED:
                failures[process] = value
            elif kind is None:
                dead.append(process)
        if (failures or dead) and deadline is None:
            deadline = time.monotonic() + GRACE_SECONDS
    if failures or dead:
        raise ShardError(_why(failures, dead, started))
    return results


def _heard(line: Connection) -> tuple[str | None, Any]:
    with suppress(EOFError, OSError):
        kind, value = line.recv()
        return kind, value
    return None, None


def _why(failures: Mapping[int, _Failure], dead: list[int], started: list[BaseProcess]) -> str:
    """Return the first cause: a process that died without a word makes others fail, so it comes first."""
    if dead:
        started[dead[0]].join(EXIT_SECONDS)
        code = started[dead[0]].exitcode
        cause = (
            "it was killed, perhaps for want of memory; take more processes with more memory in all, or a smaller "
            "vocabulary"
            if code is not None and code < 0
            else "new processes could not import what they were to do, see above; give a function of a module"
        )
        which = f"process {dead[0]} of {len(started)} that share the network"
        return f"{which} ended without a word, exit code {code}: {cause}"
    process = min(failures, key=lambda each: failures[each].at)
    return f"process {process} of {len(started)} that share the network failed: {failures[process].sentence}"
