"""Limits by randomised quasi-Monte Carlo, against every limit that is known another way, and against networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from tpbench.limits.kernels import kernels
from tpbench.limits.mup import linear_mup_limit
from tpbench.networks import infinite
from tpbench.networks.infinite import Limit, Mean, bias_power, limit, mean_trajectories, queries
from tpbench.networks.mlp import Mlp, initialise
from tpbench.networks.train import Sgd, Task, batches
from tpbench.networks.trajectory import MEASURES, Course, Moment
from tpbench.parametrization import named
from tpbench.weights.innovations import MonteCarlo

Normal = Callable[..., torch.Tensor]
CPU = torch.device("cpu")
OUTPUT = {"output": MEASURES["output"]}


def course(normal: Normal, steps: int = 4, *, outputs: int = 1, batch: int | None = None, **sgd: Any) -> Course:
    x, y = normal(5, 3), normal(4, outputs, seed=1)
    task = Task(x[:4], y)
    return Course(task, Sgd(**{"learning_rate": 0.5, **sgd}, batch=batch), batches(4, batch, steps, 0), x)


def centred(c: Course) -> Course:
    return replace(c, centred=True)


def scores(found: Limit | Mean, expected: np.ndarray) -> np.ndarray:
    """Return distances in standard errors where there is an error."""
    known = found.error > 1e-12
    np.testing.assert_allclose(found.mean[~known], expected[~known], atol=1e-10)
    return np.asarray((found.mean - expected)[known] / found.error[known])


def test_agrees_with_the_exact_linear_limit(normal: Normal) -> None:
    c = course(normal, 6, outputs=2, batch=2, momentum=0.5, weight_decay=0.01)
    found = limit(Mlp(3, 2, 1, 1, "identity"), named("mup"), c, measures=OUTPUT, points=(256, 512, 1024))["output"]
    exact = partial(
        linear_mup_limit,
        c.task.inputs.numpy(),
        c.task.targets.numpy(),
        c.probes.numpy(),
        learning_rate=0.5,
        order=list(c.order),
        momentum=0.5,
        weight_decay=0.01,
        loss="mse",
        sigma_w=1.0,
        base_width=1,
    )
    expected = exact()
    for each in (found, found.raw):
        z = scores(each, expected)
        assert np.abs(z).max() < 5
        assert np.sqrt((z**2).mean()) < 2
    assert float(found.raw.error[1:].max()) < 1e-3
    assert float(np.abs(expected[1:]).max()) > 0.1, "something is learned"
    wrong = exact(features_move=False)
    assert np.sqrt((scores(found, wrong) ** 2).mean()) > 10, "the test can fail"


def one_hidden_layer(
    phi: Callable[..., Any], slope: Callable[..., Any], y: float, size: float, steps: int
) -> list[float]:
    """Return f_t of the infinite muP network with one hidden layer on one input, by Gauss-Hermite quadrature.

    Every neuron (h, v) starts Gaussian and obeys v <- v - eta g phi(h), h <- h - eta g v phi'(h) |x|²/d.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    h, v = np.meshgrid(np.sqrt(size) * nodes, nodes, indexing="ij")
    both = weights[:, None] * weights[None, :]
    found = []
    for _ in range(steps + 1):
        f = float((both * v * phi(h)).sum())
        found.append(f)
        h, v = h - 0.5 * (f - y) * v * slope(h) * size, v - 0.5 * (f - y) * phi(h)
    return found


def test_agrees_with_quadrature_for_one_nonlinear_hidden_layer(normal: Normal) -> None:
    x = normal(1, 3)
    size, y = float((x**2).sum() / 3), 0.8
    c = Course(Task(x, torch.full((1, 1), y, dtype=torch.float64, device=CPU)), Sgd(0.5), [None] * 6, x)
    found = limit(Mlp(3, 1, 1, 1, "tanh"), named("mup"), c, measures=OUTPUT)["output"]
    expected = one_hidden_layer(np.tanh, lambda h: 1 / np.cosh(h) ** 2, y, size, 6)
    z = scores(found, np.array(expected)[:, None, None])
    assert np.abs(z).max() < 4.5
    assert float(found.error.max()) < 3e-4
    assert expected[-1] > 0.4


