"""Time and memory of lazy networks, and the error of a limit, by commit."""

from __future__ import annotations

import torch

from tpbench.networks.cost import peak_bytes
from tpbench.networks.infinite import limit
from tpbench.networks.mlp import Mlp, initialise_lazy
from tpbench.networks.train import Sgd, Task, batches, train
from tpbench.networks.trajectory import MEASURES, Course
from tpbench.parametrization import named
from tpbench.weights import MonteCarlo

CPU, INPUTS, STEPS = torch.device("cpu"), 4, 5


def course() -> Course:
    source = torch.Generator(CPU).manual_seed(0)
    x = torch.randn(INPUTS, 4, generator=source, dtype=torch.float64, device=CPU)
    y = torch.randn(INPUTS, 1, generator=source, dtype=torch.float64, device=CPU)
    return Course(Task(x, y), Sgd(0.5), batches(INPUTS, None, STEPS, 0), x)


class LazyTraining:
    """Five full-batch steps of one network: two hidden tanh layers, four inputs, float64, with initialisation."""

    params = ([2**10, 2**14, 2**17],)
    param_names = ("width",)
    timeout = 120.0

    def setup(self, width: int) -> None:
        torch.set_num_threads(1)
        self.course = course()

    def steps(self, width: int) -> None:
        mlp, room = Mlp(4, 1, width, 2, "tanh"), INPUTS * STEPS
        start = initialise_lazy(mlp, named("mup"), MonteCarlo(0), device=CPU, dtype=torch.float64, room=room)
        for _ in train(start, self.course.task, self.course.sgd, self.course.order):
            pass

    def time_steps(self, width: int) -> None:
        self.steps(width)

    time_steps.version = "1"  # type: ignore[attr-defined]

    def track_tensor_bytes(self, width: int) -> int:
        """The most bytes of tensors alive at once: linear in the width."""
        return peak_bytes(lambda: self.steps(width))

    track_tensor_bytes.version = "1"  # type: ignore[attr-defined]
    track_tensor_bytes.unit = "bytes"  # type: ignore[attr-defined]


class LimitError:
    """Standard error of a limit at a fixed number of points: 16 scrambles of 2^12."""

    timeout = 120.0

    def setup(self) -> None:
        torch.set_num_threads(1)

    def track_standard_error(self) -> float:
        """The largest over the trajectory of the outputs."""
        found = limit(
            Mlp(4, 1, 1, 2, "tanh"),
            named("mup"),
            course(),
            measures={"output": MEASURES["output"]},
            points=(2**12,),
            replicates=16,
        )
        return float(found["output"].error.max())

    track_standard_error.version = "1"  # type: ignore[attr-defined]
