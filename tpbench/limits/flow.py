"""Training by a kernel without a loop: after any number of steps, at any time, and at the end of training.

Write K for the kernel between all points, X for the N training points, and Λ, V for the eigenvalues and eigenvectors of
K(X, X)/N. Squared error decouples the modes, and all outputs are linear in the residual at the start:

    f_t = f_0 + A_t (y - f_0(X)),      A_t = K(·, X)/N · V q_t(Λ) Vᵀ,

where the residual along a mode of eigenvalue λ has been multiplied by 1 - λ q_t(λ) (Jacot et al. 2018,
arXiv:1806.07572; Lee et al. 2019, arXiv:1902.06720). A *schedule* knows q_t: ``GradientFlow`` ((1 - e^(-λ t))/λ),
``HeavyBall`` (the damped oscillator) and ``GradientDescent`` (discrete steps, with momentum). Writing q rather than the
decay itself keeps its digits where λ is small: directions that the kernel does not see are no special case.

Cross-entropy couples the modes; ``kernel_flow`` integrates it, and squared error as well, which is its test.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import integrate, linalg

from tpbench.limits import Array
from tpbench.limits.dynamics import GRADIENTS, check_arrays, places_of

RELATIVE, ABSOLUTE = 1e-10, 1e-12
"""Tolerances of the integrator, per step, on the coefficients of the training points."""
EPS = float(np.finfo(np.float64).eps)


class Schedule(Protocol):
    """How, and for how long, a kernel machine is trained on squared error."""

    def gain(self, eigenvalues: Array, *, eps: float = EPS) -> Array:
        """Return q(λ): of a residual r along a mode of K(X, X)/N, training removes λ q(λ) r.

        ``eps`` is the relative rounding of the kernel's entries, and says which eigenvalues cannot be told from 0.
        """


@dataclass(frozen=True)
class GradientFlow:
    """``df/dt = -K(·, X) ∂L/∂f(X)``: descent with learning rate eta is at time eta · steps as eta → 0.

    ``time`` may be infinite. Raises ``ValueError`` for a negative one.
    """

    time: float

    def __post_init__(self) -> None:
        _check_time(self.time)

    def gain(self, eigenvalues: Array, *, eps: float = EPS) -> Array:
        """Return (1 - e^(-λ t))/λ, which is t for λ = 0."""
        if math.isinf(self.time):
            return _inverse(eigenvalues, eps)
        safe = np.where(eigenvalues == 0, 1.0, eigenvalues)
        return np.where(eigenvalues == 0, self.time, -np.expm1(-safe * self.time) / safe)


@dataclass(frozen=True)
class HeavyBall:
    """``d²f/dt² + friction · df/dt = -K(·, X) ∂L/∂f(X)``, from rest (Polyak 1964): momentum in continuous time.

    ``of_descent`` says at which time it is after steps of SGD with momentum. ``time`` may be infinite where there is
    friction. Raises ``ValueError`` for a negative time, and for a friction that is negative or infinite.
    """

    time: float
    friction: float

    def __post_init__(self) -> None:
        _check_time(self.time)
        _check_friction(self.friction)
        if math.isinf(self.time) and self.friction == 0:
            raise ValueError("without friction outputs oscillate for ever: give a finite time, or friction above 0")

    @classmethod
    def of_descent(cls, steps: int, learning_rate: float, momentum: float) -> HeavyBall:
        """Return where the outputs are after steps of SGD, up to an error of second order in the time of a step.

        SGD's ``v ← μ v + g``, ``f ← f - eta v`` is the leapfrog scheme of this equation with a time step of
        h = sqrt(2 eta/(1 + μ)) and friction 2 (1 - μ)/((1 + μ) h), whose velocities belong to the middles of steps:
        the one at rest lies before the first step, so t steps take the time (t + 1/2) h. No step takes no time.
        """
        if not learning_rate > 0 or not 0 <= momentum < 1:
            raise ValueError(
                f"SGD has a learning rate above 0 and momentum in [0, 1), got {learning_rate} and {momentum}"
            )
        pace = math.sqrt(2 * learning_rate / (1 + momentum))
        return cls((steps + 0.5) * pace if steps else 0.0, 2 * (1 - momentum) / ((1 + momentum) * pace))

    def gain(self, eigenvalues: Array, *, eps: float = EPS) -> Array:
        """Return the response of ``q'' + friction q' + λ q = 1`` from rest, by exponentials of 3 × 3 matrices."""
        if math.isinf(self.time):
            return _inverse(eigenvalues, eps)
        rates = np.zeros((len(eigenvalues), 3, 3))  # d/dt (q, q', 1)
        rates[:, 0, 1] = rates[:, 1, 2] = 1.0
        rates[:, 1, 0], rates[:, 1, 1] = -eigenvalues, -self.friction
        return np.asarray(linalg.expm(rates * self.time)[:, 0, 2])


