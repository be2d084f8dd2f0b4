"""How long ``tpbench check`` takes against ``mup.coord_check``, and what either can tell.

    python benchmarks/check_speed.py            # two tables
    python benchmarks/check_speed.py --json     # the same numbers, and every repetition, for a machine

Both sides get one model, one optimizer, one batch, the same widths, seeds and steps, and build their networks inside
what is timed, as they do: the perceptron of mup's examples (784 inputs, two hidden layers, 10 classes, batch 64, SGD)
with mup's own read-out, base shapes and optimizer. They take turns, so that whatever else the machine does falls on
both; the ratio is the median over repetitions. mup records a mean absolute value of every layer at every step; we
record W x, ΔW x, W_0 Δx and their sum apart, at the start and at two steps. mup's record of a step is before its
update: to see the state after as many updates as we do it must take one more, so its time is given both ways. First
of all the sizes that both see at the start must agree.

The second table plants faults and says what a reader of either finds. mup leaves the verdict to the eye; here a size
that goes like n^0.2 or more after the last step stands for an eye that sees it grow.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import mup
import numpy as np
import pandas as pd
import torch

# The inner function takes an optimizer of the caller's own, which the faults need; the timed side is the public one.
from mup.coord_check import _get_coord_data, get_coord_data
from torch import Tensor, nn

from tpbench.check import check
from tpbench.check.measure import measure

WIDTHS = (64, 128, 256, 512, 1024, 2048)
BASE, INPUTS, CLASSES, BATCH, RATE = 64, 784, 10, 64, 0.1
TARGET = 0.6
"""The share of mup's time that this project has set itself."""
GROWN = 0.2
AGREEMENT = 0.2

Built = tuple[nn.Module, torch.optim.Optimizer, tuple[Tensor, Tensor]]


