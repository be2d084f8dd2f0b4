"""What theory predicts from an abc table: exponents, stability, regime, what the kernel contains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from fractions import Fraction

from tpbench.parametrization.table import Parametrization, Role, did_you_mean

HALF = Fraction(1, 2)


class Regime(StrEnum):
    """The dynamical dichotomy (arXiv:2011.14522, section 3), and its two ways out."""

    UNSTABLE = "unstable"
    TRIVIAL = "trivial"
    KERNEL = "kernel"
    FEATURE_LEARNING = "feature learning"


def backward_exponent(p: Parametrization, *, first_step: bool = False) -> Fraction:
    """Return g: the coordinates of dL/dh^l are of size n^(-g).

    The read-out seen by the backward pass is ``W_0 + ΔW``: ``W_0`` has coordinates n^(-(a+b)), and each update adds
    n^(-(2a+c)) x^L. Before the first update only ``W_0`` is there.
    """
    initial = p.output.a + p.output.b
    return initial if first_step else min(initial, 2 * p.output.a + p.output.c)


def movement(p: Parametrization, layer: int, depth: int, *, first_step: bool = False) -> Fraction:
    """Return r_l of a hidden layer: its own update moves its pre-activation by ΔW^l x ~ n^(-r_l).

    ``ΔW^l x = -eta n^(-c-2a) (dL/dh^l) <x^{l-1}, x>``; the inner product is of size n for l >= 2 and 1 for l = 1.
    """
    e = p.layer(layer, depth)
    inner = Fraction(0 if layer == 1 else 1)
    return backward_exponent(p, first_step=first_step) + e.c + 2 * e.a - inner


def least_movement(p: Parametrization, depth: int, *, first_step: bool = False, upto: int | None = None) -> Fraction:
    """Return r = min over hidden layers 1 … ``upto`` (all of them by default) of r_l."""
    last = depth if upto is None else upto
    return min(movement(p, layer, depth, first_step=first_step) for layer in range(1, last + 1))


def _preactivation(p: Parametrization, layer: int, depth: int, first_step: bool) -> Fraction:
    return max(Fraction(0), _preactivation_change(p, layer, depth, first_step))


def _preactivation_change(p: Parametrization, layer: int, depth: int, first_step: bool) -> Fraction:
    return -least_movement(p, depth, first_step=first_step, upto=layer)


def _weight_update(p: Parametrization, layer: int, depth: int, first_step: bool) -> Fraction:
    if layer == depth + 1:
        return 1 - 2 * p.output.a - p.output.c
    return -movement(p, layer, depth, first_step=first_step)


def _initial_weight_on_change(p: Parametrization, layer: int, depth: int, first_step: bool) -> Fraction:
    if layer == depth + 1:
        return 1 - (p.output.a + p.output.b) - least_movement(p, depth, first_step=first_step)
    return -least_movement(p, depth, first_step=first_step, upto=layer - 1)


def _output_initial(p: Parametrization, layer: int, depth: int, first_step: bool) -> Fraction:
    return HALF - (p.output.a + p.output.b)


def _output_change(p: Parametrization, layer: int, depth: int, first_step: bool) -> Fraction:
    return max(
        _weight_update(p, depth + 1, depth, first_step),
        _initial_weight_on_change(p, depth + 1, depth, first_step),
    )


EXPONENTS: Mapping[str, Callable[[Parametrization, int, int, bool], Fraction]] = {
    "preactivation": _preactivation,
    "activation": _preactivation,
    "preactivation-change": _preactivation_change,
    "activation-change": _preactivation_change,
    "weight-update": _weight_update,
    "initial-weight-on-change": _initial_weight_on_change,
    "output-initial": _output_initial,
    "output-change": _output_change,
}
"""Quantity -> its exponent, from (parametrization, layer, depth, first_step)."""


def layers_with(quantity: str, depth: int) -> range:
    """Return the layers that have a quantity (a key of ``EXPONENTS``): the read-out's h is the output, x^0 is fixed."""
    first_and_last = {
        "weight-update": (1, depth + 1),
        "initial-weight-on-change": (2, depth + 1),
        "output-initial": (depth + 1, depth + 1),
        "output-change": (depth + 1, depth + 1),
    }
    first, last = first_and_last.get(quantity, (1, depth))
    return range(first, last + 1)


