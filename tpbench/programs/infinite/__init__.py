"""The second interpreter: what a program gives at infinite width, by the Master Theorem of Tensor Programs.

Every vector x has a random variable Z^x, and ``(1/n) Σ_α ψ(x_α, y_α, …)`` converges to ``E ψ(Z^x, Z^y, …)`` (Yang 2020,
arXiv:2009.10685). ``Z^{Wx} = Ẑ^{Wx} + Ż^{Wx}``: the Ẑ of one matrix are Gaussian with covariance ``σ² E Z^x Z^{x'}``,
independent of everything else, and ``Ż^{Wx} = σ² Σ_y Z^y E ∂Z^x/∂Ẑ^{Wᵀy}`` is what using W and Wᵀ together costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tpbench.programs.infinite.noun import Limit, Request, Solved, UnsuitedError, Value
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
    refused: dict[str, str] = {}
    for name in METHODS if method == "auto" else (method,):
        try:
            solved = METHODS[name](program, request)
        except UnsuitedError as error:
            if method != "auto":
                raise
            refused[name] = str(error)
            continue
        return Limit(program, name, solved.scalars, solved, refused)
    raise UnsuitedError("; ".join(refused.values()))
