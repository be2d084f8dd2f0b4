"""Time of the analytic kernels of a perceptron with three hidden layers."""

from __future__ import annotations

import numpy as np

from tpbench import kernels
from tpbench.data import gaussian

EXAMPLES = {"relu": 500, "erf": 500, "tanh": 30}
"""tanh has no closed form, so it has fewer."""


class Kernels:
    """NNGP and NTK of random inputs."""

    params = (["relu", "erf", "tanh"],)
    param_names = ("activation",)
    timeout = 120.0

    def setup(self, activation: str) -> None:
        self.inputs = np.array(gaussian(EXAMPLES[activation], 64, seed=0).inputs)

    def time_kernels(self, activation: str) -> None:
        kernels(self.inputs, depth=3, activation=activation, sigma_w=1.5, sigma_b=0.1)

    time_kernels.version = "1"  # type: ignore[attr-defined]
