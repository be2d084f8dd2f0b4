"""What theory says of every layer of a user's model: one prediction a layer, quantity and step.

A layer's *place* decides its role in the abc table; the table, the optimizer's family and whether the read-out starts
at 0 decide the exponents (``tpbench.parametrization.role_exponents``). The gauge does not matter: all that is compared
are sizes of W x, ΔW x and W_0 Δx.

What was chosen before any model was measured:

* ``TOLERANCE`` 0.2, since the errors that people make are powers of n^(1/2); ``SHARP`` 0.1 for pre-activations of
  hidden and first layers at the start, whose size the law of large numbers fixes to a few per cent.
* A layer's own update is judged as an equality: too little is as wrong as too much; under SGD relative to what the
  loss sends back (``signal``), which theory takes for a number of size 1. Sums of several causes (W_0 Δx, the
  change of pre-activations, logits) mix powers and signs, so they are judged as bounds: they must not grow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from tpbench.bench.claim import ABSENT, Kind, Prediction, Side
from tpbench.check.measurements import Layer, Measurements, Place
from tpbench.parametrization import (
    Family,
    Parametrization,
    Role,
    Rule,
    analyse,
    role_exponents,
    violations,
    with_maximal_rates,
)

TOLERANCE, SHARP = 0.2, 0.1
RIVAL = 0.5
"""How far from the prediction the rival lies: exponents of the theory differ by halves."""
HALF = Fraction(1, 2)

ROLES: Mapping[Place, Role] = {
    Place.INPUT: Role.INPUT,
    Place.VECTOR: Role.INPUT,
    Place.HIDDEN: Role.HIDDEN,
    Place.OUTPUT: Role.OUTPUT,
    Place.FIXED: Role.OUTPUT_BIAS,
}
"""What each place is in an abc table: a bias or gain of neurons is an input weight on a constant."""

EXPECTED_START = "expected-preactivation"
"""The size that W x has at the start over all W of that size, which has next to no noise: W and x are independent."""
SCALE = "attention-scale"
"""What multiplies q·k in an attention, times the number of terms of that sum: exact."""
DECAY = "decay-a-step"
"""The share of its weights that a step takes from a parameter, from the optimizer's settings: rate times decay."""
DECOUPLED = ("SGD", "AdamW", "Muon", "Lion")
"""Optimizers of which a step multiplies weights by 1 - rate x decay exactly, momentum aside."""


def table_for(table: Parametrization, family: Family) -> Parametrization:
    """Return the table that a user of an optimizer family means.

    A table that is maximal under SGD (muP, mean field: every layer has its maximal stable learning rate and moves what
    it computes) is meant to be so under every optimizer: its c are replaced by those of the family. Any other table is
    taken as it is written.
    """
    depth = depth_of(table)
    if family is Family.SGD or not analyse(table, depth).maximal:
        return table
    return with_maximal_rates(table, depth, Rule(family))


def depth_of(table: Parametrization) -> int:
    """Return the hidden layers that a table can be asked about: one where it says nothing of hidden matrices."""
    return 1 if table.hidden is None else 2


@dataclass(frozen=True)
class Theory:
    """A table under a rule: its exponents after training and after the first step, (role, quantity) -> power of n."""

    table: Parametrization
    rule: Rule
    late: Mapping[tuple[Role, str], Fraction]
    first: Mapping[tuple[Role, str], Fraction]
    stable: bool

    def step_size(self, place: Place) -> Fraction:
        """Return the power of n of learning rate times multiplier(s) that the table gives to a place."""
        e = self.table.of(ROLES[place])
        return -(self.rule.law.gauge * e.a + e.c)


def theory_of(table: Parametrization, family: Family, *, zero_output: bool = False) -> Theory:
    """Return what a table predicts for a family of optimizers; ``ValueError`` where its init is outside the theory."""
    meant, rule = table_for(table, family), Rule(family, zero_output=zero_output)
    late = role_exponents(meant, rule)
    first = role_exponents(meant, rule, first_step=True)
    return Theory(meant, rule, late, first, not violations(meant, depth_of(meant), rule))


@dataclass(frozen=True)
class Saying:
    """What is predicted of one layer's quantity at one step."""

    power: Fraction
    side: Side = Side.EQUAL
    tolerance: float = TOLERANCE


@dataclass(frozen=True)
class Question:
    """A quantity at a step, and how to find what theory says of a layer there (None: nothing)."""

    quantity: str
    step: int
    says: Callable[[Theory, Layer, int, Measurements], Saying | None]


def questions(measurements: Measurements, *, decay: bool = True) -> tuple[Question, ...]:
    """Return what is asked of every layer, at the recorded steps; without ``decay``, its decay must only not grow."""
    last, steps = measurements.record[-1], [step for step in (1,) if step in measurements.record[:-1]]
    return (
        Question("preactivation", 0, _at_the_start),
        Question(EXPECTED_START, 0, _output_expected),
        Question(SCALE, 0, _scale),
        *(Question("weight-update", step, _update) for step in (*steps, last)),
        Question("initial-weight-on-change", last, _carried),
        *(Question("preactivation-change", step, _logits_change) for step in steps),
        Question("preactivation-change", last, _change),
        Question("shrinkage", last, _shrinkage),
        Question(DECAY, ABSENT, _decay if decay else _decay_bounded),
    )


def prediction(name: str, question: Question, layer: Layer, saying: Saying) -> Prediction:
    """Return a saying as a prediction that can be estimated and judged."""
    power = float(saying.power)
    return Prediction(
        name,
        question.quantity,
        Kind.EXPONENT,
        power,
        power + RIVAL,
        saying.tolerance,
        layer.number,
        question.step,
        saying.side,
    )


