"""The gradient of a matrix that is never built: a sum of outer products, kept as its factors.

Autograd sees an ordinary tensor of shape (out, in). It adds gradients of several uses of one matrix, keeps them in
``.grad``, and gradient clipping scales them; each of these has a form that touches the factors only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]
_ATEN = torch.ops.aten


@dataclass
class _Cell:
    """What the storage of a dense tensor is: a gradient's factors, and those of its aliases, to be changed in place."""

    factors: tuple[Pair, ...]


class OuterProducts(Tensor):
    """``Σ y_bᵀ x_b`` over all rows of its ``factors``: pairs of y (1, batch, out) and x (1, batch, in).

    What is done to gradients works: sums, multiples, the 2-norm (so ``torch.nn.utils.clip_grad_norm_`` does too),
    zeroing, transposing; ``materialise`` gives the dense matrix. Anything else raises ``TypeError``. As with dense
    tensors, ``.data``, ``.detach()`` and ``.t()`` are the same gradient, and ``.clone()`` is another.
    """

    _cell: _Cell
    _flipped: bool

    @staticmethod
    def __new__(cls, factors: Sequence[Pair], like: Tensor, shape: tuple[int, int] | None = None) -> OuterProducts:
        """Return the sum of ``factors``, with the dtype, device and, without one of its own, shape of ``like``."""
        made = Tensor._make_wrapper_subclass(
            cls, tuple(like.shape) if shape is None else shape, dtype=like.dtype, device=like.device
        )
        made._cell, made._flipped = _Cell(tuple(factors)), False
        return made

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    @property
    def factors(self) -> tuple[Pair, ...]:
        """The pairs of y (1, batch, out) and x (1, batch, in)."""
        return _exchanged(self._cell.factors) if self._flipped else self._cell.factors

    def joined(self) -> Pair:
        """Return all factors as one pair, y (1, rows, out) and x (1, rows, in)."""
        factors = self.factors
        if len(factors) == 1:
            return factors[0]
        nothing = [torch.empty((1, 0, size), dtype=self.dtype, device=self.device) for size in self.shape]
        y, x = zip(nothing, *factors, strict=True)
        return torch.cat(y, dim=1), torch.cat(x, dim=1)

    def materialise(self) -> Tensor:
        """Return the dense matrix, (out, in)."""
        y, x = self.joined()
        return y[0].mT @ x[0]

    def __repr__(self) -> str:  # type: ignore[override]
        rows = sum(y.shape[1] for y, _ in self.factors)
        return f"OuterProducts(shape={tuple(self.shape)}, rows={rows}, dtype={self.dtype})"

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _NORMS:
            return _norm(*args, **kwargs)
        if func == _SET_DATA:
            return _set_data(*args)
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func not in _OPERATIONS:
            raise TypeError(_refusal(func))
        return _OPERATIONS[func](*args, **(kwargs or {}))


_SET_DATA = Tensor.data.__set__  # type: ignore[attr-defined]


def _refusal(func: Any) -> str:
    name = func.overloadpacket.__name__
    remedies = [words for part, words in _REMEDIES.items() if name.startswith(part)]
    return (
        f"{func} was asked of the gradient of a lazy matrix, which is kept as outer products: {''.join(remedies)}it "
        "can be added, multiplied by a number, clipped by its 2-norm and stepped by WideSGD; its materialise() gives "
        "the dense gradient where that fits in memory"
    )


def outer(left: Pair, right: Pair) -> OuterProducts:
    """Return ``Σ_b y_bᵀ x_b``; its norm can be differentiated.

    ``left`` is y (1, batch, out) and ``right`` is x (1, batch, in), each twice: with the graph that made it, and the
    values to keep, which nobody else changes.
    """
    return cast(OuterProducts, _Outer.apply(left[0], right[0], (left[1], right[1])))  # type: ignore[no-untyped-call]


class _Outer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor, kept: Pair) -> OuterProducts:
        ctx.save_for_backward(y, x)
        return OuterProducts([kept], like=y, shape=(y.shape[2], x.shape[2]))

    @staticmethod
    def backward(ctx: Any, pull: OuterProducts) -> tuple[Tensor, Tensor, None]:
        _refuse_third_order()
        y, x = ctx.saved_tensors
        left, right = pull.joined()
        return (x @ right.mT) @ left, (y @ left.mT) @ right, None


