"""The empirical tangent kernel of a user's PyTorch module."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn
from torch.func import functional_call

from tpbench.networks.tangent.functional import (
    Model,
    Parameters,
    default_chunk,
    from_jacobians,
    from_products,
    operations,
    output_count,
)

ROADS: Mapping[str, Callable[..., Tensor]] = {"jacobian": from_jacobians, "vector-products": from_products}


def empirical_ntk(
    module: nn.Module,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    outputs: str | int = "trace",
    method: str = "auto",
    chunk: int | None = None,
) -> Tensor:
    """Return ``Σ_parameters ∂f(x1) ∂f(x2)`` of a module with outputs (example, out), exactly, in float64.

    ``outputs`` "trace" sums over the pairs of one output, (N1, N2); "full" keeps all pairs, (N1, O, N2, O); a number
    takes that output alone, (N1, N2). Without x2 it is x1. Parameters that need no gradient do not count, tied ones
    count once. ``method`` "jacobian" or "vector-products" (``functional.py`` says what they cost); "auto" counts the
    operations of a forward pass and takes the cheaper. ``chunk`` is how many examples are differentiated at once; by
    default their Jacobians take a quarter GiB.

    Raises ``ValueError`` where there is nothing to differentiate, where outputs have another shape, for an unknown
    word, and for a module whose examples mix: batch normalisation in training mode.
    """
    _check(module, outputs, method, chunk)
    model = _model(module)
    if not model.parameters or len(x1) == 0 or (x2 is not None and len(x2) == 0):
        raise ValueError("a kernel needs a parameter that needs a gradient and at least one example, and there is none")
    count = output_count(model, x1)
    if isinstance(outputs, int):
        model, count = _of_output(model, outputs, count), 1
    trace = outputs != "full"
    if method == "auto":
        costs = operations(model, x1, len(x1), len(x1 if x2 is None else x2), trace=trace)
        method = min(costs, key=lambda name: costs[name])
    size = default_chunk(model, count) if chunk is None else chunk
    return ROADS[method](model, x1, x2, trace=trace, chunk=size).detach()


def _model(module: nn.Module) -> Model:
    parameters = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}

    def call(given: Parameters, x: Tensor) -> Tensor:
        f: Tensor = functional_call(module, dict(given), (x,))
        return f

    return Model(call, parameters)


def _of_output(model: Model, output: int, count: int) -> Model:
    if not 0 <= output < count:
        raise ValueError(f"the module has outputs 0 to {count - 1}, and {output} was asked for")
    return Model(lambda given, x: model.call(given, x)[:, output : output + 1], model.parameters)


def _check(module: nn.Module, outputs: str | int, method: str, chunk: int | None) -> None:
    if isinstance(outputs, str) and outputs not in ("trace", "full"):
        raise ValueError(f'outputs is "trace", "full" or the number of one output, got {outputs!r}')
    if method not in (*ROADS, "auto"):
        raise ValueError(f"unknown method {method!r} (known: auto, {', '.join(ROADS)})")
    if chunk is not None and chunk < 1:
        raise ValueError(f"a chunk has at least 1 example, got {chunk}")
    mixing = [
        name
        for name, part in module.named_modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and (part.training or part.running_mean is None)
    ]
    if mixing:
        raise ValueError(
            f"batch normalisation in training mode mixes examples ({', '.join(mixing)}), and this kernel is computed "
            "an example at a time: call module.eval() first, with running statistics"
        )
