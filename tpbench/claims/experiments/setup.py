"""From the configuration of a point to the objects that run it: network, data, optimizer, order, device."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tpbench import data
from tpbench.bench.claim import Config, Point, Row
from tpbench.claims.config import table_of
from tpbench.data.dataset import Dataset, class_targets, regression_targets
from tpbench.data.span import span_coordinates
from tpbench.networks.factors import Optimizer
from tpbench.networks.measure import Measured
from tpbench.networks.mlp import Ensemble, Mlp, forward, initialise, initialise_lazy
from tpbench.networks.optimizers import Adam, SignDescent, Spectral
from tpbench.networks.train import Sgd, Task, batches
from tpbench.parametrization import Parametrization, Role, did_you_mean
from tpbench.weights.innovations import MonteCarlo

DTYPES: Mapping[str, torch.dtype] = {"float32": torch.float32, "float64": torch.float64}
WEIGHTS_AT_ONCE: Mapping[str, int] = {"cpu": 2**24, "cuda": 2**27, "meta": 2**24}
"""Device -> about how many weights are trained at once: enough matrices to share among threads, within memory."""
WEIGHTS = ("dense", "lazy")


@dataclass(frozen=True)
class Setup:
    """What one run trains."""

    mlp: Mlp
    parametrization: Parametrization
    optimizer: Optimizer
    order: list[np.ndarray | None]
    record: frozenset[int]
    train: range
    inputs: Tensor  # (examples, features)
    targets: Tensor  # (train, outputs)
    device: torch.device
    dtype: torch.dtype
    base_width: int
    centred: bool
    seeds: tuple[int, ...]
    lazy: bool

    def initialise(self, seeds: Sequence[int], *, keep_initial: bool = False) -> Ensemble:
        """Return an ensemble of these seeds at initialisation."""
        if self.lazy:
            return initialise_lazy(
                self.mlp,
                self.parametrization,
                MonteCarlo(seeds),
                base_width=self.base_width,
                device=self.device,
                dtype=self.dtype,
                keep_initial=keep_initial,
                room=self.queries,
            )
        return initialise(
            self.mlp,
            self.parametrization,
            seeds,
            base_width=self.base_width,
            device=self.device,
            dtype=self.dtype,
            keep_initial=keep_initial,
        )

    def task(self, ensemble: Ensemble) -> Task:
        """Return the training task; a centred one subtracts the ensemble's present output."""
        inputs = self.inputs[self.train.start : self.train.stop]
        offset = forward(ensemble, inputs).output.clone() if self.centred else None
        return Task(inputs, self.targets, offset)

    @property
    def queries(self) -> int:
        """About how many directions training and measuring ask of a weight: room and memory are planned by it."""
        batch = self.optimizer.batch or len(self.train)
        return (len(self.record) + 1) * len(self.inputs) + len(self.order) * batch

    def parts(self) -> Iterator[tuple[int, ...]]:
        """Split the seeds into ensembles of about ``WEIGHTS_AT_ONCE`` weights, less than twice as many.

        Whether a seed is trained alone depends on the width and not on the number of seeds: a batched product of
        one matrix is rounded differently from the same product among others.
        """
        fans = [self.mlp.fan(layer) for layer in self.mlp.layers]
        # a lazy matrix holds two vectors of either side for every query
        weights = sum(4 * fan_in * self.queries if self.lazy else fan_in * fan_out for fan_in, fan_out in fans)
        size = max(1, WEIGHTS_AT_ONCE[self.device.type] // weights)
        count = max(1, len(self.seeds) // size)
        edges = [len(self.seeds) * part // count for part in range(count + 1)]
        for start, end in itertools.pairwise(edges):
            yield self.seeds[start:end]


def setup(point: Point) -> Setup:
    """Build what a point asks for; ``ValueError`` names a wrong key or value."""
    c = point.config
    dataset = load(c)
    if c["weights"] not in WEIGHTS:
        raise ValueError(f"unknown weights {c['weights']!r}{did_you_mean(c['weights'], dict.fromkeys(WEIGHTS))}")
    lazy = c["weights"] == "lazy"
    if not 1 <= c["train"] <= len(dataset.inputs):
        raise ValueError(f"train must lie between 1 and the {len(dataset.inputs)} examples, got {c['train']}")
    device, dtype = torch.device(c["device"]), DTYPES[c["dtype"]]
    inputs = span_coordinates(np.array(dataset.inputs)) if lazy else np.array(dataset.inputs)
    mlp = network_of(c, inputs.shape[1], point.width)
    return Setup(
        mlp=mlp,
        parametrization=table_of(c),
        optimizer=optimizer_of(c),
        order=batches(c["train"], c["batch"], c["steps"], c["data_seed"]),
        record=frozenset(c["record"]),
        train=range(c["train"]),
        inputs=torch.as_tensor(inputs, dtype=dtype, device=device),
        targets=torch.as_tensor(train_targets(c), dtype=dtype, device=device),
        device=device,
        dtype=dtype,
        base_width=c["base_width"],
        centred=c["centred"],
        seeds=point.seeds,
        lazy=lazy,
    )


def network_of(c: Config, inputs: int, width: int) -> Mlp:
    """Return the architecture of a configuration."""
    return Mlp(
        inputs=inputs,
        outputs=c["outputs"],
        width=width,
        depth=c["depth"],
        activation=c["activation"],
        bias=c["bias"],
        sigma_w=c["sigma_w"],
        sigma_b=c["sigma_b"],
        zero_output=c["zero_output"],
    )


def optimizer_of(c: Config) -> Optimizer:
    """Return the optimizer of a configuration; ``ValueError`` for an unknown one, and keys that it does not read."""
    name = c["optimizer"]
    if name not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {name!r}{did_you_mean(name, OPTIMIZERS)}")
    if name != "sgd" and c["momentum"]:
        raise ValueError(f"momentum is of the optimizer 'sgd' alone, got {c['momentum']} with {name!r}: set it to 0")
    foreign = sorted(ADAM_KEYS & c.keys()) if name != "adam" else []
    if foreign:
        raise ValueError(f"the optimizer {name!r} does not read {', '.join(foreign)}: leave them out, or take 'adam'")
    return OPTIMIZERS[name](c)


def _adam(c: Config) -> Adam:
    readers: dict[str, Callable[[Any], Any]] = {"betas": tuple, "epsilon_powers": _powers, "decay_powers": _powers}
    more = {key: readers.get(key, lambda value: value)(c[key]) for key in ADAM_KEYS & c.keys()}
    shared = {key: c[key] for key in ("learning_rate", "weight_decay", "batch", "loss", "base_width")}
    return Adam(**shared, **more)


def _powers(section: Mapping[str, Any] | None) -> Mapping[Role, Fraction] | None:
    """Return powers of the width by role; None, which JSON writes as null, stays None."""
    if section is None:
        return None
    try:
        return {Role(role): Fraction(str(power)) for role, power in section.items()}
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(
            f'powers are a table from the roles {", ".join(Role)} to numbers or fractions such as "1/2", got {section}'
        ) from error


OPTIMIZERS: Mapping[str, Callable[[Config], Optimizer]] = {
    "sgd": lambda c: Sgd(c["learning_rate"], c["momentum"], c["weight_decay"], c["batch"], c["loss"]),
    "sign": lambda c: SignDescent(c["learning_rate"], c["weight_decay"], c["batch"], c["loss"]),
    "adam": _adam,
    "spectral": lambda c: Spectral(c["learning_rate"], c["weight_decay"], c["batch"], c["loss"]),
}
ADAM_KEYS = frozenset({"betas", "epsilon", "epsilon_powers", "decoupled", "decay_powers"})


def load(c: Config) -> Dataset:
    """Return the examples that a configuration names."""
    return _load(c["dataset"], c["examples"], c["data_seed"])


@lru_cache(maxsize=8)
def _load(name: str, examples: int, seed: int) -> Dataset:
    return data.load(name, examples=examples, seed=seed)


def train_targets(c: Config) -> np.ndarray:
    """Return the targets of the training examples, (train, outputs), float64: probabilities for cross-entropy."""
    targets = class_targets if c["loss"] == "cross-entropy" else regression_targets
    return np.array(targets(load(c), c["outputs"])[: c["train"]])


def rows_of(measured: Measured, seeds: Sequence[int], step: int) -> Iterator[Row]:
    """Yield a measurement as rows, one a seed."""
    for seed, value in zip(seeds, measured.values.tolist(), strict=True):
        yield Row(measured.quantity, value, seed=seed, step=step, layer=measured.layer)


def in_parts(run: Setup, measure: Callable[[Setup, tuple[int, ...]], Iterator[Row]]) -> Iterator[Row]:
    """Yield the rows of every part of the run's seeds."""
    for seeds in run.parts():
        yield from measure(run, seeds)
