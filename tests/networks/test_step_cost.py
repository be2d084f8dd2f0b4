"""Costs: bytes against a count by hand and the profiler, operations against PyTorch's counter."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from tpbench.networks.cost import fastest, matmul_rate, peak_bytes, step_operations, wait_for
from tpbench.networks.mlp import Mlp, initialise
from tpbench.networks.train import Sgd, Task, train
from tpbench.parametrization import named

CPU = torch.device("cpu")


def zeros(size: int) -> Tensor:
    return torch.zeros(size, dtype=torch.float32, device=CPU)


def created_and_dropped() -> None:
    one, two = zeros(100), zeros(200)
    del one
    zeros(50)
    del two


def views_and_changes_in_place() -> None:
    whole = zeros(100)
    part = whole[10:].view(-1)
    part.add_(1)
    torch.add(part, 1, out=part)


def one_after_the_other() -> None:
    for _ in range(10):
        zeros(100)


def kept_by_a_view() -> None:
    parts = [zeros(100)[:5] for _ in range(10)]
    del parts[:5]
    zeros(300)


BY_HAND = {created_and_dropped: 1200, views_and_changes_in_place: 400, one_after_the_other: 400, kept_by_a_view: 4000}


def profiled_peak(work: Callable[[], object]) -> int:
    """Return the largest running sum of the allocator's own records."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        work()
    assert found.profiler is not None
    records: Any = found.profiler.kineto_results.events()
    now = peak = 0
    for record in sorted((r for r in records if r.name() == "[memory]"), key=lambda r: r.start_ns()):
        now += record.nbytes()
        peak = max(peak, now)
    return peak


@pytest.mark.parametrize("work", BY_HAND, ids=lambda work: work.__name__)
def test_peak_bytes_against_a_count_by_hand(work: Callable[[], None]) -> None:
    assert peak_bytes(work) == BY_HAND[work]
    assert peak_bytes(work) == BY_HAND[work], "counting twice gives the same"


def test_what_was_there_before_does_not_count() -> None:
    x = zeros(1000)

    def work() -> None:
        x.add_(1)
        torch.mul(x, 2, out=x)
        x[3:].zero_()
        zeros(10).add_(x[:10])

    assert peak_bytes(work) == 40


def training(width: int = 64, momentum: float = 0.9, bias: bool = True) -> Callable[[], None]:
    """Return a training of one step on the full data, from nothing."""
    mlp = Mlp(10, 3, width, 2, "tanh", bias)

    def work() -> None:
        task = Task(zeros(80).view(8, 10), zeros(24).view(8, 3))
        ensemble = initialise(mlp, named("mup"), [0, 1], device=CPU, dtype=torch.float32)
        list(train(ensemble, task, Sgd(0.1, momentum), [None]))

    return work


def test_peak_bytes_of_a_training_is_that_of_the_profiler() -> None:
    """The allocator also sees what an operation takes for itself, here scalars and the normal generator's state."""
    ours, allocated = peak_bytes(training()), profiled_peak(training())
    assert ours <= allocated <= 1.02 * ours


def test_momentum_costs_one_more_copy_of_the_weights() -> None:
    weights = 2 * 4 * (10 * 256 + 256 * 256 + 256 * 3)
    with_it, without = (peak_bytes(training(256, momentum, bias=False)) for momentum in (0.9, 0.0))
    assert with_it - without == weights


@pytest.mark.parametrize(("depth", "momentum", "batch"), [(1, 0.0, 4), (2, 0.9, 4), (3, 0.0, 7)])
def test_step_operations_are_those_that_torch_counts(depth: int, momentum: float, batch: int) -> None:
    mlp = Mlp(10, 3, 32, depth, "relu")
    ensemble = initialise(mlp, named("ntp"), [0], device=CPU, dtype=torch.float32)
    steps = train(
        ensemble, Task(zeros(10 * batch).view(batch, 10), zeros(3 * batch).view(batch, 3)), Sgd(0.1, momentum), [None]
    )

    def in_place(_: Any, a: torch.Size, b: torch.Size, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
        return 2 * a[0] * a[1] * a[2] * b[2]

    next(steps)
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.baddbmm_: in_place}) as counter:
        next(steps)
    assert counter.get_total_flops() == step_operations(mlp, batch)


def test_the_fastest_of_several_calls_leaves_out_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that only the work moves; the first call, which warms up, is the shortest of all."""
    seconds, now = [0.5, 4.0, 2.0, 3.0], [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    left = iter(seconds)

    def work() -> None:
        now[0] += next(left)

    assert fastest(work, CPU, repeats=3) == 2.0
    assert now[0] == sum(seconds)


def test_the_rate_of_matrix_products_is_operations_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count(step=2.0)  # every measurement takes two seconds
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    assert matmul_rate(CPU, torch.float32, size=64, repeats=2) == 64**3
    wait_for(CPU)
