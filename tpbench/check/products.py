"""Torch functions that multiply an activation by a parameter: which axes they contract, and how to do it again.

Every product here is linear in the parameter and in the activation, but for its bias: ``apply(W, x)`` is that bilinear
map on a few probe rows of the batch, so that (W_t - W_0) x_t and W_0 (x_t - x_0) are one call each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tpbench.check.operands import Operand, Operands, tensors_of
from tpbench.weights.matrix import LazyMatrix

PROBE_ROWS = 16
"""Rows of a batch (examples, or tokens of texts) on which products are measured."""
PROBE_OUTPUTS = 512
"""About so many neurons of a linear layer are measured, evenly spread, where it has twice as many."""
PROBE_IMAGES = 4
"""Examples on which convolutions are measured, more where an example has fewer than 4 places."""
UNBUILT = "write it with nn.Linear or F.linear, or leave the lazy widths out"
"""The remedy where a lazy matrix is used in another way."""
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Call:
    """One call of a torch function in the forward pass."""

    func: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    out: Any
    operands: Operands

    def bind(self, *names: str) -> dict[str, Any]:
        """Return the arguments by name, those that were given positionally and those by keyword."""
        return dict(zip(names, self.args, strict=False)) | dict(self.kwargs)


@dataclass(frozen=True)
class Product:
    """A use of ``weight``: on probe rows, y = apply(weight, x). ``fan_in`` are sizes of the axes that are summed over,
    ``fan_out`` of the others. ``bias`` is a parameter that the same call adds."""

    operation: str
    weight: Operand
    x: Tensor
    y: Tensor
    fan_in: tuple[int, ...]
    fan_out: tuple[int, ...]
    apply: Callable[[Tensor, Tensor], Tensor]
    bias: Operand | None = None


@lru_cache(maxsize=256)
def _probe(count: int, wanted: int, device: torch.device) -> Tensor:
    """Return ``wanted`` of ``count`` rows, one in each of as many equal spans, at an irrational place of the span."""
    rows = [int((span + (span * GOLDEN) % 1.0) * count / wanted) for span in range(wanted)]
    return torch.tensor(rows, device=device)


def rows_of(x: Tensor, axes: int = 1) -> Tensor:
    """Return the probe rows of x as (rows, the last ``axes`` axes): a copy."""
    flat = x.reshape(-1, *x.shape[x.dim() - axes :])
    return some_of(flat, PROBE_ROWS)


def some_of(x: Tensor, wanted: int) -> Tensor:
    """Return so many of the first axis, evenly spread: a copy."""
    return x.clone() if len(x) <= wanted else x.index_select(0, _probe(len(x), wanted, x.device))


def _linear(call: Call) -> Product | None:
    given = call.bind("input", "weight", "bias")
    x, weight, bias = given["input"], call.operands.get(given["weight"]), given.get("bias")
    if weight is None:
        return None
    if weight.value.dim() == 1:
        return _times(weight, x, call.out)
    fan_out, fan_in = weight.value.shape
    y = rows_of(call.out)
    y = y if bias is None else y - bias
    every = 1 if isinstance(weight.value, LazyMatrix) else max(1, fan_out // PROBE_OUTPUTS)
    return Product(
        "linear",
        weight,
        rows_of(x),
        y[:, ::every],
        (fan_in,),
        (fan_out,),
        lambda W, x: functional.linear(x, W if every == 1 else W[::every]),
        call.operands.get(bias),
    )


CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
TRANSPOSED = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")


def _convolution(order: tuple[str, ...]) -> Callable[[Call], Product | None]:
    def read(call: Call) -> Product | None:
        given = call.bind(*order)
        weight, x, bias = call.operands.get(given["weight"]), given["input"], given.get("bias")
        if weight is None:
            return None
        kernel, groups = weight.value.shape[2:], given.get("groups", 1)
        first, second = weight.value.shape[:2]
        fan_in, out = (second, first) if order is CONVOLUTION else (first // groups, second * groups)
        rest = {name: given[name] for name in order[3:] if name in given}
        batched, unbatched = (x, call.out) if x.dim() == len(kernel) + 2 else (x[None], call.out[None])
        images = max(PROBE_IMAGES, -(-PROBE_ROWS // math.prod(unbatched.shape[2:])))
        y = some_of(unbatched, images)
        return Product(
            "convolution",
            weight,
            some_of(batched, images),
            y if bias is None else y - bias.reshape(-1, *[1] * len(kernel)),
            (fan_in, *kernel),
            (out,),
            lambda W, x: call.func(x, W, **rest),
            call.operands.get(bias),
        )

    return read


def _embedding(call: Call) -> Product | None:
    given = call.bind(*(("weight", "input") if call.func is torch.embedding else ("input", "weight")))
    weight = call.operands.get(given["weight"])
    if weight is None:
        return None
    return _looked_up(weight, rows_of(given["input"], 0), rows_of(call.out))


def _indexing(call: Call) -> Product | None:
    table, index = call.args[0], call.args[1]
    weight = call.operands.get(table)
    if weight is None or not isinstance(index, Tensor) or index.dtype not in (torch.int64, torch.int32):
        return None
    return _looked_up(weight, rows_of(index, 0), rows_of(call.out, table.dim() - 1))


def _looked_up(weight: Operand, numbers: Tensor, y: Tensor) -> Product:
    shape = weight.value.shape
    return Product("embedding", weight, numbers, y, shape[:1], shape[1:], lambda W, x: W[x])


def _matmul(call: Call) -> Product | None:
    left, right = tensors_of((call.args, call.kwargs))[:2]
    if call.func is torch.Tensor.__rmatmul__:
        left, right = right, left
    first, second = call.operands.get(left), call.operands.get(right)
    if second is not None:
        return _times(second, left, call.out)
    return None if first is None else _on_the_left(first, right, call.out)


def _times(weight: Operand, x: Tensor, y: Tensor) -> Product:
    shape = weight.value.shape
    if len(shape) > 2:
        sizes = (shape[-2:-1], (*shape[:-2], shape[-1]))
        return Product("matmul", weight, x.clone(), y.clone(), *sizes, lambda W, x: torch.matmul(x, W))
    rows = rows_of(y, len(shape) - 1)
    return Product("matmul", weight, rows_of(x), rows, shape[:1], shape[1:], lambda W, x: torch.matmul(x, W))


def _on_the_left(weight: Operand, x: Tensor, y: Tensor) -> Product:
    shape = weight.value.shape
    sizes = (shape[-1:], shape[:-1])
    if len(shape) == 2 and x.dim() == 2:
        return Product("matmul", weight, rows_of(x.T), rows_of(y.T), *sizes, lambda W, x: x @ W.T)
    return Product("matmul", weight, x.clone(), y.clone(), *sizes, torch.matmul)


def _addmm(call: Call) -> Product | None:
    given = call.bind("input", "mat1", "mat2")
    weight, bias = call.operands.get(given["mat2"]), call.operands.get(given["input"])
    if weight is None:
        return None
    alpha, beta = given.get("alpha", 1), given.get("beta", 1)
    added = rows_of(given["input"].expand(call.out.shape)) * beta
    shape = weight.value.shape
    return Product(
        "matmul",
        weight,
        rows_of(given["mat1"]),
        rows_of(call.out) - added,
        shape[:1],
        shape[1:],
        lambda W, x: alpha * (x @ W),
        bias,
    )


def _einsum(call: Call) -> Product | None:
    equation, tensors = call.args[0], tensors_of(call.args[1:])
    found = [number for number, tensor in enumerate(tensors) if call.operands.get(tensor) is not None]
    if len(tensors) != 2 or not found or not isinstance(equation, str):
        return None
    place = found[-1]
    weight = call.operands.get(tensors[place])
    assert weight is not None
    terms, kept = letters_of(equation)
    if "." in terms[place]:
        return None
    sizes = dict(zip(terms[place], weight.value.shape, strict=True))
    summed = tuple(size for letter, size in sizes.items() if letter not in kept)
    free = tuple(size for letter, size in sizes.items() if letter in kept)

    def again(W: Tensor, x: Tensor) -> Tensor:
        return torch.einsum(equation, *((x, W) if place else (W, x)))

    return Product("einsum", weight, tensors[1 - place].clone(), call.out.clone(), summed, free, again)


def letters_of(equation: str) -> tuple[list[str], str]:
    """Return the terms of an einsum's inputs and its output."""
    inputs, arrow, kept = equation.replace(" ", "").partition("->")
    once = "".join(letter for letter in inputs if letter.isalpha() and inputs.count(letter) == 1)
    return inputs.split(","), kept if arrow else once