def _refuse_third_order() -> None:
    """Stop where the result would be differentiated again: factors have no graph, so a part would be lost."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "a third derivative was asked for, through the gradient of a lazy matrix, which is differentiated once "
            "more only: leave create_graph=True out of the last differentiation"
        )


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: OuterProducts) -> Tensor:
        y, x = gradient.joined()
        norm = ((y @ y.mT) * (x @ x.mT)).sum().clamp_min(0.0).sqrt()
        ctx.gradient = gradient.clone()  # clipping may change the gradient itself in place
        ctx.save_for_backward(norm)
        return norm

    @staticmethod
    def backward(ctx: Any, pull: Tensor) -> Tensor:
        _refuse_third_order()
        (norm,) = ctx.saved_tensors
        return cast(Tensor, ctx.gradient * torch.where(norm > 0, pull / norm, 0.0))


_NORMS: set[Callable[..., Any]] = {torch.linalg.vector_norm, torch.linalg.norm, torch.norm, Tensor.norm}


def _norm(gradient: OuterProducts, kind: Any = 2, /, **options: Any) -> Tensor:
    kind = options.pop("p", options.pop("ord", kind))
    if kind not in (2, "fro", None) or any(value is not None and value is not False for value in options.values()):
        raise TypeError(
            f"the norm {kind!r} with {options} was asked of the gradient of a lazy matrix: only its 2-norm over all "
            "entries is known without building it"
        )
    return cast(Tensor, _Norm.apply(gradient))  # type: ignore[no-untyped-call]


def _exchanged(factors: tuple[Pair, ...]) -> tuple[Pair, ...]:
    return tuple((x, y) for y, x in factors)


def _clone(gradient: OuterProducts, **_: Any) -> OuterProducts:
    return OuterProducts(gradient.factors, like=gradient)


def _alias(gradient: OuterProducts) -> OuterProducts:
    made = OuterProducts((), like=gradient)
    made._cell, made._flipped = gradient._cell, gradient._flipped
    return made


def _set_data(gradient: Any, value: Any) -> None:
    """``gradient.data = value`` makes one an alias of the other."""
    if not isinstance(gradient, OuterProducts) or not isinstance(value, OuterProducts) or gradient.shape != value.shape:
        raise TypeError(
            f"{tuple(value.shape)} {type(value).__name__} was put into .data of {tuple(gradient.shape)} "
            f"{type(gradient).__name__}: the data of a lazy matrix's gradient are outer products of its shape; scale "
            "it with .grad.mul_(number), or set .grad to None"
        )
    gradient._cell, gradient._flipped = value._cell, value._flipped


def _empty(gradient: OuterProducts, *_: Any, **__: Any) -> OuterProducts:
    return OuterProducts((), like=gradient)


def _transposed(gradient: OuterProducts) -> OuterProducts:
    rows, columns = gradient.shape
    made = OuterProducts((), like=gradient, shape=(columns, rows))
    made._cell, made._flipped = gradient._cell, not gradient._flipped
    return made


def _sum(one: Any, two: Any, *, alpha: float = 1) -> OuterProducts:
    if not isinstance(one, OuterProducts) or not isinstance(two, OuterProducts):
        raise TypeError("the gradient of a lazy matrix can be added to another such gradient only: both are factors")
    more = two.factors if alpha == 1 else _multiple(two, alpha).factors
    return OuterProducts((*one.factors, *more), like=one)


def _multiple(one: Any, two: Any) -> OuterProducts:
    gradient, number = (one, two) if isinstance(one, OuterProducts) else (two, one)
    if isinstance(number, OuterProducts) or (isinstance(number, Tensor) and number.dim()):
        raise TypeError(
            "the gradient of a lazy matrix can be multiplied by a number only: its entries are not formed; the sum of "
            "their squares is g.norm()**2"
        )
    return OuterProducts([(y * number, x) for y, x in gradient.factors], like=gradient)


def _quotient(gradient: OuterProducts, number: Any) -> OuterProducts:
    return _multiple(gradient, 1 / number)


def _negative(gradient: OuterProducts) -> OuterProducts:
    return _multiple(gradient, -1.0)


def _copied(_: OuterProducts, source: Any, *__: Any) -> OuterProducts:
    if not isinstance(source, OuterProducts):
        raise TypeError("a dense gradient was copied into that of a lazy matrix, which is kept as outer products")
    return source


def _in_place(operation: Callable[..., OuterProducts]) -> Callable[..., OuterProducts]:
    def change(gradient: OuterProducts, *args: Any, **kwargs: Any) -> OuterProducts:
        factors = operation(gradient, *args, **kwargs).factors
        gradient._cell.factors = _exchanged(factors) if gradient._flipped else factors
        return gradient

    return change


_OPERATIONS: dict[Any, Callable[..., OuterProducts]] = {
    _ATEN.detach.default: _alias,
    _ATEN.alias.default: _alias,
    _ATEN.clone.default: _clone,
    _ATEN.t.default: _transposed,
    _ATEN.add.Tensor: _sum,
    _ATEN.add_.Tensor: _in_place(_sum),
    _ATEN.mul.Tensor: _multiple,
    _ATEN.mul_.Tensor: _in_place(_multiple),
    _ATEN.div.Tensor: _quotient,
    _ATEN.div_.Tensor: _in_place(_quotient),
    _ATEN.neg.default: _negative,
    _ATEN.zero_.default: _in_place(_empty),
    _ATEN.zeros_like.default: _empty,
    _ATEN.new_empty_strided.default: _empty,
    _ATEN.copy_.default: _in_place(_copied),
}

_SQUARES = "the sum of its squared entries is g.norm()**2; "
_REMEDIES = {"pow": _SQUARES, "square": _SQUARES, "_foreach": "give foreach=False to clip_grad_norm_; "}
"""Words for operations whose names start so."""


def _operator(operation: Callable[..., Any]) -> Callable[[OuterProducts, Any], Any]:
    def apply(gradient: OuterProducts, other: Any) -> Any:
        return operation(gradient, other)

    return apply


_OPERATORS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("__add__", "__radd__"), torch.add),
    **dict.fromkeys(("__mul__", "__rmul__"), torch.mul),
    "__sub__": torch.sub,
    "__truediv__": torch.div,
    "__pow__": torch.pow,
}
for _name, _operation in _OPERATORS.items():  # torch's own lose the words of a TypeError
    setattr(OuterProducts, _name, _operator(_operation))
