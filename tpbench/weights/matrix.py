"""Lazy matrices in plain PyTorch: a parameter that is never built, differentiable as often as its products.

``LazyMatrix`` takes the place of a weight: ``F.linear(x, W)``, ``x @ W``, ``W @ x`` and their transposes work, in any
module, unchanged. ``y = W x`` has the backward ``Wᵀ g``, itself such a product, so gradients of gradients work; the
gradient of W is the pair (g, x), kept as ``OuterProducts`` in ``.grad`` where autograd accumulates it as it does any.

    from torch.nn import functional as F
    W = LazyMatrix(LazyGaussian((n, n), std=n**-0.5, innovations=MonteCarlo([0]), axes=axes, dtype=dtype, device=cpu))
    F.linear(x, W).square().sum().backward()
    W.step_(rate=0.1, momentum=0.9)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tpbench.weights.lazy import LazyGaussian
from tpbench.weights.outer import OuterProducts, outer
from tpbench.weights.refusal import OPERATORS, optimizer_refusal, refusal


@dataclass
class _Clock:
    """How often a matrix has been stepped, and whose its velocity is; the matrix and its transpose share it."""

    steps: int = 0
    owner: object = None


class LazyMatrix(Tensor):
    """A parameter of shape (out, in) whose entries are those of ``weights``, one seed, and are never formed.

    Products with vectors work, and with batches of them; ``.T``, ``.mT``, ``.t()`` give the transposed matrix.
    Whatever needs the entries raises ``TypeError`` and names the remedy; ``ValueError`` for weights of several seeds.
    Only ``step_`` may step ``weights``: it tells the matrix, which refuses backward passes of products before that.
    """

    weights: LazyGaussian
    flipped: bool
    _clock: _Clock
    _is_param: bool

    @staticmethod
    def __new__(cls, weights: LazyGaussian, *, requires_grad: bool = True) -> LazyMatrix:
        seeds, rows, columns = weights.shape
        if seeds != 1:
            raise ValueError(
                f"a lazy matrix in a module is one matrix, these weights are {seeds}: give their innovations one seed"
            )
        made = _wrapper(weights, (rows, columns), flipped=False, clock=_Clock(), requires_grad=requires_grad)
        made._is_param = True  # how torch.nn.Parameter recognises parameters that are tensor subclasses
        return made

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def materialise(self) -> Tensor:
        """Return the present dense matrix, (out, in), by asking for all of it: O(in · out) memory, no gradient."""
        dense = self.weights.materialise()[0]
        return dense.mT.contiguous() if self.flipped else dense

    def products(self) -> OuterProducts | None:
        """Return the gradient in ``.grad``; ``TypeError`` where it is none that ``step_`` could use."""
        gradient = self.grad
        if gradient is None or isinstance(gradient, OuterProducts):
            return gradient
        raise TypeError(
            "the gradient of a lazy matrix is one of outer products, and a dense tensor was put there: leave it as "
            "backward() made it and scale it with .grad.mul_(number), or set .grad to None"
        )

    @property
    def velocity_owner(self) -> object:
        """Who claimed the velocity last; None where nobody did."""
        return self._clock.owner

    def claim_velocity_(self, owner: object) -> None:
        """Start the velocity from zero where it is not ``owner``'s yet: an optimizer has velocities of its own."""
        if self._clock.owner is not owner:
            self.weights.forget_velocity_()
            self._clock.owner = owner

    def step_(self, *, rate: float, momentum: float = 0.0, decay: float = 0.0) -> None:
        """One step of ``torch.optim.SGD`` by the gradient in ``.grad``; nothing happens where it is None."""
        gradient = self.products()
        if gradient is None:
            return
        with torch.no_grad():
            y, x = gradient.joined()
            self.weights.step_(y, x, scale=1.0, rate=rate, momentum=momentum, decay=decay)
        self._clock.steps += 1

    def __matmul__(self, x: Any) -> Tensor:
        return _matmul(self, x)

    def __rmatmul__(self, x: Any) -> Tensor:
        return _matmul(x, self)

    def __repr__(self) -> str:  # type: ignore[override]
        return f"LazyMatrix(shape={tuple(self.shape)}, dtype={self.dtype}, device={str(self.device)!r})"

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in _HANDLED:
            return _HANDLED[func](*args, **(kwargs or {}))
        name = getattr(func, "__name__", str(func))
        if name in ("__get__", "__set__"):
            name = func.__self__.__name__  # type: ignore[attr-defined]
            name += "" if func.__name__ == "__get__" else "="
        if name in _METADATA:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        if name in _MOVES:
            return _moved(name, func, *args, **(kwargs or {}))
        raise TypeError(refusal(name))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        raise TypeError(refusal(str(func)))


