"""Networks of lazy weights have the law of dense ones at every step of training; faults in that law are seen."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import stdtr
from scipy.stats import kstwobign, rankdata
from torch import Tensor

from tpbench.networks import mlp as networks
from tpbench.networks.measure import movements, tangent_kernel
from tpbench.networks.mlp import Ensemble, Mlp, forward, initialise, initialise_lazy
from tpbench.networks.train import Sgd, Task, batches, train
from tpbench.parametrization import named
from tpbench.weights.innovations import Innovations, MonteCarlo
from tpbench.weights.lazy import LazyGaussian

CPU = torch.device("cpu")
STEPS, BASE = 3, 4
SGD = Sgd(learning_rate=0.3, momentum=0.9, weight_decay=0.2, batch=3)
Array = NDArray[np.float64]
Build = Callable[[Mlp, str, Sequence[int]], Ensemble]

TABLES, ACTIVATIONS = ("mup", "ntp", "sp-over-n"), ("relu", "tanh")
SEEDS = {8: 2500, 64: 800, 256: 200}
CASES = list(itertools.product(TABLES, ACTIVATIONS, SEEDS))
FALSE_ALARM = 1e-4 / len(CASES)
"""Of one two-sample test: all of this file's together raise a false alarm once in 10,000 choices of seeds."""


def task() -> Task:
    source = torch.Generator(device=CPU).manual_seed(0)
    x, y = (torch.randn(6, size, generator=source, dtype=torch.float64, device=CPU) for size in (3, 2))
    return Task(x, 2 * y)


def dense(mlp: Mlp, table: str, seeds: Sequence[int]) -> Ensemble:
    return initialise(mlp, named(table), seeds, base_width=BASE, device=CPU, dtype=torch.float64, keep_initial=True)


def lazy(mlp: Mlp, table: str, seeds: Sequence[int], **more: Any) -> Ensemble:
    return initialise_lazy(
        mlp,
        named(table),
        MonteCarlo(seeds),
        base_width=BASE,
        device=CPU,
        dtype=torch.float64,
        keep_initial=True,
        **more,
    )


def features(ensemble: Ensemble, probe: Tensor, start: networks.Trace) -> list[Tensor]:
    """Return numbers (seed,) of one moment: outputs, single neurons, kernels, tangent kernels and movements.

    Neurons of a layer are exchangeable, so the first speaks for all.
    """
    now = forward(ensemble, probe)
    found = [now.output[:, 0, 0], now.output[:, 1, 0]]
    for layer in range(1, ensemble.mlp.depth + 1):
        for vectors in (now.preactivation(layer), now.input_of(layer + 1)):
            kernel = vectors @ vectors.mT / ensemble.mlp.width
            found += [vectors[:, 0, 0], kernel[:, 0, 0], kernel[:, 0, 1]]
    tangent = tangent_kernel(ensemble, probe)
    found += [tangent[:, layer, 0, other] for layer in range(tangent.shape[1]) for other in (0, 1)]
    return found + [measured.values for measured in movements(ensemble, start, now)]


def network(table: str, phi: str, width: int) -> Mlp:
    """Return the network of a case: muP has two hidden matrices, which draw on one axis between them, SP biases."""
    return Mlp(3, 2, width, 3 if table == "mup" else 2, phi, bias=table == "sp-over-n")


