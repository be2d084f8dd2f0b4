"""Limits of trained networks of any depth and activation, with standard errors.

An infinitely wide network is a set of averages over neurons; a lazy network whose fresh Gaussian vectors are scrambled
Sobol' points, a neuron a point, computes those averages by randomised quasi-Monte Carlo. ``replicates`` independent
scrambles give a mean and its standard error. What is left is a bias that falls with the number of points M, measured
by running several M and extrapolated away. Where features are learned it is the square of the error of one average,
about M^(-3/2); where they move by n^(-r) it is what they have moved at width M: M^(-r) in the movement itself, and of
second order, M^(-2r), elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tpbench.networks.mlp import Ensemble, Mlp, initialise_lazy
from tpbench.networks.trajectory import MEASURES, Course, Measure, trajectories
from tpbench.parametrization import Parametrization, least_movement, violations
from tpbench.weights.innovations import Innovations, Sobol

Array = NDArray[np.float64]
POINTS = (2**10, 2**11, 2**12)
REPLICATES = 64
BIAS_POWER = 1.5
ANOTHER_POWER = 2 / 3
"""The power of the bias is an argument, not a theorem: the extrapolation with this share of it is the other opinion,
and the distance between the two enters the error."""
NUMBERS_AT_ONCE = 2**24
SEEDS_APART = 2**20
MOVEMENTS = frozenset({"preactivation-change", "activation-change"})
SHOWN = ("output", "loss", "preactivation", "activation", "preactivation-change", "activation-change")


@dataclass(frozen=True)
class Mean:
    """Mean over replicates or seeds and its standard error, both (step, ...); ``count`` is how many there were."""

    mean: Array
    error: Array
    count: int


@dataclass(frozen=True)
class Limit:
    """A limit with its standard error, (step, ...) each, extrapolated to infinitely many points.

    The error is that of the replicates, inflated where the numbers of points scatter more than it explains, and the
    change that another power of the bias would make, in quadrature; with a single number of points it is that of the
    replicates alone. ``by_points`` has the means at every number of points, which the extrapolation is made of; ``raw``
    is the one of the most points. ``bias`` is the root mean square of what the extrapolation changed there.
    """

    mean: Array
    error: Array
    by_points: Mapping[int, Mean]

    @property
    def raw(self) -> Mean:
        """The mean at the most points, without extrapolation."""
        return self.by_points[max(self.by_points)]

    @property
    def bias(self) -> float:
        """Root mean square difference between the extrapolated mean and the raw one."""
        return float(np.sqrt(np.mean((self.mean - self.raw.mean) ** 2)))


def limit(
    network: Mlp,
    parametrization: Parametrization,
    course: Course,
    *,
    measures: Mapping[str, Measure] | None = None,
    points: Sequence[int] = POINTS,
    replicates: int = REPLICATES,
    seed: int = 0,
    base_width: int = 1,
    powers: Mapping[str, float] | None = None,
    transpose_correction: bool = True,
    innovations: Callable[[Sequence[int]], Innovations] = Sobol,
) -> dict[str, Limit]:
    """Return the infinite-width limit of every measure (default: all of ``SHOWN``) at every step of a course.

    The width of ``network`` does not matter. Device and dtype are those of the course's inputs; float64 is meant.
    ``points`` are the numbers of points M, several of them to extrapolate over; another ``seed`` is another set of
    scrambles. ``powers`` gives the power of a measure's bias by name, where it is not that of ``bias_power``: a measure
    of your own that vanishes with the features' movement has that movement's.
    ``transpose_correction`` False gives the wrong limit that takes W and Wᵀ for independent matrices.

    Raises ``ValueError`` for fewer than two replicates, where the parametrization has no limit or one that is random
    (then centre the course), and where training diverges.
    """
    check_has_limit(parametrization, network.depth, centred=course.centred)
    chosen = {name: MEASURES[name] for name in SHOWN} if measures is None else measures
    by_points: dict[int, dict[str, Mean]] = {}
    first = seed * SEEDS_APART
    for count in sorted(set(points)):
        sized = replace(network, width=count)

        def build(seeds: Sequence[int], sized: Mlp = sized) -> Ensemble:
            return initialise_lazy(
                sized,
                parametrization,
                innovations(seeds),
                base_width=base_width,
                device=course.probes.device,
                dtype=course.probes.dtype,
                room=queries(course),
                transpose_correction=transpose_correction,
            )

        at_once = max(1, NUMBERS_AT_ONCE // (count * min(count, queries(course))))
        by_points[count] = mean_trajectories(build, course, chosen, range(first, first + replicates), at_once)
        check_finite(by_points[count], f"{count} points")
        first += replicates  # scrambles are not shared between numbers of points
    power = {name: bias_power(name, parametrization, network.depth) for name in chosen} | dict(powers or {})
    return {name: extrapolated({m: found[name] for m, found in by_points.items()}, power[name]) for name in chosen}


def check_has_limit(parametrization: Parametrization, depth: int, *, centred: bool) -> None:
    """Raise ``ValueError`` where training has no deterministic infinite-width limit.

    A read-out of size n^(-1/2) makes f_0 a Gaussian process: a sum over neurons, not an average, so points that
    integrate averages do not draw it, and all that depends on it is random.
    """
    broken = violations(parametrization, depth)
    if broken:
        raise ValueError(
            f"{parametrization.name!r} has no infinite-width limit: {'; '.join(broken)}; take a finite width"
        )
    if parametrization.output.a + parametrization.output.b == Fraction(1, 2) and not centred:
        raise ValueError(
            f"the output of {parametrization.name!r} stays random at infinite width, so training it has no one limit: "
            "centre it (centred=True, or --centred), which trains f - f_0, or take a finite width"
        )


def check_finite(found: Mapping[str, Mean], where: str) -> None:
    """Raise ``ValueError`` where a mean is not finite, naming the first such step."""
    for name, values in found.items():
        bad = [step for step, mean in enumerate(values.mean) if not np.isfinite(mean).all()]
        if bad:
            raise ValueError(f"training diverged: {name} at step {bad[0]}, with {where}; lower the learning rate")


def mean_trajectories(
    build: Callable[[Sequence[int]], Ensemble],
    course: Course,
    measures: Mapping[str, Measure],
    seeds: Sequence[int],
    at_once: int,
) -> dict[str, Mean]:
    """Train networks of all seeds, ``at_once`` together, and return the mean of every measure, (step, ...).

    Raises ``ValueError`` for fewer than two seeds: one has no standard error.
    """
    if len(seeds) < 2:
        raise ValueError(f"a standard error needs at least 2 seeds or replicates, got {len(seeds)}")
    parts = [
        trajectories(build(seeds[start : start + at_once]), course, measures) for start in range(0, len(seeds), at_once)
    ]
    found = {}
    for name in measures:
        values = np.concatenate([part[name] for part in parts])
        with np.errstate(invalid="ignore", over="ignore"):  # what diverged has no mean, which its value says
            found[name] = Mean(values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values)), len(values))
    return found


def queries(course: Course) -> int:
    """Return about how many directions a course asks of a lazy weight: those of its batches and probes."""
    batches = [len(course.task.inputs) if chosen is None else len(chosen) for chosen in course.order]
    return max(1, sum(batches) + len(course.probes) * (len(course.order) + 1))


def bias_power(measure: str, parametrization: Parametrization, depth: int) -> float:
    """Return the p of the bias M^(-p) that is left at M points in a measure of that name."""
    movement = float(least_movement(parametrization, depth))
    if movement <= 0:
        return BIAS_POWER
    return movement if measure in MOVEMENTS else min(BIAS_POWER, 2 * movement)


def extrapolated(by_points: Mapping[int, Mean], power: float) -> Limit:
    """Return the limit of a fit mean(M) = limit + c M^(-power) to the means by number of points M.

    It is weighted by the standard errors averaged over the whole quantity, all of whose entries have one weight: an
    entry's own error from few replicates is too noisy to weigh by.
    """
    counts = sorted(by_points)
    means = np.stack([by_points[m].mean for m in counts])
    errors = np.stack([by_points[m].error for m in counts])
    if len(counts) == 1:
        return Limit(means[0], errors[0], dict(by_points))
    scale = np.sqrt(np.mean(errors**2, axis=tuple(range(1, errors.ndim))))
    scale = scale if scale.all() else np.ones(len(counts))
    rule, design = _rule(counts, scale, power)
    mean, other = (
        np.tensordot(each[0], means, axes=1) for each in (rule, _rule(counts, scale, ANOTHER_POWER * power)[0])
    )
    residual = (means - np.tensordot(design @ rule, means, axes=1)) / scale.reshape(-1, *[1] * (means.ndim - 1))
    spare = len(counts) - 2
    inflation = max(1.0, float((residual**2).sum(axis=0).mean()) / spare) if spare else 1.0
    variance = inflation * np.tensordot(rule[0] ** 2, errors**2, axes=1)
    return Limit(mean, np.sqrt(variance + (mean - other) ** 2), dict(by_points))


def _rule(counts: Sequence[int], scale: Array, power: float) -> tuple[Array, Array]:
    """Return the weights (2, counts) that give limit and c from the means, and the design (counts, 2)."""
    design = np.stack([np.ones(len(counts)), (np.array(counts) / counts[0]) ** -power], axis=1)
    return np.linalg.pinv(design / scale[:, None]) / scale, design
