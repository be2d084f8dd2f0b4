"""How fast programs are checked and printed, and what the limit of an unrolled training costs beside part 2's engine.

    python benchmarks/program_speed.py             # both tables, some minutes
    python benchmarks/program_speed.py --steps 3   # a shorter training
    python benchmarks/program_speed.py --json      # the same numbers for a machine

The training is muP, two hidden tanh layers, 4 inputs with 4 features, full-batch SGD on the square loss, float64. As a
program it is written out by hand (``unrolled``) and found by ``trace`` in plain PyTorch code (``traced``); its limit by
``limit(method="sobol")`` is compared with that of ``tpbench.limit``, which knows of networks and of nothing else. Both
take the same numbers of Sobol' points and of scrambles, in turns, in one process.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tpbench.networks.infinite import limit as network_limit
from tpbench.networks.mlp import Mlp
from tpbench.networks.train import Sgd, Task
from tpbench.networks.trajectory import MEASURES, Course
from tpbench.parametrization import named
from tpbench.programs import (
    Function,
    Program,
    Scalar,
    Vector,
    apply,
    combination,
    gaussian,
    matrix,
    moment,
    program,
    show,
)
from tpbench.programs.infinite import limit
from tpbench.programs.tracing import trace

CPU = torch.device("cpu")
Array = NDArray[np.float64]
INPUTS, FEATURES, STEPS, RATE = 4, 4, 10, 1.0
POINTS, REPLICATES = (2**9, 2**10, 2**11), 32
INSTRUCTIONS, ROUNDS = 1000, 5
SECOND = 1.0

TANH = Function("tanh", torch.tanh)
BACK = Function("back", lambda h, g: (1 - torch.tanh(h) ** 2) * g, "tanh′({0}) {1}")


def data() -> tuple[Array, Array]:
    """Return inputs (4, 4) of length 2, so that features are of order 1, and targets (4,)."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((INPUTS, FEATURES))
    return 2 * x / np.linalg.norm(x, axis=1, keepdims=True), np.array([1.0, -1.0, 0.5, -0.5])


def unrolled(x: Array, y: Array, steps: int, rate: float) -> Program:
    """Return the training as a program by hand, with the outputs on x after every step as f{step}[{input}].

    ``u_k`` are the columns of the input weight, ``v`` the read-out times n: ``h1 = Σ_k x_k u_k / √d``, ``h2 = W x1``,
    ``f = ⟨v x2⟩``. A step adds ``-η r d2 x1ᵀ/n`` to W for every input (residual r, backward signals d), so W x1 after
    it is the sum of a product by the first W and of vectors d2 with scalars ``-η r ⟨x1 x1′⟩``.
    """
    count, features = x.shape
    columns = [gaussian(f"u{k}") for k in range(features)]
    readout, W = gaussian("v"), matrix("W")
    past: list[tuple[Vector, Vector, Scalar]] = []  # x1, d2 and the residual of every input and step before
    outputs: dict[str, Scalar] = {}
    scaled = x / features**0.5
    pull = Function("pull", lambda a, b, r: -rate * r * a * b, f"({-rate:g}) {{2}} {{0}} {{1}}")
    for step in range(steps + 1):
        first = [combination([(float(c), u) for c, u in zip(row, columns, strict=True)]) for row in scaled]
        x1 = [apply(TANH, h) for h in first]
        second = [combination([(1, W @ a), *((moment(pull, old, a, r), d) for old, d, r in past)]) for a in x1]
        x2 = [apply(TANH, h) for h in second]
        f = [moment(readout * a) for a in x2]
        outputs |= {f"f{step}_{i}": value for i, value in enumerate(f)}
        if step == steps:
            break
        residuals = [(value - float(target)) / count for value, target in zip(f, y, strict=True)]
        d2 = [apply(BACK, h, readout) for h in second]
        back = [combination([(1, W.T @ d), *((moment(pull, old, d, r), a) for a, old, r in past)]) for d in d2]
        d1 = [apply(BACK, h, g) for h, g in zip(first, back, strict=True)]
        past += zip(x1, d2, residuals, strict=True)
        columns = [
            combination([(1, u), *((-rate * float(c) * r, d) for c, r, d in zip(row, residuals, d1, strict=True))])
            for u, row in zip(columns, scaled.T, strict=True)
        ]
        readout = combination([(1, readout), *((-rate * r, a) for r, a in zip(residuals, x2, strict=True))])
    return program(**outputs)


