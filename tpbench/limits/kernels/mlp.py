"""``tpbench.kernels``: NNGP and NTK of the multilayer perceptron.

>>> import torch, tpbench
>>> x = torch.eye(2, dtype=torch.float64, device="cpu")
>>> tpbench.kernels(x, depth=1, activation="relu", sigma_w=2**0.5).nngp
tensor([[0.5000, 0.1592],
        [0.1592, 0.5000]], dtype=torch.float64)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from tpbench.limits.gaussian import Activation
from tpbench.limits.gaussian import activation as activation_of
from tpbench.limits.hermite import Function
from tpbench.limits.kernels.crew import alone
from tpbench.limits.kernels.noun import A, Kernels
from tpbench.limits.kernels.plan import RULES, Recipe, alike, pairwise, products
from tpbench.limits.kernels.sides import side
from tpbench.limits.kernels.tiles import fill

DTYPES = (torch.float32, torch.float64)


def kernels(
    x1: A,
    x2: A | None = None,
    *,
    depth: int,
    activation: str | Activation | Function,
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
    parametrization: str = "ntk",
    width: int | None = None,
    rates: Sequence[float] | None = None,
    diagonal: bool = False,
    tile: int | None = None,
) -> Kernels[A]:
    """Return the kernels between x1 (N1, d) and x2 (N2, d; x1 itself by default), tensors or arrays as these are.

    ``depth`` counts hidden layers; ``activation`` is a name, an ``Activation``, or an elementwise function of tensors.
    Parametrization "ntk": ``h = σ_w/sqrt(fan-in) w x + σ_b b`` with w, b ~ N(0, 1), read-out included; the first layer
    divides by d. "standard": ``h = w x + b`` with w ~ N(0, σ_w²/fan-in) and b ~ N(0, σ_b²), or no b where σ_b = 0; its
    tangent kernel grows with the ``width`` of the hidden layers, which it must be told (Sohl-Dickstein et al. 2020,
    arXiv:2001.07301). ``rates`` are multipliers of the learning rate, one for each of the depth + 1 layers, by which
    that layer's part of the tangent kernel is multiplied.

    ``diagonal``: only K(x1_i, x2_i), (N,), in O(N). The results have the inputs' dtype, float32 or float64, and device.
    In memory there are, beside them, one copy of the inputs and four tiles of ``tile``² numbers a thread. In float32
    the kernels of relu and its like have errors of up to 5e-4 where two different rows are nearly parallel, and none of
    that size between a row and itself when x2 is not given.

    Raises ``ValueError`` for inputs of other shapes, for options that do not fit together and for an unknown
    activation, and ``TypeError`` for other dtypes.
    """
    one = _tensor(x1)
    two = one if x2 is None or x2 is x1 else _tensor(x2)
    if x2 is not None and isinstance(x1, Tensor) != isinstance(x2, Tensor):
        raise TypeError(f"both inputs are tensors or both arrays, got {type(x1).__name__} and {type(x2).__name__}")
    _check_inputs(one, two, diagonal)
    if tile is not None and tile < 1:
        raise ValueError(f"a tile has at least 1 row, got {tile}")
    recipe = _recipe(activation_of(activation), depth, sigma_w, sigma_b, parametrization, width, rates, one.shape[1])
    with torch.no_grad():
        if diagonal:
            nngp, ntk = alone(lambda: _diagonal(recipe, one, two), one.device)
        else:
            nngp, ntk = _all(recipe, one, two, tile)
    found = Kernels(nngp, ntk) if isinstance(x1, Tensor) else Kernels(nngp.numpy(), ntk.numpy())
    return cast("Kernels[A]", found)


def _all(recipe: Recipe, one: Tensor, two: Tensor, tile: int | None) -> tuple[Tensor, Tensor]:
    left = alone(lambda: side(recipe, one), one.device)
    right = left if one is two else alone(lambda: side(recipe, two), one.device)
    return fill(recipe, left, right, tile)


def _diagonal(recipe: Recipe, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    found = own = alike(recipe, _first(recipe, one, one))
    if one is not two:
        other = alike(recipe, _first(recipe, two, two))
        found = pairwise(recipe, own.covariances, _first(recipe, one, two), other.covariances)
    return found.covariances[-1].to(one.dtype), found.tangent.to(one.dtype)


def _first(recipe: Recipe, x: Tensor, y: Tensor) -> Tensor:
    """Return V^1 of x_i and y_i."""
    return products(x, y) * (recipe.variance / x.shape[1])


def _recipe(
    activation: Activation,
    depth: int,
    sigma_w: float,
    sigma_b: float,
    parametrization: str,
    width: int | None,
    rates: Sequence[float] | None,
    features: int,
) -> Recipe:
    if not isinstance(depth, int) or depth < 1:
        raise ValueError(f"a perceptron has depth of at least 1 hidden layer, a whole number, got {depth}")
    if not 0 < sigma_w < float("inf") or not 0 <= sigma_b < float("inf"):
        raise ValueError(f"sigma_w is above 0 and sigma_b at least 0, both finite, got {sigma_w} and {sigma_b}")
    _check_parametrization(parametrization, width)
    shares = (1.0,) * (depth + 1) if rates is None else tuple(rates)
    if len(shares) != depth + 1 or not np.isfinite(shares).all():
        raise ValueError(f"{depth + 1} layers need as many finite rates, got {rates}")
    variance, shift = float(sigma_w) ** 2, float(sigma_b) ** 2
    layers = RULES[parametrization](depth, variance, shift, features, width or 0)
    weights, biases = (tuple(r * layer[k] for r, layer in zip(shares, layers, strict=True)) for k in (0, 1))
    return Recipe(activation, depth, variance, shift, weights, biases)


def _check_parametrization(parametrization: str, width: int | None) -> None:
    if parametrization not in RULES:
        raise ValueError(f"unknown parametrization {parametrization!r} of kernels (known: {', '.join(RULES)})")
    if parametrization == "standard" and (width is None or width < 1):
        raise ValueError(
            f"the tangent kernel of the standard parametrization grows with the width: give the hidden layers' width "
            f"of at least 1, got {width}"
        )
    if parametrization == "ntk" and width is not None:
        raise ValueError(f"kernels in the ntk parametrization depend on no width, got {width}: leave it out")


def _check_inputs(one: Tensor, two: Tensor, diagonal: bool) -> None:
    if one.ndim != 2 or two.ndim != 2 or one.shape[1] != two.shape[1] or one.shape[1] == 0:
        raise ValueError(f"inputs have shape (examples, features) alike, got {tuple(one.shape)} and {tuple(two.shape)}")
    if one.dtype != two.dtype or one.device != two.device:
        raise ValueError(
            f"both inputs have one dtype and device, got {one.dtype} on {one.device} and {two.dtype} on {two.device}"
        )
    if diagonal and len(one) != len(two):
        raise ValueError(f"a diagonal needs as many points on either side, got {len(one)} and {len(two)}")


def _tensor(x: Any) -> Tensor:
    """Return the inputs as a tensor without gradients."""
    if not isinstance(x, Tensor | np.ndarray):
        raise TypeError(f"inputs are tensors or NumPy arrays, got {type(x).__name__}: convert them")
    names = [str(dtype).removeprefix("torch.") for dtype in DTYPES]
    if str(x.dtype).removeprefix("torch.") not in names:
        raise TypeError(f"kernels are computed in {' or '.join(names)}, got inputs of {x.dtype}: convert them")
    if isinstance(x, Tensor):
        return x.detach()
    return torch.tensor(np.ascontiguousarray(x), device="cpu")
