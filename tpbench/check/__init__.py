"""Is my model muP? Coordinate checks of a user's own PyTorch model, layer by layer, with a verdict and a cause.

``check(factory, "mup")`` returns a ``Report``; ``assert_parametrization`` raises where it is refuted. Both are imported
when they are first asked for, so that importing this package is cheap.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tpbench.check.api import assert_parametrization, check
    from tpbench.check.report import Report

__all__ = ["Report", "assert_parametrization", "check"]

_LAZY = {
    "Report": "tpbench.check.report",
    "assert_parametrization": "tpbench.check.api",
    "check": "tpbench.check.api",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
