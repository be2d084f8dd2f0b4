"""How a network is trained, as far as the exponents of width depend on it: the optimizer and the alignments.

An update of layer l with step size ``n^(-c)`` on ``w^l``, where ``W^l = n^(-a) w^l``, is in ``W^l``

* SGD (momentum changes no exponent): ``n^(-2a-c) (dL/dh) xᵀ``: it knows the size of the gradient, and ``a`` counts
  twice (arXiv:2011.14522, section 3);
* sign-like (sign descent, Adam, AdamW; "entrywise" in Yang & Littwin 2023, arXiv:2308.01814): entries of size
  ``n^(-a-c)``, whatever the size of the gradient, as long as epsilon is small beside it;
* layerwise normalised (spectral descent, Muon, Shampoo without accumulation): ``n^(-a-c) U Vᵀ``, of spectral norm
  ``n^(-a-c)`` (Yang, Simon & Bernstein 2023, arXiv:2310.17813).

Applied to the layer's input of coordinates of size 1 it moves the pre-activation by a further ``n^contraction``: an
inner product over n coordinates that all agree is of size n; ``U Vᵀ`` takes a vector of length ``sqrt(fan_in)`` to one
of the same length, spread over ``fan_out`` coordinates. All derived here, with every ``x`` of size 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from tpbench.parametrization.table import Role

ZERO, HALF, ONE = Fraction(0), Fraction(1, 2), Fraction(1)


class Family(StrEnum):
    """What an update knows of the gradient."""

    SGD = "sgd"  # SGD, with momentum or without
    ADAM = "adam"  # sign descent, Adam, AdamW: every entry has the size of the learning rate
    SPECTRAL = "spectral"  # spectral descent, Muon: every singular value has the size of the learning rate


@dataclass(frozen=True)
class Law:
    """A family's exponents: how often ``a`` counts, whether the gradient's size counts, and the contraction a role."""

    gauge: int
    gradient: int
    contraction: Mapping[Role, Fraction]


_ENTRYWISE = {Role.INPUT: ZERO, Role.HIDDEN: ONE, Role.OUTPUT: ONE, Role.OUTPUT_BIAS: ZERO}
LAWS: Mapping[Family, Law] = {
    Family.SGD: Law(2, 1, _ENTRYWISE),
    Family.ADAM: Law(1, 0, _ENTRYWISE),
    Family.SPECTRAL: Law(1, 0, {Role.INPUT: -HALF, Role.HIDDEN: ZERO, Role.OUTPUT: HALF, Role.OUTPUT_BIAS: ZERO}),
}


@dataclass(frozen=True)
class Alignment:
    """How inner products over the width grow: n^1 where both sides agree, n^(1/2) where their signs are unrelated.

    ``update_*`` is that of a layer's own update with its input (alpha of Everett et al. 2024, arXiv:2407.05872),
    ``initial_*`` that of its initial weight with the change of its input (their omega).
    """

    update_hidden: Fraction = ONE
    update_output: Fraction = ONE
    initial_hidden: Fraction = HALF
    initial_output: Fraction = ONE

    def __post_init__(self) -> None:
        for name, power in vars(self).items():
            if not HALF <= power <= ONE:
                raise ValueError(f"an alignment lies between 1/2 (none) and 1 (full), got {name} = {power}")

    def update(self, role: Role) -> Fraction:
        """Return how much less than full alignment a role's own update has: 0 to 1/2."""
        lack = {Role.HIDDEN: ONE - self.update_hidden, Role.OUTPUT: ONE - self.update_output}
        return lack.get(role, ZERO)

    def initial(self, role: Role) -> Fraction:
        """Return the growth of the initial weight's inner product with the change of its input."""
        return {Role.HIDDEN: self.initial_hidden, Role.OUTPUT: self.initial_output}.get(role, ZERO)


TENSOR_PROGRAMS = Alignment()
"""What the Master Theorem gives: updates fully aligned, a hidden Gaussian matrix not, the read-out fully."""
READOUT_UNALIGNED = Alignment(initial_output=HALF)
"""The reading of Everett et al. 2024 (arXiv:2407.05872): features do not align with the initial read-out."""
NO_ALIGNMENT = Alignment(HALF, HALF, HALF, HALF)

ALIGNMENTS: Mapping[str, Alignment] = {
    "tensor-programs": TENSOR_PROGRAMS,
    "readout-unaligned": READOUT_UNALIGNED,
    "none": NO_ALIGNMENT,
    "full": Alignment(ONE, ONE, ONE, ONE),
}


@dataclass(frozen=True)
class Rule:
    """An optimizer and what it assumes.

    ``zero_output``: the read-out starts at 0 (only its updates send a signal back). ``epsilon``: epsilon of a role is
    ``n^(-e)`` times a constant; a role without entry (None: all of them) has an epsilon that is small beside its
    gradient at every width. ``decay``: weight decay of a role is ``n^(-d)`` times a constant, so that a step shrinks
    weights by ``n^(-c-d)``; a role without entry shrinks by as much at every width.
    """

    family: Family = Family.SGD
    alignment: Alignment = TENSOR_PROGRAMS
    zero_output: bool = False
    epsilon: Mapping[Role, Fraction] | None = None
    decay: Mapping[Role, Fraction] | None = None

    def __post_init__(self) -> None:
        if self.epsilon and self.family is not Family.ADAM:
            raise ValueError(f"epsilon belongs to sign-like optimizers, and this one is {self.family}: leave it out")

    @property
    def law(self) -> Law:
        return LAWS[self.family]


SGD = Rule()
ADAM = Rule(Family.ADAM)
SPECTRAL = Rule(Family.SPECTRAL)
RULES: Mapping[str, Rule] = {
    "sgd": SGD,
    "sign": ADAM,
    "adam": ADAM,
    "adamw": ADAM,
    "spectral": SPECTRAL,
    "muon": SPECTRAL,
}
"""Optimizers by the name that users give them."""