def says(theory: Theory, layer: Layer, question: Question, measurements: Measurements) -> Saying | None:
    """Return what theory says of a layer's quantity, or None."""
    return question.says(theory, layer, question.step, measurements)


def _at_the_start(theory: Theory, layer: Layer, step: int, measurements: Measurements) -> Saying | None:
    if layer.place is Place.LOGITS:
        return Saying(Fraction(0), Side.AT_MOST) if theory.stable else None
    if layer.place in (Place.INPUT, Place.HIDDEN):
        return Saying(Fraction(0), tolerance=SHARP)
    if layer.place is Place.OUTPUT:
        return _output_at_the_start(theory, layer)
    return None


def _output_at_the_start(theory: Theory, layer: Layer) -> Saying | None:
    """Return what is said of the output f_0.

    Where the read-out's updates outweigh its start, any smaller start trains alike after the first steps, so the
    exponent is a bound. Not under SGD: there the start is the signal that goes back at first, and every layer behind
    it would be late (exactly 0 is a case of its own, ``zero_output``). A tied read-out meets in its input the very
    vectors that it is made of: its inner products are larger by n^(1/2) than those of an independent matrix.
    """
    if layer.inner:  # no output of the model: all that is asked is that what comes next is finite
        return Saying(Fraction(0), Side.AT_MOST)
    start = theory.first.get((Role.OUTPUT, "output-initial"))
    if start is None:
        return None
    if layer.tied:
        return Saying(start + HALF, Side.AT_MOST)
    outweighed = theory.late[Role.OUTPUT, "weight-update"] >= start + HALF and not theory.rule.law.gradient
    return Saying(start, Side.AT_MOST if outweighed else Side.EQUAL)


def _output_expected(theory: Theory, layer: Layer, step: int, measurements: Measurements) -> Saying | None:
    """Return the same of f_0's expected size, sharper, for read-outs that are independent of their input."""
    said = _output_at_the_start(theory, layer) if layer.place is Place.OUTPUT and not layer.tied else None
    return None if said is None else replace(said, tolerance=SHARP)


def _scale(theory: Theory, layer: Layer, step: int, measurements: Measurements) -> Saying | None:
    """Return the bound on an attention's scale times d.

    Training moves q by n^(-r) along k, which moves q·k by d n^(-r); at the start q·k is of size d^(1/2). So scale times
    d is at most n^(min(r, 1/2)): 1/d where features are learned, 1/sqrt(d) in the kernel regime of r = 1/2.
    """
    moves = theory.late.get((Role.HIDDEN, "preactivation-change"))
    if layer.place is not Place.LOGITS or not theory.stable or moves is None:
        return None
    return Saying(min(-moves, HALF), Side.AT_MOST)


def _update(theory: Theory, layer: Layer, step: int, measurements: Measurements) -> Saying | None:
    if layer.place is Place.LOGITS:
        return None
    table = theory.first if step == 1 else theory.late
    power = table.get((ROLES[layer.place], "weight-update"))
    if power is None:
        return None
    other = layer.place is Place.FIXED and not _belongs_to_output(layer, measurements)
    return Saying(power, Side.AT_MOST if other else Side.EQUAL)


def _belongs_to_output(layer: Layer, measurements: Measurements) -> bool:
    """Return whether a parameter of fixed size is the bias of a read-out; of others the tables say nothing."""
    module = layer.parameter.rpartition(".")[0]
    return any(o.place is Place.OUTPUT and o.parameter.rpartition(".")[0] == module for o in measurements.layers)


def _carried(theory: Theory, layer: Layer, step: int, measurements: Measurements) -> Saying | None:
    if layer.place not in (Place.HIDDEN, Place.OUTPUT):
        return None
    power = (theory.first if step == 1 else theory.late).get((ROLES[layer.place], "initial-weight-on-change"))
    return None if power is None else Saying(power, Side.AT_MOST)


def _change(theory: Theory, layer: Layer, step: int, measurements: Measurements) -> Saying | None:
    if layer.place is Place.LOGITS:
        return _logits_change(theory, layer, step, measurements)
    quantity = {Place.HIDDEN: "preactivation-change", Place.OUTPUT: "output-change"}.get(layer.place)
    if quantity is None:
        return None
    power = (theory.first if step == 1 else theory.late).get((ROLES[layer.place], quantity))
    return None if power is None else Saying(power, Side.AT_MOST)


def _logits_change(theory: Theory, layer: Layer, step: int, measurements: Measurements) -> Saying | None:
    if layer.place is not Place.LOGITS or not theory.stable:
        return None
    return Saying(Fraction(0), Side.AT_MOST)


def _shrinkage(theory: Theory, layer: Layer, step: int, measurements: Measurements) -> Saying | None:
    """Return the bound on measured shrinkage, for optimizers whose settings do not tell it."""
    if measurements.optimizer in DECOUPLED or not decays(layer, measurements):
        return None
    return Saying(Fraction(0), Side.AT_MOST)


def _decay(theory: Theory, layer: Layer, step: int, measurements: Measurements) -> Saying | None:
    if measurements.optimizer not in DECOUPLED or not decays(layer, measurements):
        return None
    return Saying(Fraction(0))


def _decay_bounded(theory: Theory, layer: Layer, step: int, measurements: Measurements) -> Saying | None:
    """Return the bound that a limit asks for; that hyperparameters carry over asks for the equality."""
    said = _decay(theory, layer, step, measurements)
    return None if said is None else replace(said, side=Side.AT_MOST)


def decays(layer: Layer, measurements: Measurements) -> bool:
    """Return whether the optimizer decays a layer's parameter at every width."""
    scaling = measurements.scalings.get(layer.parameter)
    return scaling is not None and all(scaling.rate[width] * scaling.decay[width] > 0 for width in measurements.widths)
