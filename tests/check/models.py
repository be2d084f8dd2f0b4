"""Models that are muP, by hand: every one must pass ``tpbench check``. Plain PyTorch and powers of the width.

A builder takes the width and returns ``(model, optimizer, batch)``. Its keyword arguments ``stds`` and ``rates`` are
powers of the width that replace those of the tables below for one parameter each; their defaults are right, and
``broken`` gives wrong ones. The tables are written out from Yang & Hu 2021 (arXiv:2011.14522, SGD) and from Yang et
al. 2022 (arXiv:2203.03466, table 3, Adam), with all multipliers 1, and are not taken from ``tpbench.parametrization``:
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import mup
import torch
from nets import (
    BASE,
    CLASSES,
    Batch,
    Block,
    ConvNet,
    Encoder,
    FusedAttention,
    ManualAttention,
    Mlp,
    Multipliers,
    MuonLike,
    Regularised,
    ResidualMlp,
    TiedModel,
    Transformer,
    growth,
    images,
    points,
    sentences,
)
from torch import nn

Powers = Mapping[str, float]
Built = tuple[nn.Module, torch.optim.Optimizer, Batch]
Factory = Callable[[int], Built]

NONE: Powers = {}
STD: Powers = {"input": 0.0, "hidden": -0.5, "output": -1.0}
RATE: Mapping[str, Powers] = {
    # The gradient of a hidden entry is 1/n, of a read-out's entry 1, of an input weight's or a bias's entry 1/n;
    # W x of a hidden layer and a read-out sums n terms of one sign.
    "sgd": {"input": 1.0, "hidden": 0.0, "output": -1.0, "vector": 1.0, "fixed": 0.0},
    # Every entry moves by the rate.
    "adam": {"input": 0.0, "hidden": -1.0, "output": -1.0, "vector": 0.0, "fixed": 0.0},
    # The update has spectral norm 1; it must be sqrt(fan-out / fan-in) (Yang, Simon & Bernstein 2023).
    "spectral": {"input": 0.5, "hidden": 0.0, "output": -0.5, "vector": 0.0, "fixed": 0.0},
}
OPTIMIZERS: Mapping[str, Callable[[list[dict[str, Any]]], torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "spectral": MuonLike,
}


def role(name: str) -> str:
    """Return a parameter's role by its name; see ``nets``."""
    if name.endswith("bias"):
        return "fixed" if "readout" in name else "vector"
    marks = {"norm": "vector", "readout": "output"} | dict.fromkeys(("fc1", "conv1", "embed", "position"), "input")
    return next((marks[mark] for mark in marks if mark in name), "hidden")


def initialise(model: nn.Module, width: int, stds: Powers = NONE) -> None:
    """Draw all matrices anew: He's deviation at ``BASE`` (1 for embeddings, half of it for read-outs), then powers."""
    factor = {"input": 1.0, "hidden": 2**0.5, "output": 0.5}
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            continue
        kind = role(name)
        grown = 1 if kind == "input" else width / BASE  # what the fan-in is larger by than at BASE
        fan_in = 1 if "embed" in name or "position" in name else parameter[0].numel() / grown
        std = factor[kind] / fan_in**0.5 * growth(width, stds.get(name, STD[kind]))
        nn.init.normal_(parameter, std=std)


def groups(model: nn.Module, width: int, family: str, eta: float, rates: Powers = NONE) -> list[dict[str, Any]]:
    """Return one group of the optimizer for each parameter, with the learning rate that its role wants."""
    return [
        {"params": [parameter], "lr": eta * growth(width, rates.get(name, RATE[family][role(name)]))}
        for name, parameter in model.named_parameters()
    ]


def finish(model: nn.Module, width: int, family: str, eta: float, batch: Batch, stds: Powers, rates: Powers) -> Built:
    """Draw the weights, make the optimizer."""
    initialise(model, width, stds)
    return model, OPTIMIZERS[family](groups(model, width, family, eta, rates)), batch