@pytest.mark.parametrize("phi", ["tanh", "relu"])
def test_kernels_at_the_start_are_nngp_and_ntk(normal: Normal, phi: str) -> None:
    x = normal(5, 3)
    c = Course(Task(x, normal(5, 1)), Sgd(0.5), [], x, centred=True)

    def gram(m: Moment) -> torch.Tensor:
        last = m.now.activations[-1]
        return torch.bmm(last, last.mT) / last.shape[2]

    measures = {"gram": gram, "kernel": MEASURES["kernel"]}
    found = limit(Mlp(3, 1, 1, 2, phi, sigma_w=1.5), named("ntp"), c, measures=measures, replicates=32)
    expected_kernels = kernels(x.numpy(), depth=2, activation=phi, sigma_w=1.5)
    for name, expected in (("gram", expected_kernels.nngp / 1.5**2), ("kernel", expected_kernels.ntk)):
        z = scores(found[name].raw, expected[None])
        assert np.abs(z).max() < 5, name
        assert float((found[name].raw.error / np.abs(expected).max()).max()) < 5e-3


@pytest.mark.slow
def test_agrees_with_dense_networks_and_forgetting_the_transpose_does_not(normal: Normal) -> None:
    c = course(normal, 4)
    mlp = Mlp(3, 1, 1, 2, "tanh", sigma_w=1.5)
    measures = {name: MEASURES[name] for name in infinite.SHOWN}
    ask: dict[str, Any] = {"points": (1024, 2048), "replicates": 32}
    found = limit(mlp, named("mup"), c, measures=measures, **ask)
    wrong = limit(mlp, named("mup"), c, measures=OUTPUT, **ask, transpose_correction=False)["output"]
    means = {}
    for width in (64, 128):
        build = partial(initialise, replace(mlp, width=width), named("mup"), device=CPU, dtype=torch.float64)
        means[width] = mean_trajectories(build, c, measures, range(4096), 512)
    for name, right in found.items():
        # a 1/n bias is gone from 2 mean(128) - mean(64)
        mean = 2 * means[128][name].mean - means[64][name].mean
        error = np.sqrt(4 * means[128][name].error ** 2 + means[64][name].error ** 2 + right.error**2)
        known = error > 1e-12
        assert np.abs((mean - right.mean)[known] / error[known]).max() < 4.5, name
        if name == "output":
            assert np.abs((mean - wrong.mean) / error)[2:].max() > 20


