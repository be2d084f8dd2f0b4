"""Stability, regime, maximality and the distance to the nearest boundary of an abc table under an optimizer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from tpbench.parametrization.predict import arrival, initial_sizes, initial_text, movement
from tpbench.parametrization.rule import HALF, SGD, Rule
from tpbench.parametrization.table import Parametrization, Role


class Regime(StrEnum):
    """The dynamical dichotomy (arXiv:2011.14522, section 3), and its two ways out."""

    UNSTABLE = "unstable"
    TRIVIAL = "trivial"
    KERNEL = "kernel"
    FEATURE_LEARNING = "feature learning"


@dataclass(frozen=True)
class Condition:
    """A condition on a table. ``quantity`` is of size n^(-slack): a bound holds where slack >= 0.

    ``exact`` conditions want slack 0. ``formula`` names the slack's left side, ``blames`` says what goes wrong.
    """

    quantity: str
    slack: Fraction
    formula: str
    blames: str
    exact: bool = False

    @property
    def holds(self) -> bool:
        return self.slack == 0 if self.exact else self.slack >= 0


def conditions(p: Parametrization, depth: int, rule: Rule = SGD) -> tuple[Condition, ...]:
    """Return the conditions of stability: what must be of size 1, and what must not grow (design, section 4).

    Raises ``ValueError`` when the table has no hidden layer and the depth asks for one.
    """
    return (*_at_the_start(p, depth, rule), *_in_training(p, depth, rule), *_of_decay(p, depth, rule))


def _at_the_start(p: Parametrization, depth: int, rule: Rule) -> list[Condition]:
    found = [
        Condition(f"h^{layer} at the start", -power, "a + b", initial_text(layer, power), exact=True)
        for layer, power in initial_sizes(p, depth).items()
    ]
    if not rule.zero_output:
        start = p.output.a + p.output.b
        text = f"output a + b = {start} < 1/2: f_0 blows up"
        found.append(Condition("f_0", start - HALF, "output a + b - 1/2", text))
    return found


def _in_training(p: Parametrization, depth: int, rule: Rule) -> list[Condition]:
    r = arrival(p, depth, depth, rule=rule)
    own = movement(p, depth + 1, depth, rule=rule)
    least = f"output {_gauged(rule)} = {own + 1} < 1" if rule == SGD else f"the read-out's r = {own} < 0"
    found = [
        Condition("Δh", r, "r", f"r = {r} < 0: pre-activations blow up in training"),
        Condition("ΔW x of the read-out", own, "r of the read-out", f"{least}: the read-out's update blows up"),
    ]
    if not rule.zero_output:
        start = p.output.a + p.output.b
        passed = start + r - rule.alignment.initial_output
        name = "output a + b + r" if rule.alignment.initial_output == 1 else "output a + b + r + 1 - omega"
        text = f"{name} = {passed + 1} < 1: W_0 Δx blows up"
        found.append(Condition("W_0 Δx of the read-out", passed, f"{name} - 1", text))
    return found


def _gauged(rule: Rule) -> str:
    return "2a + c" if rule.law.gauge == 2 else "a + c"


def _of_decay(p: Parametrization, depth: int, rule: Rule) -> list[Condition]:
    found = []
    for role in (Role.INPUT, *([Role.HIDDEN] if depth > 1 else []), Role.OUTPUT):
        if rule.decay and role in rule.decay:
            slack = shrinkage(p, role, rule)
            text = f"{role} c + d = {slack} < 0: a step's weight decay blows up"
            found.append(Condition(f"shrinkage of {role} weights", slack, f"{role} c + d", text))
    return found


def shrinkage(p: Parametrization, role: Role, rule: Rule) -> Fraction:
    """Return the exponent s of a step's weight decay: W_0 shrinks by a share of size n^(-s), s = c + d."""
    if not rule.decay or role not in rule.decay:
        return Fraction(0)
    return p.of(role).c + rule.decay[role]


def violations(p: Parametrization, depth: int, rule: Rule = SGD) -> tuple[str, ...]:
    """Return the stability conditions that the table breaks, as sentences; empty when it is stable."""
    return tuple(condition.blames for condition in conditions(p, depth, rule) if not condition.holds)


def regime(p: Parametrization, depth: int, rule: Rule = SGD) -> Regime:
    """Return the regime of a table (arXiv:2011.14522, section 3, in our notation)."""
    found = conditions(p, depth, rule)
    if not all(condition.holds for condition in found):
        return Regime.UNSTABLE
    slacks = {condition.quantity: condition.slack for condition in found}
    moves = [slacks[name] for name in ("ΔW x of the read-out", "W_0 Δx of the read-out") if name in slacks]
    if min(moves) > 0:
        return Regime.TRIVIAL
    return Regime.FEATURE_LEARNING if slacks["Δh"] == 0 else Regime.KERNEL


@dataclass(frozen=True)
class Analysis:
    """What theory says of a table under an optimizer.

    ``moved`` says for layers 1 … depth + 1 whether the layer's own update moves its output by Θ(1). ``maximal``:
    stable, every layer does, and the read-out passes on what moves below it (``a + b + r = 1``): muP and
    its shifts alone. A read-out that starts at 0 passes nothing on, and need not.
    ``boundary`` is the condition that is nearest to changing its sign (None when all that hold are equalities) and
    ``distance`` how far it is, in powers of n of its quantity: what a measured exponent must resolve.
    """

    regime: Regime
    conditions: tuple[Condition, ...]
    moved: tuple[bool, ...]
    maximal: bool
    boundary: Condition | None
    distance: Fraction | None

    @property
    def violations(self) -> tuple[str, ...]:
        """The broken conditions, as sentences."""
        return tuple(condition.blames for condition in self.conditions if not condition.holds)


def analyse(p: Parametrization, depth: int, rule: Rule = SGD) -> Analysis:
    """Return what theory says of a table: regime, which layers move, maximality, the nearest boundary."""
    found = conditions(p, depth, rule)
    stable = all(condition.holds for condition in found)
    moved = tuple(movement(p, layer, depth, rule=rule) == 0 for layer in range(1, depth + 2))
    passed = [condition.slack == 0 for condition in found if condition.quantity == "W_0 Δx of the read-out"]
    boundary = _nearest(found)
    return Analysis(
        regime=regime(p, depth, rule),
        conditions=found,
        moved=moved,
        maximal=stable and all(moved) and all(passed),
        boundary=boundary,
        distance=None if boundary is None else abs(boundary.slack),
    )


def _nearest(found: tuple[Condition, ...]) -> Condition | None:
    """Return the condition nearest to changing its sign.

    A stable table leaves its regime when a bound that it keeps strictly becomes an equality; an unstable one is stable
    only when the worst of its broken conditions is mended.
    """
    broken = [condition for condition in found if not condition.holds]
    if broken:
        return max(broken, key=lambda condition: abs(condition.slack))
    strict = [condition for condition in found if condition.slack != 0]
    return min(strict, key=lambda condition: condition.slack, default=None)
