"""The empirical tangent kernel of a user's PyTorch module."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
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
COMPARED = 8
"""How many examples are run alone and together, to see whether they mix."""


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
    default their Jacobians take a quarter GiB. The module is left as it is, and so are gradients.

    Raises ``ValueError`` where there is nothing to differentiate, where outputs have another shape, for an unknown
    word, and for a module whose output at one example depends on others, as batch normalisation's does in training
    mode, or on chance, as dropout's does: ``COMPARED`` examples are run alone and together.
    """
    _check(module, outputs, method, chunk)
    model, x1 = _model(module), x1.detach()
    x2 = None if x2 is None else x2.detach()
    if not model.parameters or len(x1) == 0 or (x2 is not None and len(x2) == 0):
        raise ValueError("a kernel needs a parameter that needs a gradient and at least one example, and there is none")
    count = output_count(model, x1)
    for batch in _batches(x1, x2):
        _check_examples(model, batch)
    if isinstance(outputs, int):
        model, count = _of_output(model, outputs, count), 1
    trace = outputs != "full"
    size = default_chunk(model, count) if chunk is None else chunk
    if method == "auto":
        costs = operations(model, x1, x2, trace=trace, chunk=size)
        method = min(costs, key=lambda name: costs[name])
    return ROADS[method](model, x1, x2, trace=trace, chunk=size).detach()


def _model(module: nn.Module) -> Model:
    parameters = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    own = {id(p): name for name, p in module.named_parameters() if p.requires_grad}
    # functional_call ties by the names of all paths: a submodule with two would be swapped twice, and stay swapped
    places = {
        f"{path}.{name}" if path else name: own[id(p)]
        for path, part in module.named_modules()
        for name, p in part.named_parameters(recurse=False, remove_duplicate=False)
        if p.requires_grad
    }

    def call(given: Parameters, x: Tensor) -> Tensor:
        placed = {place: given[name] for place, name in places.items()}
        f: Tensor = functional_call(module, placed, (x,), tie_weights=False)
        return f

    return Model(call, parameters)


def _batches(x1: Tensor, x2: Tensor | None) -> tuple[Tensor, ...]:
    if x2 is None:
        return (x1,)
    return (torch.cat([x1, x2]),) if x1.shape[1:] == x2.shape[1:] else (x1, x2)


def _check_examples(model: Model, x: Tensor) -> None:
    """Raise ``ValueError`` where the output at one of a few examples is not the same twice, or not beside others."""
    some = x[torch.linspace(0, len(x) - 1, min(len(x), COMPARED), device=x.device).long()]
    ones = torch.split(some, 1)
    with torch.no_grad():
        alone, again = (torch.cat([model.call(model.parameters, one) for one in ones]) for _ in range(2))
        together = model.call(model.parameters, some)
    allowed = float(torch.finfo(alone.dtype).eps) ** (1 / 3) * alone.abs().max()  # products may round to TF32
    if bool((alone - again).abs().max() > allowed):
        raise ValueError(
            "the module's output at the same example is another one when it is asked again, and a kernel needs a "
            "function: call module.eval() first, or take what is random out of it"
        )
    if together.shape != alone.shape or bool((alone - together).abs().max() > allowed):
        raise ValueError(
            "the module's output at an example is another one beside other examples, and this kernel is computed an "
            "example at a time: give a module whose examples do not mix"
        )


def _of_output(model: Model, output: int, count: int) -> Model:
    if not 0 <= output < count:
        raise ValueError(f"the module has outputs 0 to {count - 1}, and {output} was asked for")
    return Model(lambda given, x: model.call(given, x)[:, output : output + 1], model.parameters)


def _check(module: nn.Module, outputs: str | int, method: str, chunk: int | None) -> None:
    number = isinstance(outputs, int) and not isinstance(outputs, bool)
    if not number and outputs not in ("trace", "full"):
        raise ValueError(f'outputs is "trace", "full" or the number of one output, got {outputs!r}')
    if method not in (*ROADS, "auto"):
        raise ValueError(f"unknown method {method!r} (known: auto, {', '.join(ROADS)})")
    if chunk is not None and chunk < 1:
        raise ValueError(f"a chunk has at least 1 example, got {chunk}")
    random = [
        name
        for name, part in module.named_modules()
        if isinstance(part, nn.modules.dropout._DropoutNd) and part.training and part.p > 0
    ]
    if random:
        raise ValueError(
            f"dropout in training mode makes outputs random ({', '.join(random)}), and a kernel needs a function: call "
            "module.eval() first"
        )
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
