"""Train a user's model at several widths and measure every use of its parameters: ``measure(factory, …)``.

The recorded passes are the training's own forward passes, watched; only a record after the last step costs a pass of
its own. Every forward pass of a network draws the same random numbers, so that dropout masks do not change from step
to step: the check compares passes, and is of one thinned network. Compiled models and functions run uncompiled, with
the same parameters.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tpbench.bench.claim import Row
from tpbench.check.backward import backward_numbers, initial_numbers, missing_numbers, watch_derivative
from tpbench.check.factory import Factory, Network, build, left_out_of, parameter_names, parameters_of, plain
from tpbench.check.measurements import Layer, Measurements
from tpbench.check.places import layers_of
from tpbench.check.settings import Setting, check_rates, family_of, scalings, settings_of
from tpbench.check.training import check_finite, check_same_uses, trained
from tpbench.check.uses import Before, Use
from tpbench.check.watch import watch
from tpbench.check.wide import Like, build_wide, check_uses
from tpbench.weights.matrix import LazyMatrix

Progress = Callable[[int, int], None]
Numbers = Mapping[tuple[int, str, int], float]
"""Values of one network by number of the use, quantity and step."""

PROPAGATED = "initial-weight-on-change"
CHANGES = (PROPAGATED, "preactivation-change")
"""What compares a pass with the first one, row by row."""


@dataclass(frozen=True)
class Followed:
    """One network: its uses at the first pass, without tensors, and its numbers.

    ``rerouted`` are the uses that saw another number of rows at a later pass, as those of experts do.
    """

    uses: tuple[Use, ...]
    numbers: Numbers
    rerouted: frozenset[int] = frozenset()


def measure(
    factory: Factory,
    *,
    widths: Sequence[int],
    seeds: int,
    steps: int = 4,
    record: Sequence[int] | None = None,
    first_seed: int = 0,
    device: str = "cpu",
    family: str | None = None,
    wide: Sequence[int] = (),
    wide_seeds: int = 2,
    progress: Progress | None = None,
) -> Measurements:
    """Return what training the factory's model at several widths does to every layer.

    ``record`` are the steps after which to measure, by default 0, 1 and ``steps``; ``family`` says what an optimizer of
    unknown class is; ``progress(done, total)`` counts networks. The factory draws its weights from torch's global
    generator, which is set to ``first_seed``, ``first_seed + 1``, … at every width and given back unchanged; all
    networks see one batch. A network whose loss is not finite is trained no further and its remaining numbers are NaN.

    ``wide`` are further widths, beyond all others, at which width × width weights are lazy: time and memory grow like
    the width times examples times steps. ``wide_seeds`` networks at each; the optimizer must be SGD (see
    ``networks.grown``).

    Raises ``ValueError`` where the factory returns something else than a network, its widths are different
    architectures, or a use of a parameter is not understood.
    """
    begun = time.perf_counter()
    widths, record = _checked(widths, seeds, steps, record)
    wide = _checked_wide(wide, wide_seeds, widths[-1])
    dense = [(width, seed) for width in widths for seed in range(first_seed, first_seed + seeds)]
    lazy = [(width, seed) for width in wide for seed in range(first_seed, first_seed + wide_seeds)]
    uses: dict[int, tuple[Use, ...]] = {}
    settings: dict[int, dict[str, Setting]] = {}
    found: list[tuple[int, int, Numbers]] = []
    kind, told = "", ""
    left_out: tuple[tuple[str, ...], tuple[str, ...]] = (), ()
    rerouted: set[int] = set()
    with torch.compiler.set_stance("force_eager"):
        for network in _networks(factory, dense, lazy, device):
            width = network.width
            if width not in wide:
                kind, told = type(network.optimizer).__name__, family_of(network.optimizer, family)
                left_out = left_out_of(network)
            if width not in settings:
                settings[width] = settings_of(network.optimizer.param_groups, parameter_names(network.model))
                check_rates(settings[width], width)
            followed = follow(network, steps, record, settings[width])
            check_same_uses(uses.setdefault(width, followed.uses), followed.uses, network)
            found.append((width, network.seed, followed.numbers))
            rerouted |= followed.rerouted
            del network  # or two lazy ones would be in memory at once
            if progress is not None:
                progress(len(found), len(dense) + len(lazy))
    layers, scaled = _layers(uses, wide), scalings(dict(sorted(settings.items())))
    rows = tuple(_rows(sorted(found, key=lambda one: one[:2]), rerouted))
    seconds, every = time.perf_counter() - begun, (*widths, *wide)
    return Measurements(
        every,
        seeds,
        steps,
        record,
        kind,
        told,
        layers,
        scaled,
        rows,
        seconds,
        wide,
        wide_seeds if wide else 0,
        *left_out,
        tuple(sorted(rerouted)),
    )


def _networks(
    factory: Factory, dense: Sequence[tuple[int, int]], lazy: Sequence[tuple[int, int]], device: str
) -> Iterator[Network]:
    """Yield the networks of widths and seeds: a dense one, whose batch all others see; lazy ones; the rest.

    A model that cannot be lazy is refused so before the work.
    """
    first = build(factory, *dense[0], device, None)
    like = Like.of(first)
    yield first
    del first
    for width, seed in lazy:
        yield build_wide(factory, width, seed, like)
    for width, seed in dense[1:]:
        yield build(factory, width, seed, device, like.batch)


def _layers(uses: Mapping[int, tuple[Use, ...]], wide: Sequence[int]) -> tuple[Layer, ...]:
    """Return the layers, whose places dense widths tell; lazy ones must use the same."""
    dense = {width: uses[width] for width in sorted(uses) if width not in wide}
    for width in wide:
        check_uses(dense[min(dense)], uses[width], width)
    return layers_of(dense)


def _checked(
    widths: Sequence[int], seeds: int, steps: int, record: Sequence[int] | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    ordered = tuple(sorted(set(widths)))
    if len(ordered) < 2 or ordered[0] < 1:
        raise ValueError(f"widths are {list(widths)}: give at least two different positive ones, such as 64, 128, 256")
    if seeds < 1 or steps < 1:
        raise ValueError(f"seeds is {seeds} and steps is {steps}: both must be at least 1")
    recorded = tuple(sorted({0, 1, steps} if record is None else set(record)))
    if not recorded or recorded[0] != 0 or recorded[-1] > steps or len(recorded) < 2:
        raise ValueError(
            f"record is {list(record or [])} of {steps} steps: give 0, to which the others are compared, and at least "
            f"one of 1 to {steps}"
        )
    return ordered, recorded


def _checked_wide(wide: Sequence[int], seeds: int, widest: int) -> tuple[int, ...]:
    ordered = tuple(sorted(set(wide)))
    if ordered and (ordered[0] <= widest or seeds < 1):
        raise ValueError(
            f"lazy widths are {list(wide)} with {seeds} seeds: they lie beyond the dense widths, here {widest}, and "
            "have at least 1 seed"
        )
    return ordered


def follow(network: Network, steps: int, record: Sequence[int], settings: Mapping[str, Setting]) -> Followed:
    """Train one network and return its numbers at the recorded steps. Trains the network it is given."""
    names, parameters = parameter_names(network.model), parameters_of(network.model)
    numbers: dict[tuple[int, str, int], float] = {}
    before: Before | None = None
    rerouted: set[int] = set()
    for step in range(record[-1] + 1):
        last = step == steps
        if step in record:
            output, uses = _watched(network, names, before, with_graph=not last)
            rerouted |= {number for number, use in enumerate(uses) if use.rerouted}
            if before is None:
                before = Before(uses, _copies(uses, parameters))
            numbers |= _values(uses, step)
            if step > 0:
                numbers |= _shrinkages(before, parameters, settings, step)
        elif not last:
            output = network.forward()
        derivative = watch_derivative(output)
        if last or not trained(network, output):
            if step == 0 and before is not None:
                check_finite(before.uses, network)
            break
        if before is not None and step < record[-1]:
            numbers |= backward_numbers(before, parameters, derivative(), step)
    assert before is not None
    numbers |= initial_numbers(before)
    uses = [replace(use, numbers={}, start=(None, None)) for use in before.uses]
    expected = _missing(before, settings, record) | missing_numbers(numbers, record[-1])
    return Followed(tuple(uses), expected | numbers, frozenset(rerouted))


def _copies(uses: Sequence[Use], parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    used = {name: parameters[name] for use in uses for name in use.parameters}
    return {name: one.detach().clone() for name, one in used.items() if not isinstance(one, LazyMatrix)}


def _watched(
    network: Network, names: Mapping[int, tuple[str, ...]], before: Before | None, with_graph: bool
) -> tuple[Any, list[Use]]:
    if with_graph:
        return watch(network.forward, network.model, names, before, plain)
    kept = [(buffer, buffer.clone()) for buffer in network.model.buffers()]
    try:
        with torch.no_grad():
            return watch(network.forward, network.model, names, before, plain)
    finally:
        for buffer, value in kept:
            buffer.copy_(value)


def _values(uses: Sequence[Use], step: int) -> dict[tuple[int, str, int], float]:
    return {
        (number, quantity, step): value.item()
        for number, use in enumerate(uses)
        for quantity, value in use.numbers.items()
    }


def _shrinkages(
    before: Before, parameters: Mapping[str, Tensor], settings: Mapping[str, Setting], step: int
) -> dict[tuple[int, str, int], float]:
    seen: dict[str, float] = {}
    for name in _decayed(before, settings):
        initial = before.parameters[name].flatten()
        lost = torch.dot(initial - parameters[name].detach().flatten(), initial)
        seen[name] = (lost / torch.dot(initial, initial)).item()
    return {
        (number, "shrinkage", step): seen[use.parameters[0]]
        for number, use in enumerate(before.uses)
        if use.parameters and use.parameters[0] in seen
    }


def _decayed(before: Before, settings: Mapping[str, Setting]) -> list[str]:
    """Return the parameters that the optimizer decays and that did not begin at zero."""
    return [name for name, initial in before.parameters.items() if settings[name].decay and bool(initial.any())]


def _missing(
    before: Before, settings: Mapping[str, Setting], record: Sequence[int]
) -> dict[tuple[int, str, int], float]:
    """Return NaN for every number that a network trained to the end has after a step."""
    decayed = _decayed(before, settings)
    expected: dict[tuple[int, str, int], float] = {}
    for number, use in enumerate(before.uses):
        quantities = ["preactivation-change"] if "preactivation" in use.numbers else []
        quantities += ["weight-update"] if use.parameters else []
        quantities += [PROPAGATED, "input"] if "input" in use.numbers else []
        quantities += ["shrinkage"] if use.parameters and use.parameters[0] in decayed else []
        expected |= {(number, quantity, step): math.nan for quantity in quantities for step in record if step > 0}
    return expected


def _rows(found: Sequence[tuple[int, int, Numbers]], rerouted: Collection[int]) -> Iterator[tuple[int, Row]]:
    """Yield the rows, without W_0 Δx of layers whose input never changes, such as those that read the data.

    Rerouted layers see other examples at every pass, so that their changes are none of the weights.
    """
    moved = {
        layer
        for _, _, numbers in found
        for (layer, quantity, _), value in numbers.items()
        if quantity == PROPAGATED and value != 0 and not math.isnan(value)
    }
    for width, seed, numbers in found:
        for (layer, quantity, step), value in sorted(numbers.items()):
            if (quantity != PROPAGATED or layer in moved) and not (quantity in CHANGES and layer in rerouted):
                yield width, Row(quantity, value, seed=seed, step=step, layer=layer)
