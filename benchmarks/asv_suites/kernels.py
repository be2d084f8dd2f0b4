"""Time and memory of the analytic kernels of a perceptron with three hidden layers."""

from __future__ import annotations

import torch

from tpbench import kernels
from tpbench.data import gaussian

EXAMPLES = {"relu": 1000, "erf": 1000, "gelu": 1000, "tanh": 100}
"""tanh has no closed form, so it has fewer."""


class Kernels:
    """NNGP and NTK between random inputs of 64 features."""

    params = (list(EXAMPLES), ["float32", "float64"])
    param_names = ("activation", "dtype")
    timeout = 120.0

    def setup(self, activation: str, dtype: str) -> None:
        torch.set_num_threads(1)  # the number of cores that are free must not enter the history
        inputs = gaussian(EXAMPLES[activation], 64, seed=0).inputs
        self.inputs = torch.tensor(inputs, dtype=getattr(torch, dtype), device=torch.device("cpu"))

    def both(self, activation: str) -> None:
        kernels(self.inputs, depth=3, activation=activation, sigma_w=1.5, sigma_b=0.1)

    def time_kernels(self, activation: str, dtype: str) -> None:
        self.both(activation)

    time_kernels.version = "2"  # type: ignore[attr-defined]

    def peakmem_kernels(self, activation: str, dtype: str) -> None:
        self.both(activation)

    peakmem_kernels.version = "1"  # type: ignore[attr-defined]
