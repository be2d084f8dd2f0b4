"""Tiles on threads: nothing changes, nothing is left behind, errors are errors."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from tpbench import kernels
from tpbench.limits.gaussian import Activation, activation
from tpbench.limits.kernels import crew
from tpbench.limits.kernels.crew import alone, each

Normal = Callable[..., Tensor]
CPU = torch.device("cpu")


def both(x: Tensor, y: Tensor | None = None, *, phi: str | Activation, tile: int) -> Tensor:
    """Return nngp and ntk, stacked."""
    found = kernels(x, y, depth=3, activation=phi, sigma_w=1.2, sigma_b=0.3, tile=tile)
    return torch.stack([found.nngp, found.ntk])


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def later_threads() -> int:
    """Return how many threads torch would give to a thread that begins now."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


@pytest.mark.usefixtures("three_threads")
def test_threads_change_nothing_and_are_given_back(normal: Normal) -> None:
    x, y = normal(50, 4), normal(40, 4, seed=1)
    for name in ("relu", "gelu", "tanh"):
        found = [both(x, phi=name, tile=9), both(x, y, phi=name, tile=9)]
        assert (torch.get_num_threads(), later_threads()) == (3, 3)
        torch.set_num_threads(1)
        assert (found[0] == both(x, phi=name, tile=9)).all()
        assert (found[1] == both(x, y, phi=name, tile=9)).all()
        torch.set_num_threads(3)
    with torch.inference_mode():
        assert (both(x, phi="tanh", tile=9) == found[0]).all()


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("error", [IndexError, ValueError, KeyboardInterrupt])
def test_an_error_in_a_thread_is_an_error_and_ends_the_work(normal: Normal, error: type[BaseException]) -> None:
    known, calls = activation("sin"), itertools.count()

    def duals(uu: Tensor, uv: Tensor, vv: Tensor) -> tuple[Tensor, Tensor]:
        if uv.ndim == 2 and next(calls) == 5:
            raise error("no more")
        return known.duals(uu, uv, vv)

    with pytest.raises(error, match="no more"):
        both(normal(100, 4), phi=Activation("mine", known.phi, known.derivative, duals), tile=3)
    assert next(calls) < 30  # of 3 * 595
    assert (torch.get_num_threads(), later_threads()) == (3, 3)


@pytest.mark.usefixtures("three_threads")
def test_all_items_are_done_once_on_threads_that_use_no_others() -> None:
    done: list[tuple[int, int, int]] = []

    def work(item: int) -> None:
        torch.ones(100_000, device=CPU).exp_()  # large enough for torch to split it
        done.append((item, torch.get_num_threads(), threading.get_ident()))

    each(range(200), lambda: work, CPU)
    items, threads, places = zip(*done, strict=True)
    assert sorted(items) == list(range(200))
    assert set(threads) == {1}
    assert len(set(places)) > 1
    assert alone(torch.get_num_threads, CPU) == 1
    each([], lambda: work, CPU)
    assert len(done) == 200


@pytest.mark.usefixtures("three_threads")
def test_a_lack_of_threads_is_an_error_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    starts, start = itertools.count(), threading.Thread.start

    def few(self: threading.Thread) -> None:
        if next(starts) == 2:
            raise RuntimeError("can't start new thread")
        start(self)

    crew._crew.cache_clear()
    monkeypatch.setattr(threading.Thread, "start", few)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        each(range(1000), lambda: lambda item: None, CPU)
    monkeypatch.undo()
    assert (torch.get_num_threads(), later_threads()) == (3, 3)
    assert alone(torch.get_num_threads, CPU) == 1


@pytest.mark.usefixtures("three_threads")
def test_calls_from_many_threads_wait_for_none(normal: Normal) -> None:
    x = normal(60, 4)
    expected = both(x, phi="relu", tile=7)
    with ThreadPoolExecutor(6) as pool:
        found = [pool.submit(both, x, phi="relu", tile=7) for _ in range(24)]
        assert all((one.result(timeout=60) == expected).all() for one in found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_fork_has_a_crew_of_its_own() -> None:
    """In a process of its own: the alarm ends a child that waits for threads that it does not have."""
    code = """
import os, signal, torch, tpbench
torch.set_num_threads(3)
x = torch.eye(40, device="cpu")
expected = tpbench.kernels(x, depth=2, activation="relu", tile=8).ntk
child = os.fork()
if child == 0:
    signal.alarm(30)
    os._exit(0 if (tpbench.kernels(x, depth=2, activation="relu", tile=8).ntk == expected).all() else 1)
raise SystemExit(os.waitpid(child, 0)[1])
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
