"""How much faster tpbench trains 20 seeds at once than a plain PyTorch loop over seeds.

    python benchmarks/training_speed.py            # a table
    python benchmarks/training_speed.py --json     # the same numbers, and every repetition, for a machine

The two sides take turns (loop, ours, loop, ours, …), so that whatever else the machine does falls on both; the
ratio is the median over pairs. Both start from the same weights, hold the same data on the same device and do the
same 50 steps; building models, optimizers and ensembles is not timed. After every pair the final losses must agree.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

import torch
from torch_loop import Loop, Ours, check_same, training

from tpbench.networks.cost import matmul_rate, step_operations

TARGETS: Mapping[int, float] = {64: 5.0, 128: 3.0, 256: 1.5, 512: 1.2, 1024: 1.2}
"""Width -> the speed-up over the plain loop that this project has set itself."""


@dataclass(frozen=True)
class Pair:
    """One repetition: seconds of either side, torch.mm's operations a second beside them, difference of losses."""

    loop: float
    ours: float
    matmul_rate: float
    difference: float


@dataclass(frozen=True)
class Comparison:
    """All repetitions at one width; ``operations`` are those of the matrix products that either side does."""

    width: int
    part: int  # seeds that are trained at once
    operations: int
    target: float | None
    pairs: tuple[Pair, ...]

    @property
    def ratios(self) -> list[float]:
        """The speed-up in every pair."""
        return [pair.loop / pair.ours for pair in self.pairs]

    @property
    def seconds(self) -> tuple[list[float], list[float]]:
        """The times of the loop, and ours."""
        return [pair.loop for pair in self.pairs], [pair.ours for pair in self.pairs]

    def line(self) -> str:
        """Return the table's line."""
        loop, ours = (statistics.median(times) for times in self.seconds)
        fastest_loop, fastest_ours = (min(times) for times in self.seconds)
        fraction = statistics.median(self.operations / pair.ours / pair.matmul_rate for pair in self.pairs)
        ratio = f"{statistics.median(self.ratios):.2f} [{min(self.ratios):.2f}, {max(self.ratios):.2f}]"
        target = "none" if self.target is None else f"{self.target}"
        return (
            f"| {self.width} | {self.part} | {loop:.3f} | {ours:.3f} | {ratio} "
            f"| {fastest_loop / fastest_ours:.2f} | {target} | {self.operations / ours / 1e9:.0f} "
            f"| {fraction:.2f} | {max(pair.difference for pair in self.pairs):.0e} |"
        )


HEADER = (
    "| width | seeds at once | loop s | batched s | ratio median [min, max] | of the fastest | target | GFLOP/s "
    "| of torch.mm | loss difference |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def compare(width: int, *, seeds: int, steps: int, repeats: int, device: str) -> Comparison:
    """Time both sides in turns, ``repeats`` times after one that is not counted.

    Raises ``ValueError`` when the two sides do not end at the same loss.
    """
    run = training(width, seeds=seeds, steps=steps, device=device)

    def pair() -> Pair:
        loop, ours = Loop.start(run), Ours.start(run)
        spent = seconds(loop.train), seconds(ours.train)
        return Pair(*spent, matmul_rate(run.device, run.dtype), check_same((ours.losses(), loop.losses())))

    pairs = [pair() for _ in range(repeats + 1)][1:]
    part = len(next(run.parts()))
    operations = step_operations(run.mlp, len(run.train)) * seeds * steps
    return Comparison(width, part, operations, TARGETS.get(width), tuple(pairs))


def seconds(work: Callable[[], None]) -> float:
    """Return the wall time of one call; ``work`` waits for its device itself."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def machine() -> dict[str, object]:
    """Return what the reader must know of the machine."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def table(comparisons: Iterable[Comparison]) -> Iterator[str]:
    """Yield the lines of the table as they are measured."""
    yield ", ".join(f"{name} {value}" for name, value in machine().items())
    yield HEADER
    for comparison in comparisons:
        yield comparison.line()


def main() -> None:
    """Measure every width that was asked for, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--widths", type=int, nargs="+", default=list(TARGETS), help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=5, help="pairs at each width (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=50, help="default: %(default)s")
    parser.add_argument("--threads", type=int, help="threads of torch (default: torch's own choice)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    asked = parser.parse_args()
    if min(asked.repeats, asked.seeds, asked.steps, *asked.widths) < 1:
        parser.error("widths, repeats, seeds and steps must be at least 1")
    if asked.threads is not None:
        torch.set_num_threads(asked.threads)
    comparisons = (
        compare(width, seeds=asked.seeds, steps=asked.steps, repeats=asked.repeats, device=asked.device)
        for width in asked.widths
    )
    if asked.json:
        records = [{**asdict(comparison), "ratios": comparison.ratios} for comparison in comparisons]
        print(json.dumps({"machine": machine(), "comparisons": records}, indent=1))
        return
    for line in table(comparisons):
        print(line, flush=True)


if __name__ == "__main__":
    main()
