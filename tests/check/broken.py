"""Models that are not muP: each is a model of ``models`` with one thing wrong, and says what a check must find.

The exponents beside each are worked out by hand: of W x at the start, and of ΔW x after the last step, where nothing
is said they are 0 as under muP (and -1/2 of the read-out's start). Under SGD the signal that comes back to a hidden
coordinate is the read-out's entry, n^-g, and g = 1 under muP; under Adam it does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import mup
import torch
from models import (
    Built,
    Factory,
    conv_net,
    conv_net_sgd,
    encoder,
    mlp_adam,
    mlp_sgd,
    multipliers,
    muon,
    mup_package,
    ntp,
    regression,
    regularised,
    residual,
    sp_over_n,
    spectral,
    tied,
    transformer,
    transformer_adamw,
    zero_readout,
)
from nets import CLASSES, Mlp, points
from torch import nn


@dataclass(frozen=True)
class Broken:
    """A broken model; ``culprit`` matches the name of the layer at fault, ``word`` what must be said of it (both as
    regular expressions, the word without regard to case), ``factor`` is what mends it."""

    factory: Factory
    culprit: str
    word: str
    factor: str = ""


def one_over_root_d(size: int) -> float:
    """Return the usual scale of attention logits."""
    return 1.0 / size**0.5


def pytorch_defaults(width: int) -> Built:
    """The standard parametrization: PyTorch's own deviations, Adam, one rate."""
    model = Mlp(width)
    return model, torch.optim.Adam(model.parameters(), lr=0.005), points()


def with_epsilon(factory: Callable[[int], Built], eps: float) -> Factory:
    """Return a factory whose optimizer has another epsilon."""

    def build(width: int) -> Built:
        model, optimizer, batch = factory(width)
        for group in optimizer.param_groups:
            group["eps"] = eps
        return model, optimizer, batch

    return build


