"""Experiments: from a point to rows. Here theory, networks and bench meet; this table imports none of them."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping

from tpbench.bench.claim import Experiment, Point, Row

EXPERIMENTS: Mapping[str, str] = {
    "training": "tpbench.claims.experiments.training:run",
    "tangent": "tpbench.claims.experiments.tangent:run",
    "kernel-trajectory": "tpbench.claims.experiments.trajectory:run_kernel",
    "ntk-ensemble": "tpbench.claims.experiments.ensemble:run",
    "gradient-flow": "tpbench.claims.experiments.flow:run",
    "edge-of-stability": "tpbench.claims.experiments.edge:run",
    "linear-mup-trajectory": "tpbench.claims.experiments.trajectory:run_linear_mup",
    "deep-limit-trajectory": "tpbench.claims.experiments.deep_limit:run",
    "kernel-change": "tpbench.claims.experiments.kernel_change:run",
    "shift": "tpbench.claims.experiments.shift:run",
    "alignment": "tpbench.claims.experiments.alignment:run",
    "spectra": "tpbench.claims.experiments.spectra:run",
    "shrinkage": "tpbench.claims.experiments.shrinkage:run",
    "architecture-kernels": "tpbench.claims.experiments.architecture_kernels:run",
    "cost": "tpbench.claims.experiments.cost:run",
    "gaussian-process": "tpbench.claims.experiments.gaussian_process:run",
    "higher-order": "tpbench.claims.experiments.higher_order:run",
    "semicircle": "tpbench.claims.experiments.random_matrices:run_semicircle",
    "marchenko-pastur": "tpbench.claims.experiments.random_matrices:run_covariance",
    "free-independence": "tpbench.claims.experiments.random_matrices:run_freeness",
    "jacobian-singular-values": "tpbench.claims.experiments.jacobian:run",
    "program-moments": "tpbench.claims.experiments.program_moments:run",
    "central-limit": "tpbench.claims.experiments.central_limit:run",
    "iid-coordinates": "tpbench.claims.experiments.iid_coordinates:run",
    "regimes": "tpbench.claims.experiments.regimes:run",
    "word2vec-sizes": "tpbench.claims.experiments.word2vec_sizes:run",
    "word2vec-limit": "tpbench.claims.experiments.word2vec_limit:run",
    "word2vec-epochs": "tpbench.claims.experiments.word2vec_epochs:run",
}
"""Experiment -> where its function is; it is imported when the first point needs it."""

TIMED = frozenset({"cost"})
"""Experiments that measure time: they are run alone, with all cores."""


def run(point: Point) -> Iterable[Row]:
    """Do one run and return its rows."""
    module, _, name = EXPERIMENTS[point.experiment].partition(":")
    function: Experiment = getattr(importlib.import_module(module), name)
    return function(point)
