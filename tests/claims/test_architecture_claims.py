"""The claims about kernels of architectures: what they compare, what their rows hold, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch

from tpbench.architecture import ARCHITECTURES, architecture
from tpbench.bench.claim import Kind, Point, Row
from tpbench.bench.sweep import LAZY_FIRST_SEED, Selection
from tpbench.claims.architecture_kernels import CLAIMS, SUBJECTS
from tpbench.claims.architecture_kernels.subject import RIVAL_LIMIT, Case, Subject, as_config
from tpbench.claims.experiments import run
from tpbench.claims.experiments.architecture_kernels import (
    KERNELS,
    SINGLE,
    TEAM,
    inputs_of,
    measure,
    needs,
    needs_for,
    parts,
    rows,
)
from tpbench.claims.experiments.shared import found
from tpbench.networks.architectures import Weights, initial
from tpbench.networks.tangent import empirical_kernels
from tpbench.parametrization import PARAMETRIZATIONS, Role
from tpbench.pipeline import plan
from tpbench.weights.dense import DenseGaussian

CASES = [
    pytest.param(subject, label, case, id=f"{subject.name} {label}".strip())
    for subject in SUBJECTS
    for label, case in subject.cases.items()
]
CPU = torch.device("cpu")
MUP = PARAMETRIZATIONS["mup"].as_config()
PAIRS = np.triu_indices(4)


def point(subject: Subject, label: str, *, width: int = 16, seeds: int = 8, weights: str = "dense") -> Point:
    """Return a small run of a case."""
    selection = Selection((f"ntk-{subject.name}",), "smoke", "cpu", widths=(2, 4, width), seeds=seeds)
    [job] = plan(selection)
    name = f"ntp, {label}" if label else "ntp"
    [chosen] = [each for each in job.points if each.width == width and each.parametrization == name]
    return replace(chosen, config={**chosen.config, "weights": weights})


def rows_of(of: Point) -> pd.DataFrame:
    return pd.DataFrame(list(run(of)), columns=list(Row._fields))


def test_there_are_two_claims_an_architecture_and_every_architecture_has_them() -> None:
    names = [claim.name for claim in CLAIMS]
    assert names == [f"{kernel}-{subject.name}" for subject in SUBJECTS for kernel in KERNELS]
    nouns = {type(case.architecture) for subject in SUBJECTS for case in subject.cases.values()}
    assert nouns == set(ARCHITECTURES.values())


@pytest.mark.parametrize(("subject", "label", "case"), CASES)
def test_a_configuration_spells_out_its_architecture(subject: Subject, label: str, case: Case) -> None:
    for of in filter(None, (case.architecture, case.rival, case.ntk_rival)):
        config = as_config(of)
        assert architecture(config) == of
        assert set(config) == {"kind", *vars(of)}
    assert point(subject, label).config["architecture"] == as_config(case.architecture)


@pytest.mark.parametrize(("subject", "label", "case"), CASES)
def test_limit_and_rival_are_far_apart(subject: Subject, label: str, case: Case) -> None:
    """By at least a tenth of the kernel's size, so that the share is resolved by networks that one can afford."""
    for place, kernel in enumerate(KERNELS):
        (right, error), (wrong, _) = (found(need)[place] for need in needs_for(point(subject, label), kernel))
        scale = np.diag(right).mean()
        assert np.sqrt((((wrong - right)[PAIRS] / scale) ** 2).mean()) > 0.1
        assert error.max() / scale <= point(subject, label).config["limit_error"]


@pytest.mark.parametrize(("subject", "label", "case"), CASES)
def test_rows_hold_every_network_once_and_the_means_of_teams(subject: Subject, label: str, case: Case) -> None:
    found = rows_of(point(subject, label, seeds=12))
    for kernel in KERNELS:
        errors, means = (table(found, f"{quantity}{kernel}-error") for quantity in ("", "mean-"))
        assert errors.shape == (12, 10)
        np.testing.assert_allclose(means, errors.to_numpy().reshape(4, 3, 10).mean(axis=1), rtol=1e-12)
        assert list(means.index) == [0, 3, 6, 9]
        assert table(found, f"{kernel}-rival-share").shape == (12, 1)
    assert (found["step"] == 0).all()


