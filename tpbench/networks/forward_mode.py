"""``torch.func.jvp`` without the warning that torch gives about itself.

The first derivative in forward mode makes torch import decompositions that it compiles by its own deprecated
``torch.jit.script``. The warning is torch's to heed, and where warnings are errors it would stop us; so that import
happens here, once, before the first derivative, with this warning off.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch.func


def jvp(f: Callable[..., Any], at: tuple[Any, ...], direction: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return f and its derivative along a direction, as ``torch.func.jvp`` does."""
    _prepare()
    found: Any = torch.func.jvp(f, at, direction)
    return found[0], found[1]


@cache
def _prepare() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit\.script.*", category=DeprecationWarning)
        importlib.import_module("torch._decomp.decompositions_for_jvp")
