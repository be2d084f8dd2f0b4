"""What the second interpreter gives: values with errors, and the random variables of a program's outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

from tpbench.programs import functions
from tpbench.programs.instructions import Function
from tpbench.programs.program import Program


@dataclass(frozen=True)
class Value:
    """A number with its standard error; ``exact`` where it is known as a fraction, and then the error is 0.

    The error of quadrature is a bound on what another order would change, that of Sobol' points a standard error.
    """

    mean: float
    error: float = 0.0
    exact: Fraction | None = None

    def __str__(self) -> str:
        if self.exact is not None:
            return str(self.exact)
        return f"{self.mean:.10g} ± {self.error:.1e}"


class Solved(Protocol):
    """A program's limit as one method knows it."""

    @property
    def scalars(self) -> Mapping[str, Value]:
        """The limits of all scalars that are outputs."""

    def expectation(self, function: Function, vectors: tuple[str, ...]) -> Value:
        """Return E function(Z^x, Z^y, …) of outputs."""


class UnsuitedError(ValueError):
    """A program is not within a method's reach; the message says which binding and why."""


@dataclass(frozen=True)
class Request:
    """How a limit is asked for.

    ``points`` and ``replicates`` are those of "sobol": numbers of scrambled Sobol' points to extrapolate over, and
    independent scrambles. ``derivatives`` are taken by "autograd", by "stein" (Stein's lemma, which knows jumps), or by
    "auto": in quadrature Stein's lemma; at Sobol' points autograd where every function on the way is continuous and
    products are few. ``transposes`` "independent" forgets the terms Ż, as if W and Wᵀ were independent: the rival.
    """

    points: tuple[int, ...]
    replicates: int
    seed: int = 0
    derivatives: str = "auto"
    transposes: str = "dependent"
    device: str = "cpu"


@dataclass(frozen=True)
class Limit:
    """The limit of a program at infinite width: ``scalars`` by name, and expectations over the outputs' Z.

    ``method`` is "exact", "quadrature" or "sobol"; ``refused`` says why the methods before it could not.
    """

    program: Program
    method: str
    scalars: Mapping[str, Value]
    solved: Solved = field(repr=False)
    refused: Mapping[str, str] = field(default_factory=dict)

    def expectation(self, function: Function | Callable[..., Any], *vectors: str) -> Value:
        """Return ``E function(Z^x, Z^y, …)`` for outputs that are vectors, of one width, by name.

        Raises ``ValueError`` for a name that is no such output.
        """
        for name in vectors:
            if name not in self.program.outputs or name not in self.program.widths:
                known = ", ".join(name for name in self.program.outputs if name in self.program.widths) or "none"
                raise ValueError(f"{name!r} is no vector among the outputs of the program ({known}): ask for it there")
        if len({self.program.widths[name] for name in vectors}) > 1:
            raise ValueError(f"{', '.join(vectors)} have several widths, so no coordinates in common")
        return self.solved.expectation(functions.function(function), vectors)
