"""Trained networks of any depth against their own infinite-width limit by randomised quasi-Monte Carlo.

The same rows as ``trajectory``, with ``limit-error``: the limit's standard error, root mean square over the probes. The
rival is the limit that forgets the term P Hᵀ of the conditional law, as if W and Wᵀ were independent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import torch

from tpbench.bench.claim import Config, Point, Row, canonical_json
from tpbench.claims.config import table_of
from tpbench.claims.experiments.setup import load, network_of, optimizer_of, setup, train_targets
from tpbench.claims.experiments.shared import Need, found
from tpbench.claims.experiments.trajectory import compare
from tpbench.data.span import span_coordinates
from tpbench.networks.infinite import Limit, limit
from tpbench.networks.train import Task, batches
from tpbench.networks.trajectory import MEASURES, Course

CORRECTS: Mapping[str, bool] = MappingProxyType({"corrected": True, "forgetful": False})
"""Limit by name -> whether it knows that W and Wᵀ are one matrix."""
LIMIT = "tpbench.claims.experiments.deep_limit:limit_of"
RIVAL_POINTS, RIVAL_REPLICATES = (2**11,), 32
"""The rival only gives a direction to project on, so it is known more coarsely."""


def run(point: Point) -> Iterator[Row]:
    """Compare with the limit that the configuration's ``limit`` names; ``rival`` names the other."""
    c = point.config
    right, wrong = (found(need) for need in needs(point))
    probes = c["probes"]
    for step in c["record"]:
        error = float(np.sqrt(np.mean(right.error[step, -probes:] ** 2)))
        if error > c["limit_error"]:
            raise ValueError(
                f"the limit is known to {error:.1e} at step {step}, and {c['limit_error']:.1e} is asked for: raise "
                "limit_replicates or limit_points"
            )
        yield Row("limit-error", error, step=step)
    ours, rivals = right.mean[:, None], wrong.mean[:, None]
    yield from compare(setup(point), probes, lambda start: (ours, rivals, ours))


def needs(point: Point) -> tuple[Need, Need]:
    """Return the computations of a point's limit and of its rival: the same for every width and seed."""
    c = point.config
    # What the limit does not depend on is the same for all runs, so that one computation serves them.
    table = c.get("limit_parametrization", c["parametrization"])
    same = canonical_json({**c, "parametrization": table, "weights": "", "dtype": ""})
    right = (same, CORRECTS[c["limit"]], tuple(c["limit_points"]), c["limit_replicates"])
    wrong = (same, CORRECTS[c["rival"]], RIVAL_POINTS, RIVAL_REPLICATES)
    return Need(LIMIT, right), Need(LIMIT, wrong)


def limit_of(configuration: str, corrects: bool, points: tuple[int, ...], replicates: int) -> Limit:
    """Return the limit of the outputs on all examples, (step, examples, out)."""
    c: Config = json.loads(configuration)
    device = torch.device(c["device"])
    inputs = torch.as_tensor(span_coordinates(np.array(load(c).inputs)), dtype=torch.float64, device=device)
    targets = torch.as_tensor(train_targets(c), dtype=torch.float64, device=device)
    order = batches(c["train"], c["batch"], c["steps"], c["data_seed"])
    course = Course(Task(inputs[: c["train"]], targets), optimizer_of(c), order, inputs, centred=c["centred"])
    return limit(
        network_of(c, inputs.shape[1], width=1),
        table_of(c),
        course,
        measures={"output": MEASURES["output"]},
        points=points,
        replicates=replicates,
        base_width=c["base_width"],
        transpose_correction=corrects,
    )["output"]
