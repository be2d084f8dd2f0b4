"""Networks of a check at lazy widths, which no dense matrix reaches.

A width × width weight is a ``LazyMatrix`` there, equal in law to a dense one (see ``networks.grown``). All else is as
at dense widths: the batch, the random numbers of the forward pass, the record, and the way every use is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tpbench.check.batches import Batch
from tpbench.check.factory import Factory, Network
from tpbench.check.losses import Loss, default_loss
from tpbench.check.products import UNBUILT
from tpbench.check.uses import Use
from tpbench.networks.grown import grow
from tpbench.weights.innovations import MonteCarlo


@dataclass(frozen=True)
class Like:
    """What lazy networks share with the first dense one: its batch, and the dtype and device of its parameters."""

    batch: Batch
    dtype: torch.dtype
    device: torch.device

    @staticmethod
    def of(network: Network) -> Like:
        """Return that of a dense network."""
        first = next(one for one in network.model.parameters() if one.is_floating_point())
        return Like(network.batch, first.dtype, first.device)


def build_wide(factory: Factory, width: int, seed: int, like: Like) -> Network:
    """Return the factory's network at a lazy width, with the batch of the dense ones and its own loss there.

    Raises ``ValueError`` where the network cannot be lazy, or its optimizer is not SGD.
    """
    losses: list[Loss] = []

    def watched(n: int) -> tuple[Any, ...]:
        made = factory(n)
        if n == width:
            losses.append(made[3] if len(made) > 3 and made[3] is not None else default_loss)
        return made

    model, optimizer = grow(watched, width, MonteCarlo([seed]), dtype=like.dtype, device=like.device)
    return Network(width, seed, model, optimizer, like.batch, _with_values(losses[-1], width))


def _with_values(loss: Loss, width: int) -> Loss:
    """Return the loss, which the factory made where tensors have no values, with an error that says so."""

    def of(output: Any, targets: Any) -> Any:
        try:
            found = loss(output, targets)
        except (RuntimeError, NotImplementedError) as error:
            raise ValueError(_lost(width, f" ({error})")) from error
        if isinstance(found, Tensor) and found.is_meta:
            raise ValueError(_lost(width, ""))
        return found

    return of


def _lost(width: int, told: str) -> str:
    return (
        f"the loss that the factory returns at the lazy width {width} fails{told}: the factory runs on torch's meta "
        "device there, where tensors have no values, so make the tensors that the loss holds outside of it"
    )


def check_uses(narrow: Sequence[Use], wide: Sequence[Use], width: int) -> None:
    """Raise ``ValueError`` where the pass of a lazy network does not show the uses that dense ones have."""
    here, there = [use.identity for use in narrow], [use.identity for use in wide]
    if here == there:
        return
    lost = [use.name for use in narrow if use.identity not in there]
    told = f"does not show the use of {', '.join(lost)}" if lost else "has other uses of parameters, or in other order"
    raise ValueError(
        f"the forward pass at the lazy width {width} {told}; the operator @ of a lazy matrix, or a forward that "
        f"depends on the width, does that: {UNBUILT}"
    )
