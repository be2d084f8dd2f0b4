"""Architectures crossed with their options, and inputs that each reads."""

import torch

from tpbench.architecture import (
    PADDINGS,
    READOUTS,
    Attention,
    Convolution,
    LayerNormalised,
    Perceptron,
    Recurrent,
    Residual,
)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator(device="cpu").manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, device="cpu")


def cases(activation: str, sigma_w: float = 1.4, sigma_b: float = 0.3) -> dict[str, object]:
    """Every architecture that works by pairs, with every option, by a name for the test's id."""
    common = {"activation": activation, "sigma_w": sigma_w, "sigma_b": sigma_b}
    found = {
        "mlp": Perceptron(depth=3, **common),
        "residual": Residual(depth=3, branch=0.7, **common),
        "layernorm": LayerNormalised(depth=3, **common),
        "attention-tied": Attention(depth=2, tied=True, **common),
        "attention-free": Attention(depth=2, tied=False, **common),
        "conv2d-zero": Convolution(filter=(3, 1), padding="zero", readout="mean", **common),
        "conv2d-wide": Convolution(filter=(1, 5), padding="circular", readout="flatten", **common),
        "conv2d-square": Convolution(filter=(3, 3), padding="zero", readout="flatten", **common),
    }
    for readout in READOUTS["rnn"]:
        for tied in (True, False):
            found[f"rnn-{readout}-{'tied' if tied else 'fresh'}"] = Recurrent(readout=readout, tied=tied, **common)
    for readout in READOUTS["conv"]:
        for padding in PADDINGS:
            found[f"conv1d-{readout}-{padding}"] = Convolution(depth=3, readout=readout, padding=padding, **common)
    return found


def inputs_for(architecture: object, count: int, *, seed: int = 0) -> torch.Tensor:
    shape = {Convolution: (4, 3), Recurrent: (4, 3), Attention: (4, 3)}.get(type(architecture), (5,))
    if len(getattr(architecture, "filter", ())) == 2:
        shape = (3, 4, 2)
    return draw(count, *shape, seed=seed)
