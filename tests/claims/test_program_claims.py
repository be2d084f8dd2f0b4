"""The claims about programs: their programs and limits by hand, their estimates by a slow road, and their refusals."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tpbench.bench.claim import Config, Point
from tpbench.claims import CLAIMS
from tpbench.claims.experiments.central_limit import CUMULANTS, ENTRIES, conditional_moments, gaussian_shares
from tpbench.claims.experiments.central_limit import run as run_central
from tpbench.claims.experiments.controls import controlled, sampled_with_controls
from tpbench.claims.experiments.iid_coordinates import dependences, hsic
from tpbench.claims.experiments.iid_coordinates import run as run_iid
from tpbench.claims.experiments.program_moments import (
    TEAM,
    averages,
    controlled_averages,
    matrix_factor,
    needs,
    program_of,
    run,
    teams,
)
from tpbench.claims.experiments.shared import compute
from tpbench.parametrization import PARAMETRIZATIONS, Role
from tpbench.programs import Program, limit
from tpbench.programs.catalogue import feed_forward, gradient, recurrent, rescaled, untied
from tpbench.programs.instructions import MatMul

Agree = Callable[..., None]
Array = NDArray[np.float64]
NTP = PARAMETRIZATIONS["ntp"]
CPU = torch.device("cpu")
OF_PROGRAMS = ("law-of-large-numbers", "master-theorem", "gradient-independence")


def point_of(name: str, *, width: int = 8, seeds: int = 64, variant: str | None = None, **changes: Any) -> Point:
    claim = CLAIMS[name]
    sweep = claim.sweeps["smoke"]
    variants = sweep.variants
    chosen: Config = variants[variant if variant is not None else next(iter(variants))]
    table = PARAMETRIZATIONS[sweep.parametrizations[0]].as_config()
    config = {**sweep.config, **chosen, "parametrization": table, **changes}
    return Point(claim.experiment, table["name"], width, tuple(range(seeds)), config, "test")


# --- programs ------------------------------------------------------------------------------------------------------


def fractions(program: Program, transposes: str = "dependent") -> dict[str, Fraction | None]:
    return {name: value.exact for name, value in limit(program, transposes=transposes).scalars.items()}


def test_read_out_of_ones_has_the_term_that_independence_forgets() -> None:
    """By hand: Z^dx = Ẑ + x/2 with E Ẑ² = E (1 + h₂/2)² = 1 + E x²/4, E x = 1/4 and E x² = 1 + 3/16."""
    square = Fraction(19, 16)
    ones = gradient(mean=1, variance=0)
    assert fractions(ones) == {
        "average": Fraction(1, 8),
        "square": 1 + square / 2,
        "along": square / 2,
        "driven": Fraction(1, 2),
    }
    assert fractions(ones, "independent") == {"average": 0, "square": 1 + square / 4, "along": 0, "driven": 0}


def test_gradient_independence_is_right_for_a_read_out_of_mean_0() -> None:
    centred = gradient(mean=0, variance=1)
    assert fractions(centred) == fractions(centred, "independent")
    assert fractions(centred)["square"] == 1 + Fraction(19, 64)


def test_feed_forward_limit_by_its_recursion(agree: Agree) -> None:
    """Gauss-Hermite by hand: the variance and covariance of a layer are 3/2 of the averages below."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()

    def averages_of(variance: float, covariance: float) -> tuple[float, float, float]:
        share = covariance / variance
        a = np.sqrt(variance) * nodes[:, None]
        b = share * a + np.sqrt(variance * (1 - share**2)) * nodes[None, :]
        x = np.tanh(a)
        return (
            float(weights @ (x**2)[:, 0]),
            float(weights @ (x * np.tanh(b)) @ weights),
            float(weights @ np.cos(a)[:, 0]),
        )

    layers = [averages_of(1.0, 0.5)]
    for _ in range(2):
        layers.append(averages_of(1.5 * layers[-1][0], 1.5 * layers[-1][1]))
    found = limit(feed_forward()).scalars
    agree([found[name].mean for name in feed_forward().outputs], [*layers[1], *layers[2]], rtol=1e-9)
    rival = limit(feed_forward(layers=2)).scalars
    agree([rival[name].mean for name in feed_forward().outputs], [*layers[0], *layers[1]], rtol=1e-9)


