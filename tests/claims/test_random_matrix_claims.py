"""The claims about random matrices: limits by programs against formulas, sizes at finite width, second roads."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from tpbench.bench.claim import Claim, Config, Point
from tpbench.claims import CLAIMS
from tpbench.claims import jacobian_singular_values as jacobian_claim
from tpbench.claims import marchenko_pastur as covariance_claim
from tpbench.claims import semicircle as semicircle_claim
from tpbench.claims.experiments import run
from tpbench.claims.experiments.jacobian import (
    free_moments,
    gaussian_mean,
    jacobians,
    moments,
    power_sums,
    slope_moments,
)
from tpbench.claims.experiments.matrix_programs import (
    ACTIVATIONS,
    MEAN,
    covariance,
    freeness,
    jacobian,
    semicircle,
)
from tpbench.claims.experiments.random_matrices import (
    classical_mixed,
    covariance_limit,
    eigenvalues,
    entries,
    free_mixed,
    freeness_limit,
    mixed_traces,
    parts,
    sampled,
    scale,
    scale_free,
    semicircle_limit,
    share,
    symmetric,
)
from tpbench.limits import spectra
from tpbench.limits.spectra import catalan, fuss_catalan, narayana
from tpbench.parametrization import PARAMETRIZATIONS
from tpbench.programs import Program, limit, sample

CPU = torch.device("cpu")
NTP = PARAMETRIZATIONS["ntp"].as_config()
MATRICES = tuple(
    CLAIMS[name] for name in ("semicircle", "marchenko-pastur", "free-independence", "jacobian-singular-values")
)
RATIOS = (Fraction(1, 4), Fraction(1), Fraction(2))
SIGMAS = 5


def configured(claim: Claim, variant: str = "", **changes: Any) -> Config:
    sweep = claim.sweeps["smoke"]
    chosen = sweep.variants.get(variant, next(iter(sweep.variants.values())))
    return {**sweep.config, **chosen, "parametrization": NTP, **changes}


def pointed(claim: Claim, variant: str = "", *, width: int = 8, seeds: int = 4, **changes: Any) -> Point:
    config = configured(claim, variant, **changes)
    return Point(claim.experiment, "ntp", width, tuple(range(seeds)), config, "test")


def exact(program: Program, transposes: str = "dependent") -> list[Fraction | None]:
    found = limit(program, method="exact", transposes=transposes).scalars
    return [found[name].exact for name in program.outputs]


def agrees(values: Any, wanted: Any) -> None:
    """The mean over seeds is as expected, within five standard errors of each."""
    errors = values.std(axis=0, ddof=1) / len(values) ** 0.5
    assert (np.abs(values.mean(axis=0) - wanted) <= SIGMAS * errors + 1e-12).all()


def test_limits_of_programs_are_catalan_narayana_and_fuss_catalan_numbers() -> None:
    assert exact(semicircle(4)) == [catalan(k) for k in range(1, 5)]
    for ratio in RATIOS:
        assert exact(covariance(2, ratio)) == [narayana(k, ratio) for k in range(1, 5)]
    for depth in (1, 2, 3):
        assert exact(jacobian("linear", depth)) == [fuss_catalan(depth, k) for k in (1, 2, 3)]


def test_independent_transposes_are_another_program() -> None:
    """The rival, which forgets that W and Wᵀ are one matrix, is what a program with two matrices has."""
    assert exact(semicircle(3), "independent") == exact(semicircle(3, fresh=True)) == [1, 1, 1]
    for ratio in RATIOS:
        assert exact(covariance(2, ratio), "independent") == exact(covariance(2, ratio, fresh=True))


def test_mixed_moments_of_programs_are_free_ones() -> None:
    powers = [np.array(float(m)) for m in spectra.gaussian_moments(6, mean=MEAN)]
    assert freeness_limit() == pytest.approx(free_mixed(powers))
    assert exact(freeness())[:3] == [0, Fraction(1, 4), 8]
    # of commuting variables: τ(A²)τ(B²), τ(A²)τ(D²), 2 + 6 + 2, then E (a + d)⁴ and E (a + d)⁶
    d = [1.0, 0.5, 1.25, 1.625, 4.5625, 8.28125, 27.203125]
    fourth = 2 + 6 * d[2] + d[4]
    sixth = 5 + 15 * 2 * d[2] + 15 * d[4] + d[6]
    assert classical_mixed() == pytest.approx([1, 1.25, 10, fourth, sixth])


def test_one_matrix_in_all_layers_is_another_law() -> None:
    """A^4 instead of a product of two: m_k = C_2k."""
    assert exact(jacobian("linear", 2, one_matrix=True)) == [catalan(2 * k) for k in (1, 2, 3)]


@pytest.mark.parametrize("weights", ["dense", "lazy"])
def test_means_at_finite_width_are_those_of_real_symmetric_matrices(weights: str) -> None:
    """E tr A²/n = 1 + 1/n, E tr A⁴/n = 2 + 5/n + 5/n², E tr A⁶/n = 5 + 22/n + 52/n² + 41/n³, exactly at every n."""
    n, point = 4, pointed(MATRICES[0], width=4, seeds=20_000, program_weights=weights)
    wanted = np.array([1 + 1 / n, 2 + 5 / n + 5 / n**2, 5 + 22 / n + 52 / n**2 + 41 / n**3])
    agrees(sampled(semicircle(3), point, point.seeds), wanted)
    found = eigenvalues(symmetric(point, "W", point.seeds))
    agrees(np.stack([(found**k).mean(axis=1) for k in (2, 4, 6)], axis=1), wanted)


@pytest.mark.parametrize("ratio", RATIOS, ids=str)
def test_means_at_finite_width_are_those_of_real_wishart_matrices(ratio: Fraction) -> None:
    """E tr S/n = 1 and E tr S²/n = 1 + (n + 1)/m, for S = X Xᵀ with entries of variance 1/m."""
    n, m = 4, int(4 / ratio)
    point = pointed(MATRICES[1], width=n, seeds=20_000, ratio=str(ratio))
    wanted = np.array([1, 1 + (n + 1) / m])
    agrees(sampled(covariance(2, ratio), point, point.seeds)[:, :2], wanted)
    x = entries(point, "X", (n, m), point.seeds)
    traces = np.stack([(eigenvalues(x @ x.mT) ** k).mean(axis=1) for k in (1, 2)], axis=1)
    agrees(traces, wanted)
    assert (scale_free(traces, wanted)).std() < traces[:, 1].std(), "it is there to scatter less"


def test_scale_free_moments_forget_a_small_scale() -> None:
    law, tiny = np.array([2.0, 7.0]), 1e-4
    scaled = law * np.array([1 + tiny, (1 + tiny) ** 2])
    assert abs(scale_free((scaled - law)[None], law)[0, 0]) < 10 * tiny**2
    assert share(np.array([[1.0, 3.0]]), np.array([1.0, 3.0])) == pytest.approx(np.ones((1, 1)))


def test_mixed_traces_are_traces_of_products() -> None:
    point = pointed(MATRICES[2], width=6)
    a, b = (symmetric(point, name, point.seeds) for name in ("W", "V"))
    d = entries(point, "d", (1, 6), point.seeds)[:, 0]
    diagonal = torch.diag_embed(d)
    products = [a @ b @ a @ b, a @ diagonal @ a @ diagonal]
    products += [torch.linalg.matrix_power(each, k) for each, k in ((a + b, 4), (a + diagonal, 4), (a + diagonal, 6))]
    wanted = torch.stack([each.diagonal(dim1=1, dim2=2).mean(dim=1) for each in products], dim=1)
    assert mixed_traces(a, b, d) == pytest.approx(wanted.numpy(), abs=1e-12)


@pytest.mark.parametrize("variant", MATRICES[3].sweeps["smoke"].variants)
def test_jacobians_are_those_of_autograd(variant: str) -> None:
    point = pointed(MATRICES[3], variant, width=6, seeds=2)
    c = point.config
    j, slopes = jacobians(point, point.seeds)
    weights = [entries(point, f"W{layer}", (6, 6), point.seeds) * c["sigma_w"] for layer in range(1, c["depth"] + 1)]
    x = entries(point, "x", (6, 1), point.seeds)

    def network(x: Tensor, seed: int) -> Tensor:
        for w in weights:
            x = ACTIVATIONS[c["activation"]][0](w[seed] @ x)
        return x

    for seed in point.seeds:
        found = torch.func.jacrev(network)(x[seed, :, 0], seed)
        assert j[seed].numpy() == pytest.approx(found.numpy(), abs=1e-12)
    assert len(slopes) == c["depth"]


def test_power_sums_are_of_singular_values() -> None:
    j, _ = jacobians(pointed(MATRICES[3], "tanh"), (0, 1, 2))
    values = torch.linalg.svdvals(j)
    wanted = torch.stack([(values**k).mean(dim=1) for k in (2, 4)], dim=1)
    assert power_sums(j) == pytest.approx(wanted.numpy())


@pytest.mark.parametrize("variant", MATRICES[3].sweeps["smoke"].variants)
def test_free_products_are_what_the_master_theorem_says(variant: str) -> None:
    """Slopes that are made of the weights, and W with Wᵀ: the program's limit knows nothing of freeness."""
    c = configured(MATRICES[3], variant)
    found = limit(jacobian(c["activation"], c["depth"], c["sigma_w"] ** 2)).scalars
    free, _ = moments(c["activation"], c["depth"], c["sigma_w"])
    for k, wanted in enumerate(free, start=1):
        assert abs(found[f"m{k}"].mean - wanted) <= SIGMAS * found[f"m{k}"].error + 1e-7 * wanted


