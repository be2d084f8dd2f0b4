"""What several runs need alike, such as a limit, which depends on neither width nor seeds: computed once.

A process computes what it needs when it first asks for it. Several processes would each compute all of it, so the
pipeline computes it before (``needs_of``, ``compute``) and gives every process what was found (``keep``).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

from tpbench.bench.claim import Point


class Need(NamedTuple):
    """A computation: a function, as ``module:name``, and its arguments; both travel between processes."""

    function: str
    arguments: tuple[Hashable, ...]


NEEDS: Mapping[str, str] = {
    "deep-limit-trajectory": "tpbench.claims.experiments.deep_limit:needs",
    "architecture-kernels": "tpbench.claims.experiments.architecture_kernels:needs",
    "gaussian-process": "tpbench.claims.experiments.architecture_kernels:needs",
    "program-moments": "tpbench.claims.experiments.program_moments:needs",
    "central-limit": "tpbench.claims.experiments.central_limit:needs",
    "word2vec-limit": "tpbench.claims.experiments.word2vec_limit:needs",
    "word2vec-epochs": "tpbench.claims.experiments.word2vec_epochs:needs",
}
"""Experiment -> the function from a point to what its run needs; experiments that share nothing have no entry."""

_FOUND: dict[Need, Any] = {}
"""What this process knows. It only ever grows by results that their key determines."""


def needs_of(point: Point) -> tuple[Need, ...]:
    """Return what a point's run will ask for."""
    if point.experiment not in NEEDS:
        return ()
    needs: tuple[Need, ...] = _named(NEEDS[point.experiment])(point)
    return needs


def compute(need: Need) -> Any:
    """Do a computation."""
    return _named(need.function)(*need.arguments)


def found(need: Need) -> Any:
    """Return what a computation gives; it is done unless this process knows it."""
    if need not in _FOUND:
        _FOUND[need] = compute(need)
    return _FOUND[need]


def keep(results: Mapping[Need, Any]) -> None:
    """Let this process know results."""
    _FOUND.update(results)


def _named(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    named: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return named
