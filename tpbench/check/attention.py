"""Logits of attentions, which have no parameter: inner products of two activations on their way to a softmax."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tpbench.check.multipliers import factor_of
from tpbench.check.operands import tensors_of
from tpbench.check.products import Call, letters_of
from tpbench.check.uses import MASKED

SOFTMAXES: tuple[Callable[..., Any], ...] = (functional.softmax, torch.softmax, torch.Tensor.softmax)
MOST = 2**18
"""So many logits at most are measured of one attention, from whole examples of the batch."""


@dataclass(frozen=True)
class Score:
    """An activation that comes from inner products over ``size`` coordinates, times ``scale``."""

    tensor: Tensor
    size: int
    scale: float = 1.0


class Scores:
    """Activations that come from a product of two activations; keeps them alive while the pass runs."""

    def __init__(self) -> None:
        """Begin with none."""
        self._known: dict[int, Score] = {}

    def begin(self, call: Call, scale: float) -> None:
        """Remember a product of two activations, whose inputs were multiplied by ``scale`` for its sake."""
        first = tensors_of((call.args, call.kwargs))[-2]
        equation = call.args[0] if isinstance(call.args[0], str) else None
        self._keep(call.out, _summed(first, equation), scale)

    def follow(self, call: Call, tensors: Sequence[Tensor]) -> None:
        """Remember what a function made of a score."""
        score = next((found for found in map(self.of, tensors) if found is not None), None)
        if score is not None:
            self._keep(call.out, score.size, score.scale * (factor_of(call) or 1.0))

    def of(self, tensor: Tensor) -> Score | None:
        """Return what is known of a tensor that comes from a product of two activations."""
        return self._known.get(id(tensor))

    def _keep(self, out: Any, size: int, scale: float) -> None:
        for tensor in tensors_of(out):
            self._known[id(tensor)] = Score(tensor, size, scale)


def _summed(first: Tensor, equation: str | None) -> int:
    """Return how many coordinates a product sums over."""
    if equation is None:
        return first.shape[-1]
    terms, kept = letters_of(equation)
    axes = zip(reversed(terms[0].replace(".", "")), reversed(first.shape), strict=False)
    return math.prod(size for letter, size in axes if letter in terms[1] and letter not in kept)


def _examples(x: Tensor, entries: int) -> int:
    return max(1, min(len(x), MOST * len(x) // max(entries, 1)))


def softmax_logits(x: Tensor) -> Tensor:
    """Return the input of a softmax, of the first examples of the batch: a copy."""
    return x[: _examples(x, x.numel())].clone() if x.dim() > 2 else x.clone()


def attention_logits(call: Call) -> tuple[Tensor, float]:
    """Return scale * q kᵀ of a fused attention, (examples, heads, queries, keys), -inf where masked; and scale * d."""
    given = call.bind("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    query: Tensor = given["query"]
    key: Tensor = given["key"]
    size, scale = query.shape[-1], given.get("scale")
    scale = size**-0.5 if scale is None else scale
    count = _examples(query, query[..., 0].numel() * key.shape[-2]) if query.dim() > 2 else len(query)
    if given.get("enable_gqa") and query.dim() > 3:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)
    logits = query @ key.mT * scale if query.dim() < 3 else query[:count] @ key[:count].mT * scale
    mask = given.get("attn_mask")
    if mask is not None:
        hidden = ~mask if mask.dtype == torch.bool else mask <= MASKED
        whole = hidden.expand(*query.shape[:-1], key.shape[-2])
        logits = logits.masked_fill(whole[:count] if query.dim() > 2 else whole, -math.inf)
    if given.get("is_causal"):
        later = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).triu(1)
        logits = logits.masked_fill(later, -math.inf)
    return logits, scale * size
