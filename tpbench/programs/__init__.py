"""Tensor Programs as a language: programs, and what they give at width n and at n = ∞.

``sample`` and ``limit`` are the two interpreters, ``trace`` turns PyTorch code into a program, ``show`` prints one.
Importing this package imports no torch.
"""

import importlib
from typing import Any

from tpbench.programs.instructions import Function, N, Width
from tpbench.programs.program import Program
from tpbench.programs.symbols import (
    Operator,
    Scalar,
    Vector,
    apply,
    combination,
    constant,
    gaussian,
    gaussians,
    inner,
    matrix,
    moment,
    program,
)

_LAZY = {
    "limit": "tpbench.programs.infinite",
    "sample": "tpbench.programs.sampling",
    "show": "tpbench.programs.printing",
    "trace": "tpbench.programs.tracing",
}
"""Names that are imported from their module when they are first asked for."""

__all__ = [
    "Function",
    "N",
    "Operator",
    "Program",
    "Scalar",
    "Vector",
    "Width",
    "apply",
    "combination",
    "constant",
    "gaussian",
    "gaussians",
    "inner",
    "matrix",
    "moment",
    "program",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
