"""The empirical kernels of an ensemble of our networks, by three exact roads."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.func import vmap

from tpbench.networks.architectures import Network
from tpbench.networks.architectures.maps import parameters
from tpbench.networks.tangent.cost import cheapest, function_of
from tpbench.networks.tangent.functional import (
    Model,
    Parameters,
    default_chunk,
    from_jacobians,
    from_products,
    naive,
    pulled,
    pushed,
)
from tpbench.networks.tangent.structured import conditional_covariance, structured

Road = Callable[..., Tensor]
"""``from_jacobians`` or ``from_products``."""


def empirical_kernels(
    network: Network, inputs: Tensor, *, method: str = "auto", output: int = 0, chunk: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return (nngp, ntk) of every network of an ensemble at inputs (example, …): each (seed, N, N), float64.

    The ntk is ``Σ_parameters ∂f(x) ∂f(x')`` of one output, f; the nngp the covariance of f given everything below the
    read-out, ``σ_w²/fan-in z·z' + σ_b²``. All methods are exact:

    * "structured": one forward and one backward pass for all seeds and examples, then a contraction of the inputs and
      signals of every map, whichever way is cheaper (``contraction.py``); the only one for lazy weights;
    * "jacobian": blocks of per-example Jacobians of one seed after the other, by ``torch.func.jacrev``;
    * "vector-products": a column of the kernel as J (Jᵀ e), which never holds the Jacobian of all examples.

    "auto" takes the one with the fewest operations (``cost.py``). ``chunk`` is how many examples the latter two
    differentiate at once, by default as many as have Jacobians of a quarter GiB; given one, "auto" is one of these
    two. Where examples mix, as in batch normalisation, all are differentiated together, and no chunk may be given.

    Raises ``ValueError`` for an unknown method or output, for a chunk below 1 or where there is none, ``TypeError``
    for the latter two methods where weights are lazy.
    """
    if method not in (*METHODS, "auto"):
        raise ValueError(f"unknown method {method!r} (known: auto, {', '.join(METHODS)})")
    if not 0 <= output < network.weights.outputs:
        raise ValueError(f"the network has outputs 0 to {network.weights.outputs - 1}, and {output} was asked for")
    lazy = network.weights.source.innovations is not None
    _check_chunk(chunk, mixes=network.mixes_examples, whole=method == "structured" or (method == "auto" and lazy))
    if method == "auto":
        method = "structured" if lazy else cheapest(network, inputs, chunk)
    with torch.enable_grad():
        return METHODS[method](network, inputs, output, chunk)


def by_structure(network: Network, inputs: Tensor, output: int, _chunk: int | None = None) -> tuple[Tensor, Tensor]:
    """Return (nngp, ntk) by ``structured``, which has no chunks."""
    return structured(network, inputs, output)


def by_jacobians(network: Network, inputs: Tensor, output: int, chunk: int | None = None) -> tuple[Tensor, Tensor]:
    """Return (nngp, ntk) from Jacobians, a seed after the other: slow and obvious."""
    if network.mixes_examples:
        return _by_seed(network, inputs, output, lambda model: naive(model.call, model.parameters, inputs)[:, 0, :, 0])
    return _by_seed(network, inputs, output, lambda model: _chunked(from_jacobians, model, inputs, chunk))


def by_products(network: Network, inputs: Tensor, output: int, chunk: int | None = None) -> tuple[Tensor, Tensor]:
    """Return (nngp, ntk) from the columns J (Jᵀ e), a seed after the other, in the network's dtype."""
    if network.mixes_examples:
        return _by_seed(network, inputs, output, lambda model: _columns_of_batch(model, inputs))
    return _by_seed(network, inputs, output, lambda model: _chunked(from_products, model, inputs, chunk))


METHODS: Mapping[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "structured": by_structure,
    "jacobian": by_jacobians,
    "vector-products": by_products,
}
"""``method(network, inputs, output, chunk=None)`` of every method, with the meaning of ``empirical_kernels``."""


def _by_seed(network: Network, inputs: Tensor, output: int, kernel: Callable[[Model], Tensor]) -> tuple[Tensor, Tensor]:
    _, uses = network.recorded(inputs)
    call = function_of(network, output)
    rows = range(len(network.seeds))
    kernels = [kernel(Model(call, parameters(network.weights, row))) for row in rows]
    return conditional_covariance(uses[-1]), torch.stack(kernels)


def _chunked(road: Road, model: Model, inputs: Tensor, chunk: int | None) -> Tensor:
    return road(model, inputs, None, trace=True, chunk=default_chunk(model, 1) if chunk is None else chunk)


def _columns_of_batch(model: Model, inputs: Tensor) -> Tensor:
    """Return the kernel by the columns J (Jᵀ e) of the whole batch, whose examples may mix."""
    units = torch.eye(len(inputs), dtype=inputs.dtype, device=inputs.device)

    def column(unit: Tensor) -> Tensor:
        def of(p: Parameters) -> Tensor:
            return model.call(p, inputs)[:, 0]

        return pushed(of, model.parameters, pulled(of, model.parameters, unit))

    return vmap(column)(units).to(torch.float64)


def _check_chunk(chunk: int | None, *, mixes: bool, whole: bool) -> None:
    if chunk is None:
        return
    if chunk < 1:
        raise ValueError(f"a chunk has at least 1 example, got {chunk}")
    if mixes:
        raise ValueError(
            f"examples mix in this architecture, so that they are differentiated together, and a chunk of {chunk} was "
            "asked for: leave chunk out"
        )
    if whole:
        raise ValueError(
            f'the method "structured", the only one for lazy weights, differentiates all examples together, and a '
            f"chunk of {chunk} was asked for: leave chunk out, or take another method with dense weights"
        )
