"""What the second interpreter gives: values with errors, and the random variables of a program's outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

from tpbench.programs import functions
from tpbench.programs.coordinatewise import check_function
from tpbench.programs.instructions import Function
from tpbench.programs.program import Program


@dataclass(frozen=True)
class Value:
    """A number with its standard error; ``exact`` where it is known as a fraction, and then the error is 0.

    The error of quadrature is how far another order, another reach and rounding would move it: an estimate, not a
    bound. That of Sobol' points is a standard error.
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

    ``method`` is "exact", "quadrature" or "sobol"; ``refused`` says why the methods before it could not. ``elsewhere``
    finds an expectation that ``solved`` cannot, by the methods after this one that were asked for.
    """

    program: Program
    method: str
    scalars: Mapping[str, Value]
    solved: Solved = field(repr=False)
    refused: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Callable[[Function, tuple[str, ...]], Value] | None = field(default=None, repr=False, compare=False)

    def expectation(self, function: Function | Callable[..., Any], *vectors: str) -> Value:
        """Return ``E function(Z^x, Z^y, …)`` for outputs that are vectors, of one width, by name.

        With method "auto", methods after the limit's own are tried where that cannot.
        Raises ``ValueError`` for no name, a name that is no such output, and a function that is not one of coordinates,
        and ``UnsuitedError`` where no method can.
        """
        known = ", ".join(name for name in self.program.outputs if name in self.program.widths) or "none"
        if not vectors:
            raise ValueError(
                f"an expectation is over vectors, and none was named: name one or more outputs of the program ({known})"
            )
        for name in vectors:
            if name not in self.program.outputs or name not in self.program.widths:
                raise ValueError(f"{name!r} is no vector among the outputs of the program ({known}): ask for it there")
        if len({self.program.widths[name] for name in vectors}) > 1:
            raise ValueError(f"{', '.join(vectors)} have several widths, so no coordinates in common")
        made = functions.function(function)
        check_function(made, len(vectors), 0, f"the function {made.name!r} of the expectation")
        try:
            return self.solved.expectation(made, vectors)
        except UnsuitedError:
            if self.elsewhere is None:
                raise
            return self.elsewhere(made, vectors)
