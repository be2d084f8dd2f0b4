"""tpbench validates Tensor Programs theory against finite networks.

The main path is a straight line, one public function an arrow::

    Claim -> points -> run -> rows -> estimate -> verdict -> report

``tpbench.widen`` takes a PyTorch model to any width with lazy matrices; ``tpbench.limit`` computes what a multilayer
perceptron becomes at infinite width, with a standard error; ``tpbench.kernels`` gives its NNGP and NTK, and
``tpbench.empirical_ntk`` the tangent kernel of any PyTorch module.

Importing this package imports neither torch nor seaborn: every heavy module is imported where it is used.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "empirical_ntk": "tpbench.networks.tangent",
    "kernels": "tpbench.limits.kernels",
    "limit": "tpbench.networks.infinite",
    "widen": "tpbench.networks.widen",
}
"""Public names and the modules that they are imported from when they are first asked for."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