def _wrapper(
    weights: LazyGaussian, shape: tuple[int, int], *, flipped: bool, clock: _Clock, requires_grad: bool
) -> LazyMatrix:
    like = weights.reference
    made = Tensor._make_wrapper_subclass(
        LazyMatrix, shape, dtype=like.dtype, device=like.device, requires_grad=requires_grad
    )
    made.weights, made.flipped, made._clock = weights, flipped, clock
    return made


class _Transpose(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: LazyMatrix) -> LazyMatrix:
        rows, columns = matrix.shape
        return _wrapper(
            matrix.weights, (columns, rows), flipped=not matrix.flipped, clock=matrix._clock, requires_grad=False
        )

    @staticmethod
    def backward(ctx: Any, pull: Tensor) -> Tensor:
        return pull.t()


class _Product(torch.autograd.Function):
    """``M x`` for every row of x (..., in), or ``Mᵀ x`` where ``flip``; ``asked`` holds the rows, (1, batch, in).

    What becomes a factor of a gradient is a copy of its own: who changes x or the gradient in place after the
    backward pass (an optimizer, clipping, the next minibatch) must not change the gradient of the matrix. The engine
    remembers its last question by the tensor that asked it, so that copy asks, and an update costs no look-up.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, asked: Tensor, matrix: LazyMatrix, flip: bool) -> Tensor:
        ctx.save_for_backward(x)
        ctx.asked, ctx.matrix, ctx.flip, ctx.steps = asked, matrix, flip, matrix._clock.steps
        out = x.new_empty((*x.shape[:-1], matrix.shape[1 if flip else 0]))
        ask = matrix.weights.matmul if matrix.flipped == flip else matrix.weights.transposed_matmul
        ask(asked, out=out.view(1, -1, out.shape[-1]))
        return out

    @staticmethod
    def backward(ctx: Any, pull: Tensor) -> tuple[Tensor | None, None, Tensor | None, None]:
        (x,) = ctx.saved_tensors  # raises where it was changed in place since
        matrix: LazyMatrix = ctx.matrix
        if ctx.steps != matrix._clock.steps:
            raise RuntimeError(
                "a lazy matrix was stepped between a product and its backward pass: run the forward pass again"
            )
        of_x, of_matrix = ctx.needs_input_grad[0], ctx.needs_input_grad[2]
        asked = _rows(pull.detach(), copy=of_matrix)
        back = gradient = None
        if of_x:
            back = _Product.apply(pull, asked, matrix, not ctx.flip)  # type: ignore[no-untyped-call]
        if of_matrix:
            left, right = (_rows(pull), asked), (_rows(x), ctx.asked)
            gradient = outer(*(right, left) if ctx.flip else (left, right))
        return back, None, gradient, None


def _rows(x: Tensor, *, copy: bool = False) -> Tensor:
    """Return x (..., size) as (1, batch, size)."""
    shaped = x.reshape(1, -1, x.shape[-1])
    return shaped.clone(memory_format=torch.contiguous_format) if copy else shaped


def _product(x: Tensor, matrix: LazyMatrix, *, flip: bool) -> Tensor:
    if (x.dtype, x.device) != (matrix.dtype, matrix.device):
        raise ValueError(
            f"the matrix is {matrix.dtype} on {matrix.device}, the vector {x.dtype} on {x.device}: lazy matrices "
            "work without torch.autocast, and with models and inputs of one dtype, float32 or float64, on one device"
        )
    asked = _rows(x.detach(), copy=matrix.requires_grad and torch.is_grad_enabled())
    return cast(Tensor, _Product.apply(x, asked, matrix, flip))  # type: ignore[no-untyped-call]


def _linear(input: Any, weight: Any, bias: Tensor | None = None) -> Tensor:
    if not isinstance(weight, LazyMatrix) or isinstance(input, LazyMatrix) or isinstance(bias, LazyMatrix):
        raise TypeError(refusal("linear with a lazy matrix in the place of x or of the bias"))
    y = _product(input, weight, flip=False)
    return y if bias is None else y + bias


def _matmul(left: Any, right: Any, *, out: Tensor | None = None) -> Tensor:
    if out is not None:
        raise TypeError(
            "out= was given to a product with a lazy matrix, which returns a tensor of its own: leave it out"
        )
    if isinstance(left, LazyMatrix) and isinstance(right, LazyMatrix):
        raise TypeError(
            "the product of two lazy matrices was asked for: it has all entries of both; apply one after the other, "
            "V @ (W @ x)"
        )
    if isinstance(right, LazyMatrix):
        return _product(left, right, flip=True)
    if right.dim() == 1:
        return _product(right, left, flip=False)
    return _product(right.mT, left, flip=False).mT


def _transpose(matrix: LazyMatrix, *axes: int, **named: int) -> LazyMatrix:
    if sorted(axis % 2 for axis in (*axes, *named.values())) not in ([], [0, 1]):
        raise TypeError(f"a lazy matrix has two axes to exchange, 0 and 1: got {axes or named}")
    return cast(LazyMatrix, _Transpose.apply(matrix))  # type: ignore[no-untyped-call]


def _keep_data(matrix: LazyMatrix, value: Tensor) -> None:
    """``Module.to`` sets the data of parameters it has moved; one that did not move is left as it is."""
    if value is not matrix:
        raise TypeError(refusal("data="))


def _moved(name: str, func: Callable[..., Any], matrix: LazyMatrix, *args: Any, **kwargs: Any) -> LazyMatrix:
    """Return the matrix where moving it changes neither dtype nor device; ``model.to(device)`` is often that."""
    like = torch.empty((), dtype=matrix.dtype, device=matrix.device)
    found = func(like, *args, **kwargs)
    if not isinstance(found, Tensor) or found.dtype != like.dtype or found.device != like.device:
        raise TypeError(refusal(name))
    return matrix


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_METADATA = _words("""
    shape dtype device layout ndim grad grad= grad_fn requires_grad requires_grad= is_leaf retains_grad output_nr
    is_sparse is_quantized is_meta is_cpu is_cuda is_xpu is_mps is_nested _version _backward_hooks size dim numel
    nelement element_size itemsize nbytes get_device is_floating_point is_complex __hash__ __format__ requires_grad_
    register_hook register_post_accumulate_grad_hook backward _has_compatible_shallow_copy_type