@pytest.mark.parametrize("variant", ["tanh", "relu", "hard-tanh"])
def test_jacobian_moments_are_met_by_wide_networks(variant: str) -> None:
    """At n = 2^14, with lazy matrices, to the n^(-1/2) of a program; the rival's are not."""
    c = configured(MATRICES[3], variant)
    true, rival = moments(c["activation"], c["depth"], c["sigma_w"])
    program = jacobian(c["activation"], c["depth"], c["sigma_w"] ** 2)
    drawn = sample(program, 2**14, 48, weights="lazy")
    found = np.stack([drawn[name].numpy() for name in program.outputs], axis=1)
    errors = found.std(axis=0, ddof=1) / 48**0.5
    assert (np.abs(found.mean(axis=0) - true) <= SIGMAS * errors + 50 * true / 2**14).all()
    assert (np.abs(found.mean(axis=0) - rival)[1:] > 20 * errors[1:]).all()


def test_free_moments_at_the_limits_own_slopes_are_the_limit() -> None:
    """Moments of the slopes of a million neurons are those of the Gaussian limit, to a percent."""
    sigma_w = 1.5
    q = torch.as_tensor(np.random.default_rng(0).standard_normal(10**6), dtype=torch.float64, device=CPU) * sigma_w
    found = free_moments([1 - torch.tanh(q[None]) ** 2], sigma_w)
    assert found[0] == pytest.approx(moments("tanh", 1, sigma_w)[0][:2], rel=0.01)


