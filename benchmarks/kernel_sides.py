"""One side of the kernel benchmark: a process that computes kernels when it is told to.

    python benchmarks/kernel_sides.py tpbench '{"activation": "relu", "examples": 1000, …}'

It draws the inputs, computes once, and then answers every line of its standard input with a line of JSON: ``time`` with
the seconds of a call, ``memory`` with the bytes that a call needs, ``save PATH`` with the path of both kernels,
``rate`` with the machine's matrix products. The rival's side runs in an environment of its own, where there is neither
torch nor tpbench: the module imports a library in the side that needs it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Call = Callable[[], tuple[Any, Any]]
"""Compute nngp and ntk of the inputs, and wait until they are there."""


@dataclass(frozen=True)
class Case:
    """Kernels of a perceptron with ``depth`` hidden layers between ``examples`` points of ``features`` numbers."""

    activation: str
    examples: int
    features: int
    dtype: str
    depth: int
    sigma_w: float
    sigma_b: float

    def inputs(self) -> np.ndarray:
        """Return standard normal inputs (examples, features), the same in every process."""
        shape = self.examples, self.features
        return np.random.default_rng(0).standard_normal(shape, dtype=np.float32).astype(self.dtype)


def tpbench(case: Case) -> Call:
    """Return our side: tensors in, tensors out, nothing kept between calls but what the allocator keeps."""
    import torch

    from tpbench import kernels

    x = torch.as_tensor(case.inputs(), device=torch.device("cpu"))

    def call() -> tuple[Any, Any]:
        found = kernels(x, depth=case.depth, activation=case.activation, sigma_w=case.sigma_w, sigma_b=case.sigma_b)
        return found.nngp, found.ntk

    return call


def neural_tangents(case: Case) -> Call:
    """Return the rival's side: compiled for this shape before it is timed, inputs on its device, results waited for."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_ENABLE_X64"] = str(int(case.dtype == "float64"))
    import jax
    from neural_tangents import stax

    nonlinearity = {"relu": stax.Relu, "erf": stax.Erf}[case.activation]
    scale = {"W_std": case.sigma_w, "b_std": case.sigma_b if case.sigma_b else None}
    hidden = [layer for _ in range(case.depth) for layer in (stax.Dense(1, **scale), nonlinearity())]
    _, _, kernel = stax.serial(*hidden, stax.Dense(1, **scale))
    compiled = jax.jit(lambda x: tuple(kernel(x, None, ("nngp", "ntk"))))
    x = jax.block_until_ready(jax.numpy.asarray(case.inputs()))
    assert str(x.dtype) == case.dtype

    def call() -> tuple[Any, Any]:
        nngp, ntk = jax.block_until_ready(compiled(x))
        return nngp, ntk

    return call


SIDES: Mapping[str, Callable[[Case], Call]] = {"tpbench": tpbench, "neural-tangents": neural_tangents}


def status(key: str) -> int | None:
    """Return a line of Linux's account of this process in bytes, None where there is none."""
    account = Path("/proc/self/status")
    lines = account.read_text("ascii").splitlines() if account.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), None)


class Work:
    """The answers of a side; what a method returns goes into the line of JSON."""

    def __init__(self, side: str, case: Case) -> None:
        self.case = case
        self.call = SIDES[side](case)
        self.before = status("VmRSS") or 0  # libraries and inputs
        self.results = self.call()

    def time(self) -> float:
        """Return the seconds of a call. Results of the last one are given back before."""
        self.results = None
        start = time.perf_counter()
        self.results = self.call()
        return time.perf_counter() - start

    def memory(self) -> int | None:
        """Return by how many bytes a call's peak lies above what the process had before its first one."""
        reset = Path("/proc/self/clear_refs")
        try:
            reset.write_text("5")  # the peak becomes what is resident now
        except OSError:
            return None
        self.time()
        peak = status("VmHWM")
        return None if peak is None else peak - self.before

    def save(self, path: str) -> str:
        """Write both kernels, (2, N, N)."""
        np.save(path, np.stack([np.asarray(kernel) for kernel in self.results]))
        return path

    def rate(self) -> float:
        """Return the operations a second of a large torch.mm in this dtype."""
        import torch

        from tpbench.networks.cost import matmul_rate

        return matmul_rate(torch.device("cpu"), getattr(torch, self.case.dtype), size=2048, repeats=3)

    def part(self, count: str) -> float:
        """Return the largest relative difference of the kernels between some of the points computed alone."""
        import torch

        from tpbench import kernels

        c = self.case
        places = torch.linspace(0, c.examples - 1, int(count), device=torch.device("cpu")).long()
        x = torch.as_tensor(c.inputs(), device=places.device)[places]
        alone = kernels(x, depth=c.depth, activation=c.activation, sigma_w=c.sigma_w, sigma_b=c.sigma_b)
        pairs = zip(self.results, (alone.nngp, alone.ntk), strict=True)
        return max(float((whole[places][:, places] - few).abs().max() / few.abs().max()) for whole, few in pairs)


def main() -> None:
    """Answer until the input ends. Whatever libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    work = Work(sys.argv[1], Case(**json.loads(sys.argv[2])))
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        what, *given = line.split()
        print(json.dumps(getattr(work, what)(*given)), file=answers, flush=True)


if __name__ == "__main__":
    main()