def mup_readout_rate(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return mup's SGD, with the rate of the read-out's matrix as it was at ``BASE``."""
    optimizer: torch.optim.Optimizer = mup.MuSGD(parameters, lr=0.1)
    for group in tuple(optimizer.param_groups):
        matrices = [p for p in group["params"] if p.ndim == 2 and len(p) == CLASSES]
        if matrices:
            group["params"] = [p for p in group["params"] if len(p) != CLASSES]
            optimizer.add_param_group({"params": matrices, "lr": 0.1})
    return optimizer


RATE = "learning rate"
BROKEN: Mapping[str, Broken] = {
    # W3 is n^(-1/2) instead of 1/n under SGD: f_0 is n^0 instead of n^(-1/2). g = 1/2 sends n^(1/2) more back:
    # ΔW x is n^(1/2) in fc1, fc2 and biases, n^0 in the read-out itself.
    "read-out starts too large, sgd": Broken(
        partial(mlp_sgd, stds={"readout.weight": -0.5}), r"readout", "multiplier|deviation", "n^-1/2"
    ),
    # The multiplier 1/sqrt(n) left out with rates as they were: f_0 is n^0, ΔW x of the read-out n^1.
    "read-out without multiplier, sgd": Broken(
        partial(multipliers, last=0.0), r"readout", "multiplier|deviation", "n^-1/2"
    ),
    # The same under Adam: W3 n^(-1/2), its rate n^0: f_0 n^0, ΔW x of the read-out n^1, W_0 Δx n^(1/2).
    "read-out without multiplier, adam": Broken(
        partial(mlp_adam, stds={"readout.weight": -0.5}, rates={"readout.weight": 0.0}),
        r"readout",
        "multiplier|deviation",
        "n^-1/2",
    ),
    # Its deviation alone: f_0 n^0.
    "read-out starts too large, adam": Broken(
        partial(mlp_adam, stds={"readout.weight": -0.5}), r"readout", "multiplier|deviation", "n^-1/2"
    ),
    # Its rate alone: ΔW x n^1.
    "read-out's rate, adam": Broken(partial(mlp_adam, rates={"readout.weight": 0.0}), r"readout", RATE, "n^-1"),
    "read-out's rate, from zero": Broken(
        partial(zero_readout, rates={"readout.weight": 0.0}), r"readout", RATE, "n^-1"
    ),
    # Rate n^0 instead of 1/n: ΔW x n^1 in fc2, nothing in fc1; later layers see a larger x.
    "hidden rate, adam": Broken(partial(mlp_adam, rates={"fc2.weight": 0.0}), r"fc2", RATE, "n^-1"),
    "hidden rate, one branch": Broken(
        partial(residual, rates={"branches.1.weight": 0.0}), r"branches\.1", RATE, "n^-1"
    ),
    "hidden rate, convolution": Broken(partial(conv_net, rates={"conv2.weight": 0.0}), r"conv2", RATE, "n^-1"),
    # Rate n^(1/2) instead of n^0 under SGD: ΔW x n^(1/2) in fc2.
    "hidden rate, sgd": Broken(partial(mlp_sgd, rates={"fc2.weight": 0.5}), r"fc2", RATE, "n^-1/2"),
    # Rate n^(-1/2) instead of n^0 under squared error, where all other updates fall with f_0.
    "small hidden rate, squared error": Broken(partial(regression, rates={"fc2.weight": -0.5}), r"fc2", RATE, "n^1/2"),
    # Deviation n^(-3/2) instead of 1/n: f_0 1/n, and nothing but the read-out moves at first.
    "read-out starts too small, sgd": Broken(
        partial(mlp_sgd, stds={"readout.weight": -1.5}), r"readout", "too small", "n^1/2"
    ),
    # PyTorch's defaults under Adam: ΔW x n^1 in fc2 and the read-out, f_0 n^0.
    "pytorch's defaults, adam": Broken(pytorch_defaults, r"fc2|readout", f"{RATE}|multiplier", "n^-1"),
    # Rate n^0 instead of n under SGD: ΔW x 1/n in fc1.
    "first rate, sgd": Broken(partial(mlp_sgd, rates={"fc1.weight": 0.0}), r"fc1", RATE, "n^1"),
    "first rate, convolution, sgd": Broken(partial(conv_net_sgd, rates={"conv1.weight": 0.0}), r"conv1", RATE, "n^1"),
    # Rate 1/n instead of n^0: Δ of the embedding 1/n.
    "embedding's rate": Broken(partial(transformer, rates={"embed.weight": -1.0}), r"embed", RATE, "n^1"),
    # The multiplier 1/n at the positions: they start at 1/n, their Δ is 1/n.
    "positions times 1/n": Broken(partial(transformer, position=-1.0), r"position", "multiplier|deviation", "n^1"),
    # Rate 1/n (Adam) or n^0 instead of n (SGD): Δ of the bias 1/n.
    "hidden bias's rate, adam": Broken(partial(mlp_adam, rates={"fc2.bias": -1.0}), r"fc2\.bias", RATE, "n^1"),
    "hidden bias's rate, sgd": Broken(partial(mlp_sgd, rates={"fc1.bias": 0.0}), r"fc1\.bias", RATE, "n^1"),
    # Rate 1/n instead of n^0: Δ of the gain 1/n.
    "gain's rate": Broken(
        partial(transformer, rates={"blocks.1.norm2.weight": -1.0}), r"blocks\.1\.norm2", RATE, "n^1"
    ),
    # Deviation n^(-1/4) or n^0 instead of n^(-1/2): W x starts at n^(1/4) or n^(1/2) in fc2.
    "hidden deviation n^-1/4": Broken(partial(mlp_adam, stds={"fc2.weight": -0.25}), r"fc2", "deviation", "n^-1/4"),
    "hidden deviation n^0": Broken(
        partial(residual, stds={"branches.0.weight": 0.0}), r"branches\.0", "deviation", "n^-1/2"
    ),
    # Deviation 1/n: W x starts at n^(-1/2), and batch normalisation hides it from all that follows.
    "hidden deviation 1/n": Broken(partial(regularised, stds={"fc2.weight": -1.0}), r"fc2", "deviation", "n^1/2"),
    # q·k over n^(1/2): once q and k are correlated, the logits' change is n^(1/2).
    "1/sqrt(d) attention": Broken(partial(transformer, attention=one_over_root_d), r"logits", "1/d", "1/d"),
    "1/sqrt(d) attention, fused": Broken(
        partial(transformer_adamw, attention=one_over_root_d), r"logits", "1/d", "1/d"
    ),
    # The rate of hidden matrices is 1/n and the decay n^0: a step shrinks them by 1/n.
    "weight decay": Broken(partial(transformer_adamw, decay=0.0), r"blocks|readout", "decay", "n^1"),
    # The read-out's multiplier 1/n left out: E x starts at n^(1/2), ΔE x is n^1 there.
    "tied without multiplier": Broken(partial(tied, scale=0.0), r"embed", "multiplier", "n^-1"),
    # 1/sqrt(n) in its place: f_0 n^0, ΔE x n^(1/2).
    "tied with 1/sqrt(n)": Broken(partial(tied, scale=-0.5), r"embed", "multiplier", "n^-1/2"),
    # Gradients of hidden entries, input weights and biases are 1/n, far below epsilon: their Δ is 1/n.
    "epsilon": Broken(partial(mlp_adam, eps=0.1), r"fc1|fc2", "epsilon"),
    "epsilon of a transformer": Broken(with_epsilon(transformer, 0.01), r"embed|position|blocks|norm", "epsilon"),
    # The kernel regime: f_0 n^0; ΔW x n^(-1/2) in fc1 and fc2, n^0 in the read-out.
    "ntp": Broken(ntp, r"fc1|fc2|readout", f"{RATE}|multiplier|deviation", "n^1"),
    # Rates 1/n: ΔW x n^(-3/2), n^(-1/2), n^0; f_0 n^0.
    "sp over n": Broken(sp_over_n, r"fc1|fc2|readout", f"{RATE}|multiplier|deviation", "n^2"),
    # PyTorch's Muon leaves a read-out's step at spectral norm 1 instead of n^(-1/2): ΔW x n^(1/2).
    "muon's read-out": Broken(partial(muon, readout=0.0), r"readout", RATE, "n^-1/2"),
    # The step of a hidden matrix at n^(-1/2) instead of 1: ΔW x n^(-1/2).
    "spectral hidden rate": Broken(partial(spectral, rates={"fc2.weight": -0.5}), r"fc2", RATE, "n^1/2"),
    # As in a widened encoder with the rate it had: ΔW x n^1 in a matrix inside PyTorch's own attention.
    "encoder's attention": Broken(
        partial(encoder, rates={"layers.0.self_attn.in_proj_weight": 0.0}), r"layers\.0\.self_attn", RATE, "n^-1"
    ),
    # The package mup with PyTorch's optimizer: ΔW x n^1 in fc2; mup's read-out wants no other rate under Adam.
    "package mup, torch's adamw": Broken(
        partial(mup_package, optimizer=partial(torch.optim.AdamW, lr=0.005)), r"fc2", RATE, "n^-1"
    ),
    # Its read-out's multiplier 1/n enters an update of SGD twice, so its rate must be n: ΔW x 1/n at rate n^0.
    "package mup, read-out's rate": Broken(partial(mup_package, optimizer=mup_readout_rate), r"readout", RATE, "n^1"),
}
