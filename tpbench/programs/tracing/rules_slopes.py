"""Rules of backward passes that are no products yet: a gradient times a derivative.

As products they keep the gradient's order of growth, which is n^-1 or less, out of the functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from tpbench.programs.tracing.axes import Table, mapped, wide
from tpbench.programs.tracing.call import Call, Rule
from tpbench.programs.tracing.numbers import exactly
from tpbench.programs.tracing.rules_numbers import compared, product_of
from tpbench.programs.tracing.values import ONE, ONES, Base, Sum, add, multiply


def _tanh_backward(call: Call) -> Table:
    output, axes = call.tensor("output"), call.tensor("output").axes
    slope = mapped(lambda y: _one_minus_square(call, y, wide(axes)), axes, output)
    return product_of(call, call.tensor("grad_output"), slope)


def _one_minus_square(call: Call, value: Sum, ratios: tuple[Fraction, ...]) -> Sum:
    base: Base = (None, ONE, ONES)[len(ratios)]
    one: Sum = {(base, (), Fraction(0)): Fraction(1)}
    return add(one, multiply(call.build, value, value, ratios), Fraction(-1))


def _sigmoid_backward(call: Call) -> Table:
    output, axes = call.tensor("output"), call.tensor("output").axes
    slope = mapped(
        lambda y: add(y, multiply(call.build, y, y, wide(axes)), Fraction(-1)),
        axes,
        output,
    )
    return product_of(call, call.tensor("grad_output"), slope)


def _threshold_backward(call: Call) -> Table:
    mask = compared(call, "gt", call.tensor("self"), call.plain("threshold"))
    return product_of(call, call.tensor("grad_output"), mask)


def _leaky_backward(call: Call) -> Table:
    """g (slope + (1 − slope) [x > 0])."""
    own, slope = call.tensor("self"), call.plain("negative_slope")
    axes = own.axes
    base: Base = (None, ONE, ONES)[len(wide(axes))]
    mask = compared(call, "gt", own, 0.0)
    number = exactly(slope)
    level: Sum = {(base, (), Fraction(0)): number} if number else {}
    return product_of(call, call.tensor("grad_output"), mapped(lambda m: add(level, m, exactly(1 - slope)), axes, mask))


SLOPES: Mapping[str, Rule] = {
    "tanh_backward": _tanh_backward,
    "sigmoid_backward": _sigmoid_backward,
    "threshold_backward": _threshold_backward,
    "leaky_relu_backward": _leaky_backward,
}
