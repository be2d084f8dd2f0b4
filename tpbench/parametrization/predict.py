"""What theory predicts from an abc table: the exponent of every quantity of every layer, and the limiting kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from tpbench.parametrization.rule import HALF, SGD, Rule
from tpbench.parametrization.table import Parametrization, Role, did_you_mean, role_of


def backward_exponent(p: Parametrization, *, first_step: bool = False, rule: Rule = SGD) -> Fraction:
    """Return g: the coordinates of dL/dh^l are of size n^(-g).

    The read-out seen by the backward pass is ``W_0 + ΔW``: ``W_0`` has coordinates n^(-(a+b)), and each update adds
    those of ``ΔW`` (n^(-(2a+c)) x^L for SGD). Before the first update only ``W_0`` is there; where it is 0 there is
    no signal, and ``ValueError`` is raised.
    """
    initial = p.output.a + p.output.b
    entries = _step(p, Role.OUTPUT, rule) + 1 - rule.law.contraction[Role.OUTPUT]
    update = entries + _damping(p, Role.OUTPUT, first_step, rule)
    if not rule.zero_output:
        return initial if first_step else min(initial, update)
    if first_step:
        raise ValueError("a read-out that starts at 0 sends no signal back at the first step: only it moves")
    return update


def _step(p: Parametrization, role: Role, rule: Rule) -> Fraction:
    e = p.of(role)
    return rule.law.gauge * e.a + e.c


def movement(p: Parametrization, layer: int, depth: int, *, first_step: bool = False, rule: Rule = SGD) -> Fraction:
    """Return r_l of layer 1 … depth + 1: its own update moves its pre-activation by ΔW^l x ~ n^(-r_l).

    For SGD ``ΔW^l x = -eta n^(-c-2a) (dL/dh^l) <x^{l-1}, x>``; the inner product is of size n for l >= 2 and 1 for
    l = 1, and dL/df is of size 1. See ``rule`` for other optimizers.
    """
    return _movement(p, role_of(layer, depth), first_step, rule)


def _movement(p: Parametrization, role: Role, first_step: bool, rule: Rule) -> Fraction:
    contraction = rule.law.contraction[role] - rule.alignment.update(role)
    received = _signal(p, role, first_step, rule)  # also of optimizers that ignore its size: there must be one
    signal = received if rule.law.gradient else Fraction(0)
    return _step(p, role, rule) + signal + _damping(p, role, first_step, rule) - contraction


def _signal(p: Parametrization, role: Role, first_step: bool, rule: Rule) -> Fraction:
    """Return the exponent of dL/dh of a role's layers: dL/df is of size 1."""
    if role in (Role.OUTPUT, Role.OUTPUT_BIAS):
        return Fraction(0)
    return backward_exponent(p, first_step=first_step, rule=rule)


def _damping(p: Parametrization, role: Role, first_step: bool, rule: Rule) -> Fraction:
    """Return by how much epsilon shrinks a sign-like update: (gradient / epsilon), where that is below 1.

    The entries of the gradient of w are n^(-a) (dL/dh) x.
    """
    if not rule.epsilon or role not in rule.epsilon:
        return Fraction(0)
    return max(Fraction(0), p.of(role).a + _signal(p, role, first_step, rule) - rule.epsilon[role])


def arrival(p: Parametrization, layer: int, depth: int, *, first_step: bool = False, rule: Rule = SGD) -> Fraction:
    """Return s_l: all that training has done up to hidden layer l moves h^l by n^(-s_l).

    ``s_1 = r_1``, ``s_l = min(r_l, s_{l-1} + (a_l + b_l) - omega_l)``; with an unaligned hidden matrix
    (omega = 1/2, a + b = 1/2) that is ``min_{m <= l} r_m``.
    """
    found = movement(p, 1, depth, first_step=first_step, rule=rule)
    for number in range(2, layer + 1):
        carried = found + _initial_product(p, role_of(number, depth), rule)
        found = min(carried, movement(p, number, depth, first_step=first_step, rule=rule))
    return found


def _initial_product(p: Parametrization, role: Role, rule: Rule) -> Fraction:
    e = p.of(role)
    return e.a + e.b - rule.alignment.initial(role)


def least_movement(p: Parametrization, depth: int, *, first_step: bool = False, rule: Rule = SGD) -> Fraction:
    """Return r = s_L: training moves the last hidden layer by n^(-r); min over hidden layers of r_l by default."""
    return arrival(p, depth, depth, first_step=first_step, rule=rule)


def _preactivation(p: Parametrization, layer: int, depth: int, first_step: bool, rule: Rule = SGD) -> Fraction:
    return max(Fraction(0), _preactivation_change(p, layer, depth, first_step, rule))


def _preactivation_change(p: Parametrization, layer: int, depth: int, first_step: bool, rule: Rule = SGD) -> Fraction:
    return -arrival(p, layer, depth, first_step=first_step, rule=rule)


def _weight_update(p: Parametrization, layer: int, depth: int, first_step: bool, rule: Rule = SGD) -> Fraction:
    return -movement(p, layer, depth, first_step=first_step, rule=rule)


def _initial_weight_on_change(
    p: Parametrization, layer: int, depth: int, first_step: bool, rule: Rule = SGD
) -> Fraction:
    if layer == depth + 1 and rule.zero_output:
        raise ValueError("the read-out starts at 0, so its initial weight says nothing of a change: there is no W_0 Δx")
    before = arrival(p, layer - 1, depth, first_step=first_step, rule=rule)
    return -before - _initial_product(p, role_of(layer, depth), rule)


