"""One step of training a user's network, and what is refused before exponents are looked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tpbench.check.factory import Network
from tpbench.check.uses import IDLE, Use


def check_finite(uses: Sequence[Use], network: Network) -> None:
    """Raise ``ValueError`` for a loss that is not finite before any training: no exponent is behind that."""
    first = next((use.name for use in uses if not all(map(torch.isfinite, use.numbers.values()))), None)
    where = "in the loss alone; it is called as loss(output, targets)" if first is None else f"first in layer {first}"
    raise ValueError(
        f"the network of width {network.width} and seed {network.seed} is not finite before the first step, {where}: "
        "mend its initial weights or its data"
    )


def trained(network: Network, output: Any) -> bool:
    """Take one step; return whether the loss was finite and the step was taken."""
    try:
        loss = network.loss(output, network.batch.targets)
    except TypeError as error:
        raise ValueError(f"the loss failed: {error}. It is called as loss(output, targets)") from error
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise ValueError(
            f"the loss is {tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__}, not one number: "
            "let loss(output, targets) return a scalar tensor, such as a mean"
        )
    if not math.isfinite(loss.item()):
        return False
    network.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    network.optimizer.step()
    return True


def check_same_uses(uses: Sequence[Use], others: Sequence[Use], network: Network) -> None:
    """Raise ``ValueError`` where two networks of one width do not use the same parameters in the same order."""
    here, there = [use.identity for use in uses], [use.identity for use in others]
    if here != there:
        different = next((one[0] for one in (*here, *there) if (one in here) != (one in there)), "one in another order")
        raise ValueError(
            f"networks of width {network.width} with different seeds do not have the same uses of parameters, such as "
            f"{different}: the check compares them, so the forward pass must not depend on the weights. {IDLE}"
        )
