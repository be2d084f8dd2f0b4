"""The architectures whose kernels are known: what a network is, apart from its width, as data.

``networks/architectures`` has the finite network of each, ``limits/kernels`` its infinite-width limit; both read the
same noun. Everything is in the NTK parametrization: ``lin(x) = σ_w/sqrt(fan-in) w x + σ_b b`` with w, b ~ N(0, 1)
trained, a new one at every mention unless it is said to be tied; phi is the activation and f the output. Inputs have
shape (example, feature), (example, position, channel) for sequences, (example, height, width, channel) for images.
Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

READOUTS: Mapping[str, tuple[str, ...]] = {"rnn": ("mean", "last"), "conv": ("flatten", "mean")}
PADDINGS = ("circular", "zero")
STATISTICS = ("differentiated", "constant")


@dataclass(frozen=True)
class Perceptron:
    """``h^1 = lin(x)``, ``h^{l+1} = lin(phi(h^l))``, ``f = lin(phi(h^depth))``."""

    depth: int = 2
    activation: str = "relu"
    sigma_w: float = 1.0
    sigma_b: float = 0.0

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class Residual:
    """``h^1 = lin(x)``, ``h^{l+1} = h^l + branch · lin(phi(h^l))``, ``f = lin(phi(h^depth))`` (He et al. 2015)."""

    depth: int = 3
    activation: str = "relu"
    sigma_w: float = 1.0
    sigma_b: float = 0.0
    branch: float = 1.0

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class Recurrent:
    """``h_t = lin_W(phi(h_{t-1})) + lin_U(s_t)``, t = 1 … T, without the first term at t = 1.

    W has no bias of its own. ``f = lin(mean_t phi(h_t))`` or, with ``readout`` "last", ``lin(phi(h_T))``. ``tied``
    weights and biases are those of all times; otherwise there are fresh ones at every time.
    """

    activation: str = "tanh"
    sigma_w: float = 1.0
    sigma_b: float = 0.0
    readout: str = "mean"
    tied: bool = True

    def __post_init__(self) -> None:
        _check(self)
        _check_word("readout", self.readout, READOUTS["rnn"])


@dataclass(frozen=True)
class Convolution:
    """``h^1 = conv(x)``, ``h^{l+1} = conv(phi(h^l))`` over 1 or 2 axes with stride 1; the fan-in is filter · channels.

    ``conv`` is ``lin`` of the window around a position, the same at all of them; ``filter`` has one odd size an axis.
    What a window has beyond the edge is the other side (``padding`` "circular") or 0 ("zero"). ``readout`` "flatten"
    is ``f = lin`` of all positions' channels, "mean" is ``lin`` of their mean over positions (global average pooling).
    """

    depth: int = 2
    activation: str = "relu"
    sigma_w: float = 1.0
    sigma_b: float = 0.0
    filter: tuple[int, ...] = (3,)
    readout: str = "flatten"
    padding: str = "circular"

    def __post_init__(self) -> None:
        object.__setattr__(self, "filter", tuple(self.filter))  # JSON has lists only
        _check(self)
        _check_word("readout", self.readout, READOUTS["conv"])
        _check_word("padding", self.padding, PADDINGS)
        if len(self.filter) not in (1, 2) or any(size < 1 or size % 2 == 0 for size in self.filter):
            raise ValueError(f"a convolution has a filter of 1 or 2 odd sizes, got {self.filter}")


@dataclass(frozen=True)
class LayerNormalised:
    """``h^1 = lin(x)``, ``h^{l+1} = lin(phi(LN(h^l)))``, ``f = lin(phi(LN(h^depth)))`` (Ba et al. 2016).

    LN subtracts the mean over the neurons and divides by their standard deviation; it has no parameters, nor epsilon.
    """

    depth: int = 2
    activation: str = "relu"
    sigma_w: float = 1.0
    sigma_b: float = 0.0

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class BatchNormalised:
    """The same with BN in place of LN: every neuron's mean and standard deviation over the examples given (Ioffe &
    Szegedy 2015), as in training. All examples are one batch, and f at one depends on all.

    Gradients take the mean and the standard deviation for the functions of the weights that they are; with
    ``statistics`` "constant" for numbers, which changes nothing but the tangent kernel, and is a mistake.
    """

    depth: int = 2
    activation: str = "relu"
    sigma_w: float = 1.0
    sigma_b: float = 0.0
    statistics: str = "differentiated"

    def __post_init__(self) -> None:
        _check(self)
        _check_word("statistics", self.statistics, STATISTICS)


@dataclass(frozen=True)
class Attention:
    """``h_t = lin(s_t)`` for every token; ``depth`` blocks of self-attention (Vaswani et al. 2017) with a residual:

    ``x_t = phi(h_t)``, ``q_t = lin_Q(x_t)``, ``k_t = lin_K(x_t)``, ``v_t = lin_V(x_t)``,
    ``A_ts = softmax_s(q_t · k_s / n)``, ``h_t ← h_t + lin_O(Σ_s A_ts v_s)``; ``f = lin(mean_t phi(h_t))``.

    Logits are divided by the width n, not its root, so that they converge; ``tied`` makes lin_K = lin_Q. Independent
    ones have logits that vanish.
    """

    depth: int = 1
    activation: str = "relu"
    sigma_w: float = 1.0
    sigma_b: float = 0.0
    tied: bool = True

    def __post_init__(self) -> None:
        _check(self)


Architecture = Perceptron | Residual | Recurrent | Convolution | LayerNormalised | BatchNormalised | Attention

ARCHITECTURES: Mapping[str, type[Any]] = {
    "mlp": Perceptron,
    "residual": Residual,
    "rnn": Recurrent,
    "conv": Convolution,
    "layernorm": LayerNormalised,
    "batchnorm": BatchNormalised,
    "attention": Attention,
}


def architecture(config: Mapping[str, Any]) -> Architecture:
    """Return the architecture of a JSON object: ``kind`` names it, the other keys are its fields.

    Raises ``ValueError`` for an unknown kind or key, and for a value that the architecture cannot have.
    """
    kind = str(config.get("kind"))
    if kind not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {kind!r} (known: {', '.join(ARCHITECTURES)})")
    chosen = ARCHITECTURES[kind]
    known = [field.name for field in fields(chosen)]
    unknown = [key for key in config if key not in (*known, "kind")]
    if unknown:
        raise ValueError(f"the architecture {kind!r} has no {', '.join(unknown)} (it has: {', '.join(known)})")
    made: Architecture = chosen(**{key: value for key, value in config.items() if key != "kind"})
    return made


def _check(of: Any) -> None:
    depth = getattr(of, "depth", 1)
    if not isinstance(depth, int) or depth < 1:
        raise ValueError(f"{type(of).__name__} needs a whole depth of at least 1, got {depth!r}")
    if not 0 < of.sigma_w < math.inf or not 0 <= of.sigma_b < math.inf:
        raise ValueError(f"sigma_w is above 0, sigma_b at least 0, both finite; got {of.sigma_w} and {of.sigma_b}")


def _check_word(what: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        raise ValueError(f"unknown {what} {word!r} (known: {', '.join(known)})")
