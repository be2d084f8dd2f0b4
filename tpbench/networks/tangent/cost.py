"""What each road to the kernels of our networks costs, from a twin of the network whose tensors have no values.

With F operations of the forward pass of all N examples and P parameters:

* ``structured``: forward, backward in the inputs of maps, 2 F, or (N + 1) F where examples mix, and the contractions;
* ``jacobian`` and ``vector-products``: the forward pass that the nngp is read from, and what ``functional.py`` says;
  where examples mix (2 N + 1) F + 2 N² P, and (4 N + 2) F.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tpbench.architecture import Architecture
from tpbench.networks.architectures import Given, Network, initial, run
from tpbench.networks.architectures.maps import parameters
from tpbench.networks.tangent import functional
from tpbench.networks.tangent.functional import Model, Parameters, default_chunk
from tpbench.networks.tangent.structured import structured_operations

META = torch.device("meta")


def cheapest(network: Network, inputs: Tensor, chunk: int | None = None) -> str:
    """Return the method with the fewest operations for dense weights; given a chunk, of those that have chunks."""
    costs = operations(network, inputs, chunk)
    return min((name for name in costs if chunk is None or name != "structured"), key=lambda name: costs[name])


def operations(network: Network, inputs: Tensor, chunk: int | None = None) -> dict[str, int]:
    """Return the floating-point operations of every method's products and convolutions, with dense weights."""
    of, sizes = network.weights, tuple(inputs.shape)
    found = _operations(network.architecture, of.width, of.outputs, len(network.seeds), sizes, chunk)
    return dict(found)


def function_of(network: Network, output: int) -> Callable[[Parameters, Tensor], Tensor]:
    """Return f as a function of one network's parameters and inputs (example, …), with outputs (example, 1)."""
    width, outputs = network.weights.width, network.weights.outputs

    def call(own: Parameters, x: Tensor) -> Tensor:
        return run(network.architecture, Given(own, width, outputs), x[None])[0, :, output : output + 1]

    return call


@lru_cache(maxsize=256)
def _operations(
    architecture: Architecture, width: int, outputs: int, seeds: int, sizes: tuple[int, ...], chunk: int | None
) -> tuple[tuple[str, int], ...]:
    """Return the items of ``operations``; claims ask for the same again and again."""
    twin = initial(architecture, width, range(seeds), outputs=outputs, device=META, dtype=torch.float32)
    x = torch.empty(sizes, device=META)
    counter = FlopCounterMode(display=False)
    with counter:
        _, uses = twin.recorded(x)
    forward = int(counter.get_total_flops())
    model = Model(function_of(twin, 0), parameters(twin.weights, 0))
    if twin.mixes_examples:
        examples = sizes[0]
        slow = {
            "jacobian": (2 * examples + 1) * forward + 2 * seeds * examples**2 * model.size,
            "vector-products": (4 * examples + 2) * forward,
        }
    else:
        size = default_chunk(model, 1) if chunk is None else chunk
        own = functional.operations(model, x, None, trace=True, chunk=size)
        slow = {name: seeds * cost for name, cost in own.items()}
    first = structured_operations(uses, forward, mixes=twin.mixes_examples)
    return (("structured", first), *((name, forward + cost) for name, cost in slow.items()))
