"""What lazy weights cost beside dense ones, and what Sobol' points gain over independent draws.

    python benchmarks/lazy_weights.py              # all tables, some minutes
    python benchmarks/lazy_weights.py --widest 18  # narrower
    python benchmarks/lazy_weights.py --json       # the same numbers for a machine

The task is one everywhere: muP, 2 hidden layers, 4 inputs with 4 features, 10 full-batch steps, float64, by the public
training code, with initialisation in the time. Dense and lazy networks of one width are timed in turns. Every time
comes from a process of its own, which tells its peak resident memory too: as a whole, and above what it had before.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from tpbench.networks.cost import fastest, matmul_rate
from tpbench.networks.infinite import limit
from tpbench.networks.mlp import Ensemble, Mlp, forward, initialise, initialise_lazy
from tpbench.networks.train import Sgd, Task, batches, train
from tpbench.networks.trajectory import MEASURES, Course
from tpbench.parametrization import named
from tpbench.weights.innovations import Innovations, MonteCarlo, Sobol

CPU = torch.device("cpu")
MUP = named("mup")
INPUTS, STEPS = 4, 10
ROOM = INPUTS * (STEPS + 1)
SOURCES: Mapping[str, Callable[[Sequence[int]], Innovations]] = {"Monte Carlo": MonteCarlo, "Sobol": Sobol}
TARGET_SECONDS, TARGET_GIB, TARGET_GAIN, TARGET_LIMIT = 5.0, 3.0, 30.0, 6.0


def task() -> Task:
    """Return the inputs (4, 4) and targets (4, 1)."""
    source = torch.Generator(CPU).manual_seed(0)
    x = torch.randn(INPUTS, 4, generator=source, dtype=torch.float64, device=CPU)
    return Task(x, torch.randn(INPUTS, 1, generator=source, dtype=torch.float64, device=CPU))


def lazy(width: int, activation: str, innovations: Innovations) -> Ensemble:
    mlp = Mlp(4, 1, width, 2, activation)
    return initialise_lazy(mlp, MUP, innovations, device=CPU, dtype=torch.float64, room=ROOM)


def dense(width: int, activation: str, seeds: Sequence[int]) -> Ensemble:
    return initialise(Mlp(4, 1, width, 2, activation), MUP, seeds, device=CPU, dtype=torch.float64)


def trained(ensemble: Ensemble) -> torch.Tensor:
    """Train and return the outputs (seed, 4)."""
    given = task()
    for _ in train(ensemble, given, Sgd(0.5), batches(INPUTS, None, STEPS, 0)):
        pass
    return forward(ensemble, given.inputs).output[:, :, 0]


def resident() -> float:
    """Return this process's peak resident memory in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def one(weights: str, width: int) -> dict[str, float]:
    """Time one network of a width in this process, and the memory that it added."""
    trained(lazy(64, "tanh", MonteCarlo([0])))  # what is loaded once is loaded
    before = resident()
    start = time.perf_counter()
    outputs = trained(lazy(width, "tanh", MonteCarlo([0])) if weights == "lazy" else dense(width, "tanh", [0]))
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "gib": resident() - before, "process_gib": resident(), "output": float(outputs[0, 0])}


def elsewhere(weights: str, width: int) -> dict[str, float]:
    """Run ``one`` in a process of its own."""
    words = [sys.executable, __file__, "--one", weights, str(width)]
    found: dict[str, float] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return found


def costs(widest: int, repeats: int) -> list[dict[str, Any]]:
    """Return median seconds and memory of dense and lazy networks by width, measured in turns."""
    asked = [("dense", m) for m in range(7, 14)] + [("lazy", m) for m in range(7, widest + 1)]
    runs: dict[tuple[str, int], list[dict[str, float]]] = {each: [] for each in asked}
    for _ in range(repeats):
        for weights, m in sorted(asked, key=lambda each: each[1]):
            runs[weights, m].append(elsewhere(weights, 2**m))
    return [
        {
            "weights": weights,
            "width": 2**m,
            **{key: statistics.median(run[key] for run in found) for key in ("seconds", "gib", "process_gib")},
        }
        for (weights, m), found in runs.items()
    ]


def exponent(rows: list[dict[str, Any]], key: str, widest: int = 4) -> float:
    """Return the slope of log size on log width over the widest points."""
    rows = sorted(rows, key=lambda row: int(row["width"]))[-widest:]
    return float(np.polyfit(np.log([row["width"] for row in rows]), np.log([row[key] for row in rows]), 1)[0])


def crossover(rows: list[dict[str, Any]]) -> float | None:
    """Return the width from which lazy is faster, interpolated between measured widths; None if there is none."""
    by = {w: {r["width"]: r["seconds"] for r in rows if r["weights"] == w} for w in ("dense", "lazy")}
    both = sorted(set(by["dense"]) & set(by["lazy"]))
    gap = [np.log(by["dense"][n] / by["lazy"][n]) for n in both]
    if gap[0] >= 0:
        return float(both[0])
    for (n0, g0), (n1, g1) in zip(zip(both, gap, strict=True), list(zip(both, gap, strict=True))[1:], strict=False):
        if g0 < 0 <= g1:
            return float(n0 * (n1 / n0) ** (-g0 / (g1 - g0)))
    return None


