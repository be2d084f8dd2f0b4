"""Training without a loop: against the loop, the integrator, conservation laws and the edge of stability."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy import integrate, special

from tpbench.limits import Array
from tpbench.limits.dynamics import GRADIENTS, kernel_descent, largest_stable_rate
from tpbench.limits.flow import GradientDescent, GradientFlow, HeavyBall, Schedule, kernel_flow, response, trained

Agree = Callable[..., None]
POINTS, TRAIN, OUTPUTS = 11, [1, 2, 4, 5, 7, 8], 3


def model(rank: int = 30) -> tuple[Array, Array, Array]:
    """Return a kernel over all points, f_0 and targets of the training points."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((POINTS, rank)) / rank**0.5 + 0.5
    return features @ features.T, rng.standard_normal((POINTS, OUTPUTS)), rng.standard_normal((len(TRAIN), OUTPUTS))


@pytest.mark.parametrize("rank", [30, 3])
@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("steps", [0, 1, 2, 17])
def test_descent_is_the_loop(agree: Agree, rank: int, momentum: float, steps: int) -> None:
    """For kernels that see fewer directions than there are points as well."""
    kernel, start, targets = model(rank)
    options: dict[str, Any] = {"learning_rate": 0.4, "momentum": momentum}
    path = kernel_descent(kernel, targets, start, train=TRAIN, order=[None] * steps, **options)
    agree(trained(kernel, targets, start, train=TRAIN, schedule=GradientDescent(steps, **options)), path[-1], 1e-11)


def test_descent_above_the_edge_is_the_loop_too(agree: Agree) -> None:
    kernel, start, targets = model()
    rate = 1.2 * largest_stable_rate(kernel, train=TRAIN)
    path = kernel_descent(kernel, targets, start, train=TRAIN, learning_rate=rate, order=[None] * 30)
    ours = trained(kernel, targets, start, train=TRAIN, schedule=GradientDescent(30, rate))
    assert np.abs(ours).max() > 1e3
    agree(ours, path[-1], 1e-10)


@pytest.mark.parametrize("momentum", [0.0, 0.4, 0.9])
def test_the_edge_is_where_the_loop_begins_to_grow(momentum: float) -> None:
    kernel, start, targets = model()
    edge = largest_stable_rate(kernel, train=TRAIN, momentum=momentum)

    def residual(rate: float, steps: int) -> float:
        schedule = GradientDescent(steps, rate, momentum)
        f = trained(kernel, targets, start, train=TRAIN, schedule=schedule)
        return float(np.linalg.norm(f[TRAIN] - targets))

    assert residual(0.999 * edge, 10**4) < residual(0.999 * edge, 10**2) < residual(0.999 * edge, 0)
    assert residual(1.001 * edge, 10**4) > 1e6 * residual(1.001 * edge, 10)


def test_the_edge_counts_the_average_over_the_batch_and_the_training_points_alone() -> None:
    kernel = np.diag([3.0, 8.0, 5.0])
    assert largest_stable_rate(kernel) == pytest.approx(2 / (8 / 3))
    assert largest_stable_rate(kernel, train=[0, 2]) == pytest.approx(2 / (5 / 2))
    assert largest_stable_rate(kernel, train=[0], momentum=0.5) == pytest.approx(3 / 3)


def test_small_steps_are_the_flow(agree: Agree) -> None:
    """The difference is of first order: halving the rate halves it, and extrapolating it away gains more."""
    kernel, start, targets = model()

    def off(steps: int) -> Array:
        f = trained(kernel, targets, start, train=TRAIN, schedule=GradientDescent(steps, 2.0 / steps))
        return f - trained(kernel, targets, start, train=TRAIN, schedule=GradientFlow(2.0))

    coarse, fine = off(200), off(400)
    agree(2 * fine, coarse, 0.02)
    agree(trained(kernel, targets, start, train=TRAIN, schedule=GradientDescent(10**7, 2e-7)) - start,
          trained(kernel, targets, start, train=TRAIN, schedule=GradientFlow(2.0)) - start, 1e-6)  # fmt: skip


