"""One file a claim, and the table of all of them. Importing this package imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources

from tpbench.bench.claim import Claim
from tpbench.claims import (
    abc_classification,
    adam_epsilon,
    adam_exponents,
    architecture_kernels,
    central_limit,
    coordinate_size,
    cost,
    cross_entropy_rate,
    dichotomy,
    edge_of_stability,
    feature_movement,
    free_independence,
    gaussian_process,
    gradient_flow,
    gradient_independence,
    higher_order_ntk,
    iid_coordinates,
    interpolation,
    jacobian_singular_values,
    kernel_content,
    kernel_regime_is_linear,
    law_of_large_numbers,
    marchenko_pastur,
    master_theorem,
    mup_deep_limit,
    mup_linear_limit,
    ntk_dynamics,
    ntk_ensemble,
    ntk_frozen,
    readout_alignment,
    semicircle,
    shift_symmetry,
    sp_blowup,
    sp_kernel,
    spectral_norms,
    unique_maximal,
    weight_decay,
    word2vec_analogies,
    word2vec_coordinate_size,
    word2vec_feature_movement,
    word2vec_geometry,
    word2vec_limit,
    word2vec_wider_is_better,
    zero_output,
    zero_readout,
)
from tpbench.parametrization import did_you_mean

CLAIMS: Mapping[str, Claim] = {
    module.CLAIM.name: module.CLAIM
    for module in (
        coordinate_size,
        feature_movement,
        sp_blowup,
        zero_output,
        ntk_frozen,
        ntk_dynamics,
        sp_kernel,
        kernel_regime_is_linear,
        ntk_ensemble,
        gradient_flow,
        edge_of_stability,
        mup_linear_limit,
        mup_deep_limit,
        cost,
        shift_symmetry,
        interpolation,
        kernel_content,
        abc_classification,
        dichotomy,
        unique_maximal,
        adam_exponents,
        readout_alignment,
        cross_entropy_rate,
        spectral_norms,
        adam_epsilon,
        weight_decay,
        zero_readout,
        gaussian_process,
        higher_order_ntk,
        law_of_large_numbers,
        central_limit,
        master_theorem,
        gradient_independence,
        iid_coordinates,
        semicircle,
        marchenko_pastur,
        free_independence,
        jacobian_singular_values,
        word2vec_coordinate_size,
        word2vec_feature_movement,
        word2vec_limit,
        word2vec_analogies,
        word2vec_wider_is_better,
        word2vec_geometry,
    )
} | {claim.name: claim for claim in architecture_kernels.CLAIMS}

NUMERICAL = (
    "parametrization",
    "architecture",
    "weights",
    "limits",
    "limits/kernels",
    "networks",
    "networks/architectures",
    "networks/tangent",
    "networks/word2vec",
    "programs",
    "programs/infinite",
    "programs/tracing",
    "data",
    "data/corpus",
    "claims/experiments",
)
"""The source on which a run's numbers depend; a change there makes every run new."""


def claim(name: str) -> Claim:
    """Return a claim by name; ``ValueError`` with the nearest name when there is none."""
    if name not in CLAIMS:
        raise ValueError(f"unknown claim {name!r}{did_you_mean(name, CLAIMS)}")
    return CLAIMS[name]


@cache
def code_version() -> str:
    """Return a digest of the numerical source, for the digest of every run."""
    root, digest = resources.files("tpbench"), hashlib.sha256()
    for folder in NUMERICAL:
        for file in sorted(root.joinpath(folder).iterdir(), key=lambda entry: entry.name):
            if file.name.endswith(".py"):
                digest.update(f"{folder}/{file.name}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]
