"""abc tables: exponents a role, the abc symmetry, and the factors that a width puts on a weight."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from typing import Any


class Role(StrEnum):
    """What a weight is to the width."""

    INPUT = "input"
    HIDDEN = "hidden"
    OUTPUT = "output"
    OUTPUT_BIAS = "output_bias"


@dataclass(frozen=True)
class Exponents:
    """``a``: multiplier n^(-a); ``b``: initial standard deviation n^(-b); ``c``: learning rate n^(-c)."""

    a: Fraction
    b: Fraction
    c: Fraction

    def shifted(self, theta: Fraction, gauge: int = 2) -> Exponents:
        """Return the same function and training dynamics, written differently (the abc symmetry).

        ``gauge`` says how often ``a`` counts in an update: 2 for SGD, 1 for optimizers that normalise the gradient.
        """
        return Exponents(self.a + theta, self.b - theta, self.c - gauge * theta)

    def as_config(self) -> dict[str, str]:
        return {"a": str(self.a), "b": str(self.b), "c": str(self.c)}


@dataclass(frozen=True)
class Scale:
    """The factors that a width puts on one weight: multiplier, initial standard deviation, learning rate."""

    multiplier: float
    std: float
    rate: float


WIDTH_FREE = Exponents(Fraction(0), Fraction(0), Fraction(0))


@dataclass(frozen=True)
class Parametrization:
    """An abc table: a name, its source, and exponents a role. ``hidden`` is None for one-hidden-layer tables."""

    name: str
    source: str
    input: Exponents
    hidden: Exponents | None
    output: Exponents
    output_bias: Exponents = WIDTH_FREE

    def of(self, role: Role) -> Exponents:
        """Return the exponents of a role; ``ValueError`` when the table defines no hidden layer."""
        table = {
            Role.INPUT: self.input,
            Role.HIDDEN: self.hidden,
            Role.OUTPUT: self.output,
            Role.OUTPUT_BIAS: self.output_bias,
        }
        found = table[role]
        if found is None:
            raise ValueError(
                f"parametrization {self.name!r} defines no {role} weights, so it describes networks of one hidden "
                f"layer only: use depth 1, or give the table a [{role}] section"
            )
        return found

    def layer(self, layer: int, depth: int) -> Exponents:
        """Return the exponents of layer 1 … depth + 1."""
        return self.of(role_of(layer, depth))

    def replacing(self, role: Role, **exponents: Fraction) -> Parametrization:
        """Return the table with some exponents of one role changed."""
        return self._with(role, replace(self.of(role), **exponents))

    def shifted(self, role: Role, theta: Fraction, gauge: int = 2) -> Parametrization:
        """Return the table with one role shifted along the abc symmetry (see ``Exponents.shifted``)."""
        return self._with(role, self.of(role).shifted(theta, gauge))

    def _with(self, role: Role, exponents: Exponents) -> Parametrization:
        changes: dict[str, Any] = {role.value: exponents}
        return replace(self, **changes)

    def as_config(self) -> dict[str, Any]:
        """Return the table as a JSON object; ``from_config`` is the inverse."""
        config: dict[str, Any] = {"name": self.name, "source": self.source}
        for role in Role:
            exponents = getattr(self, role.value)
            if exponents is not None:
                config[role.value] = exponents.as_config()
        return config


def role_of(layer: int, depth: int) -> Role:
    """Return the role of layer 1 … depth + 1 of a network with ``depth`` hidden layers."""
    if not 1 <= layer <= depth + 1:
        raise ValueError(f"a network of depth {depth} has layers 1 to {depth + 1}, got layer {layer}")
    if layer == 1:
        return Role.INPUT
    return Role.OUTPUT if layer == depth + 1 else Role.HIDDEN


def scale(parametrization: Parametrization, role: Role, width: int, base_width: int = 1) -> Scale:
    """Return the width factors of a role, relative to a base width at which every factor is 1.

    At the base width all parametrizations are one network. Raises ``ValueError`` for a width below 1.
    """
    if width < 1 or base_width < 1:
        raise ValueError(f"a width is at least 1: got width {width} and base width {base_width}")
    exponents, ratio = parametrization.of(role), width / base_width
    return Scale(*(ratio ** -float(power) for power in (exponents.a, exponents.b, exponents.c)))


def did_you_mean(word: str, known: Mapping[str, object]) -> str:
    """Return how to go on after an unknown word: the nearest known one, and all of them."""
    near = difflib.get_close_matches(word, list(known), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{hint} (known: {', '.join(known)})"
