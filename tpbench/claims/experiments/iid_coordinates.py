"""Are the neurons of a hidden layer independent, at the start and after training? Two estimates over an ensemble.

With h the pre-activations of the last hidden layer at a recorded step, in units of their root mean square over the run:

* ``neuron-cumulant``: ``Cov(h_i(a) h_i(b), h_j(a) h_j(b))`` of neurons i ≠ j for all inputs a ≤ b, over all pairs of
  neurons at once: the variance over networks of the mean over neurons, less what independent neurons would give
  (``gaussian_process.neuron_cumulants``);
* ``pair-dependence``: HSIC, the Hilbert-Schmidt independence criterion with Gaussian kernels, 0 for independent
  variables alone (Gretton et al. 2005; without bias as by Song et al. 2012), of neurons i and i + n/2 at the first
  input, over that of a neuron and itself: 1 would be two copies of one neuron.

A row is the estimate from a team of networks; the dependence of a neuron and itself is estimated once a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tpbench.bench.claim import Config, Point, Row
from tpbench.claims.experiments.gaussian_process import neuron_cumulants, teams
from tpbench.claims.experiments.setup import Setup, setup
from tpbench.networks.mlp import forward
from tpbench.networks.train import train

Array = NDArray[np.float64]
PAIRS = 8
"""The most pairs of neurons of one network whose HSIC is taken."""


def run(point: Point) -> Iterator[Row]:
    """Yield the rows described above at every recorded step.

    Keys of the configuration that plant errors: networks are no wider than ``widest``; with ``scatter`` the neurons of
    every other network are 1 + scatter times as large, those of the rest 1 - scatter times; with ``twins`` the second
    half of the neurons repeats the first.
    """
    c = point.config
    known = setup(replace(point, width=min(point.width, c["widest"] or point.width)))
    parts = [_trained(known, c, seeds) for seeds in known.parts()]
    for step in c["record"]:
        products = [moments(part[step]) for part in parts]
        common, own = (np.concatenate(each) for each in zip(*products, strict=True))
        pairs = torch.cat([part[step][:, 0, _paired(part[step].shape[2])] for part in parts])
        yield from _rows(point, step, common, own, pairs)


def _trained(run: Setup, c: Config, seeds: tuple[int, ...]) -> dict[int, Tensor]:
    """Return the last hidden layer's pre-activations (seed, example, neuron) at the recorded steps, float64."""
    ensemble, found = run.initialise(seeds), {}
    for step, _ in train(ensemble, run.task(ensemble), run.optimizer, run.order):
        if step in run.record:
            h = forward(ensemble, run.inputs).preactivations[-1].to(torch.float64).clone()
            half = h.shape[2] // 2
            if c["twins"]:
                h[:, :, half : 2 * half] = h[:, :, :half]
            signs = torch.tensor([1 - seed % 2 * 2 for seed in seeds], dtype=h.dtype, device=h.device)
            found[step] = h * (1 + c["scatter"] * signs)[:, None, None]
    return found


def moments(h: Tensor) -> tuple[Array, Array]:
    """Return the mean q over neurons of ``p_i = h_i(a) h_i(b)`` and ``Σ_i (p_i - q)²/(n(n - 1))``, (seed, a, b)."""
    products = h[:, :, None] * h[:, None]
    return products.mean(dim=-1).cpu().numpy(), (products.var(dim=-1) / h.shape[2]).cpu().numpy()


def _paired(neurons: int) -> list[int]:
    """Return neurons 0, 1, … and then their partners, n/2 further on."""
    half = neurons // 2
    return [*range(min(PAIRS, half)), *range(half, half + min(PAIRS, half))]


def _rows(point: Point, step: int, common: Array, own: Array, pairs: Tensor) -> Iterator[Row]:
    square = float(np.einsum("saa->sa", common).mean())
    scale = np.full(common.shape[1:], square)
    chosen = teams(len(common))
    shares = dependences(pairs / square**0.5, [team.tolist() for team in chosen])
    for team, dependence in zip(chosen, shares.tolist(), strict=True):
        seed = point.seeds[team[0]]
        for index, value in enumerate(neuron_cumulants(common[team], own[team], scale).tolist()):
            yield Row("neuron-cumulant", value, seed=seed, step=step, index=index)
        yield Row("pair-dependence", dependence, seed=seed, step=step)


def dependences(pairs: Tensor, chosen: Sequence[list[int]]) -> Array:
    """Return, a team, the mean HSIC of paired neurons, over the mean of all teams of that of neurons with themselves.

    ``pairs`` (seed, neurons and then their partners).
    """
    first, second = pairs.mT.chunk(2)  # (neuron, seed)
    between = [float(hsic(first[:, team], second[:, team]).mean()) for team in chosen]
    own = [float(hsic(first[:, team], first[:, team]).mean()) for team in chosen]
    return np.asarray(np.array(between) / np.mean(own))


def hsic(x: Tensor, y: Tensor) -> Tensor:
    """Return the unbiased estimate of HSIC from samples x and y, (…, sample), with kernels ``exp(-(x - x')²/2)``.

    Raises ``ValueError`` for fewer than 4 samples, of which there is none.
    """
    m = x.shape[-1]
    if m < 4:
        raise ValueError(f"HSIC has an unbiased estimate from 4 samples on, got {m}: take more seeds")
    k, l = (_kernel(each) for each in (x, y))  # noqa: E741 - the symbols of the paper
    rows = k.sum(dim=-1) * l.sum(dim=-1)
    total = k.sum(dim=(-1, -2)) * l.sum(dim=(-1, -2)) / ((m - 1) * (m - 2))
    return ((k * l).sum(dim=(-1, -2)) + total - 2 / (m - 2) * rows.sum(dim=-1)) / (m * (m - 3))


def _kernel(x: Tensor) -> Tensor:
    kernel = torch.exp(-0.5 * (x[..., :, None] - x[..., None, :]) ** 2)
    return kernel - torch.diag_embed(kernel.diagonal(dim1=-2, dim2=-1))
