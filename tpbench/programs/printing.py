"""Programs in the papers' notation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tpbench.programs.instructions import (
    Binding,
    Constant,
    GaussianMatrix,
    Gaussians,
    MatMul,
    Moment,
    Nonlin,
    Number,
    Width,
)
from tpbench.programs.program import Program


def show(program: Program) -> str:
    """Return a program as text: initial data, a line an instruction, and what it is asked for."""
    rows = [_written(binding) for binding in program.bindings]
    left = max(len(text) for text, _ in rows)
    lines = [f"{text:<{left}}  {comment}".rstrip() for text, comment in rows]
    return "\n".join([f"program in {program.fragment}", *lines, f"output {', '.join(program.outputs)}"])


def expression(binding: Nonlin | Moment) -> str:
    """Return what a Nonlin computes, or what is under the mean of a Moment."""
    names = (*binding.vectors, *binding.scalars)
    if binding.function.text:
        return binding.function.text.format(*names)
    vectors, scalars = ", ".join(binding.vectors), ", ".join(binding.scalars)
    return f"{binding.function.name}({'; '.join(part for part in (vectors, scalars) if part)})"


def _written(binding: Binding) -> tuple[str, str]:
    return WRITERS[type(binding)](binding)


def _gaussians(b: Gaussians) -> tuple[str, str]:
    where = "" if b.width == Width() else f", width {_width(b.width)}"
    if len(b.names) == 1:
        return f"{b.names[0]} ~ N({_n(b.mean[0])}, {_n(b.covariance[0][0])})", f"initial vector{where}"
    mean = "0" if not any(b.mean) else f"[{', '.join(map(_n, b.mean))}]"
    identity = all(value == (i == j) for i, row in enumerate(b.covariance) for j, value in enumerate(row))
    rows = "I" if identity else "[" + "; ".join(" ".join(map(_n, row)) for row in b.covariance) + "]"
    return f"{', '.join(b.names)} ~ N({mean}, {rows})", f"initial vectors{where}"


def _matrix(b: GaussianMatrix) -> tuple[str, str]:
    plain = b.rows == b.columns == Width()
    shape = "n × n" if plain else f"{_width(b.rows)} × {_width(b.columns)}"
    variance = _n(b.variance)
    over = f"({variance})" if "/" in variance else variance
    return f"{b.name} ~ N(0, {over}/{b.columns.name})", f"matrix, {shape}"


def _constant(b: Constant) -> tuple[str, str]:
    power = "" if b.power == 0 else f" n^({b.power})"
    return f"{b.name} = {_n(b.value)}{power}", "scalar"


def _matmul(b: MatMul) -> tuple[str, str]:
    return f"{b.name} = {b.matrix}{'ᵀ' if b.transposed else ''} {b.vector}", "MatMul"


def _nonlin(b: Nonlin) -> tuple[str, str]:
    return f"{b.name} = {expression(b)}", "Nonlin"


def _moment(b: Moment) -> tuple[str, str]:
    if not b.vectors:
        return f"{b.name} = {expression(b)}", "of scalars"
    return f"{b.name} = ⟨{expression(b)}⟩", "Moment"


WRITERS: Mapping[type, Callable[..., tuple[str, str]]] = {
    Gaussians: _gaussians,
    GaussianMatrix: _matrix,
    Constant: _constant,
    MatMul: _matmul,
    Nonlin: _nonlin,
    Moment: _moment,
}


def _n(number: Number) -> str:
    return f"{number:.6g}" if isinstance(number, float) else str(number)


def _width(width: Width) -> str:
    return width.name if width.ratio == 1 else f"{width.name} = {width.ratio} n"
