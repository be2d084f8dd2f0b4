"""Rules of operations on entries: arithmetic, functions, comparisons."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

from tpbench.programs.functions import power
from tpbench.programs.tracing import formulas
from tpbench.programs.tracing.axes import Table, filled, mapped, wide
from tpbench.programs.tracing.call import Call, Rule, constant
from tpbench.programs.tracing.formulas import Elementwise
from tpbench.programs.tracing.noun import Ref, TraceError
from tpbench.programs.tracing.pointwise import applied, elementwise, over_axes, reciprocal
from tpbench.programs.tracing.values import ONE, ONES, Base, Sum, add, multiply, order, pure, scaled

HALF = Fraction(1, 2)


def _add(call: Call) -> Table:
    alpha = call.number("alpha", 1.0)
    sign = -1 if call.op.name == "sub" else 1
    return mapped(
        lambda a, b: add(a, scaled(b, sign * alpha.number, alpha.power)),
        call.axes(),
        call.tensor("self"),
        call.tensor("other"),
    )


def _rsub(call: Call) -> Table:
    alpha = call.number("alpha", 1.0)
    return mapped(
        lambda a, b: add(b, scaled(a, -alpha.number, alpha.power)),
        call.axes(),
        call.tensor("self"),
        call.tensor("other"),
    )


def product_of(call: Call, one: Table, other: Table) -> Table:
    """Return the product of two tensors, entry by entry."""
    axes = call.axes()
    return mapped(lambda a, b: multiply(call.build, a, b, wide(axes)), axes, one, other)


def _mul(call: Call) -> Table:
    return product_of(call, call.tensor("self"), call.tensor("other"))


def _div(call: Call) -> Table:
    if call.op.arguments.get("rounding_mode") is not None:
        raise TraceError("a division that rounds")
    other = call.tensor("other")
    return product_of(call, call.tensor("self"), function_of(call, other, None))


def _reciprocal(call: Call) -> Table:
    return function_of(call, call.tensor("self"), None)


def _neg(call: Call) -> Table:
    own = call.tensor("self")
    return mapped(lambda a: scaled(a, Fraction(-1)), own.axes, own)


def function_of(call: Call, tensor: Table, asked: Elementwise | None) -> Table:
    """Return a function of a tensor, entry by entry; the reciprocal for None."""
    axes = tensor.axes

    def change(value: Sum, ratio: Fraction | None) -> Sum:
        if asked is None:
            return reciprocal(call.build, value, ratio)
        return elementwise(call.build, asked, value, ratio)

    return mapped(lambda value: over_axes(change, [value], wide(axes)), axes, tensor)


def _named(call: Call) -> Table:
    return function_of(call, call.tensor("self" if "self" in call.op.arguments else "a"), formulas.UNARY[call.op.name])


def compared(call: Call, name: str, tensor: Table, bound: float) -> Table:
    """Return where a tensor compares to a number."""
    degree = Fraction(0) if bound == 0 else None
    return function_of(call, tensor, Elementwise(formulas.comparison(name, bound), degree))


def _leaky(call: Call) -> Table:
    slope = call.plain("negative_slope", 0.01)
    return function_of(call, call.tensor("self"), Elementwise(formulas.leaky(slope), Fraction(1)))


def _compare(call: Call) -> Table:
    own, raw = call.tensor("self"), call.raw("other")
    if isinstance(raw, float) and math.isinf(raw):  # values are finite, so the answer is known
        true = ("ne", "lt", "le") if raw > 0 else ("ne", "gt", "ge")
        return _ones(call) if call.op.name in true else _zero(call)
    other = call.tensor("other")
    level = all(p == 0 for tensor in (own, other) for cell in tensor.cells.flat for *_, p in cell)
    if other.constant and not other.axes and (level or not other.cells.flat[0]):
        return compared(call, call.op.name, own, call.plain("other"))
    difference = mapped(lambda a, b: add(a, b, Fraction(-1)), call.axes(), own, other)
    return compared(call, call.op.name, difference, 0.0)


def _pow(call: Call) -> Table:
    exponent, own = call.plain("exponent"), call.tensor("self")
    special = {0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal"}
    if exponent == 1:
        return own
    if exponent == 2:
        return product_of(call, own, own)
    if exponent in special:
        return function_of(call, own, formulas.UNARY[special[exponent]])
    if exponent == 0:
        return filled(own.axes, lambda _: {((None, ONE, ONES)[len(wide(own.axes))], (), Fraction(0)): Fraction(1)})
    whole = float(exponent).is_integer() and exponent > 0
    function = power(int(exponent)) if whole else formulas.real_power(exponent)
    degree = Fraction(exponent).limit_denominator(64)
    return function_of(call, own, Elementwise(function, degree if float(degree) == exponent else None))


def _clamp(call: Call) -> Table:
    """Bounds are values like others, so that what grows with n can be bounded: max(n a, ε) = n max(a, ε/n)."""
    own = call.tensor("self")
    if all(p == 0 for cell in own.cells.flat for *_, p in cell):
        low = call.plain("min") if call.raw("min") is not None else float("-inf")
        high = call.plain("max") if call.raw("max") is not None else float("inf")
        return function_of(call, own, Elementwise(formulas.clamped(low, high)))
    for name, bound in (("maximum", "min"), ("minimum", "max")):
        if call.raw(bound) is not None:
            own = several(call, name, [own, call.tensor(bound)], (0, 1))
    return own


def _or(call: Call) -> Table:
    """1 − (1 − a)(1 − b)."""
    return several(call, "or", [call.tensor("self"), call.tensor("other")], ())


def several(call: Call, name: str, tensors: list[Table], linear: tuple[int, ...]) -> Table:
    """Return a function of several tensors, which is homogeneous in the ones at ``linear`` together."""
    axes = call.axes()

    def change(*given: Sum | Fraction | None) -> Sum:
        values, ratio = [value for value in given[:-1] if isinstance(value, dict)], given[-1]
        assert ratio is None or isinstance(ratio, Fraction)
        up = max((order(values[i]) for i in linear if values[i]), default=Fraction(0))
        level = [scaled(v, Fraction(1), -up) if i in linear else v for i, v in enumerate(values)]
        first = [i for i, v in enumerate(level) if ratio is not None and not pure(v)]
        orders = [*first, *(i for i in range(len(level)) if i not in first)]
        function = formulas.arranged(name, tuple(orders.index(i) for i in range(len(level))))
        return scaled(applied(call.build, function, [level[i] for i in orders], ratio), Fraction(1), up)

    return mapped(lambda *values: over_axes(change, list(values), wide(axes)), axes, *tensors)


def _where(call: Call) -> Table:
    return several(call, "where", [call.tensor(name) for name in ("condition", "self", "other")], (1, 2))


def _extreme(call: Call) -> Table:
    return several(call, call.op.name, [call.tensor("self"), call.tensor("other")], (0, 1))


def _addc(call: Call) -> Table:
    value, two = call.number("value", 1.0), call.tensor("tensor2")
    if call.op.name == "addcdiv":
        two = function_of(call, two, None)
    found = product_of(call, call.tensor("tensor1"), two)
    return mapped(lambda a, b: add(a, scaled(b, value.number, value.power)), call.axes(), call.tensor("self"), found)


def _lerp(call: Call) -> Table:
    """self + weight (end − self)."""
    own = call.tensor("self")
    step = mapped(lambda a, b: add(b, a, Fraction(-1)), call.axes(), own, call.tensor("end"))
    step = product_of(call, step, call.tensor("weight"))
    return mapped(add, call.axes(), own, step)


def _mask_not(call: Call) -> Table:
    return compared(call, "eq", call.tensor("self"), 0.0)


def _zero(call: Call) -> Table:
    return filled(call.axes(), lambda _: {})


def _ones(call: Call) -> Table:
    base: Base = (None, ONE, ONES)[len(wide(call.axes()))]
    return filled(call.axes(), lambda _: {(base, (), Fraction(0)): Fraction(1)})


def _fill(call: Call) -> Table:
    name = "value" if "value" in call.op.arguments else "fill_value"
    value = call.tensor(name) if _is_ref(call, name) else constant(call.number(name))
    return mapped(lambda a: a, call.axes(), value)


def _is_ref(call: Call, name: str) -> bool:
    return isinstance(call.raw(name), Ref)


def _copy(call: Call) -> Table:
    return call.tensor("src")


NUMBERS: Mapping[str, Rule] = {
    **dict.fromkeys(("add", "sub"), _add),
    **dict.fromkeys(("mul", "logical_and", "bitwise_and"), _mul),
    **dict.fromkeys(("div", "true_divide"), _div),
    **dict.fromkeys(formulas.UNARY, _named),
    **dict.fromkeys(formulas.COMPARISONS, _compare),
    **dict.fromkeys(("maximum", "minimum"), _extreme),
    **dict.fromkeys(("addcmul", "addcdiv"), _addc),
    **dict.fromkeys(("logical_not", "bitwise_not"), _mask_not),
    **dict.fromkeys(("fill", "full_like", "full", "new_full"), _fill),
    **dict.fromkeys(("zero", "zeros_like", "zeros", "new_zeros"), _zero),
    **dict.fromkeys(("ones_like", "ones", "new_ones"), _ones),
    **dict.fromkeys(("logical_or", "bitwise_or"), _or),
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max"), _clamp),
    "rsub": _rsub,
    "neg": _neg,
    "reciprocal": _reciprocal,
    "leaky_relu": _leaky,
    "pow": _pow,
    "square": lambda call: product_of(call, call.tensor("self"), call.tensor("self")),
    "where": _where,
    "lerp": _lerp,
    "copy": _copy,
}
