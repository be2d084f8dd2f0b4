"""The empirical kernels of an ensemble of our networks, by three exact roads."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.func import vmap

from tpbench.networks.architectures import Given, Network, run
from tpbench.networks.architectures.maps import parameters
from tpbench.networks.tangent.functional import Parameters, naive, pulled, pushed
from tpbench.networks.tangent.structured import conditional_covariance, structured

Call = Callable[[Parameters, Tensor], Tensor]


def empirical_kernels(
    network: Network, inputs: Tensor, *, method: str = "auto", output: int = 0
) -> tuple[Tensor, Tensor]:
    """Return (nngp, ntk) of every network of an ensemble at inputs (example, …): each (seed, N, N), float64.

    The ntk is ``Σ_parameters ∂f(x) ∂f(x')`` of one output, f; the nngp the covariance of f given everything below the
    read-out, ``σ_w²/fan-in z·z' + σ_b²``. All methods are exact:

    * "structured": one forward and one backward pass for all seeds and examples, then a contraction of the inputs and
      signals of every map, whichever way is cheaper (``contraction.py``); the only one for lazy weights;
    * "jacobian": the Jacobian of one seed after the other, by ``torch.func.jacrev``;
    * "vector-products": a column of the kernel as J (Jᵀ e), which never holds the Jacobian.

    With F operations a forward pass and P parameters they take at most 3 F + 2 N² P, (2 N + 1) F + 2 N² P, and about
    5 N F operations; where examples mix, as in batch normalisation, structured takes at most (2 N + 1) F + 2 N² P. So
    "auto" is "structured". Raises ``ValueError`` for an unknown method or output, ``TypeError`` for the other two
    where weights are lazy.
    """
    if method not in (*METHODS, "auto"):
        raise ValueError(f"unknown method {method!r} (known: auto, {', '.join(METHODS)})")
    if not 0 <= output < network.weights.outputs:
        raise ValueError(f"the network has outputs 0 to {network.weights.outputs - 1}, and {output} was asked for")
    return METHODS["structured" if method == "auto" else method](network, inputs, output)


def by_jacobians(network: Network, inputs: Tensor, output: int) -> tuple[Tensor, Tensor]:
    """Return (nngp, ntk) from Jacobians of the whole batch, a seed after the other: slow and obvious."""
    _, uses = network.recorded(inputs)
    call = _call(network, output)
    kernels = [naive(call, own, inputs)[:, 0, :, 0] for own in _parameters(network)]
    return conditional_covariance(uses[-1]), torch.stack(kernels)


def by_products(network: Network, inputs: Tensor, output: int) -> tuple[Tensor, Tensor]:
    """Return (nngp, ntk) from the columns J (Jᵀ e), a seed after the other, in the network's dtype."""
    _, uses = network.recorded(inputs)
    call = _call(network, output)
    units = torch.eye(len(inputs), dtype=inputs.dtype, device=inputs.device)
    kernels = []
    for own in _parameters(network):

        def column(unit: Tensor, own: Parameters = own) -> Tensor:
            def of(p: Parameters) -> Tensor:
                return call(p, inputs)[:, 0]

            return pushed(of, own, pulled(of, own, unit))

        kernels.append(vmap(column)(units).to(torch.float64))
    return conditional_covariance(uses[-1]), torch.stack(kernels)


METHODS: Mapping[str, Callable[[Network, Tensor, int], tuple[Tensor, Tensor]]] = {
    "structured": structured,
    "jacobian": by_jacobians,
    "vector-products": by_products,
}


def _parameters(network: Network) -> list[dict[str, Tensor]]:
    return [parameters(network.weights, row) for row in range(len(network.seeds))]


def _call(network: Network, output: int) -> Call:
    """Return f as a function of one network's parameters and inputs (example, …), with outputs (example, 1)."""
    width, outputs = network.weights.width, network.weights.outputs

    def call(own: Parameters, x: Tensor) -> Tensor:
        return run(network.architecture, Given(own, width, outputs), x[None])[0, :, output : output + 1]

    return call