def mlp_sgd(width: int, *, stds: Powers = NONE, rates: Powers = NONE) -> Built:
    """muP in deviations and rates only."""
    return finish(Mlp(width), width, "sgd", 0.1, points(), stds, rates)


def regression(width: int, *, size: float = 0.1, rates: Powers = NONE) -> Built:
    """The same under squared error with small targets: dL/df is f_0 - y, which falls with the width like f_0."""
    model, optimizer, (inputs, _) = mlp_sgd(width, rates=rates)
    return model, optimizer, (inputs, size * inputs[:, :CLASSES])


def mlp_adam(width: int, *, stds: Powers = NONE, rates: Powers = NONE, eps: float = 1e-8, scale: float = 0.0) -> Built:
    """muP for Adam in deviations and rates only; ``scale`` is the power of a multiplier at the read-out."""
    model = Mlp(width, scale=growth(width, scale))
    initialise(model, width, stds)
    return model, torch.optim.Adam(groups(model, width, "adam", 0.005, rates), eps=eps), points()


def multipliers(width: int, *, first: float = 0.5, hidden: float = 0.0, last: float = -0.5, std: float = -0.5) -> Built:
    """muP as in Yang & Hu: all deviations n^(-1/2), one rate, multipliers sqrt(n), 1 and 1/sqrt(n)."""
    model = Multipliers(width, growth(width, first), growth(width, hidden), growth(width, last))
    initialise(model, width, {name: std for name, _ in model.named_parameters()})
    return model, torch.optim.SGD(model.parameters(), lr=0.1), points()


def zero_readout(width: int, *, rates: Powers = NONE) -> Built:
    """A read-out that starts at zero: f_0 = 0, and nothing but the read-out has a gradient at the first step."""
    model, optimizer, batch = mlp_adam(width, rates=rates)
    readout = model.get_parameter("readout.weight")
    nn.init.zeros_(readout)
    return model, optimizer, batch


def compiled(width: int) -> Built:
    """A compiled model; its optimizer has the parameters of the model inside."""
    model, optimizer, batch = mlp_adam(width)
    return torch.compile(model, backend="eager"), optimizer, batch  # type: ignore[return-value]


def residual(width: int, *, stds: Powers = NONE, rates: Powers = NONE) -> Built:
    """A residual perceptron under Adam."""
    return finish(ResidualMlp(width), width, "adam", 0.003, points(), stds, rates)


def regularised(width: int, *, bias: bool = False, stds: Powers = NONE, rates: Powers = NONE) -> Built:
    """Batch normalisation and dropout under Adam; with ``bias``, biases that the normalisation cancels."""
    return finish(Regularised(width, bias=bias), width, "adam", 0.003, points(), stds, rates)


def conv_net(width: int, *, stds: Powers = NONE, rates: Powers = NONE) -> Built:
    """A convolutional network with global average pooling under Adam."""
    return finish(ConvNet(width), width, "adam", 0.003, images(), stds, rates)


def conv_net_sgd(width: int, *, stds: Powers = NONE, rates: Powers = NONE) -> Built:
    """The same under SGD."""
    return finish(ConvNet(width), width, "sgd", 0.1, images(), stds, rates)


def one_over_d(size: int) -> float:
    """Return muP's scale of attention logits."""
    return 1.0 / size


def transformer(
    width: int,
    *,
    attention: Callable[[int], float] = one_over_d,
    position: float = 0.0,
    stds: Powers = NONE,
    rates: Powers = NONE,
) -> Built:
    """Attention written out, four heads that grow, Adam; ``position`` is the power of a multiplier of positions."""
    model = Transformer(
        width, lambda n: Block(n, ManualAttention(n, 4, attention)), position_scale=growth(width, position)
    )
    return finish(model, width, "adam", 0.003, sentences(), stds, rates)


def transformer_adamw(
    width: int, *, attention: Callable[[int], float] = one_over_d, decay: float | None = None, rates: Powers = NONE
) -> Built:
    """PyTorch's attention, AdamW; weight decay such that rate x decay is the same at every width.

    ``decay`` is a power for all parameters alike, in place of that.
    """
    model = Transformer(width, lambda n: Block(n, FusedAttention(n, 4, attention)))
    initialise(model, width)
    chosen = groups(model, width, "adam", 0.003, rates)
    for group in chosen:
        group["weight_decay"] = 0.1 * (0.003 / group["lr"] if decay is None else growth(width, decay))
    return model, torch.optim.AdamW(chosen), sentences()