def gains(activation: str, widest: int) -> list[dict[str, Any]]:
    """Return spread and seconds a network by number of points and source; gain is the variance ratio at equal time."""
    found = []
    for m in range(12, widest + 1, 2):
        replicates = max(16, 2 ** (18 - m))
        row: dict[str, Any] = {"points": 2**m, "replicates": replicates}
        for name, source in SOURCES.items():
            at_once = max(1, 2**16 // 2**m)
            start = time.perf_counter()
            outputs = torch.cat(
                [
                    trained(lazy(2**m, activation, source(range(first, first + at_once))))
                    for first in range(0, replicates, at_once)
                ]
            )
            row[f"{name} seconds"] = (time.perf_counter() - start) / replicates
            row[f"{name} spread"] = float(outputs.var(dim=0).mean().sqrt())
        ratio = row["Monte Carlo spread"] / row["Sobol spread"]
        row["gain"] = ratio**2 * row["Monte Carlo seconds"] / row["Sobol seconds"]
        found.append(row)
    return found


def limit_time() -> dict[str, float]:
    """Return the seconds and the largest standard error over the trajectory of the limit of the tanh network."""
    given = task()
    course = Course(given, Sgd(0.5), batches(INPUTS, None, STEPS, 0), given.inputs)
    start = time.perf_counter()
    output = {"output": MEASURES["output"]}
    found = limit(Mlp(4, 1, 1, 2, "tanh"), MUP, course, measures=output, points=(2**14, 2**16), replicates=12)["output"]
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "error": float(found.error.max()),
        "raw_error": float(found.raw.error.max()),
        "bias": found.bias,
    }


def bound(width: int, seconds: float) -> dict[str, float]:
    """Return the bytes that the products of the task must read, and this machine's rates of reading and of products.

    A product with k known directions a side reads nine times k vectors: the basis four times (two projections), its
    images, and the other side's twice and once.
    """
    rows = sum(9 * INPUTS * step for step in range(1, STEPS + 1)) * 2
    x = torch.ones(2**26, dtype=torch.float64, device=CPU)
    read = x.nbytes / fastest(lambda: x.sum(), CPU, 5)
    flops = rows * width * 2 * INPUTS
    return {
        "bytes": rows * width * 8.0,
        "read_rate": read,
        "of_reading": rows * width * 8.0 / read / seconds,
        "of_products": flops / matmul_rate(CPU, torch.float64) / seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widest", type=int, default=20, help="log2 of the widest lazy network")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", nargs=2, metavar=("WEIGHTS", "WIDTH"), help="time one network and print JSON")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(asked.one[0], int(asked.one[1]))))
        return
    rows = costs(asked.widest, asked.repeats)
    last = max((row for row in rows if row["weights"] == "lazy"), key=lambda row: int(row["width"]))
    found: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "costs": rows,
        "crossover": crossover(rows),
        "exponents": {
            f"{weights} {key}": exponent([row for row in rows if row["weights"] == weights], key)
            for weights in ("dense", "lazy")
            for key in ("seconds", "gib")
        },
        "bound": bound(last["width"], last["seconds"]),
        "gains": {activation: gains(activation, min(18, asked.widest)) for activation in ("tanh", "relu")},
        "limit": limit_time(),
    }
    print(json.dumps(found, indent=1) if asked.json else text(found))


def text(found: dict[str, Any]) -> str:
    """Return the tables."""
    lines = [f"2 hidden tanh layers, 4 inputs, 10 steps, float64, {found['threads']} threads", ""]
    lines += ["| weights | width | seconds | GiB added | GiB of the process |", "|---|---|---|---|---|"]
    for row in found["costs"]:
        lines.append(
            f"| {row['weights']} | {row['width']} | {row['seconds']:.4f} | {row['gib']:.3f} "
            f"| {row['process_gib']:.2f} |"
        )
    exponents = ", ".join(f"{name} n^{power:.2f}" for name, power in found["exponents"].items())
    crossing = f"{found['crossover']:.0f}" if found["crossover"] else "none measured"
    lines += ["", f"over the four widest: {exponents}; lazy is faster from width {crossing}"]
    last = max((row for row in found["costs"] if row["weights"] == "lazy"), key=lambda row: int(row["width"]))
    lines.append(
        f"width {last['width']}: {last['seconds']:.2f} s (target at 2^20: {TARGET_SECONDS}), "
        f"{last['process_gib']:.2f} GiB (target {TARGET_GIB})"
    )
    b = found["bound"]
    lines.append(
        f"it reads {b['bytes'] / 2**30:.1f} GiB in products; at this machine's reading rate "
        f"({b['read_rate'] / 2**30:.0f} GiB/s) that is {b['of_reading']:.0%} of the time, "
        f"at torch.mm's rate {b['of_products']:.0%}"
    )
    for activation, rows in found["gains"].items():
        lines += [
            "",
            f"{activation}: spread of outputs over replicates; ratio of variances (not of biases) at equal time",
        ]
        lines += ["| points | Monte Carlo | s | Sobol | s | gain |", "|---|---|---|---|---|---|"]
        for row in rows:
            cells = [f"{row[f'{name} {what}']:.2e}" for name in SOURCES for what in ("spread", "seconds")]
            lines.append(f"| {row['points']} | {' | '.join(cells)} | {row['gain']:.0f} |")
    lines.append(f"(target for tanh at 2^18: {TARGET_GAIN:.0f})")
    one = found["limit"]
    took = f"limit: {one['seconds']:.2f} s to a standard error of {one['error']:.1e} (target 1e-4 in {TARGET_LIMIT} s)"
    lines += ["", f"{took}; without extrapolation {one['raw_error']:.1e}, which changed {one['bias']:.1e}"]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
