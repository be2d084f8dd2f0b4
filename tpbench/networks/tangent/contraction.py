"""Sums over the parameters of a linear map of products of two gradients, without the gradients where that is cheaper.

A map w that is used at places p (positions, times) of example i on x_ip, with g_ip the gradient of f(i) in its product,
has ``∂f(i)/∂w = Σ_p g_ip x_ipᵀ``. The sum of entries of ∂f(i)/∂w ⊙ ∂f(j)/∂w is

* ``Σ_pq (x_ip · x_jq)(g_ip · g_jq)``: *Gram* matrices of N P rows, 2 (N P)² (in + out) operations; or
* the Gram matrix of the *gradients*, N of them, 2 N P in out + 2 N² in out operations.

Both are exact. Gram matrices win where there are few places, gradients where there are many; Novak, Sohl-Dickstein &
Schoenholz 2022 (arXiv:2206.08720) call such sums structured derivatives. Places of one map at different times meet:
tied weights have all products of their uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

LIMIT_IN_BYTES = 2**30
"""What a contraction should stay below where the other way does."""


@dataclass(frozen=True)
class Places:
    """All uses of one map: inputs x (seed, example or 1, place, in), signals g (seed, example, place, out), float64.

    One row of examples in x belongs to all of g: examples that share their batch share its inputs, too.
    """

    x: Tensor
    g: Tensor

    @property
    def sizes(self) -> tuple[int, int, int, int, int]:
        """(seed, example, place, in, out)."""
        seeds, examples, places, out = self.g.shape
        return seeds, examples, places, self.x.shape[3], out


@dataclass(frozen=True)
class Cost:
    """Floating-point operations of a contraction's matrix products, and the bytes it holds at once."""

    operations: int
    bytes: int


def by_grams(at: Places) -> Tensor:
    """Return the sum by Gram matrices of all places, (seed, example, example)."""
    seeds, examples, places, _, _ = at.sizes
    signals = _gram(at.g)
    rows = at.x.shape[1]
    inputs = _gram(at.x).view(seeds, rows, places, rows, places)
    return (inputs * signals.view(seeds, examples, places, examples, places)).sum((2, 4))


def by_gradients(at: Places) -> Tensor:
    """Return the sum by the gradient of every example, (seed, example, example)."""
    gradients = (at.g.mT @ at.x).flatten(2)
    return gradients @ gradients.mT


def cost_of_grams(at: Places) -> Cost:
    """Return the cost of ``by_grams``."""
    seeds, examples, places, size, out = at.sizes
    of_signals = seeds * (examples * places) ** 2
    of_inputs = (1 if at.x.stride(0) == 0 else seeds) * (at.x.shape[1] * places) ** 2
    return Cost(2 * (of_inputs * size + of_signals * out), 8 * (of_inputs + 2 * of_signals))


def cost_of_gradients(at: Places) -> Cost:
    """Return the cost of ``by_gradients``."""
    seeds, examples, places, size, out = at.sizes
    entries = seeds * examples * size * out
    return Cost(2 * entries * (places + examples), 8 * entries)


WAYS: Mapping[str, tuple[Callable[[Places], Tensor], Callable[[Places], Cost]]] = {
    "grams": (by_grams, cost_of_grams),
    "gradients": (by_gradients, cost_of_gradients),
}


def cheapest(at: Places) -> str:
    """Return the way with the fewest operations within ``LIMIT_IN_BYTES``, else the one with the fewest bytes."""
    costs = {name: cost(at) for name, (_, cost) in WAYS.items()}
    small = [name for name, cost in costs.items() if cost.bytes <= LIMIT_IN_BYTES]
    if small:
        return min(small, key=lambda name: costs[name].operations)
    return min(costs, key=lambda name: costs[name].bytes)


def least_operations(at: Places) -> int:
    """Return the operations of the way that ``contracted`` takes."""
    return WAYS[cheapest(at)][1](at).operations


def contracted(at: Places, way: str | None = None) -> Tensor:
    """Return ``Σ_pq (x_ip · x_jq)(g_ip · g_jq)``, (seed, example, example), the cheapest way or the one given."""
    do, _ = WAYS[cheapest(at) if way is None else way]
    return do(at)


def _gram(rows: Tensor) -> Tensor:
    own = rows[:1] if rows.stride(0) == 0 else rows  # the inputs of a first layer are those of all seeds
    flat = own.flatten(1, 2)
    return (flat @ flat.mT).expand(rows.shape[0], -1, -1)