@pytest.mark.parametrize("momentum", [0.2, 0.9, 0.99])
def test_momentum_follows_the_heavy_ball_to_second_order(agree: Agree, momentum: float) -> None:
    """A quarter of the rate halves the time of a step: the difference falls to a quarter (and not to a half)."""
    kernel, start, targets = model()
    rate, steps = 0.01 * (1 + momentum), 40

    def off(refined: int) -> Array:
        eta = rate / refined**2
        pace, friction = math.sqrt(2 * rate / (1 + momentum)), 2 * (1 - momentum) / (1 + momentum)
        friction /= pace
        mu = (1 - friction * pace / refined / 2) / (1 + friction * pace / refined / 2)
        eta = (pace / refined) ** 2 * (1 + mu) / 2
        time = HeavyBall.of_descent(steps * refined, eta, mu)
        assert time.friction == pytest.approx(friction)
        discrete = trained(kernel, targets, start, train=TRAIN, schedule=GradientDescent(steps * refined, eta, mu))
        return discrete - trained(kernel, targets, start, train=TRAIN, schedule=time)

    coarse, fine = np.abs(off(64)).max(), np.abs(off(128)).max()
    assert fine > 1e-9
    assert coarse / fine == pytest.approx(4, rel=0.15)


def test_strong_friction_is_gradient_flow(agree: Agree) -> None:
    kernel, start, targets = model()
    slow = trained(kernel, targets, start, train=TRAIN, schedule=HeavyBall(1.5e3, 1e3))
    agree(slow, trained(kernel, targets, start, train=TRAIN, schedule=GradientFlow(1.5)), 1e-5)


@pytest.mark.parametrize(
    "schedule", [GradientFlow(math.inf), HeavyBall(math.inf, 0.3), GradientDescent(math.inf, 0.2, 0.5)]
)
def test_all_end_at_the_interpolation(agree: Agree, schedule: Schedule) -> None:
    kernel, start, targets = model()
    end = trained(kernel, targets, start, train=TRAIN, schedule=schedule)
    solved = np.linalg.solve(kernel[np.ix_(TRAIN, TRAIN)], targets - start[TRAIN])
    agree(end, start + kernel[:, TRAIN] @ solved, 1e-9)
    agree(end[TRAIN], targets, 1e-9)


@pytest.mark.parametrize("friction", [None, 0.0, 0.7, 2.0])
def test_squared_error_in_closed_form_is_the_integral(agree: Agree, friction: float | None) -> None:
    """Underdamped, undamped, overdamped, and without inertia; the kernel is singular."""
    kernel, start, targets = model(3)
    times = [0.0, 0.5, 3.0, 10.0]
    path = kernel_flow(kernel, targets, start, train=TRAIN, times=times, friction=friction)
    for time, f in zip(times, path, strict=True):
        schedule: Schedule = GradientFlow(time) if friction is None else HeavyBall(time, friction)
        agree(trained(kernel, targets, start, train=TRAIN, schedule=schedule), f, 1e-8)


def test_critical_damping_and_unseen_directions_have_their_own_formulas(agree: Agree) -> None:
    """λ = γ²/4: residual (1 + γ t/2) e^(-γ t/2). λ = 0: q is the path under a constant force."""
    time, friction = 1.3, 0.8
    critical = friction**2 / 4
    x = friction * time / 2
    q = HeavyBall(time, friction).gain(np.array([0.0, critical]))
    agree(1 - critical * q[1:], np.array([(1 + x) * math.exp(-x)]), 1e-13)
    agree(q[:1], np.array([(time - -math.expm1(-2 * x) / friction) / friction]), 1e-13)
    agree(GradientFlow(time).gain(np.array([0.0, 1e-18, 2.0])),
          np.array([time, time, -math.expm1(-2 * time) / 2]), 1e-15)  # fmt: skip
    agree(GradientDescent(7, 0.1).gain(np.array([0.0, 1e-18])), np.array([0.7, 0.7]), 1e-15)


@pytest.mark.parametrize("friction", [None, 0.5])
def test_cross_entropy_is_the_limit_of_small_steps(agree: Agree, friction: float | None) -> None:
    kernel, start, targets = model()
    targets = special.softmax(targets, axis=1)
    time, steps = 4.0, 4000
    pace = time / (steps + 0.5)
    momentum = 0.0 if friction is None else (1 - friction * pace / 2) / (1 + friction * pace / 2)
    rate = time / steps if friction is None else pace**2 * (1 + momentum) / 2
    discrete = kernel_descent(
        kernel, targets, start, train=TRAIN, learning_rate=rate, order=[None] * steps, momentum=momentum,
        loss="cross-entropy",
    )[-1]  # fmt: skip
    [ours] = kernel_flow(kernel, targets, start, train=TRAIN, times=[time], friction=friction, loss="cross-entropy")
    agree(ours, discrete, 2e-4 if friction is None else 2e-6)
    assert np.abs(ours - start).max() > 0.3


def loss_of(f: Array, targets: Array) -> float:
    return -float((targets * special.log_softmax(f, axis=1)).sum() / len(targets))


