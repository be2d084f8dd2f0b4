"""Is it a Tensor Program? Names, kinds and widths by reading it, functions by evaluating them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tpbench.programs.coordinatewise import check_function
from tpbench.programs.instructions import (
    Binding,
    Constant,
    GaussianMatrix,
    Gaussians,
    Kind,
    MatMul,
    Moment,
    Nonlin,
    Width,
    bound_names,
)

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


def check_functions(bindings: Iterable[Binding]) -> None:
    """Evaluate every function; ``ValueError`` where it is not one of coordinates (see ``coordinatewise``)."""
    for binding in bindings:
        if isinstance(binding, Nonlin | Moment):
            named = f"the function {binding.function.name!r} of {binding.name!r}"
            check_function(binding.function, len(binding.vectors), len(binding.scalars), named)
