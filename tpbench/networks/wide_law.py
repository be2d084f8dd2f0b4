"""The law of a wide model's initial entries: measured at the base width, rescaled by the parametrization."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tpbench.networks.wide_axes import Family, Growth
from tpbench.weights.gaussian import generator
from tpbench.weights.innovations import Innovations
from tpbench.weights.lazy import Axes, LazyGaussian
from tpbench.weights.matrix import LazyMatrix

ENTRIES = 1 << 14
"""Initial entries of a parameter to measure its law from, where there are so many.

The standard deviation of Gaussian entries is good to 1/sqrt(2 · entries): 0.6% then; 1.1% for a vector of width 64,
which has 4096 in all ``MODELS``; 9% for that of a module, of which there is one. ``stds`` says it exactly.
"""
MODELS = 64
"""Fresh models of a factory to draw for that at most; a module given as such is the only one."""
LAZY_DTYPES = (torch.float32, torch.float64)
CENTRED = 5.0
"""Standard errors by which the mean of entries may differ from 0 to be taken as 0."""


@dataclass(frozen=True)
class Law:
    """Independent N(mean, std²) entries; a std of 0 is a constant."""

    mean: float
    std: float

    def times(self, factor: float) -> Law:
        """Return the law of the entries times a number."""
        return Law(self.mean * factor, self.std * factor)


@contextmanager
def randomness_of(seed: int, stream: str, device: torch.device) -> Iterator[None]:
    """Draw what a factory draws from one stream of a seed, on a device; the caller's generator stays as it was."""
    with torch.random.fork_rng(devices=[]), device:
        torch.default_generator.manual_seed(generator(seed, stream).initial_seed())
        yield


def measure(family: Family, names: Sequence[str]) -> dict[str, Law]:
    """Return the law of the initial entries of parameters at the base width.

    Fresh models are drawn until there are ``ENTRIES`` entries of each that is not constant, at most ``MODELS``; the
    draws do not depend on any seed, so that every seed and width gets the same law.
    """
    cpu = torch.device("cpu")
    with randomness_of(0, "pooled base models", cpu):
        pooled = [_entries(family.at(family.base_width), names)]
        varying = [entries.numel() for entries in pooled[0].values() if not _constant(entries)]
        count = min(MODELS, -(-ENTRIES // min(varying, default=ENTRIES))) if family.fresh else 1
        pooled += [_entries(family.at(family.base_width), names) for _ in range(count - 1)]
    return {name: _law(torch.cat([entries[name] for entries in pooled])) for name in names}


def _entries(model: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
    parameters = dict(model.named_parameters())
    return {name: parameters[name].detach().to("cpu", torch.float64).flatten() for name in names}


def _constant(entries: Tensor) -> bool:
    return bool((entries == entries[0]).all())


def _law(entries: Tensor) -> Law:
    mean = float(entries.mean())
    if _constant(entries):
        return Law(float(entries[0]), 0.0)
    size = float(entries.square().mean().sqrt())
    if abs(mean) <= CENTRED * size / math.sqrt(entries.numel()):
        return Law(0.0, size)
    return Law(mean, float(entries.std()))


def dense(law: Law, growth: Growth, source: Innovations, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return a tensor with the entries of a law; vectors along its growing axis are drawn from ``source``."""
    if law.std == 0.0:
        return torch.full(growth.shape, law.mean, dtype=dtype, device=device)
    (axis,) = growth.axes
    size = growth.shape[axis]
    others = [*growth.shape[:axis], *growth.shape[axis + 1 :]]
    drawn = source.draw(neurons(size), math.prod(others), size, dtype=dtype, device=device)
    return drawn.mul_(law.std).add_(law.mean).view(*others, size).movedim(-1, axis).contiguous()


def check_dtype(dtype: torch.dtype, whose: str) -> None:
    """Raise ``ValueError`` for a dtype that the orthogonal bases of lazy matrices are too inaccurate in."""
    if dtype not in LAZY_DTYPES:
        raise ValueError(
            f"{whose} is {dtype}, and lazy matrices are float32 or float64: say dtype=torch.float32 or "
            "dtype=torch.float64, for all of the model"
        )


def lazy(
    name: str, law: Law, shape: tuple[int, int], source: Innovations, *, dtype: torch.dtype, device: torch.device
) -> LazyMatrix:
    """Return a lazy matrix with the entries of a law; ``ValueError`` where they are not centred or of low precision."""
    check_dtype(dtype, name)
    if law.mean != 0.0:
        raise ValueError(
            f"the initial entries of {name} are not centred, and those of a lazy matrix are Gaussian with mean 0: "
            f'initialise it so, or say stds={{"{name}": …}}; a multiple of the identity can be added in forward()'
        )
    axes = Axes(out=neurons(shape[0]), into=neurons(shape[1]))
    return LazyMatrix(LazyGaussian(shape, std=law.std, innovations=source, axes=axes, dtype=dtype, device=device))


def neurons(size: int) -> str:
    """Return the axis that all vectors of a size lie on.

    They share one, for a model may add any two of them, as residual streams do: Sobol' points of neurons must be
    distinct dimensions of one sequence then.
    """
    return f"{size} neurons"
