"""The Gaussian process claim: its estimates against the outputs themselves, against known laws, and its refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor

from tpbench.architecture import Perceptron, Recurrent, Residual, architecture
from tpbench.bench.claim import Config, Point, Row
from tpbench.claims.experiments.architecture_kernels import inputs_of
from tpbench.claims.experiments.gaussian_process import (
    PLACES,
    fourth_cumulants,
    hidden_limit,
    last_hidden,
    law_errors,
    neuron_cumulants,
    projections,
    rival_shares,
    run,
    teams,
)
from tpbench.claims.gaussian_process import CLAIM, predict
from tpbench.limits.kernels import architecture_kernels
from tpbench.networks.architectures import Network, elementwise, initial
from tpbench.networks.tangent.structured import conditional_covariance
from tpbench.parametrization import PARAMETRIZATIONS

Agree = Callable[..., None]
Array = NDArray[np.float64]
CPU = torch.device("cpu")
NTP = PARAMETRIZATIONS["ntp"].as_config()
VARIANTS = CLAIM.sweeps["smoke"].variants
SEEDS, WIDTH, OUTPUTS = 3000, 4, 64


def configured(variant: str, **changes: Any) -> Config:
    return {**CLAIM.sweeps["smoke"].config, **VARIANTS[variant], "parametrization": NTP, **changes}


def drawn(variant: str, *, width: int = WIDTH, seeds: int = SEEDS, outputs: int = 1) -> tuple[Network, Tensor]:
    c = configured(variant)
    inputs = torch.as_tensor(inputs_of(c)[: c["probes"]], dtype=torch.float64, device=CPU)
    of = architecture(c["architecture"])
    return initial(of, width, range(seeds), outputs=outputs, device=CPU, dtype=torch.float64), inputs


def limit_of(network: Network, inputs: Tensor) -> Array:
    return np.asarray(architecture_kernels(network.architecture, inputs).nngp)


def batches(values: Array, of: Callable[[Array], Array], count: int = 30) -> tuple[Array, Array]:
    """Return the mean of a statistic over batches of seeds, and its standard error."""
    found = np.stack([of(part) for part in np.array_split(values, count)])
    return found.mean(axis=0), found.std(axis=0, ddof=1) / count**0.5


@pytest.mark.parametrize("variant", VARIANTS)
def test_cumulants_given_the_body_are_those_of_the_outputs_themselves(variant: str) -> None:
    """The second road: f⁴ from many outputs, read by independent weights from one body, at a narrow width."""
    network, inputs = drawn(variant, outputs=OUTPUTS)
    f, uses = network.recorded(inputs)
    limit = limit_of(network, inputs)
    covariance = conditional_covariance(uses[-1]).numpy()
    known, its_error = batches(covariance, lambda part: fourth_cumulants(part, limit))
    scale = np.outer(np.diag(limit), np.diag(limit))

    def from_outputs(part: Array) -> Array:
        """E f_a² f_b² - E f_a² E f_b² - 2 (E f_a f_b)², of one output; products of means from different outputs of
        different networks, so that nothing is biased."""
        fourth = np.einsum("sao,sbo->ab", part**2, part**2) / part.shape[0] / part.shape[2]
        second = np.einsum("sao,sbo->sab", part, part) / part.shape[2]
        other = np.roll(second, 1, axis=0)
        squares = np.einsum("saa,sbb->ab", second, other) / len(part)
        cumulants = fourth - squares - 2 * (second * other).mean(axis=0)
        return np.asarray((cumulants / scale)[np.triu_indices(len(cumulants))])

    raw, error = batches(f.detach().numpy(), from_outputs)
    assert known.min() > 0.1, "networks as narrow as these are far from Gaussian"
    assert (np.abs(raw - known) < 5 * np.hypot(error, its_error)).all()
    assert (error < 0.2 * known).all(), "the comparison would notice a fifth"


@pytest.mark.parametrize("variant", VARIANTS)
def test_law_given_the_body_is_that_of_the_outputs_themselves(variant: str) -> None:
    network, inputs = drawn(variant, outputs=OUTPUTS)
    f, uses = network.recorded(inputs)
    limit = limit_of(network, inputs)
    d = projections(len(limit))
    known = law_errors(conditional_covariance(uses[-1]).numpy(), limit)
    deviation = np.sqrt(np.einsum("pa,ab,pb->p", d, limit, d))
    projected = np.einsum("pa,sao->spo", d, f.detach().numpy()) / deviation[:, None]
    below = np.stack([(projected <= place).mean(axis=2) for place in PLACES], axis=2) - ndtr(np.array(PLACES))
    gap = below.reshape(len(known), -1) - known
    assert (np.abs(gap.mean(axis=0)) < 5 * gap.std(axis=0) / len(gap) ** 0.5).all()
    assert np.abs(known.mean(axis=0)).max() > 0.02, "and at this width it is not the limit's"


def test_cumulants_of_a_known_mixture() -> None:
    """For covariances K χ with Var χ = v, κ(f_a, f_a, f_b, f_b) = v (K_aa K_bb + 2 K_ab²)."""
    rng = np.random.default_rng(0)
    limit = np.array([[2.0, 0.5], [0.5, 1.0]])
    covariance = limit * rng.gamma(4.0, 0.25, size=(200_000, 1, 1))
    expected = 0.25 * (1 + 2 * limit**2 / np.outer(np.diag(limit), np.diag(limit)))
    np.testing.assert_allclose(fourth_cumulants(covariance, limit), expected[np.triu_indices(2)], rtol=0.03)
    parts = np.array_split(covariance, 5_000)
    of_teams = np.mean([fourth_cumulants(part, limit) for part in parts], axis=0)
    np.testing.assert_allclose(of_teams, expected[np.triu_indices(2)], rtol=0.03)


@pytest.mark.parametrize("shared", [0.0, 0.3])
def test_neurons_that_share_a_scale_depend_by_its_variance(shared: float) -> None:
    """h_i = sqrt(χ) g_i: Cov(h_i², h_j²) = Var χ, whatever the width; independent neurons give 0."""
    rng = np.random.default_rng(1)
    networks, width = 100_000, 5
    scale = 1 + shared * rng.choice([-1.0, 1.0], size=(networks, 1))
    products = (np.sqrt(scale) * rng.standard_normal((networks, width)))[:, None, None, :] ** 2
    found = neuron_cumulants(products.mean(-1), products.var(-1, ddof=1) / width, np.ones((1, 1)))
    assert found[0] == pytest.approx(shared**2, abs=0.02)


@pytest.mark.parametrize("variant", VARIANTS)
def test_last_hidden_is_what_the_read_out_reads(variant: str, agree: Agree) -> None:
    """Through the activation it is the input of the read-out, or the last of the times that it averages."""
    network, inputs = drawn(variant, seeds=3)
    of = network.architecture
    if isinstance(of, Recurrent):
        of = replace(of, readout="last")
        network = initial(of, WIDTH, range(3), device=CPU, dtype=torch.float64)
    _, uses = network.recorded(inputs)
    agree(elementwise(of.activation)(last_hidden(of, uses)), uses[-1].x, 1e-13)


def test_last_hidden_of_fresh_weights_is_found_too(agree: Agree) -> None:
    of = Recurrent("tanh", 1.5, 0.25, readout="last", tied=False)
    network = initial(of, WIDTH, (0,), device=CPU, dtype=torch.float64)
    inputs = torch.linspace(-1, 1, 2 * 3 * 5, dtype=torch.float64, device=CPU).view(2, 3, 5)
    _, uses = network.recorded(inputs)
    agree(torch.tanh(last_hidden(of, uses)), uses[-1].x, 1e-13)


@pytest.mark.parametrize("variant", VARIANTS)
def test_limit_of_hidden_neurons_is_that_of_wide_networks(variant: str) -> None:
    plain, inputs = drawn(variant)
    of = replace(plain.architecture, sigma_b=0.7)
    network = initial(of, 1024, range(8), device=CPU, dtype=torch.float64)
    _, uses = network.recorded(inputs)
    h = last_hidden(network.architecture, uses).detach()
    measured = (h @ h.mT / 1024).mean(dim=0)
    limit = hidden_limit(network.architecture, inputs)
    torch.testing.assert_close(measured, limit, rtol=0, atol=float(6 * limit.max() * (2 / (8 * 1024)) ** 0.5))


def test_rival_share_is_0_at_the_limit_and_1_at_the_rival() -> None:
    limit, rival = np.eye(2), np.ones((2, 2))
    between = np.stack([limit, rival, 0.5 * (limit + rival)])
    np.testing.assert_allclose(rival_shares(between, limit, rival), [0.0, 1.0, 0.5])
    with pytest.raises(ValueError, match="the same covariance as the limit"):
        rival_shares(between, limit, limit)


def table_of_rows(rows: Iterator[Row]) -> dict[str, Array]:
    found: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        found.setdefault(row.quantity, {}).setdefault(row.seed, []).append(row.value)
    return {name: np.array(list(of_seeds.values())) for name, of_seeds in found.items()}


def measured(c: Config, seeds: int = 64) -> dict[str, Array]:
    return table_of_rows(iter(run(Point("gaussian-process", "ntp", 16, tuple(range(seeds)), c, "test"))))


def test_a_row_is_a_team_of_networks_and_every_network_is_in_one() -> None:
    for networks in (2, 31, 32, 33, 63, 64, 100):
        found = teams(networks)
        assert np.concatenate(found).tolist() == list(range(networks))
        assert all(len(team) >= min(32, networks) for team in found)
    assert {len(values) for values in measured(configured("mlp"), 100).values()} == {3}
    with pytest.raises(ValueError, match="at least 2 of them, got 1"):
        measured(configured("mlp"), 1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_faults_change_what_they_say(variant: str) -> None:
    c = configured(variant)
    right = measured(c)
    faults = {fault.name: measured(fault.changes(c)) for fault in CLAIM.faults}
    swapped = faults["rival-limit"]
    np.testing.assert_allclose(swapped["rival-share"], 1 - right["rival-share"], atol=1e-9)
    np.testing.assert_array_equal(swapped["neuron-cumulant"], right["neuron-cumulant"])
    scattered = faults["scattered-read-out"]
    assert scattered["fourth-cumulant"].mean() > right["fourth-cumulant"].mean() + 0.3
    np.testing.assert_array_equal(scattered["neuron-cumulant"], right["neuron-cumulant"])
    narrow = measured({**c, "widest": 16})  # as wide as the point: nothing changes
    np.testing.assert_array_equal(narrow["law-error"], right["law-error"])
    assert not np.array_equal(faults["bottleneck"]["law-error"], right["law-error"])


def test_what_does_not_apply_is_refused() -> None:
    with pytest.raises(ValueError, match="is not NTP"):
        predict({"parametrization": PARAMETRIZATIONS["mup"].as_config()})
    with pytest.raises(ValueError, match="in the networks Perceptron and Recurrent, got Residual"):
        hidden_limit(Residual(), torch.ones(2, 3, device=CPU))
    with pytest.raises(ValueError, match="depth of at least 1, got 0"):
        hidden_limit(Perceptron(depth=1), torch.ones(2, 3, device=CPU))
