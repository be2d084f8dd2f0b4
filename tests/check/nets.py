"""The networks of the catalogue, as people write them: plain PyTorch, no parametrization, and the data they train on.

Names carry the role of a parameter (see ``role`` in ``models``): ``fc1``, ``conv1``, ``embed`` and ``position`` read
inputs of fixed size, ``readout`` writes outputs of fixed size, ``norm`` and biases are vectors, all else is hidden.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Batch = tuple[Tensor, Tensor]

FEATURES, CLASSES, VOCABULARY, LENGTH, CHANNELS, SIDE = 16, 8, 32, 10, 3, 8
BASE = 64
"""The width at which every power of the width is 1."""


def growth(width: int, power: float) -> float:
    """Return (width / BASE)^power."""
    return float((width / BASE) ** power)


def source() -> torch.Generator:
    """Return the generator of the data: the same at every width."""
    return torch.Generator(device="cpu").manual_seed(2022)


@functools.cache
def points() -> Batch:
    """Return 16 Gaussian inputs (16, FEATURES) and their classes (16,)."""
    draw = source()
    inputs = torch.randn((16, FEATURES), generator=draw, device="cpu")
    return inputs, torch.randint(CLASSES, (16,), generator=draw, device="cpu")


@functools.cache
def sentences() -> Batch:
    """Return 4 sentences of tokens (4, LENGTH) and the tokens that follow (4, LENGTH)."""
    tokens = torch.randint(VOCABULARY, (4, LENGTH + 1), generator=source(), device="cpu")
    return tokens[:, :-1], tokens[:, 1:]


@functools.cache
def images() -> Batch:
    """Return 4 Gaussian images (4, CHANNELS, SIDE, SIDE) and their classes (4,)."""
    draw = source()
    pixels = torch.randn((4, CHANNELS, SIDE, SIDE), generator=draw, device="cpu")
    return pixels, torch.randint(CLASSES, (4,), generator=draw, device="cpu")


class Mlp(nn.Module):
    """Two hidden layers; ``scale`` multiplies what the read-out gets."""

    def __init__(self, width: int, *, bias: bool = True, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.fc1 = nn.Linear(FEATURES, width, bias=bias)
        self.fc2 = nn.Linear(width, width, bias=bias)
        self.readout = nn.Linear(width, CLASSES, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.fc1(x))
        x = functional.relu(self.fc2(x))
        return self.readout(x * self.scale)


class Multipliers(nn.Module):
    """Two hidden layers without biases: fc1 multiplied by ``first``, the read-out's result by ``last``."""

    def __init__(self, width: int, first: float, hidden: float, last: float) -> None:
        super().__init__()
        self.first, self.hidden, self.last = first, hidden, last
        self.fc1 = nn.Linear(FEATURES, width, bias=False)
        self.fc2 = nn.Linear(width, width, bias=False)
        self.readout = nn.Linear(width, CLASSES, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.first * self.fc1(x))
        x = functional.relu(self.hidden * self.fc2(x))
        return self.readout(x) * self.last


class ResidualMlp(nn.Module):
    """An input layer, three residual branches with a normalisation each, a read-out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(FEATURES, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.branches = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.readout = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        for norm, branch in zip(self.norms, self.branches, strict=True):
            x = x + functional.relu(branch(norm(x)))
        return self.readout(x)


class Regularised(nn.Module):
    """Two hidden layers with batch normalisation and dropout.

    With ``bias`` the layers before a normalisation have one, which it cancels: its gradient is rounding.
    """

    def __init__(self, width: int, *, bias: bool = False) -> None:
        super().__init__()
        self.fc1 = nn.Linear(FEATURES, width, bias=bias)
        self.norm1 = nn.BatchNorm1d(width)
        self.fc2 = nn.Linear(width, width, bias=bias)
        self.norm2 = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(0.1)
        self.readout = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(functional.relu(self.norm1(self.fc1(x))))
        x = self.dropout(functional.relu(self.norm2(self.fc2(x))))
        return self.readout(x)


class ConvNet(nn.Module):
    """Two convolutions, the mean over all places, a read-out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, width, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.readout = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv1(x))
        x = functional.relu(self.conv2(x))
        return self.readout(x.mean(dim=(2, 3)))


class ManualAttention(nn.Module):
    """Causal attention written out; ``scale`` of the size d of a head multiplies the logits."""

    def __init__(self, width: int, heads: int, scale: Callable[[int], float]) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale(width // heads)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in self.three())
        logits = q @ k.transpose(-2, -1) * self.scale
        future = torch.ones(logits.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
        mixed = torch.softmax(logits.masked_fill(future, float("-inf")), dim=-1) @ v
        return self.out(mixed.transpose(1, 2).flatten(2))

    def three(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        return self.query, self.key, self.value


class FusedAttention(nn.Module):
    """Causal attention by ``scaled_dot_product_attention`` with queries, keys and values of one matrix."""

    def __init__(self, width: int, heads: int, scale: Callable[[int], float]) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale(width // heads)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.scale)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and a perceptron, each on a residual branch behind a layer normalisation."""

    def __init__(self, width: int, attention: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = attention
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """A causal language model of two blocks; ``position_scale`` multiplies the position's vectors."""

    def __init__(self, width: int, block: Callable[[int], nn.Module], position_scale: float = 1.0) -> None:
        super().__init__()
        self.position_scale = position_scale
        self.embed = nn.Embedding(VOCABULARY, width)
        self.position = nn.Embedding(LENGTH, width)
        self.blocks = nn.ModuleList(block(width) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[-1], device=tokens.device)
        x = self.embed(tokens) + functional.embedding(places, self.position.weight * self.position_scale)
        for block in self.blocks:
            x = block(x)
        return self.readout(self.norm(x))


class TiedModel(nn.Module):
    """A language model that reads out with its embedding, times ``scale``: a perceptron on the mean of the past."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.embed = nn.Embedding(VOCABULARY, width)
        self.mix = nn.Linear(width, width)
        self.hidden = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        count = torch.arange(1, x.shape[1] + 1, device=x.device)[:, None]
        x = functional.relu(self.mix(x.cumsum(dim=1) / count.sqrt()))
        return functional.linear(functional.relu(self.hidden(x)) * self.scale, self.embed.weight)


class Encoder(nn.Module):
    """PyTorch's own encoder layers with heads of 16 coordinates: more heads at larger widths."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, width // 16, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(2)
        )
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.readout(self.norm(x))


class MuonLike(torch.optim.Optimizer):
    """Spectral descent: matrices move by rate · U Vᵀ of their gradient U S Vᵀ, vectors by rate · sign-free unit RMS."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                assert parameter.grad is not None
                parameter.sub_(group["lr"] * self.direction(parameter.grad))

    @staticmethod
    def direction(gradient: Tensor) -> Tensor:
        if gradient.ndim < 2:
            return gradient / gradient.square().mean().sqrt()
        # The gradient's rank is at most the batch: other directions are rounding, which U Vᵀ would blow up.
        u, s, vh = torch.linalg.svd(gradient, full_matrices=False)
        kept = int((s > 1e-5 * s[0]).sum())
        return u[:, :kept] @ vh[:kept]
