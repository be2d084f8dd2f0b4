"""The second interpreter: what a program gives at infinite width, by the Master Theorem of Tensor Programs.

Every vector x has a random variable Z^x, and ``(1/n) Σ_α ψ(x_α, y_α, …)`` converges to ``E ψ(Z^x, Z^y, …)`` (Yang 2020,
arXiv:2009.10685). ``Z^{Wx} = Ẑ^{Wx} + Ż^{Wx}``: the Ẑ of one matrix are Gaussian with covariance ``σ² E Z^x Z^{x'}``,
independent of everything else, and ``Ż^{Wx} = σ² Σ_y Z^y E ∂Z^x/∂Ẑ^{Wᵀy}`` is what using W and Wᵀ together costs.
With entries of variance σ²/n_columns this is for W; for Wᵀ both constants are σ² n_rows/n_columns in place of σ².

The theorem asks for functions that are continuous in the scalars at their limits (``scalars``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tpbench.programs.infinite.noun import Limit, Request, Solved, UnsuitedError, Value
from tpbench.programs.instructions import Function, Moment
from tpbench.programs.program import Program

__all__ = ["Limit", "Request", "Solved", "UnsuitedError", "Value", "limit"]

POINTS = (2**10, 2**11, 2**12)
REPLICATES = 64


def _exact(program: Program, request: Request) -> Solved:
    from tpbench.programs.infinite.exact import solve

    return solve(program, request)


def _quadrature(program: Program, request: Request) -> Solved:
    from tpbench.programs.infinite.quadrature import solve

    return solve(program, request)


def _sobol(program: Program, request: Request) -> Solved:
    from tpbench.programs.infinite.sobol import solve

    return solve(program, request)


METHODS: Mapping[str, Callable[[Program, Request], Solved]] = {
    "exact": _exact,
    "quadrature": _quadrature,
    "sobol": _sobol,
}
"""In the order in which "auto" tries them; each imports what it needs when it is asked."""


def limit(
    program: Program,
    *,
    method: str = "auto",
    points: Sequence[int] = POINTS,
    replicates: int = REPLICATES,
    seed: int = 0,
    derivatives: str = "auto",
    transposes: str = "dependent",
    device: str = "cpu",
) -> Limit:
    """Return the limit of a program at infinite width, by the first method that can; see ``Request`` for the options.

    Raises ``ValueError`` for an unknown option, and ``UnsuitedError`` where the method that was asked for cannot.
    """
    for asked, known in (
        (method, ("auto", *METHODS)),
        (derivatives, ("auto", "autograd", "stein")),
        (transposes, ("dependent", "independent")),
    ):
        if asked not in known:
            raise ValueError(f"one of {', '.join(known)} was expected, got {asked!r}")
    request = Request(tuple(points), replicates, seed, derivatives, transposes, device)
    names = tuple(METHODS) if method == "auto" else (method,)
    found = _first(program, request, names)
    later = names[names.index(found.method) + 1 :]
    if not later:
        return found
    return replace(found, elsewhere=lambda function, vectors: _expected(program, request, later, function, vectors))


def _first(program: Program, request: Request, names: Sequence[str]) -> Limit:
    """Return the limit by the first of some methods that can."""
    asked = _with_scalars(program)
    refused: dict[str, str] = {}
    for name in names:
        try:
            solved = METHODS[name](asked, request)
        except UnsuitedError as error:
            if len(names) == 1:
                raise
            refused[name] = str(error)
            continue
        if asked is not program:
            from tpbench.programs.infinite.scalars import check_continuous

            check_continuous(program, solved.scalars, request)
        scalars = {name: value for name, value in solved.scalars.items() if name in program.outputs}
        return Limit(program, name, scalars, solved, refused)
    raise UnsuitedError("; ".join(refused.values()))


def _with_scalars(program: Program) -> Program:
    """Return a program that is also asked for scalars whose limits functions read, or itself if there are none."""
    from tpbench.programs.infinite.reading import read

    names = read(program)
    return replace(program, outputs=tuple(dict.fromkeys((*program.outputs, *names)))) if names else program


def _expected(
    program: Program, request: Request, names: Sequence[str], function: Function, vectors: tuple[str, ...]
) -> Value:
    """Return an expectation as a moment of a longer program, by the first of some methods that can."""
    name = f"E {function.name} of {', '.join(vectors)}"
    longer = Program((*program.bindings, Moment(name, function, vectors)), (name,))
    return _first(longer, request, names).scalars[name]
