"""What the experiments on trained ensembles, flows and the edge of stability rest on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tpbench.bench.claim import Point, Row
from tpbench.bench.sweep import LAZY_SETTINGS
from tpbench.claims import CLAIMS
from tpbench.claims.experiments import edge, ensemble, flow, run
from tpbench.claims.experiments.setup import Setup, setup, train_targets
from tpbench.claims.experiments.tangent import limit_kernels
from tpbench.claims.gradient_flow import WITHOUT_FIRST_LAYER
from tpbench.claims.ntk_ensemble import READOUT_ALONE
from tpbench.limits import Array
from tpbench.limits.dynamics import kernel_descent
from tpbench.parametrization import PARAMETRIZATIONS, Exponents, Parametrization

Agree = Callable[..., None]
NTP = PARAMETRIZATIONS["ntp"]
RATIOS = ("mean-ratio", "variance-ratio")
VARIANTS = CLAIMS["gradient-flow"].sweeps["smoke"].variants


def config(claim: str, variant: str = "", table: Parametrization = NTP, **changes: Any) -> dict[str, Any]:
    sweep = CLAIMS[claim].sweeps["smoke"]
    return {**sweep.config, **sweep.variants[variant], **changes, "parametrization": table.as_config()}


def point(config: dict[str, Any], width: int, seeds: int, claim: str) -> Point:
    return Point(CLAIMS[claim].experiment, "ntp", width, tuple(range(seeds)), config, "test")


def moved(table: Parametrization, by: Fraction) -> Parametrization:
    """Return the same networks, with a factor of n^by moved from the read-out's multiplier into its weights."""
    old = table.output
    return replace(table, output=Exponents(old.a + by, old.b - by, old.c - 2 * by))


@pytest.mark.parametrize("bias", [False, True])
def test_outputs_have_the_covariance_of_their_features_at_every_width(bias: bool) -> None:
    """E f_0 f_0ᵀ = E K̂ at width 6, far from any limit: what makes the rows of the ensemble free of bias."""
    asked = config("ntk-ensemble", bias=bias, sigma_b=0.7, dtype="float64")
    ready = setup(point(asked, 6, 3000, "ntk-ensemble"))
    drawn = ready.initialise(ready.seeds)
    start, given = ensemble._outputs(drawn, ready), ensemble._conditional_covariance(drawn, ready)
    away = ensemble._outer(start) - given
    error = away.mean(axis=0) / (away.std(axis=0) / len(away) ** 0.5)
    assert np.abs(error).max() < 4.5
    assert np.abs(given.mean(axis=0) / (away.std(axis=0) / len(away) ** 0.5)).max() > 20, (
        "it would see a factor of 1.25"
    )
    limit = limit_kernels(asked, asked["shares"]).nngp
    assert np.abs(given.mean(axis=0) - limit).max() > 0.02, "and it is not the limit's covariance"


def test_the_covariance_of_features_knows_every_gauge(agree: Agree) -> None:
    tables = (NTP, moved(NTP, Fraction(1, 2)))
    found = []
    for table in tables:
        ready = setup(point(config("ntk-ensemble", table=table, dtype="float64"), 8, 2, "ntk-ensemble"))
        found.append(ensemble._conditional_covariance(ready.initialise(ready.seeds), ready))
    agree(found[1], found[0], 1e-12)


def test_the_rows_of_an_ensemble_are_those_of_its_mean_and_covariance(agree: Agree) -> None:
    """With networks that are linear, f_t = A y + (I - A) f_0, the errors are exactly those of f_0's covariance."""
    asked = config("ntk-ensemble")
    ready = setup(point(asked, 8, 2, "ntk-ensemble"))
    expected = ensemble._expected(asked, ready, 2)
    rng = np.random.default_rng(0)
    start = rng.standard_normal((5, asked["examples"]))
    nngp = limit_kernels(asked, asked["shares"]).nngp
    now = np.zeros_like(start)
    now[:, -asked["probes"] :] = expected.law.mean[:, 0] + start @ expected.kept.T
    rows = list(ensemble._errors(expected, now, start, np.stack([nngp] * 5), tuple(range(5)), 2))
    values = np.array([row.value for row in rows])
    agree(values, np.array([float(row.quantity in RATIOS) for row in rows]), 1e-12, floor=1.0)
    assert {row.quantity for row in rows} == {*RATIOS, "mean-error", "mean-share", "covariance-share"}
    shifted = now.copy()
    shifted[:, -asked["probes"] :] += (expected.rival.mean - expected.law.mean)[:, 0]
    rows = list(ensemble._errors(expected, shifted, start, np.stack([nngp] * 5), tuple(range(5)), 2))
    agree(np.array([row.value for row in rows if row.quantity == "mean-share"]), np.ones(5), 1e-12)