@dataclass(frozen=True)
class GradientDescent:
    """Full-batch steps of SGD: ``v ← momentum · v + ∂L``, ``w ← w - learning_rate · v``.

    ``steps`` may be infinite: where training converges. Raises ``ValueError`` for steps that are neither whole and at
    least 0 nor infinite, a learning rate of 0 or below, and momentum outside [0, 1).
    """

    steps: float
    learning_rate: float
    momentum: float = 0.0

    def __post_init__(self) -> None:
        if not self.steps >= 0 or (math.isfinite(self.steps) and self.steps != int(self.steps)):
            raise ValueError(f"the number of steps is whole and at least 0, or infinite, got {self.steps}")
        if not 0 < self.learning_rate < math.inf or not 0 <= self.momentum < 1:
            raise ValueError(
                "descent needs a learning rate above 0 (and finite) and momentum in [0, 1), got "
                f"{self.learning_rate} and {self.momentum}"
            )

    def gain(self, eigenvalues: Array, *, eps: float = EPS) -> Array:
        """Return q after the steps, by powers of 3 × 3 matrices: (log steps) products, whatever the eigenvalues.

        Of a residual 1 - λ q a step makes ``w ← momentum · w + 1 - λ q``, ``q ← q + learning_rate · w``.
        """
        if math.isinf(self.steps):
            self._check_stable(float(eigenvalues.max()))
            return _inverse(eigenvalues, eps)
        step = np.zeros((len(eigenvalues), 3, 3))  # of (q, w, 1)
        step[:, 0, 0] = step[:, 2, 2] = 1.0
        step[:, 1, 0], step[:, 1, 1], step[:, 1, 2] = -eigenvalues, self.momentum, 1.0
        step[:, 0] += self.learning_rate * step[:, 1]
        return np.asarray(np.linalg.matrix_power(step, int(self.steps))[:, 0, 2])

    def _check_stable(self, largest: float) -> None:
        edge = 2 * (1 + self.momentum) / largest
        if not self.learning_rate < edge:
            raise ValueError(
                f"descent at learning rate {self.learning_rate:g} converges nowhere: the largest stable one of this "
                f"kernel is {edge:g}; lower it, or ask for finitely many steps"
            )


def _check_time(time: float) -> None:
    if not time >= 0:
        raise ValueError(f"a time is at least 0, got {time}")


def _check_friction(friction: float) -> None:
    if not 0 <= friction < math.inf:
        raise ValueError(
            f"friction is at least 0 and finite, got {friction}: where it is large, the heavy ball is gradient flow "
            "at the time/friction"
        )


def _inverse(eigenvalues: Array, eps: float) -> Array:
    """Return 1/λ, where every mode is learned in the end."""
    if eigenvalues.min() <= _rounding(eigenvalues, eps):
        raise ValueError(
            f"the kernel between the training points is singular (eigenvalues over N from {eigenvalues.min():.1e} to "
            f"{eigenvalues.max():.1e}), so training for ever has no end that could be computed: ask for a finite time, "
            "or leave out training points that repeat others"
        )
    return 1 / eigenvalues


def _rounding(eigenvalues: Array, eps: float) -> float:
    return float(len(eigenvalues) * eps * np.abs(eigenvalues).max())


def rounding_of(kernel: NDArray[Any]) -> float:
    """Return the relative rounding of a kernel's entries, which says in which precision it was computed.

    Whatever is computed of it, in float64, knows it no better.
    """
    return max(EPS, float(np.finfo(kernel.dtype).eps)) if np.issubdtype(kernel.dtype, np.floating) else EPS