class Perceptron(nn.Module):
    """784 inputs, two hidden layers of relu, ten classes, mup's read-out with a further ``multiplier``."""

    def __init__(self, width: int, multiplier: float = 1.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(INPUTS, width, bias=False)
        self.fc2 = nn.Linear(width, width, bias=False)
        self.readout = mup.MuReadout(width, CLASSES, bias=False, output_mult=multiplier)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.readout(self.fc2(self.fc1(x).relu()).relu())
        return out


@dataclass(frozen=True)
class Fault:
    """Powers of the width that should not be there: of the read-out's multiplier, and of parameters' rates."""

    multiplier: float = 0.0
    rates: Mapping[str, float] = field(default_factory=dict)

    def model(self, width: int) -> Perceptron:
        """Return the network with mup's base shapes."""
        model = Perceptron(width, (width / BASE) ** self.multiplier)
        mup.set_base_shapes(model, Perceptron(BASE), delta=Perceptron(2 * BASE))
        return model

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return mup's SGD."""
        width = model.get_parameter("fc2.weight").shape[0]
        groups = [
            {"params": [p], "lr": RATE * (width / BASE) ** self.rates.get(name, 0.0)}
            for name, p in model.named_parameters()
        ]
        made: torch.optim.Optimizer = mup.MuSGD(groups, lr=RATE)
        return made

    def factory(self, width: int) -> Built:
        """Return what ``tpbench check`` wants."""
        model = self.model(width)
        return model, self.optimizer(model), batch()


CORRECT = Fault()
FAULTS: Mapping[str, Fault] = {
    "none": CORRECT,
    "read-out without its multiplier": Fault(multiplier=1.0),
    "fc2's learning rate times sqrt(n)": Fault(rates={"fc2.weight": 0.5}),
    "fc1's learning rate over n": Fault(rates={"fc1.weight": -1.0}),
    "hidden learning rates over sqrt(n)": Fault(rates={"fc1.weight": -0.5, "fc2.weight": -0.5}),
}


def batch() -> tuple[Tensor, Tensor]:
    """Return 64 inputs (64, 784) and classes (64,), the same at every call."""
    source = torch.Generator(device="cpu").manual_seed(0)
    inputs = torch.randn((BATCH, INPUTS), generator=source, device="cpu")
    return inputs, torch.randint(CLASSES, (BATCH,), generator=source, device="cpu")


@dataclass(frozen=True)
class Asked:
    """What both sides are asked for."""

    widths: tuple[int, ...]
    seeds: int
    steps: int

    def rival(self, further: int) -> pd.DataFrame:
        """Return what mup records, called as its documentation says, with some further steps."""
        steps = self.steps + further
        data: pd.DataFrame = get_coord_data(
            self._models(CORRECT), [batch()], optimizer="sgd", lr=RATE, nsteps=steps, **self._options()
        )
        return data

    def rival_with(self, fault: Fault, statistic: str = "l1") -> pd.DataFrame:
        """Return what mup records of a faulty network, one step longer: its last record is before the last update."""
        data: pd.DataFrame = _get_coord_data(
            self._models(fault),
            [batch()],
            fault.optimizer,
            nsteps=self.steps + 1,
            output_fdict={statistic: statistic},
            **self._options(),
        )
        return data

    def ours(self, what: Callable[..., Any], fault: Fault = CORRECT) -> Any:
        """Return what ``measure`` or ``check`` returns."""
        return what(fault.factory, widths=self.widths, seeds=self.seeds, steps=self.steps)

    def _models(self, fault: Fault) -> dict[int, Callable[[], nn.Module]]:
        return {width: partial(fault.model, width) for width in self.widths}

    def _options(self) -> dict[str, Any]:
        return {"nseeds": self.seeds, "cuda": False, "show_progress": False}


@dataclass(frozen=True)
class Repetition:
    """Seconds of mup, of mup with one step more, of our measurements, and of the whole check with its verdicts."""

    rival: float
    rival_further: float
    measured: float
    checked: float


def seconds(work: Callable[[], object]) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(asked: Asked, repeats: int) -> tuple[Repetition, ...]:
    """Time both sides in turns, ``repeats`` times after one that is not counted."""
    rivals = partial(asked.rival, 0), partial(asked.rival, 1)
    sides = *rivals, partial(asked.ours, measure), partial(asked.ours, check)
    return tuple(Repetition(*map(seconds, sides)) for _ in range(repeats + 1))[1:]


def difference(asked: Asked) -> float:
    """Return the largest difference, as a share, of the hidden layers' sizes at the start that both sides see.

    The root mean square over seeds of W x. We look at some rows of the batch, mup at all, so ``AGREEMENT`` is not
    tight. Raises ``ValueError`` where it is missed.
    """
    theirs = asked.rival_with(CORRECT, "l2").query("t == 1")
    found = asked.ours(measure)
    worst = 0.0
    for layer in found.layers[:2]:
        for width in asked.widths:
            sizes = [
                row.value
                for at, row in found.rows
                if (at, row.layer, row.quantity) == (width, layer.number, "preactivation")
            ]
            rows = theirs[(theirs["width"] == width) & (theirs["module"] == layer.name)]["l2"]
            worst = max(worst, abs(_root_mean_square(sizes) / _root_mean_square(rows) - 1))
    if not worst <= AGREEMENT:
        raise ValueError(f"sizes at the start differ by {worst:.0%}: the two sides do not look at the same networks")
    return worst


def _root_mean_square(values: Sequence[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


@dataclass(frozen=True)
class Told:
    """What is found of one planted fault: the layer that mup's sizes show to grow most and its power; our verdict."""

    fault: str
    grows: str
    power: float
    verdict: str
    found: str

    def line(self) -> str:
        """Return the table's line."""
        seen = f"{self.grows} grows like n^{self.power:.2f}" if self.power >= GROWN else "all sizes flat or falling"
        return f"| {self.fault} | {seen} | {self.verdict} | {self.found} |"


def tell(name: str, asked: Asked) -> Told:
    """Plant a fault and look at both."""
    fault = FAULTS[name]
    data = asked.rival_with(fault)
    last = data[(data["t"] == asked.steps + 1) & (data["module"] != "")]
    sizes = last.groupby(["module", "width"])["l1"].mean().unstack()
    powers = {
        str(module): float(np.polyfit(np.log2(sizes.columns.to_numpy(float)), np.log2(row.to_numpy()), 1)[0])
        for module, row in sizes.iterrows()
    }
    most = max(powers, key=lambda module: powers[module])
    report = asked.ours(check, fault)
    found = "; ".join(f"{', '.join(finding.layers)}: {finding.cause}" for finding in report.findings) or "no fault"
    return Told(name, most, powers[most], str(report.verdict), found)


def machine() -> dict[str, object]:
    """Return what the reader must know of the machine."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


SIDES: Mapping[str, str] = {
    "rival": "mup.coord_check.get_coord_data, as many updates",
    "rival_further": "mup.coord_check.get_coord_data, the same last state",
    "measured": "tpbench.check.measure",
    "checked": "tpbench.check.check, with verdicts",
}


def speed_table(repetitions: Sequence[Repetition]) -> Iterator[str]:
    """Yield the first table's lines; a share is the median [least, most] over repetitions."""
    yield f"| side | seconds | of the first line's | of the second's | target |\n{'| --- ' * 5}|"
    for side, label in SIDES.items():
        times = [getattr(r, side) for r in repetitions]
        shares = [_shares(times, [getattr(r, of) for r in repetitions]) for of in ("rival", "rival_further")]
        target = "" if side.startswith("rival") else f"{TARGET}"
        yield f"| {label} | {statistics.median(times):.2f} | {' | '.join(shares)} | {target} |"


def _shares(times: Sequence[float], of: Sequence[float]) -> str:
    ratios = [time / other for time, other in zip(times, of, strict=True)]
    return f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"


def main() -> None:
    """Compare speed, then what is told, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS), help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=5, help="repetitions (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=4, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: %(default)s)")
    given = parser.parse_args()
    if len(given.widths) < 3 or min(given.repeats, given.steps, given.threads, *given.widths) < 1 or given.seeds < 2:
        parser.error("at least three widths and two seeds; widths, repeats, steps and threads at least 1")
    torch.set_num_threads(given.threads)
    asked = Asked(tuple(given.widths), given.seeds, given.steps)
    apart = difference(asked)
    repetitions = compare(asked, given.repeats)
    told = [tell(name, asked) for name in FAULTS]
    if given.json:
        found = {"repetitions": list(map(asdict, repetitions)), "told": list(map(asdict, told)), "difference": apart}
        print(json.dumps({"machine": machine(), **found}, indent=1))
        return
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    print(f"sizes of hidden layers at the start differ by {apart:.0%} at most")
    print(*speed_table(repetitions), sep="\n")
    print(
        "\n| planted fault | mup's sizes after the last step | tpbench | layer and cause |\n| --- | --- | --- | --- |"
    )
    print(*(one.line() for one in told), sep="\n")


if __name__ == "__main__":
    main()
