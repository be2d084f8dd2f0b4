"""From PyTorch code to its Tensor Program, and so to its infinite-width limit, mechanically.

The code is run at a few widths under a mode that records every operation of ATen: initialisation, forward and backward
passes, the optimizer's steps. Axes whose sizes differ between the widths are width axes, and numbers that differ are
fitted by c · n^p. Then the list of operations is read once more with scalars, vectors and matrices of a Tensor Program
for the entries along its finite axes: a width × width weight is W + Σ c u vᵀ, the outer products being what SGD adds, a
sum over neurons is n times a moment, and every value carries its power of n (Yang & Hu 2021, arXiv:2011.14522; Yang &
Littwin 2021, arXiv:2105.03703, unroll training in this way by hand). In the end the program is run on the numbers that
PyTorch drew, and has to give what PyTorch gave, at every width.

    def make(n):
        model = nn.Sequential(nn.Linear(3, n), nn.Tanh(), nn.Linear(n, n), nn.Tanh(), nn.Linear(n, 1))
        nn.init.normal_(model[4].weight, std=1 / n)  # muP
        return model

    def run(model):
        n = model[2].in_features
        rates = (0.1 * n, 0.1, 0.1 / n)
        optimizer = torch.optim.SGD({"params": m.parameters(), "lr": r} for m, r in zip(model[::2], rates))
        for _ in range(2):
            loss = (model(x) - y).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return {"f": model(x), "loss": loss}

    program = trace(make, run)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tpbench.programs.program import Program
from tpbench.programs.tracing.axes import Table, aligned
from tpbench.programs.tracing.compare import Compared, check_same
from tpbench.programs.tracing.emit import Builder
from tpbench.programs.tracing.noun import DEFAULT_WIDTHS, Array, TraceError, TraceWarning
from tpbench.programs.tracing.reading import RULES, interpret
from tpbench.programs.tracing.record import record
from tpbench.programs.tracing.replay import check_replay
from tpbench.programs.tracing.values import Sum, scalar_name, vector_name

__all__ = ["TraceError", "TraceWarning", "trace"]


def trace(
    make: Callable[[int], Any],
    run: Callable[[Any], Any],
    *,
    widths: Sequence[int] = DEFAULT_WIDTHS,
    seed: int = 0,
    check_width: int | None = 512,
) -> Program:
    """Return the Tensor Program of ``run(make(n))`` for every n, ``make`` a random model of width n.

    ``run`` returns a tensor or a dict of tensors by name: without width axes they become scalars, with one vectors;
    entries along finite axes are named like ``out[0,1]``. ``make`` and ``run`` are ordinary PyTorch code: modules,
    backward(), torch.optim.SGD or steps by hand. They are run once at each of the ``widths``, which must be three or
    more, small, and such that all ratios come out whole; the program does not depend on them, nor on ``seed``.

    ``sample`` of the program has the law of the code at that width. There are two exceptions, both with the same
    limit: a width × width matrix (and a random scalar) that is drawn uniformly, as nn.Linear does by default, becomes
    Gaussian of the same variance. Random vectors that the forward pass draws, dropout's too, are new initial vectors.
    Finite random tensors are constants where the code seeds them itself.

    The code is run once more at about ``check_width`` (None to skip it, where that takes too long), and has to be the
    same there: min(n, 64) is noticed. What begins at larger widths still remains invisible, and so do random numbers
    of NumPy and of Python. A limit is one of n → ∞: of tanh(h)/√n + 1e-5 it is 1e-5, which reigns from n ≈ 1e10 only;
    ``TraceWarning`` is given where a constant is that small beside what vanishes, like the ε of Adam or of a norm.

    Raises ``TraceError``, which names the operation and the line, where the code reads random numbers into Python, does
    different things at different widths, uses what is no function of single neurons, or has no limit: a value of order
    n^p, p > 0, that goes into a nonlinearity or is asked for.
    """
    sizes = tuple(sorted(set(widths)))
    if len(sizes) < 3 or sizes[0] < 2:
        raise ValueError(f"trace compares the code at three or more widths from 2 on, got {tuple(widths)}")
    if check_width is not None:
        # A multiple of what all widths are multiples of: then every axis comes out whole.
        step = math.gcd(*sizes)
        large = max(step, check_width // step * step)
        sizes = (*sizes, large) if large > sizes[-1] else sizes
    recordings = tuple(record(make, run, width, seed + place, RULES) for place, width in enumerate(sizes))
    check_same(recordings)
    compared = Compared(recordings)
    build, tables = interpret(compared)
    outputs, found = _outputs(build, compared, tables)
    program, draws = build.program(outputs)
    check_replay(program, compared.widths, draws, found)
    return program


def _outputs(
    build: Builder, compared: Compared, tables: Sequence[Table | None]
) -> tuple[dict[str, str], list[dict[str, Array]]]:
    """Return the value of every output, and PyTorch's numbers for it at every width."""
    named: dict[str, str] = {}
    found: list[dict[str, Array]] = [{} for _ in compared.recordings]
    for asked, ref in compared.recordings[0].asked.items():
        tensor = tables[ref.index]
        assert tensor is not None
        if tensor.unknown is not None:
            raise TraceError(f"output {asked!r}: {tensor.unknown}")
        if len(tensor.ratios) > 1:
            raise TraceError(f"output {asked!r} has two width axes: ask for its products with vectors, or for sums")
        cells = aligned(tensor, tensor.axes)
        for place in np.ndindex(cells.shape):
            name = f"{asked}[{','.join(map(str, place))}]" if place else asked
            cell: Any = cells[place]
            try:
                named[name] = _emitted(build, cell, tensor)
            except TraceError as error:
                raise TraceError(f"output {name!r}: {error}") from error
            for one, recording in zip(found, compared.recordings, strict=True):
                steps = iter(place)
                numbers = recording.found[asked]
                pick = tuple(next(steps) if isinstance(axis, int) else slice(None) for axis in tensor.axes)
                one[name] = np.asarray(numbers[pick], dtype=numbers.dtype)
    return named, found


def _emitted(build: Builder, cell: Sum, tensor: Table) -> str:
    return vector_name(build, cell, tensor.ratios[0]) if tensor.ratios else scalar_name(build, cell)
