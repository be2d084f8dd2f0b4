"""Averages over the n coordinates of programs' vectors against what the Master Theorem says of them at n = ∞.

The configuration's ``programs`` are described as JSON objects (``BUILDERS``: ``{"of": "recurrent", "untied": true}``);
``limit`` and ``rival`` say of which programs the limits are taken, and whether W and Wᵀ count as one matrix there. All
outputs of all programs are the components of one vector c_n of averages. Its limit c and the rival's c' give

* ``moment-error``: c_n - c of one network with dense matrices, one out of every ``TEAM``;
* ``mean-moment-error``: the mean of c_n - c over a team of networks with lazy matrices, which have the same law, less
  control variates (``controls``), without which its bias of 1/n would be hidden in its scatter;
* ``rival-share``: the component of that mean along c' - c, as a share of c' - c.

Entries of a matrix are n^(-(a + b)) times N(0, variance), a and b those of hidden weights in the configuration's table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tpbench.bench.claim import Config, Point, Row, canonical_json
from tpbench.claims.config import table_of
from tpbench.claims.experiments.controls import controlled, sampled_with_controls
from tpbench.claims.experiments.setup import DTYPES
from tpbench.claims.experiments.shared import Need, found
from tpbench.parametrization import Role
from tpbench.programs import Program
from tpbench.programs.catalogue import feed_forward, gradient, recurrent, rescaled, untied
from tpbench.programs.infinite import limit
from tpbench.programs.random import numbered_program
from tpbench.programs.sampling import sample

Array = NDArray[np.float64]
LIMIT = "tpbench.claims.experiments.program_moments:limits_of"
TEAM = 8
ENTRIES_AT_ONCE = 2**22
"""About how many entries of one dense matrix, or numbers of a lazy one, are held at a time, over all seeds."""
BUILDERS: Mapping[str, Callable[..., Program]] = {
    "feed-forward": feed_forward,
    "recurrent": recurrent,
    "gradient": gradient,
    "random": numbered_program,
}


def run(point: Point) -> Iterator[Row]:
    """Yield the rows described above, at step 0.

    A key of the configuration that plants an error: ``scatter`` makes the matrices of every other network 1 + scatter
    times as large, and those of the rest 1 - scatter times. Raises ``ValueError`` where the limit is known to less than
    ``limit_error``.
    """
    c = point.config
    [(values, error), (rival, _)] = (found(need) for need in needs(point))
    if error > c["limit_error"]:
        raise ValueError(
            f"the limit is known to {error:.1e}, and {c['limit_error']:.1e} is asked for: raise its points"
        )
    away = np.subtract(rival, values)
    if not (away**2).sum() > (10 * c["limit_error"]) ** 2:
        raise ValueError("the rival has the same limit: choose other programs")
    chosen = teams(len(point.seeds))
    single = averages(point, [team[place % len(team)] for place, team in enumerate(chosen)]) - values
    errors = controlled_averages(point) - values
    for team, member in zip(chosen, single, strict=True):
        seed, mean = point.seeds[team[0]], errors[team].mean(axis=0)
        for index, (one, several) in enumerate(zip(member.tolist(), mean.tolist(), strict=True)):
            yield Row("moment-error", one, seed=seed, step=0, index=index)
            yield Row("mean-moment-error", several, seed=seed, step=0, index=index)
        yield Row("rival-share", float(mean @ away / (away @ away)), seed=seed, step=0)


def teams(networks: int) -> list[list[int]]:
    """Return which networks make up each team."""
    return [team.tolist() for team in np.array_split(np.arange(networks), max(1, networks // TEAM))]


def averages(point: Point, places: Sequence[int]) -> Array:
    """Return the outputs of all programs for the seeds at some places, (seed, output)."""
    c = point.config
    settings = {"weights": c["weights"], "device": c["device"], "dtype": DTYPES[c["dtype"]]}

    def sampled(programs: Sequence[Program], seeds: Sequence[int]) -> Array:
        drawn = [sample(each, point.width, seeds, **settings) for each in programs]
        return np.stack([column.to(torch.float64).cpu().numpy() for each in drawn for column in each.values()], axis=1)

    found = np.concatenate([sampled(*part) for part in _parts(point, places, point.width**2)])
    return np.asarray(found[_order(places)])


def controlled_averages(point: Point) -> Array:
    """Return the outputs of all programs with lazy matrices, less control variates, (seed, output)."""
    places = range(len(point.seeds))
    device = torch.device(point.config["device"])
    found = [
        [sampled_with_controls(each, point.width, seeds, device=device) for each in programs]
        for programs, seeds in _parts(point, places, 16 * point.width)
    ]
    columns = []
    for of_program in zip(*found, strict=True):
        values = np.concatenate([outputs for outputs, _ in of_program])
        groups = [np.concatenate(group) for group in zip(*(each for _, each in of_program), strict=True)]
        columns.append(controlled(values, groups))
    return np.asarray(np.concatenate(columns, axis=1)[_order(places)])


def _parts(point: Point, places: Sequence[int], entries: int) -> Iterator[tuple[list[Program], list[int]]]:
    """Yield programs with seeds to run them with, ``entries`` numbers each: those at even places, then the rest."""
    known = [program_of(description) for description in point.config["programs"]]
    most = max(1, ENTRIES_AT_ONCE // entries)
    for parity in (0, 1):
        chosen = [point.seeds[place] for place in places if place % 2 == parity]
        scattered = (1 + (1 - 2 * parity) * point.config["scatter"]) ** 2
        factor = scattered * matrix_factor(point.config, point.width)
        programs = known if factor == 1.0 else [rescaled(each, factor) for each in known]
        for first in range(0, len(chosen), most):
            yield programs, chosen[first : first + most]


def _order(places: Sequence[int]) -> NDArray[np.int64]:
    """Return where each of some places is when even ones come first."""
    order = sorted(range(len(places)), key=lambda index: places[index] % 2)
    return np.asarray(np.argsort(order), dtype=np.int64)


def matrix_factor(c: Config, width: int) -> float:
    """Return the variance of the matrices' entries that the configuration's table gives, times n."""
    exponents = table_of(c).of(Role.HIDDEN)
    return float(width ** float(1 - 2 * (exponents.a + exponents.b)))


def program_of(description: Mapping[str, Any]) -> Program:
    """Return the program that a JSON object describes; ``ValueError`` for one that is not known."""
    changes = dict(description)
    kind, apart = changes.pop("of", None), changes.pop("untied", False)
    if kind not in BUILDERS:
        raise ValueError(f"programs are {', '.join(BUILDERS)}, got {kind!r}")
    known = BUILDERS[kind](**changes)
    return untied(known) if apart else known


def needs(point: Point) -> tuple[Need, Need]:
    """Return the computations of a point's limit and of its rival, the same for every width and seed."""
    c = point.config
    shared = (tuple(c["limit_points"]), c["limit_replicates"], c["device"])
    limit_, rival = ((canonical_json(c[name]), *shared) for name in ("limit", "rival"))
    return Need(LIMIT, limit_), Need(LIMIT, rival)


def limits_of(
    description: str, points: tuple[int, ...], replicates: int, device: str
) -> tuple[tuple[float, ...], float]:
    """Return the limits of all outputs of some programs, and the largest of their standard errors.

    ``description`` is JSON: ``programs``, and ``transposes`` as ``limit`` takes it.
    """
    wanted = json.loads(description)
    solved = [
        limit(program_of(each), points=points, replicates=replicates, transposes=wanted["transposes"], device=device)
        for each in wanted["programs"]
    ]
    values = [each.scalars[name] for each in solved for name in each.program.outputs]
    return tuple(value.mean for value in values), max(value.error for value in values)
