"""The kernels of networks of every architecture at initialisation, against their infinite-width limits.

Rows at step 0, for each of the two ``KERNELS``; K is the limit, K̂ a network's own (``networks.tangent``), and errors
are (K̂ - K) / mean diagonal of K, one index a pair i ≤ j of the first ``probes`` examples:

* ``NAME-error`` of every network up to ``SINGLE`` of them, whose spread over seeds is measured;
* ``NAME-rival-share`` of the same networks: the error's component along (rival - K), 0 when the limit is right and 1
  when the rival is;
* ``mean-NAME-error``: the mean of the errors of ``TEAM`` networks at a time, fewer where a run has few. A bias is far
  below the scatter of single networks, so it takes very many, and storing and reading a number costs more than a narrow
  network does.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tpbench.architecture import Architecture, architecture
from tpbench.bench.claim import LAZY, Config, Point, Row, canonical_json
from tpbench.bench.sweep import LAZY_FIRST_SEED
from tpbench.claims.experiments.setup import DTYPES, load
from tpbench.claims.experiments.shared import Need, found
from tpbench.data.layout import read_as
from tpbench.limits.kernels import Kernels, architecture_kernels
from tpbench.networks.architectures import initial
from tpbench.networks.tangent import empirical_kernels

Array = NDArray[np.float64]
KERNELS = ("nngp", "ntk")
LIMIT = "tpbench.claims.experiments.architecture_kernels:limit_of"
READS = ("dataset", "examples", "data_seed", "layout", "device", "limit_points")
"""Keys of a configuration on which a limit depends, besides its architecture."""
SINGLE, TEAM, FEWEST_TEAMS = 1024, 64, 4
AT_ONCE: Mapping[str, int] = {"cpu": 2**22, "cuda": 2**27, "meta": 2**22}
"""Device -> about how many numbers are computed with at once: on a CPU little enough for its caches."""
MAPS = 4
"""No architecture has more maps a layer: attention's query, key, value and output."""


def run(point: Point) -> Iterator[Row]:
    """Yield the rows described above; ``ValueError`` when the limit is not known well enough."""
    c = point.config
    asked = [[found(need)[place] for need in needs_for(point, name)] for place, name in enumerate(KERNELS)]
    limits, rivals = zip(*asked, strict=True)
    pairs = np.triu_indices(c["probes"])
    scales = [float(np.diag(limit).mean()) for limit, _ in limits]
    for name, (_, deviation), scale in zip(KERNELS, limits, scales, strict=True):
        check(name, float(deviation.max()) / scale, c["limit_error"])
    errors: list[list[Array]] = [[] for _ in KERNELS]
    for seeds in parts(point):
        for of_kernel, measured, (limit, _), scale in zip(errors, measure(point, seeds), limits, scales, strict=True):
            of_kernel.append(((measured - limit) / scale)[:, *pairs])
    for name, of_kernel, (limit, _), (rival, _), scale in zip(KERNELS, errors, limits, rivals, scales, strict=True):
        yield from rows(name, np.concatenate(of_kernel), ((rival - limit) / scale)[pairs], point.seeds)


def rows(name: str, errors: Array, away: Array, seeds: Sequence[int]) -> Iterator[Row]:
    """Yield the rows of one kernel: errors (seed, pair), ``away`` where the rival's kernel lies, (pair,).

    Raises ``ValueError`` where the rival's kernel is the limit.
    """
    distance = float((away**2).sum())
    if distance == 0.0:
        raise ValueError(f"the rival has the same {name} kernel as the limit: choose another rival_architecture")
    single = [place for place, seed in enumerate(seeds) if seed % LAZY_FIRST_SEED < SINGLE]
    for place in single:
        for index, error in enumerate(errors[place].tolist()):
            yield Row(f"{name}-error", error, seed=seeds[place], step=0, index=index)
        yield Row(f"{name}-rival-share", float(errors[place] @ away) / distance, seed=seeds[place], step=0)
    for team in np.array_split(np.arange(len(seeds)), teams(len(seeds))):
        for index, error in enumerate(errors[team].mean(axis=0).tolist()):
            yield Row(f"mean-{name}-error", error, seed=seeds[team[0]], step=0, index=index)