def response(kernel: Array, *, train: Sequence[int], schedule: Schedule) -> Array:
    """Return A (points, train): training moves the outputs by ``A (y - f_0(X))`` under squared error.

    ``kernel`` (points, points) is the tangent kernel of one output over all points, ``train`` numbers the training
    points among them. It is computed in float64, but an eigenvalue is 0 that the kernel's own dtype rounds away.
    Raises ``ValueError`` for a kernel that is not square or has a negative eigenvalue, without training points, and
    where training for ever is asked of a singular kernel or of an unstable rate.
    """
    check_arrays(kernel)
    places, eps = places_of(train), rounding_of(kernel)
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1]:
        raise ValueError(f"a kernel between all points is square, got shape {kernel.shape}")
    kernel = np.asarray(kernel, dtype=np.float64)
    eigenvalues, modes = np.linalg.eigh(kernel[np.ix_(places, places)] / len(places))
    if eigenvalues[0] < -100 * _rounding(eigenvalues, eps):
        raise ValueError(
            f"a kernel has no negative eigenvalue, got {eigenvalues[0]:.1e} (the largest is {eigenvalues[-1]:.1e})"
        )
    learned = (modes * schedule.gain(np.maximum(eigenvalues, 0.0), eps=eps)) @ modes.T
    return np.asarray(kernel[:, places] @ learned / len(places))


def trained(kernel: Array, targets: Array, start: Array, *, train: Sequence[int], schedule: Schedule) -> Array:
    """Return the outputs (…, points, out) that training on squared error makes of ``start`` (…, points, out).

    ``targets`` (len(train), out) belong to the training points. The same as the last of ``kernel_descent`` for
    ``GradientDescent``, without its loop. Raises ``ValueError`` as ``response`` does, and for shapes that disagree.
    """
    _check_shapes(kernel, targets, start, train)
    answer = response(kernel, train=train, schedule=schedule)
    return np.asarray(start + answer @ (targets - start[..., np.asarray(train), :]))


def kernel_flow(
    kernel: Array,
    targets: Array,
    start: Array,
    *,
    train: Sequence[int],
    times: Sequence[float],
    friction: float | None = None,
    loss: str = "mse",
) -> Array:
    """Return the outputs at every time, (time, …, points, out), of gradient flow, or of the heavy ball with friction.

    Integrates the coefficients ``α`` of ``f_t = f_0 + K(·, X) α`` (train, out) by the Dormand-Prince method of order 8
    to ``RELATIVE`` and ``ABSOLUTE`` in every step: ``dα/dt = -∂L/∂f``, or ``α'' + friction α' = -∂L/∂f``. The kernel
    need not be invertible; the cost grows like λ_max · time. Shapes are those of ``kernel_descent``.
    Raises ``ValueError`` for an unknown loss, without training points, for shapes that disagree, for times that do not
    ascend from 0 on and for a friction that is negative or infinite, ``ArithmeticError`` where the integrator fails.
    """
    if loss not in GRADIENTS:
        raise ValueError(f"no kernel flow for loss {loss!r} (known: {', '.join(GRADIENTS)})")
    _check_shapes(kernel, targets, start, train)
    if not len(times) or not np.isfinite(times).all() or times[0] < 0 or (np.diff(times) <= 0).any():
        raise ValueError(f"times are finite, at least 0 and ascending, got {list(times)}")
    if friction is not None:
        _check_friction(friction)
    places, kernel = places_of(train), np.asarray(kernel, dtype=np.float64)
    own, first = kernel[np.ix_(places, places)], start[..., places, :]

    def pull(alpha: Array) -> Array:
        return np.asarray(-GRADIENTS[loss](first + own @ alpha, targets) / len(places))

    def rates(_: float, flat: Array) -> Array:
        if friction is None:
            return pull(flat.reshape(first.shape)).ravel()
        alpha, velocity = flat.reshape(2, *first.shape)
        return np.stack([velocity, pull(alpha) - friction * velocity]).ravel()

    state = np.zeros(first.size * (1 if friction is None else 2))
    alphas = _integrate(rates, state, times)[:, : first.size].reshape(len(times), *first.shape)
    return np.asarray(start + kernel[:, places] @ alphas)


def _integrate(rates: Callable[[float, Array], Array], state: Array, times: Sequence[float]) -> Array:
    """Return the state at every time, (time, coordinate); time 0 is where it starts."""
    if times[-1] == 0:
        return state[None]
    found = integrate.solve_ivp(
        rates, (0.0, times[-1]), state, method="DOP853", t_eval=times, rtol=RELATIVE, atol=ABSOLUTE
    )
    if not found.success:
        raise ArithmeticError(f"the integrator stopped before time {times[-1]}: {found.message}")
    return np.asarray(found.y.T)


def _check_shapes(kernel: Array, targets: Array, start: Array, train: Sequence[int]) -> None:
    check_arrays(kernel, targets, start)
    if kernel.shape != (start.shape[-2],) * 2 or targets.shape != (len(train), start.shape[-1]):
        raise ValueError(
            f"kernel {kernel.shape}, targets {targets.shape} and start {start.shape} do not fit {len(train)} "
            "training points"
        )
