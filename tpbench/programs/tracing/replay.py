"""Is the program what the code did? Run on the very numbers that PyTorch drew, it must give what PyTorch gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from tpbench.programs.instructions import Constant, GaussianMatrix, Gaussians, MatMul, Moment, Nonlin
from tpbench.programs.program import Program
from tpbench.programs.tracing.noun import Array, TraceError

EXACT, SINGLE = 1e-6, 5e-3
"""Relative errors beyond which a program in double precision is not the code, in double and in single precision."""


def replayed(program: Program, width: int, draws: Mapping[str, Array]) -> dict[str, Array]:
    """Return the outputs of a program whose initial vectors and matrices are given."""
    values: dict[str, Tensor] = {}
    cpu = torch.device("cpu")
    for b in program.bindings:
        if isinstance(b, GaussianMatrix):
            values[b.name] = torch.as_tensor(draws[b.name], dtype=torch.float64, device=cpu)
        elif isinstance(b, Gaussians):
            one = torch.ones(b.width.at(width), dtype=torch.float64, device=cpu)
            values[b.names[0]] = torch.as_tensor(draws.get(b.names[0], one), dtype=torch.float64, device=cpu)
        elif isinstance(b, Constant):
            values[b.name] = torch.full((1,), b.at(width), dtype=torch.float64, device=cpu)
        elif isinstance(b, MatMul):
            matrix = values[b.matrix]
            values[b.name] = (matrix.T if b.transposed else matrix) @ values[b.vector]
        else:
            values[b.name] = _evaluated(b, values)
    return {name: values[name].numpy() for name in program.outputs}


def _evaluated(b: Nonlin | Moment, values: Mapping[str, Tensor]) -> Tensor:
    arguments = [values[name] for name in (*b.vectors, *b.scalars)]
    found = torch.as_tensor(b.function.call(*arguments), dtype=torch.float64, device=arguments[0].device)
    if isinstance(b, Nonlin):
        return found.expand(values[b.vectors[0]].shape)
    return found.expand(values[b.vectors[0]].shape).mean(dim=0, keepdim=True) if b.vectors else found


def check_replay(
    program: Program,
    widths: Sequence[int],
    draws: Mapping[str, Sequence[Array]],
    found: Sequence[Mapping[str, Array]],
) -> None:
    """Raise ``TraceError`` where a program on PyTorch's draws does not give PyTorch's outputs.

    ``draws`` are those of the initial vectors and matrices at every width, ``found`` PyTorch's outputs by the
    program's names for them.
    """
    for place, width in enumerate(widths):
        ours = replayed(program, width, {name: each[place] for name, each in draws.items()})
        for name, value in found[place].items():
            if not np.isfinite(value).all():
                raise TraceError(f"{name} is not finite at width {width}: lower the learning rate, or take fewer steps")
            scale = max(float(np.abs(value).max(initial=0.0)), 1e-3)
            allowed = (SINGLE if value.dtype == np.float32 else EXACT) * scale
            error = float(np.abs(ours[name] - value).max(initial=0.0))
            if not error <= allowed:
                raise TraceError(
                    f"the traced program does not repeat the code: at width {width}, {name} is off by {error:.3g} "
                    f"where {allowed:.1e} is rounding. Does it read random numbers into Python, by NumPy or lists, "
                    "or write into tensors that it did not make? If not, this is a fault of trace, and worth a report"
                )
