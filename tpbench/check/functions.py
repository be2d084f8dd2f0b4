"""Names of torch functions by what they do with a parameter, where they are no product of it."""

from __future__ import annotations

from collections.abc import Mapping

_ARITHMETIC = ("add", "sub", "mul", "div", "pow", "true_divide", "truediv", "divide", "multiply", "subtract", "rsub")

ENTRYWISE: frozenset[str] = frozenset(
    [
        *_ARITHMETIC,
        *(f"{name}_" for name in _ARITHMETIC),
        *(f"__{prefix}{name}__" for prefix in ("", "r", "i") for name in _ARITHMETIC),
        *("where", "maximum", "minimum", "lerp", "addcmul", "addcdiv", "clamp", "clip"),
        *("cat", "concat", "concatenate", "stack", "hstack", "vstack", "copy_", "__setitem__", "masked_fill"),
        *("layer_norm", "rms_norm", "group_norm", "batch_norm", "instance_norm", "prelu", "__getitem__"),
        *("scaled_dot_product_attention", "dropout", "alpha_dropout", "feature_dropout", "gather", "roll"),
        *("index_select", "take_along_dim", "softmax", "native_layer_norm"),
    ]
)
"""Functions that take a parameter entry by entry: gains, biases, tokens of classes, tables of positions."""

SUMS: frozenset[str] = frozenset({"add", "add_", "sub", "sub_", "__radd__", "__iadd__", "__add__"})
"""Functions whose result, multiplied by a number, multiplies the parameter they add."""

SHAPED_LIKE: frozenset[str] = frozenset({"expand_as", "view_as", "reshape_as", "type_as"})
"""Functions whose other arguments give no numbers."""

DROPOUTS: frozenset[str] = frozenset({"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"})
"""Functions of parameters alone that cannot be done again, because they draw."""

_RECURRENT = (
    "a fused recurrent layer hides the products of its steps. Write the layer a step at a time with nn.Linear for the "
    "inputs and nn.Linear for the state"
)

UNSEEN: Mapping[str, str] = {
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _RECURRENT),
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), _RECURRENT),
    "bilinear": "write it with einsum, one product at a time",
}
"""Functions whose uses of parameters cannot be measured, and what to do."""
