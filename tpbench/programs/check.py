"""Is it a Tensor Program? Names, kinds and widths by reading it, functions by evaluating them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from tpbench.programs.instructions import (
    Binding,
    Constant,
    Function,
    GaussianMatrix,
    Gaussians,
    Kind,
    MatMul,
    Moment,
    Nonlin,
    Width,
    bound_names,
)

if TYPE_CHECKING:
    from torch import Tensor

KINDS: Mapping[type, Kind] = {
    Gaussians: Kind.VECTOR,
    GaussianMatrix: Kind.MATRIX,
    Constant: Kind.SCALAR,
    MatMul: Kind.VECTOR,
    Nonlin: Kind.VECTOR,
    Moment: Kind.SCALAR,
}
ROUNDING = 1e-9
"""Share of the largest variance by which an eigenvalue of a covariance may be below 0, for rounding."""


def kinds_of(bindings: Iterable[Binding]) -> dict[str, Kind]:
    """Return the kind of every name."""
    return {name: KINDS[type(binding)] for binding in bindings for name in bound_names(binding)}


def widths_of(bindings: Iterable[Binding]) -> dict[str, Width]:
    """Return the width of every vector, of bindings that are well formed."""
    matrices, found = {}, {}
    for binding in bindings:
        if isinstance(binding, GaussianMatrix):
            matrices[binding.name] = binding
        elif isinstance(binding, Gaussians):
            found.update(dict.fromkeys(binding.names, binding.width))
        elif isinstance(binding, MatMul):
            matrix = matrices[binding.matrix]
            found[binding.name] = matrix.columns if binding.transposed else matrix.rows
        elif isinstance(binding, Nonlin):
            found[binding.name] = found[binding.vectors[0]]
    return found


def check_structure(bindings: Sequence[Binding], outputs: Sequence[str]) -> None:
    """Raise ``ValueError`` for names bound twice or not at all, and for kinds or widths that do not agree."""
    kinds: dict[str, Kind] = {}
    matrices: dict[str, GaussianMatrix] = {}
    widths: dict[str, Width] = {}
    ratios: dict[str, Width] = {}
    for binding in bindings:
        _check_reads(binding, kinds)
        if isinstance(binding, Gaussians):
            _check_covariance(binding)
        if isinstance(binding, GaussianMatrix):
            matrices[binding.name] = binding
        for width in _new_widths(binding):
            if ratios.setdefault(width.name, width) != width:
                known = f"the ratio {ratios[width.name].ratio} in one place"
                raise ValueError(f"width {width.name!r} has {known} and {width.ratio} in another")
        for name in bound_names(binding):
            if name in kinds:
                raise ValueError(f"{name!r} is bound twice: every value of a program has a name of its own")
            kinds[name] = KINDS[type(binding)]
        widths.update(_checked_widths(binding, matrices, widths))
    if not outputs:
        raise ValueError("a program without outputs computes nothing: name the vectors or scalars that are asked for")
    for name in outputs:
        if kinds.get(name, Kind.MATRIX) is Kind.MATRIX:
            what = "a matrix" if name in kinds else "not bound"
            raise ValueError(f"output {name!r} is {what}: outputs are vectors and scalars of the program")


def _new_widths(binding: Binding) -> tuple[Width, ...]:
    if isinstance(binding, GaussianMatrix):
        return (binding.rows, binding.columns)
    return (binding.width,) if isinstance(binding, Gaussians) else ()


def _check_reads(binding: Binding, kinds: Mapping[str, Kind]) -> None:
    asked: list[tuple[str, Kind]] = []
    if isinstance(binding, MatMul):
        asked = [(binding.matrix, Kind.MATRIX), (binding.vector, Kind.VECTOR)]
    elif isinstance(binding, Nonlin | Moment):
        asked = [(name, Kind.VECTOR) for name in binding.vectors] + [(name, Kind.SCALAR) for name in binding.scalars]
    for name, kind in asked:
        if name not in kinds:
            raise ValueError(f"{bound_names(binding)[0]!r} reads {name!r}, which nothing before it binds")
        if kinds[name] is not kind:
            raise ValueError(f"{bound_names(binding)[0]!r} takes {name!r} for a {kind}, and it is a {kinds[name]}")


def _checked_widths(
    binding: Binding, matrices: Mapping[str, GaussianMatrix], widths: Mapping[str, Width]
) -> dict[str, Width]:
    """Return the widths of what a binding binds; ``ValueError`` where those of what it reads do not agree."""
    if isinstance(binding, Gaussians):
        return dict.fromkeys(binding.names, binding.width)
    if isinstance(binding, MatMul):
        matrix = matrices[binding.matrix]
        into, out = (matrix.rows, matrix.columns) if binding.transposed else (matrix.columns, matrix.rows)
        if widths[binding.vector] != into:
            asked, came = binding.matrix + ("ᵀ" if binding.transposed else ""), widths[binding.vector].name
            raise ValueError(
                f"{asked} {binding.vector} was asked for, and {asked} takes vectors of width {into.name!r}; "
                f"{binding.vector!r} has width {came!r}"
            )
        return {binding.name: out}
    if isinstance(binding, Nonlin | Moment):
        found = {widths[name] for name in binding.vectors}
        if isinstance(binding, Nonlin) and not found:
            raise ValueError(f"{binding.name!r} has no vectors: a function of scalars alone is a Moment")
        if len(found) > 1:
            named = ", ".join(f"{name} ({widths[name].name})" for name in binding.vectors)
            raise ValueError(f"{binding.name!r} takes vectors of several widths coordinate by coordinate: {named}")
        return {binding.name: next(iter(found))} if isinstance(binding, Nonlin) else {}
    return {}


def _check_covariance(binding: Gaussians) -> None:
    covariance = np.array([[float(value) for value in row] for row in binding.covariance])
    lowest, largest = float(np.linalg.eigvalsh(covariance)[0]), float(np.diag(covariance).max())
    if lowest < -ROUNDING * largest:
        named = ", ".join(binding.names)
        raise ValueError(f"the covariance of {named} is not positive semidefinite: it has the eigenvalue {lowest:.3g}")


# --- functions ---------------------------------------------------------------------------------------------------

NEURONS, SEEDS = 6, 2
AGREE = 1e-9
_ROUNDINGS = 64
_CHECKED: WeakKeyDictionary[Function, set[tuple[int, int, bool]]] = WeakKeyDictionary()
"""How a function was found to be one of coordinates: with how many vectors and scalars, for a vector or a number."""


def check_functions(bindings: Iterable[Binding]) -> None:
    """Evaluate every function on a few neurons; ``ValueError`` where it is not one of coordinates.

    It must give a value of the shape of its vectors, the same each time, and for some neurons alone what it gives for
    them among others, in any order.
    """
    for binding in bindings:
        if isinstance(binding, Nonlin | Moment):
            counts = (len(binding.vectors), len(binding.scalars), isinstance(binding, Nonlin))
            done = _CHECKED.setdefault(binding.function, set())
            if counts not in done:
                _check_function(binding, *counts[:2])
                done.add(counts)


def _check_function(binding: Nonlin | Moment, vectors: int, scalars: int) -> None:
    import torch

    cpu, call = torch.device("cpu"), binding.function.call
    draw = torch.Generator(device=cpu).manual_seed(20)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64, device=cpu)

    x, c = [normal(SEEDS, NEURONS) for _ in range(vectors)], [normal(SEEDS, 1) for _ in range(scalars)]
    shape = (SEEDS, NEURONS if vectors else 1)
    before = [each.clone() for each in (*x, *c)]
    whole = _evaluated(binding, call, [*x, *c])
    if any(not torch.equal(was, each) for was, each in zip(before, (*x, *c), strict=True)):
        raise ValueError(f"{_named(binding)} changes its arguments in place, and other instructions read them")
    if whole.shape != shape:
        # A constant is a function of coordinates, too; whoever runs the program broadcasts it.
        if whole.numel() != 1 and whole.shape != (SEEDS, 1):
            raise ValueError(
                f"{_named(binding)} gave a value of shape {tuple(whole.shape)} for vectors of shape {shape}: it must "
                "keep their shape"
            )
        whole = whole.expand(shape)
    order = torch.tensor([4, 1, 5, 0], device=cpu)
    some = [each[:, order] for each in x]
    alone = _evaluated(binding, call, [*some, *c]).expand(SEEDS, len(order) if vectors else 1)
    again = _evaluated(binding, call, [*x, *c]).expand(shape)
    among = whole[:, order] if vectors else whole
    other = _evaluated(binding, call, [each[1:] for each in (*x, *c)]).expand(1, shape[1])
    rounding = _ROUNDINGS * torch.finfo(torch.float64).eps
    for found, wanted, what in (
        (again, whole, "gives another value when it is asked again"),
        (alone, among, "mixes coordinates: some neurons alone give other values than among others"),
        (other, whole[1:], "mixes axes: one seed alone gives other values than beside another"),
    ):
        if not torch.allclose(found, wanted, rtol=AGREE, atol=rounding, equal_nan=True):
            raise ValueError(
                f"{_named(binding)} {what}; a function of a program is one of coordinates, the same for all: "
                "write means over neurons as moments, and draw random vectors as initial ones"
            )


def _evaluated(binding: Nonlin | Moment, call: Callable[..., object], arguments: Sequence[object]) -> Tensor:
    import torch

    cpu = torch.device("cpu")
    try:
        value = call(*arguments)
    except Exception as error:
        raise ValueError(
            f"{_named(binding)} failed on {len(binding.vectors)} vectors and {len(binding.scalars)} scalars, given in "
            f"that order as tensors: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(value, torch.Tensor | int | float):
        raise ValueError(f"{_named(binding)} gave {type(value).__name__}, and a tensor is needed")
    return torch.as_tensor(value, dtype=torch.float64, device=cpu)


def _named(binding: Nonlin | Moment) -> str:
    return f"the function {binding.function.name!r} of {binding.name!r}"
