"""How much faster tpbench computes NNGP and NTK of a perceptron than neural-tangents.

    python benchmarks/kernel_speed.py            # a table; the first time it makes the rival's environment
    python benchmarks/kernel_speed.py --json     # the same numbers, and every round, for a machine

Both sides are processes of their own (``kernel_sides.py``) with the same inputs, warm and compiled, which take turns
(theirs, ours, theirs, …), so that whatever else the machine does falls on both; the ratio is the median over rounds.
Both return newly allocated kernels. The rival is no dependency: it lives in a virtual environment in the user's cache.

Memory is the peak of a call above libraries and inputs. "of torch.mm" is the time that the call's matrix products take
at torch.mm's own rate, over our time. The diagonal's error is relative to the float64 kernels of the same numbers.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from kernel_sides import Case

PINS = ("neural-tangents==0.6.5", "jax==0.5.3", "jaxlib==0.5.3", "tf2jax==0.3.6")
TARGETS: Mapping[tuple[int, str], float] = {
    (784, "float32"): 0.4,
    (100, "float32"): 0.3,
    (784, "float64"): 0.5,
    (100, "float64"): 0.45,
}
"""(features, dtype) -> the share of neural-tangents' time that this project has set itself."""
AGREE: Mapping[str, float] = {"float32": 2e-3, "float64": 1e-7}
"""How closely both sides must agree, relative to the largest entry: arccos of a rounded 1 is all of it."""
WARM = 2