def test_gaussian_means_are_known_ones() -> None:
    relu, hard = ACTIVATIONS["relu"], ACTIVATIONS["hard-tanh"]
    for variance in (0.3, 2.0):
        inside = math.erf(1 / math.sqrt(2 * variance))
        density = math.exp(-1 / (2 * variance)) / math.sqrt(2 * math.pi * variance)
        assert gaussian_mean(lambda h: relu[0](h) ** 2, variance) == pytest.approx(variance / 2, abs=1e-12)
        assert gaussian_mean(hard[1], variance) == pytest.approx(inside, abs=1e-12)
        square = variance * (inside - 2 * density) + 1 - inside
        assert gaussian_mean(lambda h: hard[0](h) ** 2, variance) == pytest.approx(square, abs=1e-12)
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    wanted = float((weights * np.tanh(nodes) ** 2).sum() / weights.sum())
    assert gaussian_mean(lambda h: torch.tanh(h) ** 2, 1.0) == pytest.approx(wanted, abs=1e-9)
    assert slope_moments("relu", 2, 2**0.5) == [pytest.approx([0.5] * 3)] * 2


@pytest.mark.parametrize("claim", MATRICES, ids=lambda claim: claim.name)
def test_tables_without_wigners_scaling_are_refused(claim: Claim) -> None:
    c = configured(claim)
    fault = next(fault for fault in claim.faults if fault.name == "wrong-wigner-scaling")
    with pytest.raises(ValueError, match=r"n\^\(-2/5\); eigenvalues have a limit for n\^\(-1/2\)"):
        claim.predict(fault.changes(c))
    with pytest.raises(ValueError, match="networks of one hidden layer"):
        claim.predict({**c, "parametrization": PARAMETRIZATIONS["mean-field"].as_config()})
    assert scale(c, 64) == 1
    assert scale(fault.changes(c), 64) == pytest.approx(64**0.2)
    for name in ("sp", "mup"):
        assert claim.predict({**c, "parametrization": PARAMETRIZATIONS[name].as_config()})


