"""Tensor Programs as a language: programs, and what they give at width n and at n = ∞.

    x, W = gaussian("x"), matrix("W", variance=Fraction(1, 2))
    A = W + W.T
    fourth = program(m4=moment((A @ (A @ x)) ** 2))
    print(fourth, limit(fourth).scalars["m4"], sample(fourth, width=512, seeds=8)["m4"])

``sample`` and ``limit`` are the two interpreters, ``trace`` turns PyTorch code into a program, ``show`` prints one and
``draw`` draws it. Importing this package imports no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tpbench.programs.build import program
from tpbench.programs.instructions import Function, N, Width
from tpbench.programs.operators import Operator, matrix
from tpbench.programs.program import Program
from tpbench.programs.symbols import (
    Scalar,
    Vector,
    apply,
    combination,
    constant,
    gaussian,
    gaussians,
    inner,
    moment,
)

if TYPE_CHECKING:
    from tpbench.programs.graph import draw
    from tpbench.programs.infinite import limit
    from tpbench.programs.printing import show
    from tpbench.programs.sampling import sample
    from tpbench.programs.tracing import TraceError, TraceWarning, trace

_LAZY = {
    "draw": "tpbench.programs.graph",
    "limit": "tpbench.programs.infinite",
    "sample": "tpbench.programs.sampling",
    "show": "tpbench.programs.printing",
    "trace": "tpbench.programs.tracing",
    "TraceError": "tpbench.programs.tracing",
    "TraceWarning": "tpbench.programs.tracing",
}
"""Names that are imported from their module when they are first asked for."""

__all__ = [
    "Function",
    "N",
    "Operator",
    "Program",
    "Scalar",
    "TraceError",
    "TraceWarning",
    "Vector",
    "Width",
    "apply",
    "combination",
    "constant",
    "draw",
    "gaussian",
    "gaussians",
    "inner",
    "limit",
    "matrix",
    "moment",
    "program",
    "sample",
    "show",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