def _output_initial(p: Parametrization, layer: int, depth: int, first_step: bool, rule: Rule = SGD) -> Fraction:
    if rule.zero_output:
        raise ValueError("the read-out starts at 0, and so does the output: it has no exponent")
    return HALF - (p.output.a + p.output.b)


def _output_change(p: Parametrization, layer: int, depth: int, first_step: bool, rule: Rule = SGD) -> Fraction:
    own = _weight_update(p, depth + 1, depth, first_step, rule)
    if rule.zero_output:
        return own
    return max(own, _initial_weight_on_change(p, depth + 1, depth, first_step, rule))


EXPONENTS: Mapping[str, Callable[..., Fraction]] = {
    "preactivation": _preactivation,
    "activation": _preactivation,
    "preactivation-change": _preactivation_change,
    "activation-change": _preactivation_change,
    "weight-update": _weight_update,
    "initial-weight-on-change": _initial_weight_on_change,
    "output-initial": _output_initial,
    "output-change": _output_change,
}
"""Quantity -> its exponent, from (parametrization, layer, depth, first_step, rule)."""


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
    p: Parametrization,
    quantity: str,
    *,
    depth: int,
    layer: int | None = None,
    first_step: bool = False,
    rule: Rule = SGD,
) -> Fraction:
    """Return the predicted exponent of n of one quantity (a key of ``EXPONENTS``), given the init conditions.

    ``layer`` counts from 1; the read-out is depth + 1 and the default. ``first_step`` asks for the state right
    after the first update, where the backward signal has seen only the initial read-out.
    Raises ``ValueError`` for an unknown quantity, for a layer that does not have it, for one that is exactly 0 (a
    read-out that starts at 0), or where the initialisation itself is not O(1).
    """
    if quantity not in EXPONENTS:
        raise ValueError(f"unknown quantity {quantity!r}{did_you_mean(quantity, EXPONENTS)}")
    chosen, having = depth + 1 if layer is None else layer, layers_with(quantity, depth)
    if chosen not in having:
        raise ValueError(
            f"in a network of depth {depth} the layers with a {quantity!r} are {', '.join(map(str, having))}, "
            f"got layer {chosen}"
        )
    check_initial_sizes(p, depth)
    return EXPONENTS[quantity](p, chosen, depth, first_step, rule)


def initial_sizes(p: Parametrization, depth: int) -> dict[int, Fraction]:
    """Return, for the input layer and the first hidden one, the exponent of h^l at the start; 0 where it is right.

    Later hidden layers have the exponents of the first, and so repeat what it does.
    """
    found = {1: -(p.input.a + p.input.b)}
    if depth > 1:
        h = p.of(Role.HIDDEN)
        found[2] = HALF - h.a - h.b
    return found


def initial_text(layer: int, power: Fraction) -> str:
    """Return what it means that h^layer starts at n^power, as the condition on a and b that it breaks."""
    name, right, which = ("a_1 + b_1", Fraction(0), "1") if layer == 1 else ("hidden a + b", HALF, "l")
    return f"init: {name} = {right - power}, must be {right}, or h^{which} starts at n^{power}"


def check_initial_sizes(p: Parametrization, depth: int) -> None:
    """Raise ``ValueError`` where the initialisation is not of size 1: no exponent is predicted then."""
    broken = [initial_text(layer, power) for layer, power in initial_sizes(p, depth).items() if power]
    if broken:
        raise ValueError(
            f"parametrization {p.name!r} starts outside the setting of the theory ({'; '.join(broken)}), so no "
            "exponent is predicted for it: correct the a and b of that layer"
        )


def role_exponents(
    p: Parametrization, rule: Rule = SGD, *, first_step: bool = False
) -> Mapping[tuple[Role, str], Fraction]:
    """Return the predicted exponents a role, for networks of any shape: (role, quantity) -> power of n.

    Quantities are keys of ``EXPONENTS``. Where the read-out starts at 0, what is then exactly 0 has no entry: at the
    first step that is everything but the read-out's own update. A bias of the output has its own update only, and
    vectors of neurons (biases, gains) are input weights on a constant. Raises ``ValueError`` as ``exponent`` does.
    """
    depth = 1 if p.hidden is None else 2
    check_initial_sizes(p, depth)
    found = {(Role.OUTPUT_BIAS, "weight-update"): -_movement(p, Role.OUTPUT_BIAS, first_step, rule)}
    for quantity in EXPONENTS:
        for layer in layers_with(quantity, depth):
            role = role_of(layer, depth)
            if not _is_zero(role, quantity, rule, first_step):
                found[role, quantity] = EXPONENTS[quantity](p, layer, depth, first_step, rule)
    return found


AT_THE_START = ("preactivation", "activation", "output-initial")


def _is_zero(role: Role, quantity: str, rule: Rule, first_step: bool) -> bool:
    """Return whether a read-out that starts at 0 makes a quantity exactly 0, or no power of n."""
    if not rule.zero_output:
        return False
    if role is Role.OUTPUT:
        return quantity in ("output-initial", "initial-weight-on-change")
    return first_step and quantity not in AT_THE_START[2:]


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
