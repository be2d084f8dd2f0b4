"""What a training step sends back: the derivative of the loss in the output, and the gradients of the parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from tpbench.bench.claim import ABSENT
from tpbench.check.losses import prediction_of
from tpbench.check.uses import Before, rms, rms_of_rows

Numbers = dict[tuple[int, str, int], float]
"""Values of one network by number of the use, quantity and step."""

GRADIENT, DERIVATIVE, INITIAL = "gradient", "loss-derivative", "initial-weight"


def watch_derivative(output: Any) -> Callable[[], float | None]:
    """Return a function that tells rms(dL/df) after the backward pass.

    It tells None where the output holds no tensor f for a hook or is the loss itself, or the loss does not see f.
    """
    try:
        prediction = prediction_of(output)
    except ValueError:
        return lambda: None
    if prediction.dim() == 0 or not prediction.requires_grad:
        return lambda: None
    seen: list[Tensor] = []

    def see(derivative: Tensor) -> None:
        seen.append(rms(derivative.detach()))

    handle = prediction.register_hook(see)  # type: ignore[no-untyped-call]

    def told() -> float | None:
        handle.remove()
        return seen[-1].item() if seen else None

    return told


def backward_numbers(before: Before, parameters: Mapping[str, Tensor], derivative: float | None, step: int) -> Numbers:
    """Return the gradients of a step that was just taken, by use, and the loss's derivative in the output."""
    seen: dict[str, float] = {}
    for name in {name for use in before.uses for name in use.parameters}:
        gradient = parameters[name].grad
        if gradient is not None:
            seen[name] = rms_of_rows(gradient.to_dense() if gradient.is_sparse else gradient).item()
    numbers = {
        (number, GRADIENT, step): seen[use.parameters[0]]
        for number, use in enumerate(before.uses)
        if use.parameters and use.parameters[0] in seen
    }
    return numbers if derivative is None else numbers | {(ABSENT, DERIVATIVE, step): derivative}


def initial_numbers(before: Before) -> Numbers:
    """Return the size of every initial matrix that has an expected start, which is made of it."""
    return {
        (number, INITIAL, 0): rms_of_rows(before.parameters[use.parameters[0]]).item()
        for number, use in enumerate(before.uses)
        if "expected-preactivation" in use.numbers and use.parameters[0] in before.parameters
    }


def missing_numbers(numbers: Mapping[tuple[int, str, int], float], steps: int) -> Numbers:
    """Return NaN for the gradients and derivatives of all steps, of which the first step's are known."""
    known = [key for key in numbers if key[1] in (GRADIENT, DERIVATIVE) and key[2] == 0]
    return {(number, quantity, step): math.nan for number, quantity, _ in known for step in range(steps)}