def test_the_rival_without_cross_terms_is_the_sum_of_two_variances(agree: Agree) -> None:
    asked = config("ntk-ensemble")
    ready = setup(point(asked, 8, 2, "ntk-ensemble"))
    expected = ensemble._expected(asked, ready, 16)
    nngp = limit_kernels(asked, asked["shares"]).nngp
    probes = slice(asked["examples"] - asked["probes"], None)
    change = expected.kept - np.eye(asked["examples"])[probes]
    agree(expected.rival.covariance, nngp[probes, probes] + change @ nngp @ change.T, 1e-12)
    planted = ensemble._expected({**asked, "limit": "independent", "rival": "trained"}, ready, 16)
    agree(planted.law.covariance, expected.rival.covariance, 1e-12)
    agree(planted.rival.covariance, expected.law.covariance, 1e-12)


def test_a_law_of_the_wrong_size_is_seen_in_its_own_units(agree: Agree) -> None:
    """Networks with the law's own mean and variance: the ratios tell what a law is off by, exactly."""
    asked = config("ntk-ensemble")
    ready = setup(point(asked, 8, 2, "ntk-ensemble"))
    for step in asked["record"]:
        right, wide = (ensemble._expected({**asked, "limit": name}, ready, step) for name in ("trained", "too-large"))
        root = np.linalg.cholesky(right.law.covariance)  # networks that come in pairs m ± √N root: their law exactly
        away = np.concatenate([root, -root], axis=1).T * len(root) ** 0.5
        start, given = np.zeros((len(away), asked["examples"])), np.zeros((asked["examples"],) * 2)
        for mean, expected, size in ((1.0, right, 1.0), (1.0, wide, 1 / 1.2), (1.1, right, 1.0)):
            now = away + mean * right.law.mean[:, 0]
            now = np.concatenate([np.zeros((len(now), asked["examples"] - asked["probes"])), now], axis=1)
            rows = list(ensemble._errors(expected, now, start, np.stack([given] * len(now)), range(len(now)), step))
            found = {each: np.mean([row.value for row in rows if row.quantity == each]) for each in RATIOS}
            beside = (mean - 1) ** 2 * (right.law.mean**2).sum() / np.trace(right.law.covariance)
            agree(found["mean-ratio"], np.float64(mean), 1e-12)
            agree(found["variance-ratio"], np.float64(size + beside), 1e-12)


def test_networks_that_train_their_readout_alone_have_the_size_that_the_claim_rules_out() -> None:
    asked = config("ntk-ensemble")
    ready = setup(point(asked, 8, 2, "ntk-ensemble"))
    assert list(READOUT_ALONE) == asked["record"]
    for step, sizes in READOUT_ALONE.items():
        law, other = (
            ensemble._expected({**asked, "shares": asked[key]}, ready, step).law for key in ("shares", "rival_shares")
        )
        mean = float((law.mean * other.mean).sum() / (law.mean**2).sum())
        variance = float(np.trace(other.covariance) / np.trace(law.covariance))
        assert (mean, variance) == pytest.approx(sizes, abs=0.006)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_steps_of_the_networks_are_small(variant: str) -> None:
    """At infinite width the networks' own descent is off the flow by far less than any of them, and not sideways."""
    asked = config("gradient-flow", variant)
    kernels = limit_kernels(asked, asked["shares"])
    size = (50, asked["examples"], asked["outputs"])
    start = np.linalg.cholesky(kernels.nngp) @ np.random.default_rng(0).standard_normal(size)
    path = kernel_descent(
        kernels.ntk,
        train_targets(asked),
        start,
        train=range(asked["train"]),
        learning_rate=asked["learning_rate"],
        order=[None] * asked["steps"],
        momentum=asked["momentum"],
        loss=asked["loss"],
    )
    for step in asked["record"]:
        [limit], [rival] = (flow.FLOWS[asked[key]](asked, kernels.ntk, start, [step]) for key in ("limit", "rival"))
        off, away = path[step] - limit, rival - limit
        assert rms(off) < 0.006
        assert abs((off * away).sum() / (away**2).sum()) < 0.03
        assert rms(limit - start) > (0.1 if step == min(asked["record"]) else 0.35)


