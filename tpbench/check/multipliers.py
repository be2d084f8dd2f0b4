"""Constant multipliers behind a product: of which layer are they a part?

A model may write the multiplier n^(-a) of an abc table on the weight, on the input or on the output of a product. The
first two are part of the product's operands; the third, as in ``self.head(x) / width``, is found here: a product's
output that is multiplied by a number before anything but reshaping happens to it. A number that belongs to what comes
next is not counted: the scale of queries on their way to an inner product (``q * scale`` where the logits are made) and
the scale that a read-out gives its own input (a module that scales what it is given, then multiplies it by its weight).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from tpbench.check.functions import SUMS
from tpbench.check.products import Call

TIMES = frozenset({"mul", "mul_", "multiply", "multiply_", "__rmul__", "__imul__"})
OVER = frozenset({"div", "div_", "divide", "true_divide", "divide_", "true_divide_", "__itruediv__", "__truediv__"})
RESHAPED = frozenset(
    [
        *("view", "reshape", "transpose", "permute", "flatten", "unflatten", "squeeze", "unsqueeze", "contiguous"),
        *("swapaxes", "movedim", "to", "float", "double", "clone", "__get__", "__getitem__", "dropout", "t"),
    ]
)
"""Functions of one tensor that leave its entries what they are, or some of them."""


@dataclass
class Trail:
    """A product's output on its way: the numbers of the uses in it, the module of the product, and its multipliers.

    ``looked_up``: a row of a table, which may be added to a row of another one.
    """

    uses: list[int]
    module: str
    looked_up: bool = False
    factors: list[tuple[str, float]] = field(default_factory=list)


class Multipliers:
    """Multipliers of the uses of one forward pass."""

    def __init__(self) -> None:
        """Begin with none. Tensors are kept alive, so that their ``id`` stays their own."""
        self._trails: dict[int, tuple[Tensor, Trail]] = {}
        self._all: list[Trail] = []

    def begin(self, out: Tensor, uses: Sequence[int], module: str, looked_up: bool = False) -> None:
        """Follow the output of a product, or a parameter that was looked up."""
        self._all.append(Trail(list(uses), module, looked_up))
        self._trails[id(out)] = (out, self._all[-1])

    def see(self, call: Call, tensors: Sequence[Tensor], module: str) -> None:
        """Follow the call, which uses no parameter: a multiplication by a number, a reshaping, a sum of table rows."""
        found = [trail for trail in map(self._of, tensors) if trail is not None]
        if not found or not isinstance(call.out, Tensor):
            return
        trail, name, factor = found[0], getattr(call.func, "__name__", ""), factor_of(call)
        if factor is not None:
            trail.factors.append((module, factor))
            self._trails[id(call.out)] = (call.out, trail)
        elif name in RESHAPED and len(tensors) == 1:
            self._trails[id(call.out)] = (call.out, trail)
        elif name in SUMS and len(found) == 2 and all(one.looked_up and not one.factors for one in found):
            self.begin(call.out, [use for one in found for use in one.uses], module, looked_up=True)

    def join(self, out: Tensor, tensors: Sequence[Tensor], uses: Sequence[int], module: str) -> None:
        """Follow ``out``, to which parameters were added: a bias shares the multipliers of what it is added to."""
        trail = next((found for found in map(self._of, tensors) if found is not None), None)
        if trail is None:
            self.begin(out, uses, module)
        elif not trail.factors:
            trail.uses.extend(uses)
            self._trails[id(out)] = (out, trail)

    def spend(self, tensors: Sequence[Tensor], module: str, on_activations: bool) -> float:
        """Take back the multipliers of inputs of another product that belong to that product; return their product."""
        spent = 1.0
        for trail in {id(found): found for found in map(self._of, tensors) if found is not None}.values():
            if on_activations or module != trail.module:
                spent *= math.prod(factor for where, factor in trail.factors if where == module)
                trail.factors = [one for one in trail.factors if one[0] != module]
        return spent

    def of_uses(self) -> dict[int, float]:
        """Return the size of the multiplier of every use that has one."""
        found: dict[int, float] = {}
        for trail in self._all:
            for use in trail.uses:
                for _, factor in trail.factors:
                    found[use] = found.get(use, 1.0) * abs(factor)
        return found

    def _of(self, tensor: Tensor) -> Trail | None:
        known = self._trails.get(id(tensor))
        return None if known is None else known[1]


def factor_of(call: Call) -> float | None:
    """Return the number that a call multiplies its tensor by, None where it does something else."""
    name = getattr(call.func, "__name__", "")
    if name not in TIMES and name not in OVER:
        return None
    given = (*call.args, *call.kwargs.values())
    others = [value for value in given if not isinstance(value, Tensor) or value.dim() == 0]
    if len(others) != 1 or not isinstance(others[0], (int, float, Tensor)):
        return None
    number = float(others[0])
    return number if name in TIMES else 1 / number if number else math.inf
