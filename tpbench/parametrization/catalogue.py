"""Every table that a claim trains: the named ones, and families made for one claim each.

``NTP_TO_MUP`` is the segment from NTP (s = 0) to muP (s = 1) in (b, c) space, the family of Yaida 2022
(arXiv:2210.04909): ``b_out = (1 + s)/2`` and ``c = (-s, 1 - s, 1)`` with a = 0, so every ``r_l = (1 - s)/2``.

``CONTENTS`` are tables in the kernel regime, one for each set of layers whose terms the limiting kernel of a network
with two hidden layers can have: layer l's is there when ``b_out + r_l = 1``, the read-out's when ``c_out = 1``.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from fractions import Fraction

from tpbench.parametrization.files import NAMED
from tpbench.parametrization.rule import HALF, ONE, ZERO
from tpbench.parametrization.sample import sample
from tpbench.parametrization.table import Exponents, Parametrization


def three_layer(
    name: str, b: Sequence[Fraction], c: Sequence[Fraction], source: str = "a point of (b, c) space"
) -> Parametrization:
    """Return the table without multipliers (a = 0) that has (b1, b2, b3) and (c1, c2, c3): input, hidden, output."""
    roles = [Exponents(ZERO, one, two) for one, two in zip(b, c, strict=True)]
    return Parametrization(name, source, *roles)


STEPS = tuple(Fraction(quarters, 4) for quarters in range(5))
"""The places s on the segment that the claim trains."""


def between(s: Fraction) -> Parametrization:
    """Return the table at s in [0, 1] on the segment from NTP to muP; ``ValueError`` outside it."""
    if not 0 <= s <= 1:
        raise ValueError(f"the segment from NTP (s = 0) to muP (s = 1) ends there, got s = {s}")
    b, c = (ZERO, HALF, (1 + s) / 2), (-s, 1 - s, ONE)
    return three_layer(
        f"s-{float(s):.3g}", b, c, f"the segment from NTP to muP at s = {s}; Yaida 2022, arXiv:2210.04909"
    )


NTP_TO_MUP: Mapping[str, Parametrization] = {table.name: table for table in map(between, STEPS)}


def _content(layers: tuple[int, ...]) -> Parametrization:
    c1, c2 = (ZERO if number in layers else HALF for number in (1, 2))
    c = (c1, c2 + 1, ONE if 3 in layers else Fraction(3, 2))
    name = "kernel-" + "".join(map(str, layers))
    return three_layer(name, (ZERO, HALF, HALF), c, f"a kernel of layers {', '.join(map(str, layers))} alone; derived")


CONTENTS: Mapping[str, Parametrization] = {
    table.name: table
    for size in (1, 2, 3)
    for table in (_content(layers) for layers in itertools.combinations((1, 2, 3), size))
}

CATALOGUE: Mapping[str, Parametrization] = {**NAMED, **NTP_TO_MUP, **CONTENTS, **sample()}
"""Name -> table, of everything that a sweep can name."""
