"""The abc symmetry: which tables are one network, written differently; and rates under which every layer learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from tpbench.parametrization.predict import movement
from tpbench.parametrization.rule import SGD, Rule
from tpbench.parametrization.table import Parametrization, Role, role_of


def shifted(p: Parametrization, shifts: Mapping[Role, Fraction], rule: Rule = SGD) -> tuple[Parametrization, Rule]:
    """Return the table and rule after ``a -> a + θ`` for the roles in ``shifts``: the same function and training.

    ``b -> b - θ``; ``c -> c - 2θ`` under SGD and ``c - θ`` under optimizers that normalise the gradient. The entries of
    the gradient of w shrink by n^(-θ), so epsilon's exponent follows (``e + θ``), and weight decay keeps what a
    step shrinks (``d`` moves against ``c``).
    """
    table, gauge = p, rule.law.gauge
    for role, theta in shifts.items():
        table = table.shifted(role, theta, gauge)
    epsilon = None if rule.epsilon is None else {r: e + shifts.get(r, Fraction(0)) for r, e in rule.epsilon.items()}
    decay = None if rule.decay is None else {r: d + gauge * shifts.get(r, Fraction(0)) for r, d in rule.decay.items()}
    return table, replace(rule, epsilon=epsilon, decay=decay)


def roles(p: Parametrization) -> tuple[Role, ...]:
    """Return the roles of the weights that a table describes."""
    return tuple(role for role in (Role.INPUT, Role.HIDDEN, Role.OUTPUT) if role is not Role.HIDDEN or p.hidden)


def canonical(p: Parametrization, rule: Rule = SGD) -> tuple[Parametrization, Rule]:
    """Return the table of the same equivalence class that has no multipliers (a = 0), with its rule."""
    return shifted(p, {role: -p.of(role).a for role in (*roles(p), Role.OUTPUT_BIAS)}, rule)


def equivalent(p: Parametrization, q: Parametrization, rule: Rule = SGD) -> bool:
    """Return whether two tables are the same up to shifts, each layer for itself: one function, one training."""
    mine, other = canonical(p, rule)[0], canonical(q, rule)[0]
    return replace(mine, name=other.name, source=other.source) == other


def with_maximal_rates(p: Parametrization, depth: int, rule: Rule = SGD) -> Parametrization:
    """Return the table with the largest stable rate of every layer on its own: every ``r_l = 0``.

    These are the learning-rate exponents a layer of Everett et al. 2024 (arXiv:2407.05872): for sign-like optimizers
    ``c = contraction - a``. Whether the read-out then passes on too much (``a + b + r < 1``, as under SP) is
    another question, which depends on the alignment of the read-out.
    """
    found = p
    for layer in (depth + 1, *range(1, depth + 1)):  # the read-out first: under SGD the others see its rate
        role = role_of(layer, depth)
        too_slow = movement(found, layer, depth, rule=rule)
        found = found.replacing(role, c=found.of(role).c - too_slow)
    return found
