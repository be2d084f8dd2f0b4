"""A network and its shifted twin, (a + θ, b - θ, c - gauge θ) in some roles, trained from the same seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from tpbench.bench.claim import Config, Point, Row
from tpbench.claims.config import table_of
from tpbench.claims.experiments.setup import Setup, in_parts, rows_of, setup
from tpbench.networks.measure import Measured, rms
from tpbench.networks.mlp import forward
from tpbench.networks.train import train
from tpbench.parametrization.symmetry import roles


def run(point: Point) -> Iterator[Row]:
    """Yield ``shift-difference``, |f_twin - f| / |f - f_0|, root mean squares over examples, at the recorded steps.

    The configuration's ``shift`` says θ by role, ``gauge`` how often it counts in c. Epsilon follows the gradient of
    the twin's weights, whose entries are n^(-θ) of the network's.
    """
    twin = setup(replace(point, config=shifted_config(point.config)))

    def measure(run: Setup, seeds: tuple[int, ...]) -> Iterator[Row]:
        ours, theirs = run.initialise(seeds), twin.initialise(seeds)
        start = forward(ours, run.inputs).output
        pairs = zip(
            train(ours, run.task(ours), run.optimizer, run.order),
            train(theirs, twin.task(theirs), twin.optimizer, twin.order),
            strict=True,
        )
        for (step, _), _ in pairs:
            if step in run.record:
                mine, other = (forward(each, run.inputs).output for each in (ours, theirs))
                yield from rows_of(Measured("shift-difference", -1, rms(other - mine) / rms(mine - start)), seeds, step)

    return in_parts(setup(point), measure)


def shifted_config(c: Config) -> Config:
    """Return the configuration of the twin."""
    table = table_of(c)
    shifts = {role: Fraction(c["shift"][role.value]) for role in roles(table)}
    for role, theta in shifts.items():
        table = table.shifted(role, theta, c["gauge"])
    twin = {**c, "parametrization": table.as_config()}
    if c["optimizer"] == "adam":
        twin["epsilon_powers"] = {role.value: str(theta) for role, theta in shifts.items()}
    return twin