@pytest.mark.parametrize("variant", VARIANTS)
def test_progress_tells_the_size_of_the_kernel(variant: str) -> None:
    """At infinite width small steps are off by 1%; a kernel 20% too large or without a layer by 10% and 30%."""
    asked = config("gradient-flow", variant)
    kernel, lacking = (limit_kernels(asked, asked[key]).ntk for key in ("shares", "rival_shares"))
    step, probes = min(asked["record"]), slice(-asked["probes"], None)
    start = np.random.default_rng(1).standard_normal((50, asked["examples"], asked["outputs"]))

    def limit(kernel: Array) -> Array:
        [found] = flow.FLOWS[asked["limit"]](asked, kernel, start, [step])
        return found[:, probes].reshape(len(start), -1)

    def progress(of: Array, law: Array) -> float:
        """Return what the rows would be for networks at ``of``, where the claim expects ``law``."""
        at = start[:, probes].reshape(len(start), -1)
        rows = [Row("output-error", v, seed=s, step=step) for s, e in enumerate(of - law) for v in e.tolist()]
        found = [row for row in flow._with_progress(rows, {step: law - at}) if row.quantity == "progress-ratio"]
        assert [row.seed for row in found] == list(range(len(start)))
        return float(np.mean([row.value for row in found]))

    path = kernel_descent(
        kernel,
        train_targets(asked),
        start,
        train=range(asked["train"]),
        learning_rate=asked["learning_rate"],
        order=[None] * step,
        momentum=asked["momentum"],
        loss=asked["loss"],
    )[step]
    right = limit(kernel)
    assert progress(right, right) == 1
    assert progress(right, start[:, probes].reshape(len(start), -1)) == np.inf, "the expected limit stands still"
    assert progress(path[:, probes].reshape(len(start), -1), right) == pytest.approx(1, abs=0.012)
    assert progress(right, limit(1.2 * kernel)) < 0.9
    assert progress(limit(lacking), right) < WITHOUT_FIRST_LAYER


