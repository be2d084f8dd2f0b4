"""Mean and covariance, over initialisations, of the outputs of trained networks, against the law of wide ones.

Every network tells its own part of both, and the mean over networks is that of the ensemble without bias. Write m and C
for the law's mean and covariance at the last ``probes`` examples, B = I - A (``regression.remainder``) for what linear
training leaves of f_0, and K̂ for the covariance of f_0 given the hidden layers:

    mean:         f_t - m - B f_0,
    covariance:   (f_t - m)(f_t - m)ᵀ - C - B (f_0 f_0ᵀ - K̂) Bᵀ.

At every width E f_0 = 0 and E f_0 f_0ᵀ = E K̂ exactly, whatever B is, so the terms with B change no mean; they take out
the chance of f_0, and what is left scatters by n^(-1/2). Rows at the steps of ``record`` but 0:

* ``mean-error``: the first of these in units of the law's mean standard deviation, an index a probe;
* ``mean-share`` and ``covariance-share``: their components along (rival - law), 0 when the law is right and 1 when the
  rival is;
* ``mean-ratio`` and ``variance-ratio``: the mean's component along m over |m|², and the sum of the probes' variances
  over that of C: 1 when the law has the right size. A rival that is far away hides a law of the wrong size from the
  shares, and not from these.

The law's tangent kernel weighs the layers' terms by the configuration's ``shares``, that of the rival mean by
``rival_shares``; ``limit`` and ``rival`` name two of ``COVARIANCES``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tpbench.bench.claim import Config, Point, Row
from tpbench.claims.experiments.setup import Setup, in_parts, setup, train_targets
from tpbench.claims.experiments.tangent import limit_kernels
from tpbench.limits import Array
from tpbench.limits.flow import GradientDescent, response
from tpbench.limits.regression import Law, remainder, trained_law
from tpbench.networks.mlp import Ensemble, forward
from tpbench.networks.train import train
from tpbench.parametrization import Role, scale

COVARIANCES: Mapping[str, Callable[[Array, Array], Array]] = {
    "trained": lambda law, cross: law,
    "independent": lambda law, cross: law - cross - cross.T,  # as if f_0 and the change that depends on it were
    "too-large": lambda law, cross: 1.2 * law,
}
"""What the covariance could be: (the law's, its terms between f_0 and the change) -> covariance, all (points, points).
"""


@dataclass(frozen=True)
class Expected:
    """What theory says of one step: the laws on the probes, and what training leaves of f_0 (probes, examples)."""

    law: Law
    rival: Law
    kept: Array


def run(point: Point) -> Iterator[Row]:
    """Train all seeds on squared error and yield the rows described above.

    Raises ``ValueError`` for another loss or optimizer, for more outputs than one, and for minibatches.
    """
    c, run = point.config, setup(point)
    _check(c)
    expected = {step: _expected(c, run, step) for step in sorted(run.record) if step > 0}

    def measure(run: Setup, seeds: tuple[int, ...]) -> Iterator[Row]:
        ensemble = run.initialise(seeds)
        start, given = _outputs(ensemble, run), _conditional_covariance(ensemble, run)
        for step, _ in train(ensemble, run.task(ensemble), run.optimizer, run.order):
            if step in expected:
                yield from _errors(expected[step], _outputs(ensemble, run), start, given, seeds, step)

    return in_parts(run, measure)


def _check(c: Config) -> None:
    asked = (c["loss"], c["optimizer"], c["outputs"], c["batch"], c["centred"])
    if asked != ("mse", "sgd", 1, None, False):
        raise ValueError(
            "the law of trained ensembles is that of one output under full-batch gradient descent on squared error: "
            f"got loss {asked[0]!r}, optimizer {asked[1]!r}, {asked[2]} outputs, batch {asked[3]}, centred {asked[4]}"
        )


def _expected(c: Config, run: Setup, step: int) -> Expected:
    targets = train_targets(c)
    schedule = GradientDescent(step, c["learning_rate"], c["momentum"])
    ours, rivals = (limit_kernels(c, c[key]) for key in ("shares", "rival_shares"))
    law, rival = (trained_law(k.nngp, k.ntk, targets, train=run.train, schedule=schedule) for k in (ours, rivals))
    kept = remainder(response(ours.ntk, train=run.train, schedule=schedule), run.train)
    cross = (kept - np.eye(len(kept))) @ ours.nngp
    right, wrong = (COVARIANCES[c[role]](law.covariance, cross) for role in ("limit", "rival"))
    probes = np.arange(len(kept))[-c["probes"] :]
    square = np.ix_(probes, probes)
    return Expected(Law(law.mean[probes], right[square]), Law(rival.mean[probes], wrong[square]), kept[probes])


def _outputs(ensemble: Ensemble, run: Setup) -> Array:
    """Return f on all examples, (seed, examples)."""
    return np.asarray(forward(ensemble, run.inputs).output.double().cpu().numpy()[:, :, 0])


def _conditional_covariance(ensemble: Ensemble, run: Setup) -> Array:
    """Return the covariance of f_0 over the read-out's weights and bias alone, (seed, examples, examples)."""
    features = forward(ensemble, run.inputs).activations[-1].double()
    readout = ensemble.layers[-1]
    of_weights = scale(run.parametrization, Role.OUTPUT, run.mlp.width, run.base_width).std
    covariance = (readout.multiplier * of_weights) ** 2 * (features @ features.mT)
    if readout.bias is not None:
        of_bias = scale(run.parametrization, Role.OUTPUT_BIAS, run.mlp.width, run.base_width).std
        covariance += (readout.bias_multiplier * of_bias) ** 2
    return np.asarray(covariance.cpu().numpy())


def _errors(
    expected: Expected, now: Array, start: Array, given: Array, seeds: Sequence[int], step: int
) -> Iterator[Row]:
    law, kept = expected.law, expected.kept
    away = now[:, -len(kept) :] - law.mean[:, 0]  # (seed, probes)
    linear = start @ kept.T
    mean = away - linear
    covariance = _outer(away) - _outer(linear) + kept @ given @ kept.T - law.covariance
    variance = np.trace(covariance, axis1=1, axis2=2)[:, None]
    towards = Law(expected.rival.mean - law.mean, expected.rival.covariance - law.covariance)
    found: Mapping[str, Array] = {
        "mean-error": mean / np.diag(law.covariance).mean() ** 0.5,
        "mean-share": mean @ towards.mean / (towards.mean**2).sum(),
        "covariance-share": (covariance * towards.covariance).sum(axis=(1, 2))[:, None] / (towards.covariance**2).sum(),
        "mean-ratio": 1 + mean @ law.mean / (law.mean**2).sum(),
        "variance-ratio": 1 + variance / np.trace(law.covariance),
    }
    for quantity, values in found.items():
        for seed, row in zip(seeds, values.tolist(), strict=True):
            for index, value in enumerate(row):
                yield Row(quantity, value, seed=seed, step=step, index=index)


def _outer(x: Array) -> Array:
    return x[:, :, None] * x[:, None, :]