def table(rows: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Return a quantity's values, one row a seed and one column an index."""
    return rows[rows["quantity"] == quantity].pivot(index="seed", columns="index", values="value")


def test_share_is_0_at_the_limit_and_1_at_the_rival() -> None:
    away = np.array([0.3, -0.2, 0.1])
    errors = np.stack([np.zeros(3), away, np.array([0.2, 0.3, 0.0])])  # the last is at right angles to away
    found = [row.value for row in rows("ntk", errors, away, (0, 1, 2)) if row.quantity == "ntk-rival-share"]
    np.testing.assert_allclose(found, [0.0, 1.0, 0.0], atol=1e-15)
    with pytest.raises(ValueError, match="the rival has the same ntk kernel as the limit: choose another rival_arch"):
        list(rows("ntk", errors, np.zeros(3), (0, 1, 2)))


def test_first_networks_stand_alone_and_all_are_in_teams() -> None:
    """Lazy networks count their seeds from another number."""
    errors, away = np.ones((5 * TEAM, 2)), np.ones(2)
    for first in (SINGLE - TEAM, LAZY_FIRST_SEED + SINGLE - TEAM):
        seeds = range(first, first + 5 * TEAM)
        made = list(rows("nngp", errors, away, seeds))
        assert {row.seed for row in made if row.quantity == "nngp-error"} == set(seeds[:TEAM])
        assert [row.seed for row in made if row.quantity.startswith("mean") and row.index == 0] == list(seeds[::TEAM])


@pytest.mark.parametrize("weights", ["dense", "lazy"])
def test_a_network_does_not_depend_on_its_companions(weights: str) -> None:
    [subject] = [each for each in SUBJECTS if each.name == "attention"]
    of = point(subject, "", seeds=6, weights=weights)
    of = replace(of, config={**of.config, "dtype": "float64"})
    together = measure(of, (0, 1, 2, 3))
    for kernel, alone in zip(together, measure(of, (2,)), strict=True):
        np.testing.assert_allclose(kernel[2:3], alone, rtol=1e-10)
    assert sum(parts(of), ()) == of.seeds


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_single_precision_is_far_finer_than_a_bias(subject: Subject) -> None:
    """The kernels of the same weights in double precision; biases at this width are about 1/n = 4e-3 of a kernel."""
    of = point(subject, next(iter(subject.cases)))
    inputs = torch.as_tensor(inputs_of(of.config), dtype=torch.float32, device=CPU)
    single = initial(architecture(of.config["architecture"]), 256, (0, 1), device=CPU, dtype=torch.float32)
    coarse = empirical_kernels(single, inputs)
    double = replace(single, weights=in_double_precision(single.weights))
    for rounded, exact in zip(coarse, empirical_kernels(double, inputs.double()), strict=True):
        assert 0 < (rounded - exact).abs().max() < 1e-5 * exact.abs().max()


def in_double_precision(weights: Weights) -> Weights:
    drawn = {}
    for name, owned in weights.drawn.items():
        assert isinstance(owned.weights, DenseGaussian)
        bias = None if owned.bias is None else owned.bias.double()
        drawn[name] = replace(owned, weights=DenseGaussian(owned.weights.current.double()), bias=bias)
    return replace(weights, source=replace(weights.source, dtype=torch.float64), drawn=drawn)


def test_a_limit_that_is_not_known_well_enough_is_refused() -> None:
    [subject] = [each for each in SUBJECTS if each.name == "batchnorm"]
    of = point(subject, "", seeds=2)
    with pytest.raises(ValueError, match=r"is known to .* of its mean diagonal, and 1\.0e-06 is asked"):
        list(run(replace(of, config={**of.config, "limit_error": 1e-6})))


def test_the_statistics_of_a_batch_are_what_its_two_claims_differ_in() -> None:
    """Taking them for constants leaves the NNGP kernel alone: only the tangent kernel can have it as its rival."""
    [subject] = [each for each in SUBJECTS if each.name == "batchnorm"]
    of = point(subject, "")
    limit, layer_norm, constant = (found(need) for need in needs(of))
    np.testing.assert_array_equal(constant[0][0], limit[0][0])
    assert np.abs(constant[1][0] - limit[1][0]).max() > 0.1 * np.diag(limit[1][0]).mean()
    swapped = replace(of, config=RIVAL_LIMIT.changes(of.config))
    for place, (kernel, rival) in enumerate(zip(KERNELS, (layer_norm, constant), strict=True)):
        wrong, right = (found(need)[place][0] for need in needs_for(swapped, kernel))
        np.testing.assert_array_equal(wrong, rival[place][0])
        np.testing.assert_array_equal(right, limit[place][0])
    claims = {claim.name: claim for claim in CLAIMS}
    assert claims["nngp-batchnorm"].rival != claims["ntk-batchnorm"].rival
    planted = [claims[f"{kernel}-batchnorm"].faults[-1].name for kernel in KERNELS]
    assert planted == ["layer-norm", "constant-statistics"]


def test_other_tables_are_refused_and_ntp_in_another_gauge_is_not() -> None:
    """The kernels are those of NTP: its initial sizes, and its learning rates."""
    ntp = PARAMETRIZATIONS["ntp"]
    gauge = replace(ntp.shifted(Role.HIDDEN, Fraction(1, 4)), name="gauge")
    assert gauge.hidden != ntp.hidden
    job, _ = plan(Selection(("ntk-rnn", "zero-output"), "smoke", "cpu", tables={"mup": MUP}))
    assert job.points == ()
    assert "'mup' is not NTP" in job.note
    [job] = plan(Selection(("ntk-rnn",), "smoke", "cpu", tables={"gauge": gauge.as_config()}))
    assert job.points
    assert {each.kind for each in job.predictions} == {Kind.SPREAD, Kind.BIAS, Kind.VALUE}


def test_runs_of_all_widths_and_of_both_kernels_share_their_limits() -> None:
    jobs = plan(Selection(("nngp-conv1d", "ntk-conv1d"), "nightly", "cpu"))
    assert [each.digest for each in jobs[0].points] == [each.digest for each in jobs[1].points]
    asked = {
        label: {needs(each) for each in jobs[0].points if each.parametrization == label}
        for label in ("ntp, flatten", "ntp, mean")
    }
    [(flat, mean)], [(again, other)] = asked.values()
    assert (flat, mean) == (other, again)