def test_cross_entropy_conserves_the_sum_of_logits_and_descends(agree: Agree) -> None:
    """∂L/∂f sums to 0 over outputs, so Σ f stands still at every point; the loss falls at the rate |∂L|²_K."""
    kernel, start, targets = model()
    targets = special.softmax(targets, axis=1)
    times = np.linspace(0, 6, 301)
    path = kernel_flow(kernel, targets, start, train=TRAIN, times=times.tolist(), loss="cross-entropy")
    agree(path.sum(axis=-1), np.broadcast_to(start.sum(axis=-1), path.shape[:-1]), 1e-11)
    losses = np.array([loss_of(f[TRAIN], targets) for f in path])
    assert all(later < earlier for earlier, later in pairwise(losses))
    gradients = GRADIENTS["cross-entropy"](path[:, TRAIN], targets) / len(TRAIN)
    falls = np.einsum("tio,ij,tjo->t", gradients, kernel[np.ix_(TRAIN, TRAIN)], gradients)
    agree(np.array([integrate.simpson(falls, x=times)]), np.array([losses[0] - losses[-1]]), 1e-7)


def test_without_friction_energy_is_conserved(agree: Agree) -> None:
    """Squared error and K diagonal: every output oscillates with sqrt(λ), and comes back after a period."""
    kernel = np.diag([2.0, 2.0])
    start, targets = np.array([[1.0], [-0.5]]), np.zeros((2, 1))
    period = 2 * math.pi / 1.0  # λ = 2/N = 1
    path = kernel_flow(kernel, targets, start, train=[0, 1], times=[period / 2, period], friction=0.0)
    agree(path, np.stack([-start, start]), 1e-8)


def test_every_seed_flows_from_its_own_start_and_nothing_is_changed(agree: Agree) -> None:
    kernel, _, targets = model()
    starts = np.random.default_rng(2).standard_normal((4, POINTS, OUTPUTS))
    kept = starts.copy()
    options: dict[str, Any] = {"train": TRAIN, "times": [0.3, 1.0], "loss": "cross-entropy"}
    together = kernel_flow(kernel, special.softmax(targets, axis=1), starts, **options)
    assert together.shape == (2, 4, POINTS, OUTPUTS)
    for seed, start in enumerate(starts):
        alone = kernel_flow(kernel, special.softmax(targets, axis=1), start, **options)
        agree(together[:, seed], alone, 1e-8)
    agree(trained(kernel, targets, starts, train=TRAIN, schedule=GradientFlow(1.0))[2],
          trained(kernel, targets, starts[2], train=TRAIN, schedule=GradientFlow(1.0)), 1e-13)  # fmt: skip
    assert (starts == kept).all()


