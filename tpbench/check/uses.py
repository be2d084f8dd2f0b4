"""One use of a parameter, or the logits of one attention, in one forward pass, and what was measured of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tpbench.check.operands import Operand, Parameters
from tpbench.check.products import Product, check_lazy, some_of
from tpbench.weights.matrix import LazyMatrix
from tpbench.weights.outer import OuterProducts


@dataclass(frozen=True)
class Use:
    """One use in one forward pass. ``numbers`` are the quantities of ``Measurements``, each a tensor of no axes.

    ``start`` are the input and output on the probe rows, for the differences of later passes; logits and entries have
    an empty input. ``multiplier`` is what stands before the parameter, by the model's code; NaN where that is unknown.
    ``shape`` is that of the whole output; ``rerouted``: another one than at the first pass.
    """

    name: str
    operation: str
    parameters: tuple[str, ...]
    fan_in: tuple[int, ...]
    fan_out: tuple[int, ...]
    numbers: Mapping[str, Tensor]
    start: tuple[Tensor | None, Tensor | None] = (None, None)
    multiplier: float = math.nan
    shape: tuple[int, ...] = ()
    rerouted: bool = False

    @property
    def identity(self) -> tuple[str, str, tuple[str, ...]]:
        """What must be the same at every step, seed and width."""
        return self.name, self.operation, self.parameters


def rms(x: Tensor) -> Tensor:
    """Return the root mean square of all entries, float32 or wider; 0 of none."""
    wide = x if x.dtype in (torch.float32, torch.float64) else x.to(torch.float32)
    size: Tensor = torch.linalg.vector_norm(wide).div(max(x.numel(), 1) ** 0.5)
    return size


MOST_ENTRIES = 2**16


def rms_of_rows(x: Tensor) -> Tensor:
    """Return the root mean square of so many rows of a parameter or gradient that a per cent of it is known.

    Of a lazy matrix's gradient it is that of all entries, from the factors.
    """
    if isinstance(x, OuterProducts):
        whole: Tensor = torch.linalg.vector_norm(x) / x.numel() ** 0.5
        return whole
    rows = max(16, MOST_ENTRIES * len(x) // max(x.numel(), 1)) if x.dim() > 1 else 0
    return rms(some_of(x, rows) if 0 < rows < len(x) else x)


MASKED = -1e4
"""Logits at or below this at the first pass are those of a mask, and are left out."""


@dataclass(frozen=True)
class Before:
    """What the first pass saw: its uses and copies of the initial parameters, without lazy ones, which have none."""

    uses: Sequence[Use]
    parameters: Parameters


def changes(product: Product, start: tuple[Tensor | None, Tensor | None], initial: Tensor) -> dict[str, Tensor]:
    """Return the change of a product since the first pass: all of it, (W_t - W_0) x_t, and W_0 (x_t - x_0).

    One product, W_0 x_t, gives both parts as differences. A part that is so small beside the output that rounding
    would show is computed again from W_t - W_0 or x_t - x_0.
    """
    x_0, y_0 = start
    assert x_0 is not None
    assert y_0 is not None
    x, y, apply = product.x, product.y, product.apply
    same = torch.equal(x, x_0)
    between = y_0 if same else apply(initial, x)
    least = rms(y_0) * ROUNDINGS * torch.finfo(y.dtype).eps
    update, carried = rms(y - between), rms(between - y_0)
    numbers = {
        "preactivation-change": rms(y - y_0),
        "weight-update": update if update > least else rms(apply(product.weight.value - initial, x)),
    }
    if x.is_floating_point():
        numbers["initial-weight-on-change"] = carried if same or carried > least else rms(apply(initial, x - x_0))
    return numbers


def lazy_changes(product: Product, matrix: LazyMatrix, start: tuple[Tensor | None, Tensor | None]) -> dict[str, Tensor]:
    """Return the same of a lazy matrix, whose W_0 is never built: it tells both parts itself.

    Training has asked about the inputs already, so that this draws nothing, costs O(width), and changes no later pass.
    """
    x_0, y_0 = start
    assert x_0 is not None
    assert y_0 is not None
    now = product.x[None]
    return {
        "preactivation-change": rms(product.y - y_0),
        "weight-update": rms(matrix.weights.update_matmul(now)),
        "initial-weight-on-change": rms(matrix.weights.initial_matmul_of_change(now, x_0[None])),
    }


IDLE = "Where an expert gets no example in some pass, give a batch large enough for all experts"
REROUTED = "leave the lazy widths out"
ROUNDINGS = 1e4
"""A difference of two outputs is trusted where it is so many rounding errors of the outputs."""


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0, "th")
    return f"{number}{ending}"


class Ledger:
    """The uses of one forward pass, in its order, and their numbers."""

    def __init__(self, names: Mapping[int, tuple[str, ...]], before: Before | None) -> None:
        """``names`` of parameters by ``id``; ``before`` is what the first pass saw, None in the first pass."""
        self._uses: list[Use] = []
        self._aliases = {all_names[0]: all_names for all_names in names.values()}
        self._before = before
        self._counts: dict[str, int] = {}
        self._entries: set[tuple[tuple[str, ...], tuple[int, ...]]] = set()

    @property
    def is_first(self) -> bool:
        """Whether this is the first pass, which all others are compared with."""
        return self._before is None

    def scaled(self, multipliers: Mapping[int, float]) -> list[Use]:
        """Return the uses, their outputs times their multipliers."""
        return [
            replace(
                use,
                numbers={
                    name: value if name == "input" else value * multipliers[number]
                    for name, value in use.numbers.items()
                },
                multiplier=use.multiplier * multipliers[number],
            )
            if number in multipliers
            else use
            for number, use in enumerate(self._uses)
        ]

    def _name(self, base: str) -> str:
        number = self._counts[base] = self._counts.get(base, 0) + 1
        return base if number == 1 else f"{base} ({_ordinal(number)} use)"

    def _named(self, operand: Operand, module: str) -> str:
        aliases = self._aliases[operand.parameters[0]]
        own = [alias for alias in aliases if alias.rpartition(".")[0] == module]
        return self._name((own or list(aliases))[0].removesuffix(".weight"))

    def _earlier(self, identity: tuple[str, str, tuple[str, ...]]) -> Use | None:
        if self._before is None:
            return None
        number, uses = len(self._uses), self._before.uses
        if number >= len(uses) or uses[number].identity != identity:
            was = uses[number].name if number < len(uses) else "nothing more"
            raise ValueError(
                f"the forward pass uses {identity[0]} ({identity[1]}) where the first pass used {was}: the check "
                f"compares passes, so the model must do the same at every step. {IDLE}"
            )
        return uses[number]

    def add_product(self, product: Product, module: str, multiplier: float, shape: tuple[int, ...] = ()) -> int:
        """Add a product and return its number; ``ValueError`` for one of a lazy matrix that cannot be measured.

        ``multiplier`` is the number in its weight, ``shape`` that of the whole output.
        """
        check_lazy(product)
        name, weight = self._named(product.weight, module), product.weight
        earlier = self._earlier((name, product.operation, weight.parameters))
        x, y = product.x, product.y
        rerouted = earlier is not None and earlier.shape != shape
        if earlier is None or self._before is None:
            numbers = {"preactivation": rms(y)}
            if x.is_floating_point() and not isinstance(weight.value, LazyMatrix):
                numbers["expected-preactivation"] = (
                    rms_of_rows(weight.value) * math.prod(product.fan_in) ** 0.5 * rms(x)
                )
        elif rerouted and not isinstance(weight.value, LazyMatrix):
            numbers = {"weight-update": rms(product.apply(weight.value - weight.at(self._before.parameters), x))}
        elif rerouted:
            raise ValueError(
                f"{name} gets other examples at every pass, which is not known of lazy matrices: {REROUTED}"
            )
        elif isinstance(weight.value, LazyMatrix):
            numbers = lazy_changes(product, weight.value, earlier.start)
        else:
            numbers = changes(product, earlier.start, weight.at(self._before.parameters))
        if x.is_floating_point():
            numbers["input"] = rms(x)
        sizes = (tuple(product.fan_in), tuple(product.fan_out))
        kept = (x, y) if earlier is None else (None, None)
        self._uses.append(
            Use(name, product.operation, weight.parameters, *sizes, numbers, kept, multiplier, shape, rerouted)
        )
        return len(self._uses) - 1

    def add_entries(self, operation: str, operand: Operand, module: str, multiplier: float) -> int | None:
        """Add a parameter used entry by entry and return its number; None where it was used so before."""
        shape = tuple(operand.value.shape)
        if (operand.parameters, shape) in self._entries:
            return None
        self._entries.add((operand.parameters, shape))
        name = self._named(operand, module)
        numbers: dict[str, Tensor] = {}
        if self._earlier((name, operation, operand.parameters)) is not None and self._before is not None:
            numbers["weight-update"] = rms(operand.value - operand.at(self._before.parameters))
        self._uses.append(Use(name, operation, operand.parameters, (), shape, numbers, multiplier=multiplier))
        return len(self._uses) - 1

    def add_logits(self, logits: Tensor, scale: float, module: str) -> None:
        """Add the logits of an attention, ``scale`` times averages of products of query and key."""
        name = self._name(f"{module} logits".strip())
        earlier = self._earlier((name, "attention", ()))
        if earlier is None:
            kept = logits[~(logits <= MASKED)]
            numbers = {"preactivation": rms(kept), "attention-scale": logits.new_tensor(scale, dtype=torch.float64)}
            use = Use(name, "attention", (), (), (), numbers, (None, logits))
        else:
            first = earlier.start[1]
            assert first is not None
            same = logits.shape == first.shape
            numbers = {"preactivation-change": rms((logits - first)[~(first <= MASKED)])} if same else {}
            use = Use(name, "attention", (), (), (), numbers, rerouted=not same)
        self._uses.append(use)
