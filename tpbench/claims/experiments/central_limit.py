"""Moments of coordinates of W x, whose entries have any law, against those of the Gaussian that they come to.

x is the first hidden layer of a network, tanh of independent N(0, 1) coordinates, as a program gives it, and entries of
W are n^(-(a + b)) w with independent w of variance 1. Given x a coordinate h of W x has the cumulants
``κ_k(w) n^(-k(a + b)) Σ_j x_j^k``, and from them its moments, exactly. With ``q = E (Z^x)²``,
``r = |x|²/(n q)`` and k = 4, 6, 8:

* ``coordinate-moment``: ``E[h^k | x]/((k - 1)!! q^(k/2)) - 1 - (k/2)(r - 1)``, index k/2 - 2. The last term has mean
  0, since coordinates of x are independent; without it the scatter of r would hide what is left;
* ``drawn-moment``: the mean over ``COORDINATES`` coordinates, really drawn, of ``(h⁴ - 6 s (h² - s))/(3 q²)`` less
  2 (r - 1), with ``s = E[h² | x]``; what is taken off has mean 0, given x or over x.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from tpbench.bench.claim import Point, Row
from tpbench.claims.experiments.program_moments import ENTRIES_AT_ONCE, matrix_factor
from tpbench.claims.experiments.setup import DTYPES
from tpbench.claims.experiments.shared import Need, found
from tpbench.programs import Program, apply, gaussian, inner, program
from tpbench.programs.catalogue import TANH
from tpbench.programs.infinite import limit
from tpbench.programs.sampling import sample
from tpbench.weights.gaussian import standard_normal

COORDINATES = 16
SQUARE = "tpbench.claims.experiments.central_limit:mean_square"
CUMULANTS: Mapping[str, tuple[float, float, float]] = {
    "gaussian": (0.0, 0.0, 0.0),
    "rademacher": (-2.0, 16.0, -272.0),
}
"""Law of an entry of variance 1 -> its fourth, sixth and eighth cumulant."""
ENTRIES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gaussian": lambda z: z,
    "rademacher": lambda z: z.sign(),
}
"""Law of an entry -> how it is made of a standard Gaussian."""


def run(point: Point) -> Iterator[Row]:
    """Yield the rows described above, at step 0.

    Keys of the configuration that plant errors: ``spike`` gives one coordinate of x this share of E |x|²;
    ``scatter`` makes W 1 + scatter times as large in every other network, 1 - scatter times in the rest.
    """
    most = max(2, ENTRIES_AT_ONCE // (COORDINATES * point.width) // 2 * 2)
    for first in range(0, len(point.seeds), most):
        yield from _rows(point, point.seeds[first : first + most])


def _rows(point: Point, seeds: Sequence[int]) -> Iterator[Row]:
    c, n = point.config, point.width
    [square] = (found(need) for need in needs(point))
    x = sample(first_layer(), n, seeds, device=c["device"], dtype=torch.float64)["x"]
    ratio = x.square().mean(dim=1) / square
    if c["spike"]:
        x = torch.cat([(c["spike"] * n) ** 0.5 * x[:, :1], (1 - c["spike"]) ** 0.5 * x[:, 1:]], dim=1)
    scale = (torch.arange(len(seeds), device=x.device) % 2 * -2 + 1) * c["scatter"] + 1
    x = scale[:, None] * x * (matrix_factor(c, n) / square) ** 0.5
    errors = gaussian_shares(conditional_moments(x, CUMULANTS[c["entries"]])) - 1
    errors = errors - (ratio - 1)[:, None] * errors.new_tensor([2.0, 3.0, 4.0])
    drawn = _drawn(x, seeds, c["entries"], DTYPES[c["dtype"]]) - 2 * (ratio - 1)
    for seed, of_seed, one in zip(seeds, errors.tolist(), drawn.tolist(), strict=True):
        for index, value in enumerate(of_seed):
            yield Row("coordinate-moment", value, seed=seed, step=0, index=index)
        yield Row("drawn-moment", one, seed=seed, step=0)


def conditional_moments(x: Tensor, cumulants: tuple[float, float, float]) -> Tensor:
    """Return the fourth, sixth and eighth moment (seed, 3) of ``n^(-1/2) Σ_j w_j x_j`` given x (seed, n).

    ``cumulants`` are those of the w_j, whose odd ones are 0 and whose variance is 1.
    """
    n = x.shape[1]
    two = x.square().mean(dim=1)
    four, six, eight = (
        cumulant * (x**power).sum(dim=1) / n ** (power / 2)
        for power, cumulant in zip((4, 6, 8), cumulants, strict=True)
    )
    return torch.stack(
        [
            3 * two**2 + four,
            15 * two**3 + 15 * four * two + six,
            105 * two**4 + 210 * four * two**2 + 35 * four**2 + 28 * six * two + eight,
        ],
        dim=1,
    )


def gaussian_shares(moments: Tensor) -> Tensor:
    """Return moments (seed, 3) over those of N(0, 1), which are 3, 15 and 105."""
    return moments / moments.new_tensor([3.0, 15.0, 105.0])


def _drawn(x: Tensor, seeds: Sequence[int], law: str, dtype: torch.dtype) -> Tensor:
    shape = (min(COORDINATES, x.shape[1]), x.shape[1])
    normal = standard_normal(seeds, "entries", shape, dtype=dtype, device=x.device)
    h = (ENTRIES[law](normal) @ x[:, :, None].to(dtype))[:, :, 0].to(torch.float64) / x.shape[1] ** 0.5
    known = x.square().mean(dim=1, keepdim=True)
    fourths: Tensor = (h**4 - 6 * known * (h**2 - known)) / 3
    return fourths.mean(dim=1)


def first_layer() -> Program:
    """Return the program of x, and of its mean square."""
    x = apply(TANH, gaussian("g"), name="x")
    return program(x, square=inner(x, x))


def needs(point: Point) -> tuple[Need]:
    """Return the computation of E (Z^x)²."""
    return (Need(SQUARE, (point.config["device"],)),)


def mean_square(device: str) -> float:
    """Return E (Z^x)² of ``first_layer``."""
    return limit(first_layer(), device=device).scalars["square"].mean