def test_every_part_of_the_seeds_has_its_own_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of seeds that are trained one after the other are those of seeds that are trained together."""
    asked = config("gradient-flow", "squared error", steps=4, record=[0, 2, 4], dtype="float64")
    whole = list(run(point(asked, 8, 4, "gradient-flow")))
    monkeypatch.setattr(Setup, "parts", lambda self: iter([self.seeds[:2], self.seeds[2:]]))
    parts = list(run(point(asked, 8, 4, "gradient-flow")))
    together, apart = (
        {(row.seed, row.step): row.value for row in rows if row.quantity == "progress-ratio"} for rows in (whole, parts)
    )
    assert set(together) == {(seed, step) for seed in range(4) for step in (2, 4)}
    assert apart == pytest.approx(together, rel=1e-9)


def rms(x: Array) -> float:
    return float(np.sqrt((x**2).mean()))


def test_few_steps_are_few() -> None:
    asked = config("gradient-flow", "squared error")
    kernel = limit_kernels(asked, asked["shares"]).ntk
    start = np.zeros((asked["examples"], asked["outputs"]))
    path = flow.FLOWS["few-steps"](asked, kernel, start, range(asked["steps"] + 1))
    assert len({state.tobytes() for state in path}) == flow.FEW + 1
    with pytest.raises(ValueError, match="63 steps are no multiple of 2 large ones"):
        flow.FLOWS["few-steps"]({**asked, "steps": 63}, kernel, start, [0])


def test_growth_crosses_one_where_straight_lines_do(agree: Agree) -> None:
    rates = np.array([0.9, 1.0, 1.1])
    edges = np.array([0.5, 0.95, 1.0, 1.07, 1.4])
    straight = 2 * rates[:, None] / edges - 1
    agree(edge.crossing(rates, straight), edges, 1e-14)
    bent = np.array([[0.5], [0.8], [1.3]])
    agree(edge.crossing(rates, bent), np.array([1.04]), 1e-14)
    agree(edge.crossing(np.array([1.0, 2.0]), np.array([[0.0], [2.0]])), np.array([1.5]), 1e-14)


def test_a_wide_network_has_the_edge_of_the_limit() -> None:
    """One network of width 2^14: each of its rates grows as 2c - 1 says, to its n^(-1/2)."""
    asked = {**config("edge-of-stability-at-infinity"), **LAZY_SETTINGS, "edge_rates": [0.8, 1.0, 1.5]}
    rows = list(edge.run(point(asked, 2**14, 1, "edge-of-stability-at-infinity")))
    found = {row.quantity: row.value for row in rows if row.step == asked["steps"] and row.index == -1}
    assert found["growth-below-edge"] == pytest.approx(0.6, abs=0.08)
    assert found["growth-above-edge"] == pytest.approx(2.0, abs=0.1)
    assert found["critical-rate"] == pytest.approx(1.0, abs=0.04)
    limit = [row.value for row in rows if row.quantity == "limit" and row.index == 2]
    assert limit == pytest.approx([1 - (-2.0) ** t for t in range(asked["steps"] + 1)])


@pytest.mark.parametrize(
    ("claim", "changes", "message"),
    [
        ("ntk-ensemble", {"loss": "cross-entropy", "outputs": 10}, "got loss 'cross-entropy'"),
        ("ntk-ensemble", {"outputs": 10}, "10 outputs"),
        ("ntk-ensemble", {"batch": 4}, "batch 4"),
        ("ntk-ensemble", {"centred": True}, "centred True"),
        ("gradient-flow", {"batch": 4}, "batch 4 and weight decay"),
        ("gradient-flow", {"optimizer": "adam", "momentum": 0.0}, "got the optimizer 'adam'"),
        ("gradient-flow", {"weight_decay": 0.1}, "weight decay 0.1"),
        ("edge-of-stability-at-infinity", {"centred": False}, "centred False"),
        ("edge-of-stability-at-infinity", {"edge_rates": [1.1, 0.9]}, "ascending rates"),
        ("edge-of-stability-at-infinity", {"edge_rates": [1.0]}, "at least two ascending rates"),
        ("edge-of-stability-at-infinity", {"steps": 1}, "growth needs two steps"),
    ],
)
def test_what_the_theory_does_not_cover_is_refused(claim: str, changes: dict[str, Any], message: str) -> None:
    variant = next(iter(CLAIMS[claim].sweeps["smoke"].variants))
    with pytest.raises(ValueError, match=message):
        list(run(point(config(claim, variant, **changes), 8, 2, claim)))


@pytest.mark.parametrize("claim", ["ntk-ensemble", "gradient-flow", "edge-of-stability-at-infinity"])
def test_tables_without_all_terms_of_the_kernel_are_refused(claim: str) -> None:
    variant = next(iter(CLAIMS[claim].sweeps["smoke"].variants))
    for name, message in (("sp-over-n", "lacks a layer's term"), ("mup", "its limit is no kernel")):
        with pytest.raises(ValueError, match=message):
            CLAIMS[claim].predict(config(claim, variant, PARAMETRIZATIONS[name]))


def test_only_pictured_steps_are_drawn_and_recorded_ones_are_judged() -> None:
    asked = config("gradient-flow", "squared error", steps=8, record=[4, 8])
    rows = [Row(*row) for row in run(point(asked, 8, 2, "gradient-flow"))]
    assert {row.step for row in rows if row.quantity == "output"} == set(range(9))
    assert {row.step for row in rows if row.quantity == "output-error"} == {4, 8}
    long = config("gradient-flow", "squared error")
    drawn = {row.step for row in run(point(long, 8, 2, "gradient-flow")) if row.quantity == "output"}
    assert len(drawn) == flow.PICTURED + 1
