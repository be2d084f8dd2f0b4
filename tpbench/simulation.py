"""From what a user asks of ``tpbench limit`` to trajectories with standard errors, at infinity or at a finite width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tpbench.data.span import span_coordinates
from tpbench.networks.infinite import POINTS, SEEDS_APART, SHOWN, check_finite, limit, mean_trajectories, queries
from tpbench.networks.mlp import Ensemble, Mlp, initialise, initialise_lazy
from tpbench.networks.train import Sgd, Task, batches
from tpbench.networks.trajectory import MEASURES, Course
from tpbench.parametrization import Parametrization
from tpbench.weights.innovations import MonteCarlo

Array = NDArray[np.float64]
LAZY_FROM, WIDTHS_A_QUERY = 2048, 4
"""Hidden width from which lazy weights are the default, and how many times the number of directions that training asks
it has to be: with few directions they cost less than dense products."""
NUMBERS_AT_ONCE = 2**26

ARCHITECTURES: Mapping[str, type[Mlp]] = {"mlp": Mlp}


@dataclass(frozen=True)
class Request:
    """What is to be trained: ``width`` None is infinity; ``seeds`` are networks, or scrambles of the points.

    ``x`` (inputs, features) and ``y`` (inputs, outputs) are trained on, ``x_test`` only looked at.
    """

    network: Mlp
    parametrization: Parametrization
    sgd: Sgd
    steps: int
    x: Array
    y: Array
    x_test: Array
    width: int | None
    weights: str
    seeds: int
    device: torch.device
    first_seed: int = 0
    points: tuple[int, ...] = POINTS
    base_width: int = 1
    centred: bool = False


@dataclass(frozen=True)
class Simulated:
    """Mean and standard error of every quantity at every step, (step, ...), and how they were computed."""

    mean: Mapping[str, Array]
    error: Mapping[str, Array]
    how: str
    notes: tuple[str, ...]


def read_data(path: Path) -> tuple[Array, Array, Array]:
    """Return x, y and x_test (empty where the file has none) of an .npz file, float64.

    Raises ``ValueError`` when the file is no such archive, lacks x or y, or their shapes do not fit.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: np.asarray(archive[name], dtype=np.float64) for name in archive.files}
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path} is no readable .npz file ({error}); write one with numpy.savez(path, x=…, y=…)"
        ) from error
    missing = [name for name in ("x", "y") if name not in arrays]
    if missing:
        raise ValueError(f"{path} lacks {' and '.join(missing)}; it has {', '.join(arrays) or 'nothing'}")
    x, y = arrays["x"], arrays["y"]
    y = y[:, None] if y.ndim == 1 else y
    x_test = arrays.get("x_test", x[:0])
    if (
        x.ndim != 2
        or y.ndim != 2
        or len(x) != len(y)
        or not len(x)
        or x_test.ndim != 2
        or x_test.shape[1] != x.shape[1]
    ):
        shapes = f"x {x.shape}, y {y.shape}, x_test {x_test.shape}"
        raise ValueError(f"{path}: x is (inputs, features), y (inputs, outputs), x_test (any, features); got {shapes}")
    if not (np.isfinite(x).all() and np.isfinite(y).all() and np.isfinite(x_test).all()):
        raise ValueError(f"{path} holds values that are not finite")
    return x, y, x_test


def simulate(request: Request) -> Simulated:
    """Train what was asked for; ``ValueError`` where the parametrization has no limit."""
    course = _course(request)
    if request.width is None:
        return _at_infinity(request, course)
    measures = {name: MEASURES[name] for name in SHOWN}
    few = request.width >= max(LAZY_FROM, WIDTHS_A_QUERY * queries(course))
    weights = request.weights if request.weights != "auto" else ("lazy" if few else "dense")
    first = request.first_seed * SEEDS_APART
    seeds = range(first, first + request.seeds)
    numbers = request.width * (4 * min(request.width, queries(course)) if weights == "lazy" else request.width)
    found = mean_trajectories(
        lambda some: _finite(request, weights, some, course),
        course,
        measures,
        seeds,
        max(1, NUMBERS_AT_ONCE // numbers),
    )
    check_finite(found, f"width {request.width}")
    mean, error = ({name: getattr(part, which) for name, part in found.items()} for which in ("mean", "error"))
    return Simulated(mean, error, f"{request.seeds} networks of width {request.width}, {weights} weights", ())


def _at_infinity(request: Request, course: Course) -> Simulated:
    found = limit(
        replace(request.network, inputs=course.probes.shape[1]),
        request.parametrization,
        course,
        points=request.points,
        replicates=request.seeds,
        seed=request.first_seed,
        base_width=request.base_width,
    )
    how = f"{request.seeds} scrambles of {', '.join(map(str, sorted(set(request.points))))} Sobol' points"
    if len(set(request.points)) > 1:
        notes: tuple[str, ...] = (f"extrapolation moved the outputs by {found['output'].bias:.1e} (root mean square)",)
    else:
        notes = ("one number of points: nothing is extrapolated, and the errors do not know of a bias",)
    mean, error = {name: f.mean for name, f in found.items()}, {name: f.error for name, f in found.items()}
    return Simulated(mean, error, how, notes)


def _course(request: Request) -> Course:
    seen = span_coordinates(np.concatenate([request.x, request.x_test]))
    probes = torch.as_tensor(seen, dtype=torch.float64, device=request.device)
    targets = torch.as_tensor(request.y, dtype=torch.float64, device=request.device)
    order = batches(len(targets), request.sgd.batch, request.steps, seed=0)  # one order for all seeds and widths
    return Course(Task(probes[: len(targets)], targets), request.sgd, order, probes, request.centred)


def _finite(request: Request, weights: str, seeds: Sequence[int], course: Course) -> Ensemble:
    assert request.width is not None
    network = replace(request.network, width=request.width, inputs=course.probes.shape[1])
    where: dict[str, Any] = {"base_width": request.base_width, "device": request.device, "dtype": course.probes.dtype}
    if weights == "dense":
        return initialise(network, request.parametrization, seeds, **where)
    return initialise_lazy(network, request.parametrization, MonteCarlo(seeds), room=queries(course), **where)


def conventions(request: Request) -> list[str]:
    """Return, a sentence each, what the numbers mean."""
    losses = {
        "mse": "|f - y|²/2, summed over outputs, averaged over the minibatch",
        "cross-entropy": "-Σ y log softmax(f), averaged over the minibatch",
        "linear": "-Σ f y, averaged over the minibatch",
    }
    return [
        "h^1 = σ_w/sqrt(features) W^1 x: inputs are taken as they are; |x|² = features makes them of size 1",
        "h^l = σ_w/sqrt(n0) W^l x^(l-1), with n0 the base width and W^l = (n/n0)^(-a) w, w ~ N(0, (n/n0)^(-2b))",
        f"the rate multiplies the gradient in w; layer l takes rate · (n/n0)^(-c), here n0 = {request.base_width}",
        f"loss: {losses[request.sgd.loss]}",
        "sizes and movements are root mean squares over inputs and neurons; movements are since step 0",
        *(["f - f_0 is trained and shown"] if request.centred else []),
    ]