def check_lazy(product: Product) -> None:
    """Raise ``ValueError`` for a product of a lazy matrix whose parts cannot be asked for; those of dense ones can."""
    matrix, operation = product.weight.value, product.operation
    if isinstance(matrix, LazyMatrix) and (operation != "linear" or matrix.flipped):
        turned = " of its transpose" if matrix.flipped else ""
        raise ValueError(
            f"{product.weight.parameters[0]}, lazy at shape {tuple(matrix.shape)}, is used by a {operation}{turned}, "
            f"whose parts cannot be measured there: {UNBUILT}"
        )


MATMULS: tuple[Callable[..., Any], ...] = (
    torch.matmul,
    torch.Tensor.matmul,
    torch.Tensor.__matmul__,
    torch.Tensor.__rmatmul__,
    torch.mm,
    torch.Tensor.mm,
    torch.bmm,
    torch.Tensor.bmm,
    torch.mv,
    torch.Tensor.mv,
    torch.dot,
    torch.Tensor.dot,
)
EINSUM: Callable[..., Any] = torch.einsum
LOOKUPS: tuple[Callable[..., Any], ...] = (functional.embedding, torch.embedding)
LAYERS: Mapping[Callable[..., Any], Callable[[Call], Product | None]] = {
    functional.linear: _linear,
    **dict.fromkeys((functional.conv1d, functional.conv2d, functional.conv3d), _convolution(CONVOLUTION)),
    **dict.fromkeys(
        (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d),
        _convolution(TRANSPOSED),
    ),
    **dict.fromkeys(LOOKUPS, _embedding),
}
"""Functions that are uses of their weight even where everything else is made of parameters, too."""
PRODUCTS: Mapping[Callable[..., Any], Callable[[Call], Product | None]] = {
    **LAYERS,
    **dict.fromkeys(MATMULS, _matmul),
    **dict.fromkeys((torch.addmm, torch.Tensor.addmm), _addmm),
    EINSUM: _einsum,
    torch.Tensor.__getitem__: _indexing,
}
"""How to read the product from a call of each function. A reader returns None where the call is no such product."""