def test_untied_products_have_matrices_of_their_own() -> None:
    program = untied(recurrent())
    products = [b for b in program.bindings if isinstance(b, MatMul)]
    assert len(products) == len({b.matrix for b in products}) == 2
    assert {m.variance for m in program.matrices.values()} == {Fraction(3, 2)}
    assert next(b for b in recurrent().bindings if isinstance(b, MatMul)).matrix == "W"


def test_rescaled_changes_variances_alone() -> None:
    program = rescaled(recurrent(), Fraction(1, 2))
    assert program.matrices["W"].variance == Fraction(3, 4)
    assert program.outputs == recurrent().outputs
    assert len(program.bindings) == len(recurrent().bindings)


def test_programs_refuse_too_few_layers() -> None:
    with pytest.raises(ValueError, match="of 1 layers between 1 and all can be judged, got 2"):
        feed_forward(layers=1)
    with pytest.raises(ValueError, match="at least 2 times was expected, got 1"):
        recurrent(times=1)


# --- averages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OF_PROGRAMS)
def test_rows_are_averages_less_their_limit(name: str, agree: Agree) -> None:
    """The same from averages and needs; the rival's share is 1 where they are the rival's."""
    for variant in CLAIMS[name].sweeps["smoke"].variants:
        point = point_of(name, variant=variant)
        rows = list(run(point))
        (values, _), (rival, _) = (compute(need) for need in needs(point))
        errors = controlled_averages(point) - values
        assert errors.shape == (64, len(values))
        assert teams(64)[1] == list(range(TEAM, 2 * TEAM))
        means = [row.value for row in rows if row.quantity == "mean-moment-error" and row.seed == TEAM]
        agree(means, errors[TEAM : 2 * TEAM].mean(axis=0), rtol=1e-9)
        singles = [row.value for row in rows if row.quantity == "moment-error" and row.seed == TEAM]
        agree(singles, averages(point, [TEAM + 1])[0] - values, rtol=1e-9)
        away = np.subtract(rival, values)
        swapped = list(
            run(replace(point, config={**point.config, "limit": point.config["rival"], "rival": point.config["limit"]}))
        )
        shares = [[row.value for row in each if row.quantity == "rival-share"] for each in (rows, swapped)]
        agree(np.sum(shares, axis=0), np.ones(64 // TEAM), rtol=1e-9)
        assert np.abs(away).max() > 0.05


def test_needs_are_the_same_for_all_runs_of_a_variant() -> None:
    point = point_of("master-theorem")
    assert needs(point) == needs(replace(point, width=64, seeds=(5, 6), config={**point.config, "scatter": 0.4}))


def test_seeds_give_the_same_averages_in_any_company(agree: Agree, monkeypatch: pytest.MonkeyPatch) -> None:
    point = point_of("law-of-large-numbers", seeds=12, dtype="float64", scatter=0.2)
    whole = averages(point, range(12))
    monkeypatch.setattr("tpbench.claims.experiments.program_moments.ENTRIES_AT_ONCE", 3 * point.width**2)
    agree(averages(point, range(12)), whole, rtol=1e-12)
    agree(averages(point, [3, 8, 5]), whole[[3, 8, 5]], rtol=1e-12)


@pytest.mark.parametrize(("name", "variant"), [("law-of-large-numbers", "recurrent"), ("master-theorem", None)])
def test_control_variates_take_scatter_off_and_no_bias(name: str, variant: str | None) -> None:
    """Against dense networks without controls: the same mean at a narrow width, a far smaller scatter."""
    point = point_of(name, variant=variant, width=8, seeds=6000, dtype="float64")
    plain, better = averages(point, range(6000)), controlled_averages(point)
    error = np.sqrt((plain.var(axis=0) + better.var(axis=0)) / len(plain)) + 1e-12
    assert np.abs((plain.mean(axis=0) - better.mean(axis=0)) / error).max() < 4.5
    assert better.var(axis=0).sum() < 0.5 * plain.var(axis=0).sum()  # what is left is of second order, large at 8


def test_controls_have_expectation_0_and_are_all_different() -> None:
    """For correlated initial vectors and a matrix with its transpose, at a width as small as they allow."""
    for program in (feed_forward(), gradient(mean=1)):
        _, groups = sampled_with_controls(program, 4, range(4000), device=CPU)
        controls = np.concatenate(groups, axis=1)
        z = controls.mean(axis=0) / controls.std(axis=0, ddof=1) * len(controls) ** 0.5
        assert np.abs(z).max() < 4.5
        first = np.concatenate(groups[:2], axis=1)
        assert np.linalg.matrix_rank(first) == first.shape[1]


def test_regression_on_controls(agree: Agree) -> None:
    draw = np.random.default_rng(6)
    first, second = draw.standard_normal((60, 2)), draw.standard_normal((60, 4))
    values = 3.0 + first @ [[1.0], [-2.0]]
    agree(controlled(values, [first, second]), np.full((60, 1), 3.0))
    curved = values + second[:, :1]
    agree(controlled(curved, [first]), controlled(curved, [first, second]), rtol=1e-12)  # 60 are too few for both
    agree(controlled(curved[:20], [first[:20], second[:20]]), curved[:20])


def test_entries_follow_the_table(agree: Agree) -> None:
    shifted = NTP.shifted(Role.HIDDEN, Fraction(1, 3))
    narrowed = NTP.replacing(Role.HIDDEN, b=Fraction(1, 8))
    factors = [matrix_factor({"parametrization": table.as_config()}, 16) for table in (NTP, shifted, narrowed)]
    agree(factors, [1.0, 1.0, 0.5])


@pytest.mark.parametrize("name", [*OF_PROGRAMS, "central-limit"])
def test_claims_refuse_tables_whose_hidden_entries_are_of_another_size(name: str) -> None:
    predict, settings = CLAIMS[name].predict, CLAIMS[name].sweeps["smoke"].config
    narrowed = NTP.replacing(Role.HIDDEN, b=Fraction(1, 8)).as_config()
    with pytest.raises(ValueError, match=r"hidden entries of size n\^\(-5/8\)"):
        predict({**settings, "parametrization": narrowed})
    with pytest.raises(ValueError, match="one hidden layer"):
        predict({**settings, "parametrization": PARAMETRIZATIONS["mean-field"].as_config()})
    assert predict({**settings, "parametrization": PARAMETRIZATIONS["mup"].as_config()})


def test_what_cannot_be_compared_is_refused() -> None:
    point = point_of("law-of-large-numbers")
    same = replace(point, config={**point.config, "rival": point.config["limit"]})
    with pytest.raises(ValueError, match="the rival has the same limit"):
        list(run(same))
    exacting = replace(point, config={**point.config, "limit_error": 1e-18})
    with pytest.raises(ValueError, match=r"and 1\.0e-18 is asked for: raise its points"):
        list(run(exacting))
    with pytest.raises(ValueError, match="programs are feed-forward, recurrent, gradient, random, got 'mlp'"):
        program_of({"of": "mlp"})


# --- the central limit ---------------------------------------------------------------------------------------------


def test_moments_of_signs_by_all_of_them(agree: Agree) -> None:
    x = torch.tensor([[0.3, -1.2, 0.7, 2.0, 0.4], [1.0, 1.0, 1.0, 1.0, 1.0]], dtype=torch.float64, device=CPU)
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=5)), dtype=torch.float64, device=CPU)
    h = x @ signs.mT / 5**0.5
    wanted = torch.stack([(h**power).mean(dim=1) for power in (4, 6, 8)], dim=1)
    agree(conditional_moments(x, CUMULANTS["rademacher"]), wanted, rtol=1e-12)


