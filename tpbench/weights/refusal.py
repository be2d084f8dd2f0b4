"""Words for what a lazy matrix cannot do: what was asked, why not, and what to do instead."""

from __future__ import annotations

OPERATORS = {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**"}

_PRODUCTS = "write it with x @ W, x @ W.T or torch.nn.functional.linear(x, W)"
_ENTRIES = "use it in products with vectors only; materialise() gives its entries where they fit in memory"
_PENALTY = f"{_ENTRIES}; for a penalty on its size there is weight_decay="
_STATE = (
    "rebuild the model with tpbench.widen and the same seed, and train it again; or, where n² entries fit in memory, "
    "take materialise() of what widen gave: a plain module, to copy and to save"
)
_SURGERY = "its entries are Gaussian and change by steps of SGD only: set their size with stds= of tpbench.widen"
_MOVING = "it stays as it was made: give dtype= and device= to tpbench.widen"

_OPTIMIZER = (
    "an optimizer that keeps a number for every entry cannot step it; use the sgd(lr) of the widened model, a WideSGD"
)

_REMEDIES: dict[str, str] = {
    **dict.fromkeys(("data", "detach", "clone", "__deepcopy__", "__reduce_ex__", "share_memory_"), _STATE),
    **dict.fromkeys(("data=", "__setitem__", *(f"{symbol}=" for symbol in OPERATORS.values())), _SURGERY),
    **dict.fromkeys(("einsum", "bmm", "addmm", "baddbmm", "tensordot", "inner", "multi_dot"), _PRODUCTS),
    **dict.fromkeys(("embedding", "conv1d", "conv2d", "conv3d", "multi_head_attention_forward"), _PRODUCTS),
    **dict.fromkeys(("norm", "vector_norm", "pow", "**", "square", "abs", "sum", "mean"), _PENALTY),
    **dict.fromkeys(("zeros_like", "ones_like", "full_like", "empty_like"), _OPTIMIZER),
    **dict.fromkeys(("to", "type", "double", "float", "half", "bfloat16", "cpu", "cuda", "xpu"), _MOVING),
}
_NAMES = {"detach": "detach (state_dict calls it)", "__reduce_ex__": "pickling", "__deepcopy__": "copy.deepcopy"}

_FULL_RANK = "It scales every entry of a gradient by itself, so its update has full rank"
_WHY_NOT = {
    **dict.fromkeys(("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop"), _FULL_RANK),
    "SGD": "It adds dense gradients, and that of a lazy matrix is a sum of outer products",
}
_UNKNOWN = "What it would do is not known to have low rank"


def refusal(name: str) -> str:
    """Return the error of an operation on a lazy matrix; a name that ends in _ changes its tensor in place."""
    in_place = name.endswith("_") and not name.startswith("__")
    remedy = _REMEDIES.get(name, _SURGERY if in_place else _ENTRIES)
    return f"{_NAMES.get(name, name)} was asked of a lazy matrix, whose entries are never formed: {remedy}"


def optimizer_refusal(name: str) -> str:
    """Return the error of an optimizer that was to step a lazy matrix."""
    return (
        f"{name} was to step a lazy matrix; nothing has been changed. {_WHY_NOT.get(name, _UNKNOWN)}. Use the "
        "optimizer of the widened model, its sgd(lr), a WideSGD; or a dense model at a width that fits in memory; or "
        "freeze the matrix with requires_grad_(False)"
    )
