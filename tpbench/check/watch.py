"""Watching one forward pass of a user's model: every use of a parameter, and the logits of every attention, measured.

``watch(model, …)`` intercepts torch functions (``torch.overrides.TorchFunctionMode``), so that a use is known by the
identity of its parameter and not by the module around it: tied embeddings, raw parameters, scaled or transposed
weights and layers of other libraries are all seen. Nothing of the model is replaced and no autograd graph is kept.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from tpbench.check.attention import SOFTMAXES, Scores, attention_logits, softmax_logits
from tpbench.check.functions import DROPOUTS, ENTRYWISE, SHAPED_LIKE, SUMS, UNSEEN
from tpbench.check.multipliers import Multipliers
from tpbench.check.operands import Operand, Operands, tensors_of
from tpbench.check.products import EINSUM, LAYERS, MATMULS, PRODUCTS, Call, Product
from tpbench.check.uses import Before, Ledger, Use

INNER_PRODUCTS = frozenset((*MATMULS, EINSUM, torch.baddbmm, torch.Tensor.baddbmm))
FUSED: Callable[..., Any] = functional.scaled_dot_product_attention
COMPOSITE: tuple[Callable[..., Any], ...] = (functional.multi_head_attention_forward,)
"""Functions written in Python whose own calls are watched in their place."""


class Watcher(TorchFunctionMode):
    """Collects the uses of one forward pass, in its order."""

    def __init__(self, operands: Operands, ledger: Ledger) -> None:
        """Begin a pass whose parameters are ``operands``; the uses go into the ledger."""
        super().__init__()
        self.module = ""
        self._operands = operands
        self._ledger = ledger
        self._scores = Scores()
        self._multipliers = Multipliers()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types_: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the function, then see what it did with parameters. The mode is off in here but for composites."""
        kwargs = kwargs or {}
        if func in COMPOSITE:
            with self:
                return _written_out(func)(*args, **kwargs)
        out = func(*args, **kwargs)
        if isinstance(out, (Tensor, tuple, list)):
            tensors = tensors_of((args, kwargs))
            if tensors:
                with torch.no_grad():
                    self._see(Call(func, args, kwargs, out, self._operands), tensors)
        return out

    def _see(self, call: Call, tensors: Sequence[Tensor]) -> None:
        found = self._operands.among(tensors)
        if found:
            self._see_parameters(call, tensors, found)
        elif call.func in SOFTMAXES:
            score = self._scores.of(tensors[0])
            if score is not None:
                self._ledger.add_logits(softmax_logits(tensors[0]), score.scale * score.size, self.module)
        elif call.func in INNER_PRODUCTS:
            self._scores.begin(call, self._multipliers.spend(tensors, self.module, on_activations=True))
        elif call.func is not FUSED:
            self._multipliers.see(call, tensors, self.module)
            self._scores.follow(call, tensors)
        if call.func is FUSED:
            spent = self._multipliers.spend(tensors, self.module, on_activations=True)
            logits, scale = attention_logits(call)
            self._ledger.add_logits(logits, scale * spent, self.module)

    def _see_parameters(self, call: Call, tensors: Sequence[Tensor], found: list[Operand]) -> None:
        func, name = call.func, getattr(call.func, "__name__", "")
        made_of_parameters = self._operands.closed(tensors) or name in SHAPED_LIKE
        if made_of_parameters and func not in LAYERS and name not in DROPOUTS:
            self._operands.derive(func, call.args, call.kwargs, call.out)
            return
        reader = PRODUCTS.get(func)
        product = reader(call) if reader is not None else None
        if product is not None:
            self._see_product(call, product, tensors, found)
            return
        if not any(one.is_floating_point() for one in tensors_of(call.out)):
            return
        for operand in found:
            if name not in ENTRYWISE and operand.value.dim() > 1:
                _refuse(name, operand, self.module)
        added = [self._add_entries(name.strip("_"), operand) for operand in found]
        if name in SUMS:
            self._multipliers.join(call.out, tensors, [number for number in added if number is not None], self.module)
        self._scores.follow(call, tensors)

    def _see_product(self, call: Call, product: Product, tensors: Sequence[Tensor], found: list[Operand]) -> None:
        self._multipliers.spend(tensors, self.module, on_activations=False)
        followed = [
            self._ledger.add_product(product, self.module, self._multiplier(product.weight), tuple(call.out.shape))
        ]
        for operand in found:
            if operand is product.bias:
                number = self._add_entries("bias", operand)
                followed += [] if number is None else [number]
            elif operand is not product.weight:
                self._add_entries("activation", operand)
        self._multipliers.begin(call.out, followed, self.module, looked_up=product.operation == "embedding")

    def _add_entries(self, operation: str, operand: Operand) -> int | None:
        return self._ledger.add_entries(operation, operand, self.module, self._multiplier(operand))

    def _multiplier(self, operand: Operand) -> float:
        return self._operands.multiplier(operand) if self._ledger.is_first else math.nan

    def measured(self) -> list[Use]:
        """Return the uses of the pass with the multipliers behind them."""
        return self._ledger.scaled(self._multipliers.of_uses())


def _refuse(function: str, operand: Operand, module: str) -> None:
    where = f" in {module}" if module else ""
    remedy = UNSEEN.get(function, "write it with nn.Linear, matmul, einsum, a convolution or an embedding")
    raise ValueError(
        f"{function}{where} uses {operand.parameters[0]} of shape {tuple(operand.value.shape)} in a way whose products "
        f"cannot be measured apart: {remedy}"
    )


def _written_out(func: Callable[..., Any]) -> Callable[..., Any]:
    """Return the Python function without its own dispatch, so that the mode sees the functions it calls."""
    assert isinstance(func, types.FunctionType)
    scope = {**func.__globals__, "has_torch_function": lambda *_: False}
    free = types.FunctionType(func.__code__, scope, func.__name__, func.__defaults__, func.__closure__)
    free.__kwdefaults__ = func.__kwdefaults__
    return free


@contextmanager
def _in_module(watcher: Watcher, model: nn.Module, plain: Callable[[str], str]) -> Iterator[None]:
    """Keep ``watcher.module`` the name of the innermost module whose forward runs."""
    stack = [""]

    def enter(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any) -> None:
            stack.append(name)
            watcher.module = name

        return hook

    def leave(_: nn.Module, __: Any, ___: Any) -> None:
        stack.pop()
        watcher.module = stack[-1]

    handles = [module.register_forward_pre_hook(enter(plain(name))) for name, module in model.named_modules()]
    handles += [module.register_forward_hook(leave) for module in model.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def watch(
    forward: Callable[[], Any],
    model: nn.Module,
    names: Mapping[int, tuple[str, ...]],
    before: Before | None,
    plain: Callable[[str], str],
) -> tuple[Any, list[Use]]:
    """Return the output of a forward pass and its uses; ``before`` is None at the first pass.

    Raises ``ValueError`` where a parameter is used by a function whose products are not known, or where the pass does
    not use what the first one did.
    """
    parameters = {names[id(parameter)][0]: parameter for parameter in model.parameters()}
    watcher = Watcher(Operands(parameters, list(model.buffers())), Ledger(names, before))
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _in_module(watcher, model, plain), watcher:
            output = forward()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return output, watcher.measured()