def sample(build: Build, table: str, phi: str, width: int, seeds: int) -> Array:
    """Return the features of all steps of training, (seed, feature); wide networks a part of the seeds at a time."""
    parts, part = [], max(1, min(seeds, 30_000 // width))
    for first in range(0, seeds, part):
        ensemble = build(network(table, phi, width), table, range(first, min(first + part, seeds)))
        data = task()
        start = forward(ensemble, data.inputs[:2])
        steps = train(ensemble, data, SGD, batches(6, SGD.batch, STEPS, seed=0))
        moments = [torch.stack(features(now, data.inputs[:2], start), dim=1) for _, now in steps]
        parts.append(torch.cat(moments, dim=1))
    return torch.cat(parts).numpy()


def evidence(one: Array, two: Array) -> Array:
    """Return a p-value a comparison of two samples (seed, feature), of all that distinguishes their laws.

    z-scores of means, of mean squares, and of the products of the ranks of every two features, which see a wrong
    dependence between steps, layers and inputs; and the Kolmogorov-Smirnov distance of every feature. Features have
    sizes around 1; numbers that are equal but for rounding count as equal.
    """
    both = np.round(np.concatenate([one, two]), 9)
    both = both[:, both.std(axis=0) > 0]
    ranks = 2 * rankdata(both, axis=0) / len(both) - 1
    pairs = np.triu_indices(both.shape[1], 1)
    means = z_scores([(part.mean(axis=0), (part**2).mean(axis=0), len(part)) for part in halves(both)])
    squares = z_scores([((part**2).mean(axis=0), (part**4).mean(axis=0), len(part)) for part in halves(both)])
    products = z_scores([(gram(part), gram(part**2), len(part)) for part in halves(ranks)])[pairs]
    z = np.concatenate([means, squares, products])
    scale = (len(one) / 2) ** 0.5
    return np.concatenate([2 * stdtr(len(one) - 1, -np.abs(z)), kstwobign.sf(scale * distances(both, len(one)))])


def z_scores(moments: list[tuple[Array, Array, int]]) -> Array:
    """Return the difference of two means over its standard error, from means, mean squares and counts."""
    (one, one_squared, n), (two, two_squared, m) = moments
    return (one - two) / np.sqrt((one_squared - one**2) / n + (two_squared - two**2) / m)


def halves(both: Array) -> tuple[Array, Array]:
    return both[: len(both) // 2], both[len(both) // 2 :]


def gram(part: Array) -> Array:
    return part.T @ part / len(part)


def distances(both: Array, first: int) -> Array:
    """Return the Kolmogorov-Smirnov distance between the first rows and the others, a column."""
    order = np.argsort(both, axis=0)
    jumps = np.where(order < first, 1 / first, -1 / (len(both) - first))
    sorted_ = np.take_along_axis(both, order, axis=0)
    last = np.concatenate([sorted_[1:] > sorted_[:-1], np.ones((1, both.shape[1]), dtype=bool)])  # of equal numbers
    return np.abs(np.where(last, np.cumsum(jumps, axis=0), 0.0)).max(axis=0)


def differ(p: Array) -> bool:
    return bool(p.min() * len(p) < FALSE_ALARM)


@cache
def dense_sample(table: str, phi: str, width: int) -> Array:
    return sample(dense, table, phi, width, SEEDS[width])


@pytest.mark.parametrize(("table", "phi", "width"), CASES)
def test_lazy_networks_have_the_law_of_dense_ones(table: str, phi: str, width: int) -> None:
    p = evidence(dense_sample(table, phi, width), sample(lazy, table, phi, width, SEEDS[width]))
    assert len(p) > 5000
    assert not differ(p), f"the smallest of {len(p)} p-values is {p.min():.1e}"


def test_the_evidence_is_calibrated() -> None:
    """Two samples of one law, and of laws a tenth of a standard deviation apart, in mean, in size, in dependence."""
    rng = np.random.default_rng(0)
    one, two = rng.standard_normal((2, 4000, 30)) ** 3
    p = evidence(one, two)
    assert 0.003 < (p < 0.01).mean() < 0.02
    assert not differ(p)
    tied = np.where(two[:, :1] > 1, 0.0, two)
    for other in (two + 0.1 * two.std(), 1.5 * two, np.where(two > 1, 0.0, two), two + 0.3 * two[:, ::-1]):
        assert differ(evidence(one, other))
    assert not differ(evidence(tied[:2000], tied[2000:]))


class MixesTheBatch(LazyGaussian):
    def step_(self, y: Tensor, x: Tensor, **more: Any) -> None:
        super().step_(y, x.flip(1), **more)


class KeepsTheInitialPart(LazyGaussian):
    def step_(self, y: Tensor, x: Tensor, **more: Any) -> None:
        super().step_(y, x, **more)
        self._shrink = 1.0


class DecaysTheInitialPartOnly(LazyGaussian):
    def step_(self, y: Tensor, x: Tensor, **more: Any) -> None:
        before = self._shrink
        super().step_(y, x, **{**more, "decay": 0.0})
        self._shrink = before * (1 - more["rate"] * more["decay"])


class ForgetsMomentum(LazyGaussian):
    def step_(self, y: Tensor, x: Tensor, **more: Any) -> None:
        super().step_(y, x, **{**more, "momentum": 0.0})


class SharesItsNumbers(LazyGaussian):
    """Every matrix draws what the others draw on the same axis."""

    def __init__(self, *shape: Any, innovations: Innovations, **more: Any) -> None:
        super().__init__(*shape, innovations=MonteCarlo(innovations.seeds), **more)


class IsTooNarrow(LazyGaussian):
    def __init__(self, *shape: Any, std: float, **more: Any) -> None:
        super().__init__(*shape, std=0.95 * std, **more)


FAULTS = [
    MixesTheBatch,
    KeepsTheInitialPart,
    DecaysTheInitialPartOnly,
    ForgetsMomentum,
    SharesItsNumbers,
    IsTooNarrow,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_seen(monkeypatch: pytest.MonkeyPatch, fault: type[LazyGaussian]) -> None:
    monkeypatch.setattr(networks, "LazyGaussian", fault)
    case = ("mup", "tanh", 64)
    assert differ(evidence(dense_sample(*case), sample(lazy, *case, SEEDS[64])))


@pytest.mark.parametrize(("table", "phi", "width"), [("mup", "relu", 8), ("ntp", "relu", 64), ("mup", "tanh", 256)])
def test_a_transpose_that_is_another_matrix_is_seen(table: str, phi: str, width: int) -> None:
    rival = sample(partial(lazy, transpose_correction=False), table, phi, width, SEEDS[width])
    assert evidence(dense_sample(table, phi, width), rival).min() < 1e-40
