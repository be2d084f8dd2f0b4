"""PyTorch code to trace: models at muP scaling, and what is run on them. Plain modules that know nothing of tracing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

CPU = torch.device("cpu")
DOUBLE = torch.float64
Make = Callable[[int], nn.Module]
Run = Callable[[nn.Module], dict[str, Tensor]]


def inputs() -> tuple[Tensor, Tensor]:
    """Return three examples of two features, and their targets."""
    source = torch.Generator(device=CPU).manual_seed(1)
    x = torch.randn(3, 2, generator=source, dtype=DOUBLE, device=CPU)
    return x, (x[:, :1] * x[:, 1:]).tanh()


class Model(nn.Module):
    """The layers that all models have: a read-in, a hidden and a read-out layer, with muP's initialisation."""

    def __init__(self, n: int, *, outputs: int = 1, bias: bool = False) -> None:
        super().__init__()
        self.n = n
        self.read_in = nn.Linear(2, n, bias=bias, dtype=DOUBLE, device=CPU)
        self.hidden = nn.Linear(n, n, bias=bias, dtype=DOUBLE, device=CPU)
        self.read_out = nn.Linear(n, outputs, bias=bias, dtype=DOUBLE, device=CPU)
        for layer, std in ((self.read_in, 1.0), (self.hidden, 1 / math.sqrt(n)), (self.read_out, 1 / n)):
            nn.init.normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def rates(self) -> dict[str, float]:
        """Return muP's learning rates of the parameters."""
        return {
            name: {"read_out.weight": 1 / self.n, "hidden.weight": 1.0, "other.weight": 1.0, "read_out.bias": 1.0}.get(
                name, float(self.n)
            )
            for name, _ in self.named_parameters()
        }


class Perceptron(Model):
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.read_out(torch.tanh(self.hidden(torch.tanh(self.read_in(x)))))
        return out


class Residual(Model):
    def forward(self, x: Tensor) -> Tensor:
        h = self.read_in(x)
        h = h + 0.5 * self.hidden(functional.gelu(h))
        out: Tensor = self.read_out(torch.tanh(h))
        return out


class Recurrent(Model):
    """Three steps with the same weights; ``tied`` False draws new hidden weights for the second."""

    def __init__(self, n: int, tied: bool = True) -> None:
        super().__init__(n)
        self.other = self.hidden
        if not tied:
            self.other = nn.Linear(n, n, bias=False, dtype=DOUBLE, device=CPU)
            nn.init.normal_(self.other.weight, std=1 / math.sqrt(n))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.read_in(x))
        h = torch.tanh(self.hidden(h) + self.read_in(-0.5 * x))
        h = torch.tanh(self.other(h) + self.read_in(x.flip(0)))
        out: Tensor = self.read_out(h)
        return out


class Normalised(Model):
    def __init__(self, n: int) -> None:
        super().__init__(n, bias=True)
        self.norm = nn.LayerNorm(n, dtype=DOUBLE, device=CPU)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.read_out(torch.tanh(self.norm(self.hidden(torch.tanh(self.read_in(x))))))
        return out


MODELS: Mapping[str, Make] = {
    "mlp": Perceptron,
    "residual": Residual,
    "recurrent": Recurrent,
    "layernorm": Normalised,
}


def trained(steps: int = 2, rate: float = 0.3, momentum: float = 0.0, scale: float = 1.0) -> Run:
    """Return a training of some steps by torch.optim.SGD; it gives losses, and outputs before and after.

    ``scale`` multiplies the learning rate of the last step; a fault to plant.
    """
    x, y = inputs()

    def run(model: nn.Module) -> dict[str, Tensor]:
        assert isinstance(model, Model)
        rates = model.rates()
        groups = [{"params": [p], "lr": rate * rates[name]} for name, p in model.named_parameters()]
        optimizer = torch.optim.SGD(groups, lr=rate, momentum=momentum)
        asked: dict[str, Tensor] = {"before": model(x)}
        for step in range(steps):
            optimizer.zero_grad()
            asked[f"loss{step}"] = (model(x) - y).square().mean()
            asked[f"loss{step}"].backward()  # type: ignore[no-untyped-call]
            if step == steps - 1:
                for group in optimizer.param_groups:
                    group["lr"] *= scale
            optimizer.step()
        return {**asked, "after": model(x)}

    return run


def at_width(make: Make, run: Run, n: int, seeds: int) -> dict[str, Tensor]:
    """Return what the code itself gives for many seeds, by the names of a program: (seed,)."""
    found: dict[str, list[Tensor]] = {}
    with torch.random.fork_rng(devices=[]):
        for seed in range(seeds):
            torch.manual_seed(10_000 + seed)
            for name, value in run(make(n)).items():
                for place in (
                    torch.cartesian_prod(*(torch.arange(k, device=CPU) for k in value.shape)) if value.ndim else [None]
                ):
                    label = name if place is None else f"{name}[{','.join(str(int(i)) for i in place.reshape(-1))}]"
                    entry = value if place is None else value[tuple(place.reshape(-1).tolist())]
                    found.setdefault(label, []).append(entry.detach())
    return {name: torch.stack(values) for name, values in found.items()}
