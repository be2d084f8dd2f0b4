"""Full-batch training near the edge of stability: by how much a step multiplies the residual's largest mode.

The rates are those of ``edge_rates``, in units of ``dynamics.largest_stable_rate`` of the analytic tangent kernel; the
configuration's ``shares`` weigh its terms. Every network is trained anew at each of them, for ``steps`` steps, from the
residual -y with y along the kernel's top eigenvector v; its own f_0 is subtracted. The residual is small (``SIZE``),
so that growth is measured before it bends the kernel, as it does in O(log n) steps of a large one (the catapult of
Lewkowycz et al. 2020, arXiv:2003.02218). With ``u_t = v·(f_t - f_0 - y)``, rows at the last step T:

* ``growth-below-edge`` and ``growth-above-edge``: ``-u_T/u_{T-1}`` at the first and the last rate.
* ``critical-rate``: where that crosses 1, by straight lines between the rates, or beyond the outermost two.

Rows at every step, for the picture: ``output``, ``v·(f_t - f_0)/v·y`` at every rate (index), and ``limit``, the same at
infinite width; 1 is the target.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from tpbench.bench.claim import Config, Point, Row
from tpbench.bench.sweep import LAZY_FIRST_SEED
from tpbench.claims.experiments.setup import Setup, in_parts, setup
from tpbench.claims.experiments.tangent import limit_kernels
from tpbench.claims.experiments.trajectory import SHOWN_SEEDS
from tpbench.limits import Array
from tpbench.limits.dynamics import largest_stable_rate
from tpbench.limits.flow import GradientDescent
from tpbench.networks.mlp import forward
from tpbench.networks.train import Sgd, train

SIZE = 1 / 16
"""The root mean square of the residual at the start, of outputs of size 1."""


@dataclass(frozen=True)
class Edge:
    """The analytic kernel's largest stable rate, its top eigenvalue over N, and its top eigenvector (train,)."""

    rate: float
    eigenvalue: float
    direction: Array


def run(point: Point) -> Iterator[Row]:
    """Train all seeds at all rates and yield the rows described above; ``ValueError`` for what has no such edge."""
    c, run = point.config, setup(point)
    _check(c)
    edge, rates = _edge(c), np.array(c["edge_rates"])

    def measure(run: Setup, seeds: tuple[int, ...]) -> Iterator[Row]:
        learned = np.stack([_learned(run, seeds, edge, rate) for rate in rates])  # (rate, step, seed)
        shown = [i for i, seed in enumerate(seeds) if seed % LAZY_FIRST_SEED < SHOWN_SEEDS]
        yield from _judged(rates, (1 - learned[:, -1]) / (learned[:, -2] - 1), seeds, c["steps"])
        yield from _picture(c, edge, rates, learned[:, :, shown], [seeds[i] for i in shown])

    return in_parts(run, measure)


def _check(c: Config) -> None:
    asked = (c["loss"], c["optimizer"], c["outputs"], c["batch"], c["weight_decay"], c["centred"])
    if asked != ("mse", "sgd", 1, None, 0.0, True):
        raise ValueError(
            "the edge of stability is that of full-batch gradient descent on squared error, with one centred output "
            f"and no weight decay: got loss {asked[0]!r}, optimizer {asked[1]!r}, {asked[2]} outputs, batch "
            f"{asked[3]}, weight decay {asked[4]}, centred {asked[5]}"
        )
    rates = c["edge_rates"]
    if len(rates) < 2 or sorted(set(rates)) != list(rates) or not rates[0] > 0 or c["steps"] < 2:
        raise ValueError(
            f"an edge lies between at least two ascending rates, and growth needs two steps: got {rates} and "
            f"{c['steps']} steps"
        )


def _edge(c: Config) -> Edge:
    places = range(c["train"])
    kernel = limit_kernels(c, c["shares"]).ntk
    eigenvalues, modes = np.linalg.eigh(kernel[np.ix_(places, places)] / len(places))
    rate = largest_stable_rate(kernel, train=places, momentum=c["momentum"])
    return Edge(rate, float(eigenvalues[-1]), modes[:, -1])


def _learned(run: Setup, seeds: tuple[int, ...], edge: Edge, rate: float) -> Array:
    """Return v·(f_t - f_0)/v·y on the training inputs after every step, (step, seed)."""
    ensemble, size = run.initialise(seeds), SIZE * len(run.train) ** 0.5
    targets = torch.as_tensor(size * edge.direction[:, None], dtype=run.dtype, device=run.device)
    task = replace(run.task(ensemble), targets=targets)
    assert isinstance(run.optimizer, Sgd)
    optimizer = replace(run.optimizer, learning_rate=float(rate) * edge.rate)
    found = []
    for _ in train(ensemble, task, optimizer, run.order):
        output = task.centred_output(forward(ensemble, task.inputs).output)
        found.append(output.double().cpu().numpy()[:, :, 0] @ edge.direction / size)
    return np.stack(found)


def _judged(rates: Array, growth: Array, seeds: Sequence[int], step: int) -> Iterator[Row]:
    found = {
        "growth-below-edge": growth[0],
        "growth-above-edge": growth[-1],
        "critical-rate": crossing(rates, growth),
    }
    for quantity, values in found.items():
        for seed, value in zip(seeds, values.tolist(), strict=True):
            yield Row(quantity, value, seed=seed, step=step)


def crossing(rates: Array, growth: Array) -> Array:
    """Return where growth (rate, seed), which rises with the rate, is 1 for every seed, (seed,)."""
    left = (growth[1:-1] < 1).sum(axis=0)
    low, high = (np.take_along_axis(growth, at[None], axis=0)[0] for at in (left, left + 1))
    return np.asarray(rates[left] + (1 - low) * (rates[left + 1] - rates[left]) / (high - low))


def _picture(c: Config, edge: Edge, rates: Array, learned: Array, seeds: Sequence[int]) -> Iterator[Row]:
    for index, rate in enumerate(rates):
        for step in range(c["steps"] + 1):
            schedule = GradientDescent(step, float(rate) * edge.rate, c["momentum"])
            limit = edge.eigenvalue * schedule.gain(np.array([edge.eigenvalue]))
            yield Row("limit", float(limit[0]), step=step, index=index)
            for seed, value in zip(seeds, learned[index, step].tolist(), strict=True):
                yield Row("output", value, seed=seed, step=step, index=index)