def test_time_zero_is_the_start(agree: Agree) -> None:
    kernel, start, targets = model()
    agree(kernel_flow(kernel, targets, start, train=TRAIN, times=[0.0]), start[None], 0.0)
    for schedule in (GradientFlow(0.0), HeavyBall(0.0, 1.0), GradientDescent(0, 1.0), HeavyBall.of_descent(0, 1.0, 0)):
        agree(response(kernel, train=TRAIN, schedule=schedule), np.zeros((POINTS, len(TRAIN))), 0.0, floor=1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GradientFlow(-1.0), "a time is at least 0, got -1"),
        (lambda: GradientFlow(math.nan), "a time is at least 0, got nan"),
        (lambda: HeavyBall(1.0, -0.1), "friction is at least 0"),
        (lambda: HeavyBall(1.0, math.inf), "friction is at least 0 and finite, got inf: .* the heavy ball is gradient"),
        (lambda: HeavyBall(math.inf, 0.0), "without friction outputs oscillate for ever"),
        (lambda: HeavyBall.of_descent(1, 0.0, 0.5), "learning rate above 0"),
        (lambda: GradientDescent(1.5, 0.1), "the number of steps is whole"),
        (lambda: GradientDescent(1, -0.1), "a learning rate above 0"),
        (lambda: GradientDescent(1, 0.1, 1.0), r"momentum in \[0, 1\)"),
        (lambda: largest_stable_rate(np.zeros((2, 2))), "every learning rate is stable"),
        (lambda: largest_stable_rate(np.eye(2), momentum=1.0), "momentum lies in"),
    ],
)
def test_schedules_that_make_no_sense_are_errors(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("schedule", [GradientFlow(math.inf), HeavyBall(math.inf, 1.0), GradientDescent(math.inf, 0.1)])
def test_a_singular_kernel_is_never_fully_learned(schedule: Schedule) -> None:
    kernel, start, targets = model(3)
    with pytest.raises(ValueError, match="the kernel between the training points is singular"):
        trained(kernel, targets, start, train=TRAIN, schedule=schedule)


def test_training_for_ever_above_the_edge_is_an_error() -> None:
    kernel, start, targets = model()
    edge = largest_stable_rate(kernel, train=TRAIN, momentum=0.5)
    trained(kernel, targets, start, train=TRAIN, schedule=GradientDescent(math.inf, 0.999 * edge, 0.5))
    with pytest.raises(ValueError, match=r"converges nowhere: the largest stable one of this kernel is"):
        trained(kernel, targets, start, train=TRAIN, schedule=GradientDescent(math.inf, 1.001 * edge, 0.5))


def test_what_is_no_kernel_is_an_error() -> None:
    kernel, start, targets = model()
    with pytest.raises(ValueError, match="a kernel has no negative eigenvalue"):
        trained(kernel - np.eye(POINTS), targets, start, train=TRAIN, schedule=GradientFlow(1.0))
    with pytest.raises(ValueError, match=r"square, got shape \(11, 10\)"):
        response(kernel[:, 1:], train=TRAIN, schedule=GradientFlow(1.0))
    with pytest.raises(ValueError, match="do not fit 6 training points"):
        trained(kernel, targets[1:], start, train=TRAIN, schedule=GradientFlow(1.0))
    with pytest.raises(ValueError, match="do not fit 6 training points"):
        kernel_flow(kernel, targets, start[1:], train=TRAIN, times=[1.0])
    with pytest.raises(ValueError, match=r"no kernel flow for loss 'linear' \(known: mse, cross-entropy\)"):
        kernel_flow(kernel, targets, start, train=TRAIN, times=[1.0], loss="linear")
    for friction in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="friction is at least 0 and finite"):
            kernel_flow(kernel, targets, start, train=TRAIN, times=[1.0], friction=friction)
    for times in ([], [1.0, 0.5], [-1.0], [math.inf]):
        with pytest.raises(ValueError, match="times are finite, at least 0 and ascending"):
            kernel_flow(kernel, targets, start, train=TRAIN, times=times)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_rows_are_singular_in_the_precision_of_the_kernel(dtype: type[np.floating[Any]]) -> None:
    """Rounded to float32, the smallest eigenvalue is about 1e-8 of the largest, of either sign, and not 1e-17."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        features = rng.standard_normal((6, 30)).astype(dtype)
        features[1] = features[0]
        kernel = features @ features.T
        kernel[0] += np.spacing(kernel[0]) * rng.integers(-1, 2, 6)  # whatever order of sums the rows had
        for schedule in (GradientFlow(math.inf), HeavyBall(math.inf, 1.0), GradientDescent(math.inf, 1e-3)):
            with pytest.raises(ValueError, match="the kernel between the training points is singular"):
                response(kernel, train=range(6), schedule=schedule)
        assert np.isfinite(response(kernel, train=range(6), schedule=GradientFlow(1.0))).all()
        response(kernel, train=range(1, 6), schedule=GradientFlow(math.inf))


def test_a_kernel_in_float32_is_computed_with_in_float64(agree: Agree) -> None:
    kernel, start, targets = model()
    rounded = kernel.astype(np.float32)
    for schedule in (GradientFlow(3.0), GradientFlow(math.inf), HeavyBall(2.0, 0.3), GradientDescent(9, 0.2, 0.5)):
        ours, exact = (response(each, train=TRAIN, schedule=schedule) for each in (rounded, rounded.astype(np.float64)))
        assert ours.dtype == np.float64
        agree(ours, exact, 1e-14)
    paths = [
        kernel_flow(each, targets, start, train=TRAIN, times=[1.0]) for each in (rounded, rounded.astype(np.float64))
    ]
    agree(paths[0], paths[1], 1e-14)


def test_no_training_points_are_an_error() -> None:
    kernel, start, targets = model()
    for call in (
        lambda: response(kernel, train=[], schedule=GradientFlow(1.0)),
        lambda: trained(kernel, targets[:0], start, train=[], schedule=GradientFlow(1.0)),
        lambda: kernel_flow(kernel, targets[:0], start, train=[], times=[1.0]),
        lambda: kernel_descent(kernel, targets[:0], start, train=[], learning_rate=0.1, order=[None]),
        lambda: largest_stable_rate(kernel, train=[]),
    ):
        with pytest.raises(ValueError, match=r"on no points, got train=\[\]: number at least one"):
            call()