def rival_python(given: str | None) -> str:
    """Return a Python that has neural-tangents: the given one, or that of an environment made on the first call."""
    if given is not None:
        return given
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    home = cache / "tpbench" / PINS[0].replace("==", "-")
    python, made = home / "bin" / "python", home / "made"
    pins = "\n".join(PINS)
    if not made.exists() or made.read_text("ascii") != pins:
        print(f"making {home} with {', '.join(PINS)}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        subprocess.run([python, "-m", "pip", "install", "-qq", *PINS], check=True, stdout=sys.stderr)
        made.write_text(pins, "ascii")
    return str(python)


class Side:
    """A running ``kernel_sides.py``; a context that ends it."""

    def __init__(self, python: str, name: str, case: Case) -> None:
        self.errors: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        file = Path(__file__).with_name("kernel_sides.py")
        self.process = subprocess.Popen(
            [python, file, name, json.dumps(asdict(case))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self._answer()

    def ask(self, *words: str) -> Any:
        """Return the answer to a line; ``RuntimeError`` with what the process said when it ends instead."""
        assert self.process.stdin is not None
        print(*words, file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise RuntimeError(f"a side of the benchmark ended: {self.errors.read()[-4000:]}")
        return json.loads(line)

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()
        self.errors.close()


@dataclass(frozen=True)
class Comparison:
    """Seconds of every round and peak bytes, theirs and ours; relative errors of the diagonals; torch.mm's rate."""

    case: Case
    theirs: tuple[float, ...]
    ours: tuple[float, ...]
    memory: tuple[int | None, int | None]
    diagonal_errors: tuple[float, float]
    difference: float
    matmul_rate: float

    @property
    def ratios(self) -> list[float]:
        """Our time over theirs in every round."""
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def target(self) -> float | None:
        """The ratio that was set, where one was."""
        return TARGETS.get((self.case.features, self.case.dtype))

    @property
    def matmul_share(self) -> float:
        """Our matrix products, 2 · features · N (N + 1)/2 operations, at torch.mm's rate, over our time."""
        products = self.case.features * self.case.examples * (self.case.examples + 1)
        return products / self.matmul_rate / statistics.median(self.ours)

    def line(self) -> str:
        """Return the table's line."""
        c, (theirs, ours) = self.case, (statistics.median(times) * 1e3 for times in (self.theirs, self.ours))
        ratio = f"{statistics.median(self.ratios):.2f} [{min(self.ratios):.2f}, {max(self.ratios):.2f}]"
        errors = " / ".join(f"{error:.0e}" for error in self.diagonal_errors)
        memory = " / ".join(mebibytes(peak) for peak in self.memory)
        return (
            f"| {c.activation} | {c.examples} | {c.features} | {c.dtype} | {theirs:.1f} | {ours:.1f} | {ratio} "
            f"| {self.target or 'none'} | {memory} | {errors} | {self.difference:.0e} | {self.matmul_share:.2f} |"
        )


HEADER = (
    "| activation | N | d | dtype | neural-tangents ms | tpbench ms | ratio median [min, max] | target "
    "| MiB theirs / ours | diagonal error theirs / ours | difference | of torch.mm |\n" + "| --- " * 12 + "|"
)


@dataclass(frozen=True)
class Large:
    """Our side alone: seconds, peak bytes, and the difference from some of the points computed alone."""

    case: Case
    seconds: float
    memory: int | None
    difference: float

    def line(self) -> str:
        """Return the table's line."""
        c = self.case
        return (
            f"| {c.activation} | {c.examples} | {c.features} | {c.dtype} | {self.seconds:.1f} "
            f"| {mebibytes(self.memory)} | {2 * c.examples**2 * np.dtype(c.dtype).itemsize / 2**20:.0f} "
            f"| {self.difference:.0e} |"
        )


LARGE_HEADER = (
    "| activation | N | d | dtype | tpbench s | MiB | MiB of the results | difference |\n" + "| --- " * 8 + "|"
)


def mebibytes(peak: int | None) -> str:
    """Return bytes in MiB, or that they are unknown."""
    return "?" if peak is None else f"{peak / 2**20:.0f}"


def compare(case: Case, python: str, rounds: int) -> Comparison:
    """Time both sides in turns. Raises ``ValueError`` when their kernels differ."""
    with Side(python, "neural-tangents", case) as rival, Side(sys.executable, "tpbench", case) as own:
        memory = rival.ask("memory"), own.ask("memory")
        pairs = [(rival.ask("time"), own.ask("time")) for _ in range(WARM + rounds)][WARM:]
        difference, errors = check(case, rival, own)
        theirs, ours = zip(*pairs, strict=True)
        return Comparison(case, theirs, ours, memory, errors, difference, own.ask("rate"))


def check(case: Case, rival: Side, own: Side) -> tuple[float, tuple[float, float]]:
    """Return the difference of both sides over the largest entry, and the relative error of either's diagonals."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Side(sys.executable, "tpbench", replace(case, dtype="float64")) as wide,
    ):
        sides = {"theirs": rival, "ours": own, "exact": wide}
        found = {name: np.load(side.ask("save", f"{folder}/{name}.npy")) for name, side in sides.items()}
    largest = np.abs(found["exact"]).max(axis=(1, 2), keepdims=True)
    difference = float(np.abs((found["theirs"] - found["ours"]) / largest).max())
    if not difference <= AGREE[case.dtype]:
        raise ValueError(f"the two sides differ by {difference:.1e} of the largest entry for {case}")
    diagonals = {name: kernels.diagonal(axis1=1, axis2=2) for name, kernels in found.items()}
    theirs, ours = (float(np.abs(diagonals[name] / diagonals["exact"] - 1).max()) for name in ("theirs", "ours"))
    return difference, (theirs, ours)


def large(case: Case) -> Large:
    """Time our side alone, once after a call that is not counted."""
    with Side(sys.executable, "tpbench", case) as own:
        return Large(case, own.ask("time"), own.ask("memory"), own.ask("part", "50"))


def machine() -> dict[str, object]:
    """Return what the reader must know of the machine."""
    threads = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY") if name in os.environ}
    return {"cores": os.cpu_count(), "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None, **threads}


def table(comparisons: Iterable[Comparison], larges: Iterable[Large]) -> Iterator[str]:
    """Yield the lines of both tables as they are measured."""
    yield ", ".join(f"{name} {value}" for name, value in machine().items())
    for header, results in ((HEADER, comparisons), (LARGE_HEADER, larges)):
        lines: Iterable[Comparison | Large] = results
        for number, result in enumerate(lines):
            yield from [header, result.line()] if number == 0 else [result.line()]


def _cases(asked: argparse.Namespace, examples: Sequence[int]) -> list[Case]:
    grid = itertools.product(asked.activations, examples, asked.features, asked.dtypes)
    return [Case(*values, asked.depth, asked.sigma_w, asked.sigma_b) for values in grid]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--rounds", type=int, default=11, help="timed calls of either side (default: %(default)s)")
    parser.add_argument("--activations", nargs="+", choices=("relu", "erf"), default=["relu", "erf"])
    parser.add_argument("--examples", type=int, nargs="*", default=[1000, 3000], help="default: %(default)s")
    parser.add_argument("--large", type=int, nargs="*", default=[20_000], help="ours alone (default: %(default)s)")
    parser.add_argument("--features", type=int, nargs="+", default=[784, 100], help="default: %(default)s")
    parser.add_argument("--dtypes", nargs="+", choices=tuple(AGREE), default=list(AGREE))
    parser.add_argument("--depth", type=int, default=3, help="hidden layers (default: %(default)s)")
    parser.add_argument("--sigma-w", type=float, default=1.5, help="default: %(default)s")
    parser.add_argument("--sigma-b", type=float, default=0.1, help="0 for no biases (default: %(default)s)")
    parser.add_argument("--rival-python", help="a Python that has the rival (default: make an environment)")
    return parser


def main() -> None:
    """Measure every case that was asked for, and print."""
    parser = _parser()
    asked = parser.parse_args()
    if min(asked.rounds, asked.depth, *asked.examples, *asked.large, *asked.features) < 1:
        parser.error("rounds, depth, examples and features must be at least 1")
    python = rival_python(asked.rival_python) if asked.examples else ""
    comparisons = (compare(case, python, asked.rounds) for case in _cases(asked, asked.examples))
    larges = (large(case) for case in _cases(asked, asked.large))
    if asked.json:
        records = [{**asdict(c), "ratios": c.ratios, "target": c.target} for c in comparisons]
        found = {"machine": machine(), "comparisons": records, "large": [asdict(one) for one in larges]}
        print(json.dumps(found, indent=1))
        return
    for line in table(comparisons, larges):
        print(line, flush=True)


if __name__ == "__main__":
    main()