def teams(networks: int) -> int:
    """Return how many teams so many networks make: enough that a mean has an interval."""
    return max(min(FEWEST_TEAMS, networks), networks // TEAM)


def measure(point: Point, seeds: Sequence[int]) -> tuple[Array, Array]:
    """Return the kernels of these networks between the probes, (seed, probe, probe)."""
    c = point.config
    device, dtype = torch.device(c["device"]), DTYPES[c["dtype"]]
    inputs = torch.as_tensor(inputs_of(c), dtype=dtype, device=device)
    lazy = c["weights"] == LAZY
    network = initial(architecture(c["architecture"]), point.width, seeds, lazy=lazy, device=device, dtype=dtype)
    nngp, ntk = (kernel[:, : c["probes"], : c["probes"]] for kernel in empirical_kernels(network, inputs))
    return nngp.cpu().numpy(), ntk.cpu().numpy()


def check(name: str, error: float, allowed: float) -> None:
    """Raise ``ValueError`` when a limit's standard error would be a bias of every width."""
    if error > allowed:
        raise ValueError(
            f"the limit of the {name} kernel is known to {error:.1e} of its mean diagonal, and {allowed:.1e} is asked "
            "for: take fewer examples, or raise limit_error for a coarser comparison"
        )


def parts(point: Point) -> Iterator[tuple[int, ...]]:
    """Split the seeds into ensembles of about ``AT_ONCE`` numbers, less than twice as many."""
    c = point.config
    size = max(1, AT_ONCE[torch.device(c["device"]).type] // numbers(point))
    count = max(1, len(point.seeds) // size)
    edges = [len(point.seeds) * part // count for part in range(count + 1)]
    for start, end in itertools.pairwise(edges):
        yield point.seeds[start:end]


def numbers(point: Point) -> int:
    """Return about how many numbers one network needs at once, rather too many than too few."""
    c = point.config
    of = architecture(c["architecture"])
    shape = inputs_of(c).shape
    window = math.prod(getattr(of, "filter", (1,)))
    vectors = math.prod(shape[:-1])  # examples and positions
    signals = c["examples"] if c["architecture"]["kind"] == "batchnorm" else 1  # a backward pass each
    kept = vectors * (2 + signals) * (window + 1)
    asked = 4 * vectors * (window + 1) if c["weights"] == LAZY else window * point.width
    layers = MAPS if c["architecture"]["kind"] == "attention" else 1
    return layers * getattr(of, "depth", 1) * point.width * (kept + asked)


def needs(point: Point) -> tuple[Need, ...]:
    """Return the computations of a point's limits and of its rivals: the same for every width and seed."""
    return tuple(dict.fromkeys(need for kernel in KERNELS for need in needs_for(point, kernel)))


def needs_for(point: Point, kernel: str) -> tuple[Need, Need]:
    """Return the computations of one kernel's limit and of its rival."""
    c = point.config
    limit = c.get(f"{kernel}_limit_architecture", c.get("limit_architecture", c["architecture"]))
    return _need(c, limit), _need(c, c.get(f"{kernel}_rival_architecture", c["rival_architecture"]))


def _need(c: Config, of: Config) -> Need:
    return Need(LIMIT, (canonical_json({"architecture": of, **{key: c[key] for key in (*READS, "probes")}}),))


def limit_of(configuration: str) -> tuple[tuple[Array, Array], ...]:
    """Return, for each of ``KERNELS``, the limit between the probes and its standard errors, (probe, probe)."""
    c: Config = json.loads(configuration)
    of: Architecture = architecture(c["architecture"])
    inputs = torch.as_tensor(inputs_of(c), dtype=torch.float64, device=torch.device(c["device"]))
    kernels = architecture_kernels(of, inputs, points=c["limit_points"])
    exact = Kernels(torch.zeros_like(kernels.nngp), torch.zeros_like(kernels.ntk))
    error, probes = kernels.error or exact, slice(c["probes"])
    return tuple(
        (of_limit[probes, probes].cpu().numpy(), of_error[probes, probes].cpu().numpy())
        for of_limit, of_error in ((kernels.nngp, error.nngp), (kernels.ntk, error.ntk))
    )


def inputs_of(c: Config) -> Array:
    """Return the examples of a configuration in its layout, (example, …, channel)."""
    return read_as(np.array(load(c).inputs), c["layout"])