class Perceptron(nn.Module):
    """The network as a user of muP would write it."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.first, self.hidden, self.last = (
            nn.Linear(into, out, bias=False, device=CPU, dtype=torch.float64)
            for into, out in ((FEATURES, n), (n, n), (n, 1))
        )
        for layer, std in ((self.first, 1.0), (self.hidden, n**-0.5), (self.last, 1.0)):
            nn.init.normal_(layer.weight, std=std)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x) / FEATURES**0.5)
        out: Tensor = self.last(torch.tanh(self.hidden(h))) / self.hidden.weight.shape[0]
        return out[:, 0]


def traced(x: Array, y: Array, steps: int, rate: float) -> Program:
    """Return the training as a program that ``trace`` finds in PyTorch code; outputs as in ``unrolled``."""
    inputs, targets = torch.as_tensor(x, device=CPU), torch.as_tensor(y, device=CPU)

    def run(model: Perceptron) -> dict[str, Tensor]:
        n = model.hidden.weight.shape[0]
        groups = [
            {"params": [model.first.weight, model.last.weight], "lr": rate * n},
            {"params": [model.hidden.weight], "lr": rate},
        ]
        optimizer = torch.optim.SGD(groups, lr=rate)
        found: dict[str, Tensor] = {}
        for step in range(steps + 1):
            f = model(inputs)
            found |= {f"f{step}_{i}": value for i, value in enumerate(f)}
            if step < steps:
                optimizer.zero_grad()
                (0.5 * (f - targets) ** 2).mean().backward()
                optimizer.step()
        return found

    return trace(Perceptron, run)


_ROUND = itertools.count()


def chain(instructions: int) -> Callable[[], str]:
    """Return what writes, checks and prints a program of so many instructions.

    A quarter are functions that no program had before, and so have to be evaluated to be checked.
    """

    def make() -> str:
        x, W, new = gaussian("x"), matrix("W"), next(_ROUND)
        for i in range(instructions // 4):
            y = W @ x
            x = apply(TANH, (W.T @ y) * (1 + new + 1 / (i + 2)))
        text: str = show(program(x))
        return text

    return make


def printing() -> dict[str, float]:
    """Return the seconds to write, check and print a program, and how many instructions that has."""
    make = chain(INSTRUCTIONS)
    lines = len(make().splitlines())  # the first time imports torch
    seconds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        make()
        seconds.append(time.perf_counter() - begun)
    return {"lines": lines, "seconds": statistics.median(seconds), "slowest": max(seconds)}


def engine(x: Array, y: Array, steps: int, options: Mapping[str, Any]) -> tuple[Array, Array]:
    """Return the outputs (step, input) and their errors by ``tpbench.limit``."""
    inputs = torch.as_tensor(x, dtype=torch.float64, device=CPU)
    task = Task(inputs, torch.as_tensor(y[:, None], dtype=torch.float64, device=CPU))
    course = Course(task, Sgd(RATE), [None] * steps, inputs)
    network = Mlp(FEATURES, 1, 1, 2, "tanh")
    found = network_limit(network, named("mup"), course, measures={"output": MEASURES["output"]}, **options)["output"]
    return found.mean[..., 0], found.error[..., 0]


def interpreter(made: Program, steps: int, options: Mapping[str, Any]) -> tuple[Array, Array]:
    """Return the same by the second interpreter."""
    found = limit(made, method="sobol", **options).scalars
    values = [[found[f"f{step}_{i}"] for i in range(INPUTS)] for step in range(steps + 1)]
    return np.array([[v.mean for v in row] for row in values]), np.array([[v.error for v in row] for row in values])


def distance(one: tuple[Array, Array], other: tuple[Array, Array]) -> float:
    """Return the largest difference in combined standard errors, where there is an error at all."""
    error = np.hypot(one[1], other[1])
    seen = error > 1e-12
    return float((np.abs(one[0] - other[0])[seen] / error[seen]).max())


WAYS = (
    ("by hand, autograd", unrolled, "autograd"),
    ("by hand, Stein", unrolled, "stein"),
    ("traced, Stein", traced, "stein"),
)
"""How the program is written, and how the expectations of derivatives in Ż are found."""


def timed(make: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    made = make()
    return time.perf_counter() - begun, made


def training(steps: int, points: Sequence[int], replicates: int) -> list[dict[str, Any]]:
    """Return a row a way to the limit: seconds to make the program and find its limit, and how far apart they are."""
    x, y = data()
    options = {"points": tuple(points), "replicates": replicates}
    seconds, known = timed(lambda: engine(x, y, steps, options))
    rows: list[dict[str, Any]] = [{"way": "tpbench.limit", "seconds": seconds, "error": float(known[1].max())}]
    for way, write, derivatives in WAYS:
        writing, made = timed(partial(write, x, y, steps, RATE))
        finding, found = timed(partial(interpreter, made, steps, {**options, "derivatives": derivatives}))
        rows.append(
            {
                "way": way,
                "bindings": len(made.bindings),
                "writing": writing,
                "seconds": finding,
                "ratio": finding / seconds,
                "error": float(found[1].max()),
                "distance": distance(found, known),
                "difference": float(np.abs(found[0] - known[0]).max()),
            }
        )
    return rows


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--points", type=int, nargs="+", default=POINTS)
    parser.add_argument("--replicates", type=int, default=REPLICATES)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    printed = printing()
    rows = training(asked.steps, asked.points, asked.replicates)
    if asked.json:
        print(json.dumps({"printing": printed, "training": rows}, indent=1))
        return
    told = f"{printed['lines']} lines: {printed['seconds']:.3f} s (slowest of {ROUNDS}: {printed['slowest']:.3f} s)"
    print(f"written, checked and printed, {told}; wanted: below {SECOND:g} s")
    print(f"training of {asked.steps} steps, points {tuple(asked.points)}, {asked.replicates} scrambles")
    for row in rows:
        program_text = f"{row['bindings']} bindings in {row['writing']:.2f} s, " if "bindings" in row else ""
        print(
            f"  {row['way']:18} {program_text}limit in {row['seconds']:.2f} s, error at most {row['error']:.1e}", end=""
        )
        if "ratio" in row:
            told = f"{row['difference']:.1e}, {row['distance']:.1f} combined errors"
            print(f", {row['ratio']:.2f} times as long; |difference| at most {told}", end="")
        print()


if __name__ == "__main__":
    main()
