"""Time and memory of one network of ``tpbench check`` and of ``mup.coord_check`` by width, to 2^17.

    python benchmarks/check_width.py            # a table, some minutes
    python benchmarks/check_width.py --json     # the same numbers for a machine

The model, the batch of 64 and the optimizer are those of ``check_speed``. Each run is one network of 4 steps in a
process of its own; memory is that process's peak less what it had before. Ours is lazy: its hidden weight is never
built. To that belong the two narrow networks that tell which axes grow, and drawing models of widths 256 and 1024,
which tell the law of the weights. mup's is dense: at 2^17 the hidden weight alone takes 64 GiB in float32 and its
gradient as much again, so its widest line is computed and not run. Sizes of fc2 at the start must agree where both ran.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch
from check_speed import AGREEMENT, CORRECT, Asked, machine

from tpbench.check.measure import measure

STEPS, LOOKED_AT = 4, "fc2"
NARROW = (64, 128)


@dataclass(frozen=True)
class Run:
    """Seconds, GiB that the run added, and the size of fc2's output at the start."""

    side: str
    width: int
    seconds: float
    gib: float
    size: float


def resident() -> float:
    """Return this process's peak resident memory in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def ours(width: int) -> float:
    """Measure one lazy network; return the size of fc2's output at the start."""
    found = measure(CORRECT.factory, widths=NARROW, seeds=1, steps=STEPS, wide=(width,), wide_seeds=1)
    (number,) = [layer.number for layer in found.layers if layer.name == LOOKED_AT]
    (size,) = [
        row.value
        for at, row in found.rows
        if (at, row.layer, row.quantity, row.step) == (width, number, "preactivation", 0)
    ]
    return size


def rival(width: int) -> float:
    """Let mup record one dense network, with one step more to see as many updates; return the same size."""
    data = Asked((width,), 1, STEPS).rival_with(CORRECT, "l2")
    return float(data.query(f"t == 1 and module == '{LOOKED_AT}'")["l2"].iloc[0])


SIDES: Mapping[str, Callable[[int], float]] = {"tpbench, lazy": ours, "mup, dense": rival}


def one(side: str, width: int) -> Run:
    """Run one side in this process, once at a small width before, so that what is loaded once is loaded."""
    SIDES[side](256)
    before, start = resident(), time.perf_counter()
    size = SIDES[side](width)
    return Run(side, width, time.perf_counter() - start, resident() - before, size)


def elsewhere(side: str, width: int, threads: int) -> Run:
    """Run ``one`` in a process of its own."""
    words = [sys.executable, __file__, "--one", side, str(width), "--threads", str(threads)]
    return Run(**json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout))


def compare(dense: int, widest: int, threads: int) -> list[Run]:
    """Run both sides at widths 2^10 to 2^``dense`` in turns, then ours alone; ``ValueError`` where sizes differ."""
    runs: list[Run] = []
    for power in range(10, widest + 1):
        sides = SIDES if power <= dense else ["tpbench, lazy"]
        runs += [elsewhere(side, 2**power, threads) for side in sides]
        sizes = [run.size for run in runs if run.width == 2**power]
        if max(sizes) / min(sizes) > 1 + AGREEMENT:
            raise ValueError(f"at width {2**power} {LOOKED_AT} has sizes {sizes}: the two look at different networks")
    return runs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--dense", type=int, default=13, help="log2 of mup's widest network (default: %(default)s)")
    parser.add_argument("--widest", type=int, default=17, help="log2 of our widest network (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: %(default)s)")
    parser.add_argument("--one", nargs=2, metavar=("SIDE", "WIDTH"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.one:
        print(json.dumps(asdict(one(given.one[0], int(given.one[1])))))
        return
    runs = compare(given.dense, given.widest, given.threads)
    if given.json:
        print(json.dumps({"machine": machine(), "runs": list(map(asdict, runs))}, indent=1))
        return
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    print(f"| side | width | seconds | GiB | W x of {LOOKED_AT} |\n{'| --- ' * 5}|")
    for run in runs:
        print(f"| {run.side} | {run.width} | {run.seconds:.1f} | {run.gib:.2f} | {run.size:.3f} |")
    widest = 2**given.widest
    print(f"| mup, dense | {widest} | | {2 * 4 * widest**2 / 2**30:.0f} for fc2 and its gradient | |")


if __name__ == "__main__":
    main()