def test_replicates_and_batching_of_them_are_what_they_say(normal: Normal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no seed's queries are nearly dependent, so that all seeds draw the same dimensions."""
    x = normal(3, 16)
    c = Course(Task(x, normal(3, 1)), Sgd(0.5), [None], x)
    mlp = Mlp(16, 1, 7, 2, "tanh")
    ask: dict[str, Any] = {"measures": OUTPUT, "points": (64, 128), "replicates": 6}
    found = limit(mlp, named("mup"), c, **ask)["output"]
    monkeypatch.setattr(infinite, "NUMBERS_AT_ONCE", 1)
    alone = limit(mlp, named("mup"), c, **ask)["output"]
    np.testing.assert_allclose(alone.mean, found.mean, atol=1e-11)
    np.testing.assert_allclose(alone.error, found.error, atol=1e-11)
    other = limit(mlp, named("mup"), c, seed=100, **ask)["output"]
    assert np.abs(other.mean - found.mean).max() > 1e-5, "another seed, other scrambles"
    assert found.by_points[64].count == 6
    assert found.raw is found.by_points[128]


def test_sobol_points_beat_independent_ones(normal: Normal) -> None:
    c = course(normal, 3)
    ask: dict[str, Any] = {"measures": OUTPUT, "points": (4096,), "replicates": 16}
    errors = [
        np.sqrt((limit(Mlp(3, 1, 1, 2, "tanh"), named("mup"), c, **ask, **more)["output"].error[1:] ** 2).mean())
        for more in ({}, {"innovations": MonteCarlo})
    ]
    assert errors[1] > 2.5 * errors[0]


def test_every_shown_measure_has_a_limit_and_a_kernel_learner_stands_still(normal: Normal) -> None:
    found = limit(
        Mlp(3, 1, 1, 2, "tanh"), named("ntp"), centred(course(normal, 2)), points=(256, 512, 1024), replicates=8
    )
    assert set(found) == set(infinite.SHOWN)
    moved = found["preactivation-change"]
    assert moved.raw.mean[-1].min() > 1e-4, "a network of 1024 neurons moves"
    assert np.abs(moved.mean[-1] / moved.error[-1]).max() < 5, "the limit does not"


@pytest.mark.parametrize(
    ("measure", "table", "power"),
    [
        ("output", "mup", 1.5),
        ("output", "ntp", 1.0),
        ("preactivation-change", "ntp", 0.5),
        ("preactivation-change", "mup", 1.5),
    ],
)
def test_power_of_the_bias(measure: str, table: str, power: float) -> None:
    assert bias_power(measure, named(table), 2) == power


def test_extrapolation_is_exact_for_a_pure_power() -> None:
    by_points = {m: Mean(np.array([[2.0, -1.0 + 3 * m**-1.5]]), np.full((1, 2), 1e-3), 4) for m in (64, 128, 256)}
    found = infinite.extrapolated(by_points, 1.5)
    np.testing.assert_allclose(found.mean, [[2.0, -1.0]], atol=1e-12)
    np.testing.assert_allclose(infinite.extrapolated(by_points, 1.0).mean[0, 1], -1.0, atol=2e-2)
    assert (found.error > np.sqrt(1 / 3) * by_points[256].error).all(), "more than a mean of all three would have"


def test_extrapolated_error_is_that_of_the_linear_rule() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        by_points = {
            m: Mean(1 + s * rng.standard_normal((1, 1)), np.full((1, 1), s), 4) for m, s in ((64, 2.0), (256, 1.0))
        }
        found.append(infinite.extrapolated(by_points, 1.5))
    scatter, told = np.std([f.mean for f in found]), np.array([f.error[0, 0] for f in found])
    assert told.min() == pytest.approx(scatter, rel=0.12), "where the other power says the same"
    assert np.sqrt((told**2).mean()) < 1.5 * scatter


def test_a_bias_of_another_power_is_within_the_error() -> None:
    """The power is an argument: where it is 1 or 2 instead, the error must cover what that does."""
    for true in (1.0, 2.0):
        by_points = {m: Mean(np.full((1, 1), 1 + 3 * m**-true), np.full((1, 1), 1e-9), 64) for m in (64, 128, 256)}
        found = infinite.extrapolated(by_points, 1.5)
        assert abs(float(found.mean[0, 0]) - 1) < 2 * float(found.error[0, 0])


def test_refusals(normal: Normal) -> None:
    c = course(normal, 1)
    with pytest.raises(ValueError, match="at least 2"):
        limit(Mlp(3, 1, 1, 2), named("mup"), c, replicates=1)
    with pytest.raises(ValueError, match="'sp' has no infinite-width limit"):
        limit(Mlp(3, 1, 1, 2), named("sp"), c)
    with pytest.raises(ValueError, match=r"'ntp' stays random at infinite width.*centre it"):
        limit(Mlp(3, 1, 1, 2), named("ntp"), c)
    with pytest.raises(ValueError, match=r"diverged.*with 64 points; lower the learning rate"):
        limit(Mlp(3, 1, 1, 2), named("mup"), course(normal, 40, learning_rate=1e9), points=(64, 128), replicates=2)
    with pytest.raises(ValueError, match="centred=True"):
        Course(Task(c.task.inputs, c.task.targets, c.task.targets[None]), c.sgd, c.order, c.probes)


def test_room_is_enough_for_all_queries(normal: Normal) -> None:
    assert queries(course(normal, 3)) == 3 * 4 + 5 * 4
    assert queries(course(normal, 3, batch=2)) == 3 * 2 + 5 * 4
