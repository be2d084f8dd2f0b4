"""Kernel gradient descent in discrete steps: what training does in the kernel regime at infinite width.

``f_{t+1}(x) = f_t(x) - eta Σ_{i in batch} K(x, x_i) ∂L/∂f(x_i)`` (Lee et al. 2019, arXiv:1902.06720, in discrete
time); momentum acts on the function as it does on the weights, since both are linear in the gradient.
``flow`` has the same without a loop for squared error, and in continuous time for any loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tpbench.limits import Array


def _residual(f: Array, y: Array) -> Array:
    return f - y


def _softmax_residual(f: Array, y: Array) -> Array:
    return np.asarray(special.softmax(f, axis=-1) * y.sum(axis=-1, keepdims=True) - y)


GRADIENTS: Mapping[str, Callable[[Array, Array], Array]] = {
    "mse": _residual,
    "cross-entropy": _softmax_residual,
}
"""Loss -> gradient with respect to the output of one example (the batch average is taken by the caller)."""


def check_arrays(*given: Any) -> None:
    """Raise ``TypeError`` unless all are NumPy arrays, such as the kernels of ``tpbench.kernels`` from arrays are."""
    for each in given:
        if not isinstance(each, np.ndarray):
            raise TypeError(
                f"laws and flows are computed from NumPy arrays, and a {type(each).__name__} came: give kernels, "
                "targets and outputs as arrays, a tensor as tensor.cpu().numpy()"
            )


def places_of(train: Sequence[int]) -> NDArray[np.intp]:
    """Return the places of the training points among all points; ``ValueError`` where there is none."""
    if not len(train):
        raise ValueError("training was asked on no points, got train=[]: number at least one of the kernel's points")
    return np.asarray(train)


def kernel_descent(
    kernel: Array,
    targets: Array,
    start: Array,
    *,
    train: Sequence[int],
    learning_rate: float,
    order: Sequence[Sequence[int] | None],
    momentum: float = 0.0,
    loss: str = "mse",
) -> Array:
    """Return f_0 … f_T on all points, shape (T + 1, …, points, out).

    ``kernel`` (points, points) is the tangent kernel of one output over training and test points; the outputs do not
    interact. ``train`` numbers the training points, ``targets`` (len(train), out) are theirs; ``start``
    (…, points, out) is f_0; ``order`` gives each step's batch as numbers into ``train``, None for all.
    Raises ``ValueError`` for an unknown loss, without training points, and when shapes disagree.
    """
    if loss not in GRADIENTS:
        raise ValueError(f"no kernel descent for loss {loss!r} (known: {', '.join(GRADIENTS)})")
    places = places_of(train)
    if kernel.shape != (start.shape[-2],) * 2 or targets.shape != (len(places), start.shape[-1]):
        raise ValueError(
            f"kernel {kernel.shape}, targets {targets.shape} and start {start.shape} do not fit {len(places)} "
            "training points"
        )
    f, velocity, path = start.copy(), np.zeros_like(start), [start.copy()]
    for chosen in order:
        part = np.arange(len(places)) if chosen is None else np.asarray(chosen)
        gradient = GRADIENTS[loss](f[..., places[part], :], targets[part]) / len(part)
        velocity = momentum * velocity + kernel[:, places[part]] @ gradient
        f = f - learning_rate * velocity
        path.append(f)
    return np.stack(path)


def largest_stable_rate(kernel: Array, *, train: Sequence[int] | None = None, momentum: float = 0.0) -> float:
    """Return the learning rate above which full-batch descent on squared error diverges: 2 (1 + momentum)/λ_max.

    λ_max is the largest eigenvalue of K/N, with ``kernel`` K between all points and N the number of training points
    (``train``, all points without it): the loss is half the squared error of an example, averaged over the batch.
    A mode of eigenvalue λ follows ``z² - (1 + momentum - eta λ) z + momentum = 0``, whose roots leave the unit circle
    at z = -1, that is at ``eta λ = 2 (1 + momentum)`` (Polyak 1964).
    Raises ``ValueError`` for a kernel that is 0 on the training points, without any of them, and for a momentum outside
    [0, 1).
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum lies in [0, 1), got {momentum}")
    places = places_of(range(len(kernel)) if train is None else train)
    largest = float(np.linalg.eigvalsh(kernel[np.ix_(places, places)] / len(places))[-1])
    if not largest > 0:
        raise ValueError(f"a kernel with largest eigenvalue {largest:g} moves no output: every learning rate is stable")
    return 2 * (1 + momentum) / largest