def exponent(
    p: Parametrization, quantity: str, *, depth: int, layer: int | None = None, first_step: bool = False
) -> Fraction:
    """Return the predicted exponent of n of one quantity (a key of ``EXPONENTS``), given the init conditions.

    ``layer`` counts from 1; the read-out is depth + 1 and the default. ``first_step`` asks for the state right
    after the first update, where the backward signal has seen only the initial read-out.
    Raises ``ValueError`` for an unknown quantity, for a layer that does not have it, or where the initialisation
    itself is not O(1).
    """
    if quantity not in EXPONENTS:
        raise ValueError(f"unknown quantity {quantity!r}{did_you_mean(quantity, EXPONENTS)}")
    chosen, having = depth + 1 if layer is None else layer, layers_with(quantity, depth)
    if chosen not in having:
        raise ValueError(
            f"in a network of depth {depth} the layers with a {quantity!r} are {', '.join(map(str, having))}, "
            f"got layer {chosen}"
        )
    broken = [condition for condition in violations(p, depth) if condition.startswith("init")]
    if broken:
        raise ValueError(
            f"parametrization {p.name!r} starts outside the setting of the theory ({'; '.join(broken)}), so no "
            "exponent is predicted for it: correct the a and b of that layer"
        )
    return EXPONENTS[quantity](p, chosen, depth, first_step)


def violations(p: Parametrization, depth: int) -> tuple[str, ...]:
    """Return the stability conditions that the table breaks, as sentences; empty when it is stable."""
    e, out = p.input, p.output
    r = least_movement(p, depth)
    conditions = [(e.a + e.b == 0, f"init: a_1 + b_1 = {e.a + e.b}, must be 0, or h^1 starts at n^{-(e.a + e.b)}")]
    if depth > 1:
        h = p.of(Role.HIDDEN)
        start = HALF - h.a - h.b
        conditions.append((start == 0, f"init: hidden a + b = {h.a + h.b}, must be 1/2, or h^l starts at n^{start}"))
    conditions += [
        (out.a + out.b >= HALF, f"output a + b = {out.a + out.b} < 1/2: f_0 blows up"),
        (r >= 0, f"r = {r} < 0: pre-activations blow up in training"),
        (2 * out.a + out.c >= 1, f"output 2a + c = {2 * out.a + out.c} < 1: the read-out's update blows up"),
        (out.a + out.b + r >= 1, f"output a + b + r = {out.a + out.b + r} < 1: W_0 Δx blows up"),
    ]
    return tuple(text for holds, text in conditions if not holds)


def regime(p: Parametrization, depth: int) -> Regime:
    """Return the regime of a table (arXiv:2011.14522, section 3, in our notation)."""
    if violations(p, depth):
        return Regime.UNSTABLE
    r = least_movement(p, depth)
    moves = 2 * p.output.a + p.output.c == 1 or p.output.a + p.output.b + r == 1
    if not moves:
        return Regime.TRIVIAL
    return Regime.FEATURE_LEARNING if r == 0 else Regime.KERNEL


def kernel_content(p: Parametrization, depth: int) -> tuple[Fraction, ...]:
    """Return, for layers 1 … depth + 1, the exponent of that layer's share of the tangent kernel under NTP.

    A table's kernel is ``Σ_l (n/n0)^(e_l) K_l`` with K_l the layer's term of the NTK: e_l = 0 keeps the term in the
    limit, e_l < 0 drops it. The layer's step is n^(-2a-c), its input n^[l >= 2], its squared backward signal
    n^(1 - 2(a_out + b_out)) relative to NTP. Derived here; SP with lr/n drops the first layer.
    """
    signal = 1 - 2 * (p.output.a + p.output.b)
    steps = [p.layer(layer, depth) for layer in range(1, depth + 2)]
    inner = [Fraction(0)] + [Fraction(1)] * depth
    content = [inner[i] - 2 * e.a - e.c + signal for i, e in enumerate(steps)]
    content[-1] -= signal
    return tuple(content)