@pytest.mark.parametrize("claim", MATRICES, ids=lambda claim: claim.name)
def test_every_prediction_of_every_variant_is_measured(claim: Claim) -> None:
    for variant in claim.sweeps["smoke"].variants:
        point = pointed(claim, variant, width=8, seeds=6, spectral_every=2)
        rows = pd.DataFrame(list(run(point)))
        assert not rows.duplicated(["quantity", "seed", "index"]).any()
        assert {p.quantity for p in claim.predict(point.config)} <= set(rows.quantity)
        assert np.isfinite(rows.value).all()
        of = rows.groupby("quantity").seed.unique()
        assert all(set(of[name]) == {0, 2, 4} for name in of.index if name.startswith(("trace", "scale", "largest")))
        assert set(of["program-moment"]) == set(range(6))


def test_a_seed_is_the_same_in_any_company() -> None:
    claim = MATRICES[0]
    alone = list(run(pointed(claim, width=8, seeds=1, spectral_every=1)))
    among = [r for r in run(pointed(claim, width=8, seeds=3, spectral_every=1)) if r.seed == 0]
    assert [(r.quantity, r.index) for r in alone] == [(r.quantity, r.index) for r in among]
    assert [r.value for r in alone] == pytest.approx([r.value for r in among])


def test_parts_hold_every_chosen_seed_once() -> None:
    point = pointed(MATRICES[0], seeds=10)
    assert sum(parts(point, 2**20, every=3), ()) == (0, 3, 6, 9)
    assert [len(part) for part in parts(point, 2**20)] == [4, 4, 2]


def test_rivals_of_moments_are_computed() -> None:
    """What the claims write down as rivals of relative moments is what the rivals' own formulas give."""
    gaussian = np.array([1.0, 3.0, 15.0]) / semicircle_limit("dependent")
    assert list(semicircle_claim.GAUSSIAN.values()) == pytest.approx(gaussian[1:])
    for ratio, rivals in covariance_claim.INDEPENDENT.items():
        found = covariance_limit(Fraction(ratio), "independent") / covariance_limit(Fraction(ratio), "dependent")
        assert list(rivals.values()) == pytest.approx(found[1:3])
    for variant in jacobian_claim.VARIANTS.values():
        true, rival = moments(variant["activation"], variant["depth"], variant["sigma_w"])
        assert list(jacobian_claim.CLASSICAL[variant["activation"]].values()) == pytest.approx(
            (rival / true)[1:], rel=5e-3
        )