def tied(width: int, *, scale: float = -1.0, rates: Powers = NONE) -> Built:
    """An embedding that is the read-out as well, with the multiplier 1/n there."""
    return finish(TiedModel(width, 0.1 * growth(width, scale)), width, "adam", 0.005, sentences(), NONE, rates)


def encoder(width: int, *, rates: Powers = NONE) -> Built:
    """PyTorch's own encoder layers under Adam: the number of heads grows, so 1/sqrt(d) is a constant."""
    return finish(Encoder(width), width, "adam", 0.003, sentences(), NONE, rates)


def spectral(width: int, *, stds: Powers = NONE, rates: Powers = NONE) -> Built:
    """Spectral descent on every matrix."""
    return finish(Mlp(width), width, "spectral", 0.1, points(), stds, rates)


def muon(width: int, *, readout: float = -0.5) -> Built:
    """PyTorch's Muon: it scales a step by sqrt(max(1, fan-out / fan-in)), which is right but for read-outs."""
    model = Mlp(width, bias=False)
    initialise(model, width)
    chosen = groups(model, width, "spectral", 0.1, {"fc1.weight": 0.0, "readout.weight": readout})
    return model, torch.optim.Muon(chosen, weight_decay=0.0), points()


class MupMlp(nn.Module):
    """A perceptron for the package mup: PyTorch's default deviations, and mup's read-out."""

    def __init__(self, width: int, readout: Callable[[int, int], nn.Module] = mup.MuReadout) -> None:
        super().__init__()
        self.fc1, self.fc2, self.readout = nn.Linear(16, width), nn.Linear(width, width), readout(width, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.readout(self.fc2(self.fc1(x).relu()).relu())
        return out


def mup_package(width: int, *, optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]) -> Built:
    """The package mup: base shapes and its optimizers."""
    model = MupMlp(width)
    mup.set_base_shapes(model, MupMlp(BASE), delta=MupMlp(2 * BASE))
    return model, optimizer(model.parameters()), points()


def ntp(width: int) -> Built:
    """The NTK parametrization: unit deviations, one rate, multipliers 1, 1/sqrt(n) and 1/sqrt(n)."""
    return multipliers(width, first=0.0, hidden=-0.5, last=-0.5, std=0.0)


def sp_over_n(width: int) -> Built:
    """The standard parametrization with rates eta / n."""
    everywhere = {name: -1.0 for name, _ in Mlp(2).named_parameters()}
    return mlp_sgd(width, stds={"readout.weight": -0.5}, rates=everywhere)


MUP: Mapping[str, Factory] = {
    "multipliers": multipliers,
    "mlp sgd": mlp_sgd,
    "mlp adam": mlp_adam,
    "package mup, sgd": partial(mup_package, optimizer=partial(mup.MuSGD, lr=0.1)),
    "package mup, adamw": partial(mup_package, optimizer=partial(mup.MuAdamW, lr=0.005, weight_decay=0.1)),
    "transformer": transformer,
    "transformer adamw": transformer_adamw,
    "conv net": conv_net,
    "conv net sgd": conv_net_sgd,
    "tied": tied,
    "residual": residual,
    "compiled": compiled,
    "zero read-out": zero_readout,
    "batch norm and dropout": regularised,
    "cancelled biases": partial(regularised, bias=True),
    "encoder": encoder,
    "spectral": spectral,
    "torch's muon": muon,
}
REGRESSION: Mapping[str, Factory] = {
    "targets a tenth of f_0": regression,
    "targets like f_0": partial(regression, size=0.5),
}
"""Models that are muP, under squared error."""
OTHERS: Mapping[str, Factory] = {"ntp": ntp, "sp-over-n": sp_over_n}
"""Table -> a model that follows it, and is not muP."""
