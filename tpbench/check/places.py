"""Which axes of a use grow with the width, and which place among the layers that gives it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tpbench.check.exponent import power
from tpbench.check.measurements import Layer, Place
from tpbench.check.uses import Use

PLACES: Mapping[tuple[bool, bool], Place] = {
    (False, True): Place.INPUT,
    (True, True): Place.HIDDEN,
    (True, False): Place.OUTPUT,
    (False, False): Place.FIXED,
}
"""Place of a product by whether its fan-in and its fan-out grow. What is summed over decides, not the tensor's shape:
the read-out use of a tied embedding is an output, and a depthwise convolution, whose sums stay short, is an input."""


def layers_of(by_width: Mapping[int, Sequence[Use]]) -> tuple[Layer, ...]:
    """Return the layers from the uses of the first pass at every width.

    Raises ``ValueError`` where widths use different things, where an axis is neither constant nor proportional to the
    width, or where nothing grows.
    """
    widths = tuple(by_width)
    narrow = by_width[widths[0]]
    for width, uses in by_width.items():
        _check_same(narrow, uses, widths[0], width)
    across = [[by_width[width][number] for width in widths] for number in range(len(narrow))]
    places = [_place(uses, widths) for uses in across]
    if not any(place in (Place.INPUT, Place.HIDDEN, Place.OUTPUT, Place.VECTOR) for place in places):
        raise ValueError(
            f"no parameter that the model uses grows between the widths {', '.join(map(str, widths))}: the factory "
            "must build the model at the width that it is called with"
        )
    return tuple(
        Layer(
            number,
            use.name,
            places[number],
            use.operation,
            use.parameters[0] if use.parameters else "",
            tuple(other.name for other in narrow if other is not use and set(other.parameters) & set(use.parameters)),
            math.prod(use.fan_in),
            math.prod(use.fan_out),
            power({width: np.array([found.multiplier]) for width, found in zip(widths, across[number], strict=True)}),
            _is_inner(number, narrow, places),
            any(_is_rounded(sizes, widths) for sizes in _axes(across[number])),
        )
        for number, use in enumerate(narrow)
    )


def _is_inner(number: int, uses: Sequence[Use], places: Sequence[Place]) -> bool:
    """Return whether a map to a fixed size is one into a bottleneck: a later product leads out of a fixed size again.

    That does not hold of embeddings, which read numbers of tokens and no output of another layer.
    """
    later = zip(uses[number + 1 :], places[number + 1 :], strict=True)
    return places[number] is Place.OUTPUT and any(
        place is Place.INPUT and use.operation != "embedding" for use, place in later
    )


def _check_same(narrow: Sequence[Use], uses: Sequence[Use], first: int, width: int) -> None:
    here, there = [use.identity for use in narrow], [use.identity for use in uses]
    if here == there:
        return
    number = next(
        (place for place, (one, other) in enumerate(zip(here, there, strict=False)) if one != other),
        min(len(here), len(there)),
    )
    at_first, at_width = (
        f"{found[number][0]} ({found[number][1]})" if number < len(found) else "nothing more" for found in (here, there)
    )
    raise ValueError(
        f"use number {number + 1} of the forward pass is {at_first} at width {first} and {at_width} at width {width}: "
        "the factory must build one architecture, with the same number of layers at every width"
    )


def _place(uses: Sequence[Use], widths: Sequence[int]) -> Place:
    if not uses[0].parameters:
        return Place.LOGITS
    into = _grows(uses[0].name, [use.fan_in for use in uses], widths)
    out = _grows(uses[0].name, [use.fan_out for use in uses], widths)
    if not uses[0].fan_in:
        return Place.VECTOR if out else Place.FIXED
    return PLACES[into, out]


def _grows(name: str, shapes: Sequence[tuple[int, ...]], widths: Sequence[int]) -> bool:
    if len({len(shape) for shape in shapes}) > 1:
        raise ValueError(f"{name} has shapes {_listed(shapes)} at growing widths: keep its number of axes")
    return any(_axis_grows(name, sizes, widths) for sizes in zip(*shapes, strict=True))


def _axis_grows(name: str, sizes: Sequence[int], widths: Sequence[int]) -> bool:
    if len(set(sizes)) == 1:
        return False
    narrow, wide, small, large = widths[0], widths[-1], sizes[0], sizes[-1]
    pairs = list(zip(widths, sizes, strict=True))
    if _is_proportional(sizes, widths):
        return True
    seen = f"an axis of {name} has {_listed(sizes)} entries at widths {_listed(widths)}"
    if len(pairs) > 2 and all(
        (size - small) * (wide - narrow) == (large - small) * (width - narrow) for width, size in pairs
    ):
        added = small - (large - small) * narrow // (wide - narrow)
        raise ValueError(
            f"{seen}: {added} entries that do not grow are joined to some that do, and the two need different "
            "scalings. Give each its own layer, such as one nn.Linear for the inputs and one for the neurons"
        )
    if _is_nearly_proportional(sizes, widths):
        return True
    raise ValueError(
        f"{seen}: neither constant nor proportional to the width. Choose widths at which it is proportional, without "
        "rounding to multiples, or split what it joins into parts that are"
    )


ROUNDED = 0.1
"""By how much of itself an axis may differ from proportionality where sizes are rounded to multiples of 8, say."""


def _is_proportional(sizes: Sequence[int], widths: Sequence[int]) -> bool:
    """Return whether an axis is proportional to the width up to less than one entry."""
    wide, large = widths[-1], sizes[-1]
    return all(abs(size * wide - large * width) < wide for width, size in zip(widths, sizes, strict=True))


def _is_nearly_proportional(sizes: Sequence[int], widths: Sequence[int]) -> bool:
    ratios = [size / width for width, size in zip(widths, sizes, strict=True)]
    return max(ratios) <= (1 + ROUNDED) * min(ratios)


def _is_rounded(sizes: Sequence[int], widths: Sequence[int]) -> bool:
    return len(set(sizes)) > 1 and not _is_proportional(sizes, widths)


def _axes(uses: Sequence[Use]) -> list[tuple[int, ...]]:
    """Return the sizes of every axis of a use over the widths."""
    return [
        sizes for shapes in ([u.fan_in for u in uses], [u.fan_out for u in uses]) for sizes in zip(*shapes, strict=True)
    ]


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values[:-1])) + f" and {values[-1]}"
