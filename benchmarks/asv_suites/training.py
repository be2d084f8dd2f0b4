"""Time and memory of training steps of one ensemble."""

from __future__ import annotations

import torch

from tpbench.bench.claim import Point
from tpbench.claims.config import config
from tpbench.claims.experiments.setup import setup as prepare  # asv would take a module's "setup" for its own
from tpbench.networks.cost import peak_bytes
from tpbench.networks.train import train
from tpbench.parametrization import named

SEEDS, STEPS = tuple(range(4)), 5


class TrainingStep:
    """Five steps of four networks at once: two hidden relu layers, 64 digits as one batch, 10 outputs."""

    params = ([64, 256, 1024], ["ntp", "mup"])
    param_names = ("width", "parametrization")
    timeout = 120.0

    def setup(self, width: int, parametrization: str) -> None:
        settings = config(
            parametrization=named(parametrization).as_config(), examples=64, train=64, outputs=10, steps=STEPS
        )
        torch.set_num_threads(1)  # the number of cores that are free must not enter the history
        self.run = prepare(Point("training", parametrization, width, SEEDS, settings, code=""))
        self.ensemble = self.run.initialise(SEEDS)
        self.task = self.run.task(self.ensemble)

    def steps(self) -> None:
        for _ in train(self.ensemble, self.task, self.run.optimizer, self.run.order):
            pass

    def time_steps(self, width: int, parametrization: str) -> None:
        self.steps()

    time_steps.version = "1"  # type: ignore[attr-defined]

    def peakmem_steps(self, width: int, parametrization: str) -> None:
        self.steps()

    peakmem_steps.version = "1"  # type: ignore[attr-defined]

    def track_tensor_bytes(self, width: int, parametrization: str) -> int:
        """The most bytes of tensors alive at once among those that the steps create: exact, so every byte counts."""
        return peak_bytes(self.steps)

    track_tensor_bytes.version = "1"  # type: ignore[attr-defined]
    track_tensor_bytes.unit = "bytes"  # type: ignore[attr-defined]