""")
_MOVES = _words("to type double float half bfloat16 cpu cuda xpu")
_HANDLED: dict[Callable[..., Any], Callable[..., Any]] = {
    functional.linear: _linear,
    **dict.fromkeys((torch.matmul, torch.mm, torch.mv, torch.linalg.matmul), _matmul),
    **dict.fromkeys((Tensor.matmul, Tensor.mm, Tensor.mv), _matmul),
    **dict.fromkeys((torch.t, Tensor.t, Tensor.T.__get__, Tensor.mT.__get__), _transpose),  # type: ignore[attr-defined]
    **dict.fromkeys((torch.transpose, Tensor.transpose), _transpose),
    Tensor.data.__set__: _keep_data,  # type: ignore[attr-defined]
}


def _refusing(symbol: str) -> Callable[..., Any]:
    def refuse(*_: Any) -> Any:
        raise TypeError(refusal(symbol))

    return refuse


for _name, _symbol in OPERATORS.items():  # left to torch, operators end in an error of Python's without a remedy
    for _kind, _sign in ((_name, _symbol), (f"r{_name}", _symbol), (f"i{_name}", f"{_symbol}=")):
        setattr(LazyMatrix, f"__{_kind}__", _refusing(_sign))


def _refuse_other_optimizers(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Stop the step of an optimizer that would need entries of a lazy matrix, before it has changed anything."""
    if getattr(optimizer, "steps_lazy_matrices", False):
        return
    lazy = (p for group in optimizer.param_groups for p in group["params"] if isinstance(p, LazyMatrix))
    if any(matrix.requires_grad or matrix.grad is not None for matrix in lazy):
        raise TypeError(optimizer_refusal(type(optimizer).__name__))


register_optimizer_step_pre_hook(_refuse_other_optimizers)