def test_moments_of_gaussian_entries_are_those_of_their_variance(agree: Agree) -> None:
    x = torch.tensor([[0.3, -1.2, 0.7]], dtype=torch.float64, device=CPU)
    variance = float(x.square().mean())
    shares = gaussian_shares(conditional_moments(x, CUMULANTS["gaussian"]))
    agree(shares, [[variance**2, variance**3, variance**4]], rtol=1e-12)


def test_entries_have_variance_1() -> None:
    z = torch.randn(200_000, generator=torch.Generator(device=CPU).manual_seed(3), dtype=torch.float64, device=CPU)
    assert set(ENTRIES) == set(CUMULANTS)
    for law, (fourth, _, _) in CUMULANTS.items():
        w = ENTRIES[law](z)
        assert abs(float(w.square().mean()) - 1) < 0.02
        assert abs(float((w**4).mean()) - 3 - fourth) < 0.1


def test_drawn_coordinates_have_the_moments_that_are_known_given_x() -> None:
    """What is drawn and what is computed have one mean, by hand (K - 1)/n and (K - 3)/(3 n), K = E x⁴/(E x²)²."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights, x = weights / weights.sum(), np.tanh(nodes)
    kurtosis = (weights @ x**4) / (weights @ x**2) ** 2
    wanted = {"gaussian": kurtosis - 1, "rademacher": (kurtosis - 3) / 3}
    for variant in ("gaussian", "rademacher"):
        rows = list(run_central(point_of("central-limit", variant=variant, width=16, seeds=3000)))
        drawn = np.array([row.value for row in rows if row.quantity == "drawn-moment"])
        known = np.array([row.value for row in rows if row.quantity == "coordinate-moment" and row.index == 0])
        away = drawn - known - 1
        assert abs(away.mean()) < 4.5 * away.std(ddof=1) / len(away) ** 0.5
        assert known.mean() * 16 == pytest.approx(wanted[variant], abs=0.06)


# --- independent neurons -------------------------------------------------------------------------------------------


def test_hsic_by_its_definition(agree: Agree) -> None:
    """The U-statistic over all ordered quadruples of different samples."""
    draw = np.random.default_rng(4)
    x = draw.standard_normal(6)
    y = x**2 + 0.3 * draw.standard_normal(6)
    k, l = (np.exp(-0.5 * (each[:, None] - each[None]) ** 2) for each in (x, y))  # noqa: E741
    terms = [k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q]) for i, j, q, r in itertools.permutations(range(6), 4)]
    agree(hsic(torch.as_tensor(x), torch.as_tensor(y)), np.mean(terms), rtol=1e-12)


def test_dependence_is_1_for_copies_and_0_for_independent_neurons() -> None:
    draw = torch.Generator(device=CPU).manual_seed(5)
    first = torch.randn(512, 8, generator=draw, dtype=torch.float64, device=CPU)
    other = torch.randn(512, 8, generator=draw, dtype=torch.float64, device=CPU)
    chosen = [list(range(start, start + 32)) for start in range(0, 512, 32)]
    copies = dependences(torch.cat([first, first], dim=1), chosen)
    assert copies.mean() == pytest.approx(1.0)
    free = dependences(torch.cat([first, other], dim=1), chosen)
    assert abs(free.mean()) < 4.5 * free.std(ddof=1) / 4
    bent = dependences(torch.cat([first, first.square()], dim=1), chosen)
    assert bent.mean() > 0.2


def test_hsic_refuses_too_few_samples() -> None:
    with pytest.raises(ValueError, match="from 4 samples on, got 3"):
        hsic(torch.zeros(3, device=CPU), torch.zeros(3, device=CPU))


def test_training_is_measured_at_the_recorded_steps() -> None:
    rows = list(run_iid(point_of("iid-coordinates", width=16)))
    assert {row.step for row in rows} == {0, 1, 4}
    by_step = {step: [row.value for row in rows if row.step == step and row.index == 0] for step in (0, 1, 4)}
    assert len({tuple(values) for values in by_step.values()}) == 3


def test_only_mup_and_its_shifts_are_taken() -> None:
    claim = CLAIMS["iid-coordinates"]
    settings, mup = claim.sweeps["smoke"].config, PARAMETRIZATIONS["mup"]
    assert claim.predict({**settings, "parametrization": mup.shifted(Role.HIDDEN, Fraction(1, 2)).as_config()})
    with pytest.raises(ValueError, match="'ntp' is not muP"):
        claim.predict({**settings, "parametrization": NTP.as_config()})
