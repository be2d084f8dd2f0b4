"""What can be wrong with a layer by itself: one rule a cause, each a function of the layer's case."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from tpbench.check.expect import DECAY, ROLES, SCALE
from tpbench.check.exponent import size
from tpbench.check.fault import Case, Cause, Finding, seen
from tpbench.check.measurements import Place
from tpbench.check.own import OFF_START
from tpbench.check.phrases import NOUNS, as_for, lacks, power_text
from tpbench.parametrization import Family

Rule = Callable[[Case], Finding | None]
SAME, SAME_KNOWN = 0.3, 0.15
"""How near two powers of n are to be one fault, as measured and where settings tell that of the update: a multiplier
shifts start and update together."""
LARGE_EPSILON = 0.1
"""Share of the gradient from which on epsilon changes what Adam does."""


def _multiplier(case: Case) -> Finding | None:
    """One wrong multiplier explains start and update: it enters the start once, the update once or (SGD) twice."""
    start, update = case.starts_off, case.updates_off
    if case.layer.tied and case.layer.place is Place.OUTPUT and update:
        start = update / (1 if case.family is not Family.SGD else case.gauge)
    near = SAME_KNOWN if case.knows else SAME
    if not (start and update) or abs(update - case.gauge * start) > near:
        return None
    noun, missing = NOUNS[case.layer.place], power_text(-start)
    tied = (
        " It shares its matrix with the embedding, whose entries are of size 1, so only a multiplier can make it small."
        if case.layer.tied
        else ""
    )
    remedy = " (mup's MuReadout does that)" if case.layer.place is Place.OUTPUT and start > 0 else ""
    return Finding(
        Cause.MULTIPLIER,
        (case.layer.name,),
        seen(case.start_row or case.off["weight-update"], case.layer),
        f"the {noun} {lacks(start, 'a multiplier of')}: start and update are off by one and the same factor.{tied}",
        f"multiply what it gives by a further {missing}{remedy}"
        + ("" if case.layer.tied else ", or scale its initial weights and its learning rate accordingly"),
    )


def _start(case: Case) -> Finding | None:
    start, row = case.starts_off, case.start_row
    if not start or row is None or _multiplier(case):
        return None
    noun = "map into a bottleneck" if case.layer.inner else NOUNS[case.layer.place]
    fan = INNER_START if case.layer.inner else STARTS[case.layer.place]
    weak = case.layer.place is Place.OUTPUT and start < 0
    return Finding(
        Cause.INITIALISATION,
        (case.layer.name,),
        seen(row, case.layer),
        f"the initial standard deviation of this {noun} {lacks(start)}"
        + (": it starts too small, and sends too weak a signal back at first" if weak else ""),
        f"multiply its initial standard deviation by {power_text(-start)}{fan}",
    )


INNER_START = ": that of a map from the width to a fixed size inside the model goes like 1/sqrt(fan_in) at most"
STARTS: Mapping[Place, str] = {
    Place.INPUT: ": that of first layers and embeddings does not depend on the width",
    Place.HIDDEN: ": that of hidden layers goes like 1/sqrt(fan_in), n^-1/2",
    Place.OUTPUT: ", or give the read-out a multiplier (under muP 1/fan_in over all, n^-1), or start it at 0",
}


def _epsilon(case: Case) -> Finding | None:
    share = epsilon_share(case)
    if case.family is not Family.ADAM or not case.measured_off < 0 or not share > LARGE_EPSILON:
        return None
    widest = case.measurements.widths[-1]
    return Finding(
        Cause.EPSILON,
        (case.layer.name,),
        f"{seen(case.off['weight-update'], case.layer)}; at width {widest} epsilon is {share:.2g} times the gradient",
        "epsilon is not small beside the gradient (root mean square of its entries, first step), so a step no longer "
        "has the size of the learning rate but falls with the gradient",
        "make epsilon smaller, or scale it with the width as the gradient goes",
    )


def epsilon_share(case: Case) -> float:
    """Return epsilon over the root mean square of the gradient at the widest width; NaN where either is unknown."""
    scaling, widest = case.measurements.scalings.get(case.layer.parameter), case.measurements.widths[-1]
    sizes = case.judgement.of("gradient", case.layer.number)
    gradient = size(sizes[widest]) if widest in sizes else math.nan
    return math.nan if scaling is None or not gradient > 0 else scaling.epsilon.get(widest, 0.0) / gradient


def _rate(case: Case) -> Finding | None:
    update = case.updates_off
    if not update or _multiplier(case) or _epsilon(case):
        return None
    own = case.own
    assert own is not None  # updates_off is 0 without
    noun = NOUNS[case.layer.place]
    now = "" if math.isnan(own.rate) else f", which goes like {power_text(own.rate)} now,"
    wanted = "" if math.isnan(own.rate) else f" It has to go like {power_text(own.rate - update)}."
    return Finding(
        Cause.LEARNING_RATE,
        (case.layer.name,),
        seen(case.off["weight-update"], case.layer),
        f"the learning rate of this {noun}{now} {lacks(update)}{_confusion(case, update)}",
        f"multiply its learning rate by {power_text(-update)} (a parameter group of its own).{wanted}"
        + _decay_along(case, update),
    )


def _decay_along(case: Case, update: float) -> str:
    """Return what to do with a weight decay that is right at the present learning rate, in words; "" where none is."""
    judged = (row.estimate.prediction for row in case.judgement.result.judged)
    if DECAY in case.off or not any((p.quantity, p.layer) == (DECAY, case.layer.number) for p in judged):
        return ""
    return f" Multiply its weight decay by {power_text(update)}, so that a step takes as much of a weight as now."


def _confusion(case: Case, update: float) -> str:
    """Return which other kind of layer has the scaling that this one was given, in words; "" where none."""
    theory = case.judgement.theory
    given = float(theory.step_size(case.layer.place)) + update
    for place in (Place.HIDDEN, Place.INPUT, Place.OUTPUT):
        role = ROLES[place]
        if role is ROLES[case.layer.place] or (place is Place.HIDDEN and theory.table.hidden is None):
            continue
        if abs(float(theory.step_size(place)) - given) < OFF_START:
            return f": it is scaled like {as_for(place)}"
    return ""


def _decay(case: Case) -> Finding | None:
    row = case.off.get(DECAY) or case.off.get("shrinkage")
    if row is None:
        return None
    value = row.estimate.value
    rate = case.own.rate if case.own else math.nan
    because = "" if math.isnan(rate) else f" (the learning rate alone goes like {power_text(rate)})"
    return Finding(
        Cause.WEIGHT_DECAY,
        (case.layer.name,),
        seen(row, case.layer),
        f"learning rate times weight decay, what a step takes from a weight, goes like {power_text(value)}{because} "
        "and must not depend on the width",
        f"multiply the weight decay of these parameters by {power_text(-value)}" + (FADES if value < 0 else ""),
    )


FADES = (
    "; or waive this with --no-decay (decay=False): the limit exists, but decay fades with the width, and the best one "
    "of a narrow model is not that of a wide one"
)


def _scale(case: Case) -> Finding | None:
    """Blame an attention for its scale, which it has from nobody else."""
    return attention(case) if SCALE in case.off else None


def attention(case: Case) -> Finding | None:
    """Blame an attention whose logits grow."""
    if case.layer.place is not Place.LOGITS or not case.off:
        return None
    at_start = "preactivation" in case.off
    return Finding(
        Cause.ATTENTION,
        (case.layer.name,),
        "; ".join(seen(row, case.layer) for row in case.off.values()),
        "queries and keys become correlated by training, so their inner product over d coordinates grows like d"
        + (" and here is too large already at the start" if at_start else ": 1/sqrt(d) leaves n^1/2"),
        "divide the logits by the head's dimension, 1/d instead of 1/sqrt(d) (scale=1/d)",
    )


RULES: Sequence[Rule] = (_multiplier, _start, _epsilon, _rate, _decay, _scale)
"""Asked in turn of every layer; each blames a layer for what is its own."""
